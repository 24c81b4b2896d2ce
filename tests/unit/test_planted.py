"""Bugs that were once planted in the package and slipped through every test; here each is seen."""

import pytest
import torch
from torch import nn

from vqdiff_edu.diffusion.parameterization import GaussianDiffusion
from vqdiff_edu.diffusion.posterior import posterior_coefficients
from vqdiff_edu.diffusion.samplers import sample_ddim, sample_heun, timesteps
from vqdiff_edu.diffusion.schedule import NoiseSchedule
from vqdiff_edu.diffusion.unet import timestep_embedding
from vqdiff_edu.process import DiffusionTask
from vqdiff_edu.quantization.kmeans import spread_start

COSINE = NoiseSchedule.cosine(1000)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# ---------------------------------------------------------------- samplers


@pytest.mark.parametrize("eta", [0.25, 0.5, 1.0])
def test_the_deviation_of_ddims_noise_is_eta_times_the_posteriors(eta):
    """A network that always says 0 leaves, after one step, a multiple of the start plus nothing but the fresh noise."""
    after, start = [], torch.ones(1, 100_000, dtype=torch.float64)
    sample_ddim(
        GaussianDiffusion(COSINE, "x0"),
        lambda x, t: torch.zeros_like(x),
        start.shape,
        num_inference_steps=2,
        eta=eta,
        x_init=start,
        generator=seeded(1),
        callback=lambda s, x: after.append((s, x.clone())),
    )
    t, (s, x) = 999, after[0]
    posterior = posterior_coefficients(COSINE, t, s).variance.item()
    noisy_t, noisy_s = (1 - COSINE.alphas_cumprod[step].item() for step in (t, s))
    assert x.std().item() == pytest.approx(eta * posterior**0.5, rel=0.01)
    assert x.mean().item() == pytest.approx(((noisy_s - eta**2 * posterior) / noisy_t) ** 0.5, abs=5 / 100_000**0.5)


def test_heun_asks_for_its_second_slope_where_the_first_has_led():
    asked = []

    def model(x, t):
        asked.append(int(t.flatten()[0]))
        return torch.zeros_like(x)

    sample_heun(GaussianDiffusion(COSINE, "v"), model, (2, 1), num_inference_steps=4, generator=seeded(2))
    a, b, c, d = timesteps(1000, 4).tolist()
    assert asked == [a, b, b, c, c, d, d]


def test_heun_is_of_second_order():
    """Half the step, a quarter of the error, where data are N(0.5, 0.3²) and the flow is known.

    The way ends at t = 9, where the last step, which is DDIM's, is not yet taken.
    """
    mu, tau, start = 0.5, 0.3, torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None]

    def ends(t):  # of the flow that carries `start` from T - 1 to t
        ab, last = COSINE.alphas_cumprod[t], COSINE.alphas_cumprod[-1]
        spread, widest = (a * tau**2 + 1 - a for a in (ab, last))
        return ab.sqrt() * mu + (spread / widest).sqrt() * (start - last.sqrt() * mu)

    def velocity(x, t):
        ab = COSINE.alphas_cumprod[t.long()].reshape(-1, 1)
        x_0 = mu + ab.sqrt() * tau**2 / (ab * tau**2 + 1 - ab) * (x - ab.sqrt() * mu)
        return ab.sqrt() * (x - ab.sqrt() * x_0) / (1 - ab).sqrt() - (1 - ab).sqrt() * x_0

    def error(steps):
        path, diffusion = {}, GaussianDiffusion(COSINE, "v", clip_range=None)
        sample_heun(
            diffusion, velocity, start.shape, num_inference_steps=steps, x_init=start, callback=lambda s, x: path.update({s: x.clone()})
        )
        return (path[199] - ends(199)).abs().max().item()

    coarse, fine, finest = error(10), error(20), error(40)
    assert 3.2 < coarse / fine < 5 and 3.2 < fine / finest < 5


def test_the_large_variance_of_the_last_step_is_the_posteriors_at_one():
    """Not beta of the first step, which no posterior comes near."""
    x = torch.zeros(1, 1, 2, 2, dtype=torch.float64)
    diffusion = GaussianDiffusion(COSINE, variance="large")
    _, variance, log_variance = diffusion.p_mean_variance(lambda x, t: torch.zeros_like(x), x, 0)
    noisy_0, noisy_1 = (1 - COSINE.alphas_cumprod[:2]).tolist()
    expected = COSINE.betas[1].item() * noisy_0 / noisy_1
    assert variance.flatten()[0].item() == pytest.approx(expected, rel=1e-9)
    assert log_variance.exp().flatten()[0].item() == pytest.approx(expected, rel=1e-9)
    assert expected < 0.9 * COSINE.betas[0].item()


# ---------------------------------------------------------------- codes and networks


def test_kmeans_starts_far_out_in_proportion_to_the_squared_distance():
    """From 0, a point at 3 is nine times as likely as one at 1; by the distance itself it would be three times."""
    vectors = torch.tensor([[0.0]] * 98 + [[1.0], [3.0]])
    pairs = torch.stack([spread_start(vectors, 2).flatten() for _ in range(2000)])
    second = pairs[pairs[:, 0] == 0, 1]
    share, n = (second == 3).double().mean().item(), len(second)
    assert abs(share - 0.9) < 5 * (0.9 * 0.1 / n) ** 0.5 and (second > 0).all()


@pytest.mark.parametrize("dim", [8, 64])
def test_the_frequencies_of_a_step_fall_by_one_ratio_and_stop_one_short_of_the_period(dim):
    half = dim // 2
    turned = timestep_embedding(torch.tensor([1]), dim)[0].double()
    frequencies = torch.atan2(turned[half:], turned[:half])  # at step 1 an angle is its frequency
    expected = torch.tensor([10_000 ** (-k / half) for k in range(half)], dtype=torch.float64)
    assert torch.allclose(frequencies, expected, rtol=1e-5, atol=1e-8)


# ---------------------------------------------------------------- the task that trains the generators


class Watching(nn.Module):
    """A network that says nothing and remembers what it was asked."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.steps, self.pictures, self.labels = [], [], []

    def forward(self, x, t, label=None):
        self.steps.append(t.clone()), self.pictures.append(x.clone()), self.labels.append(label.clone())
        return x * self.weight


def watched(batches: int, schedule: NoiseSchedule, size: int = 100):
    """A network that has seen some batches of black pictures through the task."""
    model, generator = Watching(), seeded(4)
    task = DiffusionTask(model, GaussianDiffusion(schedule, "v"))
    batch = {"image": torch.zeros(size, 1, 28, 28, dtype=torch.uint8), "label": torch.arange(size) % 10}
    for _ in range(batches):
        loss, _ = task.loss(batch, generator)
        loss.backward()
    return model


def test_training_draws_every_step_the_last_one_too_and_each_as_often():
    steps = torch.cat(watched(20, NoiseSchedule.cosine(5)).steps)
    counts = steps.bincount(minlength=5).double()
    assert len(counts) == 5 and len(steps) == 2000
    assert ((counts - 400).abs() < 5 * (2000 * 0.2 * 0.8) ** 0.5).all()


def test_every_picture_of_a_batch_has_a_step_of_its_own():
    for steps in watched(3, COSINE).steps:
        assert steps.shape == (100,) and len(steps.unique()) > 80  # 95 are expected; 100 of 1000 with repetition


def test_a_network_is_told_the_step_at_which_its_picture_was_noised():
    model = watched(1, COSINE)
    t, x = model.steps[0], model.pictures[0]
    share = COSINE.alphas_cumprod[t]
    assert torch.allclose(x.var((1, 2, 3)).double(), 1 - share, rtol=0.3)
    assert torch.allclose(-x.mean((1, 2, 3)).double(), share.sqrt(), atol=0.2)
    assert torch.equal(model.labels[0], torch.arange(100) % 10)
