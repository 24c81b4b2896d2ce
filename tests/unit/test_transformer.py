"""Attention against PyTorch's, causality by autograd, the cache, generation, and that it learns to copy and to sort."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F

from vqdiff_edu.transformer import (
    Attention,
    Block,
    Transformer,
    attention,
    attention_weights,
    causal_mask,
    generate_tokens,
    sample_token,
)


def make(seed=0, **sizes):
    torch.manual_seed(seed)
    return Transformer(**{"num_tokens": 11, "dim": 16, "depth": 2, "heads": 4, "max_length": 12} | sizes).eval()


def tensors(*shapes, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(*shape, generator=generator, dtype=dtype) for shape in shapes]


def tokens(batch=3, n=7, seed=0):
    return torch.randint(11, (batch, n), generator=torch.Generator().manual_seed(seed))


# ------------------------------------------------------------------ attention


def test_attention_by_hand():
    q = torch.tensor([2 * math.log(3), 0, 0, 0]).view(1, 1, 1, 4)
    out, weights = attention(q, torch.eye(2, 4)[None, None], torch.tensor([8.0, 0.0]).view(1, 1, 2, 1))
    assert torch.allclose(weights.flatten(), torch.tensor([0.75, 0.25])) and math.isclose(out.item(), 6.0, rel_tol=1e-6)


@pytest.mark.parametrize("shape", [None, (5, 7), (2, 1, 1, 7), (1, 3, 5, 7), (2, 3, 5, 7), (7,), (5, 1)])
def test_attention_is_pytorchs(shape):
    q, k, v = tensors((2, 3, 5, 8), (2, 3, 7, 8), (2, 3, 7, 4))
    mask = None if shape is None else torch.rand(shape, generator=torch.Generator().manual_seed(1)) < 0.6
    seen = torch.ones(2, 3, 5, 7, dtype=torch.bool) if mask is None else mask.expand(2, 3, 5, 7)
    out, weights = attention(q, k, v, mask)
    assert torch.allclose(out, F.scaled_dot_product_attention(q, k, v, seen), atol=1e-12)
    assert torch.equal(weights > 0, seen)
    assert torch.allclose(weights.sum(-1), seen.any(-1).double())


def test_a_query_that_may_look_nowhere_gets_zeros_and_spoils_no_gradient():
    q, k, v = (x.requires_grad_() for x in tensors((1, 1, 2, 4), (1, 1, 3, 4), (1, 1, 3, 4)))
    out, weights = attention(q, k, v, torch.tensor([[True, False, True], [False, False, False]]))
    assert torch.equal(out[0, 0, 1], torch.zeros(4)) and torch.equal(weights[0, 0, 1], torch.zeros(3))
    out.sum().backward()
    assert all(x.grad.isfinite().all() for x in (q, k, v))


def test_large_scores_are_no_trouble():
    q, k, v = tensors((1, 1, 2, 4), (1, 1, 3, 4), (1, 1, 3, 4), dtype=torch.float32)
    out, _ = attention(1e4 * q, 1e4 * k, v)
    assert out.isfinite().all()


def test_causal_mask():
    assert causal_mask(2, 4).int().tolist() == [[1, 1, 1, 0], [1, 1, 1, 1]]
    assert causal_mask(3, 3).int().tolist() == [[1, 0, 0], [1, 1, 0], [1, 1, 1]]
    assert causal_mask(1, 5).all() and causal_mask(1, 1).dtype == torch.bool


# ------------------------------------------------------------------ the layer


@pytest.mark.parametrize("context_dim", [None, 6])
def test_the_kernel_and_the_hand_agree(context_dim):
    torch.manual_seed(0)
    layer = Attention(16, 4, context_dim).double()
    x, context = tensors((2, 5, 16), (2, 7, 6))
    given = {"causal": True} if context_dim is None else {"context": context}
    fast = layer(x, **given)
    assert layer.weights is None
    layer.keep_weights = True
    assert torch.allclose(layer(x, **given), fast, atol=1e-12)
    assert layer.weights.shape == (2, 4, 5, 5 if context_dim is None else 7) and not layer.weights.requires_grad


def test_one_head_is_attention_of_three_linear_views():
    layer = Attention(8, 1).double()
    (x,) = tensors((2, 5, 8))
    k, v = layer.to_kv(x).chunk(2, -1)
    out, _ = attention(layer.to_q(x)[:, None], k[:, None], v[:, None])
    assert torch.allclose(layer(x), layer.out(out[:, 0]), atol=1e-12)


def test_heads_are_independent_runs_of_channels():
    layer = Attention(8, 2)
    x = torch.arange(24.0).view(1, 3, 8)
    assert torch.equal(layer.split(x)[0, 1], x[0, :, 4:])


def test_heads_times_channels_cost_what_one_head_costs():
    sizes = {sum(p.numel() for p in Attention(24, heads).parameters()) for heads in (1, 2, 3, 24)}
    assert len(sizes) == 1


def test_a_mask_and_the_causal_mask_both_count():
    layer = Attention(8, 2)
    (x,) = tensors((1, 4, 8), dtype=torch.float32)
    mask = torch.tensor([True, False, True, True])
    fast = [layer(x, causal=causal, mask=mask) for causal in (False, True)]
    layer.keep_weights = True
    assert torch.allclose(layer(x, mask=mask), fast[0], atol=1e-6)
    assert torch.allclose(layer(x, causal=True, mask=mask), fast[1], atol=1e-6)
    assert (layer.weights[0, 0] > 0).int().tolist() == [[1, 0, 0, 0], [1, 0, 0, 0], [1, 0, 1, 0], [1, 0, 1, 1]]


def test_without_positions_order_goes_through():
    layer = Attention(16, 4).double()
    (x,) = tensors((2, 6, 16))
    order = torch.tensor([3, 1, 5, 0, 4, 2])
    assert torch.allclose(layer(x)[:, order], layer(x[:, order]), atol=1e-12)


def test_a_cached_context_is_not_read_again():
    layer = Attention(8, 2, context_dim=4)
    x, context = tensors((1, 3, 8), (1, 5, 4), dtype=torch.float32)
    cache = {}
    first = layer(x, context, cache=cache)
    assert torch.equal(layer(x, torch.zeros_like(context), cache=cache), first)


# ------------------------------------------------------------------ the model


def test_shapes():
    model = make()
    assert model(tokens()).shape == (3, 11, 7)
    assert model.features(tokens()).shape == (3, 7, 16)
    assert make(context_dim=6)(tokens(), torch.zeros(3, 4, 6)).shape == (3, 11, 7)
    assert make(max_length=7)(tokens()).shape == (3, 11, 7)


def jacobian(causal, context_dim=None):
    """|d y_i / d x_j| through three blocks: [i, j]."""
    torch.manual_seed(0)
    blocks = [Block(8, 2, context_dim=context_dim, causal=causal).double() for _ in range(3)]
    x, context = tensors((1, 5, 8), (1, 3, 6))

    def run(x):
        for block in blocks:
            x = block(x, None if context_dim is None else context)
        return x

    return torch.autograd.functional.jacobian(run, x)[0, :, :, 0].square().sum((1, 3)).sqrt()


@pytest.mark.parametrize("context_dim", [None, 6])
def test_nothing_comes_from_the_future(context_dim):
    sensitivity = jacobian(True, context_dim)
    assert torch.equal(sensitivity.triu(1), torch.zeros(5, 5))
    assert (sensitivity[torch.ones(5, 5).tril() > 0] > 0).all()
    assert (jacobian(False, context_dim) > 0).all()


def test_logits_do_not_depend_on_later_tokens():
    model = make().double()
    x, y = tokens(seed=1), tokens(seed=2)
    y[:, :4] = x[:, :4]
    assert torch.allclose(model(x)[:, :, :4], model(y)[:, :, :4], atol=1e-12)
    assert not torch.allclose(model(x)[:, :, 4:], model(y)[:, :, 4:])


def test_a_model_that_is_not_causal_sees_everything():
    model = make(causal=False).double()
    x = tokens()
    y = x.clone()
    y[:, -1] = (y[:, -1] + 1) % 11
    assert (model(x) - model(y)).abs().amax((0, 1)).min() > 1e-6


@pytest.mark.parametrize("causal", [True, False])
def test_padding_changes_nothing(causal):
    model = make(causal=causal).double()
    x = tokens(n=9)
    real = torch.ones_like(x, dtype=torch.bool)
    real[:, 6:] = False
    assert torch.allclose(model(x, mask=real)[:, :, :6], model(x[:, :6]), atol=1e-12)


def test_without_a_table_of_positions_one_block_sees_a_set():
    model = make(depth=1).double()
    model.positions.weight.data.zero_()
    x, shuffled = tokens(), tokens()
    shuffled[:, :6] = x[:, torch.tensor([5, 3, 0, 1, 4, 2])]
    assert torch.allclose(model(x)[:, :, -1], model(shuffled)[:, :, -1], atol=1e-12)
    assert not torch.allclose(make(depth=1).double()(x)[:, :, -1], make(depth=1).double()(shuffled)[:, :, -1])


def test_the_context_matters():
    model = make(context_dim=6)
    a, b = tensors((3, 4, 6), (3, 4, 6), dtype=torch.float32)
    assert not torch.allclose(model(tokens(), a), model(tokens(), b))


def test_every_weight_gets_a_gradient():
    model = make(context_dim=6).train()
    (context,) = tensors((3, 4, 6), dtype=torch.float32)
    F.cross_entropy(model(tokens(n=12), context), tokens(n=12, seed=1)).backward()
    silent = [name for name, p in model.named_parameters() if p.grad is None or p.grad.abs().max() == 0]
    assert not silent


# ------------------------------------------------------------------ cache and generation


@pytest.mark.parametrize("context_dim", [None, 6])
@pytest.mark.parametrize("pieces", [[1] * 12, [5, 1, 6], [12], [3, 3, 6]])
def test_pieces_through_a_cache_are_the_whole(pieces, context_dim):
    model, x = make(context_dim=context_dim).double(), tokens(n=12)
    context = None if context_dim is None else tensors((3, 4, 6))[0]
    cache = {}
    parts = torch.cat([model(part, context, cache=cache) for part in x.split(pieces, dim=1)], dim=2)
    assert torch.allclose(parts, model(x, context), atol=1e-12)


def test_a_cache_in_single_precision_is_as_good():
    model, x = make(depth=3), tokens(n=12)
    cache = {}
    parts = torch.cat([model(part, cache=cache) for part in x.split(1, dim=1)], dim=2)
    assert (parts - model(x)).abs().max() < 1e-6 * max(1, model(x).abs().max())


def test_a_copy_of_the_model_needs_its_own_cache():
    model, x, cache = make(), tokens(), {}
    model(x, cache=cache)
    assert all(isinstance(layer, Attention) for layer in cache) and len(cache) == 2
    other = copy.deepcopy(model)
    assert not set(cache) & set(other.modules())


@pytest.mark.parametrize("temperature", [0.0, 0.7, 1.0, 3.0])
@pytest.mark.parametrize("context_dim", [None, 6])
def test_the_cache_changes_no_sample(temperature, context_dim):
    model = make(context_dim=context_dim)
    context = None if context_dim is None else tensors((3, 4, 6), dtype=torch.float32)[0]
    drawn = [
        generate_tokens(
            model, tokens(n=2), 11, context=context, temperature=temperature, cached=c, generator=torch.Generator().manual_seed(5)
        )
        for c in (True, False)
    ]
    assert torch.equal(*drawn) and drawn[0].shape == (3, 13)
    assert torch.equal(drawn[0][:, :2], tokens(n=2))


def test_greedy_is_the_likeliest_token_each_time():
    model = make()
    written = generate_tokens(model, tokens(n=3), 6)
    assert torch.equal(model(written[:, :-1])[:, :, 2:].argmax(1), written[:, 3:])


def test_no_new_tokens_is_the_prompt():
    assert torch.equal(generate_tokens(make(), tokens(), 0), tokens())


class Script(Transformer):
    """A "model" that says row r's letters in order, whatever it is told."""

    def __init__(self, script):
        super().__init__(5, 4, heads=1)
        self.script = torch.tensor(script)

    def forward(self, tokens, context=None, *, cache=None, mask=None):
        n = tokens.shape[1]
        return 9.0 * F.one_hot(self.script[:, :n], 5).transpose(1, 2).float()


@pytest.mark.parametrize(
    ("script", "written"),
    [([[1, 4, 2, 2], [4, 1, 1, 1]], [[1, 4], [4, 4]]), ([[1, 2, 3, 4], [4, 0, 0, 0]], [[1, 2, 3, 4], [4, 4, 4, 4]])],
)
def test_rows_that_have_ended_are_filled_up_and_it_stops_when_all_have(script, written):
    prompt = torch.zeros(2, 1, dtype=torch.int64)
    out = generate_tokens(Script(script), prompt, 4, end=4, cached=False)
    assert out[:, 1:].tolist() == written


def test_drawing_follows_the_temperature():
    p = torch.tensor([0.7, 0.2, 0.1])
    generator = torch.Generator().manual_seed(0)
    for temperature in (1.0, 2.0):
        drawn = sample_token(p.log().expand(20_000, 3), temperature, generator)
        wanted = p ** (1 / temperature) / (p ** (1 / temperature)).sum()
        assert torch.allclose(torch.bincount(drawn) / 20_000, wanted, atol=0.015)
    assert sample_token(p.log()[None]).item() == 0


def test_generation_leaves_no_trace():
    model = make().train()
    before = torch.get_rng_state()
    out = generate_tokens(model, tokens(), 3, temperature=1.0, generator=torch.Generator().manual_seed(0))
    assert torch.equal(torch.get_rng_state(), before) and model.training and not out.requires_grad


# ------------------------------------------------------------------ weights to look at


def test_weights_are_those_of_the_pass_and_are_not_kept():
    model = make(context_dim=6)
    (context,) = tensors((3, 4, 6), dtype=torch.float32)
    own, cross = attention_weights(model, tokens(), context), attention_weights(model, tokens(), context, cross=True)
    assert own.shape == (2, 3, 4, 7, 7) and cross.shape == (2, 3, 4, 7, 4)
    for weights in (own, cross):
        assert torch.allclose(weights.sum(-1), torch.ones(2, 3, 4, 7), atol=1e-6)
    assert own.triu(1).abs().max() == 0
    assert not any(layer.keep_weights or layer.weights is not None for layer in model.modules() if isinstance(layer, Attention))


# ------------------------------------------------------------------ it learns


def answers(words, job):
    return words if job == "copy" else words.sort(1).values


@pytest.mark.parametrize("job", ["copy", "sort"])
@pytest.mark.parametrize("cross", [False, True], ids=["self", "cross"])
def test_it_learns_to_copy_and_to_sort_and_looks_where_it_should(job, cross):
    torch.manual_seed(0)
    model = Transformer(9, 32, depth=1, heads=1, max_length=8, context_dim=12 if cross else None)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    generator = torch.Generator().manual_seed(0)

    def example(n):
        words = torch.stack([torch.randperm(8, generator=generator)[:4] for _ in range(n)])
        context = torch.cat([F.one_hot(words, 8).float(), torch.eye(4).expand(n, -1, -1)], 2) if cross else None
        mark = torch.full((n, 1), 8)
        return words, mark if cross else torch.cat([words, mark], 1), context

    for _ in range(120):
        words, prompt, context = example(32)
        wanted = answers(words, job)
        logits = model(torch.cat([prompt, wanted[:, :-1]], 1), context)[:, :, -4:]
        optimizer.zero_grad()
        F.cross_entropy(logits, wanted).backward()
        optimizer.step()
    words, prompt, context = example(200)
    wanted = answers(words, job)
    assert (generate_tokens(model, prompt, 4, context=context)[:, -4:] == wanted).all(1).float().mean() > 0.9
    seen = attention_weights(model, torch.cat([prompt, wanted[:, :-1]], 1), context, cross=cross)[0, :, 0, -4:, :4]
    place = words[:, None] == wanted[:, :, None]
    assert (seen * place).sum(2).mean() > 2 * (seen * ~place).sum(2).mean() / 3  # more than its share of the four
