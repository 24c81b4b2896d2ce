"""A training killed with SIGKILL at a random step and resumed ends in bit-identical weights (CPU).

Run as a program, this file trains and kills itself: `python test_resume.py FOLDER STEP (step|write)`.
"""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from vqdiff_edu import training
from vqdiff_edu.data import Batches
from vqdiff_edu.training import Recipe, fit, read_checkpoint, write_checkpoint

RECIPE = Recipe(
    "resume", steps=120, batch_size=16, lr=1e-2, warmup=10, weight_decay=0.01, ema_decay=0.9, checkpoint_every=7, log_every=10, seed=3
)


class Autoencoder(nn.Module):
    """Small, but with everything that has a state: dropout, a batch norm, a buffer that moves in the forward pass, and a generator of its own."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(12, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 12))
        self.register_buffer("centre", torch.zeros(12))
        self.generator = torch.Generator().manual_seed(8)

    def forward(self, x):
        if self.training:
            self.centre.lerp_(x.mean(0), 0.1)
            x = x + 0.1 * torch.randn(x.shape, generator=self.generator)
        return self.net(x - self.centre)


class Task:
    """Reconstruction with noise from all four sources of randomness; sends SIGKILL to its own process after `kill` losses."""

    def __init__(self, kill=None):
        torch.manual_seed(5)
        self.model, self.kill, self.calls = Autoencoder(), kill, 0

    def loss(self, batch, generator):
        self.calls += 1
        if self.calls == self.kill:
            os.kill(os.getpid(), signal.SIGKILL)
        x = batch["x"]
        noise = torch.randn(x.shape, generator=generator) + random.random() + float(np.random.rand())
        loss = (self.model(x + 0.1 * noise) - x).square().mean()
        return loss, {"squared": loss}


def batches():
    x = torch.randn(100, 12, generator=torch.Generator().manual_seed(0))
    return Batches({"x": x}, RECIPE.batch_size, seed=1)


def train(folder, *, resume=False, kill=None):
    torch.set_num_threads(1)
    return fit(Task(kill), batches(), RECIPE, folder, resume=resume)


def same(a, b):
    a, b = a.model.state_dict(), b.model.state_dict()
    return all(torch.equal(a[key], b[key]) for key in a)


def timeless(history):
    return [{key: value for key, value in entry.items() if key != "images_per_second"} for entry in history]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    threads = torch.get_num_threads()
    yield train(tmp_path_factory.mktemp("whole"))
    torch.set_num_threads(threads)


@pytest.mark.parametrize("where", ["step", "write"])
def test_sigkill_at_a_random_step(uninterrupted, tmp_path, where):
    seed = random.SystemRandom().randrange(10**6)
    step = random.Random(seed).randrange(1, RECIPE.steps + 1 if where == "step" else RECIPE.steps // RECIPE.checkpoint_every)
    print(f"killed with seed {seed}: {where} {step}")
    died = subprocess.run([sys.executable, __file__, str(tmp_path), str(step), where], env={**os.environ, "VQDIFF_PROFILE": "smoke"})
    assert died.returncode == -signal.SIGKILL, f"seed {seed}"
    resumed = train(tmp_path, resume=True)
    assert same(resumed, uninterrupted), f"seed {seed}, {where} {step}"
    assert timeless(resumed.history) == timeless(uninterrupted.history), f"seed {seed}"


def test_resuming_a_finished_run_changes_nothing(uninterrupted, tmp_path):
    first = train(tmp_path)
    again = train(tmp_path, resume=True)
    assert same(first, uninterrupted) and same(again, first)
    assert again.history == first.history
    assert again.card["wall_seconds"] >= first.card["wall_seconds"]


def forget_optimizer(state, fresh):
    state["optimizer"] = fresh["optimizer"]


def forget_order(state, fresh):
    state["data"] = fresh["data"]


def forget_average(state, fresh):
    state["average"] = state["model"]


def forget_generator(state, fresh):
    state["rng"][0]["generator"] = fresh["rng"][0]["generator"]


def forget_dropout(state, fresh):
    state["rng"][0]["torch"] = fresh["rng"][0]["torch"]


def forget_numpy(state, fresh):
    state["rng"][0]["numpy"] = fresh["rng"][0]["numpy"]


def forget_python(state, fresh):
    state["rng"][0]["python"] = fresh["rng"][0]["python"]


FORGET = [forget_optimizer, forget_order, forget_average, forget_generator, forget_dropout, forget_numpy, forget_python]


@pytest.mark.parametrize("forget", FORGET, ids=lambda f: f.__name__)
def test_nothing_in_the_checkpoint_is_idle(uninterrupted, tmp_path, monkeypatch, forget):
    """The comparison above can fail: a checkpoint that forgot one part ends in other weights."""
    kept = []
    monkeypatch.setattr(
        training, "write_checkpoint", lambda state, path: (write_checkpoint(state, path), kept.append(read_checkpoint(path)))
    )
    train(tmp_path)
    state = kept[6]
    forget(state, kept[0])
    write_checkpoint(state, tmp_path / "checkpoint.pt")
    assert not same(train(tmp_path, resume=True), uninterrupted)


if __name__ == "__main__":
    folder, step, where = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    if where == "write":  # die between writing the new checkpoint and putting it in place
        remaining, replace = [step], os.replace

        def replace_or_die(*paths):
            remaining[0] -= 1
            if remaining[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            replace(*paths)

        os.replace = replace_or_die
    train(folder, kill=step if where == "step" else None)
