"""Fusion: the rule against a listed world, noise of the power it says, what each answer may depend on, and a transformer that reads in both orders."""

import math

import pytest
import torch
import torch.nn.functional as F

from vqdiff_edu.crossmodal.audio import speech
from vqdiff_edu.crossmodal.fusion import (
    SIGMAS,
    SNRS,
    Answers,
    DigitFusion,
    FusionTask,
    PairBatches,
    SceneBoth,
    SceneBothTask,
    calibration_error,
    draw_pairs,
    fit_temperature,
    fusion_data,
    grid_answers,
    grouped_interval,
    noisy_pictures,
    noisy_voices,
    product_of_grid,
    product_of_posteriors,
    scene_nats,
    scene_pool,
    write_on,
)
from vqdiff_edu.data import digits


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def batch(n=4, seed=0):
    generator = seeded(seed)
    images = torch.randint(256, (n, 1, 28, 28), generator=generator, dtype=torch.uint8)
    samples = 0.1 * torch.randn(n, 6000, generator=generator)
    lengths = torch.tensor([6000, 5000, 4000, 3000])[:n]
    return {"image": images, "samples": samples, "length": lengths, "label": torch.arange(n)}


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return DigitFusion(eye=(4, 4, 4, 4), ear=(4, 4, 4), dim=8, hidden=8).eval()


# ---------------------------------------------------------------- the rule


def world(sources=3, labels=4, seed=0):
    """A prior, what each of several sources says given the label, and by listing every case the true posterior and each source's own."""
    generator = seeded(seed)
    prior = torch.randn(labels, generator=generator, dtype=torch.float64).softmax(0)
    given = [(2 * torch.randn(labels, 2 + i, generator=generator, dtype=torch.float64)).softmax(1) for i in range(sources)]
    joint = prior
    for table in given:
        joint = joint[..., None] * table.view(labels, *[1] * (joint.ndim - 1), -1)
    truth = (joint / joint.sum(0)).movedim(0, -1)
    own = []
    for i, table in enumerate(given):
        posterior = prior[:, None] * table
        shape = [1] * sources
        shape[i] = -1
        own.append((posterior / posterior.sum(0)).T.view(*shape, labels).expand_as(truth))
    return prior, torch.stack(own), truth


@pytest.mark.parametrize("sources", [1, 2, 3])
def test_the_product_is_the_posterior_of_a_listed_world(sources):
    prior, own, truth = world(sources)
    assert torch.allclose(product_of_posteriors(own.log(), prior.log()).exp(), truth, atol=1e-12)


def test_sources_that_know_nothing_give_the_prior():
    prior = torch.tensor([0.9, 0.1], dtype=torch.float64)
    said = product_of_posteriors(prior.log().expand(5, 3, 2), prior.log())
    assert torch.allclose(said.exp(), prior.expand(3, 2), atol=1e-12)


def test_a_grid_pairs_every_picture_noise_with_every_voice_noise():
    logits = torch.randn(2, 5, 10, generator=seeded(1)), torch.randn(3, 5, 10, generator=seeded(2))
    said = Answers(*(x.log_softmax(-1) for x in logits), torch.zeros(2, 3, 5, 10))
    product = product_of_grid(said, (2.0, 0.5))
    by_hand = (logits[0][1] / 2 + logits[1][2] / 0.5).log_softmax(-1)  # an even prior drops out
    assert product.shape == (2, 3, 5, 10)
    assert torch.allclose(product[1, 2], by_hand, atol=1e-5)
    log_prior = torch.arange(10.0).log_softmax(0)
    assert torch.allclose(
        product_of_grid(said, log_prior=log_prior)[1, 2], (logits[0][1] + logits[1][2] - log_prior).log_softmax(-1), atol=1e-5
    )


# ---------------------------------------------------------------- noise


def test_pictures_get_noise_of_their_own_deviation():
    images, sigma = torch.zeros(3, 1, 28, 28), torch.tensor([0.0, 1.0, 3.0])
    found = torch.stack([noisy_pictures(images, sigma, seeded(i)) for i in range(20)]).std((0, 2, 3, 4))
    assert torch.allclose(found, sigma, rtol=0.03)


@pytest.mark.parametrize("snr", [10.0, 0.0, -20.0])
def test_the_noise_under_a_voice_has_the_power_it_says(snr):
    sound = torch.sin(torch.arange(8000) * 0.3)[None] * torch.tensor([[0.01], [0.8]])
    noise = noisy_voices(sound, torch.full((2,), snr), seeded(0)) - noisy_voices(sound, torch.full((2,), 300.0), seeded(0))
    clean = noisy_voices(sound, torch.full((2,), 300.0), seeded(0))
    ratio = 10 * torch.log10(clean.square().mean(1) / noise.square().mean(1))
    assert torch.allclose(ratio, torch.full((2,), snr), atol=0.2)


# ---------------------------------------------------------------- the network


def test_each_answer_depends_on_what_it_was_given_alone(net):
    images, sound = torch.randn(3, 1, 28, 28, generator=seeded(3)), torch.randn(3, 8000, generator=seeded(4))
    seen, heard = net.see(images), net.hear(sound)
    assert torch.equal(net(images), net.eye.head(seen))
    assert torch.equal(net(sound=sound), net.ear.head(heard))
    assert torch.equal(net(images, sound), net.decide(seen, heard))
    assert not torch.allclose(net(images, sound), net(images, torch.sin(torch.arange(8000.0)).expand(3, -1)), rtol=0, atol=1e-6)
    assert not torch.allclose(net(images, sound), net(images.flip(0), sound), rtol=0, atol=1e-6)


def test_contrast_and_loudness_do_not_matter(net):
    images, sound = torch.randn(3, 1, 28, 28, generator=seeded(3)), torch.randn(3, 8000, generator=seeded(4))
    assert torch.allclose(net(images), net(3 * images + 1), atol=1e-4)
    assert torch.allclose(net(sound=sound), net(sound=0.1 * sound), atol=1e-3)


def test_the_loss_is_the_sum_of_the_answers_asked_for(net):
    total, parts = FusionTask(net).loss(batch(), seeded(5))
    assert set(parts) == {"image", "voice", "both"}
    assert torch.isclose(total, sum(parts.values()))
    alone, single = FusionTask(net, ("image",)).loss(batch(), seeded(5))
    assert torch.isclose(alone, parts["image"]) and set(single) == {"image"}


def test_without_the_fused_answer_its_layers_learn_nothing(net):
    FusionTask(net, ("image", "voice")).loss(batch(), seeded(5))[0].backward()
    assert all(p.grad is None for p in net.both.parameters())
    assert all(p.grad is not None for p in net.eye.parameters())
    net.zero_grad(set_to_none=True)


def test_training_noise_reaches_over_the_whole_range(net):
    few = batch(4)
    sigma = torch.stack([FusionTask(net).corrupt(few, seeded(i))[0].flatten(1).std(1) for i in range(60)]).flatten()
    assert sigma.min() < 1.0 and 3.5 < sigma.max() < 4.3


# ---------------------------------------------------------------- data


def test_pairs_name_the_same_digit_and_a_batch_depends_on_its_index_alone():
    data, recordings = digits("test", "stand-in"), speech("test", "stand-in")
    batches = PairBatches(data, recordings, 16, seed=3)
    first = batches.at(7)
    again = PairBatches(data, recordings, 16, seed=3).at(7)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["image"], batches.at(8)["image"])
    for sound, length, label in zip(first["samples"], first["length"], first["label"]):
        same = (recordings.samples == sound).all(1) & (recordings.lengths == length)
        assert label in recordings.labels[same]


def test_validation_shares_nothing_with_training():
    (a, train), (b, held) = fusion_data("train", source="stand-in"), fusion_data("validation", source="stand-in")
    assert len(a) + len(b) == len(digits("train", "stand-in"))
    assert set(train.takes.tolist()).isdisjoint(held.takes.tolist()) and (held.takes % 10 == 9).all()
    assert held.labels.unique().tolist() == list(range(10))


def test_every_recording_gets_its_pictures_and_no_picture_comes_twice():
    data, recordings = digits("test", "stand-in"), speech("test", "stand-in")
    few = recordings.subset(torch.arange(0, len(recordings), 10))
    pairs = draw_pairs(data, few, 3, seeded(0))
    assert pairs.recording.bincount().tolist() == [3] * len(few)
    assert torch.equal(pairs.labels, few.labels[pairs.recording])
    assert len(pairs.images.flatten(1).unique(dim=0)) > 0.97 * len(pairs.images)  # few stand-in digits are drawn alike


def test_the_grid_holds_the_answers_of_the_network(net):
    data, recordings = digits("test", "stand-in"), speech("test", "stand-in")
    pairs = draw_pairs(data, recordings.subset(torch.arange(3)), 2, seeded(0))
    said = grid_answers(net, pairs, (0.0, 1.0), (300.0,), generator=seeded(1))
    images = pairs.images.float() / 127.5 - 1
    direct = net(images, pairs.sounds[pairs.recording]).log_softmax(-1)
    assert said.both.shape == (2, 1, 6, 10)
    assert torch.allclose(said.both[0, 0], direct, atol=1e-4)
    assert torch.allclose(said.image[0], net(images).log_softmax(-1), atol=1e-4)


# ---------------------------------------------------------------- calibration


def test_a_temperature_undoes_a_scale():
    generator = seeded(6)
    logits = 2 * torch.randn(20_000, 5, generator=generator)
    labels = torch.multinomial(logits.softmax(1), 1, generator=generator)[:, 0]
    assert fit_temperature((3 * logits).log_softmax(1), labels) == pytest.approx(3, rel=0.06)
    assert fit_temperature(logits.log_softmax(1), labels) == pytest.approx(1, rel=0.06)


def test_calibration_error_of_known_answers():
    confidence = torch.full((1000, 1), 0.8)
    log_p = torch.cat([confidence, 1 - confidence], 1).log()
    labels = (torch.arange(1000) % 10 >= 6).long()  # the first label is right in 60 %
    assert calibration_error(log_p, labels, bins=1) == pytest.approx(0.2, abs=1e-6)
    assert calibration_error(log_p, (torch.arange(1000) % 10 >= 8).long(), bins=1) == pytest.approx(0, abs=1e-6)


def test_only_groups_count_as_independent():
    values = torch.randn(50, generator=seeded(7), dtype=torch.float64)
    mean, half = grouped_interval(values.repeat_interleave(10), torch.arange(50).repeat_interleave(10))
    assert mean.item() == pytest.approx(values.mean().item())
    assert half.item() == pytest.approx(1.96 * values.std().item() / math.sqrt(50))


# ---------------------------------------------------------------- one transformer, two orders


def scene_net(dim=16):
    torch.manual_seed(0)
    return SceneBoth(9, 5, num_codes=7, side=3, dim=dim, depth=2, heads=2).double().eval()


def scene_batch(n=3):
    return torch.randint(1, 9, (n, 5), generator=seeded(8)), torch.randint(7, (n, 9), generator=seeded(9))


@pytest.mark.parametrize("order", SceneBoth.ORDERS)
def test_what_is_asked_for_knows_all_that_is_given_and_nothing_that_comes_later(order):
    net, (words, codes) = scene_net(), scene_batch()
    logits = net(words, codes, order)
    asked = codes if order == "paint" else words
    assert logits.shape == (3, 7 if order == "paint" else 9, asked.shape[1])
    for i in range(asked.shape[1]):
        other = asked.clone()
        other[:, i:] = (other[:, i:] + 1) % 7
        changed = net(words, other, order) if order == "paint" else net(other, codes, order)
        assert torch.allclose(changed[:, :, : i + 1], logits[:, :, : i + 1], atol=1e-12)
        if i + 1 < asked.shape[1]:
            assert not torch.allclose(changed[:, :, i + 1], logits[:, :, i + 1], atol=1e-5)
    for j in range(words.shape[1] if order == "paint" else codes.shape[1]):
        given = (words if order == "paint" else codes).clone()
        given[:, j] = (given[:, j] + 1) % 7
        changed = net(given, codes, order) if order == "paint" else net(words, given, order)
        assert not torch.allclose(changed[:, :, 0], logits[:, :, 0], atol=1e-6), j


@pytest.mark.parametrize("order", SceneBoth.ORDERS)
def test_writing_token_by_token_follows_the_likeliest(order):
    net, (words, codes) = scene_net(), scene_batch()
    said = write_on(net, words if order == "paint" else codes, order)
    logits = net(words, said, order) if order == "paint" else net(said, codes, order)
    assert torch.equal(logits.argmax(1), said)


@pytest.mark.parametrize("order", SceneBoth.ORDERS)
def test_tokens_are_drawn_as_often_as_the_model_says(order):
    net, n = scene_net(), 4000
    words, codes = (x[:1].expand(n, -1) for x in scene_batch())
    first = write_on(net, words if order == "paint" else codes, order, temperature=1.0, generator=seeded(10))[:, 0]
    p = net(words[:1], codes[:1], order).softmax(1)[0, :, 0]
    found = first.bincount(minlength=len(p)) / n
    assert ((found - p).abs() < 5 * (p * (1 - p) / n).sqrt()).all()


def test_padding_does_not_count_and_the_batch_is_shared_by_the_orders():
    net, (words, codes) = scene_net(), scene_batch(4)
    words[:, 3:] = 0
    assert len(scene_nats(net, words, codes, "tell")) == 4 * 3
    assert len(scene_nats(net, words, codes, "paint")) == 4 * 9
    loss, parts = SceneBothTask(net).loss({"words": words, "codes": codes}, seeded(0))
    assert torch.isclose(parts["paint"], F.cross_entropy(net(words[:2], codes[:2], "paint"), codes[:2]))
    assert torch.isclose(parts["tell"], scene_nats(net, words[2:], codes[2:], "tell").mean())
    assert torch.isclose(loss, (parts["paint"] + parts["tell"]) / 2)


def test_similar_codes_begin_with_similar_vectors():
    net = scene_net(dim=64)
    codebook = torch.randn(7, 32, generator=seeded(11), dtype=torch.float64)
    codebook[1] = codebook[0] + 0.01
    rows = net.start_from(codebook).embedding.weight[9:16]
    assert (rows[0] - rows[1]).norm() < 0.1 * (rows[0] - rows[2]).norm()
    assert rows.norm(dim=1).mean().item() == pytest.approx(1, rel=0.3)


def test_a_pool_holds_each_scene_s_words_and_codes():
    from vqdiff_edu.crossmodal.scenes import Tokenizer, parse
    from vqdiff_edu.registry import load_pretrained

    vqvae = load_pretrained("scene-vqvae")
    pool, scenes = scene_pool(6, vqvae, digits("test", "stand-in"), seed=0)
    assert pool["words"].shape == (6, 18) and pool["codes"].shape == (6, 196)
    assert [parse(caption) for caption in Tokenizer().decode(pool["words"])] == scenes


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    "call, error, word",
    [
        (lambda: FusionTask(DigitFusion(), ("picture",)), ValueError, "answers"),
        (lambda: SceneBothTask(scene_net(), ("draw",)), ValueError, "orders"),
        (lambda: PairBatches(digits("test", "stand-in"), speech("test", "stand-in").subset(torch.arange(3)), 4), ValueError, "speech"),
        (lambda: PairBatches(digits("test", "stand-in"), speech("test", "stand-in"), 0), ValueError, "batch_size"),
        (lambda: draw_pairs(digits("test", "stand-in"), speech("test", "stand-in"), 0), ValueError, "per_recording"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(call, error, word):
    with pytest.raises(error, match=word):
        call()


def test_the_levels_of_the_book_lie_in_the_range_of_the_training():
    from vqdiff_edu.crossmodal.fusion import BEST_SNR, WORST_SIGMA, WORST_SNR

    assert 0 <= min(SIGMAS) and max(SIGMAS) <= WORST_SIGMA
    assert WORST_SNR <= min(SNRS) and max(SNRS) <= BEST_SNR
