"""The posterior against routes that share nothing with its formula."""

import pytest
import torch

from vqdiff_edu.diffusion.posterior import posterior_coefficients, q_posterior_mean_variance, smallest_variance
from vqdiff_edu.diffusion.schedule import NoiseSchedule, q_sample

SCHEDULES = {
    "linear": NoiseSchedule.linear(100),
    "cosine": NoiseSchedule.cosine(100),
    "zero terminal SNR": NoiseSchedule.linear(100).zero_terminal_snr(),
}


def by_bayes(schedule, x_0, x_t, t, s):
    """Mean and variance of x_s on a grid, from two densities that are multiplied and normalised."""
    ab_t, ab_s = schedule.alpha_bar(t), schedule.alpha_bar(s)
    alpha = ab_t / ab_s
    centre, reach = (ab_s.sqrt() * x_0).item(), 12 * (1 - ab_s).sqrt().item()
    x = torch.linspace(centre - reach, centre + reach, 20_001, dtype=torch.float64)
    log_p = -((x_t - alpha.sqrt() * x) ** 2) / (2 * (1 - alpha)) - (x - ab_s.sqrt() * x_0) ** 2 / (2 * (1 - ab_s))
    p = torch.softmax(log_p, 0)
    mean = (p * x).sum()
    return mean, (p * (x - mean) ** 2).sum()


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize(("t", "s"), [(99, 98), (99, 40), (50, 49), (50, 20), (1, 0)])
def test_agrees_with_bayes_rule_on_a_grid(name, t, s):
    schedule = SCHEDULES[name]
    x_0 = torch.tensor([0.7], dtype=torch.float64)
    x_t = q_sample(schedule, x_0, t, torch.tensor([-0.6], dtype=torch.float64))
    mean, variance, _ = q_posterior_mean_variance(schedule, x_0, x_t, t, s)
    grid_mean, grid_variance = by_bayes(schedule, x_0, x_t, t, s)
    assert mean.item() == pytest.approx(grid_mean.item(), abs=1e-8)
    assert variance.item() == pytest.approx(grid_variance.item(), rel=1e-6)


def test_default_is_one_step_back():
    schedule = SCHEDULES["cosine"]
    t = torch.tensor([0, 1, 57, 99])
    for a, b in zip(posterior_coefficients(schedule, t), posterior_coefficients(schedule, t, t - 1)):
        assert torch.equal(a, b)


def test_at_the_first_step_the_mean_is_the_data_and_the_variance_zero():
    schedule = SCHEDULES["linear"]
    x_0, x_t = torch.randn(2, 3).double(), torch.randn(2, 3).double()
    mean, variance, log_variance = q_posterior_mean_variance(schedule, x_0, x_t, 0)
    assert torch.allclose(mean, x_0, atol=1e-12)
    assert variance.item() == 0
    assert log_variance.item() == pytest.approx(posterior_coefficients(schedule, 1).log_variance_clipped.item(), abs=1e-12)
    assert log_variance.isfinite()


def test_log_variance_is_the_logarithm_elsewhere():
    c = posterior_coefficients(SCHEDULES["cosine"], torch.arange(1, 100))
    assert torch.allclose(c.log_variance_clipped.exp(), c.variance)


def test_two_jumps_are_one_jump():
    """q(x_s | x_t, x_0) must be what is left after integrating over a stop at r between s and t."""
    schedule = SCHEDULES["cosine"]
    t, r, s = 90, 40, 7
    far, near, direct = (posterior_coefficients(schedule, a, b) for a, b in ((t, r), (r, s), (t, s)))
    assert torch.allclose(near.x_start + near.x_t * far.x_start, direct.x_start)
    assert torch.allclose(near.x_t * far.x_t, direct.x_t)
    assert torch.allclose(near.variance + near.x_t**2 * far.variance, direct.variance)


def test_batches_of_steps_and_single_steps_agree():
    schedule = SCHEDULES["linear"]
    x_0, x_t, t = torch.randn(3, 1, 4, 4), torch.randn(3, 1, 4, 4), torch.tensor([0, 50, 99])
    together = q_posterior_mean_variance(schedule, x_0, x_t, t)[0]
    alone = torch.cat([q_posterior_mean_variance(schedule, x_0[i : i + 1], x_t[i : i + 1], int(t[i]))[0] for i in range(3)])
    assert torch.equal(together, alone)
    assert together.dtype == torch.float32


def test_a_schedule_of_one_step_has_a_finite_log_variance():
    schedule = NoiseSchedule(torch.tensor([0.5]))
    assert smallest_variance(schedule).item() == pytest.approx(1e-20)
    assert posterior_coefficients(schedule, 0).log_variance_clipped.isfinite()
