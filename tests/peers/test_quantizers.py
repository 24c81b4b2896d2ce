"""Our quantizers beside vector-quantize-pytorch: same input, same codes, values, losses and gradients.

Where they differ by design: its FSQ shifts an even number of levels by half a step unless told `preserve_symmetry=True`; its residual quantizer
hands the encoder the gradient of the output once per stage; it orders LFQ's bits from the last channel.
"""

import pytest
import torch

from vqdiff_edu.quantization.quantizers import FSQ, LFQ, ResidualVQ, SimVQ

library = pytest.importorskip("vector_quantize_pytorch")


def latents(dim, n=300):
    return torch.randn(n, 1, dim, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("levels", [[8, 8, 8], [7, 5, 5], [2, 3, 4]])
def test_fsq(levels):
    z = latents(len(levels))
    z_peer, z_mine = z.clone().requires_grad_(), z.movedim(1, -1).clone().requires_grad_()
    theirs, their_codes = library.FSQ(levels, preserve_symmetry=True)(z_peer)
    mine = FSQ(levels)(z_mine)
    assert torch.equal(mine.indices, their_codes)
    torch.testing.assert_close(mine.z_q.movedim(-1, 1), theirs, atol=1e-6, rtol=0)
    theirs.pow(3).sum().backward(), mine.z_q.pow(3).sum().backward()
    torch.testing.assert_close(z_mine.grad.movedim(-1, 1), z_peer.grad, atol=1e-5, rtol=1e-4)


def test_lfq_codes_and_entropies():
    z = latents(6)
    peer = library.LFQ(dim=6, entropy_loss_weight=0.3, diversity_gamma=1.0, commitment_loss_weight=0.25).train()
    (theirs, their_codes, _), parts = peer(z, inv_temperature=2.0, return_loss_breakdown=True)
    mine = LFQ(6, temperature=0.5)
    out, (doubt, spread) = mine(z.movedim(1, -1)), mine.entropies(z[:, 0])
    assert torch.equal(out.z_q.movedim(-1, 1), theirs.sign())
    bits = (out.indices[..., None] // 2 ** torch.arange(6) % 2).flip(-1)
    assert torch.equal((bits * 2 ** torch.arange(6)).sum(-1).flatten(), their_codes.flatten())
    torch.testing.assert_close(doubt, parts.per_sample_entropy, atol=1e-3, rtol=1e-2)  # they clamp logarithms at 1e-5
    torch.testing.assert_close(spread, parts.batch_entropy, atol=1e-3, rtol=1e-2)


def test_simvq():
    z = latents(6)
    peer, mine = library.SimVQ(6, 24, rotation_trick=False, input_to_quantize_commit_loss_weight=0.25, commitment_weight=1.0), SimVQ(24, 6)
    with torch.no_grad():
        mine.drawn.copy_(peer.frozen_codebook)
        mine.map.weight.copy_(peer.code_transform.weight)
        mine.map.bias.zero_()
    theirs, their_codes, their_loss = peer(z)
    out = mine(z.movedim(1, -1))
    assert torch.equal(out.indices, their_codes)
    torch.testing.assert_close(out.z_q.movedim(-1, 1), theirs, atol=1e-5, rtol=0)


def test_residual_codes_and_values():
    z = latents(6)
    options = dict(kmeans_init=False, threshold_ema_dead_code=0, rotation_trick=False, decay=0.9)
    peer, mine = library.ResidualVQ(dim=6, codebook_size=8, num_quantizers=3, **options), ResidualVQ(8, 6, 3, kmeans_init=False)
    for stage, layer in zip(mine.stages, peer.layers):
        stage.codebook.copy_(layer._codebook.embed[0])
        stage.total.copy_(stage.codebook)
    theirs, their_codes, _ = peer.eval()(z)
    out = mine.eval()(z.movedim(1, -1))
    assert torch.equal(out.indices, their_codes)
    torch.testing.assert_close(out.z_q.movedim(-1, 1), theirs, atol=1e-5, rtol=0)
