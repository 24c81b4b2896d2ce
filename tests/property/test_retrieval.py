"""What must hold of every ranking, every loss, every set of cards and every index."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from vqdiff_edu.crossmodal.retrieval import (
    CellIndex,
    agree,
    all_positives,
    any_positive,
    average_precision,
    draw_cards,
    facts_of,
    info_nce,
    leave_out,
    precision_at,
    ranked,
    recall_at,
)
from vqdiff_edu.data import digits

STAND_IN = digits("test", "stand-in")
seeds = st.integers(0, 2**40)


def generator(seed):
    return torch.Generator().manual_seed(seed)


@given(seeds, st.integers(2, 30))
def test_moving_a_relevant_item_up_never_hurts(seed, n):
    marks = torch.rand(1, n, generator=generator(seed)) < 0.5
    marks[0, -1] = True
    k = int(torch.randint(n - 1, (1,), generator=generator(seed + 1)))
    better = marks.clone()
    better[0, [k, k + 1]] = better[0, [k, k + 1]].sort(descending=True).values
    assert average_precision(better) >= average_precision(marks)
    assert precision_at(better, k + 1) >= precision_at(marks, k + 1)
    assert recall_at(better, k + 1) >= recall_at(marks, k + 1)


@given(seeds, st.integers(2, 20), st.floats(0.1, 10))
def test_marks_do_not_change_when_scores_are_stretched(seed, n, factor):
    scores, relevant = torch.randn(3, n, generator=generator(seed), dtype=torch.float64), torch.rand(3, n, generator=generator(seed)) < 0.5
    assert torch.equal(ranked(scores, relevant), ranked(factor * scores + 1, relevant))
    assert torch.equal(ranked(scores, relevant).sum(1), relevant.sum(1))


@given(seeds, st.integers(2, 12))
def test_one_partner_is_less_to_ask_for_than_all(seed, n):
    scores = 3 * torch.randn(n, n, generator=generator(seed), dtype=torch.float64)
    positive = (torch.rand(n, n, generator=generator(seed + 1)) < 0.5) | torch.eye(n).bool()
    any_, all_ = any_positive(scores, positive), all_positives(scores, positive)
    assert (any_ >= -1e-12).all() and (any_ <= info_nce(scores) + 1e-12).all()
    assert (all_ >= positive.sum(1).double().log() - 1e-12).all()  # least where the mass is spread evenly over the partners
    assert (all_ >= any_ + positive.sum(1).double().log() - 1e-9).all()


@given(seeds)
def test_matching_is_mutual_and_survives_silence(seed):
    facts = facts_of(torch.randint(40, (8,), generator=generator(seed)))
    other = facts_of(torch.randint(40, (6,), generator=generator(seed + 1)))
    assert torch.equal(agree(facts, other), agree(other, facts).T)
    silent = leave_out(other, 0.5, generator(seed + 2))
    assert (agree(facts, silent) >= agree(facts, other)).all()


@given(seeds, st.integers(1, 5), st.sampled_from(["seen", "held out", "all"]))
def test_cards_match_their_captions(seed, n, combinations):
    cards = draw_cards(n, STAND_IN, generator(seed), combinations)
    assert cards.images.shape == (n, 1, 28, 28) and cards.images.dtype == torch.uint8 and len(cards.captions) == n
    assert agree(cards.facts, cards.told).diagonal().all()
    assert (cards.images.flatten(1).amax(1) > 100).all()


@given(seeds, st.integers(1, 8), st.integers(1, 10))
def test_search_finds_rows_that_are_there_and_each_once(seed, cells, k):
    vectors = torch.nn.functional.normalize(torch.randn(60, 4, generator=generator(seed)), dim=1)
    index = CellIndex(vectors, cells, 2, iterations=2, generator=generator(seed))
    found = index.search(vectors[0], k, probes=cells, exact=60)
    assert found.tolist() == (vectors @ vectors[0]).topk(k).indices.tolist()
