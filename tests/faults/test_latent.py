"""The latents' module refuses what does not fit, by name."""

import pytest
import torch
from torch import nn

from vqdiff_edu.codes.latent import LatentCodec, LatentDigits, LatentUNet, fit_codec
from vqdiff_edu.data import digits
from vqdiff_edu.quantization.vector_quantizer import VectorQuantizer
from vqdiff_edu.quantization.vqvae import VQVAE

VQ = VQVAE(1, 16, VectorQuantizer(4, 8, kmeans_init=False)).eval()
MEAN, BASIS, SCALE = torch.zeros(8), torch.eye(8)[:, :3], torch.ones(3)


class Dull(nn.Module):
    """Sees the same in every picture."""

    quantizer = VQ.quantizer

    def encode_latents(self, x):
        return torch.zeros(len(x), 8, 7, 7)

    def decode_latents(self, z, quantize):
        return z


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"vqvae": nn.Identity()}, TypeError, "vqvae must have encode_latents .* got Identity"),
        ({"basis": torch.zeros(8)}, ValueError, "basis must be .*8 c"),
        ({"mean": torch.zeros(7)}, ValueError, r"mean must be .*8.* got shape \[7\]"),
        ({"basis": torch.eye(9)[:, :3]}, ValueError, r"basis must be .*8 c.* got shape \[9, 3\]"),
        ({"scale": torch.ones(8)}, ValueError, "scale must be .*3"),
    ],
)
def test_a_codec_that_does_not_fit(changes, error, words):
    with pytest.raises(error, match=f"^{words}"):
        LatentCodec(**{"vqvae": VQ, "mean": MEAN, "basis": BASIS, "scale": SCALE} | changes)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"channels": 0}, ValueError, "channels must be a whole number in 1 … 8"),
        ({"channels": 9}, ValueError, "channels must be"),
        ({"channels": 2.0}, TypeError, "channels must be"),
        ({"channels": True}, TypeError, "channels must be"),
        ({"channels": 3, "scaling": "zca"}, ValueError, "scaling must be one of 'common', 'whiten'; got 'zca'"),
    ],
)
def test_a_codec_that_cannot_be_fitted(options, error, words):
    with pytest.raises(error, match=f"^{words}"):
        fit_codec(VQ, digits("train", "stand-in").images[:4], **options)


@pytest.mark.parametrize("scaling", ["common", "whiten"])
def test_latents_that_do_not_vary_cannot_be_scaled(scaling):
    with pytest.raises(ValueError, match="^images must vary in 3 directions"):
        fit_codec(Dull(), digits("train", "stand-in").images[:4], 3, scaling)


def test_a_vqvae_or_a_codec_of_another_size():
    with pytest.raises(ValueError, match=r"^mean must be .*8"):
        LatentDigits(LatentUNet(3, 16, 1, dim=64, embedding=16), VQ)
    with pytest.raises(ValueError, match=r"codec.basis must have one shape, got \[8, 4\] and \[8, 3\]"):
        LatentDigits(LatentUNet(4, 16, 1, dim=8, embedding=16), VQ).adopt(LatentCodec(VQ, MEAN, BASIS, SCALE))
