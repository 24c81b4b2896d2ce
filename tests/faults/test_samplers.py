"""Samplers refuse steps and shapes that make no walk."""

import pytest
import torch

from vqdiff_edu.diffusion.parameterization import GaussianDiffusion
from vqdiff_edu.diffusion.samplers import sample_ddim, timesteps
from vqdiff_edu.diffusion.schedule import NoiseSchedule

DIFFUSION = GaussianDiffusion(NoiseSchedule.cosine(50))


def sample(**changes):
    return sample_ddim(DIFFUSION, lambda x, t: 0 * x, (2, 1, 2, 2), **{"num_inference_steps": 5} | changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_inference_steps": 0}, "num_inference_steps"),
        ({"num_inference_steps": 51}, "num_inference_steps must lie in 1 … 50"),
        ({"eta": -0.5}, "eta must lie in 0 … 1"),
        ({"eta": 1.5}, "eta"),
        ({"eta": float("nan")}, "eta"),
        ({"spacing": "even"}, "spacing must be one of"),
        ({"t_start": 50}, "t_start must lie in 0 … 49"),
        ({"t_start": -1}, "t_start"),
        ({"x_init": torch.zeros(2, 1, 2, 3)}, "x_init must have shape"),
    ],
)
def test_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        sample(**changes)


def test_timesteps_alone():
    with pytest.raises(ValueError, match="num_inference_steps"):
        timesteps(10, 11)


@pytest.mark.parametrize("changes", [{"num_inference_steps": 2.5}, {"t_start": 20.0}])
def test_steps_that_are_not_whole(changes):
    (name,) = changes
    with pytest.raises(TypeError, match=f"{name} must be an int"):
        sample(**changes)


@pytest.mark.parametrize("shape", [4, (), (0, 1, 2, 2), (2.0, 1, 2, 2)])
def test_shape_is_whole_numbers(shape):
    with pytest.raises(ValueError, match="shape must be whole numbers"):
        sample_ddim(DIFFUSION, lambda x, t: x, shape, num_inference_steps=2)


def test_a_beginning_with_nan():
    with pytest.raises(ValueError, match="x_init must be finite; 8"):
        sample_ddim(DIFFUSION, lambda x, t: x, (2, 1, 2, 2), num_inference_steps=2, x_init=torch.full((2, 1, 2, 2), float("nan")))


def test_a_later_start_needs_something_that_is_less_noisy():
    with pytest.raises(ValueError, match="t_start=10 needs x_init"):
        sample_ddim(DIFFUSION, lambda x, t: x, (2, 1, 2, 2), num_inference_steps=2, t_start=10)
