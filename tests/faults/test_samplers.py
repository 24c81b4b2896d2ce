"""Samplers refuse steps and shapes that make no walk, before anything is drawn."""

import numpy as np
import pytest
import torch

from vqdiff_edu.diffusion.parameterization import GaussianDiffusion
from vqdiff_edu.diffusion.samplers import sample_ddim, timesteps
from vqdiff_edu.diffusion.schedule import NoiseSchedule

DIFFUSION = GaussianDiffusion(NoiseSchedule.cosine(50))
SHAPE = (2, 1, 2, 2)


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"num_inference_steps": 0}, ValueError, "num_inference_steps must be a whole number in 1 … 50, got 0"),
        ({"num_inference_steps": 51}, ValueError, "num_inference_steps must be a whole number in 1 … 50, got 51"),
        ({"num_inference_steps": 2.5}, TypeError, "num_inference_steps must be a whole number"),
        ({"eta": -0.5}, ValueError, "eta must be a finite number in 0 … 1"),
        ({"eta": 1.5}, ValueError, "eta must be"),
        ({"eta": float("nan")}, ValueError, "eta must be"),
        ({"spacing": "even"}, ValueError, "spacing must be one of 'trailing', 'leading', 'linspace'; got 'even'"),
        ({"t_start": 50}, ValueError, "t_start must be a whole number in 0 … 49"),
        ({"t_start": -1}, ValueError, "t_start must be"),
        ({"t_start": 20.0}, TypeError, "t_start must be"),
        ({"t_start": 10}, ValueError, "t_start=10 needs x_init"),
        ({"t_start": np.int64(40)}, ValueError, "t_start=40 needs x_init"),
        ({"t_start": torch.tensor(40)}, ValueError, "t_start=40 needs x_init"),
        ({"t_start": 40, "x_init": torch.zeros(SHAPE), "spacing": "leading"}, ValueError, "spacing 'leading' begins at step 32"),
        ({"x_init": torch.zeros(2, 1, 2, 3)}, ValueError, r"x_init must be .*got shape \[2, 1, 2, 3\]"),
        ({"x_init": torch.full(SHAPE, float("nan"))}, ValueError, "x_init must be finite; 8"),
        ({"shape": 4}, TypeError, "shape must be whole numbers"),
        ({"shape": ()}, ValueError, "shape must be a whole number of at least 1"),
        ({"shape": (0, 1, 2, 2)}, ValueError, "shape must be a whole number of at least 1"),
        ({"shape": (2.0, 1, 2, 2)}, TypeError, "shape must be a whole number"),
        ({"guidance": 2.0}, TypeError, ".*unexpected keyword argument 'guidance'"),
    ],
)
def test_refused_by_name_and_before_anything_is_drawn(changes, error, words):
    generator = torch.Generator().manual_seed(0)
    before = generator.get_state()
    with pytest.raises(error, match=f"^{words}"):
        sample_ddim(DIFFUSION, lambda x, t: 0 * x, **{"shape": SHAPE, "num_inference_steps": 5, "generator": generator} | changes)
    assert torch.equal(generator.get_state(), before)


def test_leading_from_a_later_start_is_welcome_where_it_begins_there():
    x = torch.zeros(SHAPE)
    out = sample_ddim(DIFFUSION, lambda x, t: 0 * x, SHAPE, num_inference_steps=4, t_start=30, spacing="trailing", x_init=x)
    assert out.shape == SHAPE
    assert sample_ddim(DIFFUSION, lambda x, t: 0 * x, SHAPE, t_start=3, spacing="leading", x_init=x).shape == SHAPE


def test_timesteps_alone():
    with pytest.raises(ValueError, match="^num_inference_steps must be a whole number in 1 … 10, got 11"):
        timesteps(10, 11)
