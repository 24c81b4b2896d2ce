"""What holds for the posterior of every schedule, every jump and every pair of ends."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from vqdiff_edu.diffusion.posterior import posterior_coefficients, q_posterior_mean_variance
from vqdiff_edu.diffusion.schedule import NoiseSchedule

schedules = st.lists(st.floats(1e-4, 0.9), min_size=3, max_size=30).map(lambda b: NoiseSchedule(torch.tensor(b, dtype=torch.float64)))
seeds = st.integers(0, 2**31)


@st.composite
def walks(draw, least=-1):
    """A schedule and three of its steps, t > r > s >= least."""
    schedule = draw(schedules)
    steps = st.lists(st.integers(least, schedule.num_timesteps - 1), min_size=3, max_size=3, unique=True)
    s, r, t = sorted(draw(steps))
    return schedule, t, r, s


@given(walks(least=0))
def test_precisions_add(walk):
    """One over the variance is what the end knows plus what the start knows."""
    schedule, t, _, s = walk
    alpha = schedule.alphas[s + 1 : t + 1].prod()  # of the jump, from its single steps
    expected = alpha / (1 - alpha) + 1 / (1 - schedule.alphas_cumprod[s])
    torch.testing.assert_close(1 / posterior_coefficients(schedule, t, s).variance, expected, rtol=1e-8, atol=0)


@given(walks())
def test_looking_back_one_knows_more_than_looking_forward(walk):
    schedule, t, _, s = walk
    c, beta = posterior_coefficients(schedule, t, s), 1 - schedule.alphas[s + 1 : t + 1].prod()
    assert c.variance == 0 if s == -1 else 0 < c.variance < beta
    assert c.variance <= 1 - schedule.alpha_bar(s) + 1e-15
    assert 0 <= c.x_start <= 1 + 1e-12 and 0 <= c.x_t <= 1


@given(walks())
def test_two_jumps_are_one(walk):
    """From t to r and on to s must be distributed as from t to s: mean and variance, at the same x_0."""
    schedule, t, r, s = walk
    far, near, direct = (posterior_coefficients(schedule, a, b) for a, b in ((t, r), (r, s), (t, s)))
    close = {"rtol": 1e-8, "atol": 1e-12}
    torch.testing.assert_close(near.x_start + near.x_t * far.x_start, direct.x_start, **close)
    torch.testing.assert_close(near.x_t * far.x_t, direct.x_t, **close)
    torch.testing.assert_close(near.variance + near.x_t**2 * far.variance, direct.variance, **close)


@given(walks(), seeds)
def test_the_forward_chain_comes_back(walk, seed):
    """x_t drawn forwards from x_0, then x_s from the posterior: x_s has the forward marginal, and the covariance of the chain."""
    schedule, t, _, s = walk
    c, ab_t, ab_s = posterior_coefficients(schedule, t, s), schedule.alpha_bar(t), schedule.alpha_bar(s)
    close = {"rtol": 1e-8, "atol": 1e-12}
    torch.testing.assert_close(c.x_start + c.x_t * ab_t.sqrt(), ab_s.sqrt(), **close)
    torch.testing.assert_close(c.variance + c.x_t**2 * (1 - ab_t), 1 - ab_s, **close)
    torch.testing.assert_close(c.x_t * (1 - ab_t), (ab_t / ab_s).sqrt() * (1 - ab_s), **close)


@given(walks(), seeds, st.floats(-3, 3))
def test_the_mean_is_affine_and_the_variance_blind(walk, seed, share):
    """A mixture of ends has the mixture of means, and the variance knows neither end."""
    schedule, t, _, s = walk
    x, y = torch.randn(2, 2, 3, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).unbind(0)
    mix = lambda a, b: share * a + (1 - share) * b  # noqa: E731
    at = lambda x_0, x_t: q_posterior_mean_variance(schedule, x_0, x_t, t, s)  # noqa: E731
    torch.testing.assert_close(at(mix(x, y), mix(y, x))[0], mix(at(x, y)[0], at(y, x)[0]), rtol=1e-9, atol=1e-11)
    assert at(x, y)[1] == at(y, x)[1] == at(0 * x, 0 * x)[1]


@given(schedules)
def test_the_first_step_returns_the_data_whatever_was_seen(schedule):
    c = posterior_coefficients(schedule, torch.arange(schedule.num_timesteps), torch.full((schedule.num_timesteps,), -1))
    torch.testing.assert_close(c.x_start, torch.ones_like(c.x_start), rtol=0, atol=1e-12)
    assert (c.x_t == 0).all() and (c.variance == 0).all() and c.log_variance_clipped.isfinite().all()
