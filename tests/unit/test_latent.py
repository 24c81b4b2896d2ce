"""The latents' coordinates, the network that holds them, and the way from a label to a digit."""

import copy

import pytest
import torch

from vqdiff_edu.codes.latent import LatentCodec, LatentDigits, LatentUNet, fit_codec, latent_digits, principal_components
from vqdiff_edu.data import digits, to_float
from vqdiff_edu.process import DiffusionTask
from vqdiff_edu.quantization.vector_quantizer import VectorQuantizer
from vqdiff_edu.quantization.vqvae import VQVAE


@pytest.fixture(scope="module")
def data():
    return digits("train", "stand-in")


@pytest.fixture(scope="module")
def vqvae():
    torch.manual_seed(0)
    return VQVAE(1, 16, VectorQuantizer(16, 8, kmeans_init=False)).eval()


@pytest.fixture(scope="module")
def codec(vqvae, data):
    return fit_codec(vqvae, data.images[:40], channels=3)


def small(codec, **changes):
    torch.manual_seed(0)
    model = LatentUNet(codec.basis.shape[1], 16, 1, **{"dim": 8, "embedding": 16} | changes)
    return LatentDigits(model, codec.vqvae).adopt(codec).eval()


def test_principal_components_of_a_cloud_known_in_advance():
    g = torch.Generator().manual_seed(0)
    turn = torch.linalg.qr(torch.randn(3, 3, generator=g)).Q
    cloud = torch.randn(50, 3, 20, 20, generator=g) * torch.tensor([3.0, 1.0, 0.1])[:, None, None]
    mean, variances, directions = principal_components(torch.einsum("bchw,dc->bdhw", cloud, turn) + 5)
    assert mean.dtype == variances.dtype == directions.dtype == torch.float64
    assert torch.allclose(variances, torch.tensor([9.0, 1.0, 0.01]).double(), rtol=0.05)
    assert torch.allclose((directions.T @ turn.double()).abs(), torch.eye(3).double(), atol=0.02)
    assert torch.allclose(mean, torch.full((3,), 5.0).double(), atol=0.1)


@pytest.mark.parametrize("scaling", ["common", "whiten"])
def test_the_scaled_latents_have_mean_0_and_mean_variance_1(vqvae, data, scaling):
    z = fit_codec(vqvae, data.images[:60], 3, scaling).encode(to_float(data.images[:60]))
    assert z.shape == (60, 3, 7, 7)
    by_channel = z.double().var((0, 2, 3))
    assert z.mean().abs() < 0.02 and abs(by_channel.mean() - 1) < 0.02
    assert scaling == "common" or torch.allclose(by_channel, torch.ones(3).double(), atol=0.02)
    correlation = torch.corrcoef(z.movedim(1, 0).flatten(1).double())
    assert (correlation - torch.eye(3)).abs().max() < 0.02


def test_with_all_channels_nothing_is_lost(vqvae, data):
    x = to_float(data.images[:10])
    full = fit_codec(vqvae, data.images[:60], 8)
    assert torch.allclose(full.decode(full.encode(x), quantize=False), vqvae.decode_latents(vqvae.encode_latents(x), False), atol=2e-2)


def test_the_quantizer_is_used_unless_told_otherwise(vqvae, codec, data):
    z = codec.encode(to_float(data.images[:4]))
    assert torch.equal(codec.decode(z), vqvae.decode_latents(codec.lift(z), True))
    assert torch.equal(codec.decode(z, quantize=False), vqvae.decode_latents(codec.lift(z), False))
    assert not torch.equal(codec.decode(z), codec.decode(z, quantize=False))


def test_constants_survive_storage_in_half_precision(codec):
    for constant in (codec.mean, codec.basis, codec.scale):
        assert torch.equal(constant, constant.half().float())


def test_the_vqvae_is_a_part_of_the_pipeline_and_not_of_what_is_stored(codec):
    latents = small(codec)
    model = latents.model
    assert any(key.startswith("vqvae.") for key in latents.state_dict())
    assert {"mean", "basis", "scale"} <= model.state_dict().keys()
    assert not any("encoder" in key or "quantizer" in key for key in model.state_dict())
    assert sum(p.numel() for p in model.parameters()) < sum(v.numel() for v in model.state_dict().values())
    assert not any(p.requires_grad for p in codec.vqvae.parameters())


def test_one_file_carries_network_and_coordinates(codec, vqvae, data):
    other = LatentUNet(3, 16, 1, dim=8, embedding=16)
    other.load_state_dict(small(codec).model.state_dict())
    x = to_float(data.images[:3])
    assert torch.allclose(LatentDigits(other, vqvae).codec.encode(x), codec.encode(x), atol=1e-5)


def test_a_copy_has_a_codec_of_its_own(codec, data):
    model = small(codec)
    twin = copy.deepcopy(model)
    twin.model.scale.mul_(2)
    x = to_float(data.images[:2])
    assert torch.allclose(2 * twin.codec.encode(x), model.codec.encode(x))


def test_the_shipped_size_and_its_way_of_diffusing():
    model = LatentUNet()
    assert sum(p.numel() for p in model.parameters()) <= 1_500_000
    assert len(model.middle) == 4 and model.divisor == 1
    assert model.diffusion.clip_range is None and model.diffusion.objective == "v"


def test_latents_of_all_digits_in_their_order(codec, data):
    found = latent_digits(codec, data.images[:7], data.labels[:7])
    assert torch.equal(found["latent"], codec.encode(to_float(data.images[:7])))
    assert torch.equal(found["label"], data.labels[:7])


def test_a_few_steps_lower_the_loss(codec, data):
    batch = latent_digits(codec, data.images[:32], data.labels[:32])
    model = small(codec).train().model
    task, optimizer, losses = DiffusionTask(model, key="latent"), torch.optim.Adam(model.parameters(), 3e-3), []
    for _ in range(40):
        loss, logs = task.loss(batch, torch.Generator().manual_seed(0))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
    assert logs.keys() == {"mse", "x_start_mse"}


def test_digits_are_drawn_from_labels_and_a_seed(codec):
    latents, labels = small(codec), torch.tensor([3, 1, 4])
    first, again = (latents(labels, num_inference_steps=2, generator=torch.Generator().manual_seed(1)) for _ in range(2))
    assert first.shape == (3, 1, 28, 28) and first.abs().max() <= 1
    assert torch.equal(first, again)
    assert not torch.equal(first, latents(labels, num_inference_steps=2, generator=torch.Generator().manual_seed(2)))


def test_encoding_and_decoding_build_no_graph(codec, data):
    x = to_float(data.images[:1]).requires_grad_()
    assert not codec.encode(x).requires_grad
    assert not codec.decode(codec.encode(x).requires_grad_()).requires_grad


def test_a_codec_by_hand(vqvae):
    basis = torch.eye(8)[:, :2]
    codec = LatentCodec(vqvae, torch.full((8,), 1.0), basis, torch.tensor([2.0, 4.0]))
    z_e = torch.arange(8.0)[None, :, None, None]
    assert codec.project(z_e).flatten().tolist() == [-0.5, 0.0]
    assert codec.lift(torch.tensor([3.0, -1.0])[None, :, None, None]).flatten().tolist() == [7.0, -3.0, 1, 1, 1, 1, 1, 1]
