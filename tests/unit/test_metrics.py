"""The rulers of the book: values known in closed form, by enumeration, or from another library."""

import math
import warnings

import pytest
import scipy.linalg
import scipy.stats
import torch

from vqdiff_edu import metrics as m
from vqdiff_edu.data import digits, to_float


def gaussian(dim, seed):
    """Some mean and covariance, exact."""
    g = torch.Generator().manual_seed(seed)
    root = torch.randn(dim, dim, generator=g, dtype=torch.float64)
    return m.FeatureStatistics(torch.randn(dim, generator=g, dtype=torch.float64), root @ root.T / dim, math.inf)


def test_frechet_of_two_bells_by_hand():
    def bell(mean, sd):
        return m.FeatureStatistics(torch.tensor([mean]), torch.tensor([[sd**2]]), math.inf)

    assert m.frechet_distance(bell(0.0, 1.0), bell(3.0, 2.0)) == pytest.approx(9 + 1, abs=1e-12)


def test_frechet_agrees_with_scipy_matrix_root():
    a, b = gaussian(7, 0), gaussian(7, 1)
    root = scipy.linalg.sqrtm((a.cov @ b.cov).numpy())
    expected = (a.mean - b.mean).square().sum() + a.cov.trace() + b.cov.trace() - 2 * root.real.trace()
    assert m.frechet_distance(a, b) == pytest.approx(float(expected), abs=1e-10)


def test_frechet_without_full_rank():
    """In 40 dimensions, points on two perpendicular lines: the root's trace is 0 and the distance the sum of the variances."""
    line = torch.linspace(-1, 1, 101, dtype=torch.float64)
    a, b = torch.zeros(2, 101, 40, dtype=torch.float64)
    a[:, 3], b[:, 30] = line, 2 * line
    assert m.frechet_distance(a, b) == pytest.approx(5 * line.var().item(), rel=1e-9)
    assert m.frechet_distance(a, a) == pytest.approx(0, abs=1e-9)


def test_frechet_warns_of_too_few_points_and_only_then():
    x = torch.randn(12, 8, generator=torch.Generator().manual_seed(0))
    with pytest.warns(UserWarning, match="features_b: 8 points in 8 dimensions"):
        m.frechet_distance(x, x[:8])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        m.frechet_distance(x, x + 1)


def test_one_sample_against_its_own_distribution():
    """The chapter's opening number: 352 at n = 256 in 512 dimensions."""
    exact = m.FeatureStatistics(torch.zeros(512), torch.eye(512), math.inf)
    with pytest.warns(UserWarning, match="mostly bias"):
        distance = m.frechet_distance(torch.randn(256, 512, generator=torch.Generator().manual_seed(0)), exact)
    assert distance == pytest.approx(352, abs=2.5)


def test_statistics_can_replace_features():
    g = torch.Generator().manual_seed(0)
    a, b = torch.randn(50, 4, generator=g), torch.randn(60, 4, generator=g) + 1
    assert (
        m.frechet_distance(m.feature_statistics(a), b)
        == m.frechet_distance(a, b)
        == m.frechet_distance(m.feature_statistics(a), m.feature_statistics(b))
    )


def test_float32_features_are_computed_in_float64():
    """A large common offset costs float32 all its digits in a covariance; float64 keeps them."""
    x = torch.randn(500, 3, generator=torch.Generator().manual_seed(0)).double().mul(64).round() / 64
    assert m.frechet_distance((x + 1000).float(), (x * 1 + 1000).flip(0)) == pytest.approx(0, abs=1e-9)


def brute_force_mmd(a, b):
    """The U-statistic, pair by pair."""

    def kernel(x, y):
        return (float(x @ y) / len(x) + 1) ** 3

    def mean(pairs):
        pairs = list(pairs)
        return sum(kernel(x, y) for x, y in pairs) / len(pairs)

    def others(s):
        return ((x, y) for i, x in enumerate(s) for j, y in enumerate(s) if i != j)

    return mean(others(a)) + mean(others(b)) - 2 * mean((x, y) for x in a for y in b)


def test_kid_pair_by_pair_and_in_chunks():
    g = torch.Generator().manual_seed(0)
    a, b = torch.randn(7, 3, generator=g, dtype=torch.float64), torch.randn(5, 3, generator=g, dtype=torch.float64)
    assert m.kid(a, b) == pytest.approx(brute_force_mmd(a, b), abs=1e-12)
    assert m.kid(a, b, chunk=2) == pytest.approx(m.kid(a, b), abs=1e-12)


def test_kid_is_unbiased():
    """Over all ordered samples of two from {0, 1} against two from {0, 2}, drawn with equal chance: the mean is the exact squared MMD."""
    sets = torch.tensor([[0.0], [1.0]]), torch.tensor([[0.0], [2.0]])

    def kernel(x, y):
        return (x * y + 1) ** 3

    def mean_kernel(p, q):
        return torch.stack([kernel(x, y) for x in p for y in q]).mean()

    exact = mean_kernel(sets[0], sets[0]) + mean_kernel(sets[1], sets[1]) - 2 * mean_kernel(*sets)
    picks = [torch.tensor([i, j]) for i in (0, 1) for j in (0, 1)]
    values = [m.kid(sets[0][p], sets[1][q]) for p in picks for q in picks]
    assert sum(values) / len(values) == pytest.approx(float(exact), abs=1e-12)


def test_precision_recall_on_a_line():
    """Real at 0, 1, 2, 10: with k = 1 the balls have radii 1, 1, 1, 8. Fakes at 0.5, 3.5, 30 have radii 3, 3, 26.5."""
    real, fake = torch.tensor([[0.0], [1.0], [2.0], [10.0]]), torch.tensor([[0.5], [3.5], [30.0]])
    result = m.precision_recall(real, fake, k=1)
    assert result.precision == pytest.approx(2 / 3)  # 0.5 lies near 0; 3.5 lies within 8 of 10; 30 lies nowhere
    assert result.recall == 1.0  # 10 lies within 26.5 of 30
    assert m.precision_recall(real, fake, k=1, chunk=1) == result


def test_precision_and_recall_are_not_swapped():
    g = torch.Generator().manual_seed(0)
    real = torch.cat([torch.randn(200, 2, generator=g) + 10, torch.randn(200, 2, generator=g) - 10])
    one_mode = torch.randn(400, 2, generator=g) + 10
    result = m.precision_recall(real, one_mode)
    assert result.precision > 0.9 and 0.4 < result.recall < 0.55


def test_psnr_is_the_same_as_on_the_unit_scale():
    g = torch.Generator().manual_seed(0)
    x, y = torch.rand(3, 1, 8, 8, generator=g), torch.rand(3, 1, 8, 8, generator=g)
    unit = -10 * torch.log10((x - y).square().mean((1, 2, 3)))
    assert torch.allclose(m.psnr(2 * x - 1, 2 * y - 1), unit.double(), atol=1e-4)
    assert torch.isinf(m.psnr(x, x)).all()


def test_perplexity_and_usage_by_hand():
    codes = torch.tensor([[0, 0], [1, 1], [2, 2], [3, 3]])
    assert m.perplexity(codes, 10) == pytest.approx(4)
    assert m.usage(codes, 10) == pytest.approx(0.4)
    assert m.perplexity(codes, 10, images_per_batch=1) == pytest.approx(1)
    assert m.perplexity(codes, 10, images_per_batch=2) == pytest.approx(2)
    assert m.perplexity(torch.tensor([0, 0, 0, 1]), 2) == pytest.approx(4 / 27**0.25)
    assert m.code_counts(codes, 5).tolist() == [2, 2, 2, 2, 0]


def test_t_interval_against_scipy():
    for n in (2, 3, 5, 21, 22, 40, 200):
        x = torch.randn(n, generator=torch.Generator().manual_seed(n), dtype=torch.float64)
        expected = scipy.stats.t.interval(0.95, n - 1, x.mean().item(), x.std().item() / n**0.5)
        assert m.t_interval(x) == pytest.approx(expected, abs=1e-3 * x.std().item())
    assert m.mean_and_range([3, 1, 2]) == (2, 1, 3)


def test_floor_is_real_against_the_rest():
    x = torch.randn(600, 3, generator=torch.Generator().manual_seed(0))
    floor = m.matched_floor(x, 100, 3, torch.Generator().manual_seed(1))
    assert len(set(floor)) == 3 and all(0 < f < 0.3 for f in floor)
    assert floor == m.matched_floor(x, 100, 3, torch.Generator().manual_seed(1))
    assert sum(m.matched_floor(x, 300, 3, torch.Generator().manual_seed(1))) < sum(floor)


def test_floor_is_the_distance_to_the_complement():
    x = torch.randn(90, 4, generator=torch.Generator().manual_seed(2)) * torch.tensor([3.0, 1, 1, 0]) + 5
    rows = torch.zeros(90, dtype=torch.bool)
    rows[m._draw_rows(torch.zeros(90), 40, torch.Generator().manual_seed(3))] = True
    assert m.matched_floor(x, 40, 1, torch.Generator().manual_seed(3)) == pytest.approx([m.frechet_distance(x[rows], x[~rows])], rel=1e-9)


def test_balanced_floor_draws_each_label_equally():
    """Two far clusters, 9 : 1. A balanced draw has its mean in the middle, and the floor says so."""
    labels = (torch.arange(1000) >= 900).long()
    x = 10.0 * labels[:, None].double() + torch.randn(1000, 1, generator=torch.Generator().manual_seed(0))
    rows = m._draw_rows(labels, 100, torch.Generator().manual_seed(0))
    assert labels[rows].sum() == 50 and len(rows.unique()) == 100
    assert m.matched_floor(x, 100, 1, torch.Generator(), labels)[0] > 10 * m.matched_floor(x, 100, 1, torch.Generator())[0]


def test_jitter_moves_little_and_brings_in_black():
    x = -torch.ones(64, 1, 28, 28)
    assert torch.allclose(m.jitter(x, torch.Generator()), x, atol=1e-5)
    x[:, :, 13:15, 13:15] = 1
    moved = m.jitter(x, torch.Generator().manual_seed(0))
    place = (moved + 1).flatten(1).double()
    centre = (
        place
        @ torch.stack(torch.meshgrid(torch.arange(28.0), torch.arange(28.0), indexing="ij")).reshape(2, -1).T.double()
        / place.sum(1, keepdim=True)
    )
    assert (centre - 13.5).abs().max() < 2.5 and (centre - 13.5).std() > 0.7


def test_shipped_classifier():
    model = m.load_classifier()
    assert not model.training and not any(p.requires_grad for p in model.parameters()) and model is m.load_classifier()
    assert 100_000 <= sum(p.numel() for p in model.parameters()) <= 250_000
    x = -torch.ones(3, 1, 28, 28)
    features = m.classifier_features(x)
    assert features.shape == (3, 128) and features.min() >= 0
    assert torch.equal(model.head(features), model(x))
    assert torch.allclose(m.classifier_features(x, batch_size=1), features, atol=1e-5)


def test_shipped_classifier_reads_digits():
    from vqdiff_edu.weights import load_card

    card, test = load_card("digit-classifier"), digits("test")
    assert card["data"]["source"] == "mnist" and card["profile"] == "laptop" and card["metrics"]["test_accuracy"] >= 0.994
    accuracy = m.label_accuracy(to_float(test.images), test.labels)
    if test.source == "mnist":
        assert accuracy == pytest.approx(card["metrics"]["test_accuracy"], abs=2e-4)
    else:
        assert accuracy > 0.5  # never saw a drawn digit


@pytest.mark.parametrize("name", ["smoke", "laptop"])
def test_real_digits_are_all_of_them_in_every_profile(monkeypatch, name):
    monkeypatch.setenv("VQDIFF_PROFILE", name)
    features, labels = m.real_features("test", "stand-in")
    assert len(features) == len(labels) == m.real_statistics("test", "stand-in").n == 2000
    some, their_labels = m.real_features("test", "stand-in", every=10)
    assert torch.equal(some, features[::10]) and torch.equal(their_labels, labels[::10])
    assert m.real_statistics("test", "stand-in", every=10).n == 200


@pytest.fixture
def small_reality(monkeypatch):
    """200 stand-in digits as all there is of reality."""
    data = digits("train", "stand-in")
    features, labels = m.classifier_features(to_float(data.images[:200])), torch.arange(200) % 10
    monkeypatch.setattr(m, "real_features", lambda split, source, every: (features, labels))
    monkeypatch.setattr(m, "real_statistics", lambda split, source, every: m.feature_statistics(features))
    return to_float(data.images)


@pytest.mark.filterwarnings("ignore:.*mostly bias")
def test_evaluate_samples_follows_the_protocol(small_reality):
    asked = []

    def generate(labels, generator):
        asked.append((labels, torch.rand((), generator=generator).item()))
        return 1.5 * small_reality[: len(labels)]

    result = m.evaluate_samples(generate, n=60, replicates=2, batch_size=50, source="stand-in")
    assert [len(labels) for labels, _ in asked] == [50, 10, 50, 10]
    assert torch.cat([labels for labels, _ in asked[:2]]).bincount().tolist() == [6] * 10
    assert len({draw for _, draw in asked}) == 4, "each batch and each replicate has fresh noise"
    assert result["n"] == 60 and result["replicates"] == 2 and result["source"] == "stand-in"
    for key in ("frechet", "label_accuracy", "floor", "floor_balanced"):
        column = result[key]
        assert len(column["values"]) == 2 and column["low"] <= column["mean"] <= column["high"]
    clamped = torch.cat([small_reality[:50], small_reality[:10]]).mul(1.5).clamp(-1, 1)
    assert result["frechet"]["values"][0] == pytest.approx(
        m.frechet_distance(m.classifier_features(clamped), m.real_features("train", "", every=1)[0]), rel=1e-6
    )


def test_classifier_learns_in_a_few_steps(tmp_path):
    """The recipe as it is, on the stand-in, shortened."""
    from vqdiff_edu.data import Batches
    from vqdiff_edu.training import Recipe, fit

    torch.manual_seed(0)
    recipe = Recipe("digit-classifier", 30, batch_size=64, lr=3e-3, warmup=3, ema_decay=None, log_every=10)
    run = fit(m.ClassifierTask(m.DigitClassifier()), Batches(digits("train", "stand-in"), 64), recipe, tmp_path)
    test = digits("test", "stand-in")
    assert run.history[-1]["loss"] < 0.7 * run.history[0]["loss"]
    with torch.no_grad():
        assert (run.model(to_float(test.images)).argmax(1) == test.labels).double().mean() > 0.2
