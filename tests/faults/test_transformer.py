"""Sizes that cannot be built, and prompts, contexts and settings that cannot be written from: each refused by name."""

import pytest
import torch

from vqdiff_edu.transformer import Attention, Transformer, attention, attention_weights, generate_tokens

MODEL = Transformer(5, 8, depth=1, heads=2, max_length=6).eval()
CROSS = Transformer(5, 8, depth=1, heads=2, max_length=6, context_dim=3).eval()
BOTH_WAYS = Transformer(5, 8, depth=1, heads=2, max_length=6, causal=False).eval()
TOKENS = torch.zeros(2, 4, dtype=torch.int64)


@pytest.mark.parametrize("name", ["num_tokens", "dim", "depth", "heads", "max_length", "context_dim"])
@pytest.mark.parametrize(("value", "error"), [(0, ValueError), (-1, ValueError), (1.5, TypeError), ("2", TypeError), (True, TypeError)])
def test_sizes_that_are_no_counts(name, value, error):
    with pytest.raises(error, match=f"^{name} must be a whole number of at least 1, got {value!r}"):
        Transformer(**{"num_tokens": 5, "dim": 8, "heads": 2} | {name: value})


@pytest.mark.parametrize("make", [lambda: Attention(8, 3), lambda: Transformer(5, 8, heads=3)])
def test_heads_that_do_not_divide_the_width(make):
    with pytest.raises(ValueError, match="heads must divide dim=8, got 3"):
        make()


@pytest.mark.parametrize(
    ("change", "error", "name"),
    [
        ({"model": BOTH_WAYS}, ValueError, "model must be causal"),
        ({"prompt": TOKENS.float()}, TypeError, "prompt"),
        ({"prompt": TOKENS[0]}, ValueError, "prompt"),
        ({"prompt": TOKENS[:, :0]}, ValueError, "prompt"),
        ({"prompt": TOKENS[:0]}, ValueError, "prompt"),
        ({"prompt": TOKENS - 1}, ValueError, "prompt must be one or more whole numbers in 0 … 4"),
        ({"prompt": TOKENS + 5}, ValueError, "prompt must be one or more whole numbers in 0 … 4"),
        ({"max_new": -1}, ValueError, "max_new"),
        ({"max_new": 4}, ValueError, "max_new must be a whole number in 0 … 3, got 4"),
        ({"max_new": 1.0}, TypeError, "max_new"),
        ({"max_new": None}, TypeError, "max_new"),
        ({"end": -1}, ValueError, "end must be a whole number in 0 … 4"),
        ({"end": 5}, ValueError, "end"),
        ({"end": 1.5}, TypeError, "end"),
        ({"temperature": -1.0}, ValueError, "temperature"),
        ({"temperature": float("inf")}, ValueError, "temperature"),
        ({"temperature": float("nan")}, ValueError, "temperature"),
        ({"context": torch.zeros(2, 3, 8)}, ValueError, "context was given to a model without"),
        ({"model": CROSS}, TypeError, "context"),
        ({"model": CROSS, "context": torch.zeros(1, 2, 3)}, ValueError, "context"),
        ({"model": CROSS, "context": torch.zeros(2, 2, 4)}, ValueError, "context"),
        ({"model": CROSS, "context": torch.zeros(2, 0, 3)}, ValueError, "context"),
    ],
)
def test_what_cannot_be_written_from(change, error, name):
    with pytest.raises(error, match=f"^{name}"):
        generate_tokens(**{"model": MODEL, "prompt": TOKENS, "max_new": 1} | change)


def test_as_many_new_tokens_as_there_is_room_for():
    assert generate_tokens(MODEL, TOKENS, 3).shape == (2, 7)


def test_a_mask_of_numbers_is_no_mask():
    x = torch.zeros(1, 1, 2, 4)
    with pytest.raises((TypeError, RuntimeError)):
        attention(x, x, x, torch.zeros(2, 2))


def test_more_tokens_than_positions_are_never_given_one_silently():
    with pytest.raises(IndexError):
        MODEL(torch.zeros(1, 7, dtype=torch.int64))
    cache = {}
    MODEL(TOKENS, cache=cache)
    with pytest.raises(IndexError):
        MODEL(TOKENS[:, :3], cache=cache)


@pytest.mark.parametrize("n", [1, 2])
def test_a_cache_that_is_full_or_nearly_so_takes_no_more_than_fits(n):
    """A table of positions cut short would be broadcast over the tokens that are too many."""
    cache = {}
    MODEL(torch.zeros(1, 7 - n, dtype=torch.int64), cache=cache)
    with pytest.raises(IndexError):
        MODEL(torch.zeros(1, n, dtype=torch.int64), cache=cache)


def test_a_refused_call_leaves_the_cache_alone():
    cache = {}
    with pytest.raises(IndexError):
        MODEL(TOKENS + 5, cache=cache)
    assert cache == {}


def test_a_context_that_is_missing_is_not_replaced_by_the_sequence():
    with pytest.raises((TypeError, AttributeError)):
        Attention(8, 2, 8)(torch.zeros(1, 2, 8))


def test_weights_of_a_cross_attention_that_is_not_there():
    with pytest.raises(ValueError, match="cross needs a model with a context"):
        attention_weights(MODEL, TOKENS, cross=True)


def test_a_failed_look_leaves_no_switch_on():
    with pytest.raises(IndexError):
        attention_weights(MODEL, TOKENS + 5)
    assert not any(getattr(layer, "keep_weights", False) for layer in MODEL.modules())
