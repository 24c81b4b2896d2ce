"""Our quantizer beside vector-quantize-pytorch and diffusers: same codebook and input, same codes, losses and update.

Where they differ by design: vector-quantize-pytorch smooths its counts (`eps`), so that an empty code never divides by zero, where ours leaves the
code in its place; its default estimator is the rotation trick. diffusers puts beta on the codebook term unless told `legacy=False`.
"""

import pytest
import torch

from vqdiff_edu.quantization.vector_quantizer import VectorQuantizer

BETA, DECAY, K, DIM = 0.3, 0.9, 32, 8


@pytest.fixture
def scene():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(16, DIM, 5, 5, generator=generator), torch.randn(K, DIM, generator=generator)


def ours(codebook, **options):
    quantizer = VectorQuantizer(K, DIM, commitment_cost=BETA, kmeans_init=False, revive_below=0.0, **options)
    with torch.no_grad():
        quantizer.codebook.copy_(codebook)
        quantizer.total.copy_(codebook)
    return quantizer


def lucidrains(codebook, **options):
    library = pytest.importorskip("vector_quantize_pytorch")
    shared = dict(decay=DECAY, commitment_weight=BETA, threshold_ema_dead_code=0, channel_last=False, accept_image_fmap=True, eps=1e-9)
    peer = library.VectorQuantize(DIM, K, **shared, **options)
    peer._codebook.embed.data.copy_(codebook[None])
    peer._codebook.embed_avg.data.copy_(codebook[None])
    return peer


@pytest.mark.parametrize("estimator", ["straight_through", "rotation"])
def test_codes_loss_gradient_and_update_agree_with_vector_quantize_pytorch(scene, estimator):
    z, codebook = scene
    peer, mine = lucidrains(codebook, rotation_trick=estimator == "rotation"), ours(codebook, ema_decay=DECAY, estimator=estimator)
    z_peer, z_mine = z.clone().requires_grad_(), z.clone().requires_grad_()
    theirs, indices, loss = peer(z_peer)
    out = mine(z_mine)
    assert torch.equal(out.indices, indices)
    torch.testing.assert_close(out.z_q, theirs, atol=1e-5, rtol=0)  # they add and subtract z, which rounds
    torch.testing.assert_close(out.loss, loss.squeeze(), atol=1e-6, rtol=1e-5)
    (theirs.pow(3).mean() + loss.sum()).backward()
    (out.z_q.pow(3).mean() + out.loss).backward()
    torch.testing.assert_close(z_mine.grad, z_peer.grad, atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(mine.count, peer._codebook.cluster_size[0], atol=1e-5, rtol=0)
    torch.testing.assert_close(mine.codebook, peer._codebook.embed[0], atol=1e-5, rtol=0)


@pytest.mark.parametrize("legacy", [False, True])
def test_gradients_agree_with_diffusers_once_beta_is_on_the_right_term(scene, legacy):
    library = pytest.importorskip("diffusers.models.autoencoders.vae")
    z, codebook = scene
    peer = library.VectorQuantizer(K, DIM, beta=BETA, legacy=legacy, sane_index_shape=True)
    peer.embedding.weight.data.copy_(codebook)
    z_peer, z_mine = z.clone().requires_grad_(), z.clone().requires_grad_()
    theirs, loss, (_, _, indices) = peer(z_peer)
    mine = ours(codebook, ema_decay=None)
    out = mine(z_mine)
    assert torch.equal(out.indices, indices)
    torch.testing.assert_close(out.z_q, theirs, atol=1e-5, rtol=0)
    torch.testing.assert_close(out.loss, loss)  # the value does not tell on which term beta is
    loss.backward(), out.loss.backward()
    factor = 1 / BETA if legacy else 1.0
    torch.testing.assert_close(factor * z_mine.grad, z_peer.grad, atol=1e-8, rtol=1e-4)
    torch.testing.assert_close(mine.codebook.grad / factor, peer.embedding.weight.grad, atol=1e-8, rtol=1e-4)
