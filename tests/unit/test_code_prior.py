"""Priors over codes: exact likelihoods by enumeration, what a drawn code may depend on, the filters, and the order in which masks are lifted."""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F

from vqdiff_edu.data import digits, to_float
from vqdiff_edu.diffusion.digits import generate
from vqdiff_edu.quantization.code_prior import (
    CodePrior,
    MaskedPrior,
    PriorDigits,
    PriorTask,
    draw_code,
    encode_codes,
    guide,
    hidden_counts,
    hide_labels,
    keep_top_k,
    keep_top_p,
    nats_to_bits,
)
from vqdiff_edu.quantization.vector_quantizer import VectorQuantizer
from vqdiff_edu.quantization.vqvae import VQVAE


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def small(kind=CodePrior, num_codes=3, length=3, **options):
    torch.manual_seed(0)
    model = kind(num_codes, length, **{"num_classes": 2, "dim": 16, "depth": 2, "heads": 2} | options).double().eval()
    model.net.head.weight.data.mul_(2)  # more decided than a fresh network
    return model


@pytest.fixture(scope="module")
def vqvae():
    torch.manual_seed(0)
    return VQVAE(1, 16, VectorQuantizer(12, 8, kmeans_init=False)).eval()


def all_messages(num_codes=3, length=3):
    return torch.tensor(list(itertools.product(range(num_codes), repeat=length)))


# ---------------------------------------------------------------- the likelihood


def test_the_probabilities_of_all_messages_add_up_to_one():
    messages = all_messages()
    for label in range(3):  # 2 is none
        assert torch.isclose(small().nll(messages, torch.full((27,), label)).neg().exp().sum(), torch.tensor(1.0).double())


def test_a_message_is_drawn_as_often_as_its_likelihood_says():
    model, messages, n = small(), all_messages(), 40_000
    p = model.nll(messages, torch.ones(27, dtype=torch.int64)).neg().exp()
    drawn = model.sample([1] * n, generator=seeded(0))
    found = torch.bincount((drawn * torch.tensor([9, 3, 1])).sum(1), minlength=27) / n
    assert ((found - p).abs() < 5 * (p * (1 - p) / n).sqrt()).all()


def test_a_code_is_judged_by_its_label_and_the_codes_before_it_alone():
    model, codes = small(length=6), torch.randint(3, (4, 6), generator=seeded(1))
    label = torch.tensor([0, 1, 0, 1])
    for i in range(6):
        other = codes.clone()
        other[:, i:] = (other[:, i:] + 1) % 3
        assert torch.allclose(model(other, label)[:, :, : i + 1], model(codes, label)[:, :, : i + 1], atol=1e-12)
        if i < 5:
            assert not torch.allclose(model(other, label)[:, :, i + 1], model(codes, label)[:, :, i + 1], atol=1e-4)
    assert not torch.allclose(model(codes, 1 - label)[:, :, 0], model(codes, label)[:, :, 0], atol=1e-4)


def test_fewer_codes_get_the_same_logits():
    model, codes, label = small(length=6), torch.randint(3, (4, 6), generator=seeded(1)), torch.tensor([0, 1, 2, 1])
    assert torch.allclose(model(codes[:, :4], label), model(codes, label)[:, :, :4], atol=1e-12)


def test_the_token_of_a_label_is_no_code():
    assert small().tokens(torch.tensor([[0, 1], [2, 2]]), torch.tensor([2, 0])).tolist() == [[5, 0, 1], [3, 2, 2]]


def test_nats_become_bits():
    assert torch.allclose(nats_to_bits(torch.tensor([math.log(2), math.log(512)])), torch.tensor([1.0, 9.0]))


# ---------------------------------------------------------------- drawing


@pytest.mark.parametrize("options", [{}, {"temperature": 0.7, "top_p": 0.8}, {"top_k": 2}, {"guidance_scale": 1.7}])
def test_the_cache_changes_no_sample(options):
    model, labels = small(num_codes=7, length=9), torch.tensor([0, 1, 2, 1, 0, 0])
    with_cache, without = (model.sample(labels, generator=seeded(3), cached=c, **options) for c in (True, False))
    assert with_cache.shape == (6, 9) and torch.equal(with_cache, without)
    assert not torch.equal(with_cache, model.sample(labels, generator=seeded(4), **options))


@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize("guidance_scale", [1.0, 2.0])
def test_a_prefix_is_kept_and_continued_as_the_model_would(cached, guidance_scale):
    model, labels = small(num_codes=5, length=6), torch.tensor([0, 1, 1])
    whole = model.sample(labels, temperature=0.0, guidance_scale=guidance_scale)
    how = {"temperature": 0.0, "guidance_scale": guidance_scale, "cached": cached}
    for m in (1, 4, 6):
        assert torch.equal(model.sample(labels, prefix=whole[:, :m], **how), whole)
    other = (whole[:, :2] + 1) % 5
    assert torch.equal(model.sample(labels, prefix=other, **how)[:, :2], other)


def test_at_temperature_0_each_code_is_the_likeliest():
    model, labels = small(num_codes=5, length=6), torch.tensor([0, 1])
    codes = model.sample(labels, temperature=0.0)
    assert torch.equal(model(codes, labels).argmax(1), codes)
    for options in ({"top_k": 1}, {"top_p": 1e-6}):
        assert torch.equal(model.sample(labels, generator=seeded(0), **options), codes)


def test_a_temperature_divides_the_logits():
    logits = torch.tensor([[0.0, 1.0, 2.0]]).double().expand(30_000, 3)
    for temperature in (0.5, 2.0):
        share = torch.bincount(draw_code(logits, temperature=temperature, generator=seeded(0)), minlength=3) / 30_000
        assert torch.allclose(share, (torch.tensor([0.0, 1.0, 2.0]) / temperature).softmax(0), atol=0.012)


def test_top_k_keeps_the_k_largest():
    logits = torch.randn(50, 9, generator=seeded(5))
    for k in (1, 4, 9):
        kept = keep_top_k(logits, k)
        assert (kept.isfinite().sum(1) == k).all()
        assert torch.equal(kept[kept.isfinite()], logits[kept.isfinite()])
        dropped = logits.masked_fill(kept.isfinite(), -torch.inf)
        assert (dropped.max(1).values <= kept.masked_fill(~kept.isfinite(), torch.inf).min(1).values).all()


def test_top_p_keeps_the_smallest_set_that_reaches_p():
    logits = 2 * torch.randn(40, 7, generator=seeded(6), dtype=torch.float64)
    shares = logits.softmax(1)
    subsets = torch.tensor(list(itertools.product([0.0, 1.0], repeat=7))).double()
    for p in (0.2, 0.5, 0.9, 0.999):
        reaching = subsets.sum(1).masked_fill(shares @ subsets.T < p, torch.inf)  # [row, subset]
        kept = keep_top_p(logits, p)
        assert torch.equal(kept.isfinite().sum(1).double(), reaching.min(1).values)
        assert torch.equal(kept[kept.isfinite()], logits[kept.isfinite()])
        assert ((shares * kept.isfinite()).sum(1) >= p).all()
    assert torch.equal(keep_top_p(logits, 1.0), logits)


def test_top_p_acts_on_the_tempered_probabilities():
    logits = torch.tensor([[2.0, 1.0, 0.0]]).expand(4000, 3)
    assert set(draw_code(logits, temperature=0.1, top_p=0.9, generator=seeded(0)).tolist()) == {0}
    assert set(draw_code(logits, temperature=4.0, top_p=0.9, generator=seeded(0)).tolist()) == {0, 1, 2}


def test_guidance_goes_on_from_the_unlabelled_through_the_labelled_answer():
    c, u = torch.randn(2, 3, 5, generator=seeded(7))
    both = torch.cat([c, u])
    assert torch.allclose(guide(both, 0.0), u)
    assert torch.allclose(guide(both, 3.0), 3 * c - 2 * u, atol=1e-5)
    assert torch.equal(guide(c, 1.0), c)


def test_guidance_is_towards_the_label_that_was_asked_for():
    model, labels = small(num_codes=5, length=1, num_classes=4), torch.arange(4)
    none = torch.full((4,), 4)
    c, u = (model(torch.zeros(4, 1, dtype=torch.int64), y)[:, :, 0] for y in (labels, none))
    assert torch.equal(model.sample(labels, temperature=0.0, guidance_scale=5.0)[:, 0], (u + 5 * (c - u)).argmax(1))


# ---------------------------------------------------------------- training


def test_a_share_of_the_labels_is_hidden():
    labels = torch.arange(10).repeat(2000)
    hidden = hide_labels(labels, 0.3, 10, seeded(0))
    assert abs((hidden == 10).double().mean() - 0.3) < 0.015
    assert torch.equal(hidden[hidden != 10], labels[hidden != 10])
    assert torch.equal(hide_labels(labels, 0.0, 10), labels)


def test_the_loss_of_a_prior_is_its_length_in_nats_with_labels_hidden():
    codes, labels = all_messages(), torch.arange(27) % 2
    assert torch.equal(small().loss(codes, labels), small().nll(codes, labels))
    always = small(label_dropout=1.0)
    assert torch.equal(always.loss(codes, labels, seeded(0)), always.nll(codes, torch.full((27,), 2)))


@pytest.mark.parametrize("kind", [CodePrior, MaskedPrior])
def test_a_few_steps_lower_the_loss(kind):
    model = small(kind, num_codes=8, length=6, label_dropout=0.1).float().train()
    codes = torch.arange(6).expand(20, 6)
    batch, task = {"codes": codes, "label": torch.arange(20) % 2}, PriorTask(model)
    optimizer, losses = torch.optim.Adam(model.parameters(), 1e-2), []
    for step in range(30):
        loss, _ = task.loss(batch, seeded(step))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]


# ---------------------------------------------------------------- masks


def test_the_schedule_by_hand():
    assert hidden_counts(49, 8) == [48, 45, 40, 34, 27, 18, 9, 0]
    assert hidden_counts(4, 2) == [2, 0]
    assert hidden_counts(5, 1) == [0]


@pytest.mark.parametrize("steps", [1, 2, 5, 12, 30, 49])
def test_each_step_reveals_something_and_the_last_leaves_nothing(steps):
    counts = [49, *hidden_counts(49, steps)]
    assert len(counts) == steps + 1 and counts[-1] == 0
    assert all(before > after for before, after in zip(counts, counts[1:]))


def test_the_loss_of_masks_is_a_mean_over_hidden_codes():
    model = small(MaskedPrior, num_codes=4, length=5)
    model.net.head.weight.data.zero_()
    model.net.head.bias.data.zero_()
    codes, labels = torch.randint(4, (300, 5), generator=seeded(0)), torch.zeros(300, dtype=torch.int64)
    uniform = model.loss(codes, labels, seeded(1))
    assert torch.allclose(uniform, torch.full_like(uniform, math.log(4)))


def test_masks_hide_as_much_as_the_cosine_says_and_only_hidden_codes_count():
    model, seen = small(MaskedPrior, num_codes=4, length=20), []
    codes, labels = torch.randint(4, (4000, 20), generator=seeded(0)), torch.zeros(4000, dtype=torch.int64)
    forward = model.forward
    model.forward = lambda c, y: (seen.append(c), forward(c, y))[1]
    loss = model.loss(codes, labels, seeded(1))
    hidden = seen[0] == 4
    assert torch.equal(seen[0][~hidden], codes[~hidden])
    assert hidden.sum(1).min() >= 1
    assert abs(hidden.double().mean() - (2 / math.pi + 0.5 / 20)) < 0.015  # the mean of a cosine; rounding up adds half a code
    assert (hidden.double().mean(0) - hidden.double().mean()).abs().max() < 0.04  # no place is preferred
    nats = F.cross_entropy(forward(seen[0], labels), codes, reduction="none")
    assert torch.allclose(loss, torch.stack([row[h].mean() for row, h in zip(nats, hidden)]))


def test_a_hidden_code_is_judged_by_all_that_are_not():
    model, codes, label = small(MaskedPrior, num_codes=4, length=5), torch.tensor([[0, 1, 4, 2, 3]]), torch.tensor([1])
    for place in (0, 4):
        other = codes.clone()
        other[0, place] = 1 + place // 4
        assert not torch.allclose(model(other, label)[0, :, 2], model(codes, label)[0, :, 2], atol=1e-4)


def test_a_step_keeps_what_is_known_and_the_most_confident_of_the_rest():
    model, labels = small(MaskedPrior, num_codes=6, length=8), torch.tensor([0, 1])
    codes = torch.full((2, 8), 6)
    codes[:, 3] = 5
    logits = model(codes, labels)
    after = model.reveal(codes, labels, 4, temperature=0.0)
    assert (after == 6).sum(1).tolist() == [4, 4] and (after[:, 3] == 5).all()
    best, which = logits.log_softmax(1).max(1)
    best[:, 3] = torch.inf
    for row in range(2):
        kept = best[row].argsort(descending=True)[:4]
        assert set(kept.tolist()) == set((after[row] != 6).nonzero().flatten().tolist())
        assert all(after[row, i] == which[row, i] for i in kept.tolist() if i != 3)


def test_noise_in_the_choice_is_gumbel_noise():
    """With noise s the place that is kept is drawn in proportion to exp(confidence / s)."""
    model, n = small(MaskedPrior, num_codes=6, length=4), 20_000
    codes, labels = torch.full((n, 4), 6), torch.zeros(n, dtype=torch.int64)
    confidence = model(codes[:1], labels[:1]).log_softmax(1).max(1).values[0]
    for noise in (0.3, 2.0):
        after = model.reveal(codes, labels, 3, noise=noise, temperature=0.0, generator=seeded(2))
        share = (after != 6).double().mean(0)
        assert torch.allclose(share, (confidence / noise).softmax(0), atol=0.015)


@pytest.mark.parametrize("options", [{}, {"num_inference_steps": 1}, {"choice_temperature": 0.0, "guidance_scale": 1.5}, {"top_p": 0.9}])
def test_in_the_end_nothing_is_hidden(options):
    model = small(MaskedPrior, num_codes=6, length=9)
    drawn, again = (model.sample([0, 1, 2], generator=seeded(1), **options) for _ in range(2))
    assert drawn.shape == (3, 9) and drawn.max() < 6 and torch.equal(drawn, again)


def test_in_one_step_codes_do_not_know_of_each_other():
    model, n = small(MaskedPrior, num_codes=3, length=2), 30_000
    p = model(torch.full((1, 2), 3), torch.tensor([1])).softmax(1)[0]  # [code, place]
    drawn = model.sample([1] * n, num_inference_steps=1, generator=seeded(0))
    found = torch.bincount(drawn @ torch.tensor([3, 1]), minlength=9).view(3, 3) / n
    assert torch.allclose(found.double(), torch.outer(p[:, 0], p[:, 1]), atol=0.012)


# ---------------------------------------------------------------- pictures


def test_codes_are_read_line_by_line(vqvae):
    images = digits("train", "stand-in").images[:5]
    codes = encode_codes(vqvae, images)
    assert codes.shape == (5, 49) and codes.dtype == torch.int64
    assert torch.equal(codes.view(5, 7, 7), vqvae.encode(to_float(images)))
    assert torch.equal(encode_codes(vqvae, images, batch_size=2), codes)


def pipeline(vqvae, kind=CodePrior, **options):
    torch.manual_seed(0)
    return PriorDigits(kind(12, dim=16, depth=1, heads=2, **options), vqvae).eval()


@pytest.mark.parametrize("kind", [CodePrior, MaskedPrior])
def test_digits_are_drawn_from_labels_and_a_seed(vqvae, kind):
    drawer = pipeline(vqvae, kind)
    first, again = (drawer([3, 1, 4], generator=seeded(1)) for _ in range(2))
    assert first.shape == (3, 1, 28, 28) and first.abs().max() <= 1
    assert torch.equal(first, again) and not torch.equal(first, drawer([3, 1, 4], generator=seeded(2)))
    assert torch.equal(generate(drawer, [3, 1, 4], generator=seeded(1)), first)


def test_the_picture_is_that_of_the_codes(vqvae):
    drawer = pipeline(vqvae)
    codes = drawer.model.sample([5, 6], generator=seeded(3))
    assert torch.equal(drawer([5, 6], generator=seeded(3)), vqvae.decode(codes.view(2, 7, 7)).clamp(-1, 1))


def test_settings_come_from_the_card_unless_given(vqvae):
    drawer = pipeline(vqvae)
    plain = drawer([5, 6], generator=seeded(3))
    drawer.card = {"sampling": {"temperature": 0.0}}
    likeliest = drawer([5, 6], generator=seeded(3))
    assert torch.equal(likeliest, drawer.paint(drawer.model.sample([5, 6], temperature=0.0)))
    assert torch.equal(drawer([5, 6], generator=seeded(3), temperature=1.0), plain)
    masked = pipeline(vqvae, MaskedPrior)
    masked.card = {"sampling": {"num_inference_steps": 3}}
    assert torch.equal(masked([5], generator=seeded(3)), masked([5], 3, generator=seeded(3)))
    assert not torch.equal(masked([5], generator=seeded(3)), masked([5], 5, generator=seeded(3)))


def test_the_vqvae_is_a_part_of_the_pipeline_and_not_of_what_is_trained(vqvae):
    drawer = pipeline(vqvae)
    assert any(key.startswith("vqvae.") for key in drawer.state_dict())
    assert not any("vqvae" in key or "decoder" in key for key in drawer.model.state_dict())
    assert not any(p.requires_grad for p in drawer.vqvae.parameters())
