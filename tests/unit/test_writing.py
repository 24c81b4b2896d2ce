"""Writing videos: the order of the ink, the voice's timetable, the two scores, and the stream of pairs."""

import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from vqdiff_edu.crossmodal import writing as w
from vqdiff_edu.crossmodal.audio import Speech
from vqdiff_edu.data import Digits, digits, to_float, to_uint8

INF = math.inf


def mask(text):
    return torch.tensor([[c == "#" for c in row] for row in text.split()])[None]


def voices(n=40, longest=300, seed=0, labels=None):
    g = torch.Generator().manual_seed(seed)
    lengths = torch.randint(20, longest + 1, (n,), generator=g)
    samples = torch.rand(n, longest, generator=g) * 2 - 1
    samples *= torch.arange(longest) < lengths[:, None]
    labels = torch.arange(n) % 10 if labels is None else labels
    return Speech(samples, lengths, labels, ["a", "b"] * (n // 2), torch.arange(n) // 10, "stand-in", "0" * 64)


def images(n=40):
    return to_float(digits("test", "stand-in").images[:n])


# ---------------------------------------------------------------- when


def test_energy_by_hand():
    samples = torch.tensor([[0.0, 0.3, 0.0, 0.4], [0.5, 0.0, 0.0, 0.9]])
    curve = w.energy_curve(samples, torch.tensor([4, 2]), frames=4)
    assert torch.allclose(curve, torch.tensor([[0, 0.36, 0.36, 1], [0, 1, 1, 1]]))
    assert curve.dtype == torch.float32


def test_a_sample_that_is_no_number_is_passed_on_and_not_taken_for_silence():
    samples = torch.zeros(2, 50)
    samples[0, 3] = math.nan
    curve = w.energy_curve(samples, torch.tensor([50, 50]))
    assert curve[0, -1].isnan()
    assert curve[1].isfinite().all()


def test_energy_of_silence_is_a_straight_line():
    curve = w.energy_curve(torch.zeros(2, 50), torch.tensor([50, 7]))
    assert torch.allclose(curve, (torch.arange(1, 17) / 16).expand(2, 16))


def test_energy_ends_at_exactly_one_and_survives_extremes():
    samples = torch.rand(5, 1000, generator=torch.Generator().manual_seed(0)) * torch.tensor([1, 1e-18, 1e-6, 1, 1])[:, None]
    curve = w.energy_curve(samples, torch.tensor([1000, 1000, 999, 1, 3]))
    assert (curve[:, -1] == 1).all() and curve.isfinite().all()
    assert torch.equal(curve[3], torch.tensor([0.0] * 15 + [1]))  # one sample belongs to the last frame


def test_energy_of_a_decay_is_geometric():
    """A closed form: the energy of exp(-n/τ) is a geometric series."""
    n, tau = 1600, 400.0
    curve = w.energy_curve(torch.exp(-torch.arange(n, dtype=torch.float64) / tau)[None], torch.tensor([n]))[0]
    ends = torch.arange(1, 17, dtype=torch.float64) * n / 16
    assert torch.allclose(curve.double(), -torch.expm1(-2 * ends / tau) / -math.expm1(-2 * n / tau), atol=1e-6)


# ---------------------------------------------------------------- what, in which order


def test_distance_by_hand():
    got = w.geodesic_distance(mask(".##. ...# #.#. .#.."))[0]
    assert torch.equal(got, torch.tensor([[INF, 0, 1, INF], [INF, INF, INF, 2], [5, INF, 3, INF], [INF, 4, INF, INF]]))


def test_pieces_follow_one_another_from_their_own_top():
    got = w.geodesic_distance(mask("..#.. ..... #...# ....# #...."))[0]  # four pieces
    assert got[0, 2] == 0 and got[2, 0] == 1 and got[2, 4] == 2 and got[3, 4] == 3 and got[4, 0] == 4


def test_the_leftmost_of_the_topmost_begins():
    assert torch.equal(w.geodesic_distance(mask("###"))[0, 0], torch.tensor([0.0, 1, 2]))


def test_a_batch_does_not_mix_its_members():
    """Members differ in pieces and length; each is as if it were alone."""
    g = torch.Generator().manual_seed(1)
    masks = torch.rand(12, 9, 11, generator=g) < torch.linspace(0.05, 0.95, 12)[:, None, None]
    masks[3] = False
    together = w.geodesic_distance(masks)
    alone = torch.cat([w.geodesic_distance(m[None]) for m in masks])
    assert torch.equal(together, alone)
    assert together[3].isinf().all()


def test_dilation_is_a_max_pool():
    x = torch.rand(3, 9, 7, generator=torch.Generator().manual_seed(0))
    assert torch.equal(w.dilate(x), torch.nn.functional.max_pool2d(x[:, None], 3, 1, 1)[:, 0])


def test_one_step_is_scipys_masked_dilation():
    ink = digits("test", "stand-in").images[7, 0] > 0
    distance = w.geodesic_distance(ink[None])[0].numpy()
    reached = distance == 0
    for k in range(1, 12):
        reached = ndimage.binary_dilation(reached, np.ones((3, 3)), mask=ink.numpy())
        assert np.array_equal(reached, distance <= k)


def test_empty_and_full():
    assert w.geodesic_distance(torch.zeros(0, 5, 5, dtype=torch.bool)).shape == (0, 5, 5)
    full = w.geodesic_distance(torch.ones(1, 4, 6, dtype=torch.bool))[0]
    assert full.max() == 5 and full[0, 0] == 0


# ---------------------------------------------------------------- video


def test_time_is_the_share_of_ink_before():
    x = images(8)
    time, distance = w.writing_time(x), w.geodesic_distance(x[:, 0] > -1)
    ink = (x[:, 0] + 1) / 2
    for i in range(8):
        for d in (0, 3, 9):
            before = ink[i][distance[i] < d].sum() / ink[i].sum()
            assert torch.allclose(time[i][distance[i] == d], before, atol=1e-5)
    assert time[x[:, 0] == -1].isinf().all() and (time[x[:, 0] > -1] < 1).all()


def test_video_shows_the_asked_share_and_ends_with_the_digit():
    x, curve = images(), torch.rand(40, 16, generator=torch.Generator().manual_seed(2)).sort(1).values
    curve[:, -1] = 1
    video = w.writing_video(x, curve)
    assert video.shape == (40, 16, 1, 28, 28)
    assert torch.equal(video[:, -1], x)
    assert torch.allclose(w.ink_curve(video), curve, atol=1e-5)
    assert torch.allclose(w.ink_curve(to_float(to_uint8(video))), curve, atol=5e-3)
    assert (video.diff(dim=1) >= 0).all()
    assert (video <= x[:, None] + 1e-6).all() and video.min() >= -1


def test_video_at_the_ends_of_a_curve():
    x = images(3)
    video = w.writing_video(x, torch.tensor([[0.0, 1, 0, 1]]).expand(3, 4))
    assert (video[:, ::2] == -1).all()
    assert torch.equal(video[:, 1], x) and torch.equal(video[:, 3], x)


def test_at_most_one_ring_is_grey():
    x = images(6)
    curve = torch.full((6, 1), 0.37)
    video, distance = w.writing_video(x, curve)[:, 0, 0], w.geodesic_distance(x[:, 0] > -1)
    for frame, whole, d in zip(video, x[:, 0], distance):
        between = (frame > -1) & (frame < whole - 1e-6)
        assert len(d[between].unique()) <= 1


def test_half_a_byte_is_paper():
    x = -torch.ones(1, 1, 5, 5)
    x[0, 0, 0, 0] = -1 + 0.4 / 127.5
    x[0, 0, 3, 3] = 0
    assert w.writing_time(x).isfinite().sum() == 1


def test_a_blank_page_stays_blank():
    x = -torch.ones(2, 1, 6, 6)
    assert w.writing_time(x).isinf().all()
    video = w.writing_video(x, torch.linspace(0, 1, 16).expand(2, 16))
    assert (video == -1).all()
    assert (w.ink_curve(video) == 0).all()


def test_scores():
    video = torch.full((1, 4, 1, 2, 2), -1.0)
    video[0, 1:, 0, 0, 0] = 1
    video[0, 3, 0, 1, 1] = 3  # clamped
    assert torch.allclose(w.ink_curve(video), torch.tensor([[0, 0.5, 0.5, 1]]))
    gap = w.timing_error(w.ink_curve(video), torch.tensor([[0, 0.5, 0.9, 0.6]]))
    assert torch.allclose(gap, torch.tensor([0.2]))
    losing = video.flip(1)
    assert w.ink_curve(losing).max() == 0  # its last frame is blank


# ---------------------------------------------------------------- pairs


def test_batches():
    data, speech = digits("test", "stand-in"), voices()
    batch = next(w.WritingBatches(data, speech, 24, seed=3))
    assert {k: (v.dtype, tuple(v.shape)) for k, v in batch.items()} == {
        "image": (torch.uint8, (24, 1, 28, 28)),
        "label": (torch.int64, (24,)),
        "samples": (torch.float32, (24, 300)),
        "length": (torch.int64, (24,)),
        "curve": (torch.float32, (24, 16)),
        "starts": (torch.float32, (24, 28, 28)),
        "ends": (torch.float32, (24, 28, 28)),
    }
    assert torch.equal(batch["curve"], w.energy_curve(batch["samples"], batch["length"]))
    x = to_float(batch["image"])
    assert torch.equal(w.reveal(x, batch["starts"], batch["ends"], batch["curve"]), w.writing_video(x, batch["curve"]))
    for name, pool, labels in (("samples", speech.samples, speech.labels), ("image", data.images, data.labels)):
        for row, label in zip(batch[name], batch["label"]):
            assert label in labels[(pool == row).flatten(1).all(1)]


def test_batches_are_resumable_and_depend_on_seed_and_index_alone():
    data, speech = digits("test", "stand-in"), voices()

    def stream(seed=0):
        return w.WritingBatches(data, speech, 5, seed=seed)

    first = stream()
    run = [next(first) for _ in range(4)]
    second = stream()
    next(second), next(second)
    third = stream()
    third.load_state_dict(second.state_dict())
    assert all(torch.equal(value, run[2][name]) for name, value in next(third).items())
    assert third.state_dict() == first.state_dict() | {"index": 3}
    assert not torch.equal(run[0]["image"], run[1]["image"])
    assert not torch.equal(next(stream(1))["image"], run[0]["image"])
    assert iter(first) is first


def test_batches_leave_the_global_state_alone():
    before = torch.get_rng_state()
    next(w.WritingBatches(digits("test", "stand-in"), voices(), 5))
    assert torch.equal(before, torch.get_rng_state())


def test_few_digits_do():
    d = digits("test", "stand-in")
    two = Digits(d.images[7:8], d.labels[7:8], d.source, d.sha256)
    batch = next(w.WritingBatches(two, voices(4, labels=torch.tensor([7, 7, 2, 7])), 9))
    assert (batch["label"] == 7).all()


@pytest.mark.parametrize("size", [(20, 32), (7, 5)])
def test_any_size_of_picture(size):
    x = torch.rand(2, 1, *size, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert torch.allclose(
        w.ink_curve(w.writing_video(x, torch.linspace(0.1, 1, 5).expand(2, 5))), torch.linspace(0.1, 1, 5).expand(2, 5), atol=1e-5
    )
