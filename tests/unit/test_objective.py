"""The bound, its weights and the optimal denoiser against routes that share nothing with their formulas."""

import math

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from vqdiff_edu.diffusion.objective import BoundTerms, bound_weight, optimal_denoiser, tweedie_score, variational_bound_terms
from vqdiff_edu.diffusion.posterior import q_posterior_mean_variance
from vqdiff_edu.diffusion.schedule import NoiseSchedule, q_sample

SCHEDULES = {
    "linear": NoiseSchedule.linear(50),
    "cosine": NoiseSchedule.cosine(50),
    "uneven": NoiseSchedule(torch.tensor([0.05, 0.3, 0.1, 0.5], dtype=torch.float64)),
}


def double(*values):
    return torch.tensor(values, dtype=torch.float64)


def kl_of_a_step(schedule, t, x_t, x_start, guess):
    """KL between the step back that knows x_start and the one that has the guess in its place."""
    true, variance, _ = q_posterior_mean_variance(schedule, x_start, x_t, t)
    model, _, _ = q_posterior_mean_variance(schedule, guess, x_t, t)
    return kl_divergence(Normal(true, variance.sqrt()), Normal(model, variance.sqrt()))


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("target", ["x0", "eps", "v"])
def test_the_weight_times_the_squared_error_is_the_kl_of_the_step(name, target):
    schedule, x_start, noise, slip = SCHEDULES[name], double(0.7), double(-0.4), 0.25
    for t in range(1, schedule.num_timesteps):
        ab = schedule.alpha_bar(t)
        signal, spread = ab.sqrt(), (1 - ab).sqrt()
        x_t = signal * x_start + spread * noise
        guess = {
            "x0": x_start + slip,
            "eps": (x_t - spread * (noise + slip)) / signal,
            "v": signal * x_t - spread * (signal * noise - spread * x_start + slip),
        }[target]
        expected = kl_of_a_step(schedule, t, x_t, x_start, guess).item()
        assert bound_weight(schedule, t, target).item() * slip**2 == pytest.approx(expected, rel=1e-7)


def test_weights_of_many_steps_are_those_of_each():
    schedule = SCHEDULES["cosine"]
    together = bound_weight(schedule, torch.arange(1, 50), "v")
    assert torch.equal(together, torch.stack([bound_weight(schedule, t, "v") for t in range(1, 50)]))
    assert together.dtype == torch.float64


def test_weights_on_x0_add_up_to_half_the_fall_of_the_snr():
    schedule = SCHEDULES["linear"]
    snr = schedule.log_snr.exp()
    assert bound_weight(schedule, torch.arange(1, 50)).sum().item() == pytest.approx(0.5 * (snr[0] - snr[-1]).item(), rel=1e-12)


def test_two_steps_by_hand():
    schedule = NoiseSchedule(double(0.36, 0.4375))
    terms = variational_bound_terms(schedule, lambda x, t: torch.full_like(x, [0.7, 0.5][t]), double(0.8)[:, None])
    assert terms.prior.item() == pytest.approx(0.5 * (0.36 * 0.64 + 0.64 - 1 - math.log(0.64)), abs=1e-12)
    assert terms.steps.tolist() == [[pytest.approx(0.5 * (0.64 / 0.36 - 0.36 / 0.64) * 0.09, abs=1e-12)]]
    assert terms.reconstruction.item() == pytest.approx(0.5 * math.log(2 * math.pi * 0.36) + 0.01 / 0.72, abs=1e-12)
    assert terms.total.item() == pytest.approx((terms.prior + terms.steps[:, 0] + terms.reconstruction).item())


def test_the_bound_of_a_perfect_model_is_the_entropy_if_steps_are_short_in_log_snr():
    """Standard normal data: the guess is a multiple of x_t, and the mean bound tends to ½ log 2πe for each entry."""
    schedule = NoiseSchedule.from_alphas_cumprod(torch.linspace(8, -8, 1000, dtype=torch.float64).sigmoid())
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4000, 3, generator=generator, dtype=torch.float64)
    left = (1 - schedule.alpha_bar(0)).item()  # the variance of x_0 given x_1
    terms = variational_bound_terms(
        schedule, lambda x_t, t: schedule.alpha_bar(t).sqrt() * x_t, x, first_variance=left, generator=generator
    )
    excess = terms.total - 1.5 * math.log(2 * math.pi * math.e)
    assert abs(excess.mean().item()) < 4 * excess.std().item() / 4000**0.5 + 0.05


def test_each_term_is_unbiased_for_a_guess_that_is_wrong():
    """Every column against the mean of its KL over x_t, taken on a grid."""
    schedule, n = SCHEDULES["uneven"], 40_000
    point, z = double(0.8), torch.linspace(-8, 8, 1001, dtype=torch.float64)

    def guess(x, t):
        return 0.5 * x.tanh() + 0.1 * t

    drawn = variational_bound_terms(schedule, guess, point.expand(n, 1), generator=torch.Generator().manual_seed(3))
    for t in range(4):
        x_t = q_sample(schedule, point.expand(1001), t, z)
        if t:
            cost, column = kl_of_a_step(schedule, t, x_t, point.expand(1001), guess(x_t, t)), drawn.steps[:, t - 1]
        else:
            cost, column = -Normal(guess(x_t, 0), schedule.betas[0].sqrt()).log_prob(point), drawn.reconstruction
        expected = (cost * torch.softmax(-z.square() / 2, 0)).sum().item()
        assert abs(column.mean().item() - expected) < 4.5 * column.std().item() / n**0.5
    end = Normal(schedule.alpha_bar(3).sqrt() * point, (1 - schedule.alpha_bar(3)).sqrt())
    assert drawn.prior[0].item() == pytest.approx(kl_divergence(end, Normal(double(0.0), double(1.0))).item(), abs=1e-12)


def test_the_first_variance_is_that_of_the_last_step_back():
    x, schedule = double(0.3)[:, None], SCHEDULES["linear"]
    terms = variational_bound_terms(schedule, lambda x_t, t: torch.zeros_like(x_t), x, first_variance=0.2)
    assert terms.reconstruction.item() == pytest.approx(-Normal(0.0, 0.2**0.5).log_prob(torch.tensor(0.3)).item(), rel=1e-6)


def test_pictures_are_summed_over_their_pixels():
    x = torch.randn(3, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    whole = variational_bound_terms(SCHEDULES["uneven"], lambda x_t, t: torch.zeros_like(x_t), x)
    flat = variational_bound_terms(SCHEDULES["uneven"], lambda x_t, t: torch.zeros_like(x_t), x.flatten(1))
    assert isinstance(whole, BoundTerms)
    assert whole.steps.shape == (3, 3)
    for a, b in zip(whole, flat):
        assert torch.allclose(a, b)


def test_the_generator_decides_every_draw():
    x, call = (
        torch.randn(2, 5),
        lambda seed: variational_bound_terms(  # noqa: E731
            SCHEDULES["uneven"], lambda x_t, t: 0.5 * x_t, x, generator=torch.Generator().manual_seed(seed)
        ),
    )
    assert torch.equal(call(1).total, call(1).total)
    assert not torch.equal(call(1).total, call(2).total)


# ------------------------------------------------------------------ the optimal denoiser


def test_the_optimum_is_the_mean_of_the_walks_that_end_near_x():
    """Rejection: noise entries of the list at random, keep those near x, average what they came from."""
    generator = torch.Generator().manual_seed(5)
    data, ab, x = torch.tensor([[-1.0, 0.2], [0.5, 0.5], [0.8, -0.9]]), 0.4, torch.tensor([[0.3, -0.1]])
    came_from = data[torch.randint(3, (2_000_000,), generator=generator)]
    ended = ab**0.5 * came_from + (1 - ab) ** 0.5 * torch.randn(came_from.shape, generator=generator)
    kept = came_from[(ended - x).square().sum(1) < 0.05**2]
    error = kept.std(0) / len(kept) ** 0.5
    assert ((optimal_denoiser(data, x, ab)[0] - kept.mean(0)).abs() < 4 * error).all()


def test_two_entries_make_a_hyperbolic_tangent():
    x = torch.linspace(-3, 3, 13, dtype=torch.float64)[:, None]
    for ab in (0.05, 0.5, 0.95):
        expected = 0.5 * torch.tanh(0.5 * ab**0.5 * x / (1 - ab))
        assert torch.allclose(optimal_denoiser(double(-0.5, 0.5)[:, None], x, ab), expected, atol=1e-12)


def test_no_noise_gives_the_nearest_entry_and_all_noise_the_mean():
    data = torch.randn(20, 1, 3, 3, generator=torch.Generator().manual_seed(2))
    assert torch.allclose(optimal_denoiser(data, data[:4] + 0.01, 0.9999), data[:4], atol=1e-5)
    assert torch.allclose(optimal_denoiser(data, torch.randn(4, 1, 3, 3), 0.0), data.mean(0).expand(4, 1, 3, 3), atol=1e-6)


def test_levels_can_differ_in_a_batch_and_chunks_do_not_matter():
    generator = torch.Generator().manual_seed(7)
    data, x, ab = torch.randn(30, 2, 2, generator=generator), torch.randn(7, 2, 2, generator=generator), torch.rand(7, generator=generator)
    together = optimal_denoiser(data, x, ab)
    assert torch.allclose(together, torch.cat([optimal_denoiser(data, x[i : i + 1], ab[i].item()) for i in range(7)]), atol=1e-5)
    assert torch.allclose(together, optimal_denoiser(data, x, ab, chunk_size=3), atol=1e-6)
    assert together.dtype == torch.float32


def test_repeating_every_entry_changes_nothing():
    data, x = torch.randn(6, 4, dtype=torch.float64), torch.randn(3, 4, dtype=torch.float64)
    assert torch.allclose(optimal_denoiser(data.repeat(5, 1), x, 0.6), optimal_denoiser(data, x, 0.6), atol=1e-12)


def test_the_score_is_the_slope_of_the_log_density():
    data = torch.randn(8, 3, dtype=torch.float64)
    x = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    for ab in (0.1, 0.7):
        density = torch.distributions.MixtureSameFamily(
            torch.distributions.Categorical(torch.ones(8, dtype=torch.float64)),
            torch.distributions.Independent(Normal(ab**0.5 * data, double((1 - ab) ** 0.5)), 1),
        )
        (slope,) = torch.autograd.grad(density.log_prob(x).sum(), x)
        assert torch.allclose(tweedie_score(x.detach(), optimal_denoiser(data, x.detach(), ab), ab), slope, atol=1e-10)


def test_the_score_takes_a_level_for_each_example():
    x, x_start, ab = torch.randn(3, 1, 2, 2), torch.randn(3, 1, 2, 2), torch.tensor([0.2, 0.5, 0.9])
    together = tweedie_score(x, x_start, ab)
    assert torch.allclose(together, torch.cat([tweedie_score(x[i : i + 1], x_start[i : i + 1], ab[i]) for i in range(3)]))
    assert together.dtype == torch.float32
