"""Two processes keep one quantizer, and it is the one that a single process learns from the same batches.

Run as a program (by torchrun, below), this module trains every quantizer and leaves what each rank has.
"""

import sys
from pathlib import Path

import pytest
import torch

from vqdiff_edu.data import Batches
from vqdiff_edu.quantization.quantizers import FSQ, LFQ, GumbelQuantizer, ResidualVQ, SimVQ
from vqdiff_edu.quantization.vqvae import VQVAE
from vqdiff_edu.training import Recipe, fit

from ..ranks import leave, needs_gloo, on_two_ranks

RECIPE = Recipe("quantizers", steps=10, batch_size=8, lr=3e-3, ema_decay=None, log_every=1, checkpoint_every=10, seed=5)
IMAGES = torch.rand(32, 1, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
QUIET = dict(kmeans_init=False, revive_below=0.0)
MAKE = {
    "fsq": lambda: FSQ([4, 3, 2]),
    "lfq": lambda: LFQ(4, entropy_weight=1.0),
    "sim": lambda: SimVQ(16, 4),
    "residual": lambda: ResidualVQ(4, 4, 3, ema_decay=0.9, **QUIET),
    "residual, by gradient": lambda: ResidualVQ(4, 4, 3, ema_decay=None, **QUIET),
}
BY_CHANCE = {  # each process draws for itself, so only the two can be compared
    "gumbel": lambda: GumbelQuantizer(16, 4),
    "residual, started and revived": lambda: ResidualVQ(8, 4, 2, ema_decay=0.9),
}


class Pictures:
    def __init__(self, make):
        torch.manual_seed(0)
        self.model = VQVAE(1, 16, make(), blocks=1)

    def loss(self, batch, generator):
        out = self.model(batch["x"])
        return out.loss, {"perplexity": out.perplexity}


def learned(make, folder) -> dict:
    """Losses and perplexities of all steps, and all that the quantizer holds at the end."""
    run = fit(Pictures(make), Batches({"x": IMAGES}, RECIPE.batch_size, seed=3), RECIPE, folder)
    quantizer = run.model.quantizer
    levels = (quantizer.num_stages,) if isinstance(quantizer, ResidualVQ) else ()
    codes = torch.arange(quantizer.num_embeddings).view(-1, *[1] * len(levels)).expand(-1, *levels)
    with torch.no_grad():
        book = quantizer.lookup(codes)
    return {"log": torch.tensor([[e["loss"], e["perplexity"]] for e in run.history]), "book": book, "state": quantizer.state_dict()}


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    return on_two_ranks(__name__, tmp_path_factory.mktemp("ranks"))


@needs_gloo
@pytest.mark.parametrize("name", MAKE | BY_CHANCE)
def test_two_processes_hold_the_same_codes(ranks, name):
    first, second = (rank[name] for rank in ranks)
    assert torch.equal(first["book"], second["book"])
    assert all(torch.equal(first["state"][key], second["state"][key]) for key in first["state"])  # buffers as well


@needs_gloo
@pytest.mark.parametrize("name", MAKE)
def test_they_are_those_of_one_process_with_the_whole_batch(ranks, tmp_path, name):
    alone, shared = learned(MAKE[name], tmp_path), ranks[0][name]
    torch.testing.assert_close(shared["log"], alone["log"], rtol=2e-3, atol=1e-4)
    torch.testing.assert_close(shared["book"], alone["book"], rtol=1e-3, atol=1e-4)


if __name__ == "__main__":
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    saw = {name: learned(make, folder / name) for name, make in (MAKE | BY_CHANCE).items()}
    leave(saw, folder)
