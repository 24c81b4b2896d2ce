"""The checks of tests/gpu at work on a CPU, in the smoke profile: what they measure there is nothing, but that they see what they look for is."""

import os
import subprocess
import sys
import time

import pytest
import torch

from . import checks

NAME = "mnist-ddpm"


@pytest.fixture(autouse=True)
def _smoke(monkeypatch):
    if torch.cuda.is_available():
        pytest.skip("a stand-in for a GPU, where there is none; `fit` takes the one that is here")
    monkeypatch.setenv("VQDIFF_PROFILE", "smoke")


def test_a_recipe_trains_with_other_steps(tmp_path):
    run = checks.trains(NAME, tmp_path, "cpu", steps=6)
    assert [entry["step"] for entry in run.history] == [1, 2, 3, 4, 5, 6]


def test_a_training_on_the_wrong_device_is_noticed(tmp_path):
    with pytest.raises(AssertionError):
        checks.trains(NAME, tmp_path, "cuda", steps=1)


def test_a_killed_training_ends_as_one_that_was_not(tmp_path):
    whole, resumed = checks.killed_and_resumed(NAME, tmp_path, steps=8, kill=7)
    assert checks.same_weights(whole, resumed)
    next(iter(resumed.model.parameters())).data.flatten()[0] += 1e-6
    assert not checks.same_weights(whole, resumed)


@pytest.mark.parametrize("name", ["mnist-vqvae", NAME])
def test_a_device_agrees_with_itself(name):
    assert set(checks.disagreement(name, "cpu").values()) == {0.0}


def test_distances_are_relative_for_floats_and_shares_for_codes():
    assert checks.distance(torch.tensor([2.0, -4.0]), torch.tensor([2.0, -3.0])) == 0.25
    assert checks.distance(torch.tensor([1, 2, 3, 4]), torch.tensor([1, 2, 0, 4])) == 0.25


@pytest.mark.parametrize("name", ["digit-classifier", NAME, "scene-captioner", "writing-video"])
def test_a_model_answers(name):
    said = checks.answer(name, "cpu")
    if name == NAME:
        assert said.shape == (20, 1, 28, 28) and checks.labels_read(said, "cpu") >= 0.9
    elif name == "scene-captioner":
        assert said == checks.golden.stored(name)["sentences"]
    else:
        assert said.isfinite().all()


def test_numbers_that_are_read_back_are_counted(tmp_path):
    x = torch.arange(3.0)
    assert len(checks.waits(lambda: (x.sum().item(), int(x.max()), bool((x > 1).any())), "cpu")) == 3
    assert checks.waits(lambda: torch.where(x > 1, x, 0).sum(), "cpu") == []


def test_a_step_of_a_training_under_way_can_be_watched(tmp_path):
    training = checks.training_under_way(NAME, tmp_path, warm_up=1)
    assert isinstance(checks.waits(lambda: checks.train_step(training), "cpu"), list)
    assert training.step == 2


def test_a_ratio_of_times_is_that():
    ratio = checks.ratio_of_times(lambda: time.sleep(0.2), lambda: time.sleep(0.05), "cpu", repeats=3, calls=1, warm_up=0)
    assert 1.5 < ratio < 4.5


def test_the_quantizers_are_timed_on_the_same_work():
    pytest.importorskip("vector_quantize_pytorch", reason="of the peers extra")
    for step in checks.quantizer_steps("cpu", (2, 8, 3, 3), 16).values():
        step()


@pytest.mark.parametrize("name", ["mnist-ddpm", "mnist-vqvae", "scene-captioner"])
def test_the_table_has_a_number_for_every_way(name):
    ways = {"loop, fp32": {}, "loop, bf16": {"bf16": True}}
    script = checks.gpu_table()
    row = script.table(name, "cpu", loops=ways, fits={"fit": {}}, steps=2, warm_up=1, fit_steps=4)
    speeds = row["examples_per_second"]
    assert list(speeds) == ["fit", "loop, fp32", "loop, bf16"]
    assert {way: speed for way, speed in speeds.items() if isinstance(speed, str)} == {} and min(speeds.values()) > 0
    assert name in script.as_lines(name, row)


def test_a_way_that_fails_is_stored_with_its_reason():
    def fails():
        raise RuntimeError("no such kernel\nat all")

    assert checks.gpu_table().measured(fails) == "RuntimeError: no such kernel"


def test_without_a_gpu_the_table_is_refused(tmp_path):
    out = tmp_path / "gpu.json"
    done = subprocess.run(
        [sys.executable, "scripts/gpu_table.py", "--out", str(out)], cwd=checks.ROOT, env=os.environ, capture_output=True, text=True
    )
    assert done.returncode == 1 and "no CUDA device" in done.stderr and not out.exists()
