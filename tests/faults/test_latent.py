"""The latents' module refuses what does not fit, by name."""

import pytest
import torch
from torch import nn

from vqdiff_edu.codes.latent import LatentCodec, LatentUNet, draw_latent, fit_codec
from vqdiff_edu.data import digits
from vqdiff_edu.quantization.vector_quantizer import VectorQuantizer
from vqdiff_edu.quantization.vqvae import VQVAE

VQ = VQVAE(1, 16, VectorQuantizer(4, 8, kmeans_init=False)).eval()
MEAN, BASIS, SCALE = torch.zeros(8), torch.eye(8)[:, :3], torch.ones(3)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"vqvae": nn.Identity()}, TypeError, "vqvae must have encode_latents .* got Identity"),
        ({"basis": torch.zeros(8)}, ValueError, r"basis must be \[dim, c\]"),
        ({"basis": torch.zeros(3, 8)}, ValueError, "basis must be"),
        ({"mean": torch.zeros(7)}, ValueError, r"mean must be \[8\]"),
        ({"scale": torch.ones(8)}, ValueError, r"scale \[3\]"),
        ({"scale": torch.tensor([1.0, 0.0, 1.0])}, ValueError, "scale must be positive"),
        ({"scale": torch.tensor([1.0, float("nan"), 1.0])}, ValueError, "scale must be positive"),
        ({"mean": torch.zeros(9), "basis": torch.eye(9)[:, :3]}, ValueError, "vqvae has latents of 8 channels"),
    ],
)
def test_a_codec_that_does_not_fit(changes, error, message):
    with pytest.raises(error, match=message):
        LatentCodec(**{"vqvae": VQ, "mean": MEAN, "basis": BASIS, "scale": SCALE} | changes)


@pytest.mark.parametrize("z", [torch.zeros(1, 4, 7, 7), torch.zeros(3, 7, 7), torch.zeros(1, 7, 7, 3)])
def test_latents_of_another_shape(z):
    with pytest.raises(ValueError, match=r"z must be \[batch, 3, height, width\]"):
        LatentCodec(VQ, MEAN, BASIS, SCALE).decode(z)


@pytest.mark.parametrize("channels", [0, 9, 2.0, True])
def test_a_number_of_channels_out_of_range(channels):
    with pytest.raises(ValueError, match="channels must be a whole number in 1 … 8"):
        fit_codec(VQ, digits("train", "stand-in").images[:4], channels)


def test_an_unknown_scaling():
    with pytest.raises(ValueError, match="scaling must be one of 'common', 'whiten'; got 'zca'"):
        fit_codec(VQ, digits("train", "stand-in").images[:4], 3, "zca")


def test_a_model_without_a_parent():
    model = LatentUNet(3, 16, 1, dim=8, embedding=16)
    with pytest.raises(ValueError, match="model has no VQ-VAE"):
        model.codec
    with pytest.raises(ValueError, match="model has no VQ-VAE"):
        draw_latent(model, torch.tensor([1]), num_inference_steps=1)


def test_a_parent_or_a_codec_of_another_size():
    with pytest.raises(ValueError, match="vqvae has latents of 8 channels"):
        LatentUNet(3, 16, 1, dim=64, embedding=16).attach(VQ)
    with pytest.raises(ValueError, match=r"codec must have a basis \[8, 4\], got \[8, 3\]"):
        LatentUNet(4, 16, 1, dim=8, embedding=16).adopt(LatentCodec(VQ, MEAN, BASIS, SCALE))
