"""Our schedules, posterior and DDIM step beside diffusers and denoising-diffusion-pytorch, value by value.

Where they differ by design: both clamp the posterior's log-variance at t = 0 to log 1e-20, ours copies t = 1; diffusers keeps its betas in
float32, ours are float64; lucidrains' linear schedule is ours, his cosine has s = 0.008 and clips betas at 0.999 as ours. diffusers' DDIM ends on
alphas_cumprod[0] unless told `set_alpha_to_one=True`, ours always ends on clean data.
"""

import pytest
import torch

from vqdiff_edu.diffusion.parameterization import GaussianDiffusion
from vqdiff_edu.diffusion.posterior import posterior_coefficients, q_posterior_mean_variance
from vqdiff_edu.diffusion.samplers import sample_ddim, sample_ddpm, sample_dpmpp_2m, timesteps
from vqdiff_edu.diffusion.schedule import NoiseSchedule

T = 1000


@pytest.fixture
def diffusers():
    return pytest.importorskip("diffusers")


@pytest.fixture
def lucidrains():
    library = pytest.importorskip("denoising_diffusion_pytorch")
    unet = library.Unet(dim=8, dim_mults=(1,), channels=1)
    return library.GaussianDiffusion(unet, image_size=8, timesteps=T, beta_schedule="cosine", objective="pred_v", auto_normalize=False)


def images(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(len(shape)))


def toy_model(x, t, **_):
    """Some function of x and t that stands for a network."""
    return torch.tanh(x) * torch.as_tensor(t / (t + 100.0), dtype=x.dtype).reshape(-1, *[1] * (x.ndim - 1))


@pytest.mark.parametrize(
    ("ours", "options"),
    [
        (NoiseSchedule.linear(T), {"beta_schedule": "linear", "beta_start": 1e-4, "beta_end": 0.02}),
        (NoiseSchedule.cosine(T), {"beta_schedule": "squaredcos_cap_v2"}),
    ],
    ids=["linear", "cosine"],
)
def test_survival_agrees_with_diffusers(diffusers, ours, options):
    theirs = diffusers.DDPMScheduler(num_train_timesteps=T, **options).alphas_cumprod.double()
    torch.testing.assert_close(ours.alphas_cumprod, theirs, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("t", [1, 2, 10, 500, 998])
def test_posterior_agrees_with_diffusers(diffusers, t):
    scheduler = diffusers.DDPMScheduler(num_train_timesteps=T, beta_schedule="linear", prediction_type="sample", clip_sample=False)
    scheduler.set_timesteps(T)
    x_0, x_t = images(2, 1, 4, 4), 2 * images(2, 1, 4, 4).flip(0)
    mean, variance, _ = q_posterior_mean_variance(NoiseSchedule.linear(T), x_0, x_t, t)
    torch.manual_seed(0)
    drawn = scheduler.step(x_0, t, x_t).prev_sample
    torch.manual_seed(0)
    noise = torch.randn(x_t.shape)
    torch.testing.assert_close(mean + variance.sqrt() * noise, drawn, atol=2e-4, rtol=1e-3)
    torch.testing.assert_close(variance.squeeze().double(), scheduler._get_variance(t).double(), atol=1e-8, rtol=2e-3)


def test_log_variance_at_the_first_step_differs_by_design(diffusers, lucidrains):
    first = posterior_coefficients(NoiseSchedule.cosine(T), torch.tensor([0, 1])).log_variance_clipped
    assert first[0] == first[1]
    assert lucidrains.posterior_log_variance_clipped[0].item() == pytest.approx(-46.05, abs=0.01)
    scheduler = diffusers.DDPMScheduler(num_train_timesteps=T, beta_schedule="squaredcos_cap_v2", variance_type="fixed_small_log")
    assert scheduler._get_variance(0).item() == pytest.approx(1e-10, rel=1e-3)  # it returns the deviation, the root of 1e-20


PREDICTION = {"eps": "epsilon", "v": "v_prediction", "x0": "sample"}


def their_walk(scheduler, start, **options):
    """Every state of ten steps of a scheduler of diffusers from `start`; `options` are those of its step."""
    scheduler.set_timesteps(10)
    assert scheduler.timesteps.tolist() == timesteps(T, 10, "trailing").tolist()
    x, path = start, []
    for t in scheduler.timesteps:
        x = scheduler.step(toy_model(x, t), t, x, **options).prev_sample
        path.append(x)
    return torch.stack(path)


def our_walk(sampler, diffusion, start, **options):
    """Every state of ten steps of ours."""
    path = []
    options |= {"num_inference_steps": 10, "x_init": start, "callback": lambda s, x: path.append(x.clone())}
    sampler(diffusion, toy_model, start.shape, **options)
    return torch.stack(path)


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("objective", ["eps", "v"])
def test_ddim_agrees_with_diffusers_step_by_step(diffusers, objective, eta):
    options = dict(clip_sample=False, set_alpha_to_one=True, timestep_spacing="trailing", prediction_type=PREDICTION[objective])
    scheduler = diffusers.DDIMScheduler(num_train_timesteps=T, beta_schedule="linear", **options)
    start, diffusion = images(2, 1, 4, 4), GaussianDiffusion(NoiseSchedule.linear(T), objective, clip_range=None)
    theirs = their_walk(scheduler, start, eta=eta, generator=torch.Generator().manual_seed(9))
    mine = our_walk(sample_ddim, diffusion, start, eta=eta, generator=torch.Generator().manual_seed(9))
    torch.testing.assert_close(mine, theirs, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("spacing", ["trailing", "leading", "linspace"])
@pytest.mark.parametrize("n", [5, 7, 50])
def test_spacings_agree_with_diffusers(diffusers, spacing, n):
    scheduler = diffusers.DDIMScheduler(num_train_timesteps=T, timestep_spacing=spacing)
    scheduler.set_timesteps(n)
    assert timesteps(T, n, spacing).tolist() == scheduler.timesteps.tolist()


def test_zero_terminal_snr_agrees_with_diffusers(diffusers):
    theirs = diffusers.DDPMScheduler(num_train_timesteps=T, beta_schedule="linear", rescale_betas_zero_snr=True).alphas_cumprod.double()
    torch.testing.assert_close(NoiseSchedule.linear(T).zero_terminal_snr().alphas_cumprod, theirs, atol=1e-6, rtol=0)


@pytest.mark.parametrize("objective", ["eps", "v", "x0"])
def test_dpmpp_2m_agrees_with_diffusers_step_by_step(diffusers, objective):
    options = dict(algorithm_type="dpmsolver++", solver_order=2, final_sigmas_type="zero", euler_at_final=True)
    options |= dict(timestep_spacing="trailing", prediction_type=PREDICTION[objective])
    scheduler = diffusers.DPMSolverMultistepScheduler(num_train_timesteps=T, beta_schedule="linear", **options)
    start, diffusion = images(2, 1, 4, 4), GaussianDiffusion(NoiseSchedule.linear(T), objective, clip_range=None)
    mine = our_walk(sample_dpmpp_2m, diffusion, start)
    torch.testing.assert_close(mine, their_walk(scheduler, start), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("variance", ["small", "large"])
def test_ancestral_steps_agree_with_diffusers_but_for_noise_on_the_last(diffusers, variance):
    """With the larger variance and a stride, diffusers draws noise on the step to clean data too."""
    options = dict(clip_sample=False, timestep_spacing="trailing", prediction_type="v_prediction", variance_type=f"fixed_{variance}")
    scheduler = diffusers.DDPMScheduler(num_train_timesteps=T, beta_schedule="linear", **options)
    start, diffusion = images(2, 1, 4, 4), GaussianDiffusion(NoiseSchedule.linear(T), "v", clip_range=None, variance=variance)
    theirs = their_walk(scheduler, start, generator=torch.Generator().manual_seed(9))
    mine = our_walk(sample_ddpm, diffusion, start, generator=torch.Generator().manual_seed(9))
    torch.testing.assert_close(mine[:-1], theirs[:-1], atol=1e-4, rtol=1e-4)
    assert torch.allclose(mine[-1], theirs[-1], atol=1e-4) == (variance == "small")


def test_cosine_and_posterior_agree_with_denoising_diffusion_pytorch(lucidrains):
    schedule, t = NoiseSchedule.cosine(T), torch.arange(T)
    torch.testing.assert_close(schedule.alphas_cumprod.float(), lucidrains.alphas_cumprod, atol=1e-7, rtol=1e-4)
    c = posterior_coefficients(schedule, t)
    torch.testing.assert_close(c.x_start.float(), lucidrains.posterior_mean_coef1, atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(c.x_t.float(), lucidrains.posterior_mean_coef2, atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(c.variance.float(), lucidrains.posterior_variance, atol=1e-9, rtol=1e-4)
    torch.testing.assert_close(c.log_variance_clipped[1:].float(), lucidrains.posterior_log_variance_clipped[1:], atol=1e-4, rtol=1e-4)


def test_conversions_from_v_agree_with_denoising_diffusion_pytorch(lucidrains):
    diffusion = GaussianDiffusion(NoiseSchedule.cosine(T), "v", clip_range=None)
    t = torch.tensor([0, 250, 999])
    x_0, noise = images(3, 1, 8, 8), images(3, 1, 8, 8).flip(0)
    x_t = diffusion.q_sample(x_0, t, noise)
    torch.testing.assert_close(x_t, lucidrains.q_sample(x_0, t, noise), atol=1e-6, rtol=1e-5)
    v = diffusion.target(x_0, noise, t)
    torch.testing.assert_close(v, lucidrains.predict_v(x_0, t, noise), atol=1e-6, rtol=1e-5)
    found = diffusion.predict(lambda x, t, **_: v, x_t, t)
    torch.testing.assert_close(found.x_start, lucidrains.predict_start_from_v(x_t, t, v), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found.x_start, x_0, atol=1e-4, rtol=1e-4)
