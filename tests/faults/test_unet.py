"""A U-Net refuses what does not fit, by name."""

import pytest
import torch

from vqdiff_edu.unet import UNet, timestep_embedding

MODEL = UNet(channels=(8, 16), blocks=1, embedding=16)
X, T = torch.zeros(2, 1, 28, 28), torch.tensor([1, 2])


@pytest.mark.parametrize(
    ("x", "t", "label", "message"),
    [
        (torch.zeros(2, 1, 30, 28), T, None, "x must be .* divisible by 4"),
        (torch.zeros(2, 3, 28, 28), T, None, "x must be"),
        (torch.zeros(1, 28, 28), T, None, "x must be"),
        (X, torch.tensor([1]), None, "t must hold one step"),
        (X, T, torch.tensor([1]), "label must hold one class"),
        (X, T, torch.tensor([1, 11]), "label must lie in 0 … 10"),
        (X, T, torch.tensor([-1, 1]), "label must lie in"),
    ],
)
def test_refused(x, t, label, message):
    with pytest.raises(ValueError, match=message):
        MODEL(x, t, label=label)


def test_a_label_for_a_model_without_classes():
    with pytest.raises(ValueError, match="without classes"):
        UNet(channels=(8,), embedding=16, num_classes=None)(X, T, label=torch.tensor([1, 2]))


def test_an_odd_embedding():
    with pytest.raises(ValueError, match="dim must be even"):
        timestep_embedding(T, 7)
