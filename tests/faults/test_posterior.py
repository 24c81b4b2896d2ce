"""Wrong steps are refused by name."""

import pytest

from vqdiff_edu.diffusion.posterior import posterior_coefficients
from vqdiff_edu.diffusion.schedule import NoiseSchedule

SCHEDULE = NoiseSchedule.linear(50)


@pytest.mark.parametrize(
    ("steps", "error", "words"),
    [
        ((-1,), ValueError, "t must be a whole number in 0 … 49, got -1"),
        ((50,), ValueError, "t must be"),
        ((2.5,), TypeError, "t must be"),
        ((3, 3), ValueError, "t_prev must be a whole number in -1 … 2, got 3"),
        ((3, 4), ValueError, "t_prev must be"),
        ((3, -2), ValueError, "t_prev must be"),
        ((3, 1.5), TypeError, "t_prev must be"),
    ],
)
def test_steps_that_do_not_go_back(steps, error, words):
    with pytest.raises(error, match=f"^{words}"):
        posterior_coefficients(SCHEDULE, *steps)
