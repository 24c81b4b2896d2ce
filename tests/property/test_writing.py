"""What must hold of every mask, every voice and every curve."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import dijkstra

from vqdiff_edu.crossmodal import writing as w
from vqdiff_edu.data import rows_of_same_label, to_float

seeds = st.integers(0, 10_000)
sides = st.integers(1, 12)


def speckle(seed, batch, height, width, share):
    return torch.rand(batch, height, width, generator=torch.Generator().manual_seed(seed)) < share


def voice(seed, batch, longest):
    g = torch.Generator().manual_seed(seed)
    return torch.rand(batch, longest, generator=g) * 2 - 1, torch.randint(1, longest + 1, (batch,), generator=g)


def paths(mask):
    """All shortest paths between ink pixels, by Dijkstra; pixels that cannot be reached are infinitely far."""
    y, x = np.nonzero(mask)
    near = (abs(y[:, None] - y) <= 1) & (abs(x[:, None] - x) <= 1)
    return y, x, dijkstra(coo_array(near.astype(float)).tocsr(), unweighted=True)


@given(seeds, sides, sides, st.floats(0, 1))
def test_distance_is_the_shortest_path(seed, height, width, share):
    mask = speckle(seed, 1, height, width, share)[0].numpy()
    got = w.geodesic_distance(torch.from_numpy(mask)[None])[0].numpy()
    assert np.array_equal(np.isfinite(got), mask)
    if not mask.any():
        return
    y, x, far = paths(mask)
    expected, count, left = np.full(len(y), np.inf), 0.0, np.ones(len(y), bool)
    while left.any():
        piece = np.isfinite(far[left.argmax()])  # nonzero goes in reading order
        expected[piece] = count + far[left.argmax()][piece]
        count, left = expected[piece].max() + 1, left & ~piece
    assert np.array_equal(got[y, x], expected)


@given(seeds, sides, sides, st.floats(0, 1))
def test_every_step_is_taken_and_neighbours_are_a_step_apart(seed, height, width, share):
    mask = speckle(seed, 2, height, width, share)
    for m, d in zip(mask, w.geodesic_distance(mask)):
        levels = d[m].unique()
        assert torch.equal(levels, torch.arange(len(levels)).float())
        pieces, count = ndimage.label(m.numpy(), np.ones((3, 3)))
        for k in range(1, count + 1):
            own = d[torch.from_numpy(pieces == k)]
            assert own.max() - own.min() + 1 == len(own.unique())  # a piece is finished before the next begins
        for a, b in ((d[1:], d[:-1]), (d[:, 1:], d[:, :-1]), (d[1:, 1:], d[:-1, :-1]), (d[1:, :-1], d[:-1, 1:])):
            both = a.isfinite() & b.isfinite()
            assert (a[both] - b[both]).abs().le(1).all()


@given(seeds, st.integers(1, 4), st.integers(1, 60), st.integers(1, 20), st.sampled_from([-3.0, -1.0, 0.01, 2.0]))
def test_energy_knows_no_gain_sign_or_padding(seed, batch, longest, frames, gain):
    samples, lengths = voice(seed, batch, longest)
    curve = w.energy_curve(samples, lengths, frames)
    assert (curve.diff(dim=1) >= 0).all() and (curve >= 0).all() and (curve[:, -1] == 1).all()
    assert torch.allclose(w.energy_curve(gain * samples, lengths, frames), curve, atol=1e-5)
    noisy_padding = torch.cat([samples, torch.randn(batch, 9)], 1)
    assert torch.allclose(w.energy_curve(noisy_padding, lengths, frames), curve, atol=1e-6)
    for s, n, c in zip(samples, lengths.tolist(), curve):
        energy = s.numpy().astype(np.float64)[:n] ** 2
        assert np.allclose(c, [energy[: n * f // frames].sum() / energy.sum() for f in range(1, frames + 1)], atol=1e-6)


@given(seeds, st.integers(1, 3), sides, sides, st.floats(0.05, 1))
def test_a_video_is_in_time_with_its_curve(seed, batch, height, width, share):
    g = torch.Generator().manual_seed(seed)
    grey = to_float(torch.randint(256, (batch, 1, height, width), generator=g).to(torch.uint8))
    x = grey.where(speckle(seed, batch, height, width, share)[:, None], -1)
    x[:, 0, 0, 0] = 1  # some ink
    curve = torch.rand(batch, 6, generator=g)
    curve[:, -1] = 1
    video = w.writing_video(x, curve)
    assert torch.equal(video[:, -1], x)
    assert (video >= -1).all() and (video <= x[:, None] + 1e-6).all()
    assert w.timing_error(w.ink_curve(video), curve).max() < 1e-5


@given(seeds, st.integers(1, 5), st.integers(1, 9))
def test_timing_error_is_a_distance(seed, batch, frames):
    a, b, c = torch.rand(3, batch, frames, generator=torch.Generator().manual_seed(seed))
    assert (w.timing_error(a, a) == 0).all()
    assert torch.equal(w.timing_error(a, b), w.timing_error(b, a))
    assert (w.timing_error(a, c) <= w.timing_error(a, b) + w.timing_error(b, c) + 1e-6).all()


@given(seeds, st.lists(st.integers(0, 9), min_size=1, max_size=30))
def test_partners_have_the_label(seed, labels):
    labels = torch.tensor(labels)
    g = torch.Generator().manual_seed(seed)
    wanted = labels[torch.randint(len(labels), (17,), generator=g)]
    assert torch.equal(labels[rows_of_same_label(wanted, labels, g)], wanted)
