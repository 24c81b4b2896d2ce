"""What must hold of attention and of a transformer of any size."""

import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from vqdiff_edu.transformer import Transformer, attention, attention_weights, causal_mask, generate_tokens

TABLES = st.fixed_dictionaries(
    {name: st.integers(1, 5) for name in ("batch", "heads", "queries", "keys", "channels", "values")} | {"seed": st.integers(0, 1000)}
)
MODELS = st.fixed_dictionaries(
    {
        "num_tokens": st.integers(1, 9),
        "heads": st.integers(1, 3),
        "channels": st.integers(1, 4),
        "depth": st.integers(1, 3),
        "context": st.sampled_from([None, 1, 5]),
        "batch": st.integers(1, 3),
        "n": st.integers(1, 6),
        "seed": st.integers(0, 1000),
    }
)


def table(s):
    generator = torch.Generator().manual_seed(s["seed"])
    shapes = [(s["queries"], s["channels"]), (s["keys"], s["channels"]), (s["keys"], s["values"])]
    q, k, v = (3 * torch.randn(s["batch"], s["heads"], *shape, generator=generator, dtype=torch.float64) for shape in shapes)
    return q, k, v, torch.rand(s["batch"], 1, s["queries"], s["keys"], generator=generator) < 0.7


def build(s, causal=True):
    torch.manual_seed(s["seed"])
    sizes = {"heads": s["heads"], "max_length": s["n"] + 2, "context_dim": s["context"], "causal": causal}
    model = Transformer(s["num_tokens"], s["heads"] * s["channels"], s["depth"], **sizes)
    x = torch.randint(s["num_tokens"], (s["batch"], s["n"]))
    context = None if s["context"] is None else torch.randn(s["batch"], 3, s["context"], dtype=torch.float64)
    return model.double().eval(), x, context


@given(TABLES, st.booleans())
def test_attention_is_pytorchs_and_a_mean(spec, masked):
    q, k, v, mask = table(spec)
    mask = mask if masked else None
    out, weights = attention(q, k, v, mask)
    assert torch.allclose(out, F.scaled_dot_product_attention(q, k, v, mask), atol=1e-10)
    total = weights.sum(-1)
    assert torch.all((total - 1).abs().minimum(total.abs()) < 1e-9) and weights.min() >= 0
    if not masked:
        assert torch.all(out <= v.amax(2, keepdim=True) + 1e-9) and torch.all(out >= v.amin(2, keepdim=True) - 1e-9)


@given(TABLES)
def test_order_and_number_of_copies_are_forgotten(spec):
    q, k, v, _ = table(spec)
    order = torch.randperm(spec["keys"], generator=torch.Generator().manual_seed(spec["seed"]))
    out, _ = attention(q, k, v)
    assert torch.allclose(attention(q, k[:, :, order], v[:, :, order])[0], out, atol=1e-10)
    assert torch.allclose(attention(q, torch.cat([k, k], 2), torch.cat([v, v], 2))[0], out, atol=1e-10)


@given(st.integers(1, 8), st.integers(0, 8))
def test_rows_of_the_causal_mask_grow_by_one(queries, more):
    mask = causal_mask(queries, queries + more)
    assert mask.sum(1).tolist() == list(range(more + 1, queries + more + 1))
    assert torch.equal(mask, mask.sort(1, descending=True).values)


@given(MODELS, st.integers(0, 6))
def test_any_cut_through_the_cache_gives_the_same(spec, cut):
    model, x, context = build(spec)
    cut, cache = min(cut, spec["n"]), {}
    parts = [model(part, context, cache=cache) for part in (x[:, :cut], x[:, cut:]) if part.shape[1]]
    assert torch.allclose(torch.cat(parts, 2), model(x, context), atol=1e-10)


@given(MODELS)
def test_sequences_of_a_batch_do_not_see_each_other(spec):
    model, x, context = build(spec, causal=False)
    alone = [model(x[i : i + 1], None if context is None else context[i : i + 1]) for i in range(len(x))]
    assert torch.allclose(model(x, context), torch.cat(alone), atol=1e-10)


@given(MODELS, st.sampled_from([0.0, 1.0]))
def test_generation_begins_with_the_prompt_and_stays_in_the_vocabulary(spec, temperature):
    model, x, context = build(spec)
    drawn = [
        generate_tokens(model, x, 3, context=context, temperature=temperature, cached=c, generator=torch.Generator().manual_seed(1))
        for c in (True, False)
    ]
    assert torch.equal(*drawn)
    assert drawn[0].shape == (spec["batch"], spec["n"] + 3) and torch.equal(drawn[0][:, : spec["n"]], x)
    assert 0 <= int(drawn[0].min()) <= int(drawn[0].max()) < spec["num_tokens"]


@given(MODELS, st.integers(1, 6))
def test_what_has_ended_stays_ended(spec, end):
    model, x, context = build(spec)
    end = min(end, spec["num_tokens"]) - 1
    out = generate_tokens(model, x, 3, context=context, temperature=1.0, end=end, generator=torch.Generator().manual_seed(1))
    new = (out[:, spec["n"] :] == end).int()
    assert torch.equal(new, new.cummax(1).values)


@given(MODELS)
def test_looking_at_the_weights_changes_nothing(spec):
    model, x, context = build(spec)
    before = model(x, context)
    weights = attention_weights(model, x, context)
    assert weights.shape == (spec["depth"], spec["batch"], spec["heads"], spec["n"], spec["n"])
    assert torch.equal(model(x, context), before)
