"""Painters of scenes: exact likelihoods by enumeration, what a code may depend on, masks, the reader of pictures on real scenes, captions one word apart."""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F

from vqdiff_edu.crossmodal import text2image
from vqdiff_edu.crossmodal.scenes import (
    HELD_OUT,
    Scene,
    SceneBatches,
    Thing,
    Tokenizer,
    describe,
    draw_scenes,
    fit_ink,
    parse,
)
from vqdiff_edu.crossmodal.text2image import (
    Drawer,
    LayoutPainter,
    LayoutTask,
    MaskedPainter,
    PainterTask,
    Plan,
    PlannedBatches,
    Planner,
    RasterPainter,
    ScenePainter,
    WordsToCodes,
    caption_pairs,
    clean_caption,
    compare_pairs,
    covered_places,
    cut_boxes,
    fill_in,
    find_things,
    fits,
    hide_captions,
    is_drawn,
    one_word_changes,
    plan_and_code_bits,
    plan_of,
    read_pictures,
    reading_order,
    reveal,
    score_pictures,
    spans,
    stays,
)
from vqdiff_edu.data import digits, to_float
from vqdiff_edu.quantization.code_prior import draw_code
from vqdiff_edu.quantization.vector_quantizer import VectorQuantizer
from vqdiff_edu.quantization.vqvae import VQVAE

CAPTIONS = ["a small faint 1", "a big bold 7 above a small faint 2", "a tiny soft six on its own"]


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def net(causal=True, num_codes=3, side=2, **options):
    torch.manual_seed(0)
    model = WordsToCodes(torch.randn(num_codes, 4), causal=causal, side=side, **{"dim": 16, "depth": 2, "heads": 2} | options)
    model.head.weight.data.mul_(3)  # more decided than a fresh network
    return model.double().eval()


def words_of(*captions):
    return Tokenizer().encode(captions)


def all_messages(num_codes=3, length=4):
    return torch.tensor(list(itertools.product(range(num_codes), repeat=length)))


@pytest.fixture(scope="module")
def vqvae():
    torch.manual_seed(0)
    return VQVAE(1, 16, VectorQuantizer(12, 8, kmeans_init=False)).eval()


def painter_of(vqvae, kind=RasterPainter):
    torch.manual_seed(0)
    return ScenePainter(kind(WordsToCodes(vqvae.quantizer.codebook, causal=kind is RasterPainter, dim=16, depth=1, heads=2)), vqvae).eval()


# ---------------------------------------------------------------- the network


def test_the_probabilities_of_all_messages_add_up_to_one():
    messages, model = all_messages(), RasterPainter(net())
    for caption in (*CAPTIONS, ""):
        p = model.nll(messages, words_of(caption).expand(81, -1)).neg().exp()
        assert torch.isclose(p.sum(), torch.tensor(1.0).double())


def test_a_message_is_drawn_as_often_as_its_likelihood_says():
    model, n = RasterPainter(net()), 40_000
    p = model.nll(all_messages(), words_of(CAPTIONS[0]).expand(81, -1)).neg().exp()
    drawn = model.sample(words_of(CAPTIONS[0]).expand(n, -1), generator=seeded(0))
    found = torch.bincount((drawn * torch.tensor([27, 9, 3, 1])).sum(1), minlength=81) / n
    assert ((found - p).abs() < 5 * (p * (1 - p) / n).sqrt()).all()


def test_a_code_depends_on_all_words_and_on_every_code_before_it_alone():
    model, codes, words = net(side=4, num_codes=5), torch.randint(5, (1, 16), generator=seeded(1)), words_of(CAPTIONS[1])
    logits = model(codes, words)
    for i in range(16):
        other = codes.clone()
        other[:, i] = (other[:, i] + 1) % 5
        moved = (model(other, words) - logits).abs().amax((0, 1)) > 1e-9
        assert moved.tolist() == [False] * (i + 1) + [True] * (15 - i)
    for place in range(1, 12):  # from the first word to the end mark
        other = words.clone()
        other[:, place] = 5 if words[0, place] != 5 else 6
        assert (model(codes, other) - logits).abs().amax((0, 1)).min() > 1e-9


def test_a_masked_network_sees_all_codes():
    model, codes, words = net(causal=False, side=3, num_codes=5), torch.randint(5, (1, 9), generator=seeded(1)), words_of(CAPTIONS[1])
    for i in range(9):
        other = codes.clone()
        other[:, i] = (other[:, i] + 1) % 5
        assert ((model(other, words) - model(codes, words)).abs().amax((0, 1)) > 1e-9).all()


def test_neighbours_are_the_codes_around_a_place():
    assert net(side=4).near[5].tolist() == [4, 2, 1, 0]
    assert net(side=4).near[0].tolist() == [16] * 4  # 16 is none
    assert net(causal=False, side=4).near[5].tolist() == [0, 1, 2, 4, 5, 6, 8, 9, 10]


def test_code_vectors_begin_as_those_of_the_codebook():
    model = net(num_codes=7)
    torch.manual_seed(0)
    codebook = torch.randn(7, 4).double()
    assert torch.allclose(model.codes.weight[:7], (codebook - codebook.mean()) / codebook.std(), atol=1e-6)


def test_a_share_of_the_captions_is_hidden():
    words, none = words_of(*CAPTIONS).repeat(4000, 1), words_of("")
    hidden = hide_captions(words, 0.3, none, seeded(0))
    gone = (hidden == none).all(1)
    assert abs(gone.double().mean() - 0.3) < 0.02 and torch.equal(hidden[~gone], words[~gone])


# ---------------------------------------------------------------- drawing


@pytest.mark.parametrize("options", [{}, {"temperature": 0.7, "top_p": 0.8}, {"top_k": 2}, {"guidance_scale": 1.7}])
def test_the_cache_changes_no_sample(options):
    model, words = RasterPainter(net(side=3, num_codes=7)), words_of(*CAPTIONS)
    with_cache, without = (model.sample(words, generator=seeded(3), cached=c, **options) for c in (True, False))
    assert with_cache.shape == (3, 9) and torch.equal(with_cache, without)
    assert not torch.equal(with_cache, model.sample(words, generator=seeded(4), **options))


def test_guidance_is_towards_the_words_that_were_asked_for():
    model, words = RasterPainter(net(num_codes=5)), words_of(*CAPTIONS)
    codes = model.sample(words, temperature=0.0, guidance_scale=4.0)
    c, u = model.net(codes, words), model.net(codes, words_of("").expand_as(words))
    assert torch.equal(codes, (u + 4 * (c - u)).argmax(1))


def test_the_same_random_numbers_and_words_give_the_same_codes_row_by_row():
    model, words = RasterPainter(net(side=3, num_codes=7)), words_of(*CAPTIONS)
    first = model.sample(words, generator=seeded(3))
    other = words.clone()
    other[2] = words_of("a big bold 3 left of a tiny soft 1")[0]
    assert torch.equal(first[:2], model.sample(other, generator=seeded(3))[:2])


@pytest.mark.parametrize("options", [{}, {"num_inference_steps": 1}, {"choice_temperature": 0.0, "guidance_scale": 1.5}, {"top_p": 0.9}])
def test_in_the_end_nothing_is_hidden(options):
    model = MaskedPainter(net(causal=False, side=4, num_codes=6))
    drawn, again = (model.sample(words_of(*CAPTIONS), generator=seeded(1), **{"num_inference_steps": 5} | options) for _ in range(2))
    assert drawn.shape == (3, 16) and drawn.max() < 6 and torch.equal(drawn, again)


def test_a_step_keeps_what_is_known_and_the_most_confident_of_the_rest():
    logits, codes = torch.randn(2, 6, 8, generator=seeded(5)), torch.full((2, 8), 6)
    codes[:, 3] = 5
    after = reveal(codes, logits, 4, hidden=6, noise=0.0, temperature=0.0)
    assert (after == 6).sum(1).tolist() == [4, 4] and (after[:, 3] == 5).all()
    best, which = logits.log_softmax(1).max(1)
    best[:, 3] = torch.inf
    for row in range(2):
        kept = best[row].argsort(descending=True)[:4].tolist()
        assert set(kept) == set((after[row] != 6).nonzero().flatten().tolist())
        assert all(after[row, i] == which[row, i] for i in kept if i != 3)


def test_noise_in_the_choice_is_gumbel_noise():
    """With noise s the place that is kept is drawn in proportion to exp(confidence / s)."""
    logits, n = 2 * torch.randn(1, 6, 4, generator=seeded(6)), 20_000
    confidence = logits.log_softmax(1).max(1).values[0]
    for noise in (0.3, 2.0):
        codes = torch.full((n, 4), 6)
        after = reveal(codes, logits.expand(n, -1, -1), 3, hidden=6, noise=noise, temperature=0.0, generator=seeded(2))
        assert torch.allclose((after != 6).float().mean(0), (confidence / noise).softmax(0), atol=0.015)


# ---------------------------------------------------------------- training


def test_masks_hide_as_much_as_the_cosine_says_and_only_hidden_codes_count():
    model, seen = MaskedPainter(net(causal=False, side=4, num_codes=4), caption_dropout=0.0), []
    codes, words = torch.randint(4, (3000, 16), generator=seeded(0)), words_of(CAPTIONS[0]).expand(3000, -1)
    forward = model.net.forward
    model.net.forward = lambda c, w: (seen.append(c), forward(c, w))[1]
    with torch.no_grad():
        loss = model.loss(codes, words, seeded(1))
        nats = F.cross_entropy(forward(seen[0], words), codes, reduction="none")
    hidden = seen[0] == 4
    assert torch.equal(seen[0][~hidden], codes[~hidden]) and hidden.sum(1).min() >= 1
    assert abs(hidden.double().mean() - (2 / math.pi + 0.5 / 16)) < 0.015  # the mean of a cosine; rounding up adds half a code
    assert torch.allclose(loss, torch.stack([row[h].mean() for row, h in zip(nats, hidden)]))


@pytest.mark.parametrize("kind", [RasterPainter, MaskedPainter])
def test_the_loss_without_captions_is_that_of_empty_ones(kind):
    model = kind(net(causal=kind is RasterPainter), caption_dropout=1.0)
    codes = all_messages()
    told, empty = (model.loss(codes, words_of(c).expand(81, -1), seeded(0)) for c in (CAPTIONS[0], ""))
    assert torch.equal(told, empty)
    if kind is RasterPainter:
        assert torch.allclose(told, model.nll(codes, words_of("").expand(81, -1)) / 4)


@pytest.mark.parametrize("kind", [RasterPainter, MaskedPainter])
def test_a_few_steps_lower_the_loss(vqvae, kind):
    task = PainterTask(painter_of(vqvae, kind).train())
    batch = SceneBatches(digits("train", "stand-in"), 4).at(0)
    before = {name: tensor.clone() for name, tensor in task.painter.vqvae.state_dict().items()}
    optimizer, losses = torch.optim.Adam(task.model.parameters(), 1e-2), []
    for step in range(20):
        loss, _ = task.loss(batch, seeded(step))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]
    assert all(torch.equal(tensor, before[name]) for name, tensor in task.painter.vqvae.state_dict().items())


# ---------------------------------------------------------------- the pipeline


@pytest.mark.parametrize("kind", [RasterPainter, MaskedPainter])
def test_a_picture_is_that_of_its_codes_and_of_its_seed(vqvae, kind):
    painter = painter_of(vqvae, kind)
    codes = painter.draw(CAPTIONS, generator=seeded(1))
    images = painter(CAPTIONS, generator=seeded(1))
    assert images.shape == (3, 1, 56, 56) and images.abs().max() <= 1
    assert torch.equal(images, vqvae.decode(codes.view(3, 14, 14)).clamp(-1, 1))
    assert not torch.equal(images, painter(CAPTIONS, generator=seeded(2)))


def test_settings_come_from_the_card_unless_given(vqvae):
    painter = painter_of(vqvae)
    plain = painter.draw(CAPTIONS, generator=seeded(1))
    painter.card = {"sampling": {"temperature": 0.0}}
    greedy = painter.draw(CAPTIONS, generator=seeded(1))
    assert not torch.equal(plain, greedy)
    assert torch.equal(plain, painter.draw(CAPTIONS, generator=seeded(1), temperature=1.0))
    assert torch.equal(greedy, painter.draw(CAPTIONS, generator=seeded(5), temperature=None))


def test_a_caption_may_have_capitals_and_punctuation(vqvae):
    assert clean_caption("A big, bold 7 above a small faint 2.") == CAPTIONS[1]
    painter = painter_of(vqvae)
    assert torch.equal(painter.tokens(["A Small, faint 1."]), painter.tokens([CAPTIONS[0]]))


# ---------------------------------------------------------------- plans


def layout_of(vqvae, **options):
    torch.manual_seed(0)
    drawer = Drawer(vqvae.quantizer.codebook, **{"dim": 16, "depth": 2, "heads": 2})
    drawer.head.weight.data.mul_(3)  # more decided than a fresh network
    paper = torch.randint(12, (196,), generator=seeded(11))
    return ScenePainter(LayoutPainter(Planner(16, 1, 2), drawer, paper, **options), vqvae).eval()


def some_plans(n=6, seed=3):
    drawn = draw_scenes(n, digits("test", "stand-in"), seeded(seed))
    return drawn, plan_of(drawn.things, drawn.boxes)


def test_a_plan_lists_the_things_in_reading_order():
    drawn, plan = some_plans(300)
    for scene, things, corners in zip(drawn.scenes, plan.things.tolist(), plan.corners.tolist()):
        n = len(scene.things)
        assert things[n:] == [-1] * (3 - n) and sorted(things[:n]) == sorted(t.number for t in scene.things)
        if n == 2:
            assert things[:2] == [t.number for t in scene.things]
        if n > 1:
            axis = 0 if scene.relation == "above" else 1 if scene.relation == "left of" else (corners[2][0] - corners[0][0] < 16) * 1
            assert all(a[axis] < b[axis] for a, b in zip(corners[: n - 1], corners[1:n]))


def test_covered_places_by_hand():
    plan = Plan(torch.tensor([[1, -1, -1], [3, 0, -1]]), torch.tensor([[[8, 3], [0, 0], [0, 0]], [[0, 0], [23, 40], [0, 0]]]))
    covered, start = covered_places(plan)
    rows, columns = (covered[0, 0].view(14, 14).any(axis) for axis in (1, 0))
    assert rows.nonzero().flatten().tolist() == [2, 3, 4, 5] and columns.nonzero().flatten().tolist() == [
        0,
        1,
        2,
        3,
        4,
    ]  # pixels 8 … 21 and 3 … 16
    assert not covered[0, 1:].any() and covered[1, 0].view(14, 14)[:6, :6].all() and covered[1, 0].sum() == 36
    assert covered[1, 1].view(14, 14)[5:10, 10:14].all() and covered[1, 1].sum() == 20  # pixels 23 … 36 and 40 … 53
    assert start[0, 0, 2 * 14 + 1].tolist() == [3, 4]  # the place begins 0 pixels below and 1 right of the box
    order = reading_order(covered)
    assert (
        order.shape == (2, 56)
        and order[0, :20].tolist() == [14 * r + c for r in range(2, 6) for c in range(5)]
        and (order[0, 20:] == 196).all()
    )


def test_a_plan_goes_through_its_tokens_and_its_likelihood_is_the_product_of_them():
    _, plan = some_plans(seed=4)
    torch.manual_seed(1)
    planner, words = Planner(16, 1, 2).eval(), words_of(*CAPTIONS, *CAPTIONS)
    said = planner.tokens(plan)
    assert said.shape == (6, 3, 5) and planner.kinds[torch.arange(5), said].all()
    digit, size, ink, top, left = said.unbind(2)
    turned = [things[2] >= 0 and things[0] > things[2] for things in plan.things.tolist()]  # the ends stand in the order of their numbers
    assert any(turned) and not all(turned)
    written = [[part[i].flip(0) if turned[i] else part[i] for i in range(6)] for part in plan]
    plan = Plan(*(torch.stack(part) for part in written))
    there = plan.things >= 0
    assert torch.equal(digit == 14, ~there) and torch.equal(size == 14, ~there) and torch.equal(ink == 14, ~there)
    assert torch.equal((4 * digit + 2 * (size - 10) + ink - 12)[there], plan.things[there])
    assert torch.equal(torch.stack([top, left], 2)[there] - 15, plan.corners[there])
    context, log_p, written = planner.reader.features(words), torch.zeros(6), torch.zeros(6, 1, 16)
    for step in range(9):
        logits = planner.write(written, context)[:, -1]
        thing, what = divmod(step, 3)
        parts = ([0, 1, 2], [3], [4])[what]
        for part in parts:
            among = logits.masked_fill(~planner.kinds[part], -torch.inf).log_softmax(1)
            log_p += among[torch.arange(6), said[:, thing, part]]
        written = torch.cat([written, planner.parts(said[:, thing, parts]).sum(1, keepdim=True)], 1)
    assert torch.allclose(planner.nll(plan, words), -log_p, atol=1e-4)


def test_plans_are_drawn_as_often_as_they_are_likely_and_are_always_plans(monkeypatch):
    monkeypatch.setattr(text2image, "exchange_ends", lambda plan, where: plan)  # as it was written
    torch.manual_seed(1)
    planner, n = Planner(16, 1, 2).eval(), 8000
    plan = planner.draw(words_of(CAPTIONS[0]).expand(n, -1), seeded(0))
    assert plan.things.min() >= -1 and plan.things.max() < 40 and plan.corners.min() >= 0 and plan.corners.max() <= 42
    logits = planner.write(torch.zeros(1, 1, 16), planner.reader.features(words_of(CAPTIONS[0])))[0, 0]
    digit, size, ink = (logits[[*range(first, end), 14]].softmax(0) for first, end in ((0, 10), (10, 12), (12, 14)))
    p = (digit[:10, None, None] * size[:2, None] * ink[:2]).flatten()  # of a thing, its parts drawn independently
    p = torch.cat([p, 1 - p.sum(0, keepdim=True)])
    found = torch.bincount(torch.where(plan.things[:, 0] < 0, 40, plan.things[:, 0]), minlength=41) / n
    assert ((found - p).abs() < 5 * (p * (1 - p) / n).sqrt()).all()
    thing = int(found[:40].argmax())  # and its top edge, by how often it was drawn with this thing
    before = planner.parts(torch.tensor([thing // 4, 10 + thing % 4 // 2, 12 + thing % 2])).sum(0)
    written = torch.stack([torch.zeros(16), before])[None]
    p = planner.write(written, planner.reader.features(words_of(CAPTIONS[0])))[0, 1, 15:58].softmax(0)
    tops = plan.corners[plan.things[:, 0] == thing, 0, 0]
    found = torch.bincount(tops, minlength=43) / len(tops)
    assert ((found - p).abs() < 5 * (p * (1 - p) / len(tops)).sqrt()).all()


def test_the_ends_of_three_things_are_written_by_number_and_come_back_in_reading_order():
    things, corners = torch.tensor([[31, 8, 5], [5, 8, 31], [5, 8, -1]]), torch.tensor([[[0, 4], [20, 1], [40, 2]]] * 3)
    planner, plan = Planner(16, 1, 2).eval(), Plan(things, corners)
    said = planner.tokens(plan)
    assert torch.equal(said[0, :, :3], said[1, :, :3]) and said[0, :, 0].tolist() == [1, 2, 7]  # digits 1, 2, 7
    assert (said[0, :, 3] - 15).tolist() == [40, 20, 0] and (said[1, :, 3] - 15).tolist() == [0, 20, 40]
    assert (said[2, :, 0]).tolist() == [1, 2, 14]
    steps = [tokens for row in said[0].tolist() for tokens in (row[:3], row[3:4], row[4:])]
    planner.write = lambda before, context, start, cache: torch.eye(58)[steps[start]].sum(0).mul(1e4)[None, None]  # sure of this plan
    drawn = planner.draw(words_of(CAPTIONS[0]), seeded(0))
    assert drawn.things.tolist() == [[31, 8, 5]] and drawn.corners[0].tolist() == [[0, 4], [20, 1], [40, 2]]


def test_the_parts_of_a_thing_do_not_see_one_another_and_what_follows_sees_them():
    _, plan = some_plans()
    torch.manual_seed(1)
    planner, words = Planner(16, 1, 2).eval(), words_of(*CAPTIONS, *CAPTIONS)
    said = planner.tokens(plan)
    before = torch.nn.functional.pad(planner.vectors(said)[:, :-1], (0, 0, 1, 0))
    other = said.clone()
    other[:, 1, 0] = (other[:, 1, 0] + 1) % 10  # another digit of the second thing
    changed = torch.nn.functional.pad(planner.vectors(other)[:, :-1], (0, 0, 1, 0))
    context = planner.reader.features(words)
    same = (planner.write(before, context) == planner.write(changed, context)).all(2).all(0)
    assert same.tolist() == [True] * 4 + [False] * 5


def test_each_step_of_a_plan_is_told_all_that_was_written_before():
    torch.manual_seed(1)
    planner, words = Planner(16, 1, 2).eval(), words_of(*CAPTIONS, *CAPTIONS)
    planner.parts.weight.data.mul_(8)  # what was written matters
    said, generator, context = torch.zeros(6, 3, 5, dtype=torch.int64), seeded(3), planner.reader.features(words)
    for step in range(9):
        before = torch.nn.functional.pad(planner.vectors(said)[:, :-1], (0, 0, 1, 0))[:, : step + 1]
        logits = planner.write(before, context)[:, -1]
        for part in ((0, 1, 2), (3,), (4,))[step % 3]:
            said[:, step // 3, part] = draw_code(logits.masked_fill(~planner.kinds[part], -torch.inf), generator=generator)
    digit, size, ink, top, left = said.unbind(2)
    there = (digit != 14) & (size != 14) & (ink != 14)
    drawn = planner.draw(words, seeded(3))
    assert torch.equal(drawn.things.sort(1).values, (4 * digit + 2 * (size - 10) + ink - 12).where(there, -1).sort(1).values)
    for edge, axis in ((top, 0), (left, 1)):
        placed = drawn.corners[..., axis].where(drawn.things >= 0, 0)
        assert torch.equal(placed.sort(1).values, (edge - 15).where(there, 0).sort(1).values)


def test_which_plans_fit_by_hand():
    things = torch.tensor([[1, 3, -1], [1, 3, -1], [1, 3, -1], [3, -1, -1], [3, -1, -1], [-1, -1, -1], [0, 2, 0], [0, 2, 0]])
    corners = [
        [[0, 0], [16, 0]],
        [[0, 0], [15, 0]],
        [[0, 0], [5, 16]],
        [[34, 34]],
        [[35, 0]],
        [],
        [[0, 3], [16, 0], [40, 9]],
        [[0, 0], [16, 0], [16, 24]],
    ]
    corners = torch.tensor([(row + 3 * [[0, 0]])[:3] for row in corners])
    assert fits(Plan(things, corners)).tolist() == [True, False, True, True, False, False, True, False]
    drawn, plan = some_plans(500)
    assert fits(plan).all()


def test_a_plan_that_does_not_fit_is_drawn_again():
    torch.manual_seed(1)
    planner, words = Planner(16, 1, 2).eval(), words_of(CAPTIONS[0]).expand(400, -1)
    once, often = (fits(planner.sample(words, seeded(0), tries=tries)).double().mean() for tries in (1, 6))
    assert 1 - often < 1.3 * (1 - once) ** 6 + 0.05 and often > once
    first, four = planner.draw(words, seeded(0)), planner.sample(words, seeded(0))
    assert torch.equal(first.corners[fits(first)], four.corners[fits(first)])


def test_a_covered_code_depends_on_the_plan_and_the_covered_codes_before_it_alone(vqvae):
    model, (_, plan) = layout_of(vqvae).model, some_plans(1, seed=5)
    order, yes = reading_order(covered_places(plan)[0]), torch.ones(1, dtype=torch.bool)
    grid = torch.full((1, 196), 12).scatter(1, order, torch.randint(12, order.shape, generator=seeded(1)))
    logits = model.drawer(grid, plan, order, yes)
    for i in range(0, order.shape[1], 5):
        other = grid.clone()
        other[0, order[0, i]] = (other[0, order[0, i]] + 1) % 12
        moved = (model.drawer(other, plan, order, yes) - logits).abs().amax((0, 1)) > 1e-6
        assert not moved[: i + 1].any()
        assert moved[i + 1 :].any() or i + 8 > order.shape[1]  # at the right edge of a box, from the next line on
    assert not torch.allclose(logits, model.drawer(grid, plan, order, ~yes), atol=1e-3)


def test_a_box_that_moves_by_a_place_is_told_the_same(vqvae):
    drawer, what = layout_of(vqvae).model.drawer, torch.randn(1, 3, 16, generator=seeded(0))
    here = Plan(torch.tensor([[3, -1, -1]]), torch.tensor([[[5, 6], [0, 0], [0, 0]]]))
    there = Plan(here.things, here.corners + torch.tensor([[[8, 12], [0, 0], [0, 0]]]))
    orders = [reading_order(covered_places(plan)[0]) for plan in (here, there)]
    assert torch.equal(orders[0] + 2 * 14 + 3, orders[1])
    assert torch.equal(*(drawer.where(plan, order, what) for plan, order in zip((here, there), orders)))


def test_no_two_places_under_a_box_are_told_the_same(vqvae):
    drawer, what = layout_of(vqvae).model.drawer, torch.randn(1, 3, 16, generator=seeded(0))
    plan = Plan(torch.tensor([[3, -1, -1]]), torch.tensor([[[5, 6], [0, 0], [0, 0]]]))
    told = drawer.where(plan, reading_order(covered_places(plan)[0]), what)[0]
    assert torch.pdist(told).min() > 1e-3


@pytest.mark.parametrize("scale", [1.0, 2.5])
def test_greedy_codes_are_the_likeliest_and_the_rest_is_paper(vqvae, scale):
    painter, (drawn, plan) = layout_of(vqvae), some_plans()
    model, words = painter.model, painter.tokens(drawn.captions)
    codes = model.sample(words, plan=plan, temperature=0.0, guidance_scale=scale)
    covered, order = covered_places(plan)[0], reading_order(covered_places(plan)[0])
    assert torch.equal(torch.where(covered.any(1), model.paper, codes), model.paper.expand(6, -1))
    grid, yes = torch.where(covered.any(1), codes, 12), torch.ones(6, dtype=torch.bool)
    c, u = (model.drawer(grid, plan, order, told) for told in (yes, ~yes))
    best, real = (u + scale * (c - u)).argmax(1), order < 196
    assert torch.equal(best[real], F.pad(codes, (0, 1)).gather(1, order)[real])


def test_pictures_of_sentences_follow_their_seed(vqvae):
    painter = layout_of(vqvae)
    first, again, other = (painter(CAPTIONS, generator=seeded(s), guidance_scale=2.0) for s in (1, 1, 2))
    assert first.shape == (3, 1, 56, 56) and torch.equal(first, again) and not torch.equal(first, other)


def test_batches_hold_what_scenes_and_the_vqvae_say(vqvae):
    batches = PlannedBatches(digits("train", "stand-in"), vqvae, 3, seed=4)
    batch = batches.at(5)
    assert batch["codes"].shape == (3, 196) and batch["tokens"].shape == (3, 2, 19)
    for things, tokens in zip(batch["things"].tolist(), batch["tokens"]):
        for caption in Tokenizer().decode(tokens):
            assert sorted(t.number for t in parse(caption).things) == sorted(t for t in things if t >= 0)
    assert torch.equal(batch["order"], reading_order(covered_places(Plan(batch["things"], batch["corners"]))[0]))
    again = PlannedBatches(digits("train", "stand-in"), vqvae, 3, seed=4)
    again.load_state_dict({"index": 5} | again.origin())
    assert all(torch.equal(value, batch[name]) for name, value in next(again).items())
    sizes = [batches.at(i)["order"].shape[1] for i in range(16)]
    assert len(set(sizes)) > 3 and any((batches.at(i)["codes"] != batches.at(i + 16)["codes"]).any() for i in range(2))


def test_the_loss_is_a_fiftieth_of_the_nats_of_plan_and_codes(vqvae):
    painter = layout_of(vqvae, dropout=0.0)
    batch = PlannedBatches(digits("train", "stand-in"), vqvae, 3).at(0)
    plan, yes = Plan(batch["things"], batch["corners"]), torch.ones(3, dtype=torch.bool)
    planned = sum(painter.model.planner.nll(plan, batch["tokens"][:, i]) for i in (0, 1)) / 2
    coded = painter.model.nll(batch["codes"], plan, batch["order"], yes)
    assert torch.allclose(painter.model.loss(batch, seeded(0)), (planned + coded) / 50, atol=1e-5)
    hidden = layout_of(vqvae, dropout=1.0).model
    assert torch.allclose(hidden.loss(batch, seeded(0)), (planned + hidden.nll(batch["codes"], plan, batch["order"], ~yes)) / 50, atol=1e-5)


def test_a_few_steps_lower_the_loss_of_a_plan_and_its_codes(vqvae):
    task = LayoutTask(layout_of(vqvae).train())
    batch = PlannedBatches(digits("train", "stand-in"), vqvae, 3).at(0)
    optimizer, losses = torch.optim.Adam(task.model.parameters(), 1e-2), []
    for step in range(25):
        loss, _ = task.loss(batch, seeded(step))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]


def test_bits_of_plans_and_codes_and_what_the_things_are_worth(vqvae):
    painter, (drawn, plan) = layout_of(vqvae), some_plans()
    bits = plan_and_code_bits(painter, drawn)
    order, yes = reading_order(covered_places(plan)[0]), torch.ones(6, dtype=torch.bool)
    codes = vqvae.encode(to_float(drawn.images)).flatten(1)
    told, untold = (painter.model.nll(codes, plan, order, t).double() / math.log(2) for t in (yes, ~yes))
    planned = painter.model.planner.nll(plan, painter.tokens(drawn.captions)) / math.log(2)
    for name, expected in {"plan": planned, "told": told, "untold": untold, "worth": untold - told}.items():
        assert math.isclose(bits[name]["mean"], expected.mean().item(), rel_tol=1e-4, abs_tol=1e-3)
        assert math.isclose(bits[name]["standard_error"], expected.std().item() / 6**0.5, rel_tol=1e-3)


# ---------------------------------------------------------------- the reader


def square(picture, top, left, side, ink=1.0):
    picture[top : top + side, left : left + side] = ink
    return picture


def test_runs_of_inked_lines_by_hand():
    assert spans(torch.tensor([0, 1, 1, 0, 0, 1, 0, 1]).bool()) == [(1, 3), (5, 6), (7, 8)]
    assert spans(torch.zeros(4).bool()) == []


def test_things_are_found_by_hand():
    picture = square(square(torch.zeros(56, 56), 2, 10, 14), 30, 12, 22, 0.45)
    assert find_things(picture) == ([(2, 16, 10, 24), (30, 52, 12, 34)], True)
    assert find_things(picture.T) == ([(10, 24, 2, 16), (12, 34, 30, 52)], False)
    crumb = square(picture.clone(), 18, 12, 5)  # nearer to the upper thing
    assert find_things(crumb) == ([(2, 23, 10, 24), (30, 52, 12, 34)], True)
    assert find_things(square(torch.zeros(56, 56), 20, 20, 4))[0] == [(20, 24, 20, 24)]
    assert find_things(square(torch.zeros(56, 56), 20, 20, 14, 0.1))[0] == []


def test_a_thing_is_cut_out_without_its_neighbour():
    picture = square(square(torch.zeros(56, 56), 2, 10, 14), 17, 12, 22)
    cut = cut_boxes(picture[None, None], [find_things(picture)[0]])
    alone = fit_ink(square(torch.zeros(56, 56), 2, 10, 14)[None, None], 20)
    assert cut.shape == (2, 1, 28, 28) and torch.allclose((cut[:1, :, 4:-4, 4:-4] + 1) / 2, alone, atol=1e-6)
    assert cut_boxes(picture[None, None], [[]]).shape == (0, 1, 28, 28)


def test_real_scenes_are_read_as_what_they_show():
    drawn = draw_scenes(80, digits("test"), seeded(9), "all")
    scores = score_pictures(drawn.scenes, to_float(drawn.images))
    assert scores["count"]["share"] == scores["relation"]["share"] == scores["ink"]["share"] == 1
    assert scores["size"]["share"] > 0.98 and scores["digit"]["share"] > 0.95
    assert scores["digit"]["n"] == sum(len(scene.things) for scene in drawn.scenes)


def test_what_is_no_scene_is_read_as_none():
    four = torch.zeros(56, 56)
    for i in range(4):
        square(four, 14 * i, 20, 11)
    blank = torch.zeros(56, 56)
    images = torch.stack([four, blank])[:, None] * 2 - 1
    assert read_pictures(images) == [None, None]
    scores = score_pictures([parse(CAPTIONS[0])] * 2, images)
    assert scores["all"]["share"] == 0 and scores["unreadable"] == 2


def test_a_shuffle_of_pictures_is_noticed():
    drawn = draw_scenes(40, digits("test"), seeded(10))
    images = to_float(drawn.images)
    assert score_pictures(drawn.scenes, images.roll(1, 0))["all"]["share"] < 0.2 < score_pictures(drawn.scenes, images)["all"]["share"]


# ---------------------------------------------------------------- one word


@pytest.mark.parametrize("seed", range(20))
def test_changes_differ_in_one_word_and_one_fact(seed):
    drawn = draw_scenes(1, digits("test", "stand-in"), seeded(seed))
    caption, scene = drawn.captions[0], drawn.scenes[0]
    changes = one_word_changes(caption)
    assert len({other for _, other in changes}) == len(changes)
    for fact, other in changes:
        assert sum(a != b for a, b in zip(caption.split(), other.split())) == 1 and len(other.split()) == len(caption.split())
        told = parse(other)
        assert is_drawn(told) and (told == scene) == (fact == "wording")
        if fact in ("digit", "size", "ink"):
            moved = {name for name in ("digit", "size", "ink") if sorted(map(str, told.facts[name])) != sorted(map(str, scene.facts[name]))}
            assert moved == {fact}
        if fact == "relation":
            assert told.things == scene.things[::-1] and told.relation == scene.relation


def test_all_changes_of_a_caption_by_hand():
    facts = [fact for fact, _ in one_word_changes("a small bold 1 above a large faint 4")]
    assert {fact: facts.count(fact) for fact in facts} == {
        "size": 2,
        "wording": 10,
        "ink": 2,
        "digit": 14,
        "relation": 1,
    }  # two digits of each are held out


def test_a_changed_word_keeps_its_style():
    """A numeral stays a numeral, and a synonym that takes the place of another is the one in the same place of its row."""
    numerals, names = (
        {other.split()[3] for fact, other in one_word_changes(f"a little strong {one}") if fact == "digit"} for one in ("1", "one")
    )
    assert numerals <= set("0123456789") and not names & set("0123456789")
    assert ("size", "a big strong 1") in one_word_changes("a little strong 1")
    assert ("ink", "a little weak 1") in one_word_changes("a little strong 1")


def test_scenes_that_training_never_draws():
    small, large = Thing(1, "small", "bold"), Thing(1, "large", "bold")
    assert is_drawn(Scene((large, small, small), "between")) and not is_drawn(Scene((large, large, small), "between"))
    assert is_drawn(Scene((large, large), "above")) and not is_drawn(Scene((HELD_OUT[0],)))


def test_pairs_take_the_five_kinds_of_change_in_turn():
    pairs = caption_pairs(23, seed=1)
    assert [fact for fact, *_ in pairs[:6]] == ["digit", "size", "ink", "relation", "wording", "digit"] and len(pairs) == 23
    assert all((fact, other) in one_word_changes(caption) for fact, caption, other in pairs)
    assert pairs == caption_pairs(23, seed=1) and pairs != caption_pairs(23, seed=2)


def test_what_stays_is_told_by_its_box():
    before = torch.full((56, 56), -1.0)
    after = square(before.clone(), 30, 30, 10)
    assert stays(before, after, (0, 20, 0, 20)) and not stays(before, after, (30, 40, 30, 40))


def test_a_comparison_counts_every_pair(vqvae):
    rows = compare_pairs(painter_of(vqvae), 10, 3)
    assert {fact: row["n"] for fact, row in rows.items()} == dict.fromkeys(("digit", "size", "ink", "relation", "wording"), 2)
    assert all(0 <= row["both"] <= row["before"] <= 2 and 0 <= row["codes"] <= 196 for row in rows.values())
    assert all(row["codes_reseeded"] > row["codes"] for row in rows.values())


# ---------------------------------------------------------------- sentences with gaps


def test_what_is_told_stays_and_what_is_not_is_filled_in():
    assert fill_in("A big, bold 7 above a small faint 2.") == CAPTIONS[1]
    told = {fill_in("a big bold 7 above a small 2", seeded(i)) for i in range(20)}
    assert told == {f"a big bold 7 above a small {ink} 2" for ink in ("faint", "bold")}
    told = {fill_in("a five", seeded(i)) for i in range(60)}
    assert told == {"a small faint five", "a small bold five", "a large faint five"}  # a large bold 5 is held out
    for i in range(20):
        assert is_drawn(parse(fill_in("a 1 between a 4 and a large 4", seeded(i))))
    assert (
        parse(fill_in("a large 1 between a large 4 and a large 4", seeded(0))).facts["size"] == ("large",) * 3
    )  # as asked, though it is never drawn


def test_a_described_scene_needs_no_filling():
    for scene in draw_scenes(30, digits("test", "stand-in"), seeded(3)).scenes:
        caption = describe(scene, seeded(4))
        assert fill_in(caption) == caption
