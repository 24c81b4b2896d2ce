"""The shared space and the index refuse what does not fit, by name."""

import pytest
import torch

from vqdiff_edu.crossmodal.audio import speech
from vqdiff_edu.crossmodal.retrieval import (
    CellIndex,
    SharedSpace,
    SpaceTask,
    TripleBatches,
    bootstrap_interval,
    draw_cards,
    embed_captions,
    embed_pictures,
    embed_recordings,
)
from vqdiff_edu.data import digits

STAND_IN, SOUNDS = digits("test", "stand-in"), speech("test", "stand-in")
SPACE = SharedSpace(dim=4, widths=(4, 4, 4), features=8).eval()
VECTORS = torch.randn(50, 6, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: embed_pictures(SPACE, torch.zeros(2, 1, 28, 28)), TypeError, "images must be .* got dtype torch.float32"),
        (lambda: embed_pictures(SPACE, torch.zeros(2, 28, 28, dtype=torch.uint8)), ValueError, "images must be .* got shape"),
        (lambda: embed_pictures(SPACE, torch.zeros(2, 1, 56, 56, dtype=torch.uint8)), ValueError, "images must be .* got shape"),
        (lambda: embed_pictures(SPACE, torch.zeros(0, 1, 28, 28, dtype=torch.uint8)), ValueError, "images must be .* not empty"),
        (lambda: embed_recordings(SPACE, torch.zeros(4000)), ValueError, "samples must be"),
        (lambda: embed_recordings(SPACE, torch.full((1, 4000), torch.nan)), ValueError, "samples must be"),
        (
            lambda: embed_captions(SPACE, ["a big purple seven"]),
            ValueError,
            "captions must consist of the .* words of the grammar, got 'purple'",
        ),
        (lambda: SharedSpace(dim=1), ValueError, "dim must be a whole number of at least 2, got 1"),
        (lambda: SharedSpace(temperature=0.0), ValueError, "temperature must be .* above 0"),
        (lambda: SpaceTask(SPACE, "some"), ValueError, "loss must be one of 'pairs', 'all', 'any'; got 'some'"),
        (lambda: TripleBatches(STAND_IN, SOUNDS, 0), ValueError, "batch_size must be a whole number of at least 1, got 0"),
        (lambda: draw_cards(0, STAND_IN), ValueError, "n must be a whole number of at least 1, got 0"),
        (lambda: draw_cards(3, STAND_IN, combinations="new"), ValueError, "combinations must be one of"),
        (lambda: bootstrap_interval(torch.zeros(0)), ValueError, "values must be .* not empty"),
        (lambda: CellIndex(VECTORS, 0), ValueError, "cells must be a whole number in 1 … 50, got 0"),
        (lambda: CellIndex(VECTORS, 51), ValueError, "cells must be"),
        (lambda: CellIndex(VECTORS, 2, 4), ValueError, "parts must divide the 6 dimensions of vectors, got 4"),
        (lambda: CellIndex(VECTORS, 2, 0), ValueError, "parts must be a whole number of at least 1, got 0"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(call, error, words):
    with pytest.raises(error, match=f"^{words}"):
        call()
