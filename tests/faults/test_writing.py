"""Bad input is refused by name (run with JAXTYPING_DISABLE=1, so that our own errors are the ones seen)."""

import math

import pytest
import torch

from vqdiff_edu.crossmodal import writing as w
from vqdiff_edu.crossmodal.audio import Speech
from vqdiff_edu.data import Digits

samples, lengths = torch.rand(2, 50), torch.tensor([50, 20])
image, curve = torch.zeros(2, 1, 6, 6), torch.linspace(0, 1, 16).expand(2, 16)
video = torch.zeros(2, 16, 1, 6, 6)
broken = samples.clone()
broken[0, 3] = math.nan


def speech(labels=(0, 1)):
    return Speech(samples, lengths, torch.tensor(labels), ["a", "b"], torch.arange(2), "stand-in", "")


def some_digits(labels=(0, 1)):
    n = len(labels)
    return Digits(torch.zeros(n, 1, 28, 28, dtype=torch.uint8), torch.tensor(labels, dtype=torch.int64), "stand-in", "")


@pytest.mark.parametrize(
    ("arguments", "kind", "words"),
    [
        ((samples.short(), lengths), TypeError, "samples must be floating point .* got torch.int16"),
        ((samples, lengths.float()), TypeError, "lengths must be whole numbers of samples, got torch.float32"),
        ((samples, lengths > 30), TypeError, "lengths must be whole numbers .* got torch.bool"),
        ((samples[0], lengths), ValueError, r"samples must be \[batch, sample\] and lengths \[batch\], got \[50\] and \[2\]"),
        ((samples, lengths[:1]), ValueError, r"got \[2, 50\] and \[1\]"),
        ((samples, lengths, 0), ValueError, "frames must be a whole number of at least 1, got 0"),
        ((samples, lengths, 1.5), ValueError, "frames must be a whole number"),
        ((samples, torch.tensor([50, 51])), ValueError, "lengths must lie in 1 … 50, .* got 50 … 51"),
        ((samples, torch.tensor([0, 5])), ValueError, "lengths must lie in 1 … 50, .* got 0 … 5"),
        ((broken, lengths), ValueError, "samples must be finite; 1 of them"),
    ],
)
def test_recordings(arguments, kind, words):
    with pytest.raises(kind, match=words):
        w.energy_curve(*arguments)


@pytest.mark.parametrize(
    ("ink", "kind", "words"),
    [
        (torch.ones(1, 4, 4), TypeError, "ink must be a boolean mask, got torch.float32"),
        (torch.ones(4, 4, dtype=torch.bool), ValueError, r"ink must be \[batch, height, width\] .* got \[4, 4\]"),
        (torch.ones(1, 0, 4, dtype=torch.bool), ValueError, "at least one pixel"),
    ],
)
def test_ink(ink, kind, words):
    with pytest.raises(kind, match=words):
        w.geodesic_distance(ink)


@pytest.mark.parametrize(
    ("bad", "kind", "words"),
    [
        (image.to(torch.uint8), TypeError, "images must be a float tensor .* got torch.uint8; data.to_float"),
        (image[0], ValueError, r"images must be \[batch, 1, height, width\], got \[1, 6, 6\]"),
        (image.expand(2, 3, 6, 6), ValueError, r"got \[2, 3, 6, 6\]"),
        (image + 2, ValueError, r"images must be finite and in \[-1, 1\], got 2 … 2"),
        (image * math.nan, ValueError, "images must be finite"),
    ],
)
@pytest.mark.parametrize("use", [w.writing_time, lambda x: w.writing_video(x, curve)])
def test_images(use, bad, kind, words):
    bad = bad if len(bad) == 2 or bad.ndim != 4 else bad[:2]
    with pytest.raises(kind, match=words):
        use(bad) if bad.ndim == 4 else w.writing_time(bad)


@pytest.mark.parametrize(
    ("bad", "kind", "words"),
    [
        (curve.long(), TypeError, "curve must be floating point"),
        (curve[:1], ValueError, r"curve must be \[2, frame\], one row an image, got \[1, 16\]"),
        (curve[0], ValueError, r"got \[16\]"),
        (curve[:, :0], ValueError, r"got \[2, 0\]"),
        (curve * 1.5, ValueError, r"curve must lie in \[0, 1\], got 0 … 1.5"),
        (curve * math.nan, ValueError, "curve must lie in"),
    ],
)
def test_curve(bad, kind, words):
    with pytest.raises(kind, match=words):
        w.writing_video(image, bad)


@pytest.mark.parametrize(
    ("bad", "kind", "words"),
    [
        (video.long(), TypeError, "video must be a float tensor"),
        (video[:, 0], ValueError, r"video must be \[batch, frame, 1, height, width\], got \[2, 1, 6, 6\]"),
        (video.expand(2, 16, 3, 6, 6), ValueError, r"got \[2, 16, 3, 6, 6\]"),
        (video[:, :0], ValueError, r"got \[2, 0, 1, 6, 6\]"),
        (video * math.inf, ValueError, "video must be finite; 1152 of its values"),
    ],
)
def test_video(bad, kind, words):
    with pytest.raises(kind, match=words):
        w.ink_curve(bad)


@pytest.mark.parametrize(
    ("ink", "energy", "words"),
    [
        (curve, curve[:, :8], r"one shape \[batch, frame\], got \[2, 16\] and \[2, 8\]"),
        (curve[0], curve[0], r"got \[16\] and \[16\]"),
        (curve, curve * math.nan, "ink and energy must be finite"),
    ],
)
def test_timing(ink, energy, words):
    with pytest.raises(ValueError, match=words):
        w.timing_error(ink, energy)


def test_partner_that_nobody_is():
    with pytest.raises(ValueError, match=r"labels must hold every label that is wanted; there is none of \[4\]"):
        w.rows_of_same_label(torch.tensor([1, 4]), torch.tensor([1, 2]))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((some_digits(), speech(), 0), "batch_size must be a whole number of at least 1, got 0"),
        ((some_digits(), speech(), 2.5), "batch_size must be a whole number"),
        ((some_digits(()), speech(), 2), "digits must hold at least one image"),
        ((some_digits((0, 7)), speech(), 2), r"speech must hold a recording of every digit in digits; there is none of \[7\]"),
    ],
)
def test_batches(arguments, words):
    with pytest.raises(ValueError, match=words):
        w.WritingBatches(*arguments)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seed": 5}, r"state was taken from other batches: .*'seed': \(5, 0\)"),
        ({"batch_size": 3}, "'batch_size'"),
        ({"recordings": 9}, "'recordings'"),
        ({"index": -1}, "before the first batch: index -1"),
    ],
)
def test_state(change, words):
    stream = w.WritingBatches(some_digits(), speech(), 2)
    with pytest.raises(ValueError, match=words):
        stream.load_state_dict(stream.state_dict() | change)


def test_state_of_something_else():
    with pytest.raises(ValueError, match=r"state lacks \['batch_size', .*'index'.*WritingBatches.state_dict"):
        w.WritingBatches(some_digits(), speech(), 2).load_state_dict({"seed": 0})
