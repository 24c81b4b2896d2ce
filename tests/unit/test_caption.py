"""The captioner: shapes, what it may see, what counts in the loss, what scores say, and the shipped model."""

import math

import pytest
import torch
import torch.nn.functional as F

from vqdiff_edu.crossmodal.caption import (
    Captioner,
    CaptionTask,
    SceneCaptioner,
    at_a_glance,
    attention_maps,
    bleu_with_interval,
    caption_loss,
    codes_or_pixels,
    digit_named,
    evaluate_captioner,
    glance_loss,
    mask_unseen,
    measure_captions,
    score_captions,
    unreadable,
    unseen_triples,
    wilson_interval,
    word_weights,
)
from vqdiff_edu.crossmodal.scenes import HELD_OUT, Scene, SceneBatches, Thing, Tokenizer, bleu4, draw_scenes, facts_right
from vqdiff_edu.data import digits, to_float
from vqdiff_edu.quantization.vector_quantizer import VectorQuantizer
from vqdiff_edu.quantization.vqvae import VQVAE
from vqdiff_edu.registry import load_pretrained

WORDS = Tokenizer()
STAND_IN = digits("test", "stand-in")


def make(source="codes", seed=0, width=16, dim=16, **more):
    torch.manual_seed(seed)
    sizes = {"num_embeddings": 12, "embedding_dim": 8} if source == "codes" and "codebook" not in more else {}
    return Captioner(WORDS.num_tokens, source, width=width, dim=dim, depth=1, **sizes, **more).eval()


def make_vqvae(seed=0):
    torch.manual_seed(seed)
    return VQVAE(1, 16, VectorQuantizer(12, 8), blocks=0).eval()


def pipeline(source="patches", seed=0, **more):
    return SceneCaptioner(make(source, seed, **more), make_vqvae() if source == "codes" else None)


def drawn(n=3, seed=0, combinations="seen"):
    return draw_scenes(n, STAND_IN, torch.Generator().manual_seed(seed), combinations)


def scene_input(source, n=3, seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.randint(12, (n, 14, 14), generator=g) if source == "codes" else torch.rand(n, 1, 56, 56, generator=g) * 2 - 1


@pytest.mark.parametrize("source", ["codes", "patches"])
def test_shapes(source):
    model, x = make(source), scene_input(source)
    tokens = torch.randint(3, WORDS.num_tokens, (3, 7))
    assert model.encoder(x).shape == (3, 49, 16)
    assert model(x, tokens).shape == (3, WORDS.num_tokens, 7)


def test_the_full_size_stays_below_a_million_parameters():
    for source in ("codes", "patches"):
        assert sum(p.numel() for p in Captioner(WORDS.num_tokens, source).parameters()) < 1_000_000


def test_only_codes_have_an_embedding():
    assert make("patches").encoder.embedding is None
    assert make("codes").encoder.embedding.weight.shape == (12, 8)


def test_the_codebook_is_where_the_embedding_starts():
    codebook = torch.randn(20, 6) * 3 + 1
    weight = make(codebook=codebook).encoder.embedding.weight
    assert weight.shape == (20, 6) and weight.requires_grad
    assert weight.mean().abs() < 1e-5 and (weight.std() - 1).abs() < 1e-3
    assert torch.allclose(torch.corrcoef(torch.stack([weight.detach().flatten(), codebook.flatten()]))[0, 1], torch.tensor(1.0), atol=1e-5)
    model = make()
    assert model.start_from(torch.randn(12, 8)) is model


def test_places_are_told_apart():
    """The same code everywhere: without marks of place all inner vectors would be equal."""
    context = make().encoder(torch.zeros(1, 14, 14, dtype=torch.int64))[0].unflatten(0, (7, 7))[2:5, 2:5].flatten(0, 1)
    assert torch.cdist(context, context).fill_diagonal_(1).min() > 0.1


def test_a_word_depends_on_the_scene_and_not_on_later_words():
    model, x = make("patches"), scene_input("patches")
    tokens = torch.randint(3, WORDS.num_tokens, (3, 8))
    logits = model(x, tokens)
    changed = tokens.clone()
    changed[:, 5:] = 3 + (changed[:, 5:] - 2) % (WORDS.num_tokens - 3)
    assert torch.allclose(model(x, changed)[:, :, :5], logits[:, :, :5], atol=1e-5)
    assert not torch.allclose(model(x, changed)[:, :, 5:], logits[:, :, 5:], atol=1e-3)
    assert not torch.allclose(model(-x, tokens), logits, atol=1e-3)


def test_the_loss_is_shifted_by_one_and_leaves_padding_out():
    tokens = torch.tensor([[1, 5, 6, 2, 0, 0], [1, 7, 2, 0, 0, 0]])
    sure = F.one_hot(tokens[:, 1:], 9).movedim(-1, 1) * 50.0  # knows the next word
    assert caption_loss(sure, tokens, 0) < 1e-6
    late = F.one_hot(tokens[:, :-1], 9).movedim(-1, 1) * 50.0  # repeats the word it was given
    assert caption_loss(late, tokens, 0) > 10
    uniform = torch.zeros(2, 9, 5)
    assert caption_loss(uniform, tokens, 0).item() == pytest.approx(math.log(9))
    sure[:, :, 3:] = torch.randn(2, 9, 2)
    sure[1, :, 2:] = torch.randn(9, 3)
    assert caption_loss(sure, tokens, 0) < 1e-6


@pytest.mark.parametrize("source", ["codes", "patches"])
def test_the_task_trains_the_captioner_and_leaves_the_vqvae_alone(source):
    model, vqvae = make(source).train(), make_vqvae()
    before = {name: value.clone() for name, value in vqvae.state_dict().items()}
    task = CaptionTask(SceneCaptioner(model, vqvae))
    assert task.model is model
    batch = SceneBatches(STAND_IN, 4).at(0)
    loss, logs = task.loss(batch, torch.Generator())
    loss.backward()
    assert 0 <= logs["words"] <= 1 and logs["words"].ndim == 0
    used = [p for name, p in model.named_parameters() if "positions.weight" not in name]
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in used)
    assert all(torch.equal(before[name], value) for name, value in vqvae.state_dict().items())
    assert not any(p.requires_grad for p in vqvae.parameters()) and not vqvae.training


def test_padding_columns_do_not_change_the_loss():
    task, batch = CaptionTask(pipeline()), SceneBatches(STAND_IN, 4).at(0)
    wider = batch | {"tokens": F.pad(batch["tokens"], (0, 9))}
    assert torch.allclose(task.loss(batch, torch.Generator())[0], task.loss(wider, torch.Generator())[0])


def test_several_captions_a_scene_count_like_that_many_scenes():
    # in eval mode, so that the statistics of the batch do not matter
    task, batch = CaptionTask(pipeline()), SceneBatches(STAND_IN, 3, captions=2).at(0)
    repeated = {"image": batch["image"].repeat_interleave(2, 0), "tokens": batch["tokens"].flatten(0, 1)}
    assert torch.allclose(task.loss(batch, torch.Generator())[0], task.loss(repeated, torch.Generator())[0], atol=1e-6)


def test_words_that_settle_something_count_more():
    weights = word_weights(WORDS, 4.0)
    named = {word: weights[WORDS.ids[word]].item() for word in ("7", "seven", "above", "left", "tiny", "bold", "a", "is", "<end>")}
    assert named == {"7": 4, "seven": 4, "above": 4, "left": 4, "tiny": 1, "bold": 1, "a": 1, "is": 1, "<end>": 1}
    assert torch.equal(word_weights(WORDS, 1.0), torch.ones(WORDS.num_tokens))
    tokens, logits = torch.tensor([[1, 5, 2]]), torch.tensor([[0.0, 1.0, 2.0, 0.0, 0.0, 3.0]])[..., None].expand(1, 6, 2)
    weight = torch.tensor([1.0, 1.0, 1.0, 1.0, 1.0, 4.0])
    each = -logits[0, :, 0].log_softmax(0)
    assert caption_loss(logits, tokens, 0, weight).item() == pytest.approx((4 * each[5].item() + each[2].item()) / 5)


def test_only_a_captioner_of_codes_is_shown_codes():
    images, vqvae = to_float(drawn().images), make_vqvae()
    assert torch.equal(codes_or_pixels(make("codes"), images, vqvae), vqvae.encode(images))
    assert codes_or_pixels(make("patches"), images, vqvae) is images


def test_the_pipeline_owns_its_parts_and_stores_one_of_them():
    captioner = pipeline("codes")
    assert {name.split(".")[0] for name, _ in captioner.named_parameters()} == {"model", "vqvae"}
    assert captioner.model.state_dict().keys() == make("codes").state_dict().keys()
    assert not any(p.requires_grad for p in captioner.vqvae.parameters())


def test_words_that_only_unseen_things_could_follow_leave_the_competition_but_not_the_true_one():
    """After "a small faint" no training scene names a 3 of HELD_OUT; where it is the truth it stays."""
    table = unseen_triples((Thing(3, "small", "faint"),), WORDS)
    tokens = WORDS.encode(["a small faint 7", "a small faint 3", "a faint tiny 7", "a small bold 7"])[:, :6]
    out = mask_unseen(torch.zeros(4, WORDS.num_tokens, 5), tokens, table)[:, :, 3].isinf()  # the word after the two adjectives
    three, name = WORDS.ids["3"], WORDS.ids["three"]
    assert out[0].nonzero().flatten().tolist() == sorted((three, name)) == out[2].nonzero().flatten().tolist()
    assert out[1].nonzero().flatten().tolist() == [name]
    assert not out[3].any()
    assert unseen_triples(HELD_OUT, WORDS).sum() == 8 * 3 * 3 * 2 * 2  # sizes, inks, orders, spellings


def test_captions_are_words_and_the_mode_is_put_back():
    captioner, images = pipeline("codes"), to_float(drawn(5).images)
    captioner.model.train()
    said = captioner(images)
    assert len(said) == 5 and all(set(text.split()) <= set(WORDS.words) for text in said)
    assert captioner.model.training
    captioner.model.eval()
    assert said == captioner(images) and not captioner.model.training
    drawn_twice = [captioner(images, temperature=1.0, generator=torch.Generator().manual_seed(s)) for s in (0, 0, 1)]
    assert drawn_twice[0] == drawn_twice[1] != drawn_twice[2]


def test_captioning_in_parts_is_captioning():
    captioner, images = pipeline(), to_float(drawn(260).images)
    assert captioner(images)[245:] == captioner(images[245:])


def test_attention_maps_are_distributions_and_follow_the_words():
    captioner, scenes = pipeline(), drawn(3)
    maps = attention_maps(captioner, to_float(scenes.images), scenes.captions)
    assert maps.shape == (3, 1, WORDS.length - 1, 7, 7)
    assert torch.allclose(maps.sum((-2, -1)), torch.ones(3, 1, WORDS.length - 1), atol=1e-5)
    other = ["a large bold 1", *scenes.captions[1:]]
    again = attention_maps(captioner, to_float(scenes.images), other)
    assert torch.allclose(again[:, :, 0], maps[:, :, 0], atol=1e-6)  # the first word is written before any is known
    assert torch.allclose(again[1:], maps[1:], atol=1e-6)


@pytest.mark.parametrize(
    ("right", "n", "low", "high"),
    [(50, 50, 0.92865, 1.0), (0, 50, 0.0, 0.07135), (81, 263, 0.2553, 0.3662), (1, 2, 0.0945, 0.9055)],
)
def test_wilson_interval(right, n, low, high):
    assert wilson_interval(right, n) == pytest.approx((low, high), abs=2e-4)


def scene(*things, relation=None):
    return Scene(tuple(Thing(*thing) for thing in things), relation)


def test_scores_agree_with_facts_right_and_carry_intervals():
    scenes = drawn(40)
    told = scenes.captions[:30] + ["a large bold 1"] * 9 + ["a bold"]
    scores = score_captions(scenes.scenes, told, scenes.captions)
    shares = facts_right(scenes.scenes, told)
    things = sum(len(s.things) for s in scenes.scenes)
    for kind, share in shares.items():
        row = scores[kind]
        assert row["share"] == share and row["low"] <= share <= row["high"]
    assert scores["all"]["n"] == scores["count"]["n"] == 40 and scores["digit"]["n"] == things
    assert scores["relation"]["n"] == sum(len(s.things) > 1 for s in scenes.scenes)
    assert scores["unreadable"] == 1 and scores["scenes"] == 40
    assert scores["bleu4"]["share"] == bleu4(told, scenes.captions)


def test_a_kind_of_fact_that_does_not_occur_is_left_out():
    one = [scene((3, "small", "bold"))] * 4
    scores = score_captions(one, ["a small bold 3"] * 4, ["a small bold 3"] * 4)
    assert "relation" not in scores and scores["all"]["share"] == 1 and scores["all"]["high"] == 1


def test_bleu_has_an_interval_if_there_are_enough_captions():
    captions = drawn(100).captions
    assert bleu_with_interval(captions, captions) == {"share": 1.0, "n": 100, "low": 1.0, "high": 1.0}
    assert set(bleu_with_interval(captions[:99], captions[:99])) == {"share", "n"}


def test_unreadable():
    assert unreadable("a small bold") and unreadable("") and not unreadable("a small bold 3")


def test_measuring_draws_both_kinds_of_scenes_and_repeats():
    captioner = pipeline()
    scores = evaluate_captioner(captioner, n=12, test=STAND_IN)
    assert scores["seen"]["scenes"] == scores["held_out"]["scenes"] == 12 and scores["source"] == "stand-in"
    assert scores == evaluate_captioner(captioner, n=12, test=STAND_IN)
    assert measure_captions(captioner, drawn(12))["scenes"] == 12


def test_it_learns_to_tell_two_scenes_apart():
    torch.manual_seed(0)
    captioner, scenes = pipeline(), drawn(2, seed=3)
    captioner.model.train()
    batch = {"image": scenes.images, "tokens": WORDS.encode(scenes.captions)}
    task, optimizer = CaptionTask(captioner), torch.optim.Adam(captioner.model.parameters(), lr=1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        task.loss(batch, torch.Generator())[0].backward()
        optimizer.step()
    assert captioner(to_float(scenes.images)) == scenes.captions


def test_the_shipped_captioner_describes_scenes_of_unseen_digits():
    captioner = load_pretrained("scene-captioner")
    assert isinstance(captioner, SceneCaptioner) and not any(part.training for part in captioner.modules())
    scores = measure_captions(captioner, drawn(60))  # stand-in digits, of a kind it has never seen
    assert scores["unreadable"] <= 3
    assert min(scores[kind]["share"] for kind in ("count", "size", "ink")) > 0.8
    metrics = captioner.card["metrics"]
    assert metrics["seen"]["all"]["share"] >= 0.92 and metrics["seen"]["digit"]["share"] >= 0.975
    assert metrics["held_out"]["all"]["share"] >= 0.85


def test_names_of_digits_are_known_in_both_spellings():
    named = digit_named(WORDS)
    assert named[WORDS.ids["7"]] == named[WORDS.ids["seven"]] == 7
    assert (named < 10).sum() == 20 and named[WORDS.ids["small"]] == 10 == named[WORDS.pad]


def test_the_glance_is_asked_for_every_digit_and_knows_no_place():
    tokens = WORDS.encode(["a small bold 3 above a big faint seven", "only a tiny weak 3"])
    sure = torch.full((2, 10), -40.0)
    sure[:, 3] = sure[0, 7] = 40.0
    assert glance_loss(sure, tokens, digit_named(WORDS)) < 1e-6
    assert glance_loss(torch.zeros(2, 10), tokens, digit_named(WORDS)).item() == pytest.approx(math.log(2))
    assert glance_loss(-sure, tokens, digit_named(WORDS)).item() == pytest.approx(40.0)
    model = make()
    context = model.encoder(scene_input("codes"))
    seen = at_a_glance(model, context)
    assert seen.shape == (3, 10)
    moved = (context - model.encoder.positions)[:, torch.randperm(49)] + model.encoder.positions
    assert torch.allclose(at_a_glance(model, moved), seen, atol=1e-5)


def test_the_glance_is_added_with_its_weight_and_can_be_switched_off():
    captioner, batch, generator = pipeline(), SceneBatches(STAND_IN, 4).at(0), torch.Generator()
    model = captioner.model
    tokens, x = batch["tokens"], to_float(batch["image"])
    logits = model(x, tokens[:, :-1])
    plain, _ = CaptionTask(captioner, unseen=(), glance=0.0, emphasis=1.0).loss(batch, generator)
    assert plain.item() == pytest.approx(caption_loss(logits, tokens, WORDS.pad).item(), rel=1e-5)
    alone, _ = CaptionTask(captioner, unseen=(), glance=0.0).loss(batch, generator)
    assert alone.item() == pytest.approx(caption_loss(logits, tokens, WORDS.pad, word_weights(WORDS, 4.0)).item(), rel=1e-5)
    both, _ = CaptionTask(captioner, unseen=(), glance=3.0).loss(batch, generator)
    asked = glance_loss(at_a_glance(model, model.encoder(x)), tokens, digit_named(WORDS))
    assert both.item() == pytest.approx(alone.item() + 3 * asked.item(), rel=1e-5)


def test_one_sure_square_is_enough():
    model = make()
    with torch.no_grad():
        model.glance.weight.copy_(torch.eye(16)[:10])
        model.glance.bias.zero_()
        context = model.encoder.positions.expand(1, -1, -1).clone()
        context[0, 17, 3] += 30.0
        seen = at_a_glance(model, context)[0]
    assert seen[3].item() == pytest.approx(30.0 - math.log(49), abs=1e-4)
    assert torch.allclose(seen[[0, 1, 9]], torch.zeros(3), atol=1e-5)


def test_double_precision_is_captioned_like_single():
    captioner, scenes = pipeline(), drawn(3)
    images = to_float(scenes.images)
    assert captioner(images.double()) == captioner(images)
    assert torch.equal(attention_maps(captioner, images.double(), scenes.captions), attention_maps(captioner, images, scenes.captions))
