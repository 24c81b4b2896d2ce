"""A U-Net refuses what does not fit, by name."""

import pytest
import torch

from vqdiff_edu.diffusion.unet import UNet, timestep_embedding

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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"label_dropout": 1.1}, r"label_dropout must be a probability in \[0, 1\], got 1.1"),
        ({"label_dropout": -0.1}, "label_dropout must be a probability"),
        ({"label_dropout": float("nan")}, "label_dropout must be a probability"),
        ({"dropout": 2}, "dropout must be a probability"),
        ({"channels": (12, 16)}, r"channels must be widths divisible by 8 .* got \(12, 16\)"),
        ({"channels": ()}, "channels must be widths"),
        ({"channels": (8, 16.0)}, "channels must be widths"),
        ({"heads": 3}, "heads must divide the last of channels, 16; got 3"),
        ({"heads": 0}, "heads must be a whole number of at least 1"),
        ({"patch": 0}, "patch must be a whole number"),
        ({"in_channels": True}, "in_channels must be a whole number"),
        ({"blocks": (1,)}, "blocks must be one number, or one for each of the 2 levels"),
        ({"blocks": 0}, "blocks must be whole numbers of at least 1"),
    ],
)
def test_a_network_that_cannot_be_built(arguments, message):
    with pytest.raises(ValueError, match=message):
        UNet(**{"channels": (8, 16), "blocks": 1, "embedding": 16} | arguments)


def test_never_and_always_dropped_are_accepted():
    for rate in (0, 1):
        UNet(channels=(8,), embedding=16, label_dropout=rate)


@pytest.mark.parametrize(
    "t, label, error, message",
    [
        (torch.tensor([0.5, 1.5]), None, TypeError, "t must hold whole numbers, got torch.float32"),
        (torch.tensor([True, False]), None, TypeError, "t must hold whole numbers, got torch.bool"),
        (torch.tensor([-5, 1]), None, ValueError, "t must hold one step of at least 0"),
        (T, torch.tensor([1.0, 2.0]), TypeError, "label must hold whole numbers, got torch.float32"),
    ],
)
def test_steps_and_labels_are_whole(t, label, error, message):
    with pytest.raises(error, match=message):
        MODEL(X, t, label=label)


def test_pictures_are_floats_and_not_none():
    for x, t in ((X.byte(), T), (X[:0], T[:0])):
        with pytest.raises(ValueError, match="x must hold at least one picture of floats"):
            MODEL(x, t)


@pytest.mark.parametrize("argument, value", [("num_classes", 0), ("num_classes", -3), ("embedding", -4), ("embedding", 2.0)])
def test_classes_and_embedding_are_whole(argument, value):
    with pytest.raises(ValueError, match=f"{argument} must be a whole number of at least 1"):
        UNet(channels=(8,), **{argument: value})
