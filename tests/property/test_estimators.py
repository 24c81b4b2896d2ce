"""What must hold of the estimators for every pair of vectors."""

import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from vqdiff_edu.quantization.estimators import ESTIMATORS, gumbel_softmax, rotation_trick, straight_through

entries = st.floats(-100, 100, allow_nan=False, width=32)


@st.composite
def vectors(draw):
    """z_e, z_q and a gradient, [n, dim], with zeros and repeated rows as Hypothesis likes them."""
    n, dim = draw(st.integers(1, 4)), draw(st.integers(1, 5))
    return tuple(torch.tensor(draw(st.lists(entries, min_size=n * dim, max_size=n * dim))).reshape(n, dim) for _ in range(3))


@given(vectors(), st.sampled_from(sorted(ESTIMATORS)))
def test_value_is_the_code_and_the_gradient_is_finite(given_vectors, name):
    z_e, z_q, g = given_vectors
    z_e.requires_grad_()
    z = ESTIMATORS[name](z_e, z_q)
    assert torch.equal(z, z_q)
    assert torch.autograd.grad(z, z_e, g)[0].isfinite().all()


@given(vectors())
def test_straight_through_is_the_identity_backwards(given_vectors):
    z_e, z_q, g = given_vectors
    z_e.requires_grad_()
    assert torch.equal(torch.autograd.grad(straight_through(z_e, z_q), z_e, g)[0], g)


@given(vectors())
def test_rotation_keeps_the_length_up_to_the_stretch_and_the_radial_derivative(given_vectors):
    z_e, z_q, g = (v.double() for v in given_vectors)
    z_e.requires_grad_()
    (got,) = torch.autograd.grad(rotation_trick(z_e, z_q), z_e, g)
    norm_e, norm_q, norm_g = (v.detach().norm(dim=-1) for v in (z_e, z_q, g))
    turned = norm_e > 1e-3  # a vector of no length has no direction to keep
    torch.testing.assert_close((got.norm(dim=-1) * norm_e)[turned], (norm_g * norm_q)[turned], rtol=1e-9, atol=1e-9)
    radial, wanted = (got * z_e.detach()).sum(-1), (g * z_q).sum(-1)
    scale = 1 + norm_g * norm_q  # near antiparallel, directions are known to the square root of the rounding
    assert ((radial - wanted).abs()[turned] <= 1e-7 * scale[turned]).all()


@given(vectors(), st.floats(0.01, 100))
def test_rotation_scales_with_the_code(given_vectors, factor):
    z_e, z_q, g = (v.double() for v in given_vectors)
    z_e.requires_grad_()
    once, scaled = (torch.autograd.grad(rotation_trick(z_e, c * z_q), z_e, g)[0] for c in (1.0, factor))
    keep = (z_e.detach().norm(dim=-1) > 1e-3) & (z_q.norm(dim=-1) > 1e-3)
    torch.testing.assert_close(scaled[keep], factor * once[keep], rtol=1e-6, atol=1e-6)


@given(st.integers(0, 2**31), st.floats(0.05, 50), st.booleans(), st.floats(0, 50))
def test_gumbel_lies_in_the_simplex(seed, temperature, hard, spread):
    generator = torch.Generator().manual_seed(seed)
    logits = spread * torch.randn(3, 5, 2, generator=generator)
    y = gumbel_softmax(logits, temperature, hard, generator=generator)
    assert (y >= 0).all()
    torch.testing.assert_close(y.sum(1), torch.ones(3, 2))


@given(st.integers(0, 2**31), st.floats(-20, 20, width=32))
def test_gumbel_does_not_see_a_common_shift_of_the_logits(seed, shift):
    logits = torch.randn(4, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    plain, moved = (gumbel_softmax(v, 0.5, generator=torch.Generator().manual_seed(seed)) for v in (logits, logits + shift))
    torch.testing.assert_close(plain, moved)


@given(st.integers(0, 2**31))
def test_gumbel_hard_picks_the_largest_of_the_soft(seed):
    logits = torch.randn(4, 6, generator=torch.Generator().manual_seed(seed))
    soft, hard = (gumbel_softmax(logits, 2.0, h, generator=torch.Generator().manual_seed(seed)) for h in (False, True))
    assert torch.equal(hard, F.one_hot(soft.argmax(1), 6).float())
