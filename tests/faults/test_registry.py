"""Which digits can be asked for."""

import pytest
import torch

from vqdiff_edu.registry import digit_labels


@pytest.mark.parametrize(
    "labels, error",
    [
        ([10], ValueError),
        ([-1], ValueError),
        ([], ValueError),
        (4, ValueError),
        ([[1]], ValueError),
        ([4.5], TypeError),
        ([True], TypeError),
        ("407", TypeError),
    ],
)
def test_only_digits_can_be_asked_for(labels, error):
    with pytest.raises(error, match="labels must be"):
        digit_labels(labels)


def test_labels_of_any_whole_dtype():
    assert digit_labels(torch.tensor([4, 0], dtype=torch.uint8)).tolist() == [4, 0]
