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
    fit_ink,
    parse,
)
from vqdiff_edu.data import Digits, digits

STAND_IN = digits("test", "stand-in")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((10, "small", "bold"), "digit must be one of 0, 1"),
        ((3, "medium", "bold"), "size must be one of small, large, got 'medium'"),
        ((3, "small", "pink"), "ink must be one of faint, bold, got 'pink'"),
    ],
)
def test_things(arguments, message):
    with pytest.raises(ValueError, match=message):
        Thing(*arguments)


@pytest.mark.parametrize(
    ("count", "relation", "message"),
    [
        (0, None, "things must be one, two or three, got 0"),
        (4, "between", "things must be one, two or three, got 4"),
        (1, "above", "relation must be None for 1 thing, got 'above'"),
        (2, None, "relation must be 'above' or 'left of' for 2 things"),
        (2, "below", "got 'below'"),
        (3, "above", "relation must be 'between'"),
    ],
)
def test_scenes(count, relation, message):
    with pytest.raises(ValueError, match=message):
        Scene(THINGS[:count], relation)


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


def test_a_caption_must_be_a_text():
    with pytest.raises(TypeError, match="caption must be a str, got int"):
        parse(3)


def test_tokens():
    tokenizer = Tokenizer()
    with pytest.raises(ValueError, match="'purple'"):
        tokenizer.encode(["a purple 3"])
    with pytest.raises(ValueError, match="'<pad>'"):
        tokenizer.encode(["a <pad> 3"])
    with pytest.raises(ValueError, match="length must be at least 6"):
        tokenizer.encode(["a small faint 3"], length=5)
    with pytest.raises(ValueError, match="tokens must lie in 0 … 56, got 0 … 57"):
        tokenizer.decode(torch.tensor([[0, 57]]))


def test_drawing():
    with pytest.raises(ValueError, match="combinations must be one of 'seen', 'held out', 'all', got 'unseen'"):
        draw_scenes(1, STAND_IN, combinations="unseen")
    with pytest.raises(ValueError, match="n must be at least 1, got 0"):
        draw_scenes(0, STAND_IN)
    only = STAND_IN.labels != 7
    with pytest.raises(ValueError, match="images must show every digit, there is none with label 7"):
        draw_scenes(1, Digits(STAND_IN.images[only], STAND_IN.labels[only], "stand-in", ""))
    with pytest.raises(ValueError, match="at most one may be large"):
        draw_boxes(torch.tensor([[2, 2, 0]]), torch.tensor([True]))
    with pytest.raises(ValueError, match="number 1 is blank"):
        fit_ink(torch.stack([torch.ones(1, 28, 28), torch.zeros(1, 28, 28)]), 14)


def test_batches():
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        SceneBatches(STAND_IN, 0)
    with pytest.raises(ValueError, match="captions must be at least 1, got 0"):
        SceneBatches(STAND_IN, 2, captions=0)
    with pytest.raises(ValueError, match="combinations must be one of"):
        SceneBatches(STAND_IN, 1, combinations="none")
    batches = SceneBatches(STAND_IN, 2)
    state = batches.state_dict()
    with pytest.raises(ValueError, match="state lacks"):
        batches.load_state_dict({"index": 1})
    with pytest.raises(ValueError, match="differ in {'seed'"):
        batches.load_state_dict(state | {"seed": 1})
    with pytest.raises(ValueError, match="differ in {'sha256'"):
        batches.load_state_dict(state | {"sha256": "another"})
    with pytest.raises(ValueError, match="differ in {'captions'"):
        batches.load_state_dict(state | {"captions": 4})
    with pytest.raises(ValueError, match="index of at least 0"):
        batches.load_state_dict(state | {"index": -1})


def test_marking():
    scene = parse("a small faint 3")
    with pytest.raises(ValueError, match="told must hold one caption a scene, got 0 for 1"):
        facts_right([scene], [])
    with pytest.raises(ValueError, match="told must hold"):
        facts_right([], [])
    with pytest.raises(ValueError, match="references must hold one entry a candidate, got 2 for 1"):
        bleu4(["a"], ["a", "b"])
