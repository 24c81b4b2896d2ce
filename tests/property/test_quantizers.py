"""What holds for any levels, any vectors and any number of stages."""

import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vqdiff_edu.quantization.quantizers import FSQ, LFQ, ResidualVQ, SimVQ

levels = st.lists(st.integers(2, 9), min_size=1, max_size=4)
seeds = st.integers(0, 2**16)


def normal(shape, seed, scale=1.0):
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@settings(deadline=None, max_examples=40)
@given(levels, seeds, st.floats(0.1, 5.0))
def test_fsq_moves_a_squeezed_number_by_half_a_level_at_most(levels, seed, scale):
    quantizer, z = FSQ(levels), normal((50, len(levels)), seed, scale)
    out = quantizer(z)
    reach = torch.tensor([1 / (n - 1) for n in levels])
    assert ((out.z_q - z.tanh()).abs() <= reach + 1e-6).all()
    assert torch.equal(quantizer.lookup(out.indices), out.z_q) or torch.allclose(quantizer.lookup(out.indices), out.z_q, atol=1e-6)


@settings(deadline=None, max_examples=40)
@given(levels)
def test_fsq_index_is_a_number_in_mixed_radix(levels):
    quantizer = FSQ(levels)
    digits = ((quantizer.codebook + 1) / 2 * (torch.tensor(levels) - 1)).round().long()
    worth = torch.tensor([math.prod(levels[:i]) for i in range(len(levels))])
    assert (digits * worth).sum(1).tolist() == list(range(math.prod(levels)))


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 8), seeds, st.floats(0.05, 3.0))
def test_lfq_entropies_are_ordered(dim, seed, temperature):
    """A mean is never surer than its parts, and nothing exceeds dim · ln 2."""
    doubt, spread = LFQ(dim, temperature=temperature).entropies(normal((30, dim), seed))
    assert -1e-6 <= doubt <= spread + 1e-4 and spread <= dim * math.log(2) + 1e-4


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 5), st.integers(2, 9), seeds)
def test_residual_error_is_what_the_last_stage_left(stages, k, seed):
    quantizer = ResidualVQ(k, 3, stages, kmeans_init=False, revive_below=0.0).eval()
    z = normal((20, 3), seed)
    out, left = quantizer(z), z
    for stage, index in zip(quantizer.stages, out.indices.unbind(-1)):
        left = left - stage.codebook[index]
    assert torch.allclose(z - out.z_q, left, atol=1e-5)


@settings(deadline=None, max_examples=30)
@given(st.integers(2, 20), st.integers(1, 5), seeds)
def test_simvq_codes_are_affine_in_what_was_drawn(k, dim, seed):
    quantizer = SimVQ(k, dim, generator=torch.Generator().manual_seed(seed))
    by_hand = quantizer.drawn @ quantizer.map.weight.T + quantizer.map.bias
    assert torch.allclose(quantizer.lookup(torch.arange(k)), by_hand, atol=1e-5)
