"""The quantizer: who gets which gradient, how the codebook moves, and when it must not."""

import copy

import pytest
import torch
import torch.nn.functional as F

from vqdiff_edu.quantization import vector_quantizer
from vqdiff_edu.quantization.kmeans import kmeans, nearest_code, spread_start, sum_by_code
from vqdiff_edu.quantization.vector_quantizer import VectorQuantizer, batch_perplexity

from ..reads import Reads


def state_of(quantizer):
    return {name: value.clone() for name, value in quantizer.state_dict().items()}


def same(a, b):
    return all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture
def z():
    return torch.randn(6, 4, 3, 5, generator=torch.Generator().manual_seed(1))


# ---------------------------------------------------------------- gradients


@pytest.mark.parametrize("beta", [0.0, 0.3, 7.0])
@pytest.mark.parametrize("ema_decay", [None, 0.9])
def test_each_receiver_gets_its_own_gradient_and_weight(z, beta, ema_decay):
    torch.manual_seed(0)
    quantizer = VectorQuantizer(11, 4, commitment_cost=beta, ema_decay=ema_decay, kmeans_init=False).eval()
    z.requires_grad_()
    out = quantizer(z)
    (out.z_q**3).sum().backward(retain_graph=True)
    assert torch.equal(z.grad, 3 * out.z_q.detach() ** 2)  # straight-through: the gradient at the code, untouched
    assert quantizer.codebook.grad is None  # and none of it for the codes
    z.grad = None
    out.loss.backward()
    torch.testing.assert_close(z.grad, 2 * beta * (z.detach() - out.z_q.detach()) / z.numel())
    if ema_decay is None:
        counts, sums = sum_by_code(z.detach().movedim(1, -1).reshape(-1, 4), out.indices.flatten(), 11)
        torch.testing.assert_close(quantizer.codebook.grad, 2 * (counts[:, None] * quantizer.codebook.detach() - sums) / z.numel())


def test_with_a_running_mean_codebook_the_codebook_term_is_not_in_the_loss(z):
    quantizer = VectorQuantizer(11, 4, commitment_cost=0.3, kmeans_init=False).eval()
    out = quantizer(z)
    assert out.loss.item() == pytest.approx(0.3 * F.mse_loss(z, out.z_q).item(), rel=1e-6)
    assert not list(quantizer.parameters())


def test_rotation_is_passed_on(z):
    quantizer = VectorQuantizer(11, 4, estimator="rotation", kmeans_init=False).eval()
    z.requires_grad_()
    out = quantizer(z)
    (grad,) = torch.autograd.grad((out.z_q * 2).sum(), z)
    assert torch.equal(out.z_q, quantizer.lookup(out.indices))
    assert not torch.allclose(grad, torch.full_like(grad, 2.0))


# ---------------------------------------------------------------- nearest codes


def test_blocks_of_rows_change_nothing(monkeypatch):
    vectors, codebook = torch.randn(503, 8), torch.randn(37, 8)
    whole = nearest_code(vectors, codebook)
    for entries in (1, 40, 37 * 100):
        monkeypatch.setattr("vqdiff_edu.quantization.kmeans.ENTRIES_AT_ONCE", {"cpu": entries})
        assert torch.equal(nearest_code(vectors, codebook), whole)
    assert torch.equal(whole, torch.cdist(vectors.double(), codebook.double()).argmin(1))


def test_no_table_of_differences_is_made():
    """The largest tensor is a block of the [n, k] table."""
    sizes = []

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            sizes.extend(t.numel() for t in (out if isinstance(out, (tuple, list)) else [out]) if isinstance(t, torch.Tensor))
            return out

    quantizer = VectorQuantizer(512, 64, kmeans_init=False)
    with Watch():
        quantizer(torch.randn(64, 64, 8, 8))  # n·k = 2²¹, twice what the table may hold at a time
    assert max(sizes) <= 2**20


def test_indices_and_codes_lie_where_their_vectors_lay(z):
    quantizer = VectorQuantizer(11, 4, kmeans_init=False).eval()
    out = quantizer(z)
    assert out.indices.shape == (6, 3, 5) and out.z_q.shape == z.shape
    assert torch.equal(out.z_q, quantizer.lookup(out.indices))
    distances = (z[:, None] - quantizer.codebook[None, :, :, None, None]).square().sum(2)
    assert torch.equal(out.indices, distances.argmin(1))


@pytest.mark.parametrize("space", [(), (9,), (2, 3, 4)])
def test_any_number_of_space_axes(space):
    out = VectorQuantizer(5, 3, kmeans_init=False)(torch.randn(4, 3, *space))
    assert out.z_q.shape == (4, 3, *space) and out.indices.shape == (4, *space)


# ---------------------------------------------------------------- the codebook moves


def test_one_step_is_the_running_mean(z):
    quantizer = VectorQuantizer(7, 4, ema_decay=0.8, kmeans_init=False, revive_below=0.0)
    before = quantizer.codebook.clone()
    out = quantizer(z)
    counts, sums = sum_by_code(z.movedim(1, -1).reshape(-1, 4), out.indices.flatten(), 7)
    count = 0.8 + 0.2 * counts
    torch.testing.assert_close(quantizer.codebook, (0.8 * before + 0.2 * sums) / count[:, None])


def test_without_decay_it_is_lloyd(z):
    quantizer = VectorQuantizer(3, 4, ema_decay=0.0, kmeans_init=False, revive_below=0.0)
    out = quantizer(z)
    vectors, owner = z.movedim(1, -1).reshape(-1, 4), out.indices.flatten()
    for k in owner.unique():
        torch.testing.assert_close(quantizer.codebook[k], vectors[owner == k].mean(0))


def test_a_code_that_never_wins_stays_where_it_was():
    """Its running count and sum fade together; once they are nothing their ratio must not be taken for a place."""
    quantizer = VectorQuantizer(2, 1, ema_decay=0.5, kmeans_init=False, revive_below=0.0)
    quantizer.codebook.copy_(torch.tensor([[0.0], [9.0]]))
    quantizer.total.copy_(quantizer.codebook)
    for _ in range(200):
        quantizer(torch.zeros(3, 1))
    assert quantizer.count[1] < 1e-30
    assert quantizer.codebook.flatten().tolist() == [0.0, 9.0]


@pytest.mark.parametrize("ema_decay", [None, 0.99])
def test_revival_draws_from_the_generator_it_is_given(ema_decay):
    def revived(seed):
        quantizer = VectorQuantizer(8, 2, ema_decay=ema_decay, kmeans_init=False, generator=torch.Generator().manual_seed(seed))
        with torch.no_grad():
            quantizer.codebook.copy_(torch.full((8, 2), 50.0))
        quantizer(torch.rand(100, 2, generator=torch.Generator().manual_seed(0)))
        quantizer.after_step(torch.optim.SGD([torch.zeros(1)]))
        return quantizer.codebook.detach()

    before = torch.get_rng_state()
    VectorQuantizer(8, 2, kmeans_init=False)  # the initial codes are drawn as those of any module
    after = torch.get_rng_state()
    torch.set_rng_state(before)
    first = revived(1)
    assert torch.equal(torch.get_rng_state(), after)
    assert torch.equal(first[1:], revived(1)[1:]) and not torch.equal(first[1:], revived(2)[1:])


@pytest.mark.parametrize("ema_decay", [None, 0.99])
def test_idle_codes_are_put_on_vectors_of_the_batch_and_stay_there(ema_decay):
    torch.manual_seed(0)
    quantizer = VectorQuantizer(8, 2, ema_decay=ema_decay, kmeans_init=False)
    parameter = quantizer.codebook
    with torch.no_grad():
        quantizer.codebook.copy_(torch.full((8, 2), 50.0))
        quantizer.total.copy_(quantizer.codebook)
    z = torch.rand(100, 2)
    quantizer(z)  # code 0 wins all; the others' counts fall to 0.99
    quantizer.after_step(torch.optim.SGD([torch.zeros(1)]))
    near = torch.cdist(quantizer.codebook.detach(), z).amin(1)
    assert (near[1:] < 1e-6).all()
    assert torch.equal(quantizer.count[1:], torch.ones(7))
    torch.testing.assert_close(quantizer.total[1:], quantizer.codebook.detach()[1:])
    assert quantizer.codebook is parameter
    assert len(quantizer(z).indices.unique()) > 4  # they win something at once


def test_revival_of_a_gradient_codebook_leaves_it_a_parameter_that_learns():
    torch.manual_seed(0)
    quantizer = VectorQuantizer(8, 2, ema_decay=None, kmeans_init=False)
    optimizer = torch.optim.SGD(quantizer.parameters(), lr=1.0)
    z = torch.rand(64, 2) + 5
    out = quantizer(z)
    out.loss.backward()
    before = quantizer.codebook.detach().clone()
    optimizer.step()
    winners = out.indices.unique()
    moved = (quantizer.codebook.detach() - before).abs().sum(1) > 0
    assert moved[winners].all() and moved.sum() == len(winners) < 8
    quantizer.after_step(optimizer)  # revives the others
    assert quantizer.codebook.is_leaf and quantizer.codebook.requires_grad
    assert len(quantizer(z).indices.unique()) > len(winners)


def test_a_cosine_codebook_that_learns_by_gradient_revives_and_goes_on():
    torch.manual_seed(0)
    quantizer = VectorQuantizer(8, 2, ema_decay=None, metric="cosine", kmeans_init=False)
    optimizer = torch.optim.Adam(quantizer.parameters(), lr=0.1)
    z = torch.tensor([[3.0, 1.0]]) + 0.1 * torch.randn(64, 2)
    for _ in range(3):
        optimizer.zero_grad()
        quantizer(z).loss.backward()  # most codes are idle: a move before this line would spoil the graph
        optimizer.step()
        quantizer.after_step(optimizer)
    assert F.cosine_similarity(quantizer.codebook.detach(), torch.tensor([[3.0, 1.0]])).min() > 0.9


def starved(average=None):
    """Two codes that Adam moves by gradient; then the second wins nothing and is revived on the vectors, all of them zero."""
    quantizer = VectorQuantizer(2, 1, ema_decay=None, kmeans_init=False)
    optimizer = torch.optim.Adam(quantizer.parameters(), lr=0.1)
    with torch.no_grad():
        quantizer.codebook.copy_(torch.tensor([[0.0], [9.0]]))

    def step(z):
        optimizer.zero_grad()
        quantizer(z).loss.backward()
        optimizer.step()
        quantizer.after_step(optimizer, average)

    for _ in range(20):
        step(torch.tensor([[0.0], [20.0]]))
    assert quantizer.codebook[1] > 10  # it has momentum
    quantizer.count[1] = 0.0
    step(torch.zeros(3, 1))
    return quantizer, step


def test_a_revived_code_is_not_carried_on_by_the_momentum_of_the_dead_one():
    quantizer, step = starved()
    assert quantizer.codebook[1].item() == 0
    with torch.no_grad():
        quantizer.codebook[1] = 0.5  # so that it wins nothing
        quantizer.count[1] = 5.0  # and is not moved once more
    step(torch.zeros(3, 1))
    assert quantizer.codebook[1].item() == 0.5


def test_a_revived_code_of_the_averaged_weights_moves_as_well():
    average = VectorQuantizer(2, 1, ema_decay=None, kmeans_init=False)
    with torch.no_grad():
        average.codebook.copy_(torch.tensor([[3.0], [7.0]]))
    starved(average)
    assert average.codebook.flatten().tolist() == [3.0, 0.0]


def test_a_gradient_codebook_is_not_moved_by_following(z):
    quantizer = VectorQuantizer(7, 4, ema_decay=None, kmeans_init=False, revive_below=0.0)
    before = quantizer.codebook.detach().clone()
    quantizer(z)
    assert torch.equal(quantizer.codebook, before)
    assert not torch.equal(quantizer.count, torch.ones(7))  # the counts that revival looks at do run


def test_no_revival_when_turned_off():
    quantizer = VectorQuantizer(8, 2, kmeans_init=False, revive_below=0.0)
    quantizer.codebook.copy_(torch.arange(16.0).reshape(8, 2) + 50)
    quantizer.total.copy_(quantizer.codebook)
    far = quantizer.codebook[1:].clone()
    for _ in range(3):
        quantizer(torch.rand(100, 2))
    torch.testing.assert_close(quantizer.codebook[1:], far)


# ---------------------------------------------------------------- when nothing may move


def test_eval_mode_moves_nothing_and_does_not_start(z):
    for options in ({}, {"ema_decay": None}, {"kmeans_init": False}, {"metric": "cosine"}):
        quantizer = VectorQuantizer(7, 4, **options).eval()
        before = state_of(quantizer)
        quantizer(z), quantizer.lookup(torch.zeros(2, 3, dtype=torch.long))
        assert same(before, quantizer.state_dict()), options


def test_a_loaded_codebook_is_not_started_again(z):
    trained = VectorQuantizer(7, 4, revive_below=0.0)
    trained(z)
    fresh = VectorQuantizer(7, 4, revive_below=0.0)
    fresh.load_state_dict(trained.state_dict())
    assert bool(fresh.started)
    started = VectorQuantizer(7, 4)
    started(z)
    started.load_state_dict(VectorQuantizer(7, 4).state_dict())
    started(z + 100)
    assert (started.codebook - 100).abs().max() < 6  # nor is one that was not placed taken for placed
    expected = copy.deepcopy(trained)
    expected(z + 0.1), fresh(z + 0.1)
    assert same(expected.state_dict(), fresh.state_dict())


def test_the_names_in_the_state_are_those_of_the_shipped_weights():
    for options in ({}, {"ema_decay": None}):
        assert set(VectorQuantizer(7, 4, **options).state_dict()) == {"codebook", "count", "total", "started"}


def test_the_shipped_model_loads_with_its_codes():
    from vqdiff_edu.registry import load_pretrained

    quantizer = load_pretrained("mnist-vqvae").quantizer
    assert bool(quantizer.started) and quantizer.codebook.shape == (512, 64)


# ---------------------------------------------------------------- the start


def test_the_start_draws_from_the_generator_it_is_given(z):
    first, again, other = (VectorQuantizer(7, 4, generator=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    first(z), again(z), other(z)
    assert torch.equal(first.codebook, again.codebook) and not torch.equal(first.codebook, other.codebook)


def test_the_average_of_a_started_quantizer_is_not_started_again(z):
    quantizer = VectorQuantizer(7, 4)
    average = copy.deepcopy(quantizer)
    quantizer(z)
    for old, new in zip(average.buffers(), quantizer.buffers()):
        old.copy_(new)  # what a training does with the buffers of its average
    expected = copy.deepcopy(quantizer)
    expected(z + 0.1), average(z + 0.1)
    assert torch.equal(expected.codebook, average.codebook)


def test_start_places_the_codes_on_the_first_batch_only(z):
    torch.manual_seed(0)
    quantizer = VectorQuantizer(7, 4)
    quantizer(z + 100)
    assert (quantizer.codebook - 100).abs().max() < 6
    before = quantizer.codebook.clone()
    quantizer(z - 100)
    assert (quantizer.codebook - before).abs().max() < 20  # it follows, it does not jump


def test_more_codes_than_vectors_in_the_first_batch():
    torch.manual_seed(0)
    z = torch.randn(5, 4)
    quantizer = VectorQuantizer(64, 4)
    out = quantizer(z)
    torch.testing.assert_close(out.z_q, z)  # every vector has a code of its own
    assert out.perplexity.item() == pytest.approx(5)
    for _ in range(5):
        out = quantizer(torch.randn(200, 4))
    assert all(value.isfinite().all() for value in quantizer.state_dict().values())
    assert len(out.indices.unique()) > 40  # the doubles are revived


def test_kmeans_finds_clouds_that_are_apart():
    # On a grid 1000 apart; with clouds of size 1 the spread start takes two vectors of one cloud about once in ten thousand runs.
    centres = 1000 * torch.cartesian_prod(torch.arange(3.0), torch.arange(2.0), torch.arange(2.0))
    points = centres.repeat(50, 1) + torch.randn(600, 3)
    found = kmeans(points, 12)
    torch.testing.assert_close(torch.cdist(centres, found).amin(1), torch.zeros(12), atol=1.0, rtol=0)


def test_the_second_seed_is_drawn_by_squared_distance():
    """Points 0, 1 and 4, all pairs: (first, second) has probability 1/3 · d² / Σ d², by distance 1/3 · d / Σ d."""
    points, draws = torch.tensor([[0.0], [1.0], [4.0]]), 6000
    generator = torch.Generator().manual_seed(0)
    seen = torch.zeros(3, 3)
    place = {0.0: 0, 1.0: 1, 4.0: 2}
    for _ in range(draws):
        first, second = spread_start(points, 2, generator).flatten().tolist()
        seen[place[first], place[second]] += 1
    squares = (points - points.t()).square()
    wanted = squares / squares.sum(1, keepdim=True) / 3
    error = (wanted * (1 - wanted) / draws).sqrt()
    assert ((seen / draws - wanted).abs() <= 4 * error).all()  # 0 → 1: 0.020, where drawing by distance gives 0.067


def test_spread_start_takes_vectors_and_no_vector_twice():
    points = torch.arange(20.0)[:, None]
    start = spread_start(points, 20)
    assert start.flatten().sort().values.tolist() == points.flatten().tolist()


# ---------------------------------------------------------------- dtypes, metrics, perplexity


def test_autocast_and_bfloat16_choose_the_codes_of_float32():
    torch.manual_seed(0)
    quantizer = VectorQuantizer(64, 16, kmeans_init=False).eval()
    z = (torch.randn(50, 16) + 20).bfloat16()  # off the origin, where bfloat16 products cannot tell codes apart
    quantizer.codebook += 20
    wanted = torch.cdist(z.double(), quantizer.codebook.double()).argmin(1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = quantizer(z)
    assert torch.equal(out.indices, wanted)
    assert torch.equal(quantizer(z).indices, wanted)
    assert out.z_q.dtype == torch.bfloat16 and out.loss.dtype == torch.float32


def test_training_in_bfloat16_keeps_the_running_means_in_float32():
    quantizer = VectorQuantizer(8, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        leaf = torch.randn(64, 4, dtype=torch.bfloat16, requires_grad=True)
        out = quantizer(leaf)
        (out.z_q.float().sum() + out.loss).backward()
    assert leaf.grad.isfinite().all() and leaf.grad.dtype == torch.bfloat16
    assert quantizer.codebook.dtype == quantizer.count.dtype == quantizer.total.dtype == torch.float32


def test_a_quantizer_in_float64_works_in_float64():
    out = VectorQuantizer(8, 4).double()(torch.randn(64, 4, dtype=torch.float64))
    assert out.z_q.dtype == torch.float64


@pytest.mark.parametrize("ema_decay", [None, 0.9])
def test_cosine_codes_have_length_one_whatever_moved_them(ema_decay):
    torch.manual_seed(0)
    quantizer = VectorQuantizer(9, 4, metric="cosine", ema_decay=ema_decay, kmeans_init=False)
    if ema_decay is None:
        with torch.no_grad():
            quantizer.codebook.mul_(torch.linspace(0.1, 30, 9)[:, None])  # as an optimizer might
    z = 10 * torch.randn(40, 4)
    codes = F.normalize(quantizer.codebook.detach(), dim=1)
    out = quantizer(z)
    torch.testing.assert_close(out.z_q.norm(dim=1), torch.ones(40))
    assert torch.equal(out.indices, (F.normalize(z, dim=1) @ codes.t()).argmax(1))
    torch.testing.assert_close(quantizer.lookup(out.indices).norm(dim=1), torch.ones(40))


def test_perplexity_by_hand():
    assert batch_perplexity(torch.tensor([4.0, 2.0, 1.0, 1.0])).item() == pytest.approx(2**1.75)
    assert batch_perplexity(torch.tensor([5.0, 0.0])).item() == pytest.approx(1)


def test_perplexity_agrees_with_that_of_the_metrics(z):
    from vqdiff_edu.metrics import perplexity

    out = VectorQuantizer(7, 4)(z)
    assert out.perplexity.item() == pytest.approx(perplexity(out.indices, 7), rel=1e-5)


def test_processes_add_up_counts_and_share_choices(monkeypatch):
    """Two processes, played by hand: what the other one adds must arrive in the running mean."""
    calls = []
    monkeypatch.setattr(vector_quantizer.dist, "is_available", lambda: True)
    monkeypatch.setattr(vector_quantizer.dist, "is_initialized", lambda: True)
    monkeypatch.setattr(vector_quantizer.dist, "all_reduce", lambda t: t.add_(3.0))
    monkeypatch.setattr(vector_quantizer.dist, "broadcast", lambda t, source: calls.append(source))
    quantizer = VectorQuantizer(2, 1, ema_decay=0.5, kmeans_init=False, revive_below=0.0)
    quantizer.codebook.copy_(torch.tensor([[0.0], [10.0]]))
    quantizer.total.copy_(quantizer.codebook)
    quantizer(torch.tensor([[1.0], [9.0], [9.0]]))
    counts = torch.tensor([[0.5 + 0.5 * (1 + 3)], [0.5 + 0.5 * (2 + 3)]])
    totals = torch.tensor([[0.5 * (1 + 3)], [0.5 * 10 + 0.5 * (18 + 3)]])
    torch.testing.assert_close(quantizer.codebook, totals / counts)
    quantizer.revive(torch.tensor([True, False]), torch.ones(4, 1))
    assert calls == [0]


# ---------------------------------------------------------------- the device is not asked


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("options", [{}, {"ema_decay": None}, {"metric": "cosine"}, {"estimator": "rotation"}], ids=str)
def test_a_quantizer_that_has_started_reads_nothing_back(z, options, training):
    quantizer = VectorQuantizer(7, 4, **options)
    optimizer = torch.optim.AdamW([quantizer.codebook.requires_grad_()], fused=True)
    quantizer.codebook.requires_grad_(quantizer.ema_decay is None)
    quantizer(z)
    quantizer.train(training)
    with Reads() as reads:
        (quantizer(z.requires_grad_()).loss * 2).backward()
        quantizer.after_step(optimizer)
    assert reads.found == []


def test_the_first_batch_may_be_read():
    with Reads() as reads:
        VectorQuantizer(7, 4)(torch.randn(20, 4))
    assert reads.found


def test_a_vector_that_is_not_finite_gives_a_loss_that_is_not_finite(z):
    z[1, 2, 0, 0] = torch.nan
    out = VectorQuantizer(7, 4, kmeans_init=False).eval()(z)
    assert out.loss.isnan() and out.z_q.isnan().any()
