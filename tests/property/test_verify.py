"""What must hold for `verify`, `verify_mean` and `grade` whatever the numbers are."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vqdiff_edu.grading import Exercise, grade
from vqdiff_edu.verify import verify, verify_mean

shapes = st.lists(st.integers(1, 4), max_size=3).map(tuple)
numbers = st.floats(-1e6, 1e6, allow_nan=False)


def drawn(shape, seed):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@given(shapes, st.integers(0, 2**31), st.floats(1e-9, 1e3))
def test_verify_finds_one_wrong_element_wherever_it_is(shape, seed, atol):
    right = drawn(shape, seed)
    left = right.clone()
    place = seed % right.numel()
    left.view(-1)[place] += 3 * atol
    assert verify("eq-x", left, right, atol=4 * atol) >= 2 * atol
    with pytest.raises(AssertionError) as caught:
        verify("eq-x", left, right, atol=2 * atol)
    index = [int(i) for i in torch.unravel_index(torch.tensor(place), shape)] if shape else None
    assert f"worst at {index}:" in str(caught.value) if shape else "worst:" in str(caught.value)


@given(shapes, shapes)
def test_verify_never_compares_arrays_of_different_shapes(one, other):
    left, right = torch.zeros(one), torch.zeros(other)
    if one == other or not one or not other:
        assert verify("eq-x", left, right, atol=0) == 0
    else:
        with pytest.raises(AssertionError, match="shape"):
            verify("eq-x", left, right, atol=1)


@given(numbers, numbers, st.floats(0, 10), st.floats(0, 1))
def test_verify_agrees_with_its_definition(left, right, atol, rtol):
    allowed = abs(left - right) <= atol + rtol * abs(right)
    if allowed:
        assert verify("eq-x", left, right, atol=atol, rtol=rtol) == abs(left - right)
    else:
        with pytest.raises(AssertionError):
            verify("eq-x", left, right, atol=atol, rtol=rtol)


@given(st.integers(30, 200), shapes, st.integers(0, 2**31), st.floats(0.01, 100), st.floats(-100, 100))
def test_verify_mean_does_not_depend_on_units(n, shape, seed, scale, offset):
    samples = drawn((n, *shape), seed)
    z = verify_mean("eq-x", samples, 0.0, sigmas=6)
    assert verify_mean("eq-x", samples * scale + offset, offset, sigmas=6) == pytest.approx(z, abs=1e-6, rel=1e-6)


@given(st.integers(30, 200), shapes, st.integers(0, 2**31))
def test_verify_mean_finds_one_shifted_component(n, shape, seed):
    samples = drawn((n, *shape), seed)
    samples = (samples - samples.mean(0)) / samples.std(0)
    flat = samples.view(n, -1)
    flat[:, seed % flat.shape[1]] += 12 / math.sqrt(n)
    with pytest.raises(AssertionError):
        verify_mean("eq-x", samples, 0.0)


@given(st.integers(0, 4), shapes, st.integers(0, 2**31))
def test_grade_accepts_the_solution_and_finds_one_wrong_element(extra, shape, seed):
    def cases():
        return [(drawn(shape, seed),), (drawn((extra + 1, *shape), seed + 1),)]

    def one_off(x):
        y = x.tanh()
        y.view(-1)[seed % y.numel()] += 0.01
        return y

    exercise = Exercise("70-1", kind="implement", solution=torch.tanh, cases=cases, wrong={"one off": (one_off, "Count.")})
    assert grade(exercise, lambda x: 1 - 2 / (torch.exp(2 * x) + 1)).ok
    assert "one off. Count." in grade(exercise, one_off).message
