"""Sizes that cannot be built, pictures and codes that do not fit: each refused by name."""

import pytest
import torch
from torch import nn

from vqdiff_edu.quantization.vector_quantizer import VectorQuantizer
from vqdiff_edu.quantization.vqvae import VQVAE

MODEL = VQVAE(1, 16, VectorQuantizer(8, 4), blocks=0).eval()


def build(**changed):
    return VQVAE(**{"in_channels": 1, "hidden": 16, "quantizer": VectorQuantizer(8, 4), "downsample": 4, "blocks": 1} | changed)


@pytest.mark.parametrize("downsample", [0, 1, 3, 6, -4, 4.0, "4", True, None])
def test_downsample_that_is_no_power_of_two(downsample):
    with pytest.raises(ValueError, match=f"downsample must be .*{downsample!r}"):
        build(downsample=downsample)


@pytest.mark.parametrize(("name", "value"), [("in_channels", 0), ("in_channels", 1.5), ("hidden", 0), ("blocks", -1), ("blocks", "2")])
def test_sizes_that_are_no_counts(name, value):
    with pytest.raises(ValueError, match=f"{name} must be a whole number of at least .*{value!r}"):
        build(**{name: value})


@pytest.mark.parametrize(("hidden", "downsample", "step"), [(24, 4, 16), (8, 8, 16), (12, 2, 8)])
def test_a_width_that_cannot_be_grouped(hidden, downsample, step):
    with pytest.raises(ValueError, match=f"hidden must be a multiple of {step} for downsample={downsample}, got {hidden}"):
        build(hidden=hidden, downsample=downsample)


def test_a_quantizer_that_is_none():
    with pytest.raises(TypeError, match="quantizer must have an embedding_dim.*Identity"):
        build(quantizer=nn.Identity())


@pytest.mark.parametrize(
    "shape", [(28, 28), (1, 28, 28), (2, 3, 28, 28), (2, 1, 28, 30), (2, 1, 27, 28), (0, 1, 28, 28), (2, 1, 1, 28, 28)]
)
@pytest.mark.parametrize("call", [MODEL, MODEL.encode, MODEL.encode_latents], ids=["forward", "encode", "encode_latents"])
def test_pictures_of_another_shape(call, shape):
    with pytest.raises(
        ValueError, match=r"x must be \[batch, 1, height, width\] with sides divisible by 4, got \[" + ", ".join(map(str, shape))
    ):
        call(torch.zeros(shape))


def test_bytes_for_floats():
    with pytest.raises(TypeError, match="x must be a float tensor in .*uint8.*to_float"):
        MODEL.encode(torch.zeros(1, 1, 28, 28, dtype=torch.uint8))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_pictures_that_are_not_finite(bad):
    x = torch.zeros(1, 1, 28, 28)
    x[0, 0, 3, 3] = bad
    with pytest.raises(ValueError, match="x must be finite; 1 of its values"):
        MODEL(x)


@pytest.mark.parametrize("code", [-1, 8])
def test_codes_outside_the_codebook(code):
    indices = torch.zeros(1, 7, 7, dtype=torch.int64)
    indices[0, 0, 0] = code
    with pytest.raises(ValueError, match=r"indices must lie in 0 … 7"):
        MODEL.decode(indices)


def test_codes_that_are_no_integers():
    with pytest.raises(TypeError, match="indices must be an integer tensor"):
        MODEL.decode(torch.zeros(1, 7, 7))


@pytest.mark.parametrize("shape", [(7, 7), (49,), (1, 7, 7, 2)])
def test_codes_without_a_grid(shape):
    with pytest.raises(ValueError, match=r"indices must stand for latents \[batch, 4, height, width\]"):
        MODEL.decode(torch.zeros(shape, dtype=torch.int64))


@pytest.mark.parametrize("shape", [(1, 5, 7, 7), (4, 7, 7), (1, 4, 49)])
@pytest.mark.parametrize("quantize", [True, False])
def test_latents_of_another_shape(shape, quantize):
    with pytest.raises(ValueError, match=r"z must stand for latents \[batch, 4, height, width\]"):
        MODEL.decode_latents(torch.zeros(shape), quantize=quantize)


def test_latents_are_finite_floats():
    with pytest.raises(TypeError, match="z must be a float tensor, got torch.int64"):
        MODEL.decode_latents(torch.zeros(1, 4, 7, 7, dtype=torch.int64), False)
    with pytest.raises(ValueError, match="z must be finite; 196"):
        MODEL.decode_latents(torch.full((1, 4, 7, 7), float("nan")), False)


def test_double_precision_is_brought_to_the_weights():
    x = torch.zeros(1, 1, 28, 28)
    torch.testing.assert_close(MODEL.encode_latents(x.double()), MODEL.encode_latents(x))
