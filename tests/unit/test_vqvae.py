"""The VQ-VAE: shapes, who learns when, who receives which gradient, and the shipped model."""

import os
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vqdiff_edu.data import digits, to_float
from vqdiff_edu.quantization.vector_quantizer import Quantized, VectorQuantizer
from vqdiff_edu.quantization.vqvae import VQVAE, ConvBlock, make_decoder, make_encoder, stage_widths
from vqdiff_edu.registry import load_pretrained

from ..reads import Reads


def make(in_channels=1, downsample=4, seed=0, **options):
    torch.manual_seed(seed)
    return VQVAE(in_channels, 16, VectorQuantizer(12, 8, **options), downsample=downsample, blocks=1)


def pictures(n=3, channels=1, side=16, seed=0):
    return torch.rand(n, channels, side, side, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def buffers(model):
    return {name: value.clone() for name, value in model.quantizer.state_dict().items()}


@pytest.mark.parametrize("downsample", [2, 4, 8])
@pytest.mark.parametrize("in_channels", [1, 3])
def test_shapes(in_channels, downsample):
    model, x = make(in_channels, downsample).eval(), pictures(2, in_channels, 24)
    side = 24 // downsample
    out = model(x)
    assert out.x_hat.shape == x.shape
    assert out.indices.shape == (2, side, side) and out.indices.dtype == torch.int64
    assert model.encode_latents(x).shape == (2, 8, side, side)
    assert model.decode(out.indices).shape == x.shape
    assert out.loss.shape == out.recon_loss.shape == out.quantization_error.shape == out.perplexity.shape == ()


def test_sides_may_differ():
    model = make(downsample=8).eval()
    x = torch.zeros(1, 1, 16, 40)
    assert model.encode(x).shape == (1, 2, 5)
    assert model.decode(model.encode(x)).shape == x.shape


@pytest.mark.parametrize(("downsample", "widths"), [(2, [32]), (4, [16, 32]), (8, [16, 16, 32]), (16, [16, 16, 16, 32])])
def test_stages(downsample, widths):
    assert stage_widths(32, downsample) == widths
    strides = [layer for layer in make_encoder(1, 32, 4, downsample, 0) if isinstance(layer, nn.Conv2d) and layer.stride == (2, 2)]
    unfolds = [layer for layer in make_decoder(1, 32, 4, downsample, 0) if isinstance(layer, nn.PixelShuffle)]
    assert len(strides) == len(widths) - 1 and len(unfolds) == len(widths)


def test_state_keys_are_those_of_the_shipped_weights():
    keys = VQVAE(1, 64, VectorQuantizer(512, 64)).state_dict().keys()
    assert keys == load_pretrained("mnist-vqvae").state_dict().keys()
    assert {key.split(".")[0] for key in keys} == {"encoder", "decoder", "quantizer"}
    assert {"encoder.1.weight", "encoder.3.weight", "encoder.6.bias", "decoder.0.weight", "decoder.6.weight"} <= keys


def test_encoding_then_decoding_is_the_forward_pass():
    model, x = make().eval(), pictures()
    out, z = model(x), model.encode_latents(x)
    assert torch.equal(model.encode(x), out.indices)
    assert torch.equal(model.decode(out.indices), out.x_hat)
    assert torch.equal(model.decode_latents(z), out.x_hat)
    assert torch.equal(model.decode_latents(z, quantize=False), model.decoder(z))
    assert not torch.allclose(model.decode_latents(z, quantize=False), out.x_hat)


def test_losses_are_means_over_elements():
    model, x = make().train(), pictures()
    out = model(x)
    z = model.encode_latents(x)
    assert torch.allclose(out.recon_loss, (out.x_hat - x).square().sum() / x.numel())
    moved = out.loss - out.recon_loss  # the commitment: 0.25 times the quantization error
    assert torch.allclose(moved, 0.25 * out.quantization_error, atol=1e-7)
    assert not out.quantization_error.requires_grad
    assert out.quantization_error > 0 and z.shape == (3, 8, 4, 4)


def test_the_quantization_error_compares_what_the_quantizer_compares():
    model, x = make(metric="cosine", kmeans_init=False).eval(), pictures()
    out, z = model(x), model.encode_latents(x)
    directions = z / z.square().sum(1, keepdim=True).sqrt()
    codes = model.quantizer.lookup(out.indices)
    assert out.quantization_error.item() == pytest.approx((directions - codes).square().mean().item(), rel=1e-4)


def test_the_output_is_a_tuple_that_others_can_take_apart():
    out = make().eval()(pictures())
    assert isinstance(out, tuple) and out._fields == ("x_hat", "loss", "recon_loss", "quantization_error", "indices", "perplexity")


@pytest.mark.parametrize("training", [False, True])
def test_a_pass_reads_nothing_back(training):
    model, x = make(), pictures()
    model(x)  # the start may
    model.train(training)
    with Reads() as reads:
        model(x).loss.backward()
    assert reads.found == []


ONE_GRAPH = """
import torch
from vqdiff_edu.quantization.vector_quantizer import VectorQuantizer
from vqdiff_edu.quantization.vqvae import VQVAE

for options in ({}, {"ema_decay": None}, {"metric": "cosine"}, {"estimator": "rotation"}):
    model, x = VQVAE(1, 16, VectorQuantizer(8, 4, **options), blocks=1), torch.rand(2, 1, 16, 16)
    model(x)
    for training in (False, True):
        torch._dynamo.reset()
        assert torch._dynamo.explain(model.train(training))(x).graph_count == 1, (options, training)
"""


def test_it_compiles_to_one_graph_once_the_quantizer_has_started():
    plain = {**os.environ, "JAXTYPING_DISABLE": "1"}  # the shape checks of the tests would break the graph
    done = subprocess.run([sys.executable, "-c", ONE_GRAPH], env=plain, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


def test_asking_for_codes_never_moves_the_codebook():
    model, x = make().train(), pictures()
    model(x)  # k-means start
    before = buffers(model)
    model.encode(x), model.decode_latents(model.encode_latents(x)), model.quantize(model.encode_latents(x))
    assert all(torch.equal(before[name], value) for name, value in model.quantizer.state_dict().items())
    assert model.training and model.quantizer.training
    model(pictures(seed=1))
    assert not torch.equal(before["codebook"], model.quantizer.codebook)


def test_a_forward_pass_in_eval_mode_moves_nothing():
    model, x = make().eval(), pictures()
    before = buffers(model)
    model(x)
    assert all(torch.equal(before[name], value) for name, value in model.quantizer.state_dict().items())


@pytest.mark.parametrize("training", [True, False])
def test_the_mode_is_put_back_after_an_error(training):
    class Failing(nn.Module):
        embedding_dim = 8

        def forward(self, z):
            raise RuntimeError("no")

    quantizer = Failing().train(training)
    with pytest.raises(RuntimeError):
        VQVAE(1, 16, quantizer).quantize(torch.zeros(1, 8, 2, 2))
    assert quantizer.training is training


def test_the_picture_loss_reaches_every_weight_of_the_encoder():
    model, x = make(commitment_cost=0.0).train(), pictures()
    model(x).recon_loss.backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in model.encoder.parameters())
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in model.decoder.parameters())


def test_the_commitment_reaches_the_encoder_and_not_the_decoder():
    model, x = make().train(), pictures()
    out = model(x)
    (out.loss - out.recon_loss).backward()
    assert any(p.grad is not None and p.grad.abs().max() > 0 for p in model.encoder.parameters())
    assert all(p.grad is None or p.grad.abs().max() == 0 for p in model.decoder.parameters())


def test_a_codebook_learned_by_gradient_gets_its_gradient():
    model, x = make(ema_decay=None).train(), pictures()
    model(x).loss.backward()
    assert model.quantizer.codebook.grad.abs().max() > 0


def test_the_blocks_are_corrections():
    block = ConvBlock(16)
    nn.init.zeros_(block.second.weight), nn.init.zeros_(block.second.bias)
    x = torch.randn(2, 16, 5, 5)
    assert torch.equal(block(x), x)


def test_a_quantizer_with_levels_fits():
    """Residual quantizers add an axis to the indices and have a perplexity a level; the class must not care."""

    class TwoLevels(nn.Module):
        embedding_dim, num_embeddings = 4, 2

        def forward(self, z):
            indices = torch.stack([(z.mean(1) > 0).long()] * 2, -1)
            return Quantized(self.lookup(indices), indices, z.new_zeros(()), z.new_ones(2))

        def lookup(self, indices):
            return indices.sum(-1)[:, None].float().expand(-1, 4, -1, -1)

    model, x = VQVAE(1, 16, TwoLevels(), blocks=0), pictures()
    out = model(x)
    assert out.indices.shape == (3, 4, 4, 2) and out.perplexity.shape == (2,)
    assert torch.equal(model.decode(model.encode(x)), out.x_hat)


def test_it_learns():
    model = make(downsample=4, seed=1)
    x = to_float(digits("train", "stand-in").images[:32])
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    model.train()
    for _ in range(60):
        optimizer.zero_grad()
        model(x).loss.backward()
        optimizer.step()
    best_constant = (x - x.mean(0)).square().mean()
    assert F.mse_loss(model.eval()(x).x_hat, x) < 0.5 * best_constant


def test_the_shipped_model_draws_digits_again():
    model = load_pretrained("mnist-vqvae")
    x = to_float(digits("test", "stand-in").images[:64])  # digits it has never seen the like of
    x_hat = model.decode(model.encode(x)).clamp(-1, 1)
    assert F.mse_loss(x_hat, x) / 4 < 0.1 * x.var() / 4
    shuffled = model.encode(x).flatten(1)[:, torch.randperm(49)].view(-1, 7, 7)
    assert F.mse_loss(model.decode(shuffled).clamp(-1, 1), x) > 5 * F.mse_loss(x_hat, x)
