"""What must hold of any state that is stored, and of any damage to it."""

import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vqdiff_edu.weights import load_card, load_state, save_weights, to_half

LARGEST, SMALLEST = 65_504.0, 2.0**-14  # of float16: the largest number, and the smallest with all eleven digits
numbers = st.floats(-LARGEST, LARGEST, width=32)
states = st.dictionaries(st.text("abc.", min_size=1, max_size=6), st.lists(numbers, min_size=1, max_size=8), min_size=1, max_size=4)


@settings(deadline=None)
@given(values=st.lists(numbers, min_size=1, max_size=30))
def test_rounding_moves_a_number_by_one_part_in_2048_at_most(values):
    x = torch.tensor(values)
    moved = (to_half({"x": x})["x"].double() - x.double()).abs()
    assert (moved <= x.double().abs().clamp(min=SMALLEST) * 2.0**-11).all()


@settings(deadline=None)
@given(value=st.floats(65_520, 2.0**127, width=32), sign=st.sampled_from([-1, 1]))
def test_what_would_become_infinite_is_refused_by_name(value, sign):
    with pytest.raises(ValueError, match=r"state\['big'\]"):
        to_half({"small": torch.zeros(2), "big": torch.tensor([1.0, sign * value])})


@settings(deadline=None, max_examples=30)
@given(state=states, whole=st.lists(st.integers(-(2**40), 2**40), min_size=1, max_size=4))
def test_stored_again_nothing_changes(state, whole):
    state = {key: torch.tensor(value) for key, value in state.items()} | {"whole": torch.tensor(whole)}
    with tempfile.TemporaryDirectory() as folder:
        save_weights(state, "m", {}, folder)
        once = load_state("m", folder)
        digest = load_card("m", folder)["sha256"]
        save_weights(once, "m", {}, folder)
        again = load_state("m", folder)
        assert load_card("m", folder)["sha256"] == digest
    assert once.keys() == state.keys() == again.keys() and torch.equal(once["whole"], state["whole"])
    assert all(torch.equal(once[key], again[key]) and once[key].shape == state[key].shape for key in state)


@settings(deadline=None, max_examples=40)
@given(data=st.data(), bit=st.integers(0, 7), cut=st.booleans())
def test_one_bit_changed_or_a_tail_cut_off_anywhere_is_noticed(data, bit, cut):
    with tempfile.TemporaryDirectory() as folder:
        path: Path = save_weights({"w": torch.arange(12.0)}, "m", {}, folder)
        content = bytearray(path.read_bytes())
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] ^= 1 << bit
        path.write_bytes(content[:place] if cut else content)
        with pytest.raises(ValueError, match="not the file its card describes"):
            load_state("m", folder)
