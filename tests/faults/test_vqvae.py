"""Sizes that cannot be built, pictures and codes that do not fit: each refused by name."""

import pytest
import torch
from torch import nn

from vqdiff_edu.quantization.vector_quantizer import VectorQuantizer
from vqdiff_edu.quantization.vqvae import VQVAE

MODEL = VQVAE(1, 16, VectorQuantizer(8, 4), blocks=0).eval()


def build(**changed):
    return VQVAE(**{"in_channels": 1, "hidden": 16, "quantizer": VectorQuantizer(8, 4), "downsample": 4, "blocks": 1} | changed)


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        *(({"downsample": bad}, ValueError, f"downsample must be .*{bad!r}") for bad in (0, 1, 3, 6, -4, 4.0, "4", True, None)),
        ({"in_channels": 0}, ValueError, "in_channels must be .* at least 1, got 0"),
        ({"in_channels": 1.5}, TypeError, "in_channels must be .*1.5"),
        ({"hidden": 0}, ValueError, "hidden must be .* at least 1, got 0"),
        ({"blocks": -1}, ValueError, "blocks must be .* at least 0, got -1"),
        ({"blocks": "2"}, TypeError, "blocks must be .*'2'"),
        ({"hidden": 24}, ValueError, "hidden must be a multiple of 16 for downsample=4, got 24"),
        ({"hidden": 8, "downsample": 8}, ValueError, "hidden must be a multiple of 16 for downsample=8, got 8"),
        ({"hidden": 12, "downsample": 2}, ValueError, "hidden must be a multiple of 8 for downsample=2, got 12"),
        ({"quantizer": nn.Identity()}, TypeError, "quantizer must have an embedding_dim.*Identity"),
    ],
)
def test_what_cannot_be_built_is_refused_by_name(changed, error, message):
    with pytest.raises(error, match=message):
        build(**changed)


def floats(*shape):
    return torch.zeros(shape)


def whole(*shape):
    return torch.zeros(shape, dtype=torch.int64)


@pytest.mark.parametrize(
    ("ask", "given", "error", "name"),
    [
        *((ask, floats(*s), ValueError, "x") for ask in ("encode", "encode_latents") for s in [(28, 28), (1, 28, 28), (2, 3, 28, 28)]),
        *(("encode", floats(*s), ValueError, "x") for s in [(2, 1, 28, 30), (2, 1, 27, 28), (0, 1, 28, 28), (2, 1, 1, 28, 28)]),
        ("encode", torch.zeros(1, 1, 28, 28, dtype=torch.uint8), TypeError, "x"),
        ("decode", floats(1, 7, 7), TypeError, "indices"),
        ("decode", whole(7, 7), ValueError, "indices"),
        ("decode", whole(49), ValueError, "indices"),
        ("decode", whole(1, 7, 7, 2), ValueError, "z"),  # levels that this quantizer does not have
        *(("decode_latents", floats(*s), ValueError, "z") for s in [(1, 5, 7, 7), (4, 7, 7), (1, 4, 49)]),
        ("decode_latents", whole(1, 4, 7, 7), TypeError, "z"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(ask, given, error, name):
    with pytest.raises(error, match=f"^{name} must "):
        getattr(MODEL, ask)(given)


@pytest.mark.parametrize("code", [-1, 8])
def test_codes_outside_the_codebook(code):
    with pytest.raises(IndexError):
        MODEL.decode(torch.full((1, 7, 7), code))


def test_a_picture_that_is_not_finite_gives_a_loss_that_is_not_finite():
    x = floats(1, 1, 28, 28)
    x[0, 0, 3, 3] = torch.nan
    assert MODEL(x).loss.isnan()


def test_double_precision_is_brought_to_the_weights():
    x = torch.zeros(1, 1, 28, 28)
    torch.testing.assert_close(MODEL.encode_latents(x.double()), MODEL.encode_latents(x))
