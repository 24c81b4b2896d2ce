"""What must hold of every input."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vqdiff_edu import metrics as m

seeds = st.integers(0, 10_000)


def sample(seed, n, dim, scale=1.0, shift=0.0):
    return torch.randn(n, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * scale + shift


def rotation(seed, dim):
    return torch.linalg.qr(sample(seed, dim, dim)).Q


@given(seeds, st.integers(1, 6), st.floats(0.1, 10), st.floats(-5, 5))
def test_frechet_is_a_squared_distance(seed, dim, scale, shift):
    """Zero to itself, symmetric, and its root obeys the triangle inequality."""
    a, b, c = sample(seed, 30, dim), sample(seed + 1, 40, dim, scale, shift), sample(seed + 2, 50, dim, 2.0)
    ab, ba, bc, ac = (m.frechet_distance(*pair) for pair in ((a, b), (b, a), (b, c), (a, c)))
    size = 1 + a.var(0).sum().item() + b.var(0).sum().item()
    assert m.frechet_distance(a, a) <= 1e-10 * size
    assert ab == pytest.approx(ba, abs=1e-9 * size)
    assert math.sqrt(ac) <= math.sqrt(ab) + math.sqrt(bc) + 1e-6 * size


@given(seeds, st.integers(2, 6), st.floats(0.1, 10))
def test_frechet_follows_rotation_shift_and_scale(seed, dim, scale):
    a, b, turn = sample(seed, 30, dim), sample(seed + 1, 30, dim, 2.0, 1.0), rotation(seed + 2, dim)
    moved = m.frechet_distance(scale * a @ turn + 3, scale * b @ turn + 3)
    assert moved == pytest.approx(scale**2 * m.frechet_distance(a, b), rel=1e-8, abs=1e-9)


@given(seeds, st.integers(1, 5), st.integers(3, 30))
def test_frechet_of_a_shifted_sample_is_the_shift_squared(seed, dim, n):
    a = sample(seed, dim + n, dim)
    assert m.frechet_distance(a, a + 2.0) == pytest.approx(4.0 * dim, rel=1e-7)


@given(seeds, st.integers(2, 12), st.integers(2, 12), st.integers(1, 4))
def test_kid_is_symmetric_and_blind_to_order(seed, n, k, dim):
    a, b = sample(seed, n, dim), sample(seed + 1, k, dim)
    size = 1 + m.kid(a, 0 * b) ** 2
    assert m.kid(a, b) == pytest.approx(m.kid(b, a), abs=1e-9 * size)
    assert m.kid(a.flip(0), b, chunk=3) == pytest.approx(m.kid(a, b), abs=1e-9 * size)


@given(seeds, st.integers(5, 20), st.integers(5, 20), st.integers(1, 4))
def test_precision_and_recall_change_places(seed, n, k, neighbours):
    a, b = sample(seed, n, 2), sample(seed + 1, k, 2, 2.0)
    forward, backward = m.precision_recall(a, b, k=neighbours), m.precision_recall(b, a, k=neighbours)
    assert forward == (backward.recall, backward.precision)
    assert m.precision_recall(a, a, k=neighbours) == (1, 1)
    wider = m.precision_recall(a, b, k=neighbours + 1) if neighbours + 1 < min(n, k) else forward
    assert wider.precision >= forward.precision and wider.recall >= forward.recall


@given(seeds, st.integers(1, 30), st.integers(1, 40), st.integers(1, 10))
def test_perplexity_is_bounded(seed, num_embeddings, images, per_batch):
    """Between 1 and min(K, codes in the batch); blind to the names of the codes; whole epochs are never less spread than their parts."""
    g = torch.Generator().manual_seed(seed)
    codes = torch.randint(0, num_embeddings, (images, 3), generator=g)
    whole, parts = m.perplexity(codes, num_embeddings), m.perplexity(codes, num_embeddings, images_per_batch=per_batch)
    assert 1 - 1e-9 <= whole <= min(num_embeddings, codes.numel()) + 1e-9
    assert parts <= min(num_embeddings, 3 * per_batch) + 1e-4
    assert whole <= num_embeddings * m.usage(codes, num_embeddings) + 1e-9
    assert m.perplexity(torch.randperm(num_embeddings, generator=g)[codes], num_embeddings) == pytest.approx(whole)
    assert m.perplexity(codes.repeat(2, 1), num_embeddings) == pytest.approx(whole)


@given(seeds, st.integers(1, 8))
def test_counts_of_batches_add_up(seed, per_batch):
    codes = torch.randint(0, 7, (20, 2), generator=torch.Generator().manual_seed(seed))
    assert torch.equal(sum(m.code_counts(part, 7) for part in codes.split(per_batch)), m.code_counts(codes, 7))


@given(seeds, st.floats(1e-3, 0.5))
def test_psnr_falls_by_twenty_decibels_a_decade(seed, error):
    x = sample(seed, 3, 16)
    assert torch.allclose(m.psnr(x, x + error), torch.full((3,), -20 * math.log10(error / 2), dtype=torch.float64))


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=30))
def test_intervals_hold_their_mean(values):
    low, high = m.t_interval(values)
    spread = m.mean_and_range(values)
    assert low - 1e-9 <= spread.mean <= high + 1e-9 and spread.low - 1e-9 <= spread.mean <= spread.high + 1e-9
