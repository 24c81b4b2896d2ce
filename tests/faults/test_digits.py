"""Which digits can be asked for."""

import pytest
import torch

from vqdiff_edu.diffusion.digits import generate, make_ddpm


@pytest.mark.parametrize(
    "labels, error",
    [
        ([10], ValueError),
        ([-1], ValueError),
        ([], (TypeError, ValueError)),
        (4, ValueError),
        ([[1]], ValueError),
        ([4.5], TypeError),
        ([True], TypeError),
        ("407", TypeError),
    ],
)
@pytest.mark.parametrize("draw", [lambda labels: make_ddpm((8, 16))(labels), lambda labels: generate(make_ddpm((8, 16)), labels)])
def test_only_digits_can_be_asked_for(draw, labels, error):
    with pytest.raises(error, match="labels must be"):
        draw(labels)


def test_labels_of_any_whole_dtype():
    assert len(make_ddpm((8, 16))(torch.tensor([4, 0], dtype=torch.uint8), num_inference_steps=1)) == 2
