"""What must hold of the U-Net for any size, step and order."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vqdiff_edu.diffusion.unet import UNet, timestep_embedding

few = settings(deadline=None, max_examples=15)


def awake(model):
    """The model with its zero-initialised layers moved, so that everything has an effect."""
    with torch.no_grad():
        for p in model.parameters():
            p += 0.05 * torch.randn(p.shape, generator=torch.Generator().manual_seed(p.numel()))
    return model.eval()


@settings(deadline=None)
@given(t=st.integers(0, 2000), k=st.integers(0, 500), half=st.integers(1, 32))
def test_later_turns_each_hand_by_an_angle_that_does_not_depend_on_when(t, k, half):
    here, there, start, later = timestep_embedding(torch.tensor([t, t + k, 0, k]), 2 * half).double()
    as_numbers = [torch.complex(e[:half], e[half:]) for e in (here, there, start, later)]
    assert torch.allclose(as_numbers[1] * as_numbers[2], as_numbers[0] * as_numbers[3], atol=2e-3)  # angles are float32
    assert torch.allclose(here.square().sum(), torch.tensor(float(half)).double(), atol=1e-4)


@few
@given(
    data=st.data(),
    channels=st.lists(st.sampled_from([8, 16, 24]), min_size=1, max_size=3),
    patch=st.sampled_from([1, 2]),
    colours=st.integers(1, 3),
)
def test_any_size_that_divides_comes_back_in_its_shape(data, channels, patch, colours):
    model = awake(UNet(colours, tuple(channels), 1, patch=patch, embedding=16))
    high, wide = (model.divisor * data.draw(st.integers(1, 3)) for _ in range(2))
    x = torch.randn(2, colours, high, wide)
    out = model(x, torch.tensor([0, 999]))
    assert out.shape == x.shape and out.isfinite().all()


@few
@given(order=st.permutations(range(4)))
def test_a_batch_in_another_order_gives_the_same_in_that_order(order):
    model = awake(UNet(1, (8, 16), 1, embedding=16))
    x, t, y = (
        torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0)),
        torch.tensor([0, 9, 500, 999]),
        torch.tensor([0, 3, 9, 10]),
    )
    assert torch.allclose(model(x, t, label=y)[list(order)], model(x[list(order)], t[list(order)], label=y[list(order)]), atol=1e-5)
    assert not torch.allclose(model(x, t, label=y), model(x, t.flip(0), label=y), atol=1e-3)
