"""Wrong steps and shapes are refused by name."""

import pytest
import torch

from vqdiff_edu.diffusion.posterior import posterior_coefficients, q_posterior_mean_variance
from vqdiff_edu.diffusion.schedule import NoiseSchedule

SCHEDULE = NoiseSchedule.linear(50)


@pytest.mark.parametrize("t", [-1, 50, -7])
def test_a_step_outside_the_schedule(t):
    with pytest.raises(ValueError, match=r"t must lie in"):
        posterior_coefficients(SCHEDULE, t)


@pytest.mark.parametrize(("t", "t_prev"), [(3, 3), (3, 4), (3, -2), (3, 50)])
def test_a_step_that_does_not_go_back(t, t_prev):
    with pytest.raises(ValueError, match="^t_prev must"):
        posterior_coefficients(SCHEDULE, t, t_prev)


def test_a_fractional_step_to_land_on():
    with pytest.raises(TypeError, match="^t_prev must be"):
        posterior_coefficients(SCHEDULE, 3, 1.5)


def test_as_many_ends_as_starts():
    with pytest.raises(ValueError, match="t_prev must have the shape of t"):
        posterior_coefficients(SCHEDULE, torch.tensor([5, 9, 11]), torch.tensor([1, 2]))


def test_a_fractional_step():
    with pytest.raises(TypeError, match="t must be"):
        posterior_coefficients(SCHEDULE, 2.5)


def test_shapes_that_differ():
    with pytest.raises(ValueError, match="x_start and x_t"):
        q_posterior_mean_variance(SCHEDULE, torch.zeros(2, 3), torch.zeros(2, 4), 5)


def test_a_number_of_steps_that_does_not_fit_the_batch():
    with pytest.raises(ValueError, match="values must"):
        q_posterior_mean_variance(SCHEDULE, torch.zeros(2, 3), torch.zeros(2, 3), torch.tensor([1, 2, 3]))
