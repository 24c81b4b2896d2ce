"""What must hold of divergences and Gaussian beliefs for any input."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vqdiff_edu.probability import categorical_kl, condition_gaussian, entropy, gaussian_product, normal_kl

numbers = st.floats(-8, 8)
seeds = st.integers(0, 2**31)


def t(value):
    return torch.tensor(value, dtype=torch.float64)


@given(numbers, numbers, numbers, numbers)
def test_normal_kl_is_never_negative_and_zero_only_for_equals(m1, l1, m2, l2):
    assert normal_kl(t(m1), t(l1), t(m2), t(l2)) >= -1e-12
    assert normal_kl(t(m1), t(l1), t(m1), t(l1)).abs() < 1e-12
    if abs(m1 - m2) > 0.1 or abs(l1 - l2) > 0.1:
        assert normal_kl(t(m1), t(l1), t(m2), t(l2)) > 0


@given(numbers, numbers, numbers, numbers, numbers, st.floats(-2, 2))
def test_normal_kl_does_not_depend_on_the_unit(m1, l1, m2, l2, shift, log_scale):
    scale = t(log_scale).exp()
    moved = normal_kl(scale * t(m1) + shift, t(l1) + 2 * log_scale, scale * t(m2) + shift, t(l2) + 2 * log_scale)
    torch.testing.assert_close(moved, normal_kl(t(m1), t(l1), t(m2), t(l2)), rtol=1e-6, atol=1e-6)


@given(seeds, st.integers(2, 20))
@settings(max_examples=50)
def test_categorical_bounds(seed, classes):
    p, q = torch.randn(2, 4, classes, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 3
    assert (categorical_kl(p, q) >= -1e-12).all() and categorical_kl(p, p).abs().max() < 1e-12
    assert (entropy(p) >= 0).all()
    surplus = categorical_kl(p, torch.zeros_like(p))
    torch.testing.assert_close(surplus + entropy(p), torch.full((4,), float(classes), dtype=torch.float64).log(), rtol=0, atol=1e-10)


@given(seeds, st.integers(2, 12))
@settings(max_examples=50)
def test_merging_symbols_never_raises_a_divergence(seed, classes):
    p, q = torch.randn(2, 3, classes, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).log_softmax(2)
    merge = lambda l: torch.cat([l[:, :2].logsumexp(1, keepdim=True), l[:, 2:]], dim=1)
    assert (categorical_kl(merge(p), merge(q)) <= categorical_kl(p, q) + 1e-12).all()


@given(numbers, st.floats(-4, 4), numbers, st.floats(-4, 4))
def test_a_product_is_symmetric_sharper_and_between(m1, l1, m2, l2):
    v1, v2 = t(l1).exp(), t(l2).exp()
    mean, var = gaussian_product(t(m1), v1, t(m2), v2)
    other_mean, other_var = gaussian_product(t(m2), v2, t(m1), v1)
    torch.testing.assert_close((mean, var), (other_mean, other_var), rtol=1e-12, atol=1e-12)
    assert var < torch.minimum(v1, v2)
    assert min(m1, m2) - 1e-9 <= mean <= max(m1, m2) + 1e-9


@given(seeds)
@settings(max_examples=40)
def test_precisions_add_in_any_order(seed):
    generator = torch.Generator().manual_seed(seed)
    m, v = torch.randn(3, generator=generator).double(), torch.rand(3, generator=generator).double() + 0.1
    left = gaussian_product(*gaussian_product(m[0], v[0], m[1], v[1]), m[2], v[2])
    right = gaussian_product(m[0], v[0], *gaussian_product(m[1], v[1], m[2], v[2]))
    torch.testing.assert_close(left, right, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(1 / left[1], (1 / v).sum(), rtol=1e-10, atol=0)


@given(seeds, st.integers(3, 6))
@settings(max_examples=40)
def test_conditioning_twice_is_conditioning_once(seed, dim):
    generator = torch.Generator().manual_seed(seed)
    root = torch.randn(dim, dim, generator=generator, dtype=torch.float64)
    cov, mean = root @ root.T + torch.eye(dim), torch.randn(dim, generator=generator).double()
    x = torch.randn(2, generator=generator).double()
    once = condition_gaussian(mean, cov, [0, dim - 1], x)
    first_mean, first_cov = condition_gaussian(mean, cov, [0], x[:1])
    twice = condition_gaussian(first_mean, first_cov, [dim - 2], x[1:])
    torch.testing.assert_close(once, twice, rtol=1e-8, atol=1e-8)
    assert (once[1].diagonal() <= cov.diagonal()[1:-1] + 1e-9).all()
    assert torch.linalg.eigvalsh(once[1]).min() > 0
