"""Schedules refuse what makes no schedule, by name."""

import math

import pytest
import torch

from vqdiff_edu.diffusion.schedule import NoiseSchedule, betas_from_alphas_cumprod, zero_terminal_alphas_cumprod

LINEAR = NoiseSchedule.linear(100)
CURVES = [NoiseSchedule.cosine, NoiseSchedule.sigmoid]


@pytest.mark.parametrize("make", [NoiseSchedule.linear, *CURVES])
@pytest.mark.parametrize(("T", "error"), [(100.0, TypeError), ("100", TypeError), (True, TypeError), (None, TypeError), (0, ValueError)])
def test_the_number_of_steps_is_whole_and_not_zero(make, T, error):
    with pytest.raises(error, match="^num_timesteps must be a whole number of at least"):
        make(T)


@pytest.mark.parametrize("T", [19, 1, -5])
def test_linear_refuses_fewer_than_twenty_steps(T):
    with pytest.raises(ValueError, match=f"^num_timesteps must be a whole number of at least 20, got {T}"):
        NoiseSchedule.linear(T)


@pytest.mark.parametrize("make", CURVES)
@pytest.mark.parametrize("max_beta", [0.0, -0.1, 1.5, math.nan])
def test_the_ceiling_is_a_share(make, max_beta):
    with pytest.raises(ValueError, match="^max_beta must be a finite number of at most 1 and above 0"):
        make(100, max_beta=max_beta)


@pytest.mark.parametrize(
    ("call", "values", "words"),
    [
        *((NoiseSchedule, b, "betas must lie in") for b in ([0.1, 0.0], [0.1, -0.2], [1.0, 0.1], [0.1, 1.1], [math.nan, 0.1], [math.inf])),
        *((NoiseSchedule, b, "betas must be .*step") for b in ([], [[0.1, 0.1]], 0.1)),
        *(
            (NoiseSchedule.from_alphas_cumprod, a, "alphas_cumprod must fall strictly")
            for a in ([1.0, 0.5], [0.5, 0.5], [0.5, 0.6], [0.5, 0.0, 0.0], [0.5, -0.1], [0.9, math.nan, 0.1], [math.nan])
        ),
        *((betas_from_alphas_cumprod, a, "alphas_cumprod must be .*step") for a in ([], [[0.5, 0.4]])),
        (zero_terminal_alphas_cumprod, [0.5], "alphas_cumprod must have at least two values"),
        (zero_terminal_alphas_cumprod, [[0.5, 0.4]], "alphas_cumprod must be .*step"),
    ],
)
def test_values_that_make_no_schedule(call, values, words):
    with pytest.raises(ValueError, match=f"^{words}"):
        call(torch.tensor(values))


def test_one_step_cannot_be_bent():
    with pytest.raises(ValueError, match="at least two values"):
        NoiseSchedule.cosine(1).zero_terminal_snr()


@pytest.mark.parametrize(
    ("t", "error"),
    [(-2, ValueError), (100, ValueError), (0.5, TypeError), (True, TypeError), (None, TypeError), ("3", TypeError)],
)
def test_a_step_is_a_whole_number_of_the_schedule_or_minus_one(t, error):
    with pytest.raises(error, match="^t must be a whole number in -1 … 99, got"):
        LINEAR.alpha_bar(t)


@pytest.mark.parametrize("t", [torch.tensor([1.0]), torch.tensor([True])])
def test_a_tensor_of_steps_holds_whole_numbers(t):
    with pytest.raises(TypeError, match="^t must hold whole numbers, got torch"):
        LINEAR.alpha_bar(t)


@pytest.mark.parametrize("t", [-2, 100])
def test_a_tensor_of_steps_never_wraps_around(t):
    with pytest.raises(RuntimeError, match="out of bounds"):
        LINEAR.alpha_bar(torch.tensor([0, t]))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32])
def test_steps_may_be_of_any_whole_dtype(dtype):
    schedule = NoiseSchedule.linear(1000)
    assert torch.equal(schedule.alpha_bar(torch.tensor([3], dtype=dtype)), schedule.alpha_bar(torch.tensor([3])))
