"""Bad input to the estimators: what is not finite stays visible, and a temperature that is none is refused by name."""

import pytest
import torch

from vqdiff_edu.quantization.estimators import ESTIMATORS, gumbel_softmax


def test_a_vector_that_is_not_finite_is_not_hidden_by_its_code():
    for estimator in ESTIMATORS.values():
        assert estimator(torch.tensor([[float("nan"), 1.0]]), torch.ones(1, 2)).isnan().any()


@pytest.mark.parametrize("temperature", [0, 0.0, -1.0, float("nan"), float("inf")])
def test_temperatures_out_of_range_are_refused(temperature):
    with pytest.raises(ValueError, match=f"temperature must be a finite number above 0, got {temperature}"):
        gumbel_softmax(torch.zeros(2, 3), temperature)


@pytest.mark.parametrize(
    ("logits", "axis", "error"), [(torch.zeros(2, 3), 2, IndexError), (torch.zeros(2, 3, dtype=torch.int64), 1, (RuntimeError, TypeError))]
)
def test_an_axis_that_is_not_there_and_logits_that_are_no_floats(logits, axis, error):
    with pytest.raises(error):
        gumbel_softmax(logits, axis=axis)
