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


def speech(labels=(0, 1)):
    return Speech(samples, lengths, torch.tensor(labels), ["a", "b"], torch.arange(2), "stand-in", "")


def some_digits(labels=(0, 1)):
    n = len(labels)
    return Digits(torch.zeros(n, 1, 28, 28, dtype=torch.uint8), torch.tensor(labels, dtype=torch.int64), "stand-in", "")


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: w.energy_curve(samples.short(), lengths), TypeError, "samples must be .* got dtype torch.int16"),
        (lambda: w.energy_curve(samples[0], lengths), ValueError, r"samples must be .* got shape \[50\]"),
        (lambda: w.energy_curve(samples, lengths.float()), TypeError, "lengths must be .* got dtype torch.float32"),
        (lambda: w.energy_curve(samples, lengths > 30), TypeError, "lengths must be .* got dtype torch.bool"),
        (lambda: w.energy_curve(samples, lengths[:1]), ValueError, r"lengths must be .* got shape \[1\]"),
        (lambda: w.writing_time(image.to(torch.uint8)), TypeError, "images must be .* got dtype torch.uint8"),
        (lambda: w.writing_time(image[0]), ValueError, r"images must be .* got shape \[1, 6, 6\]"),
        (lambda: w.writing_video(image.expand(2, 3, 6, 6), curve), ValueError, r"images must be .* got shape \[2, 3, 6, 6\]"),
        (lambda: w.writing_video(image, curve.long()), TypeError, "curve must be .* got dtype torch.int64"),
        (lambda: w.writing_video(image, curve[:1]), ValueError, r"curve must be .* got shape \[1, 16\]"),
        (lambda: w.writing_video(image, curve[0]), ValueError, "curve"),
        (lambda: w.writing_video(image, curve[:, :0]), ValueError, "curve must be .* not empty"),
        (lambda: w.ink_curve(video.long()), TypeError, "video must be .* got dtype torch.int64"),
        (lambda: w.ink_curve(video[:, 0]), ValueError, r"video must be .* got shape \[2, 1, 6, 6\]"),
        (lambda: w.ink_curve(video.expand(2, 16, 3, 6, 6)), ValueError, "video"),
        (lambda: w.ink_curve(video[:, :0]), ValueError, "video"),
        (lambda: w.ink_curve(video * math.inf), ValueError, "video must be finite; 1152 of its values"),
        (lambda: w.timing_error(curve, curve[:, :8]), ValueError, r"ink and energy must have one shape, got \[2, 16\] and \[2, 8\]"),
        (lambda: w.timing_error(curve[0], curve[0]), ValueError, r"ink must be .* got shape \[16\]"),
        (lambda: w.timing_error(curve, curve * math.nan), ValueError, "energy must be finite; 32 of its values"),
        (lambda: w.WritingBatches(some_digits(), speech(), 0), ValueError, "batch_size must be a whole number of at least 1, got 0"),
        (lambda: w.WritingBatches(some_digits(), speech(), 2.5), TypeError, "batch_size must be a whole number"),
        (lambda: w.WritingBatches(some_digits((0, 7)), speech(), 2), ValueError, r"speech must hold a recording .* none of \[7\]"),
    ],
)
def test_what_is_refused(call, error, words):
    with pytest.raises(error, match=f"^{words}"):
        call()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seed": 5}, r"state was taken from other batches: .*'seed': \(5, 0\)"),
        ({"batch_size": 3}, "state was taken .*'batch_size'"),
        ({"recordings": 9}, "state was taken .*'recordings'"),
        ({"index": -1}, r"state\['index'\] must be a whole number of at least 0, got -1"),
    ],
)
def test_state(change, words):
    stream = w.WritingBatches(some_digits(), speech(), 2)
    with pytest.raises(ValueError, match=f"^{words}"):
        stream.load_state_dict(stream.state_dict() | change)


def test_state_of_something_else():
    with pytest.raises(ValueError, match="^state lacks"):
        w.WritingBatches(some_digits(), speech(), 2).load_state_dict({"seed": 0})
