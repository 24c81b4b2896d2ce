"""Scenes: the facts, the words, the pictures, the marks."""

import math
import time

import pytest
import torch

from vqdiff_edu.crossmodal.scenes import (
    CANVAS,
    GAP,
    HELD_OUT,
    INKS,
    SENTENCES,
    SIZES,
    THINGS,
    WORDS,
    Scene,
    SceneBatches,
    Thing,
    Tokenizer,
    bleu4,
    cut_out,
    describe,
    describe_all,
    draw_scenes,
    draw_things,
    facts_right,
    fit_ink,
    ink_boxes,
    match_things,
    parse,
    render,
)
from vqdiff_edu.data import digits, rows_of_same_label, to_float

STAND_IN = digits("test", "stand-in")


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def boxes_of(drawn):
    """(scene, number of the thing, top, left, side) of every thing."""
    for i, (things, boxes) in enumerate(zip(drawn.things.tolist(), drawn.boxes.tolist())):
        yield from ((i, number, *box) for number, box in zip(things, boxes) if number >= 0)


def test_things_are_numbered_in_order():
    assert [thing.number for thing in THINGS] == list(range(40))
    assert Thing(3, "large", "faint").number == 14


def test_below_is_above_read_the_other_way():
    assert parse("a small faint 3 below a large bold four") == parse("a huge strong 4 on top of a tiny weak three")
    assert parse("right of a small faint 3 is a large bold 4") == parse("a small faint 3 left of a large bold 4")
    assert parse("a small faint 3 above a large bold 4") != parse("a large bold 4 above a small faint 3")


def test_the_neighbours_of_a_middle_thing_have_no_order():
    a, b, c = THINGS[30], THINGS[5], THINGS[7]
    assert Scene((a, b, c), "between") == Scene((c, b, a), "between")
    assert Scene((a, b, c), "between").things == (c, b, a)
    assert Scene((a, b, c), "between") != Scene((b, a, c), "between")


def test_facts_by_name():
    scene = parse("a small faint 3 above a large bold 4")
    assert scene.facts == {"count": 2, "relation": "above", "digit": (3, 4), "size": ("small", "large"), "ink": ("faint", "bold")}


@pytest.mark.parametrize("pattern", SENTENCES)
def test_every_sentence_is_read(pattern):
    phrases = iter(["a small faint 3", "a large bold four", "a tiny heavy 5"])
    caption = " ".join(next(phrases) if word == "_" else word for word in pattern.split())
    relation, order = SENTENCES[pattern]
    said = [Thing(3, "small", "faint"), Thing(4, "large", "bold"), Thing(5, "small", "bold")]
    things = dict(zip(order, said))
    assert parse(caption) == Scene(tuple(things[i] for i in range(len(order))), relation)


def test_no_word_has_two_meanings_and_patterns_hold_no_facts():
    tokenizer = Tokenizer()
    assert len(set(WORDS)) == len(WORDS) == tokenizer.num_tokens - 3
    assert not any(word in pattern.split() for pattern in SENTENCES for word in ("small", "3", "a"))


def test_tokens_there_and_back():
    tokenizer = Tokenizer()
    captions = ["only a small faint 3", "a small bold 9 and a huge weak 1 on either side of a tiny soft zero"]
    tokens = tokenizer.encode(captions)
    assert tokens.shape == (2, tokenizer.length) and tokens.dtype == torch.int64
    assert tokens[0, :7].tolist() == [1, *(tokenizer.ids[w] for w in captions[0].split()), 2] and not tokens[0, 7:].any()
    assert tokens[1, -1] == tokenizer.end  # the longest there is
    assert tokenizer.decode(tokens) == captions
    assert tokenizer.decode(tokens[:, 1:]) == captions  # generated rows need not repeat the start
    assert tokenizer.encode(["a"], length=3).tolist() == [[1, tokenizer.ids["a"], 2]]
    assert tokenizer.decode(torch.empty(0, 3, dtype=torch.int64)) == []


def test_the_held_out_eight_leave_every_digit_size_and_ink():
    seen = [thing for thing in THINGS if thing not in HELD_OUT]
    assert len(set(HELD_OUT)) == 8
    assert {t.digit for t in seen} == set(range(10)) and {(t.size, t.ink) for t in seen} == {(s, i) for s in SIZES for i in INKS}
    assert all(sum((t.size, t.ink) == kind for t in HELD_OUT) == 2 for kind in {(t.size, t.ink) for t in THINGS})


def test_what_is_drawn():
    n, held = 20_000, torch.tensor([thing.number for thing in HELD_OUT])
    for combinations in ("seen", "held out", "all"):
        things = draw_things(n, seeded(), combinations)
        count = (things >= 0).sum(1)
        assert torch.allclose(torch.bincount(count, minlength=4)[1:] / n, torch.full((3,), 1 / 3), atol=0.02)
        assert int(((things % 4 >= 2) & (things >= 0))[count == 3].sum(1).max()) == 1
        shows_held = torch.isin(things, held).any(1)
        assert {"seen": not shows_held.any(), "held out": shows_held.all(), "all": 0 < shows_held.float().mean() < 1}[combinations]
    assert len(things[things >= 0].unique()) == 40


def test_pictures_show_what_the_labels_say():
    drawn = draw_scenes(60, STAND_IN, seeded(), "all")
    ink = drawn.images[:, 0] / 255
    inside = torch.zeros_like(ink)
    for i, number, top, left, side in boxes_of(drawn):
        thing, patch = THINGS[number], ink[i, top : top + side, left : left + side]
        assert side == SIZES[thing.size] and patch.shape == (side, side)
        above, below, before, after = ink_boxes(patch[None, None])[0]
        assert abs(max(below - above, after - before) - side) <= 1
        assert patch.max() == pytest.approx(INKS[thing.ink], abs=0.003)
        inside[i, top : top + side, left : left + side] += 1
    assert inside.max() == 1  # boxes do not overlap
    assert ink[inside == 0].sum() == 0
    for scene, things, caption in zip(drawn.scenes, drawn.things.tolist(), drawn.captions):
        assert [thing.number for thing in scene.things] == [number for number in things if number >= 0]
        assert parse(caption) == scene


def test_places_agree_with_relations():
    drawn = draw_scenes(300, STAND_IN, seeded(1), "all")
    for scene, boxes in zip(drawn.scenes, drawn.boxes):
        middle = boxes[:, :2] + boxes[:, 2:] / 2
        if scene.relation in ("above", "left of"):
            down, right = (middle[1] - middle[0]).tolist()
            assert (down > abs(right)) if scene.relation == "above" else (right > abs(down))
        if scene.relation == "between":
            spread = (middle[2] - middle[0]).abs()
            axis = int(spread.argmax())
            low, high = sorted((float(middle[0, axis]), float(middle[2, axis])))
            assert low + 14 + GAP <= float(middle[1, axis]) + 1e-6 <= high - 14 - GAP + 2e-6
        assert 0 <= int(boxes[boxes[:, 2] > 0][:, :2].min()) and int((boxes[:, :2] + boxes[:, 2:]).max()) <= CANVAS


def test_ink_boxes_and_fit():
    picture = torch.zeros(1, 1, 28, 28)
    picture[0, 0, 4:24, 10:15] = 0.5
    assert ink_boxes(picture).tolist() == [[4, 24, 10, 15]]
    fitted = fit_ink(picture, 14)
    assert fitted.shape == (1, 1, 14, 14) and fitted.max() == 1
    assert ink_boxes(fitted)[0, :2].tolist() == [0, 14]
    assert fitted.sum() == pytest.approx(14 * 5 * 0.7, rel=0.05)  # the bar is 20 × 5 pixels, brought to 14 × 3.5


def test_a_blank_picture_stays_blank_and_spoils_nothing():
    pictures = torch.zeros(2, 1, 28, 28)
    pictures[1, 0, 4:24, 10:15] = 0.5
    fitted = fit_ink(pictures, 14)
    assert not fitted[0].any()
    assert torch.equal(fitted[1:], fit_ink(pictures[1:], 14))


def test_a_canvas_agrees_with_a_loop_over_its_things():
    drawn = draw_scenes(12, STAND_IN, seeded(3), "all")
    pictures = STAND_IN.images[torch.arange(36).view(12, 3), 0]
    canvases = render(pictures, drawn.things, drawn.boxes)
    for canvas, row, things, boxes in zip(canvases, pictures, drawn.things.tolist(), drawn.boxes.tolist()):
        alone = torch.zeros(56, 56)
        for picture, number, (top, left, side) in zip(row, things, boxes):
            if number >= 0:
                alone[top : top + side, left : left + side] = fit_ink(picture[None, None] / 255, side)[0, 0] * INKS[THINGS[number].ink]
        assert (canvas[0] - (255 * alone).round()).abs().max() <= 1


def test_all_captions_drawn_at_once_are_those_drawn_one_by_one():
    scenes, one_by_one, at_once = draw_scenes(20, STAND_IN, seeded(5)).scenes, seeded(9), seeded(9)
    assert [describe(scene, one_by_one) for scene in scenes] == describe_all(scenes, at_once)
    assert torch.equal(one_by_one.get_state(), at_once.get_state())


def test_rows_have_the_label_and_are_equally_likely():
    labels = torch.tensor([3, 1, 3, 3, 1, 0])
    wanted = torch.tensor([3, 1, 0]).repeat(2000)
    rows = rows_of_same_label(wanted, labels, seeded())
    assert torch.equal(labels[rows], wanted)
    counts = rows.bincount(minlength=6) / 2000
    assert torch.allclose(counts, torch.tensor([1 / 3, 1 / 2, 1 / 3, 1 / 3, 1 / 2, 1]), atol=0.05)
    assert torch.equal(rows_of_same_label(wanted.view(3, -1), labels, seeded()), rows.view(3, -1))
    assert rows_of_same_label(wanted[:0], labels).shape == (0,)


def test_batches_are_functions_of_seed_and_index():
    batches = SceneBatches(STAND_IN, 4, seed=3)
    first, second = next(batches), next(batches)
    assert first["image"].shape == (4, 1, 56, 56) and first["image"].dtype == torch.uint8
    assert first["tokens"].shape == (4, Tokenizer().length)
    assert not torch.equal(first["image"], second["image"])
    later = SceneBatches(STAND_IN, 4, seed=3)
    later.load_state_dict({**batches.state_dict(), "index": 1})
    assert all(torch.equal(second[name], value) for name, value in next(later).items())
    assert all(torch.equal(first[name], value) for name, value in later.at(0).items()) and later.index == 2
    assert not torch.equal(first["tokens"], SceneBatches(STAND_IN, 4, seed=4).at(0)["tokens"])


def test_several_captions_tell_the_same_facts_in_other_words():
    several, words = SceneBatches(STAND_IN, 6, seed=3, captions=4), Tokenizer()
    batch, plain = several.at(2), SceneBatches(STAND_IN, 6, seed=3).at(2)
    assert batch["tokens"].shape == (6, 4, words.length)
    assert torch.equal(batch["image"], plain["image"]) and torch.equal(batch["tokens"][:, 0], plain["tokens"])
    for rows in batch["tokens"]:
        captions = words.decode(rows)
        assert len({parse(caption) for caption in captions}) == 1 and len(set(captions)) > 1


def test_batches_leave_the_global_random_state_alone():
    before = torch.get_rng_state()
    next(SceneBatches(STAND_IN, 4))
    assert torch.equal(before, torch.get_rng_state())


def test_a_thousand_scenes_a_second():
    batches = SceneBatches(STAND_IN, 256)
    next(batches)
    start = time.process_time()
    next(batches), next(batches)
    assert 512 / (time.process_time() - start) > 300  # three thousand on an idle core; shape checks and neighbours take their share


def test_marks_of_one_caption():
    truth = [parse("a small faint 3 above a large bold 4")]

    def marks(caption):
        return list(facts_right(truth, [caption]).values())

    assert marks("a heavy huge four below a tiny weak 3") == [1, 1, 1, 1, 1, 1]
    assert marks("a small faint 3 below a large bold 4") == [0, 1, 1, 1, 1, 0]
    assert marks("a small faint 3 left of a large bold 4") == [0, 1, 1, 1, 1, 0]
    assert marks("a small faint 5 above a large bold 4") == [0, 1, 0.5, 1, 1, 1]
    assert marks("a large bold 4") == [0, 0, 0.5, 0.5, 0.5, 0]
    assert marks("between a large bold 4 and a small faint 3 is a small faint 3") == [0, 0, 1, 1, 1, 0]
    assert marks("no caption at all") == [0] * 6


def test_relations_are_marked_where_there_are_some():
    one = facts_right([parse("a small faint 3")], ["a tiny soft three"])
    assert one["all"] == 1 and math.isnan(one["relation"])


def test_ends_may_change_places_and_the_middle_may_not():
    truth = parse("a small faint 3 between a small bold 3 and a large faint 7")
    moved = parse("a small bold 3 between a small faint 3 and a large faint 7")
    assert facts_right([truth], ["a small faint 3 between a large faint 7 and a small bold 3"])["relation"] == 1
    assert facts_right([truth], [describe(moved, seeded())])["relation"] == 0
    assert set(match_things(truth, moved)) == {(0, 1), (1, 0), (2, 2)}


def test_bleu_by_hand():
    assert bleu4(["the cat sat on the mat"], ["the cat sat on a mat"]) == pytest.approx((1 / 12) ** 0.25)
    assert bleu4(["a b c d e"], ["a b c d e"]) == 1
    assert bleu4(["a b c"], ["a b c"]) == 0  # no run of four
    assert bleu4(["a b c d"], ["a b c d e f g h"]) == pytest.approx(math.exp(-1))  # all found, half as long
    assert bleu4(["a b c d e f"], ["x", "y"][:1]) == 0
    # a corpus pools its counts: 1 of 1 and 0 of 1 quadruples are one half, not a mean of two scores
    pooled = bleu4(["a b c d", "a b c x"], ["a b c d", "a b c d"])
    assert pooled == pytest.approx((7 / 8 * 5 / 6 * 3 / 4 * 1 / 2) ** 0.25)


def test_bleu_with_several_references():
    several = bleu4(["a b c d e f"], [["a b c x x x x x", "c d e f"]])
    assert several == pytest.approx((6 / 6 * 5 / 5 * 3 / 4 * 1 / 3) ** 0.25)  # abc, cde, def; cdef; length 6 is as near to 4 as to 8


def test_cut_out_gives_the_classifier_its_digits():
    drawn = draw_scenes(10, STAND_IN, seeded(2))
    cut = cut_out(to_float(drawn.images), drawn.boxes)
    assert cut.shape == (int((drawn.things >= 0).sum()), 1, 28, 28)
    assert cut.amin((1, 2, 3)).max() < -0.99 and cut.amax((1, 2, 3)).min() > 0.99
    assert ((ink_boxes((cut + 1) / 2)[:, 1] - ink_boxes((cut + 1) / 2)[:, 0]) <= 20).all()
