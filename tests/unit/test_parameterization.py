"""Conversions, guidance, variances and losses of GaussianDiffusion."""

import pytest
import torch

from vqdiff_edu.diffusion.parameterization import GaussianDiffusion, large_variance
from vqdiff_edu.diffusion.posterior import posterior_coefficients
from vqdiff_edu.diffusion.schedule import NoiseSchedule

SCHEDULE = NoiseSchedule.cosine(100)
OBJECTIVES = ("eps", "x0", "v")


def perfect(objective, x_0, noise):
    """A network that returns what it should."""

    def model(x, t, **cond):
        diffusion = GaussianDiffusion(SCHEDULE, objective)
        return diffusion.target(x_0, noise, t)

    return model


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_perfect_network_gives_back_data_noise_and_velocity(objective):
    g = torch.Generator().manual_seed(1)
    x_0, noise = torch.rand(4, 1, 5, 5, generator=g, dtype=torch.float64) * 2 - 1, torch.randn(4, 1, 5, 5, generator=g, dtype=torch.float64)
    diffusion, t = GaussianDiffusion(SCHEDULE, objective), torch.tensor([0, 30, 70, 99])
    x = diffusion.q_sample(x_0, t, noise)
    p = diffusion.predict(perfect(objective, x_0, noise), x, t)
    tolerance = 1e-6 if objective != "eps" else 1e-4  # eps divides by a root of 2e-9 at the last step
    assert torch.allclose(p.x_start, x_0, atol=tolerance)
    assert torch.allclose(p.eps, noise, atol=tolerance)
    loss, parts = diffusion.training_losses(perfect(objective, x_0, noise), x_0, t, noise)
    assert loss.shape == (4,) and loss.max() < 1e-12 and set(parts) == {"mse", "x_start_mse"}


def test_clipping_moves_eps_and_v_along():
    diffusion = GaussianDiffusion(SCHEDULE, "x0")
    x = torch.randn(2, 1, 3, 3, dtype=torch.float64)
    p = diffusion.predict(lambda x, t: torch.full_like(x, 7.0), x, 50)
    assert p.x_start.max() == 1
    assert torch.allclose(diffusion.q_sample(p.x_start, 50, p.eps), x)
    unclipped = GaussianDiffusion(SCHEDULE, "x0", clip_range=None).predict(lambda x, t: torch.full_like(x, 7.0), x, 50)
    assert unclipped.x_start.max() == 7


def test_guidance_is_applied_to_the_raw_output_and_skipped_at_one():
    calls = []

    def model(x, t, label=None):
        calls.append(label)
        return torch.full_like(x, 0.1 if label is None else 0.3)

    diffusion, x = GaussianDiffusion(SCHEDULE, "x0", clip_range=None), torch.zeros(2, 1, 2, 2)
    cond = {"label": torch.tensor([1, 2])}
    assert diffusion.predict(model, x, 10, cond=cond).x_start[0, 0, 0, 0] == pytest.approx(0.3)
    assert len(calls) == 1
    guided = diffusion.predict(model, x, 10, cond=cond, uncond={}, guidance_scale=2.5).x_start
    assert guided[0, 0, 0, 0].item() == pytest.approx(0.1 + 2.5 * 0.2)


def test_the_models_own_null_condition_is_used():
    class Model:
        def __call__(self, x, t, label):
            return label.reshape(-1, 1, 1, 1).to(x) * torch.ones_like(x)

        def null_cond(self, batch):
            return {"label": torch.full((batch,), 10)}

    diffusion = GaussianDiffusion(SCHEDULE, "x0", clip_range=None)
    out = diffusion.predict(Model(), torch.zeros(1, 1, 2, 2), 5, cond={"label": torch.tensor([4])}, guidance_scale=2.0)
    assert out.x_start[0, 0, 0, 0].item() == 10 + 2 * (4 - 10)


def test_small_and_large_variance():
    x, model = torch.randn(1, 1, 2, 2), lambda x, t: torch.zeros_like(x)
    small, large = (GaussianDiffusion(SCHEDULE, variance=v) for v in ("small", "large"))
    for t, s in ((60, 59), (60, 10)):
        _, lower, _ = small.p_mean_variance(model, x, t, t_prev=s)
        mean, upper, log_upper = large.p_mean_variance(model, x, t, t_prev=s)
        assert mean.shape == x.shape and lower < upper
        assert upper.item() == pytest.approx((1 - SCHEDULE.alpha_bar(t) / SCHEDULE.alpha_bar(s)).item(), rel=1e-6)
        assert log_upper.exp().item() == pytest.approx(upper.item(), rel=1e-5)


@pytest.mark.parametrize("t", [0, 60])
def test_the_large_variance_of_the_last_step_is_the_posteriors_at_one(t):
    stand_in = posterior_coefficients(SCHEDULE, 1).variance.item()
    assert large_variance(SCHEDULE, t, -1).item() == pytest.approx(stand_in, rel=1e-12)
    assert large_variance(SCHEDULE, torch.tensor([t]), torch.tensor([-1])).item() == pytest.approx(stand_in, rel=1e-12)
    _, variance, log_variance = GaussianDiffusion(SCHEDULE, variance="large").p_mean_variance(
        lambda x, t: 0 * x, torch.randn(1, 1, 2, 2), t, t_prev=-1
    )
    assert variance.item() == pytest.approx(stand_in, rel=1e-6)
    assert log_variance.exp().item() == pytest.approx(stand_in, rel=1e-5)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_min_snr_weighs_the_same_error_alike_in_every_currency(objective):
    """Weight times the objective's own error must be min(SNR, 5) times the error of x_0."""
    diffusion = GaussianDiffusion(SCHEDULE, objective, loss_weight="min_snr")
    x_0, noise, t = torch.rand(4, 1, 4, 4).double() - 0.5, torch.randn(4, 1, 4, 4).double(), torch.tensor([3, 20, 50, 90])
    loss, parts = diffusion.training_losses(lambda x, t: 0.1 * x, x_0, t, noise)
    snr = SCHEDULE.log_snr[t].exp()
    assert torch.allclose(loss, snr.clamp(max=5.0) * parts["x_start_mse"], rtol=1e-6)


def test_the_condition_reaches_the_network_in_training():
    seen = {}

    def model(x, t, label):
        seen["label"] = label
        return torch.zeros_like(x)

    label = torch.tensor([3, 1])
    GaussianDiffusion(SCHEDULE).training_losses(model, torch.zeros(2, 1, 4, 4), torch.tensor([1, 2]), cond={"label": label})
    assert torch.equal(seen["label"], label)


def test_the_contract_is_training_losses_and_q_sample_with_noise_from_a_generator():
    diffusion, x, t = GaussianDiffusion(SCHEDULE), torch.randn(2, 1, 4, 4), torch.tensor([1, 70])
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(4))
    draws = lambda: torch.Generator().manual_seed(4)  # noqa: E731
    model = lambda x, t: 0.3 * x  # noqa: E731
    assert torch.equal(diffusion.loss(model, x, t, generator=draws())[0], diffusion.training_losses(model, x, t, noise)[0])
    assert torch.equal(diffusion.corrupt(x, t, draws()), diffusion.q_sample(x, t, noise))


def test_a_denoiser_is_predict_with_its_condition_inside():
    diffusion, x, cond = GaussianDiffusion(SCHEDULE), torch.randn(2, 1, 4, 4), {"label": torch.tensor([3, 1])}
    model = lambda x, t, label: x * label[:, None, None, None]  # noqa: E731
    inside = diffusion.denoiser(model, cond=cond)(x, torch.tensor([5, 5]))
    assert torch.equal(inside.x_start, diffusion.predict(model, x, 5, cond=cond).x_start)


def test_logit_normal_times_follow_their_law():
    from scipy.stats import kstest, norm

    diffusion = GaussianDiffusion(NoiseSchedule.cosine(1000), times="logit_normal")
    t = diffusion.draw_times(20_000, generator=torch.Generator().manual_seed(0))
    assert t.dtype == torch.int64 and t.min() >= 0 and t.max() <= 999
    z = torch.logit((t.double() + 0.5) / 1000)
    assert kstest(z.numpy(), norm.cdf).pvalue > 0.01
    even = GaussianDiffusion(NoiseSchedule.cosine(1000)).draw_times(20_000, generator=torch.Generator().manual_seed(0))
    assert kstest(((even.double() + 0.5) / 1000).numpy(), "uniform").pvalue > 0.01
