"""Retrieval: what matches what, marks by counting, losses by enumeration, search against looking at everything, users against simulation."""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F

from vqdiff_edu.crossmodal.audio import SpeechClassifier, SpeechTask, speech
from vqdiff_edu.crossmodal.retrieval import (
    CellIndex,
    SharedSpace,
    SpaceTask,
    TripleBatches,
    Users,
    agree,
    all_positives,
    any_positive,
    average_precision,
    bootstrap_interval,
    chance_average_precision,
    contrast,
    digit_only,
    draw_cards,
    draw_users,
    embed_all,
    embed_captions,
    embed_pictures,
    embed_recordings,
    expected_hits,
    facts_of,
    gaussian_information,
    gaussian_log_ratio,
    info_nce,
    leave_out,
    mean_match,
    precision_at,
    ranked,
    recall_at,
    score_direction,
    score_space,
    soft_match,
    space_data,
    space_recipe,
    tell,
    train_space,
)
from vqdiff_edu.crossmodal.scenes import HELD_OUT, INKS, KINDS, MEANING, SIZES, THINGS, Scene, Tokenizer, ink_boxes, parse
from vqdiff_edu.data import digits

STAND_IN = digits("test", "stand-in")
SOUNDS = speech("test", "stand-in")


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def small(**options):
    torch.manual_seed(0)
    return SharedSpace(**{"dim": 8, "widths": (4, 4, 4), "features": 8} | options).eval()


# ---------------------------------------------------------------- what matches what


def test_two_things_match_if_no_fact_that_both_state_differs():
    a, b = torch.randint(-1, 2, (7, 3), generator=seeded(1)), torch.randint(-1, 2, (5, 3), generator=seeded(2))
    for i, j in itertools.product(range(7), range(5)):
        by_hand = all(x == y or -1 in (x, y) for x, y in zip(a[i].tolist(), b[j].tolist()))
        assert bool(agree(a, b)[i, j]) == by_hand


def test_facts_of_a_thing_are_those_that_its_number_stands_for():
    for thing in THINGS:
        digit, size, ink = facts_of(torch.tensor([thing.number]))[0].tolist()
        assert (digit, list(SIZES)[size], list(INKS)[ink]) == (thing.digit, thing.size, thing.ink)


def test_a_recording_states_its_digit_and_nothing_else():
    assert digit_only(torch.tensor([7, 0])).tolist() == [[7, -1, -1], [0, -1, -1]]


def test_facts_are_left_out_as_often_as_asked_and_never_all():
    facts = facts_of(torch.arange(40)).repeat(500, 1)
    kept = leave_out(facts, 0.5, seeded(3)) >= 0
    assert kept.any(1).all()
    assert abs(kept.double().mean() - (0.5 + 0.125)) < 0.01  # one time in eight nothing is kept, and then all are told
    assert (leave_out(facts, 0.0) == facts).all()


ORDER = {"digit": list(range(10)), "size": list(SIZES), "ink": list(INKS)}


def stated(caption):
    """The facts that the words of a caption state, as a row of numbers."""
    row = dict.fromkeys(ORDER, -1)
    for fact in (MEANING[word] for word in caption.split() if word in MEANING):
        assert row[KINDS[fact]] == -1, f"{caption!r} tells the {KINDS[fact]} twice"
        row[KINDS[fact]] = ORDER[KINDS[fact]].index(fact)
    return list(row.values())


def test_a_caption_tells_what_it_should_and_nothing_else():
    told = leave_out(facts_of(torch.arange(40)).repeat(10, 1), 1 / 3, seeded(4))
    for caption, facts in zip(tell(told, seeded(5)), told.tolist()):
        assert stated(caption) == facts


def test_a_caption_that_is_a_sentence_can_be_read_by_the_grammar():
    facts = facts_of(torch.arange(40))
    for caption, number in zip(tell(facts, seeded(6)), range(40)):
        if caption.startswith(("a ", "there", "only")):
            assert parse(caption) == Scene((THINGS[number],))


# ---------------------------------------------------------------- pictures


def test_a_picture_shows_its_facts():
    cards = draw_cards(60, STAND_IN, seeded(7))
    top, bottom, left, right = ink_boxes(cards.images.float() / 255, 0.02).T
    longest = torch.maximum(bottom - top, right - left)
    side = torch.tensor(list(SIZES.values()))[cards.facts[:, 1]]
    assert ((longest - side).abs() <= 1).all()
    darkest = cards.images.flatten(1).amax(1)
    assert (darkest == (255 * torch.tensor(list(INKS.values()))[cards.facts[:, 2]]).round()).all()
    assert cards.images.shape == (60, 1, 28, 28)


def test_a_picture_shows_a_digit_of_its_label():
    found = draw_cards(40, STAND_IN, seeded(8)).facts[:, 0]
    assert found.unique().numel() > 5


def test_cards_depend_on_the_seed_alone():
    a, b = draw_cards(9, STAND_IN, seeded(9)), draw_cards(9, STAND_IN, seeded(9))
    assert torch.equal(a.images, b.images) and a.captions == b.captions and torch.equal(a.told, b.told)


def test_combinations_kept_from_training_are_not_seen():
    kept = {thing.number for thing in HELD_OUT}
    numbers = [(4 * f[0] + 2 * f[1] + f[2]).item() for f in draw_cards(300, STAND_IN, seeded(10), "seen").facts]
    assert not kept & set(numbers)
    assert {(4 * f[0] + 2 * f[1] + f[2]).item() for f in draw_cards(100, STAND_IN, seeded(10), "held out").facts} <= kept


# ---------------------------------------------------------------- marks


def test_marks_by_counting():
    scores = torch.randn(6, 12, generator=seeded(11))
    relevant = torch.rand(6, 12, generator=seeded(12)) < 0.4
    relevant[:, 3] = True
    marks = ranked(scores, relevant)
    for row, value, wanted in zip(scores.tolist(), relevant.tolist(), marks.tolist()):
        assert [value[i] for i in sorted(range(12), key=lambda i: -row[i])] == wanted
    for k in (1, 5, 12):
        for i, row in enumerate(marks.tolist()):
            assert recall_at(marks, k)[i] == float(any(row[:k]))
            assert precision_at(marks, k)[i] == pytest.approx(sum(row[:k]) / k)
    for i, row in enumerate(marks.tolist()):
        places = [p for p, mark in enumerate(row, 1) if mark]
        assert average_precision(marks)[i] == pytest.approx(sum((n + 1) / p for n, p in enumerate(places)) / len(places))


def test_average_precision_is_one_exactly_if_all_relevant_items_come_first():
    assert average_precision(torch.tensor([[True, True, False, False]])) == 1
    assert average_precision(torch.tensor([[True, False, True, False]])) < 1


@pytest.mark.parametrize(("items", "relevant"), [(5, 1), (6, 3), (7, 7), (9, 2)])
def test_average_precision_by_chance_over_all_orders(items, relevant):
    rows = [torch.zeros(items).index_fill(0, torch.tensor(p), 1).bool() for p in itertools.combinations(range(items), relevant)]
    assert average_precision(torch.stack(rows)).mean().item() == pytest.approx(chance_average_precision(items, relevant), abs=1e-12)


def test_a_bootstrap_interval_is_that_of_the_mean():
    values = torch.randn(400, generator=seeded(13), dtype=torch.float64)
    low, high = bootstrap_interval(values, generator=seeded(14))
    half = 1.96 * values.std().item() / 20
    assert low == pytest.approx(values.mean().item() - half, abs=0.02) and high == pytest.approx(values.mean().item() + half, abs=0.02)
    assert bootstrap_interval(values, generator=seeded(14)) == (low, high)


# ---------------------------------------------------------------- losses


def test_infonce_is_the_cross_entropy_of_the_own_column():
    scores = torch.randn(7, 7, generator=seeded(15))
    assert torch.allclose(info_nce(scores), F.cross_entropy(scores, torch.arange(7), reduction="none"))


def test_the_log_ratio_of_gaussians_is_that_of_their_densities():
    rho, dim = 0.7, 3
    x, y = torch.randn(2, 4, dim, generator=seeded(16), dtype=torch.float64)
    normal = torch.distributions.Normal
    for i, j in itertools.product(range(4), range(4)):
        direct = normal(rho * x[i], math.sqrt(1 - rho**2)).log_prob(y[j]) - normal(0.0, 1.0).log_prob(y[j])
        assert gaussian_log_ratio(x, y, rho)[i, j] == pytest.approx(direct.sum().item(), abs=1e-9)


def test_information_of_gaussians_is_the_mean_log_ratio_by_quadrature():
    rho, at = 0.6, torch.linspace(-8, 8, 801, dtype=torch.float64)
    x, y = torch.meshgrid(at, at, indexing="ij")
    covariance = torch.tensor([[1, rho], [rho, 1]], dtype=torch.float64)
    density = (
        torch.distributions.MultivariateNormal(torch.zeros(2, dtype=torch.float64), covariance).log_prob(torch.stack([x, y], -1)).exp()
    )
    ratio = gaussian_log_ratio(at[:, None], at[:, None], rho)
    assert (density * ratio).sum().item() * 0.02**2 == pytest.approx(gaussian_information(rho, 1), abs=1e-6)
    assert gaussian_information(rho, 5) == pytest.approx(5 * gaussian_information(rho, 1))


def table(seed, n=6, m=6):
    scores = 2 * torch.randn(n, m, generator=seeded(seed), dtype=torch.float64)
    positive = torch.rand(n, m, generator=seeded(seed + 1)) < 0.4
    return scores, positive | torch.eye(n, m).bool()


def test_losses_with_several_partners_by_hand():
    scores, positive = table(17, 4, 6)
    for i in range(4):
        p = scores[i].softmax(0)
        right = positive[i].nonzero().flatten()
        assert all_positives(scores, positive)[i].item() == pytest.approx(-sum(p[j].log().item() for j in right) / len(right))
        assert any_positive(scores, positive)[i].item() == pytest.approx(-math.log(sum(p[j].item() for j in right)))


def test_with_one_partner_all_three_losses_are_one():
    scores, only = table(19)[0], torch.eye(6).bool()
    for loss in ("pairs", "all", "any"):
        assert torch.allclose(contrast(scores, only, loss), info_nce(scores))


def test_the_mean_over_pairings_is_the_loss_with_all_partners_and_so_are_the_gradients():
    labels = torch.tensor([0, 0, 0, 1, 1])
    scores = torch.randn(5, 5, generator=seeded(21), dtype=torch.float64, requires_grad=True)
    orders = [[*a, *b] for a in itertools.permutations(range(3)) for b in itertools.permutations((3, 4))]
    mean = torch.stack([info_nce(scores[:, order]).mean() for order in orders]).mean()
    whole = all_positives(scores, labels[:, None] == labels).mean()
    assert torch.isclose(mean, whole)
    assert torch.allclose(*(torch.autograd.grad(loss, scores)[0] for loss in (mean, whole)))


# ---------------------------------------------------------------- the space


def test_vectors_have_length_one_and_come_in_any_number():
    space, cards = small(), draw_cards(7, STAND_IN, seeded(22))
    for found in (
        embed_pictures(space, cards.images),
        embed_recordings(space, SOUNDS.samples[:7], SOUNDS.lengths[:7]),
        embed_captions(space, cards.captions),
    ):
        assert found.shape == (7, 8) and torch.allclose(found.norm(dim=1), torch.ones(7), atol=1e-5)


def test_a_caption_is_read_whatever_its_padding_and_the_order_of_its_words():
    space, words = small(), Tokenizer()
    short, long = (space.captions(words.encode(["big bold seven"], n)) for n in (5, 12))
    assert torch.allclose(short, long, atol=1e-6)
    assert torch.allclose(short, embed_captions(space, ["Bold big seven"]), atol=1e-6)
    assert not torch.allclose(short, embed_captions(space, ["big bold six"]), atol=1e-3)


def test_what_lies_beyond_a_recordings_length_is_not_heard():
    space, samples, lengths = small(), SOUNDS.samples[:2].clone(), SOUNDS.lengths[:2]
    before = embed_recordings(space, samples, lengths)
    for row, n in zip(samples, lengths):
        row[n:] = 0.3
    assert torch.allclose(embed_recordings(space, samples, lengths), before, atol=1e-6)


def test_the_scale_starts_at_one_over_the_temperature_and_has_a_bound():
    assert small(temperature=0.05).scale.item() == pytest.approx(20, rel=1e-5)
    assert small(temperature=0.001).scale.item() == 100
    assert small().log_scale.requires_grad and not small(learned=False).log_scale.requires_grad


def batches(**options):
    return TripleBatches(STAND_IN, SOUNDS, 12, **options)


def test_a_batch_holds_pictures_with_recordings_and_captions_that_match_them():
    source = batches(seed=3)
    batch = source.at(5)
    assert agree(batch["facts"], batch["told"]).diagonal().all()
    heard = [(SOUNDS.samples[:, : len(row)] == row).all(1).nonzero()[0].item() for row in batch["samples"]]
    assert (SOUNDS.labels[heard] == batch["facts"][:, 0]).all() and (SOUNDS.lengths[heard] == batch["length"]).all()
    assert Tokenizer().decode(batch["tokens"]) == draw_captions(source, 5)


def draw_captions(source, index):
    """The captions of a batch, drawn again."""
    import hashlib

    generator = seeded(int.from_bytes(hashlib.sha256(f"{source.seed} {index}".encode()).digest()[:8], "big") >> 1)
    return draw_cards(12, STAND_IN, generator, "seen").captions


def test_batches_resume_to_the_last_bit():
    first = batches(seed=4)
    for _ in range(3):
        next(first)
    state, wanted = first.state_dict(), next(first)
    second = batches(seed=4)
    second.load_state_dict(state)
    found = next(second)
    assert wanted.keys() == found.keys() and all(torch.equal(wanted[name], found[name]) for name in wanted)
    with pytest.raises(ValueError, match="other batches"):
        batches(seed=5).load_state_dict(state)


@pytest.mark.parametrize("loss", ["pairs", "all", "any"])
def test_every_weight_is_trained_by_every_loss(loss):
    space = small().train()
    value, logs = SpaceTask(space, loss).loss(next(batches()), seeded(23))
    value.backward()
    for name, parameter in space.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
    assert value.isfinite() and logs["scale"].item() == pytest.approx(10, rel=1e-4)


def test_a_borrowed_ear_stays_as_it_is_and_all_else_is_trained():
    torch.manual_seed(0)
    ear = SpeechClassifier((4, 4, 6), 10).eval()
    before = {name: value.clone() for name, value in ear.body.state_dict().items()}
    space = small(ear=ear).train()
    SpaceTask(space).loss(next(batches()), seeded(26))[0].backward()
    for name, parameter in space.named_parameters():
        assert (parameter.grad is None) == name.startswith("recording."), name
    assert all(torch.equal(before[name], value) for name, value in space.recording[0].state_dict().items())
    x = torch.randn(3, 40, 100, generator=seeded(27))
    assert torch.allclose(space.recordings(x), F.normalize(space.heads["recording"](ear.features(x)), dim=1), atol=1e-6)
    assert all(parameter.requires_grad for parameter in ear.parameters())  # the lender may go on learning


def test_the_loss_is_the_mean_over_six_directions():
    space, batch = small(), next(batches())
    task = SpaceTask(space, "all")
    total, generator = task.loss(batch, seeded(24))[0], seeded(24)
    sides = [
        (space.pictures(batch["image"].float() / 127.5 - 1), batch["facts"]),
        (space.recordings(task.heard(batch, generator)), digit_only(batch["facts"][:, 0])),
        (space.captions(batch["tokens"]), batch["told"]),
    ]
    each = [all_positives(10 * a @ b.T, agree(x, y)).mean() for i, (a, x) in enumerate(sides) for j, (b, y) in enumerate(sides) if i != j]
    assert total.item() == pytest.approx(sum(each).item() / 6, rel=1e-5)


def test_the_space_hears_recordings_in_as_many_places_as_the_recognizer():
    batch = next(batches())
    ear, generator = SpeechTask(SpeechClassifier((4, 4, 4), 8)), seeded(25)
    asked = ear.inputs(ear.words(batch, generator), generator)
    assert torch.equal(SpaceTask(small()).heard(batch, seeded(25)), asked)


def test_validation_data_are_neither_trained_on_nor_test_data():
    (pictures, sounds), (judges, takes) = space_data(validation=True)
    n = len(digits("train"))
    assert len(pictures) + len(judges) == n and 0 <= 6 * len(judges) - n < 6
    assert set(takes.takes.tolist()) == {5, 6, 7, 8, 9} and not set(sounds.takes.tolist()) & set(range(10))


def test_a_speaker_is_left_out():
    name = speech("train").speakers[0]
    (_, sounds), (_, apart) = space_data(held_out=name)
    assert name not in sounds.speakers and set(apart.speakers) == {name}


def test_a_space_can_be_trained_and_judged(tmp_path):
    run = train_space(tmp_path, space_recipe(3), loss="any", dim=4, widths=(4, 4, 4), features=8)
    sounds = SOUNDS.subset(torch.arange(0, len(SOUNDS), 30))
    embedded = embed_all(run.model.eval(), STAND_IN, sounds, cards=40)
    found = score_space(embedded, queries=8)
    assert set(found) == {f"{a} → {b}" for a, b in itertools.permutations(("picture", "recording", "caption"), 2)}
    assert all(0 <= value <= 1 for row in found.values() for name, value in row.items() if name != "queries")


def test_a_direction_is_scored_by_what_agrees():
    q, x = torch.eye(3), torch.eye(3)[[0, 0, 1, 2]]
    facts = digit_only(torch.tensor([4, 5, 6]))
    shown = torch.tensor([[4, 0, 0], [4, 1, 0], [5, 0, 0], [4, 0, 0]])
    scores = score_direction((q, facts), (x, shown), k=2)
    assert scores["recall@1"].tolist() == [1, 1, 0]
    assert scores["precision@2"].tolist()[:2] == [1, 0.5]


# ---------------------------------------------------------------- search


def cloud(n=600, dim=8, seed=30):
    return F.normalize(torch.randn(n, dim, generator=seeded(seed)), dim=1)


def test_search_in_all_cells_with_the_vectors_is_exact():
    vectors, queries = cloud(), cloud(20, seed=31)
    index = CellIndex(vectors, 12, None, generator=seeded(32))
    for q in queries:
        assert index.search(q, 7, probes=12).tolist() == (vectors @ q).topk(7).indices.tolist()


def test_every_vector_lies_in_the_cell_of_its_nearest_centre():
    vectors = cloud()
    index = CellIndex(vectors, 9, None, generator=seeded(33))
    assert sorted(index.order.tolist()) == list(range(600)) and index.first[0] == 0 and index.first[-1] == 600
    for c in range(9):
        rows = index.order[index.first[c] : index.first[c + 1]]
        assert (torch.cdist(vectors[rows], index.centres).argmin(1) == c).all()


def test_product_codes_stand_for_the_nearest_piece_and_products_are_those_of_what_they_stand_for():
    vectors, query = cloud(), cloud(1, seed=34)[0]
    index = CellIndex(vectors, 1, 4, generator=seeded(35))
    pieces = vectors[index.order].view(600, 4, 2)
    assert index.codes.shape == (4, 600) and index.codes.dtype == torch.uint8
    decoded = torch.stack([index.books[p][index.codes[p].long()] for p in range(4)], 1)
    for p in range(4):
        assert (torch.cdist(pieces[:, p], index.books[p]).argmin(1) == index.codes[p]).all()
    assert torch.allclose(index.scores(query, [slice(0, 600)]), decoded.flatten(1) @ query, atol=1e-5)


def test_the_best_by_code_are_put_in_order_by_their_vectors():
    vectors, query = cloud(), cloud(1, seed=36)[0]
    index = CellIndex(vectors, 6, 2, generator=seeded(37))
    assert index.search(query, 5, probes=6, exact=600).tolist() == (vectors @ query).topk(5).indices.tolist()
    found = (vectors @ query)[index.search(query, 10, probes=2, exact=40)]
    assert (found.diff() <= 0).all()


def test_more_cells_find_more():
    vectors, queries = cloud(2000), cloud(30, seed=38)
    index = CellIndex(vectors, 40, None, generator=seeded(39))
    truth = [set((vectors @ q).topk(10).indices.tolist()) for q in queries]
    found = [sum(len(t & set(index.search(q, probes=p).tolist())) for q, t in zip(queries, truth)) for p in (1, 4, 40)]
    assert found[0] < found[1] < found[2] == 300


# ---------------------------------------------------------------- recommendation

ABOUT = facts_of(torch.arange(40)).repeat(3, 1)


def test_without_taste_the_next_item_follows_popularity():
    popularity = torch.rand(120, generator=seeded(40)).double()
    users = draw_users(50, ABOUT, popularity, taste=0.0, length=4, generator=seeded(41))
    for p, history in zip(users.probability, users.history):
        left = popularity.clone()
        left[history] = 0
        assert torch.allclose(p, left / left.sum())
        assert history.unique().numel() == 4


def test_each_liking_that_is_met_multiplies_by_the_same():
    users = draw_users(200, ABOUT, torch.ones(120).double(), taste=2.0, length=1, generator=seeded(42))
    for row in users.probability:
        levels = (row[row > 0] / row[row > 0].min()).log().div(2).round(decimals=6).unique().tolist()
        assert levels == [0.0, 1.0, 2.0]
        strong = ABOUT[row == row.max()]
        assert strong[:, 0].unique().numel() <= 2 and (strong[:, 1:] == strong[0, 1:]).all()


def test_expected_hits_are_those_of_a_simulation():
    users = draw_users(3, ABOUT, torch.ones(120).double(), taste=1.5, length=5, generator=seeded(43))
    scores = torch.rand(3, 120, generator=seeded(44))
    found = expected_hits(scores, users, k=10)
    lists = scores.scatter(1, users.history, -1.0).topk(10, dim=1).indices
    nexts = torch.multinomial(users.probability, 40_000, replacement=True, generator=seeded(45))
    for u in range(3):
        place = {item: i for i, item in enumerate(lists[u].tolist())}
        hits = torch.tensor([1.0 if item in place else 0.0 for item in nexts[u].tolist()])
        gains = torch.tensor([1 / math.log2(place[item] + 2) if item in place else 0.0 for item in nexts[u].tolist()])
        assert found["hit rate@10"][u].item() == pytest.approx(hits.mean().item(), abs=0.012)
        assert found["NDCG@10"][u].item() == pytest.approx(gains.mean().item(), abs=0.012)


def test_what_was_met_is_not_recommended():
    probability, history = torch.full((1, 4), 0.25).double(), torch.tensor([[0, 1]])
    users = Users(probability, history, torch.zeros_like(history))
    assert expected_hits(torch.tensor([[9.0, 8.0, 1.0, 2.0]]), users, k=1)["hit rate@1"].item() == 0.25
    users = Users(torch.tensor([[0.0, 0.0, 0.9, 0.1]]).double(), history, torch.zeros_like(history))
    assert expected_hits(torch.tensor([[9.0, 8.0, 1.0, 2.0]]), users, k=1)["hit rate@1"].item() == pytest.approx(0.1)
    gain = expected_hits(torch.tensor([[9.0, 8.0, 1.0, 2.0]]), users, k=2)["NDCG@2"].item()
    assert gain == pytest.approx(0.1 + 0.9 / math.log2(3))  # the first place counts whole


def test_matches_with_a_history():
    items, history = cloud(9), cloud(2 * 4, seed=46).view(2, 4, 8)
    cosines = torch.einsum("nd,uhd->uhn", items, history)
    assert torch.allclose(mean_match(items, history), cosines.mean(1), atol=1e-6)
    assert torch.allclose(soft_match(items, history, 0.3), (cosines / 0.3).exp().mean(1).log(), atol=1e-5)
    assert torch.allclose(0.002 * soft_match(items, history, 0.002), cosines.amax(1), atol=0.01)
    assert torch.allclose(100 * soft_match(items, history, 100.0), mean_match(items, history), atol=0.01)
