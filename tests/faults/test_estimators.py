"""Bad input to the estimators: the error names the argument, what was given and what is accepted."""

import pytest
import torch

from vqdiff_edu.quantization.estimators import ESTIMATORS, gumbel_softmax


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize("shape", [(3, 5), (4,), (1, 4), (4, 3)])
def test_shapes_that_differ_are_refused_even_if_they_would_broadcast(name, shape):
    with pytest.raises(ValueError, match=r"z_e and z_q must have one shape, got \(3, 4\)"):
        ESTIMATORS[name](torch.zeros(3, 4), torch.zeros(shape))


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.complex64])
def test_codes_that_are_no_floats_are_refused(name, dtype):
    with pytest.raises(TypeError, match="must hold floats"):
        ESTIMATORS[name](torch.zeros(3, 4), torch.zeros(3, 4, dtype=dtype))


def test_a_vector_that_is_not_finite_is_not_hidden_by_its_code():
    for estimator in ESTIMATORS.values():
        assert estimator(torch.tensor([[float("nan"), 1.0]]), torch.ones(1, 2)).isnan().any()


@pytest.mark.parametrize("temperature", [0, 0.0, -1.0, float("nan"), float("inf")])
def test_temperatures_out_of_range_are_refused(temperature):
    with pytest.raises(ValueError, match=f"temperature must be a positive finite number, got {temperature}"):
        gumbel_softmax(torch.zeros(2, 3), temperature)


def test_logits_that_are_no_floats_are_refused():
    with pytest.raises(TypeError, match="logits must hold floats, got torch.int64"):
        gumbel_softmax(torch.zeros(2, 3, dtype=torch.int64))


@pytest.mark.parametrize("axis", [2, -3])
def test_an_axis_that_is_not_there_is_refused(axis):
    with pytest.raises(ValueError, match=rf"axis must be in -2 … 1 .* got {axis}"):
        gumbel_softmax(torch.zeros(2, 3), axis=axis)
