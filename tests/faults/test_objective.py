"""Bad input to the bound and the optimal denoiser: the error names the argument."""

import math

import pytest
import torch

from vqdiff_edu.diffusion.objective import optimal_denoiser, variational_bound_terms
from vqdiff_edu.diffusion.schedule import NoiseSchedule

SCHEDULE, X = NoiseSchedule.linear(20), torch.zeros(2, 3)


def bound(x=X, **options):
    return variational_bound_terms(SCHEDULE, lambda x_t, t: x_t, x, **options)


@pytest.mark.parametrize(
    ("call", "error", "name"),
    [
        (lambda: bound(first_variance=0.0), ValueError, "first_variance"),
        (lambda: bound(first_variance=-1.0), ValueError, "first_variance"),
        (lambda: bound(first_variance=math.nan), ValueError, "first_variance"),
        (lambda: bound(first_variance="small"), TypeError, "first_variance"),
        (lambda: bound(torch.zeros(2, 3, dtype=torch.long)), TypeError, "x_start"),
        (lambda: bound(torch.zeros(0, 3)), ValueError, "x_start"),
        (lambda: bound([0.0, 1.0]), TypeError, "x_start"),
        (lambda: optimal_denoiser(torch.zeros(5, 3), torch.zeros(2, 4), 0.5), ValueError, "data and x"),
        (lambda: optimal_denoiser(torch.zeros(5, 1, 2, 2), torch.zeros(2, 4), 0.5), ValueError, "data and x"),
        (lambda: optimal_denoiser(torch.zeros(0, 4), torch.zeros(2, 4), 0.5), ValueError, "data"),
    ],
)
def test_an_argument_that_does_not_fit_is_named(call, error, name):
    with pytest.raises(error, match=f"^{name}"):
        call()
