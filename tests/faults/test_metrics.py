"""Bad input is refused by name (run with JAXTYPING_DISABLE=1, so that our own errors are the ones seen)."""

import math

import pytest
import torch

from vqdiff_edu import metrics as m

good = torch.randn(20, 3, generator=torch.Generator().manual_seed(0))
broken = good.clone()
broken[4, 1] = math.nan
image = -torch.ones(2, 1, 28, 28)


@pytest.mark.parametrize("measure", [m.frechet_distance, m.kid])
@pytest.mark.parametrize(
    ("bad", "kind", "words"),
    [
        (good[:1], ValueError, "features_b: the number of rows must be .* at least 2, got 1"),
        (good[0], ValueError, r"features_b must be .* got shape \[3\]"),
        (good[None], ValueError, r"features_b must be .* got shape \[1, 20, 3\]"),
        (good[:, :2], ValueError, r"features_a and features_b must have one shape, got \[3\] and \[2\]"),
        (broken, ValueError, "features_b must be finite; 1 of"),
        (good.long(), TypeError, "features_b must be .*int64"),
        (good.tolist(), TypeError, "features_b must be a tensor .* got list"),
    ],
)
def test_features(measure, bad, kind, words):
    with pytest.raises(kind, match=f"^{words}"):
        measure(good, bad)


@pytest.mark.parametrize("measure", [m.perplexity, m.usage, m.code_counts])
@pytest.mark.parametrize(
    ("codes", "kind"),
    [
        (torch.tensor([0, 8]), ValueError),
        (torch.tensor([-1, 3]), ValueError),
        (torch.tensor([], dtype=torch.long), ValueError),
        (torch.tensor([0.0]), TypeError),
    ],
)
def test_codes(measure, codes, kind):
    with pytest.raises(kind, match="^indices must be one or more whole numbers in 0 … 7"):
        measure(codes, 8)


def measured(generate, n=20):
    return m.evaluate_samples(generate, n=n, replicates=1, source="stand-in", every=100)


def statistics(mean, cov):
    return m.FeatureStatistics(mean, cov, 10)


@pytest.mark.parametrize(
    ("call", "error", "name"),
    [
        (lambda: statistics(torch.zeros(3), torch.eye(2)), ValueError, r"cov must be .*3 3.* got shape \[2, 2\]"),
        (lambda: statistics(torch.zeros(3, 1), torch.eye(3)), ValueError, r"mean must be .* got shape \[3, 1\]"),
        (lambda: statistics(torch.full((2,), math.nan), torch.eye(2)), ValueError, "mean must be finite"),
        (lambda: statistics(torch.zeros(2), torch.eye(2) * math.inf), ValueError, "cov must be finite"),
        (lambda: m.precision_recall(good, good, 0), ValueError, "k must be a whole number of at least 1, got 0"),
        (lambda: m.precision_recall(good, good, 1.5), TypeError, "k must be a whole number"),
        (lambda: m.precision_recall(good[:3], good, 3), ValueError, "real: the number of rows must be .* at least 4, got 3"),
        (lambda: m.precision_recall(good, good[:3], 3), ValueError, "fake: the number of rows must be .* at least 4, got 3"),
        (lambda: m.precision_recall(good, good[:, :1], 3), ValueError, r"real and fake must have one shape, got \[3\] and \[1\]"),
        (lambda: m.precision_recall(good, broken, 3), ValueError, "fake must be finite"),
        (lambda: m.classifier_features(image.to(torch.uint8)), TypeError, "images must be .*uint8"),
        (lambda: m.classifier_features(image[0]), ValueError, r"images must be .*n 1 28 28.* got shape \[1, 28, 28\]"),
        (lambda: m.classifier_features(image.expand(-1, 3, -1, -1)), ValueError, r"images must be .* got shape \[2, 3, 28, 28\]"),
        (lambda: m.classifier_features(image[:0]), ValueError, "images must be .* not empty"),
        (lambda: m.classifier_features(image * math.inf), ValueError, "images must be finite; 1568 of"),
        (lambda: m.label_accuracy(image, torch.zeros(3, dtype=torch.long)), ValueError, "labels must be one an image, got 3 for 2"),
        (lambda: m.label_accuracy(image, torch.tensor([17, -1])), ValueError, "labels must be .* in 0 … 9"),
        (lambda: m.label_accuracy(image, torch.tensor([1.5, 2.0])), TypeError, "labels must be one or more whole numbers"),
        (lambda: m.label_accuracy(image, torch.tensor([True, False])), TypeError, "labels must be one or more whole numbers"),
        (lambda: m.real_features("test", "stand-in", every=0), ValueError, "every must be a whole number of at least 1, got 0"),
        (lambda: m.matched_floor(good, 1), ValueError, "n must be a whole number in 2 … 10, got 1"),
        (lambda: m.matched_floor(good, 11), ValueError, "n must be a whole number in 2 … 10, got 11"),
        (lambda: m.matched_floor(good, 5, 0), ValueError, "replicates must be a whole number of at least 1, got 0"),
        (lambda: m.matched_floor(good, 5, labels=torch.arange(20) % 2), ValueError, "labels must be .* n = 5 for each class"),
        (lambda: m.matched_floor(good, 10, labels=(torch.arange(20) > 16).long()), ValueError, r"labels must be .* got \[17, 3\]"),
        (lambda: m.matched_floor(good, 10, labels=torch.zeros(19, dtype=torch.long)), ValueError, r"labels .* \[19\] for 20 rows"),
        (lambda: m.psnr(image, image[:1]), ValueError, "x and y must have one shape"),
        (lambda: m.psnr(image, image.byte()), TypeError, "y must be .*uint8"),
        (lambda: m.psnr(image * math.nan, image), ValueError, "x must be finite; 1568 of"),
        (lambda: m.mean_and_range([]), ValueError, "values must be .* not empty"),
        (lambda: m.mean_and_range([1.0, math.nan]), ValueError, "values must be finite; 1 of"),
        (lambda: m.t_interval([1.0]), ValueError, "values: their number must be .* at least 2, got 1"),
        (lambda: measured(lambda labels, generator: image, n=15), ValueError, "n must be a multiple of 10"),
        (lambda: measured(lambda labels, generator: image, n=0), ValueError, "n must be a whole number of at least 10, got 0"),
        (lambda: measured(lambda labels, generator: image), ValueError, r"generate.* must be .*20 1 28 28.* got shape \[2, 1, 28, 28\]"),
        (lambda: measured(lambda labels, generator: None), TypeError, "generate.* must be a tensor .* got NoneType"),
        (lambda: measured(lambda labels, generator: image[:1].repeat(20, 1, 1, 1) * math.nan), ValueError, "generate.* must be finite"),
        (lambda: measured(lambda labels, generator: image[:1].repeat(20, 1, 1, 1).byte()), TypeError, "generate.* must be .*uint8"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*mostly bias")
def test_arguments_are_refused_by_name(call, error, name):
    with pytest.raises(error, match=f"^{name}"):
        call()


def test_the_unit_scale_is_noticed():
    with pytest.warns(UserWarning, match=r"in \[-1, 1\] with a background of -1, not in \[0, 1\]"):
        m.classifier_features((image + 1) / 2)


def test_values_far_outside_are_noticed():
    with pytest.warns(UserWarning, match="generate returned values up to 254"):
        m._generated(lambda y, g: 255 * torch.rand(len(y), 1, 28, 28).round() - 1, torch.arange(10), None)
