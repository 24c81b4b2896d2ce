"""Scenes and captions refuse what they do not know, by name."""

import pytest
import torch

from vqdiff_edu.crossmodal.scenes import (
    THINGS,
    Scene,
    SceneBatches,
    Thing,
    Tokenizer,
    bleu4,
    draw_boxes,
    draw_scenes,
    facts_right,
    parse,
)
from vqdiff_edu.data import Digits, digits, rows_of_same_label

STAND_IN = digits("test", "stand-in")
WORDS = Tokenizer()
NOT_SEVEN = STAND_IN.labels != 7
BATCHES = SceneBatches(STAND_IN, 2)
STATE = BATCHES.state_dict()


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: Thing(10, "small", "bold"), ValueError, "digit must be a whole number in 0 … 9, got 10"),
        (lambda: Thing(True, "small", "bold"), TypeError, "digit"),
        (lambda: Thing(3, "medium", "bold"), ValueError, "size must be one of 'small', 'large'; got 'medium'"),
        (lambda: Thing(3, "small", "pink"), ValueError, "ink must be one of 'faint', 'bold'; got 'pink'"),
        (lambda: Scene(()), ValueError, "number of things must be a whole number in 1 … 3, got 0"),
        (lambda: Scene(THINGS[:4], "between"), ValueError, "number of things must be .* got 4"),
        (lambda: Scene(THINGS[:1], "above"), ValueError, "relation must be one of None; got 'above'"),
        (lambda: Scene(THINGS[:2]), ValueError, "relation must be one of 'above', 'left of'; got None"),
        (lambda: Scene(THINGS[:2], "below"), ValueError, "relation must be .* got 'below'"),
        (lambda: Scene(THINGS[:3], "above"), ValueError, "relation must be one of 'between'"),
        (lambda: parse(3), TypeError, "caption must be a str, got int"),
        (lambda: WORDS.encode(["a purple 3"]), ValueError, "captions must consist of the 54 words of the grammar, got 'purple'"),
        (lambda: WORDS.encode(["a <pad> 3"]), ValueError, "captions must .* got '<pad>'"),
        (lambda: WORDS.encode(["a small faint 3"], length=5), ValueError, "length must be a whole number of at least 6, got 5"),
        (lambda: WORDS.decode(torch.tensor([[0, 57]])), ValueError, "tokens must be one or more whole numbers in 0 … 56"),
        (lambda: draw_scenes(1, STAND_IN, combinations="unseen"), ValueError, "combinations must be one of 'seen', 'held out', 'all'"),
        (lambda: draw_scenes(0, STAND_IN), ValueError, "n must be a whole number of at least 1, got 0"),
        (lambda: draw_boxes(torch.tensor([[2, 2, 0]]), torch.tensor([True])), ValueError, "things must fit .* at most one may be large"),
        (lambda: rows_of_same_label(torch.tensor([1, 4]), torch.tensor([1, 2])), ValueError, r"labels must hold .* none of \[4\]"),
        (lambda: rows_of_same_label(torch.tensor([0]), torch.tensor([1, 2])), ValueError, r"labels must hold .* none of \[0\]"),
        (lambda: SceneBatches(STAND_IN, 0), ValueError, "batch_size must be a whole number of at least 1, got 0"),
        (lambda: SceneBatches(STAND_IN, 2, captions=0), ValueError, "captions must be a whole number of at least 1, got 0"),
        (lambda: SceneBatches(STAND_IN, 1, combinations="none"), ValueError, "combinations must be one of"),
        (lambda: facts_right([parse("a small faint 3")], []), ValueError, "told must hold one caption a scene, got 0 for 1"),
        (lambda: facts_right([], []), ValueError, "told must hold"),
        (lambda: bleu4(["a"], ["a", "b"]), ValueError, "references must hold one entry a candidate, got 2 for 1"),
    ],
)
def test_what_is_refused(call, error, words):
    with pytest.raises(error, match=f"^{words}"):
        call()


@pytest.mark.parametrize(
    ("caption", "message"),
    [
        ("", "no sentence of the grammar"),
        ("a small faint", "does not tell the digit"),
        ("a small 3", "does not tell the ink"),
        ("a faint 3", "does not tell the size"),
        ("a small tiny faint 3", "tells the size twice"),
        ("a small faint purple 3", "no known meaning, 'purple'"),
        ("a small faint thre", "is it 'three'"),
        ("small faint 3", "no sentence of the grammar"),
        ("a small faint 3 above", "cannot read '_ above'"),
        ("a small faint 3 above a small faint 4 above a small faint 5", "cannot read '_ above _ above _'"),
    ],
)
def test_captions(caption, message):
    with pytest.raises(ValueError, match=message):
        parse(caption)


def test_digits_of_which_one_is_missing():
    with pytest.raises(ValueError, match=r"labels must hold every label that is wanted; there is none of \[7\]"):
        draw_scenes(100, Digits(STAND_IN.images[NOT_SEVEN], STAND_IN.labels[NOT_SEVEN], "stand-in", ""))


@pytest.mark.parametrize(
    ("state", "error", "words"),
    [
        ({"index": 1}, ValueError, "state lacks"),
        (STATE | {"seed": 1}, ValueError, "state was taken from other batches: .*'seed'"),
        (STATE | {"sha256": "another"}, ValueError, "state was taken from other batches: .*'sha256'"),
        (STATE | {"captions": 4}, ValueError, "state was taken from other batches: .*'captions'"),
        (STATE | {"index": -1}, ValueError, r"state\['index'\] must be a whole number of at least 0, got -1"),
    ],
)
def test_a_state_of_other_batches(state, error, words):
    with pytest.raises(error, match=f"^{words}"):
        BATCHES.load_state_dict(state)
