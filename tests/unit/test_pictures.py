"""Pictures from the world: what the reader finds, what is no digit, and what is told, how surely, or refused."""

import math

import numpy as np
import pytest
import torch

from vqdiff_edu.crossmodal.caption import (
    PICTURES,
    Chance,
    InkTask,
    Piece,
    agreement,
    arrange,
    as_jpeg,
    as_pieces,
    compare,
    digit_chances,
    draw_lines,
    draw_picture,
    exchange_adjectives,
    find_pieces,
    impossible,
    ink_of_scene,
    ink_on_paper,
    light,
    light_on_dark,
    make_ink_judge,
    never_said,
    no_digits,
    photograph,
    picture_captioner,
    read_scene,
    reason_to_refuse,
    rival_adjectives,
    scribbles,
    sheet_of_paper,
    split_training,
    unseen_triples,
    warped,
)
from vqdiff_edu.crossmodal.scenes import CANVAS, HELD_OUT, KINDS, MEANING, Scene, Thing, Tokenizer, describe, draw_scenes, ink_boxes, parse
from vqdiff_edu.data import digits, handwritten_four, to_float
from vqdiff_edu.registry import load_pretrained

WORDS = Tokenizer()
STAND_IN = digits("test", "stand-in")
SIDE = 560


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def page(*strokes, side=SIDE, paper=0.95, dark=0.1):
    """Dark strokes on paper: each (row, column, height, width, ink 0 … 1), a frame of ten pixels' width like a square 0."""
    ink = np.zeros((side, side), np.float32)
    for top, left, height, width, grey in strokes:
        ink[top : top + height, left : left + width] = grey
        ink[top + 14 : top + height - 14, left + 14 : left + width - 14] = 0
    return torch.from_numpy(paper - (paper - dark) * ink)


TWO = page((60, 80, 220, 120, 1.0), (340, 300, 140, 90, 0.45))


# ---------------------------------------------------------------- adjectives exchanged


def test_only_adjectives_are_exchanged_and_each_for_one_of_its_kind():
    tokens = WORDS.encode(["a large faint 2 left of a tiny bold seven"] * 400)
    said = WORDS.decode(exchange_adjectives(tokens, rival_adjectives(WORDS), 1.0, seeded()))
    for words in (text.split() for text in said):
        assert [KINDS.get(MEANING.get(word)) for word in words] == [None, "size", "ink", "digit", None, None, None, "size", "ink", "digit"]
        assert (words[0], words[3:7], words[9]) == ("a", ["2", "left", "of", "a"], "seven")
    firsts = [text.split()[1] for text in said]
    assert {firsts.count(word) > 30 for word in ("large", "big", "huge", "small", "little", "tiny")} == {True}


def test_what_the_captions_never_say_is_what_was_held_out():
    scenes = draw_scenes(2000, STAND_IN, seeded(1)).scenes
    said = WORDS.encode([describe(scene, seeded(k)) for k, scene in enumerate(5 * scenes)])
    assert torch.equal(never_said(said, WORDS), unseen_triples(HELD_OUT, WORDS))


def test_nothing_is_exchanged_with_probability_zero_and_about_half_with_a_half():
    tokens = WORDS.encode(["a large faint 2"] * 3000)
    assert torch.equal(exchange_adjectives(tokens, rival_adjectives(WORDS), 0.0, seeded()), tokens)
    changed = (exchange_adjectives(tokens, rival_adjectives(WORDS), 0.5, seeded()) != tokens).double().mean(0)
    assert changed[[2, 3]].tolist() == pytest.approx([0.5 * 5 / 6] * 2, abs=0.04) and changed[[0, 1, 4]].max() == 0


# ---------------------------------------------------------------- the reader


def test_a_canvas_stays_as_it_is():
    scene = draw_scenes(1, STAND_IN, seeded(3))
    read = read_scene(scene.images[0, 0] / 255)
    torch.testing.assert_close(read.image, to_float(scene.images), atol=1e-6, rtol=0)
    assert len(read.digits) == len(scene.scenes[0].things)


def test_pieces_are_found_where_they_are_with_their_sizes_and_inks():
    pieces, window = find_pieces(TWO)
    first, second = sorted(pieces, key=lambda piece: piece.middle)
    scale = 448 / SIDE
    assert first.middle == pytest.approx((170 * scale, 140 * scale), abs=2) and second.middle == pytest.approx(
        (410 * scale, 345 * scale), abs=2
    )
    assert (first.longest, second.longest) == pytest.approx((220 * scale, 140 * scale), abs=4)
    assert second.dark / first.dark == pytest.approx(0.45, abs=0.05)
    assert [part.start for part in window] == pytest.approx([60 * scale, 80 * scale], abs=3)
    large, bold = compare([first, second], 0.4)
    assert large.tolist() == [True, False] and bold.tolist() == [True, False]


def test_what_is_read_stands_on_the_canvas_in_its_order_and_its_size():
    read = read_scene(TWO)
    assert read.digits.shape == (2, 1, 28, 28) and read.image.shape == (1, 1, CANVAS, CANVAS)
    top, bottom, left, right = ink_boxes((read.image[..., :32, :] + 1) / 2, 0.3)[0].tolist()
    assert bottom - top == pytest.approx(22, abs=2)
    dark = (read.image[0, 0] + 1) / 2
    rows = dark.amax(1)
    gap = (rows < 0.02).nonzero().flatten()
    gap = gap[gap > bottom - 2][0]
    assert rows[:gap].max() > 0.95 and 0.3 < rows[gap:].max() < 0.5


@pytest.mark.parametrize("loss", [0.25, 0.5])
@pytest.mark.parametrize("angle", [0.0, 1.0, 4.0])
def test_a_slope_of_light_changes_next_to_nothing(loss, angle):
    lit = TWO * torch.from_numpy(light((SIDE, SIDE), loss, angle).astype(np.float32))
    assert (read_scene(lit).image - read_scene(TWO).image).abs().mean() < 0.02


def test_ink_is_relative_to_the_paper_around_it():
    dark, lit = ink_on_paper(TWO), ink_on_paper(TWO * torch.linspace(1, 0.5, SIDE))
    assert dark.max() == pytest.approx(1 - 0.1 / 0.95, abs=0.03) and abs(dark - lit).mean() < 0.01


def test_chalk_is_read_as_ink():
    assert not light_on_dark(TWO) and light_on_dark(1 - TWO)
    assert (read_scene(1 - TWO).image - read_scene(TWO).image).abs().mean() < 0.02


def test_a_desk_around_the_sheet_is_no_ink_and_a_shadow_is_no_desk():
    desk = torch.full((800, 800), 0.3) + 0.02 * torch.randn(800, 800, generator=seeded())
    desk[120:680, 120:680] = TWO
    assert len(read_scene(desk).digits) == 2
    levels = desk.numpy()[::2, ::2]
    sheet = sheet_of_paper(levels)
    assert sheet[200, 200] and not sheet[5, 5] and 0.4 < sheet.mean() < 0.6
    assert sheet_of_paper(TWO.numpy() * light((SIDE, SIDE), 0.5, 1.0)).all()


def test_squared_paper_is_read_without_its_squares():
    squared = TWO.clone()
    squared[::28] *= 0.75
    squared[:, ::28] *= 0.75
    squared[1::28] *= 0.75
    squared[:, 1::28] *= 0.75
    assert len(read_scene(squared).digits) == 2


def test_digits_that_are_small_in_the_frame_are_read_as_large_ones():
    small = torch.full((1400, 1400), 0.95)
    small[500:1060, 300:860] = TWO
    assert (read_scene(small).digits.float() - read_scene(TWO).digits.float()).abs().mean() < 20


def test_specks_and_blots_at_the_frame_are_left_out():
    dirty = TWO.clone()
    dirty[500:504, 100:104] = 0.1
    dirty[:80, -90:] = 0.1  # a thumb in the corner
    assert len(read_scene(dirty).digits) == 2


@pytest.mark.parametrize(("pen", "side"), [(4, 1000), (60, 560)])
def test_thin_and_thick_pens_become_the_pen_of_the_digits(pen, side):
    """A 4-pixel pen on 1,000 pixels used to be told as faint."""
    picture = torch.full((side, side), 0.95)
    picture[200 : side - 200, 250 : 250 + pen] = 0.1
    picture[200 : 200 + pen, 250 : side - 250] = 0.1
    read = read_scene(picture)
    ink = (read.image + 1) / 2
    assert ink.max() > 0.95 and 0.04 < (read.digits.float() / 255).mean() < 0.35


def test_three_pieces_of_one_size_are_small_and_ties_are_settled_by_the_frame():
    piece = Piece(torch.zeros(28, 28, dtype=torch.uint8), 0.8, (100.0, 100.0), 100.0)
    assert not compare([piece] * 3, 0.5)[0].any()
    assert compare([piece] * 2, 0.5)[0].all() and not compare([piece] * 2, 0.2)[0].any()
    assert compare([piece], 0.2)[1].all()


def test_pieces_stay_on_the_canvas_however_far_apart_they_were():
    digit = torch.full((28, 28), 255, dtype=torch.uint8)
    pieces = [Piece(digit, 0.8, (10.0 + 200 * k, 40.0), 60.0) for k in range(3)]
    canvas = arrange(pieces, (448, 448), 0.13)[0, 0]
    runs = (canvas.amax(1) > 100).int().diff().clamp(min=0).sum() + int(canvas[0].max() > 100)
    assert canvas.shape == (56, 56) and runs == 3


@pytest.mark.parametrize("blank", [torch.full((300, 400), 0.9), torch.linspace(0.78, 1.0, 400).expand(300, -1), torch.full((56, 56), 0.0)])
def test_there_is_nothing_on_blank_paper(blank):
    with pytest.raises(ValueError, match="nothing stands out"):
        read_scene(blank)


def test_a_page_of_writing_is_no_scene():
    crowd = page(*[(40 + 120 * r, 30 + 130 * c, 70, 60, 1.0) for r in range(4) for c in range(4)])
    with pytest.raises(ValueError, match="16 pieces of ink"):
        read_scene(crowd)


# ---------------------------------------------------------------- ink that is no digit


def test_pieces_of_ink_are_shown_to_the_judge_in_one_size():
    shown = as_pieces(torch.nn.functional.pad(torch.ones(2, 1, 7, 5), (1, 15, 2, 12)))
    assert shown.shape == (2, 1, 28, 28)
    assert ink_boxes((shown + 1) / 2)[0].tolist() == pytest.approx([4, 24, 7, 21], abs=1)


@pytest.mark.parametrize("make", [lambda ink, labels, g: no_digits(ink, labels, g), lambda ink, labels, g: warped(ink, g)])
def test_made_ink_is_ink_and_depends_on_the_generator_alone(make):
    ink, labels = STAND_IN.images[:40].float() / 255, STAND_IN.labels[:40]
    made = make(ink, labels, seeded(1))
    assert made.shape == ink.shape and made.min() >= 0 and made.max() <= 1 and (made.amax((1, 2, 3)) > 0.3).all()
    assert torch.equal(made, make(ink, labels, seeded(1))) and not torch.equal(made, make(ink, labels, seeded(2)))


def test_lines_are_as_wide_as_their_pen():
    line = torch.stack([torch.full((200,), 0.5), torch.linspace(0.1, 0.9, 200)], 1)[None]
    drawn = draw_lines(line, torch.tensor([2.0]))
    assert drawn[0, 0, :, 14].sum().item() == pytest.approx(4, abs=0.1)
    assert scribbles(3, seeded()).shape == (3, 1, 28, 28)


def test_the_judge_learns_from_digits_and_from_what_is_none():
    judge, g = make_ink_judge(8), seeded()
    batch = {"image": STAND_IN.images[:16], "label": STAND_IN.labels[:16]}
    loss, logs = InkTask(judge).loss(batch, g)
    assert loss.item() == pytest.approx(math.log(11), abs=0.6) and 0 <= logs["right"] <= 1
    loss.backward()
    assert all(p.grad is not None for p in judge.parameters())


def test_validation_digits_are_the_last_and_are_not_trained_on():
    rest, held = split_training(STAND_IN)
    assert len(rest) + len(held) == len(STAND_IN) and torch.equal(held.images, STAND_IN.images[len(rest) :])


# ---------------------------------------------------------------- told, and how surely


def sure(*answers, at=0.9):
    """Verdicts of the judge: `at` for each answer, the rest spread."""
    verdicts = torch.full((len(answers), 11), (1 - at) / 10)
    verdicts[torch.arange(len(answers)), torch.tensor(answers)] = at
    return verdicts


SEVEN_OVER_TWO = Scene((Thing(7, "large", "bold"), Thing(2, "small", "faint")), "above")
THREE = Scene((Thing(1, "small", "bold"), Thing(5, "small", "bold"), Thing(9, "small", "bold")), "between")


def test_a_scene_with_two_large_things_of_three_cannot_be():
    assert impossible(Scene((Thing(1, "large", "bold"), Thing(5, "large", "bold"), Thing(9, "small", "bold")), "between"))
    assert not impossible(THREE) and not impossible(SEVEN_OVER_TWO)


def test_confidence_is_the_mean_of_two_opinions_on_the_least_sure_digit():
    assert agreement(SEVEN_OVER_TWO, [0.8, 0.9], sure(7, 2)) == pytest.approx(math.sqrt(0.8 * 0.9))
    assert agreement(SEVEN_OVER_TWO, [0.8, 0.9], sure(2, 7)) == pytest.approx(math.sqrt(0.8 * 0.01))  # the order counts
    assert agreement(THREE, [1.0] * 3, sure(9, 5, 1)) == agreement(THREE, [1.0] * 3, sure(1, 5, 9)) == pytest.approx(math.sqrt(0.9))
    assert agreement(SEVEN_OVER_TWO, [1.0, 1.0], sure(7)) == 0  # not as many pieces as digits


@pytest.mark.parametrize(
    ("scene", "verdicts", "confidence", "said"),
    [
        (SEVEN_OVER_TWO, sure(7, 2), 0.9, None),
        (SEVEN_OVER_TWO, sure(7, 2), 0.3, "not sure (confidence 0.30)"),
        (SEVEN_OVER_TWO, sure(7, 10), 0.3, "ink that is no digit"),
        (SEVEN_OVER_TWO, sure(7, 2, 3), 0.0, "3 pieces of ink, and the captioner tells of 2"),
        (
            Scene((Thing(1, "large", "bold"), Thing(5, "large", "bold"), Thing(9, "small", "bold")), "between"),
            sure(1, 5, 9),
            0.0,
            "two are large",
        ),
    ],
)
def test_each_refusal_has_its_reason(scene, verdicts, confidence, said):
    reason = reason_to_refuse(scene, verdicts, confidence, 0.5)
    assert reason is None if said is None else said in reason


def test_a_digit_counts_with_those_that_may_stand_in_its_place():
    captioner, scene = load_pretrained("scene-captioner"), draw_scenes(1, STAND_IN, seeded(5))
    images = to_float(scene.images)
    alike, apart = "a small bold 3 above a small bold 7", "a small bold 3 above a large bold 7"
    (first, last), (alone, _) = digit_chances(captioner, images.expand(2, -1, -1, -1), [alike, apart])
    tokens = WORDS.encode([alike, apart])
    with torch.no_grad():
        chance = captioner.model(captioner.vqvae.encode(images).expand(2, -1, -1), tokens[:, :-1]).softmax(1)
    three, seven = ([WORDS.ids[word] for word in words] for words in (("3", "three"), ("7", "seven")))
    assert first == pytest.approx(chance[0, three + seven, 3].sum().item(), abs=1e-4)
    assert last == pytest.approx(chance[0, seven, 8].sum().item(), abs=1e-4)
    assert alone == pytest.approx(chance[1, three, 3].sum().item(), abs=1e-4)


def a_four(size=200):
    """A page with the book's handwritten 4 on it."""
    four = ((handwritten_four().view(28, 28) + 1) / 2 * 255).round().to(torch.uint8)
    ink = ink_of_scene(torch.stack([four] * 3), torch.tensor([3, -1, -1]), torch.tensor([[17, 17, 22]] * 3))
    return torch.from_numpy(photograph(ink, "phone photo", Chance(seeded(2))))


def test_a_photograph_of_a_four_is_told_and_blank_paper_is_not():
    pictures = picture_captioner()
    assert {name.split(".")[0] for name, _ in pictures.named_parameters()} == {"captioner", "judge"}
    told = pictures(a_four())
    assert told.refusal is None and told.digits == (4,) == tuple(thing.digit for thing in parse(told.caption).things)
    assert 0.6 < told.confidence <= 1
    blank = pictures(torch.full((300, 300), 0.9))
    assert blank.refusal == "nothing stands out from the paper" and blank.digits == () and blank.confidence == 0


def test_strokes_across_a_page_are_refused():
    ink = torch.full((SIDE, SIDE), 0.95)
    ink[100:460, 150:180] = ink[100:460, 380:410] = ink[250:280, 150:410] = 0.1  # an H
    assert picture_captioner()(ink).refusal is not None


def test_pictures_from_files_are_opened_or_named(tmp_path):
    pictures = picture_captioner()
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match="broken.png is no picture of ink"):
        pictures(tmp_path / "broken.png")
    with pytest.raises(FileNotFoundError, match="nowhere.png"):
        pictures(tmp_path / "nowhere.png")


# ---------------------------------------------------------------- pictures to test on


@pytest.mark.parametrize("kind", PICTURES)
def test_every_kind_of_picture_is_grey_levels_of_a_known_scene(kind):
    grey, scene = draw_picture(STAND_IN, kind, seeded(4))
    assert grey.dtype == torch.float32 and min(grey.shape) >= SIDE and 0 <= grey.min() < 0.6 and 0.7 < grey.max() <= 1
    again, same = draw_picture(STAND_IN, kind, seeded(4))
    assert torch.equal(grey, again) and scene == same and 1 <= len(scene.things) <= 3


def test_light_falls_off_by_what_was_asked_and_jpeg_loses_a_little():
    slope = light((40, 60), 0.25, 0.7)
    assert (slope.max(), slope.min()) == pytest.approx((1, 0.75))
    picture = TWO.numpy()
    assert 0 < abs(as_jpeg(picture, 60) - picture).mean() < 0.02


def test_a_kind_that_is_none_is_named():
    with pytest.raises(ValueError, match="kind must be one of 'clean'"):
        draw_picture(STAND_IN, "upside down", seeded())
