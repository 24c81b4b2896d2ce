"""A U-Net that cannot be built is refused, by name."""

import pytest

from vqdiff_edu.diffusion.unet import UNet


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"label_dropout": 1.1}, ValueError, "label_dropout must be a finite number in 0 … 1, got 1.1"),
        ({"label_dropout": -0.1}, ValueError, "label_dropout must be"),
        ({"label_dropout": float("nan")}, ValueError, "label_dropout must be"),
        ({"dropout": 2}, ValueError, "dropout must be a finite number in 0 … 1"),
        ({"channels": (12, 16)}, ValueError, r"channels must be divisible by 8 .* got \(12, 16\)"),
        ({"channels": ()}, ValueError, "channels must be divisible by 8"),
        ({"channels": (8, 16.0)}, TypeError, "channels must be a whole number"),
        ({"heads": 3}, ValueError, "channels must be divisible by 8 .*, the last by heads=3"),
        ({"heads": 0}, ValueError, "heads must be a whole number of at least 1"),
        ({"patch": 0}, ValueError, "patch must be a whole number"),
        ({"in_channels": True}, TypeError, "in_channels must be a whole number"),
        ({"blocks": (1,)}, ValueError, "blocks must be one number, or one for each of the 2 levels"),
        ({"blocks": 0}, ValueError, "blocks must be a whole number of at least 1"),
        ({"num_classes": 0}, ValueError, "num_classes must be a whole number of at least 1"),
        ({"num_classes": -3}, ValueError, "num_classes must be"),
        ({"embedding": -4}, ValueError, "embedding must be a whole number of at least 1"),
        ({"embedding": 2.0}, TypeError, "embedding must be a whole number"),
    ],
)
def test_a_network_that_cannot_be_built(options, error, words):
    with pytest.raises(error, match=f"^{words}"):
        UNet(**{"channels": (8, 16), "blocks": 1, "embedding": 16} | options)


@pytest.mark.parametrize("rate", [0, 1])
def test_never_and_always_dropped_are_accepted(rate):
    UNet(channels=(8,), embedding=16, label_dropout=rate)
