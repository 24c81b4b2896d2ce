"""Two processes learn what one learns from the same batches, draw their own noise, and stop together.

Run as a program (by torchrun, below), this module does all of it and leaves what each rank saw: `--module tests.unit.test_processes FOLDER`.
"""

import os
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from vqdiff_edu.data import Batches
from vqdiff_edu.quantization.vector_quantizer import VectorQuantizer
from vqdiff_edu.quantization.vqvae import VQVAE
from vqdiff_edu.training import Recipe, fit

from ..ranks import leave, needs_gloo, on_two_ranks
from .test_training import Regression

RECIPE = Recipe("processes", steps=12, batch_size=8, lr=3e-3, ema_decay=0.9, log_every=1, checkpoint_every=12, seed=5)
IMAGES = torch.rand(32, 1, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
NOISE = torch.randn(32, 1, 16, 16, generator=torch.Generator().manual_seed(1))


class Pictures:
    """A VQ-VAE without chance: no k-means start, no revival."""

    def __init__(self, ema_decay):
        torch.manual_seed(0)
        quantizer = VectorQuantizer(16, 4, ema_decay=ema_decay, kmeans_init=False, revive_below=0.0)
        self.model = VQVAE(1, 16, quantizer, blocks=1)

    def loss(self, batch, generator):
        out = self.model(batch["x"])
        return out.loss, {"perplexity": out.perplexity}


class Denoising:
    """A Gaussian model whose noise comes with the batch, so that it is the same however many processes share it."""

    def __init__(self):
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.SiLU(), nn.Conv2d(8, 1, 3, padding=1))

    def loss(self, batch, generator):
        noisy = 0.8 * batch["x"] + 0.6 * batch["noise"]
        return (self.model(noisy) - batch["noise"]).square().mean(), {}


class Line:
    def __init__(self):
        torch.manual_seed(0)
        self.model = Regression()

    def loss(self, batch, generator):
        x = batch["x"].flatten(1)[:, :4]
        return (self.model.predict(x) - x.sum(1, keepdim=True)).square().mean(), {}


class Drawing(Denoising):
    """Learns from what its generator and the global one give, and writes it down."""

    def __init__(self):
        super().__init__()
        self.drawn = []

    def loss(self, batch, generator):
        self.drawn.append(torch.cat([torch.randn(4, generator=generator), torch.randn(4)]))
        return super().loss(batch | {"x": batch["x"] + self.drawn[-1][0]}, generator)


class OneFails(Denoising):
    """On rank 1 the loss of step 5 is not a number; its gradient is zero."""

    calls = 0

    def loss(self, batch, generator):
        loss, _ = super().loss(batch, generator)
        self.calls += 1
        bad = self.calls == 6 and int(os.environ["RANK"]) == 1
        return loss + (torch.full_like(loss, torch.nan) if bad else 0.0), {}


def losses(task, folder) -> list:
    """The loss of every step, and what else was logged."""
    data = Batches({"x": IMAGES, "noise": NOISE}, RECIPE.batch_size, seed=3)
    return [[entry["loss"], entry.get("perplexity", 0.0)] for entry in fit(task, data, RECIPE, folder).history]


def ends(folder) -> dict:
    """What the weights, the average and their buffers are at the end."""
    task = Line()
    run = fit(task, Batches({"x": IMAGES}, RECIPE.batch_size, seed=3), RECIPE, folder)
    return {"average": run.model.state_dict(), "model": task.model.state_dict()}


def stopped_by(task, folder) -> str:
    try:
        return str(losses(task, folder))
    except FloatingPointError as error:
        return str(error)


TASKS = {"running mean": lambda: Pictures(0.9), "gradient": lambda: Pictures(None), "noise of the batch": Denoising, "line": Line}


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    return on_two_ranks(__name__, tmp_path_factory.mktemp("ranks"))


@needs_gloo
@pytest.mark.parametrize("name", TASKS)
def test_two_processes_have_the_losses_of_one_at_the_same_batch(ranks, tmp_path, name):
    alone = torch.tensor(losses(TASKS[name](), tmp_path))
    assert ranks[0][name] == ranks[1][name]
    torch.testing.assert_close(torch.tensor(ranks[0][name]), alone, rtol=2e-3, atol=1e-5)


@needs_gloo
def test_two_processes_end_with_one_model_and_one_average(ranks, tmp_path):
    first, second = (rank["ends"] for rank in ranks)
    assert all(torch.equal(first[which][k], second[which][k]) for which in first for k in first[which])  # buffers as well
    alone = ends(tmp_path)["average"]
    assert all(torch.allclose(first["average"][k], alone[k], atol=1e-4) for k in alone if k.startswith("net"))


@needs_gloo
def test_every_process_draws_its_own_noise_and_all_keep_one_model(ranks):
    first, second = (rank["drawn"] for rank in ranks)
    assert not (first == second).any()  # neither from the training's generator nor from the global one
    for source, both in zip(("generator", "global"), torch.cat([first, second]).split(4, dim=1)):
        assert len(both.unique()) == both.numel(), f"the {source} noise comes twice"
    first, second = (rank["after drawing"] for rank in ranks)
    assert all(torch.equal(first[key], second[key]) for key in first)


@needs_gloo
def test_a_loss_that_is_not_finite_on_one_process_stops_all_of_them(ranks):
    for rank in ranks:
        assert "at step 5 is not finite" in rank["stopped"]


if __name__ == "__main__":
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    saw = {name: losses(make(), folder / name) for name, make in TASKS.items()}
    saw["ends"] = ends(folder / "ends")
    drawing = Drawing()
    losses(drawing, folder / "drawing")
    saw["drawn"], saw["after drawing"] = torch.stack(drawing.drawn), drawing.model.state_dict()
    saw["stopped"] = stopped_by(OneFails(), folder / "stopped")
    leave(saw, folder)
