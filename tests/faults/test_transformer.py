"""Sizes that cannot be built, tokens, contexts, masks and caches that do not fit: each refused by name."""

import re

import pytest
import torch

from vqdiff_edu.transformer import Attention, Transformer, attention, attention_weights, causal_mask, generate_tokens

MODEL = Transformer(5, 8, depth=1, heads=2, max_length=6).eval()
CROSS = Transformer(5, 8, depth=1, heads=2, max_length=6, context_dim=3).eval()
BOTH_WAYS = Transformer(5, 8, depth=1, heads=2, max_length=6, causal=False).eval()
TOKENS = torch.zeros(2, 4, dtype=torch.int64)


@pytest.mark.parametrize("name", ["num_tokens", "dim", "depth", "heads", "max_length", "context_dim"])
@pytest.mark.parametrize("value", [0, -1, 1.5, "2", True])
def test_sizes_that_are_no_counts(name, value):
    with pytest.raises(ValueError, match=f"{name} must be a whole number of at least 1, got {re.escape(repr(value))}"):
        Transformer(**{"num_tokens": 5, "dim": 8, "heads": 2} | {name: value})


@pytest.mark.parametrize("make", [lambda: Attention(8, 3), lambda: Transformer(5, 8, heads=3)])
def test_heads_that_do_not_divide_the_width(make):
    with pytest.raises(ValueError, match="heads must divide dim=8, got 3"):
        make()


def test_a_mask_of_numbers():
    x = torch.zeros(1, 1, 2, 4)
    with pytest.raises(TypeError, match="mask must be boolean.*float32"):
        attention(x, x, x, torch.zeros(2, 2))
    with pytest.raises(TypeError, match="mask must be boolean.*int64"):
        Attention(8, 2)(torch.zeros(1, 2, 8), mask=torch.ones(2, 2, dtype=torch.int64))


@pytest.mark.parametrize("shape", [(3,), (3, 2), (2, 3), (2, 1, 2, 2), (1, 2, 2, 2), (1, 1, 1, 2, 2)])
def test_a_mask_of_another_shape(shape):
    x = torch.zeros(1, 1, 2, 4)
    with pytest.raises(
        ValueError, match=r"mask must broadcast to \[batch, head, query, key\], here \[1, 1, 2, 2\], got \[" + str(shape[0])
    ):
        attention(x, x, x, torch.ones(shape, dtype=torch.bool))


def test_more_queries_than_keys():
    with pytest.raises(ValueError, match="queries are the last of the keys.*at most 3 of them, got 4"):
        causal_mask(4, 3)


@pytest.mark.parametrize("shape", [(2, 8), (2, 3, 7), (2, 0, 8), (0, 3, 8), (1, 2, 3, 8)])
def test_inputs_of_another_shape(shape):
    with pytest.raises(ValueError, match=r"x must be \[batch, n, 8\], got \["):
        Attention(8, 2)(torch.zeros(shape))


def test_a_context_that_is_not_expected():
    with pytest.raises(ValueError, match="context was given to a layer without; make it with context_dim"):
        Attention(8, 2)(torch.zeros(1, 2, 8), torch.zeros(1, 2, 8))
    with pytest.raises(ValueError, match="context was given"):
        MODEL(TOKENS, torch.zeros(2, 3, 8))


def test_a_context_that_is_missing():
    with pytest.raises(ValueError, match=r"context is missing; give \[1, m, 3\]"):
        Attention(8, 2, 3)(torch.zeros(1, 2, 8))
    with pytest.raises(ValueError, match=r"context is missing; give \[2, m, 3\]"):
        CROSS(TOKENS)


@pytest.mark.parametrize("shape", [(2, 3), (1, 4, 3), (2, 4, 5), (2, 0, 3)])
def test_a_context_of_another_shape(shape):
    with pytest.raises(ValueError, match=r"context must be \[2, m, 3\], got \["):
        CROSS(TOKENS, torch.zeros(shape))


def test_a_context_has_no_order():
    with pytest.raises(ValueError, match="causal is for a sequence that looks at itself"):
        Attention(8, 2, 3)(torch.zeros(1, 2, 8), torch.zeros(1, 2, 3), causal=True)


def test_tokens_that_are_no_integers():
    for wrong in (TOKENS.float(), TOKENS.int()):
        with pytest.raises(TypeError, match=f"tokens must be int64, got {wrong.dtype}"):
            MODEL(wrong)


@pytest.mark.parametrize("shape", [(4,), (2, 0), (0, 4), (2, 4, 1)])
def test_tokens_of_another_shape(shape):
    with pytest.raises(ValueError, match=r"tokens must be \[batch, n\] with at least one token"):
        MODEL(torch.zeros(shape, dtype=torch.int64))


@pytest.mark.parametrize("token", [-1, 5])
def test_tokens_outside_the_vocabulary(token):
    x = TOKENS.clone()
    x[1, 2] = token
    with pytest.raises(ValueError, match=r"tokens must lie in 0 … 4, got"):
        MODEL(x)


def test_more_tokens_than_positions():
    with pytest.raises(ValueError, match="tokens must fit into max_length=6 positions, got 7"):
        MODEL(torch.zeros(1, 7, dtype=torch.int64))
    cache = {}
    MODEL(TOKENS, cache=cache)
    with pytest.raises(ValueError, match="max_length=6 positions, got 3 after 4 in the cache"):
        MODEL(TOKENS[:, :3], cache=cache)


def test_a_cache_of_another_batch():
    cache = {}
    MODEL(TOKENS, cache=cache)
    with pytest.raises(ValueError, match="tokens must be of as many sequences as the cache, 2, got 1"):
        MODEL(TOKENS[:1, :1], cache=cache)


def test_a_cache_where_old_tokens_see_new_ones():
    with pytest.raises(ValueError, match="cache is for a causal model"):
        BOTH_WAYS(TOKENS, cache={})


def test_a_mask_of_tokens_that_does_not_fit():
    with pytest.raises(ValueError, match=r"mask must have the shape of tokens, \[2, 4\], got \[4\]"):
        MODEL(TOKENS, mask=torch.ones(4, dtype=torch.bool))
    with pytest.raises(TypeError, match="mask must be boolean"):
        MODEL(TOKENS, mask=torch.ones(2, 4))
    with pytest.raises(ValueError, match="mask and cache do not go together"):
        MODEL(TOKENS, cache={}, mask=torch.ones(2, 4, dtype=torch.bool))


def test_a_refused_call_leaves_the_cache_alone():
    cache = {}
    with pytest.raises(ValueError):
        MODEL(TOKENS + 5, cache=cache)
    assert cache == {}


def test_generation_from_a_model_that_sees_the_future():
    with pytest.raises(ValueError, match="model must be causal"):
        generate_tokens(BOTH_WAYS, TOKENS, 1)


@pytest.mark.parametrize("shape", [(4,), (2, 0), (0, 1)])
def test_prompts_of_another_shape(shape):
    with pytest.raises(ValueError, match=r"prompt must be \[batch, n\] with at least one token"):
        generate_tokens(MODEL, torch.zeros(shape, dtype=torch.int64), 1)


@pytest.mark.parametrize("value", [-1, 1.0, "3", True, None])
def test_a_number_of_new_tokens_that_is_none(value):
    with pytest.raises(ValueError, match="max_new must be a whole number of at least 0, got"):
        generate_tokens(MODEL, TOKENS, value)


def test_more_new_tokens_than_room():
    with pytest.raises(ValueError, match="max_new must be at most 3: a prompt of 4 and max_length=6; got 4"):
        generate_tokens(MODEL, TOKENS, 4)
    assert generate_tokens(MODEL, TOKENS, 3).shape == (2, 7)


@pytest.mark.parametrize("end", [-1, 5, 1.5])
def test_an_end_that_is_no_token(end):
    with pytest.raises(ValueError, match="end must be a token, 0 … 4, or None, got"):
        generate_tokens(MODEL, TOKENS, 1, end=end)


@pytest.mark.parametrize("temperature", [-1.0, float("inf"), float("nan")])
def test_temperatures_that_are_none(temperature):
    with pytest.raises(ValueError, match="temperature must be 0 or more, and finite, got"):
        generate_tokens(MODEL, TOKENS, 1, temperature=temperature)


def test_a_context_to_generate_from_is_checked():
    with pytest.raises(ValueError, match="context is missing"):
        generate_tokens(CROSS, TOKENS, 1)
    with pytest.raises(ValueError, match="context must be"):
        generate_tokens(CROSS, TOKENS, 1, context=torch.zeros(1, 2, 3))


def test_weights_of_a_cross_attention_that_is_not_there():
    with pytest.raises(ValueError, match="cross needs a model with a context"):
        attention_weights(MODEL, TOKENS, cross=True)


def test_a_failed_look_leaves_no_switch_on():
    with pytest.raises(ValueError):
        attention_weights(MODEL, TOKENS + 5)
    assert not any(getattr(layer, "keep_weights", False) for layer in MODEL.modules())
