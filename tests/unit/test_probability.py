"""vqdiff_edu.probability against numbers worked out by hand, torch.distributions and quadrature."""

import math

import pytest
import torch
from torch.distributions import Categorical, MultivariateNormal, Normal, kl_divergence

from vqdiff_edu.probability import (
    categorical_kl,
    condition_gaussian,
    entropy,
    gaussian_log_density,
    gaussian_product,
    normal_kl,
    sample_gaussian,
)


def t(*values):
    return torch.tensor(values, dtype=torch.float64)


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


def test_entropy_and_kl_by_hand():
    p, q = t(1 / 2, 1 / 4, 1 / 8, 1 / 8)[None].log(), t(1 / 8, 1 / 2, 1 / 4, 1 / 8)[None].log()
    bits = lambda nats: nats.item() / math.log(2)
    assert bits(entropy(p)) == pytest.approx(1.75, abs=1e-12)
    assert bits(categorical_kl(p, q)) == pytest.approx(0.625, abs=1e-12)
    assert bits(categorical_kl(q, p)) == pytest.approx(0.5, abs=1e-12)


def test_categorical_against_torch_with_space_axes(generator):
    a, b = torch.randn(2, 3, 7, 4, 5, generator=generator, dtype=torch.float64)
    first, second = Categorical(logits=a.movedim(1, -1)), Categorical(logits=b.movedim(1, -1))
    torch.testing.assert_close(categorical_kl(a, b), kl_divergence(first, second), rtol=0, atol=1e-12)
    torch.testing.assert_close(entropy(a), first.entropy(), rtol=0, atol=1e-12)


def test_logits_need_no_normalisation(generator):
    a, b = torch.randn(2, 3, 7, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(categorical_kl(a + 3, b - 50), categorical_kl(a, b), rtol=0, atol=1e-12)


def test_a_certain_code_costs_log_k_and_has_finite_gradients():
    certain = torch.full((1, 512), -torch.inf, dtype=torch.float64)
    certain[0, 17] = 0.0
    uniform = torch.zeros(1, 512, dtype=torch.float64, requires_grad=True)
    cost = categorical_kl(certain, uniform)
    assert cost.item() == pytest.approx(9 * math.log(2), abs=1e-12)
    assert entropy(certain).item() == 0.0
    cost.backward()
    assert uniform.grad.isfinite().all() and uniform.grad[0, 17] < 0 < uniform.grad[0, 16]


def test_gradient_through_a_zero_probability_is_finite():
    logits = t(0.3, -torch.inf, 1.0)[None].requires_grad_()
    (categorical_kl(logits, t(0.0, 1.0, 2.0)[None]) + entropy(logits)).backward()
    assert logits.grad.isfinite().all()


def test_an_excluded_symbol_costs_infinitely_much():
    assert categorical_kl(t(0.0, 0.0)[None], t(0.0, -torch.inf)[None]).item() == math.inf


def test_normal_kl_by_hand_and_in_order():
    assert normal_kl(t(1.0), 0.0, 0.0, 0.0).item() == pytest.approx(0.5, abs=1e-12)
    assert normal_kl(t(0.0), 0.0, 0.0, math.log(4)).item() == pytest.approx(0.5 * (math.log(4) + 0.25 - 1), abs=1e-12)
    assert normal_kl(t(0.0), math.log(4), 0.0, 0.0).item() == pytest.approx(0.5 * (-math.log(4) + 4 - 1), abs=1e-12)


def test_normal_kl_against_torch_and_broadcast(generator):
    m1, l1 = torch.randn(2, 6, 1, generator=generator, dtype=torch.float64)
    m2, l2 = torch.randn(2, 1, 5, generator=generator, dtype=torch.float64)
    want = kl_divergence(Normal(m1, (l1 / 2).exp()), Normal(m2, (l2 / 2).exp()))
    torch.testing.assert_close(normal_kl(m1, l1, m2, l2), want, rtol=1e-12, atol=1e-12)


def test_numbers_keep_the_dtype_and_precision_of_the_first_argument():
    assert normal_kl(t(0.0), 0.0, 0.1, 0.0).item() == pytest.approx(0.005, abs=1e-15)
    assert normal_kl(torch.zeros(2), 0.0, 0.1, 0.0).dtype == torch.float32
    assert gaussian_log_density(t(0.1), 0.1, 0.1).item() == pytest.approx(-0.5 * (0.1 + math.log(2 * math.pi)), abs=1e-15)


def test_log_density_against_torch(generator):
    x, mean, logvar = torch.randn(3, 50, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(gaussian_log_density(x, mean, logvar), Normal(mean, (logvar / 2).exp()).log_prob(x), rtol=0, atol=1e-12)


def test_samples_have_the_mean_and_variance_asked_for(generator):
    mean, logvar = t(2.0, -1.0).expand(200_000, 2), t(math.log(9.0), math.log(0.25)).expand(200_000, 2)
    draws = sample_gaussian(mean, logvar, generator)
    assert ((draws.mean(0) - t(2.0, -1.0)).abs() < 5 * t(3.0, 0.5) / math.sqrt(200_000)).all()
    torch.testing.assert_close(draws.var(0), t(9.0, 0.25), rtol=0.02, atol=0)


def test_sampling_is_repeatable_and_differentiable():
    mean, logvar = t(1.0).requires_grad_(), t(0.0).requires_grad_()
    first = sample_gaussian(mean, logvar, torch.Generator().manual_seed(3))
    assert first.item() == sample_gaussian(mean, logvar, torch.Generator().manual_seed(3)).item()
    first.sum().backward()
    assert mean.grad.item() == 1.0
    assert logvar.grad.item() == pytest.approx(0.5 * (first.item() - 1.0), abs=1e-12)


def test_sampling_leaves_the_global_random_state_alone():
    before = torch.random.get_rng_state()
    sample_gaussian(torch.zeros(5), torch.zeros(5), torch.Generator().manual_seed(0))
    assert torch.equal(before, torch.random.get_rng_state())


def test_two_thermometers():
    mean, var = gaussian_product(t(20.0), t(4.0), t(22.0), t(1.0))
    assert (mean.item(), var.item()) == (pytest.approx(21.6, abs=1e-12), pytest.approx(0.8, abs=1e-12))


def test_conditioning_by_hand_and_in_order():
    mean, cov = condition_gaussian(t(0.0, 0.0), torch.tensor([[1.0, 1.0], [1.0, 4.0]], dtype=torch.float64), [1], t(2.0))
    assert (mean.item(), cov.item()) == (pytest.approx(0.5, abs=1e-12), pytest.approx(0.75, abs=1e-12))


def test_chain_rule_of_densities(generator):
    root = torch.randn(5, 5, generator=generator, dtype=torch.float64)
    cov, mu, x = (
        root @ root.T + 0.1 * torch.eye(5),
        torch.randn(5, generator=generator).double(),
        torch.randn(5, generator=generator).double(),
    )
    seen, rest = [4, 1], [0, 2, 3]
    mean, var = condition_gaussian(mu, cov, seen, x[seen])
    joint = MultivariateNormal(mu, cov).log_prob(x)
    marginal = MultivariateNormal(mu[seen], cov[seen][:, seen]).log_prob(x[seen])
    assert joint.item() == pytest.approx((marginal + MultivariateNormal(mean, var).log_prob(x[rest])).item(), abs=1e-8)


def test_seeing_nothing_changes_nothing():
    mean, cov = condition_gaussian(t(1.0, 2.0), torch.eye(2, dtype=torch.float64), [], torch.zeros(0, dtype=torch.float64))
    assert torch.equal(mean, t(1.0, 2.0)) and torch.equal(cov, torch.eye(2, dtype=torch.float64))
