"""What holds for any sound."""

import io
import math
import zipfile

import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from vqdiff_edu.crossmodal import audio
from vqdiff_edu.crossmodal.audio import excerpt, hz_to_mel, mel_filters, mel_to_hz, power, stft

seeds = st.integers(0, 2**31)


def sound(seed, n, batch=1):
    return torch.randn(batch, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@given(seeds, st.integers(2, 70), st.data())
def test_the_powers_of_a_frame_add_up_to_its_mean_square(seed, window, data):
    hop = data.draw(st.integers(1, window))
    x, w = sound(seed, 3 * window), audio.hann(window).double()
    margin = (window - hop) // 2
    frames = torch.nn.functional.pad(x, (margin, window)).unfold(1, window, hop)[:, : 3 * window // hop]
    assert torch.allclose(power(x, window, hop).sum(1), ((frames * w) ** 2).sum(2) / (w**2).sum(), atol=1e-9)


@given(seeds, st.integers(80, 2000), st.floats(-3, 3))
def test_stft_is_linear_and_has_one_frame_a_hop(seed, n, factor):
    x = sound(seed, n, 2)
    assert stft(x).shape == (2, 129, n // 80)
    assert torch.allclose(stft(x[:1] + factor * x[1:]), stft(x[:1]) + factor * stft(x[1:]), atol=1e-9)


@given(seeds, st.integers(1, 20))
def test_a_delay_of_whole_hops_moves_the_frames(seed, hops):
    x = sound(seed, 2400)
    late = torch.nn.functional.pad(x, (80 * hops, 0))
    assert torch.allclose(power(late)[..., hops + 2 : 28], power(x)[..., 2 : 28 - hops], atol=1e-12)


@given(st.floats(0, 20_000))
def test_mel_and_back(hertz):
    assert math.isclose(mel_to_hz(hz_to_mel(torch.tensor(hertz, dtype=torch.float64))).item(), hertz, rel_tol=1e-9, abs_tol=1e-9)


@given(st.integers(1, 60), st.sampled_from([128, 256, 512, 1024]), st.floats(0, 1000), st.floats(2000, 4000))
def test_mel_filters_share_each_bin_out(num_mels, window, low, high):
    try:
        filters = mel_filters(num_mels, window, low=low, high=high)
    except ValueError:
        assume(False)
    mels = torch.linspace(*hz_to_mel(torch.tensor([low, high], dtype=torch.float64)).tolist(), num_mels + 2, dtype=torch.float64)
    peaks, bins = mel_to_hz(mels), torch.arange(window // 2 + 1) * 8000 / window
    total = filters.sum(0)
    assert filters.min() >= 0 and total.max() <= 1 + 1e-5
    inside = (bins >= peaks[1] + 1e-3) & (bins <= peaks[-2] - 1e-3)
    assert torch.allclose(total[inside], torch.ones(int(inside.sum())), atol=1e-4)
    assert not total[(bins < low - 1e-3) | (bins > high + 1e-3)].any()


@given(seeds, st.floats(1e-3, 1e3))
def test_levelling_forgets_the_gain(seed, gain):
    x = sound(seed, 500).float()
    assert torch.allclose(audio.level(gain * x), audio.level(x), atol=1e-4)


@given(seeds, st.integers(1, 300), st.integers(-400, 400))
def test_an_excerpt_at_speed_one_is_a_slice(seed, length, start):
    x = sound(seed, 300).float()
    padded = torch.zeros(1500)
    padded[500 : 500 + length] = x[0, :length]
    got = excerpt(x, torch.tensor([length]), torch.tensor([float(start)]), size=200)
    assert torch.equal(got[0], padded[500 + start : 700 + start])


names = st.text(st.sampled_from("ab./\\_019wv-:"), min_size=1, max_size=30)


@given(st.lists(names, max_size=6), st.booleans())
def test_unpacking_never_gives_a_path(paths, in_folder):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as opened:
        for path in dict.fromkeys(("x/recordings/" if in_folder else "") + path for path in paths):
            opened.writestr(path, b"?")
    try:
        found = audio.unpack(file.getvalue())
    except ValueError:
        return
    assert all(audio.RECORDING.fullmatch(name) for name in found), "only plain names of recordings come out"
