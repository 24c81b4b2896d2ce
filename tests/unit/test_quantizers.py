"""All quantizers under one table of tests: codes and vectors belong together, each receiver gets its gradient, and nothing depends on precision."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F

from vqdiff_edu.metrics import perplexity
from vqdiff_edu.quantization import quantizers
from vqdiff_edu.quantization.quantizers import FSQ, LFQ, GumbelQuantizer, ResidualVQ, SimVQ, grid_codes, pattern_chances
from vqdiff_edu.quantization.vector_quantizer import VectorQuantizer
from vqdiff_edu.quantization.vqvae import VQVAE

from ..reads import Reads

MAKE = {
    "vector": lambda: VectorQuantizer(24, 6),
    "fsq": lambda: FSQ([4, 3, 2]),
    "lfq": lambda: LFQ(5),
    "sim": lambda: SimVQ(24, 6),
    "gumbel": lambda: GumbelQuantizer(24, 6),
    "residual": lambda: ResidualVQ(4, 6, 3),
}
NEW = [name for name in MAKE if name != "vector"]
every_quantizer = pytest.mark.parametrize("name", MAKE)
every_new_quantizer = pytest.mark.parametrize("name", NEW)


def make(name, training=False):
    torch.manual_seed(0)
    quantizer = MAKE[name]()
    latents(quantizer)
    if name in ("vector", "residual"):
        quantizer(latents(quantizer))  # has its start
    return quantizer.train(training)


def latents(quantizer, space=(3, 4), n=8, seed=1):
    return torch.randn(n, quantizer.embedding_dim, *space, generator=torch.Generator().manual_seed(seed))


# ---------------------------------------------------------------- one interface


@every_quantizer
def test_what_is_decoded_is_what_was_quantized(name):
    quantizer = make(name)
    out = quantizer(latents(quantizer))
    torch.testing.assert_close(quantizer.lookup(out.indices), out.z_q, atol=1e-6, rtol=0)
    assert out.indices.dtype == torch.int64 and 0 <= int(out.indices.min()) and int(out.indices.max()) < quantizer.num_embeddings


@every_quantizer
@pytest.mark.parametrize("space", [(), (5,), (2, 3), (2, 3, 2)])
def test_any_number_of_space_axes(name, space):
    quantizer = make(name)
    out = quantizer(latents(quantizer, space))
    levels = (3,) if name == "residual" else ()
    assert out.z_q.shape == (8, quantizer.embedding_dim, *space) and out.indices.shape == (8, *space, *levels)


@every_quantizer
@pytest.mark.parametrize("training", [False, True])
def test_a_vector_is_quantized_where_it_stands(name, training):
    """Positions are independent: the same vectors in another order get the same codes."""
    quantizer = make(name, training and name != "gumbel")
    z = latents(quantizer, (12,))
    order = torch.randperm(12)
    assert torch.equal(copy.deepcopy(quantizer)(z[:, :, order]).indices, quantizer(z).indices[:, order])


@every_quantizer
def test_perplexity_is_that_of_the_codes_of_the_batch(name):
    quantizer = make(name)
    out = quantizer(latents(quantizer))
    levels = out.indices.unbind(-1) if name == "residual" else [out.indices]
    found = [perplexity(level, quantizer.num_embeddings) for level in levels]
    assert out.perplexity.item() == pytest.approx(sum(found) / len(found), rel=1e-5)


@every_quantizer
def test_evaluation_moves_nothing_and_draws_nothing(name):
    quantizer = make(name)
    before, state = copy.deepcopy(quantizer.state_dict()), torch.get_rng_state()
    first, second = quantizer(latents(quantizer)), quantizer(latents(quantizer))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first.z_q, second.z_q) and torch.equal(first.indices, second.indices)
    assert all(torch.equal(before[key], value) for key, value in quantizer.state_dict().items())


@every_quantizer
def test_a_stored_quantizer_comes_back(name):
    quantizer, fresh = make(name), MAKE[name]()
    fresh.load_state_dict(quantizer.state_dict())
    z = latents(quantizer)
    assert torch.equal(fresh.eval()(z).indices, quantizer(z).indices)


@every_quantizer
def test_it_fits_into_the_vqvae(name):
    torch.manual_seed(0)
    model = VQVAE(1, 16, MAKE[name](), downsample=4, blocks=2)
    x = torch.rand(4, 1, 12, 12) * 2 - 1
    out = model(x)
    out.loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.encoder.parameters())
    codes = model.eval().encode(x)
    assert torch.equal(codes, model.quantizer(model.encode_latents(x)).indices)
    assert model.decode(codes).shape == x.shape


# ---------------------------------------------------------------- gradients

STRAIGHT = {
    "fsq": lambda z: 1 - z.tanh() ** 2,
    "lfq": torch.ones_like,
    "sim": torch.ones_like,
    "residual": torch.ones_like,
    "vector": torch.ones_like,
}


@pytest.mark.parametrize("name", STRAIGHT)
@pytest.mark.parametrize("training", [False, True])
def test_the_encoder_gets_the_gradient_at_the_code_once(name, training):
    quantizer = make(name, training)
    z = latents(quantizer).requires_grad_()
    out = quantizer(z)
    (out.z_q**3).sum().backward()
    torch.testing.assert_close(z.grad, STRAIGHT[name](z.detach()) * 3 * out.z_q.detach() ** 2, atol=1e-5, rtol=1e-5)
    learned = [p.grad for p in quantizer.parameters()]
    assert all(grad is None for grad in learned)  # straight-through hands the codes nothing


def test_gumbel_hands_the_reconstruction_to_logits_and_codes():
    quantizer = make("gumbel", training=True)
    z = latents(quantizer).requires_grad_()
    out = quantizer(z)
    (out.z_q**3).sum().backward()
    won = torch.bincount(out.indices.flatten(), minlength=24) > 0
    assert z.grad.abs().sum() > 0 and quantizer.to_logits.weight.grad.abs().sum() > 0
    moved = quantizer.codebook.grad.abs().sum(1) > 0
    assert torch.equal(moved, won)  # the codebook learns where a code was drawn


def receivers(name):
    """Which of z_e and the parameters get a gradient from the quantizer's own loss."""
    quantizer = make(name, training=True)
    z = latents(quantizer).requires_grad_()
    loss = quantizer(z).loss
    if not loss.requires_grad:
        return set()
    loss.backward()
    named = {"z": z.grad} | {key: p.grad for key, p in quantizer.named_parameters()}
    return {key for key, grad in named.items() if grad is not None and grad.abs().sum() > 0}


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("fsq", set()),
        ("lfq", {"z"}),
        ("sim", {"z", "map.weight", "map.bias"}),
        ("gumbel", {"z", "to_logits.weight", "to_logits.bias"}),
        ("residual", {"z"}),
        ("vector", {"z"}),
    ],
)
def test_who_learns_from_the_quantizers_own_loss(name, wanted):
    assert receivers(name) == wanted


# ---------------------------------------------------------------- precision


@every_quantizer
@pytest.mark.parametrize("how", ["input", "autocast"])
def test_half_precision_chooses_the_codes_of_its_own_numbers(name, how):
    """Codes of a bfloat16 latent are those of the same numbers in float32, and autocast changes nothing."""
    quantizer = make(name)
    z = latents(quantizer).bfloat16() if how == "input" else latents(quantizer)
    wanted = quantizer(z.float())
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=how == "autocast"):
        out = quantizer(z)
    assert torch.equal(out.indices, wanted.indices)
    assert out.z_q.dtype == z.dtype and out.loss.dtype == torch.float32
    torch.testing.assert_close(out.loss, wanted.loss)
    torch.testing.assert_close(out.z_q.float(), wanted.z_q, atol=0.02, rtol=0.01)


@every_quantizer
def test_float64_stays_float64(name):
    quantizer = make(name).double()
    assert quantizer(latents(quantizer).double()).z_q.dtype == torch.float64


def test_fsq_in_bfloat16_reaches_all_codes():
    """Codes computed in bfloat16 itself would miss some (vector-quantize-pytorch, issue 114)."""
    quantizer = FSQ([8, 8, 8])
    z = torch.atanh(0.98 * quantizer.codebook).bfloat16()
    assert quantizer(z).indices.tolist() == list(range(512))


@every_quantizer
@pytest.mark.parametrize("training", [False, True])
def test_nothing_is_read_back_from_the_device(name, training):
    quantizer = make(name, training)
    z = latents(quantizer).requires_grad_()
    quantizer(z)
    with Reads() as reads:
        out = quantizer(z)
        (out.z_q.square().sum() + out.loss).backward()
    assert reads.found == []


@every_quantizer
def test_a_latent_that_is_not_finite_is_passed_on_to_the_loss_or_the_picture(name):
    quantizer = make(name)
    z = latents(quantizer)
    z[1, 2, 0, 0] = torch.nan
    out = quantizer(z)
    assert out.loss.isnan() or out.z_q[1, :, 0, 0].isnan().any()
    assert not out.z_q[0].isnan().any()


# ---------------------------------------------------------------- finite scalar quantization


def test_fsq_by_hand():
    """tanh z = 0.6 on three levels rounds to 1, on four levels -1, -1/3, 1/3, 1 to 1/3."""
    z = torch.atanh(torch.tensor([[0.6, 0.6], [-0.1, -0.1]]))
    out = FSQ([3, 4])(z)
    torch.testing.assert_close(out.z_q, torch.tensor([[1.0, 1 / 3], [0.0, -1 / 3]]))
    assert out.indices.tolist() == [2 + 3 * 2, 1 + 3 * 1]


def test_fsq_moved_to_bfloat16_as_a_whole_counts_as_before():
    """Weights of a module may be halved; what a digit is worth in the index must not be rounded with them."""
    quantizer = FSQ([7, 5, 5, 5, 5])
    z = torch.atanh(0.98 * quantizer.codebook)
    assert torch.equal(quantizer(z.bfloat16()).indices, quantizer.bfloat16()(z.bfloat16()).indices)


@pytest.mark.parametrize("levels", [[2], [3, 2], [5, 4, 3], [8, 8, 8]])
def test_fsq_codes_and_indices_are_in_bijection(levels):
    quantizer, k = FSQ(levels), math.prod(levels)
    codes = quantizer.lookup(torch.arange(k))
    assert len(codes.unique(dim=0)) == k == quantizer.num_embeddings
    assert quantizer(torch.atanh(codes * (1 - 1e-4))).indices.tolist() == list(range(k))
    for axis, n in enumerate(levels):
        torch.testing.assert_close(codes[:, axis].unique(), torch.linspace(-1, 1, n))


def test_fsq_takes_the_nearest_of_its_codes_to_the_squeezed_vector():
    quantizer = FSQ([5, 4, 3])
    z = 2 * torch.randn(500, 3)
    nearest = torch.cdist(z.tanh(), quantizer.codebook).argmin(1)
    assert torch.equal(quantizer(z).indices, nearest)


# ---------------------------------------------------------------- lookup-free quantization


def test_lfq_is_the_sign_and_its_index_counts_bits():
    out = LFQ(3)(torch.tensor([[0.2, -3.0, 0.1], [-0.1, 5.0, -1.0]]))
    assert out.z_q.tolist() == [[1, -1, 1], [-1, 1, -1]] and out.indices.tolist() == [5, 2]


@pytest.mark.parametrize("dim", [1, 2, 5, 9])
@pytest.mark.parametrize("temperature", [0.3, 1.0])
def test_lfq_entropies_are_those_of_the_whole_table(dim, temperature):
    quantizer = LFQ(dim, temperature=temperature)
    z = torch.randn(40, dim, dtype=torch.float64).requires_grad_()
    doubt, spread = quantizer.entropies(z)
    beliefs = (-torch.cdist(z, quantizer.codebook.double()).square() / temperature).softmax(1)  # [n, 2^dim]
    entropy = lambda p: torch.special.entr(p.clamp_min(1e-300)).sum(-1)  # noqa: E731
    torch.testing.assert_close(doubt, entropy(beliefs).mean())
    torch.testing.assert_close(spread, entropy(beliefs.mean(0)))
    mine, theirs = (
        torch.autograd.grad(d - s, z, retain_graph=True)[0]
        for d, s in ((doubt, spread), (entropy(beliefs).mean(), entropy(beliefs.mean(0))))
    )
    torch.testing.assert_close(mine, theirs, atol=1e-9, rtol=1e-5)


def test_pattern_chances_by_hand():
    table = pattern_chances(torch.tensor([[0.25, 0.5]]))
    torch.testing.assert_close(table, torch.tensor([[0.375, 0.125, 0.375, 0.125]]))


def test_lfq_entropy_stays_finite_for_sure_vectors():
    z = (1000 * torch.randn(50, 9)).requires_grad_()
    loss = LFQ(9)(z).loss
    loss.backward()
    assert loss.isfinite() and z.grad.isfinite().all()


@pytest.mark.parametrize("weight", [0.0, 0.7])
def test_lfq_loss_is_commitment_plus_weighted_entropies(weight):
    quantizer, z = LFQ(4, entropy_weight=weight, commitment_cost=0.3), torch.randn(30, 4)
    out = quantizer(z)
    doubt, spread = quantizer.entropies(z)
    torch.testing.assert_close(out.loss, 0.3 * F.mse_loss(z, z.sign()) + weight * (doubt - spread))


# ---------------------------------------------------------------- a linear map


def test_simvq_moves_every_code_if_one_is_won():
    quantizer = make("sim", training=True)
    z = quantizer.codes()[3].detach().expand(5, 6) + 0.1
    out = quantizer(z)
    assert set(out.indices.tolist()) == {3}
    before = quantizer.codes().detach()
    out.loss.backward()
    torch.optim.SGD(quantizer.parameters(), lr=0.1).step()
    moved = (quantizer.codes() - before).norm(dim=1)
    assert (moved > 0).all() and quantizer.drawn.grad is None


def test_simvq_with_the_identity_is_a_gradient_codebook():
    quantizer = make("sim")
    with torch.no_grad():
        quantizer.map.weight.copy_(torch.eye(6))
        quantizer.map.bias.zero_()
    plain = VectorQuantizer(24, 6, ema_decay=None, kmeans_init=False).eval()
    with torch.no_grad():
        plain.codebook.copy_(quantizer.drawn)
    z = latents(quantizer)
    mine, its = quantizer(z), plain(z)
    assert torch.equal(mine.indices, its.indices)
    torch.testing.assert_close(mine.loss, its.loss)


# ---------------------------------------------------------------- Gumbel


def test_gumbel_draws_follow_the_softmax_while_training_and_the_largest_logit_afterwards():
    quantizer = GumbelQuantizer(5, 3, generator=torch.Generator().manual_seed(0))
    z = torch.randn(1, 3).expand(20_000, 3)
    p = quantizer.to_logits(z[:1]).softmax(1)[0].detach()
    share = torch.bincount(quantizer(z).indices, minlength=5) / 20_000
    assert ((share - p).abs() < 4.5 * (p * (1 - p) / 20_000).sqrt()).all()
    assert (quantizer.eval()(z).indices == p.argmax()).all()


def test_gumbel_value_is_a_code_and_its_noise_comes_from_the_generator():
    draw = lambda seed: GumbelQuantizer(24, 6, generator=torch.Generator().manual_seed(seed))  # noqa: E731
    torch.manual_seed(0)
    first = draw(1)
    again, other = copy.deepcopy(first), copy.deepcopy(first)
    again.generator, other.generator = torch.Generator().manual_seed(1), torch.Generator().manual_seed(2)
    z, state = latents(first), torch.get_rng_state()
    out = first(z)
    assert torch.equal(torch.get_rng_state(), state)
    torch.testing.assert_close(out.z_q, first.lookup(out.indices), atol=1e-6, rtol=0)
    assert torch.equal(out.indices, again(z).indices) and not torch.equal(out.indices, other(z).indices)


def test_gumbel_loss_is_the_divergence_from_even_use():
    quantizer = make("gumbel")
    z = latents(quantizer)
    log_p = quantizer.to_logits(z.movedim(1, -1)).log_softmax(-1)
    uniform = torch.full_like(log_p, 1 / 24)
    wanted = F.kl_div(uniform.log(), log_p, log_target=True, reduction="none").sum(-1).mean()
    torch.testing.assert_close(quantizer(z).loss, 5e-4 * wanted)


# ---------------------------------------------------------------- stages


def test_residual_stages_by_explicit_loops():
    quantizer = make("residual")
    z = latents(quantizer, ())
    out = quantizer(z)
    for vector, indices in zip(z, out.indices):
        left = vector.clone()
        for stage, index in zip(quantizer.stages, indices):
            distances = [(left - code).square().sum() for code in stage.codebook]
            assert int(index) == min(range(4), key=distances.__getitem__)
            left = left - stage.codebook[index]
        torch.testing.assert_close(quantizer.lookup(indices[None])[0], vector - left)


def test_fewer_levels_decode_coarser():
    quantizer = ResidualVQ(16, 2, 4)
    z = torch.randn(2000, 2)
    for _ in range(30):
        quantizer(z)
    indices = quantizer.eval()(z).indices
    errors = [F.mse_loss(quantizer.lookup(indices[:, :n]), z).item() for n in (1, 2, 3, 4)]
    assert all(later < 0.6 * earlier for earlier, later in zip(errors, errors[1:]))


def test_one_stage_is_the_vector_quantizer():
    torch.manual_seed(0)
    one = ResidualVQ(9, 4, 1, kmeans_init=False)
    plain = copy.deepcopy(one.stages[0])
    z = torch.randn(50, 4)
    mine, its = one(z), plain(z)
    assert torch.equal(mine.indices[:, 0], its.indices) and torch.equal(mine.z_q, its.z_q) and torch.equal(mine.loss, its.loss)
    assert torch.equal(one.stages[0].codebook, plain.codebook)


def test_the_stages_losses_add_up_and_all_pull_the_encoder():
    quantizer = make("residual")
    z = latents(quantizer, ()).requires_grad_()
    loss = quantizer(z).loss
    left, wanted = z.detach(), 0.0
    for stage in quantizer.stages:
        code = stage(left).z_q
        wanted = wanted + 0.25 * 2 / z.numel() * (left - code)
        left = left - code
    torch.testing.assert_close(torch.autograd.grad(loss, z)[0], wanted)


def test_dropout_decodes_from_a_random_number_of_first_levels():
    torch.manual_seed(0)
    quantizer = ResidualVQ(4, 6, 3, dropout=True, kmeans_init=False, revive_below=0.0, generator=torch.Generator().manual_seed(3))
    z = torch.randn(300, 6, 2)
    before = copy.deepcopy(quantizer).eval()
    out = quantizer(z)
    depths = torch.stack([before.lookup(out.indices[..., :n]) for n in (1, 2, 3)])  # the codes that were used
    same = (depths - out.z_q).abs().amax((2, 3)) < 1e-5  # [depth, batch]
    assert same.any(0).all() and (same.sum(1) > 70).all()
    still = quantizer.eval()(z)
    torch.testing.assert_close(still.z_q, quantizer.lookup(still.indices))


# ---------------------------------------------------------------- small parts


def test_the_first_axis_of_a_grid_changes_fastest():
    assert grid_codes([3, 2]).tolist() == [[-1, -1], [0, -1], [1, -1], [-1, 1], [0, 1], [1, 1]]


@every_new_quantizer
def test_processes_add_up_their_counts_while_training_only(name, monkeypatch):
    """A second process with the same batch, played by hand, leaves the perplexity as it is, and is asked only in training."""
    calls = []

    def both(tensor):
        calls.append(1)
        return tensor.mul_(2)

    quantizer = make(name)
    alone = quantizer(latents(quantizer)).perplexity
    for module in (quantizers, __import__("vqdiff_edu.quantization.vector_quantizer", fromlist=["x"])):
        monkeypatch.setattr(module, "sum_over_processes", both)
    quantizer(latents(quantizer))
    assert not calls
    if name == "gumbel":
        return  # its draws differ
    together = quantizer.train()(latents(quantizer))
    assert calls and together.perplexity.item() == pytest.approx(alone.item(), rel=1e-5)
