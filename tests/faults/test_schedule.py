"""Bad input to schedules: the error names the argument, what came and what is accepted."""

import math

import pytest
import torch

from vqdiff_edu.diffusion.schedule import (
    NoiseSchedule,
    betas_from_alphas_cumprod,
    check_timesteps,
    expand,
    q_sample,
    zero_terminal_alphas_cumprod,
)

X = torch.zeros(3, 1, 2, 2)


@pytest.mark.parametrize("T", [19, 1, 0, -5])
def test_linear_refuses_fewer_than_twenty_steps(T):
    with pytest.raises(ValueError, match=rf"num_timesteps must be at least 20, got {T}"):
        NoiseSchedule.linear(T)


@pytest.mark.parametrize("name", ["linear", "cosine", "sigmoid"])
@pytest.mark.parametrize("T", [100.0, "100", True, None])
def test_the_number_of_steps_is_an_int(name, T):
    with pytest.raises(TypeError, match="num_timesteps must be an int"):
        getattr(NoiseSchedule, name)(T)


@pytest.mark.parametrize("name", ["cosine", "sigmoid"])
def test_curves_need_at_least_one_step(name):
    with pytest.raises(ValueError, match="num_timesteps must be at least 1, got 0"):
        getattr(NoiseSchedule, name)(0)


@pytest.mark.parametrize("name", ["cosine", "sigmoid"])
@pytest.mark.parametrize("max_beta", [0.0, -0.1, 1.5, math.nan])
def test_the_ceiling_is_a_share(name, max_beta):
    with pytest.raises(ValueError, match=r"max_beta must lie in \(0, 1\]"):
        getattr(NoiseSchedule, name)(100, max_beta=max_beta)


@pytest.mark.parametrize("betas", [[0.1, 0.0], [0.1, -0.2], [1.0, 0.1], [0.1, 1.1], [math.nan, 0.1], [math.inf]])
def test_betas_outside_their_range(betas):
    with pytest.raises(ValueError, match="betas must lie in"):
        NoiseSchedule(torch.tensor(betas))


@pytest.mark.parametrize("betas", [torch.zeros(0), torch.full((2, 2), 0.1), torch.tensor(0.1)])
def test_betas_of_the_wrong_shape(betas):
    with pytest.raises(ValueError, match="betas must have one axis"):
        NoiseSchedule(betas)


@pytest.mark.parametrize("values", [[1.0, 0.5], [0.5, 0.5], [0.5, 0.6], [0.5, 0.0, 0.0], [0.5, -0.1], [0.9, math.nan, 0.1], [math.nan]])
def test_survival_that_does_not_fall(values):
    with pytest.raises(ValueError, match="alphas_cumprod must fall strictly"):
        NoiseSchedule.from_alphas_cumprod(torch.tensor(values))


@pytest.mark.parametrize("values", [torch.zeros(0), torch.full((2, 2), 0.5)])
def test_survival_of_the_wrong_shape(values):
    with pytest.raises(ValueError, match="alphas_cumprod must have one axis"):
        betas_from_alphas_cumprod(values)


def test_one_step_cannot_be_bent():
    with pytest.raises(ValueError, match="at least two values"):
        NoiseSchedule.cosine(1).zero_terminal_snr()
    with pytest.raises(ValueError, match="at least two values"):
        zero_terminal_alphas_cumprod(torch.tensor([0.5]))


@pytest.mark.parametrize("t", [-2, 100, torch.tensor([0, 100]), torch.tensor([[-2]])])
def test_steps_out_of_range_are_named(t):
    with pytest.raises(ValueError, match=r"t must lie in -1 … 99 \(-1 is clean data\), got (-2|100)"):
        NoiseSchedule.linear(100).alpha_bar(t)


@pytest.mark.parametrize("t", [0.5, True, None, "3", torch.tensor([1.0]), torch.tensor([True])])
def test_steps_are_integers(t):
    with pytest.raises(TypeError, match="t must be an int or an integer tensor"):
        NoiseSchedule.linear(100).alpha_bar(t)
    with pytest.raises(TypeError, match="t must be an int or an integer tensor"):
        check_timesteps(t, 100)


def test_noise_of_another_shape():
    with pytest.raises(ValueError, match=r"noise must have x_start's shape \(3, 1, 2, 2\), got \(1, 1, 2, 2\)"):
        q_sample(NoiseSchedule.linear(100), X, 5, X[:1])


@pytest.mark.parametrize("t", [torch.tensor([1, 2]), torch.tensor([1]), torch.tensor([[1, 2, 3]])])
def test_a_number_of_steps_that_is_not_the_batch(t):
    with pytest.raises(ValueError, match=r"values must have shape \(\) or \(3,\)"):
        q_sample(NoiseSchedule.linear(100), X, t, X)


def test_coefficients_do_not_multiply_bytes():
    with pytest.raises(TypeError, match=r"x must be floating point, got torch.uint8"):
        expand(torch.tensor(0.5), X.to(torch.uint8))
    with pytest.raises(TypeError, match="x must be floating point"):
        q_sample(NoiseSchedule.linear(100), X.to(torch.uint8), 5, X.to(torch.uint8))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32])
def test_steps_of_any_whole_dtype(dtype):
    schedule = NoiseSchedule.linear(1000)
    assert torch.equal(schedule.alpha_bar(torch.tensor([3], dtype=dtype)), schedule.alpha_bar(torch.tensor([3])))
