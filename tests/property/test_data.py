"""What holds for any image, any data size and any place to stop."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from vqdiff_edu.data import Batches, dtmf, to_float, to_uint8


@given(st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=50))
def test_rounding_moves_a_float_by_at_most_half_a_step(values):
    x = torch.tensor(values)
    assert (to_float(to_uint8(x)) - x).abs().max() <= 1 / 255 + 1e-6


@given(st.lists(st.floats(-4, 4, width=32), min_size=2, max_size=50))
def test_bytes_keep_the_order_of_floats(values):
    x = torch.tensor(values).sort().values
    assert (to_uint8(x).int().diff() >= 0).all()


@given(st.integers(1, 60), st.data())
def test_a_resumed_order_is_the_interrupted_one(n, data):
    size = data.draw(st.integers(1, n))
    make = lambda: Batches({"x": torch.arange(n)}, size, seed=seed, drop_last=drop)  # noqa: E731
    seed, drop = data.draw(st.integers(-5, 5)), data.draw(st.booleans())
    stop = data.draw(st.integers(0, 3 * n))
    running, resumed = make(), make()
    for _ in range(stop):
        next(running)
    resumed.load_state_dict(running.state_dict())
    for _ in range(2 * len(running) + 1):
        assert torch.equal(next(running)["x"], next(resumed)["x"])
    assert running.state_dict() == resumed.state_dict()


@given(st.integers(1, 60), st.data())
def test_an_epoch_serves_each_example_once(n, data):
    size = data.draw(st.integers(1, n))
    served = torch.cat([b["x"] for b in Batches({"x": torch.arange(n)}, size, epochs=1, drop_last=False)])
    assert torch.equal(served.sort().values, torch.arange(n))
    kept = torch.cat([b["x"] for b in Batches({"x": torch.arange(n)}, size, epochs=1)])
    assert torch.equal(kept, served[: n // size * size])


@given(st.integers(0, 9), st.floats(0.01, 1.0), st.integers(2955, 48_000))
def test_dtmf_stays_in_range_and_has_its_length(digit, seconds, rate):
    sound = dtmf(digit, seconds=seconds, rate=rate)
    assert len(sound) == round(seconds * rate) and sound.abs().max() <= 1
