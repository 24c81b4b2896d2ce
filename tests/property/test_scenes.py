"""What must hold of every scene and every seed."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from vqdiff_edu.crossmodal.scenes import RELATIONS, THINGS, Scene, SceneBatches, Tokenizer, bleu4, describe, draw_scenes, facts_right, parse
from vqdiff_edu.data import digits

parts = st.tuples(st.lists(st.sampled_from(THINGS), min_size=1, max_size=3), st.integers(0, 1))
seeds = st.integers(0, 2**40)


def generator(seed):
    return torch.Generator().manual_seed(seed)


def scene_of(parts):
    things, which = parts
    return Scene(tuple(things), RELATIONS[len(things)][which % len(RELATIONS[len(things)])])


@given(parts, seeds)
def test_what_is_described_is_what_is_read(parts, seed):
    scene = scene_of(parts)
    caption = describe(scene, generator(seed))
    assert parse(caption) == scene
    assert caption == caption.lower() and describe(scene, generator(seed)) == caption
    tokenizer = Tokenizer()
    assert tokenizer.decode(tokenizer.encode([caption])) == [caption]


@given(parts, parts, seeds)
def test_marks_lie_between_nothing_and_all(truth, told, seed):
    truth, told = scene_of(truth), scene_of(told)
    marks = facts_right([truth], [describe(told, generator(seed))])
    assert all(value != value or 0 <= value <= 1 for value in marks.values())
    assert (marks["all"] == 1) == (truth == told)
    if truth == told:
        assert all(value == 1 for value in marks.values() if value == value)


@given(st.lists(parts, min_size=1, max_size=4), seeds)
def test_bleu_of_the_reference_is_one_and_of_others_not_more(several, seed):
    captions, others = ([describe(scene_of(parts), generator(seed + i)) for parts in several] for i in range(2))
    score = bleu4(captions, captions)
    assert abs(score - 1) < 1e-12  # a caption has at least four words
    assert bleu4(others, captions) <= bleu4(others, [[a, b] for a, b in zip(captions, others)]) + 1e-12


@given(st.integers(1, 5), seeds, st.sampled_from(["seen", "held out", "all"]))
def test_drawn_scenes_can_be_read_and_repeated(n, seed, combinations):
    data = digits("test", "stand-in")
    drawn, again = (draw_scenes(n, data, generator(seed), combinations) for _ in range(2))
    assert [parse(caption) for caption in drawn.captions] == drawn.scenes
    assert torch.equal(drawn.images, again.images) and drawn.captions == again.captions


@given(st.integers(0, 50), st.integers(1, 4), st.integers(0, 2**20))
def test_a_resumed_stream_goes_on_where_it_stopped(index, batch_size, seed):
    data = digits("test", "stand-in")
    batches, resumed = SceneBatches(data, batch_size, seed=seed), SceneBatches(data, batch_size, seed=seed)
    batches.load_state_dict({**batches.state_dict(), "index": index})
    next(batches)
    resumed.load_state_dict(batches.state_dict())
    assert all(torch.equal(value, other) for value, other in zip(next(batches).values(), next(resumed).values()))
