"""Timesteps and walks, for every length and every number of steps."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from vqdiff_edu.diffusion.parameterization import GaussianDiffusion
from vqdiff_edu.diffusion.samplers import SPACINGS, sample_ddim, sample_ddpm, sample_dpmpp_2m, sample_heun, timesteps
from vqdiff_edu.diffusion.schedule import NoiseSchedule

spacings = st.sampled_from(SPACINGS)
seeds = st.integers(0, 2**31)


@st.composite
def counts(draw, most=2000):
    """How many steps there are, and how many are taken."""
    T = draw(st.integers(1, most))
    return T, draw(st.integers(1, T))


@given(counts(), spacings)
def test_timesteps_fall_without_repetition_within_bounds(count, spacing):
    T, n = count
    steps = timesteps(T, n, spacing)
    assert steps.dtype == torch.int64 and len(steps) == n
    assert (steps.diff() < 0).all()
    assert 0 <= steps[-1] and steps[0] <= T - 1


@given(counts())
def test_where_each_spacing_begins_and_ends(count):
    T, n = count
    assert timesteps(T, n, "trailing")[0] == T - 1
    assert timesteps(T, n, "leading")[-1] == 0
    assert timesteps(T, n, "linspace")[0] == T - 1
    assert n == 1 or timesteps(T, n, "linspace")[-1] == 0


@given(counts(), spacings)
def test_strides_are_even(count, spacing):
    """No two strides differ by more than the rounding; a trailing walk's last stride, to -1, is one of them."""
    T, n = count
    steps = timesteps(T, n, spacing).tolist() + ([-1] if spacing == "trailing" else [])
    strides = [a - b for a, b in zip(steps, steps[1:])]
    assert not strides or max(strides) - min(strides) <= (0 if spacing == "leading" else 1)


def perfect(diffusion, x_0):
    """The network that knows the data, in the diffusion's own target."""

    def model(x, t):
        p = diffusion.from_x_start(x_0.expand_as(x), x, t)
        return {"eps": p.eps, "x0": p.x_start, "v": p.v}[diffusion.objective]

    return model


@st.composite
def tasks(draw):
    """Betas, a target, a number of steps, a spacing and a seed: what `set_up` makes a walk of."""
    betas = draw(st.lists(st.floats(1e-3, 0.9), min_size=2, max_size=25))
    return betas, draw(st.sampled_from(["eps", "x0", "v"])), draw(st.integers(1, len(betas))), draw(spacings), draw(seeds)


def set_up(betas, objective, n, spacing, seed):
    """A diffusion, its data, fresh noise, and the arguments of a walk."""
    diffusion = GaussianDiffusion(NoiseSchedule(torch.tensor(betas, dtype=torch.float64)), objective, clip_range=None)
    x_0, noise = torch.randn(2, 2, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return diffusion, x_0, noise, {"num_inference_steps": n, "spacing": spacing}


@given(tasks(), st.floats(0, 1))
def test_with_a_perfect_network_every_sampler_returns_the_data(task, eta):
    diffusion, x_0, noise, walk = set_up(*task)
    model, walk = perfect(diffusion, x_0), walk | {"x_init": noise, "generator": torch.Generator().manual_seed(1)}
    ends = [sample_ddim(diffusion, model, x_0.shape, eta=eta, **walk)]
    ends += [sampler(diffusion, model, x_0.shape, **walk) for sampler in (sample_ddpm, sample_dpmpp_2m, sample_heun)]
    for end in ends:
        torch.testing.assert_close(end, x_0, rtol=0, atol=1e-6)


@given(tasks())
def test_ddim_with_a_perfect_network_keeps_the_noise(task):
    """On the way the deterministic walk is the film: x_0 and the one noise that x_init was made with, at every level."""
    diffusion, x_0, noise, walk = set_up(*task)
    first = timesteps(diffusion.schedule.num_timesteps, walk["num_inference_steps"], "trailing")[0].item()
    path, walk = {}, walk | {"spacing": "trailing", "x_init": diffusion.q_sample(x_0, first, noise)}
    sample_ddim(diffusion, perfect(diffusion, x_0), x_0.shape, callback=path.__setitem__, **walk)
    for s, x in path.items():
        torch.testing.assert_close(x, diffusion.q_sample(x_0, s, noise), rtol=0, atol=1e-6)
