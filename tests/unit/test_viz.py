"""Pictures are drawn as they are, or refused by name."""

import matplotlib as mpl
import pytest
import torch

from vqdiff_edu.viz import INK, show_images, use_style


def test_a_grid_shows_every_image_clamped_with_its_title():
    figure = show_images(torch.tensor([-2.0, 0.0, 3.0])[:, None, None, None].expand(3, 1, 4, 4), columns=2, titles=["a", "b", "c"])
    axes = figure.axes
    assert len(axes) == 4 and [ax.get_title() for ax in axes] == ["a", "b", "c", ""]
    assert [ax.images[0].get_array().max() for ax in axes[:3]] == [0.0, 0.5, 1.0] and not axes[3].images


def test_three_channels_are_drawn_as_colour():
    assert show_images(torch.zeros(1, 3, 4, 5)).axes[0].images[0].get_array().shape == (4, 5, 3)


@pytest.mark.parametrize(
    ("images", "titles", "words"),
    [
        (torch.zeros(0, 1, 4, 4), None, "images must be"),
        (torch.zeros(2, 5, 4, 4), None, "images: their number of channels must be one of 1, 3; got 5"),
        (torch.zeros(2, 1, 4, 4), ["one"], "titles must hold one entry an image: got 1 titles for 2 images"),
    ],
)
def test_what_cannot_be_drawn_is_refused(images, titles, words):
    with pytest.raises(ValueError, match=words):
        show_images(images, titles=titles)


def test_the_style_is_legible_on_light_and_dark():
    with mpl.rc_context():
        use_style()
        assert mpl.rcParams["figure.facecolor"] == "none" and mpl.rcParams["text.color"] == INK
