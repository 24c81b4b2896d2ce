"""Bad arguments to the checking tools, with run-time type checks off: the tools' own messages."""

import pytest
import torch

from vqdiff_edu.grading import check, grade
from vqdiff_edu.verify import verify, verify_mean


@pytest.mark.parametrize("label", [None, 7, ["eq-x"]])
def test_a_label_must_be_text(label):
    with pytest.raises(ValueError, match="label must name an equation"):
        verify(label, 1.0, 1.0, atol=0)
    with pytest.raises(ValueError, match="label must name an equation"):
        verify_mean(label, torch.zeros(30), 0.0)


@pytest.mark.parametrize("unknown", [7, None, ("21-1",), "", "21-1 "])
def test_an_exercise_is_asked_for_by_its_number(unknown):
    with pytest.raises(ValueError, match="expected chapter-number"):
        check(unknown, None)


@pytest.mark.parametrize("value", ["one", None, object(), [[1.0], [1.0, 2.0]]])
def test_values_that_are_no_numbers(value):
    with pytest.raises(TypeError, match="left must be a number"):
        verify("eq-x", value, 1.0, atol=0)
    with pytest.raises(TypeError, match="closed_form must be a number"):
        verify_mean("eq-x", torch.zeros(30), value)


def test_grade_wants_an_exercise():
    with pytest.raises((TypeError, AttributeError)):
        grade("70-1", None)
