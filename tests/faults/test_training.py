"""What the training loop says when something is wrong (runs with JAXTYPING_DISABLE=1)."""

import dataclasses
import errno
import os

import numpy as np
import pytest
import torch
from torch import nn

from vqdiff_edu import training
from vqdiff_edu.data import Batches
from vqdiff_edu.training import Recipe, by_profile, fit, profile, read_checkpoint, study

RECIPE = Recipe("faulty", steps=20, batch_size=8, lr=1e-2, log_every=5, checkpoint_every=5)


class Task:
    """Learns to output zero; from `bad_step` on, `spoil` is applied to the loss."""

    def __init__(self, bad_step=None, spoil=None):
        self.model, self.bad_step, self.spoil, self.calls = nn.Linear(4, 1), bad_step, spoil, 0

    def loss(self, batch, generator):
        loss = self.model(batch["x"]).square().mean()
        if self.calls == self.bad_step:
            loss = self.spoil(loss)
        self.calls += 1
        return loss, {}


def batches(batch_size=8):
    return Batches({"x": torch.randn(64, 4)}, batch_size)


def test_unknown_profile(monkeypatch):
    monkeypatch.setenv("VQDIFF_PROFILE", "workstation")
    for call in (profile, lambda: by_profile(smoke=1, laptop=2)):
        with pytest.raises(ValueError, match="VQDIFF_PROFILE is 'workstation'.*smoke, laptop, gpu"):
            call()


@pytest.mark.parametrize(
    "field, value, error",
    [
        ("steps", 0, ValueError),
        ("steps", 10.5, TypeError),
        ("batch_size", 0, ValueError),
        ("batch_size", 8.0, TypeError),
        ("seed", "a", TypeError),
        ("seed", None, TypeError),
        ("lr", 0.0, ValueError),
        ("lr", float("inf"), ValueError),
        ("lr", float("nan"), ValueError),
        ("weight_decay", -0.1, ValueError),
        ("weight_decay", float("inf"), ValueError),
        ("betas", (0.9, 1.0), ValueError),
        ("betas", (0.9,), ValueError),
        ("warmup", 21, ValueError),
        ("schedule", "linear", ValueError),
        ("lr_floor", 1.5, ValueError),
        ("grad_clip", 0.0, ValueError),
        ("ema_decay", 1.0, ValueError),
        ("precision", "fp16", ValueError),
        ("compile", "fast", ValueError),
        ("warmup", 2.5, TypeError),
        ("checkpoint_every", 0, ValueError),
        ("checkpoint_every", True, TypeError),
        ("log_every", 0, ValueError),
    ],
)
def test_recipe_names_the_field(field, value, error):
    with pytest.raises(error, match=f"^{field}.* must be"):
        dataclasses.replace(RECIPE, **{field: value})


def test_numbers_of_numpy_make_the_same_recipe():
    same = dataclasses.replace(RECIPE, steps=np.int64(20), lr=np.float32(0.5))
    assert same.fingerprint() == dataclasses.replace(RECIPE, lr=0.5).fingerprint()


def test_wrong_arguments(tmp_path):
    with pytest.raises(TypeError, match="recipe is a dict"):
        fit(Task(), batches(), {"steps": 3}, tmp_path)
    with pytest.raises(TypeError, match="task is a Linear"):
        fit(nn.Linear(2, 2), batches(), RECIPE, tmp_path)
    with pytest.raises(TypeError, match="data is a list.*state_dict"):
        fit(Task(), [{"x": torch.ones(8, 4)}], RECIPE, tmp_path)
    with pytest.raises(ValueError, match="batch_size 16.*'faulty' says 8"):
        fit(Task(), batches(16), RECIPE, tmp_path)


def test_a_batch_that_the_processes_cannot_share_equally(tmp_path, monkeypatch):
    import accelerate

    monkeypatch.setattr(accelerate.Accelerator, "num_processes", 3)
    with pytest.raises(ValueError, match="batch_size is 8, which 3 processes cannot share equally"):
        fit(Task(), batches(), RECIPE, tmp_path)


def test_empty_data(tmp_path):
    class Empty:
        def __iter__(self):
            return iter(())

        def state_dict(self):
            return {}

        load_state_dict = state_dict

    with pytest.raises(ValueError, match="data gives no batches"):
        fit(Task(), Empty(), RECIPE, tmp_path)


def test_out_dir_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("in the way")
    for folder in (tmp_path / "file", tmp_path / "file" / "below", "/proc/vqdiff"):
        with pytest.raises(OSError, match=f"cannot write {folder}.*is the folder writable"):
            fit(Task(), batches(), RECIPE, folder)


def test_full_disk_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    fit(Task(), batches(), RECIPE, tmp_path)
    before = (tmp_path / "checkpoint.pt").read_bytes()

    def full(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="cannot write .*No space left"):
        fit(Task(), batches(), RECIPE, tmp_path)
    assert (tmp_path / "checkpoint.pt").read_bytes() == before


@pytest.mark.parametrize("damage", ["truncated", "empty", "bit", "other file"])
def test_damaged_checkpoint(tmp_path, damage):
    fit(Task(), batches(), RECIPE, tmp_path)
    path = tmp_path / "checkpoint.pt"
    content = bytearray(path.read_bytes())
    weights = read_checkpoint(path)["model"]["weight"].numpy().tobytes()
    content[bytes(content).index(weights) + 3] ^= 4
    path.write_bytes(
        {"truncated": content[: len(content) // 2], "empty": b"", "bit": content, "other file": b"PK not a checkpoint" * 9}[damage]
    )
    with pytest.raises(ValueError, match="checkpoint.pt is damaged .*resume=False"):
        fit(Task(), batches(), RECIPE, tmp_path, resume=True)


def test_checkpoint_of_another_recipe(tmp_path):
    fit(Task(), batches(), RECIPE, tmp_path)
    with pytest.raises(ValueError, match="checkpoint.pt was made by another recipe.*resume=False or in another out_dir"):
        fit(Task(), batches(), dataclasses.replace(RECIPE, lr=2e-2), tmp_path, resume=True)


def test_checkpoint_of_another_number_of_processes(tmp_path):
    fit(Task(), batches(), RECIPE, tmp_path)
    path = tmp_path / "checkpoint.pt"
    training.write_checkpoint(read_checkpoint(path) | {"processes": 4}, path)
    with pytest.raises(ValueError, match="made by another number of processes .processes 4, here 1"):
        fit(Task(), batches(), RECIPE, tmp_path, resume=True)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda loss: loss * torch.nan,
        lambda loss: loss + torch.inf,
        lambda loss: (loss * 0).sqrt(),  # 0, with a gradient that is not a number
    ],
    ids=["nan", "inf", "gradient"],
)
@pytest.mark.parametrize("bad_step, kept", [(12, 10), (14, 10), (19, 15)])
def test_divergence_names_the_step_and_keeps_the_checkpoint(tmp_path, spoil, bad_step, kept):
    with pytest.raises(FloatingPointError, match=rf"'faulty'.*at step {bad_step} is not finite.*Lower lr"):
        fit(Task(bad_step, spoil), batches(), RECIPE, tmp_path)
    state = read_checkpoint(tmp_path / "checkpoint.pt")
    assert state["step"] == kept and all(v.isfinite().all() for v in state["model"].values())


def test_studies(tmp_path, monkeypatch):
    monkeypatch.setenv("VQDIFF_PROFILE", "laptop")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TypeError, match="run returned a float"):
        study("broken", lambda x: 1.0, [{"x": 1}])
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "broken.json").write_text('[{"case": {"x": 1}, "out')
    with pytest.raises(ValueError, match="broken.json is not valid JSON"):
        study("broken", lambda x: {"y": 1.0}, [{"x": 1}])


def test_a_checkpoint_of_another_model(tmp_path):
    fit(Task(), batches(), RECIPE, tmp_path)
    other = Task()
    other.model = nn.Linear(9, 9)
    with pytest.raises(ValueError, match=r"(?s)checkpoint .* does not fit this training.*was the model changed\?"):
        fit(other, batches(), RECIPE, tmp_path, resume=True)


def test_a_checkpoint_that_lacks_something(tmp_path):
    run = fit(Task(), batches(), RECIPE, tmp_path)
    path = next(tmp_path.rglob("checkpoint.pt"))
    state = read_checkpoint(path)
    del state["optimizer"]
    training.write_checkpoint(state, path)
    with pytest.raises(ValueError, match="does not fit this training.*optimizer"):
        fit(Task(), batches(), RECIPE, tmp_path, resume=True)
    assert run.history


def test_a_full_disk_leaves_no_half_checkpoint(tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="cannot write .*checkpoint.pt"):
        training.write_checkpoint({}, tmp_path / "checkpoint.pt")
    assert not list(tmp_path.iterdir())
