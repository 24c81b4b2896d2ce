"""What must hold of the latents' coordinates for any cloud and any number of channels."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vqdiff_edu.codes.latent import LatentCodec, principal_components
from vqdiff_edu.quantization.vector_quantizer import VectorQuantizer
from vqdiff_edu.quantization.vqvae import VQVAE

few = settings(deadline=None, max_examples=25)
VQ = VQVAE(1, 16, VectorQuantizer(4, 6, kmeans_init=False)).eval()


def cloud(seed):
    """Grids of 6-vectors with directions of very different size."""
    g = torch.Generator().manual_seed(seed)
    mixing = torch.randn(6, 6, generator=g, dtype=torch.float64) * torch.logspace(1, -2, 6, dtype=torch.float64)
    return torch.einsum("bchw,dc->bdhw", torch.randn(20, 6, 3, 3, generator=g, dtype=torch.float64), mixing) + 3


def codec_of(seed, channels, scaling):
    mean, variances, directions = principal_components(cloud(seed))
    kept = variances[:channels]
    scale = kept.sqrt() if scaling == "whiten" else kept.mean().sqrt().expand(channels)
    return LatentCodec(VQ, mean, directions[:, :channels], scale)


codecs = st.builds(codec_of, st.integers(0, 50), st.integers(1, 6), st.sampled_from(["whiten", "common"]))


@few
@given(seed=st.integers(0, 50), channels=st.integers(0, 6))
def test_what_is_dropped_is_the_sum_of_the_small_eigenvalues(seed, channels):
    mean, variances, directions = principal_components(cloud(seed))
    assert (variances.diff() <= 1e-9).all()
    centred = cloud(seed).movedim(1, -1).flatten(0, -2) - mean
    kept = directions[:, :channels]
    residual = (centred - centred @ kept @ kept.T).square().sum(1).mean()
    assert torch.allclose(residual, variances[channels:].sum(), atol=1e-8, rtol=1e-6)


@few
@given(codec=codecs, seed=st.integers(0, 1000))
def test_projecting_undoes_lifting(codec, seed):
    z = torch.randn(2, len(codec.scale), 3, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    assert torch.allclose(codec.project(codec.lift(z)), z, atol=1e-6)


@few
@given(codec=codecs, seed=st.integers(0, 1000))
def test_distances_after_lifting_weigh_each_channel_by_its_scale(codec, seed):
    g = torch.Generator().manual_seed(seed)
    a, b = torch.randn(2, 4, len(codec.scale), 2, 2, generator=g, dtype=torch.float64)
    lifted = (codec.lift(a) - codec.lift(b)).square().sum(1)
    assert torch.allclose(lifted, ((a - b) * codec.scale[:, None, None]).square().sum(1), rtol=1e-6, atol=1e-9)
