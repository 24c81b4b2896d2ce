"""Samplers against closed forms, a peer's published value, and each other."""

import pytest
import torch

from vqdiff_edu.diffusion.parameterization import GaussianDiffusion
from vqdiff_edu.diffusion.samplers import (
    ddim,
    ddpm,
    dpmpp_2m,
    heun,
    sample,
    sample_ddim,
    sample_ddpm,
    sample_dpmpp_2m,
    sample_heun,
    settings,
    timesteps,
)
from vqdiff_edu.diffusion.schedule import NoiseSchedule

STEPS = [ddpm, ddim, dpmpp_2m, heun]
SAMPLERS = [sample_ddpm, sample_ddim, sample_dpmpp_2m, sample_heun]
COSINE = NoiseSchedule.cosine(1000)
MU, TAU = 0.5, 0.3


def normal_data(schedule):
    """The best v when the data are N(MU, TAU²)."""

    def model(x, t):
        ab = schedule.alpha_bar(t).reshape(-1, 1).to(x.dtype)
        x_0 = MU + ab.sqrt() * TAU**2 / (ab * TAU**2 + 1 - ab) * (x - ab.sqrt() * MU)
        return ab.sqrt() * (x - ab.sqrt() * x_0) / (1 - ab).sqrt() - (1 - ab).sqrt() * x_0

    return model


def test_full_loop_of_diffusers():
    """The value in diffusers' own test of its DDPM scheduler (a float64 schedule gives 258.9591)."""
    x = (torch.arange(768).reshape(3, 8, 8, 4) / 768).permute(3, 0, 1, 2)
    diffusion = GaussianDiffusion(NoiseSchedule.linear(1000), "eps")

    def model(x, t):
        return x * t.reshape(-1, 1, 1, 1) / (t.reshape(-1, 1, 1, 1) + 1)

    out = sample_ddpm(diffusion, model, x.shape, x_init=x, generator=torch.Generator().manual_seed(0))
    assert out.abs().sum().item() == pytest.approx(258.9606, abs=0.01)


@pytest.mark.parametrize("schedule", [COSINE, NoiseSchedule.linear(1000).zero_terminal_snr()], ids=["cosine", "zero terminal SNR"])
@pytest.mark.parametrize(("sampler", "bound"), [(sample_ddim, 0.03), (sample_dpmpp_2m, 0.01), (sample_heun, 0.01)])
def test_deterministic_samplers_end_where_the_exact_flow_does(sampler, bound, schedule):
    x = torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None]
    out = sampler(GaussianDiffusion(schedule, "v", clip_range=None), normal_data(schedule), x.shape, x_init=x, num_inference_steps=100)
    ab = schedule.alphas_cumprod[-1]
    exact = MU + TAU * (x - ab.sqrt() * MU) / (ab * TAU**2 + 1 - ab).sqrt()
    assert (out - exact).abs().max() < bound


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_the_distribution_comes_out(eta):
    g = torch.Generator().manual_seed(3)
    diffusion = GaussianDiffusion(COSINE, "v", clip_range=None)
    out = sample_ddim(diffusion, normal_data(COSINE), (20_000, 1), num_inference_steps=250, eta=eta, generator=g)
    assert out.mean().item() == pytest.approx(MU, abs=5 * TAU / 20_000**0.5)
    assert out.std().item() == pytest.approx(TAU, rel=0.04)


def test_ddim_with_eta_one_is_the_ancestral_sampler():
    diffusion = GaussianDiffusion(COSINE, "v", clip_range=None)
    args = {"num_inference_steps": 20, "x_init": torch.randn(6, 1).double()}
    a = sample_ddim(diffusion, normal_data(COSINE), (6, 1), eta=1.0, generator=torch.Generator().manual_seed(5), **args)
    b = sample_ddpm(diffusion, normal_data(COSINE), (6, 1), generator=torch.Generator().manual_seed(5), **args)
    assert torch.allclose(a, b, atol=1e-9)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_seeds_callbacks_and_the_last_step(sampler):
    seen = []
    diffusion, model = GaussianDiffusion(NoiseSchedule.cosine(20), "x0"), lambda x, t: torch.full_like(x, 0.25)
    run = lambda: sampler(
        diffusion,
        model,
        (2, 1, 3, 3),
        num_inference_steps=4,
        generator=torch.Generator().manual_seed(1),
        callback=lambda s, x: seen.append(s),
    )  # noqa: E501
    first, second = run(), run()
    assert torch.equal(first, second)
    assert seen[:4] == [14, 9, 4, -1]
    assert torch.allclose(first, torch.full_like(first, 0.25), atol=1e-6)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_nothing_touches_the_global_generator(sampler):
    before = torch.get_rng_state()
    sampler(
        GaussianDiffusion(NoiseSchedule.cosine(20)), lambda x, t: 0 * x, (1, 1, 2, 2), num_inference_steps=3, generator=torch.Generator()
    )
    assert torch.equal(before, torch.get_rng_state())


def test_the_loop_visits_every_step_and_ends_where_it_is_told():
    visited, told = [], []
    move = lambda x, t, s: visited.append((t, s)) or x + 1  # noqa: E731
    assert sample(move, torch.zeros(2), [9, 4, 0], callback=lambda s, x: told.append((s, x[0].item()))).tolist() == [3.0, 3.0]
    assert visited == [(9, 4), (4, 0), (0, -1)]
    assert told == [(4, 1.0), (0, 2.0), (-1, 3.0)]
    sample(move, torch.zeros(2), iter([1.0, 0.5]), last=0.0)
    assert visited[3:] == [(1.0, 0.5), (0.5, 0.0)]


@pytest.mark.parametrize("eta", [0.3, 0.5])
def test_the_noise_that_ddim_adds_has_eta_times_the_posteriors_deviation(eta):
    """By hand, with two survival shares whose roots come out: 0.36 and 0.64. The posterior's variance is (0.36 / 0.64) · (1 - 0.36 / 0.64)."""
    schedule = NoiseSchedule.from_alphas_cumprod(torch.tensor([0.64, 0.36], dtype=torch.float64))
    diffusion, x = GaussianDiffusion(schedule, "v", clip_range=None), torch.full((5,), 0.2, dtype=torch.float64)
    told = diffusion.from_x_start(torch.full_like(x, 0.7), x, 1)
    sigma = eta * (0.5625 * 0.4375) ** 0.5
    z = torch.randn(5, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    expected = 0.8 * 0.7 + (0.36 - sigma**2) ** 0.5 * (0.2 - 0.6 * 0.7) / 0.8 + sigma * z
    found = ddim(diffusion, lambda x, t: told, eta=eta, generator=torch.Generator().manual_seed(2))(x, 1, 0)
    assert torch.allclose(found, expected, atol=1e-12)


def test_heun_asks_for_its_second_slope_at_the_place_and_time_where_the_first_one_leads():
    """One step against the exact flow: the error must shrink with the cube of the step, eightfold when it is halved."""
    diffusion, x = GaussianDiffusion(COSINE, "v", clip_range=None), torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None]
    step, errors = heun(diffusion, diffusion.denoiser(normal_data(COSINE))), []
    for t in (700, 600):
        ab_t, ab_s = COSINE.alpha_bar(t), COSINE.alpha_bar(500)
        spread = ((ab_s * TAU**2 + 1 - ab_s) / (ab_t * TAU**2 + 1 - ab_t)).sqrt()
        errors.append((step(x, t, 500) - (ab_s.sqrt() * MU + spread * (x - ab_t.sqrt() * MU))).abs().max().item())
    assert errors[0] / errors[1] > 5.5
    asked = []
    heun(diffusion, lambda x, t: asked.append(t) or diffusion.from_x_start(0 * x, x, t))(x, 700, 500)
    assert asked == [700, 500]


@pytest.mark.parametrize("method", STEPS)
def test_a_step_from_a_tensor_of_times_is_the_step_from_ints(method):
    """Also with a time of its own for every example, and when the walk goes on."""
    diffusion, x = GaussianDiffusion(COSINE, "v"), torch.randn(3, 1, 2, 2)
    model = lambda x, t: x * t[:, None, None, None] / 1000  # noqa: E731
    ends = []
    for times in ((600, 500, 300), [torch.full((3,), t) for t in (600, 500, 300)], [torch.tensor(t) for t in (600, 500, 300)]):
        step = method(diffusion, diffusion.denoiser(model), generator=torch.Generator().manual_seed(0))
        ends.append(step(step(x, *times[:2]), *times[1:]))
    assert torch.allclose(ends[0], ends[1], atol=1e-6)
    assert torch.allclose(ends[0], ends[2], atol=1e-6)


def test_starting_in_the_middle():
    """From x_0 noised to t_start, the perfect network leads back to x_0."""
    schedule = NoiseSchedule.cosine(100)
    x_0, noise = torch.rand(3, 1, 2, 2).double() - 0.5, torch.randn(3, 1, 2, 2).double()
    diffusion = GaussianDiffusion(schedule, "x0")
    visited = []

    def model(x, t):
        visited.append(int(t[0]))
        return x_0

    out = sample_ddim(diffusion, model, x_0.shape, x_init=diffusion.q_sample(x_0, 40, noise), t_start=40, num_inference_steps=5)
    assert visited[0] == 40 and torch.allclose(out, x_0)


@pytest.mark.parametrize(
    ("spacing", "expected"),
    [("trailing", [999, 799, 599, 399, 199]), ("leading", [800, 600, 400, 200, 0]), ("linspace", [999, 749, 500, 250, 0])],
)
def test_spacings(spacing, expected):
    assert timesteps(1000, 5, spacing).tolist() == expected


@pytest.mark.parametrize("spacing", ["trailing", "leading", "linspace"])
def test_all_steps_are_all_steps(spacing):
    assert timesteps(50, 50, spacing).tolist() == list(range(49, -1, -1))


def test_what_a_caller_says_goes_before_the_card_and_the_card_before_the_default():
    card = {"guidance_scale": 1.45, "num_inference_steps": 20}
    asked = {
        "guidance_scale": (None, 1.0),
        "num_inference_steps": (7, 50),
        "guidance_interval": (None, None),
        "spacing": (None, "trailing"),
    }
    assert settings(card, **asked) == {"guidance_scale": 1.45, "num_inference_steps": 7, "guidance_interval": None, "spacing": "trailing"}
    assert settings(card, guidance_scale=(0.0, 1.0)) == {"guidance_scale": 0.0}  # 0 is said; only None is not
    assert card == {"guidance_scale": 1.45, "num_inference_steps": 20}
