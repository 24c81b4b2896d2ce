"""What must hold for every list, level and schedule."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from vqdiff_edu.diffusion.objective import bound_weight, optimal_denoiser
from vqdiff_edu.diffusion.schedule import NoiseSchedule

levels = st.floats(0.0, 0.9999)
seeds = st.integers(0, 10_000)


def draw(seed, n, dims=3, batch=4):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(rows, dims, generator=generator, dtype=torch.float64) for rows in (n, batch)]


@given(seeds, st.integers(1, 20), levels)
def test_the_answer_lies_among_the_data(seed, n, alpha_bar):
    data, x = draw(seed, n)
    answer = optimal_denoiser(data, x, alpha_bar)
    assert (answer >= data.amin(0) - 1e-9).all()
    assert (answer <= data.amax(0) + 1e-9).all()


@given(seeds, st.integers(2, 20), levels)
def test_the_order_of_the_list_does_not_matter(seed, n, alpha_bar):
    data, x = draw(seed, n)
    assert torch.allclose(optimal_denoiser(data.flip(0), x, alpha_bar), optimal_denoiser(data, x, alpha_bar), atol=1e-9)


@given(seeds, st.integers(1, 20), st.floats(0.0, 0.99))
def test_turning_the_world_turns_the_answer(seed, n, alpha_bar):
    data, x = draw(seed, n)
    turn, _ = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64))
    assert torch.allclose(optimal_denoiser(data @ turn, x @ turn, alpha_bar), optimal_denoiser(data, x, alpha_bar) @ turn, atol=1e-7)


@given(st.integers(20, 300), st.sampled_from(["linear", "cosine", "sigmoid"]), st.sampled_from(["x0", "eps", "v"]))
def test_weights_are_positive(steps, name, target):
    assert (bound_weight(getattr(NoiseSchedule, name)(steps), torch.arange(1, steps), target) > 0).all()
