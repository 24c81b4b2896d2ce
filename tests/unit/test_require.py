"""The doors' own checks: what is welcome comes back in its normal form, what is not is refused by name."""

import numpy as np
import pytest
import torch
from jaxtyping import Float
from torch import Tensor

from vqdiff_edu import require


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3), torch.tensor(3)])
def test_whole_numbers_of_every_origin_become_an_int(value):
    assert type(require.whole("n", value, 1, 3)) is int
    assert require.whole("n", value, 1, 3) == 3


@pytest.mark.parametrize("value", [True, np.True_, torch.tensor(True), 3.0, "3", None, torch.tensor(3.0), torch.tensor([1, 2]), [3]])
def test_what_is_no_whole_number_is_a_type_error(value):
    with pytest.raises(TypeError, match="^n must be .*whole number"):
        require.whole("n", value)


@pytest.mark.parametrize(("value", "range", "words"), [(0, (1,), "of at least 1"), (4, (1, 3), "in 1 … 3"), (5, (None, 4), "of at most 4")])
def test_a_whole_number_out_of_range_is_a_value_error_that_says_the_range(value, range, words):
    with pytest.raises(ValueError, match=f"^n must be a whole number {words}, got {value}$"):
        require.whole("n", value, *range)


@pytest.mark.parametrize("value", [0.5, np.float32(0.5), torch.tensor(0.5), 1, 0])
def test_numbers_of_every_origin_become_a_float(value):
    assert type(require.number("p", value, 0, 1)) is float
    assert require.number("p", value, 0, 1) == float(value)


@pytest.mark.parametrize("value", [True, "0.5", None, 1j, [0.5]])
def test_what_is_no_number_is_a_type_error(value):
    with pytest.raises(TypeError, match="^p must be a finite number"):
        require.number("p", value)


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        (float("nan"), {}),
        (float("inf"), {}),
        (float("nan"), {"finite": False}),
        (-0.1, {"least": 0}),
        (1.1, {"most": 1}),
        (0.0, {"above": 0}),
        (1.0, {"below": 1}),
    ],
)
def test_a_number_outside_is_a_value_error(value, rule):
    with pytest.raises(ValueError, match="^p must be a"):
        require.number("p", value, **rule)


def test_infinity_passes_where_it_is_asked_for():
    assert require.number("limit", float("inf"), above=0, finite=False) == float("inf")


def test_a_choice_is_returned_and_another_is_refused_with_the_list():
    assert require.choice("metric", "cosine", ("cosine", "euclidean")) == "cosine"
    for other in ("manhattan", 1, None, True):
        with pytest.raises(ValueError, match="^metric must be one of 'cosine', 'euclidean'; got"):
            require.choice("metric", other, ("cosine", "euclidean"))


PICTURES = Float[Tensor, "batch 1 28 28"]


def test_a_tensor_that_fits_comes_back_itself():
    x = torch.zeros(2, 1, 28, 28)
    assert require.tensor("x", x, PICTURES, finite=True) is x


@pytest.mark.parametrize(
    ("value", "error", "words"),
    [
        ([[1.0]], TypeError, "got list"),
        (torch.zeros(2, 1, 28, 28, dtype=torch.uint8), TypeError, "got dtype torch.uint8"),
        (torch.zeros(2, 28, 28), ValueError, r"got shape \[2, 28, 28\]"),
        (torch.zeros(0, 1, 28, 28), ValueError, r"not empty, got shape \[0, 1, 28, 28\]"),
        (torch.full((1, 1, 28, 28), torch.nan), ValueError, "784 of its values are NaN"),
    ],
)
def test_a_tensor_that_does_not_fit_is_refused_with_its_annotation(value, error, words):
    with pytest.raises(error, match=f"^x must be .*{words}"):
        require.tensor("x", value, PICTURES, finite=True)


def test_nan_is_looked_for_only_when_asked():
    x = torch.full((1, 1, 28, 28), torch.nan)
    assert require.tensor("x", x, PICTURES) is x


def test_shapes_that_differ_are_named_with_their_arguments():
    a, b = torch.zeros(2), torch.zeros(3)
    assert require.same_shape(a=a, b=a) == (a, a)
    with pytest.raises(ValueError, match=r"^a and b must have one shape, got \[2\] and \[3\]"):
        require.same_shape(a=a, b=b)


@pytest.mark.parametrize("value", [[1, 2], np.array([1, 2]), torch.tensor([1, 2], dtype=torch.uint8)])
def test_labels_become_int64(value):
    assert torch.equal(require.labels("labels", value, 10), torch.tensor([1, 2]))


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ([1.0], TypeError),
        ("12", TypeError),
        ([True], TypeError),
        ([], TypeError),
        ([10], ValueError),
        ([-1], ValueError),
        ([[1]], ValueError),
        (3, ValueError),
    ],
)
def test_labels_that_are_none_are_refused(value, error):
    with pytest.raises(error, match="^labels must be one or more whole numbers in 0 … 9"):
        require.labels("labels", value, 10)


def test_a_package_that_is_missing_is_named_with_its_extra():
    assert require.package("math", "figures").pi > 3
    with pytest.raises(ImportError, match=r"no_such_package cannot be imported .* pip install 'vqdiff_edu\[audio\]'"):
        require.package("no_such_package", "audio")
