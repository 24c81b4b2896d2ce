"""What must hold of intervals, losses and attention, whatever the numbers."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vqdiff_edu.crossmodal.caption import Captioner, caption_loss, score_captions, wilson_interval
from vqdiff_edu.crossmodal.scenes import Tokenizer, draw_scenes
from vqdiff_edu.data import digits

COUNTS = st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(COUNTS, st.floats(0.1, 5))
def test_the_ends_of_the_interval_are_just_surprised(counts, z):
    right, n = counts
    low, high = wilson_interval(right, n, z)
    assert 0 <= low <= right / n <= high <= 1
    for p in (low, high):
        if 0 < p < 1:
            assert abs(right / n - p) == pytest.approx(z * math.sqrt(p * (1 - p) / n), rel=1e-6, abs=1e-9)


@given(COUNTS)
def test_failures_have_the_mirrored_interval(counts):
    right, n = counts
    low, high = wilson_interval(right, n)
    assert wilson_interval(n - right, n) == pytest.approx((1 - high, 1 - low))


@given(COUNTS, st.integers(2, 9))
def test_more_trials_narrow_the_interval(counts, times):
    right, n = counts
    low, high = wilson_interval(right, n)
    tighter = wilson_interval(right * times, n * times)
    assert tighter[1] - tighter[0] < high - low


@given(st.integers(1, 4), st.integers(1, 6), st.integers(3, 9), st.integers(0, 1000))
def test_the_loss_is_the_mean_over_words_that_are_no_padding(batch, n, vocabulary, seed):
    g = torch.Generator().manual_seed(seed)
    tokens = torch.randint(vocabulary, (batch, n + 1), generator=g)
    tokens[0, 1] = 1  # one word at least counts
    logits = torch.randn(batch, vocabulary, n, generator=g)
    terms = [-logits[b, :, i].log_softmax(0)[tokens[b, i + 1]] for b in range(batch) for i in range(n) if tokens[b, i + 1] != 0]
    assert caption_loss(logits, tokens, 0).item() == pytest.approx(torch.stack(terms).mean().item(), rel=1e-4)


@given(st.sampled_from(["codes", "patches"]), st.integers(1, 3), st.integers(0, 1000))
def test_scenes_of_a_batch_do_not_see_each_other(source, batch, seed):
    torch.manual_seed(seed)
    model = Captioner(20, source, width=8, dim=8, depth=1, num_embeddings=9, embedding_dim=4).eval()
    x = torch.randint(9, (batch, 14, 14)) if source == "codes" else torch.rand(batch, 1, 56, 56) * 2 - 1
    tokens = torch.randint(20, (batch, 5))
    alone = torch.cat([model(x[i : i + 1], tokens[i : i + 1]) for i in range(batch)])
    assert torch.allclose(model(x, tokens), alone, atol=1e-4)


@given(st.integers(0, 1000), st.integers(1, 12))
def test_true_captions_score_full_marks_and_others_never_more(seed, n):
    g = torch.Generator().manual_seed(seed)
    scenes = draw_scenes(n, digits("test", "stand-in"), g)
    scores = score_captions(scenes.scenes, scenes.captions, scenes.captions)
    kinds = [kind for kind in ("all", "count", "digit", "size", "ink", "relation") if kind in scores]
    assert all(scores[kind]["share"] == 1 for kind in kinds) and scores["unreadable"] == 0
    swapped = score_captions(scenes.scenes, scenes.captions[1:] + scenes.captions[:1], scenes.captions)
    assert all(swapped[kind]["low"] <= swapped[kind]["share"] <= swapped[kind]["high"] <= 1 for kind in kinds)
    assert Tokenizer().decode(Tokenizer().encode(scenes.captions)) == scenes.captions
