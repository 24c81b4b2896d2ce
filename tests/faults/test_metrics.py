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
        (good[:1], ValueError, r"features_b must be \[n, dim\] with n >= 2, got shape \[1, 3\]"),
        (good[0], ValueError, r"features_b must be \[n, dim\]"),
        (good[None], ValueError, r"got shape \[1, 20, 3\]"),
        (good[:, :2], ValueError, "equal dimensions, got 3 and 2"),
        (broken, ValueError, "features_b must be finite; 1 of 20 rows"),
        (good.long(), TypeError, "features_b must be a float tensor"),
        (good.tolist(), TypeError, "features_b must be a float tensor .* got list"),
    ],
)
def test_features(measure, bad, kind, words):
    with pytest.raises(kind, match=words):
        measure(good, bad)


@pytest.mark.parametrize(
    ("mean", "cov", "words"),
    [
        (torch.zeros(3), torch.eye(2), r"\[dim\] and \[dim, dim\], got \[3\] and \[2, 2\]"),
        (torch.zeros(3, 1), torch.eye(3), r"got \[3, 1\]"),
        (torch.full((2,), math.nan), torch.eye(2), "mean and cov must be finite"),
    ],
)
def test_statistics(mean, cov, words):
    with pytest.raises(ValueError, match=words):
        m.FeatureStatistics(mean, cov, 10)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((good, good, 0), "k must be an integer of at least 1, got 0"),
        ((good, good, 1.5), "k must be an integer"),
        ((good[:3], good, 3), "real must be .* n >= 4"),
        ((good, good[:3], 3), "fake must be .* n >= 4"),
        ((good, good[:, :1], 3), "equal dimensions, got 3 and 1"),
        ((good, broken, 3), "fake must be finite"),
    ],
)
def test_precision_recall(arguments, words):
    with pytest.raises(ValueError, match=words):
        m.precision_recall(*arguments)


@pytest.mark.parametrize(
    ("bad", "kind", "words"),
    [
        (image.to(torch.uint8), TypeError, "images must be a float tensor .* got torch.uint8; data.to_float"),
        (image[0], ValueError, r"\[n, 1, 28, 28\] .* got \[1, 28, 28\]"),
        (image.expand(-1, 3, -1, -1), ValueError, r"got \[2, 3, 28, 28\]"),
        (image[:0], ValueError, r"got \[0, 1, 28, 28\]"),
        (image * math.inf, ValueError, "images must be finite; 2 of 2"),
    ],
)
def test_images(bad, kind, words):
    with pytest.raises(kind, match=words):
        m.classifier_features(bad)


def test_the_unit_scale_is_noticed():
    with pytest.warns(UserWarning, match=r"in \[-1, 1\] with a background of -1, not in \[0, 1\]"):
        m.classifier_features((image + 1) / 2)


def test_labels_one_an_image():
    with pytest.raises(ValueError, match=r"labels must be \[2\], one an image, got \[3\]"):
        m.label_accuracy(image, torch.zeros(3, dtype=torch.long))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"n": 1}, "n must be between 2 and half of the 20 rows"),
        ({"n": 11}, "n=11"),
        ({"n": 5, "replicates": 0}, "replicates=0"),
        ({"n": 5, "labels": torch.arange(20) % 2}, "multiple of the number of classes"),
        ({"n": 10, "labels": (torch.arange(20) > 16).long()}, "each class must have"),
        ({"n": 10, "labels": torch.zeros(19, dtype=torch.long)}, r"labels \[19\] for 20 rows"),
    ],
)
def test_floor(arguments, words):
    with pytest.raises(ValueError, match=words):
        m.matched_floor(good, **arguments)


@pytest.mark.parametrize(
    ("codes", "kind", "words"),
    [
        (torch.tensor([0, 8]), ValueError, r"indices must be in 0 … 7 for num_embeddings=8, got 0 … 8"),
        (torch.tensor([-1, 3]), ValueError, "got -1 … 3"),
        (torch.tensor([], dtype=torch.long), ValueError, "at least one code"),
        (torch.tensor([0.0]), TypeError, "indices must be integers, got torch.float32"),
    ],
)
@pytest.mark.parametrize("measure", [m.perplexity, m.usage, m.code_counts])
def test_codes(measure, codes, kind, words):
    with pytest.raises(kind, match=words):
        measure(codes, 8)


def test_psnr_of_unequal_shapes():
    with pytest.raises(ValueError, match="equal shape"):
        m.psnr(image, image[:1])


@pytest.mark.parametrize("values", [[], [1.0, math.nan]])
def test_replicates(values):
    with pytest.raises(ValueError, match="values must be one or more finite numbers"):
        m.mean_and_range(values)


def test_one_replicate_has_no_interval():
    with pytest.raises(ValueError, match="at least two replicates"):
        m.t_interval([1.0])


@pytest.mark.parametrize(
    ("generate", "n", "words"),
    [
        (lambda labels, generator: image, 15, "n must be a positive multiple of 10"),
        (lambda labels, generator: image, 20, r"generate must return images \[20, 1, 28, 28\], got \[2, 1, 28, 28\]"),
        (lambda labels, generator: None, 20, "got NoneType"),
        (lambda labels, generator: image[:1].expand(20, -1, -1, -1) * math.nan, 20, "images must be finite; 20 of 20"),
    ],
)
def test_generators(generate, n, words):
    with pytest.raises(ValueError, match=words):
        m.evaluate_samples(generate, n=n, replicates=1, source="stand-in")


def test_psnr_takes_finite_floats():
    x = torch.zeros(2, 1, 4, 4)
    with pytest.raises(TypeError, match="y must be floats.*torch.uint8"):
        m.psnr(x, x.byte())
    with pytest.raises(ValueError, match="x must be finite; 32"):
        m.psnr(x * math.nan, x)


@pytest.mark.parametrize(
    "labels, error, message",
    [
        ([17, -1], ValueError, "labels must lie in 0 … 9, got -1 … 17"),
        ([1.5, 2.0], TypeError, "labels must be whole numbers"),
        ([True, False], TypeError, "labels must be whole numbers"),
    ],
)
def test_labels_that_no_digit_has(labels, error, message):
    with pytest.raises(error, match=message):
        m.label_accuracy(-torch.ones(2, 1, 28, 28), torch.tensor(labels))


def test_a_generator_of_bytes_is_told_so():
    with pytest.raises(TypeError, match="images must be a float tensor.*uint8"):
        m.evaluate_samples(lambda y, g: torch.zeros(len(y), 1, 28, 28, dtype=torch.uint8), n=10, replicates=1)


def test_values_far_outside_are_noticed():
    with pytest.warns(UserWarning, match="generate returned values up to 254"):
        m._generated(lambda y, g: 255 * torch.rand(len(y), 1, 28, 28).round() - 1, torch.arange(10), None)
