"""The audio module: what a frame's power is, where recordings come from, and what the network is shown."""

import ast
import io
import json
import threading
import time
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from scipy import integrate, signal
from torch.utils._python_dispatch import TorchDispatchMode

from vqdiff_edu import data
from vqdiff_edu.crossmodal import audio
from vqdiff_edu.crossmodal.audio import (
    RATE,
    SPEAKERS,
    SpeechClassifier,
    SpeechTask,
    classify,
    excerpt,
    log_mel,
    mel_filters,
    power,
    read_wav,
    speech,
    stft,
)
from vqdiff_edu.data import Batches, dtmf


def wav(samples, rate=RATE, subtype="PCM_16"):
    """The bytes of a wav file."""
    file = io.BytesIO()
    soundfile.write(file, np.asarray(samples), rate, subtype=subtype, format="WAV")
    return file.getvalue()


def recordings(takes=(0, 7), speakers=("ann", "bob"), digits=(0, 3)):
    """A tiny data set: each recording is a tone whose pitch is its digit."""
    generator = torch.Generator().manual_seed(0)
    return {
        f"{digit}_{speaker}_{take}.wav": wav(0.5 * dtmf(digit, seconds=0.1 + 0.3 * float(torch.rand((), generator=generator))))
        for digit in digits
        for speaker in speakers
        for take in takes
    }


def archive(members, prefix="free-spoken-digit-dataset-1.0.10/recordings/"):
    """A zip archive as GitHub makes it."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, content in members.items():
            opened.writestr(name if "/" in name else prefix + name, content)
    return file.getvalue()


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """A mirror on disk that serves a tiny data set, with the digest to match; no network is used."""
    path = tmp_path / "archive.zip"
    path.write_bytes(archive(recordings() | {"x/README.md": b"hello", "x/recordings/notes.txt": b"not a recording"}))
    monkeypatch.setattr(audio, "MIRRORS", [path.as_uri()])
    monkeypatch.setattr(audio, "CONTENT", data.content_digest(recordings()))
    cache = tmp_path / "cache"
    cache.mkdir()
    monkeypatch.setenv("VQDIFF_DATA", str(cache))
    monkeypatch.setattr(data, "SOURCES_USED", {})
    data._why_not.cache_clear()
    audio._parsed.cache_clear()
    yield path
    data._why_not.cache_clear()
    audio._parsed.cache_clear()


@pytest.fixture
def noise():
    return torch.randn(3, 4000, generator=torch.Generator().manual_seed(43))


def test_stft_is_torchs_and_scipys(noise):
    padded = torch.nn.functional.pad(noise, (88, 88))
    ours = stft(noise)
    assert ours.shape == (3, 129, 50) and ours.dtype == torch.complex64
    theirs = torch.stft(padded, 256, 80, window=torch.hann_window(256), center=False, return_complex=True)
    assert torch.allclose(ours, theirs, atol=1e-4)
    window = signal.get_window("hann", 256)  # periodic
    _, _, scipys = signal.stft(padded.double().numpy(), window=window, nperseg=256, noverlap=176, boundary=None, padded=False)
    assert np.allclose(ours.numpy(), scipys * window.sum(), atol=1e-3)


def test_power_is_scipys_spectrogram(noise):
    padded = torch.nn.functional.pad(noise, (88, 88)).double().numpy()
    density = signal.spectrogram(padded, fs=1.0, window="hann", nperseg=256, noverlap=176, detrend=False, scaling="density")[2]
    assert np.allclose(power(noise).numpy(), density / 256, atol=1e-7)


@pytest.mark.parametrize(("window", "hop"), [(4, 4), (5, 2), (256, 80), (255, 80), (64, 64)])
def test_power_of_a_frame_is_its_mean_square_under_the_window(noise, window, hop):
    x, w = noise.double(), audio.hann(window).double()
    margin = (window - hop) // 2
    frames = torch.nn.functional.pad(x, (margin, window)).unfold(1, window, hop)[:, : 4000 // hop]
    assert torch.allclose(power(x, window, hop).sum(1), ((frames * w) ** 2).sum(2) / (w**2).sum(), atol=1e-9)


def test_power_by_hand():
    assert torch.allclose(power(torch.tensor([1.0, 0, -1, 0]), 4, 4).flatten(), torch.tensor([1, 2, 1]) / 6)


def test_a_tone_has_its_power_in_its_bin():
    tone = torch.sin(2 * torch.pi * 1000 * torch.arange(RATE) / RATE)  # 32 bins
    bins = power(tone)[:, 50]
    assert bins.argmax() == 32 and bins[31:34].sum() == pytest.approx(0.5, abs=1e-3)


def test_one_frame_a_whole_hop():
    assert [stft(torch.zeros(n)).shape[-1] for n in (80, 159, 160, 8000)] == [1, 1, 2, 100]


def test_mel_filters_are_triangles_drawn_by_another_hand():
    htk = lambda mel: 700 * (np.exp(mel / 1127.01048) - 1)  # noqa: E731  (1127 ln for 2595 log10)
    corners = htk(np.linspace(0, 1127.01048 * np.log(1 + 4000 / 700), 42))
    frequencies = np.fft.rfftfreq(256, 1 / 8000)
    expected = np.stack([np.interp(frequencies, corners[b : b + 3], [0, 1, 0]) for b in range(40)])
    assert np.allclose(mel_filters().numpy(), expected, atol=1e-5)


def test_log_mel_is_scipys_spectrogram_under_numpys_triangles():
    x = torch.randn(8000, generator=torch.Generator().manual_seed(0)) / 10
    padded = np.pad(x.double().numpy(), (88, 88))
    density = signal.spectrogram(padded, fs=1.0, window="hann", nperseg=256, noverlap=176, detrend=False, scaling="density")[2]
    corners = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + 4000 / 700), 42) / 2595) - 1)
    triangles = np.stack([np.interp(np.fft.rfftfreq(256, 1 / 8000), corners[b : b + 3], [0, 1, 0]) for b in range(40)])
    expected = 10 * np.log10(triangles @ density / 256)
    assert np.abs(log_mel(x).numpy() - expected).max() < 1e-3
    assert np.abs(log_mel(x.double()).numpy() - expected).max() < 1e-4


def test_the_mel_scale_is_the_sum_of_its_rate():
    """2595 / (ln 10 (700 + f)) mel a hertz, added up by quadrature: nothing here knows the logarithm of 1 + f / 700."""
    for hertz in (50.0, 1000.0, 3999.0):
        added = integrate.quad(lambda f: 2595 / (np.log(10) * (700 + f)), 0, hertz)[0]
        assert audio.hz_to_mel(torch.tensor(hertz, dtype=torch.float64)).item() == pytest.approx(added, rel=1e-9)


def test_mel_scale():
    assert audio.hz_to_mel(torch.tensor(1000.0)) == pytest.approx(1000, abs=0.1)
    assert audio.hz_to_mel(torch.tensor(0.0)) == 0


def test_log_mel_has_its_floor_and_its_gain():
    assert torch.equal(log_mel(torch.zeros(2, 8000)), torch.full((2, 40, 100), -80.0))
    loud = torch.randn(1, 8000, generator=torch.Generator().manual_seed(0)) / 10
    assert torch.allclose(log_mel(10 * loud), log_mel(loud) + 20, atol=1e-3)
    assert torch.equal(log_mel(loud), log_mel(-loud))
    assert log_mel(loud[0]).shape == (40, 100)


def test_read_wav_gives_back_what_was_written(tmp_path):
    x = 0.5 * dtmf(4, seconds=0.3)
    (tmp_path / "four.wav").write_bytes(wav(x))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.allclose(read_wav(tmp_path / "four.wav"), x - x.mean(), atol=1e-4)
        assert torch.equal(read_wav(str(tmp_path / "four.wav")), read_wav(tmp_path / "four.wav"))


def test_read_wav_averages_channels_and_resamples(tmp_path):
    mono = dtmf(5, seconds=0.5, rate=44_100).numpy()
    (tmp_path / "stereo.wav").write_bytes(wav(np.stack([mono, 0.5 * mono], 1), 44_100))
    with pytest.warns(UserWarning, match="stereo.wav has 44,100 samples a second: resampled to 8,000"):
        x = read_wav(tmp_path / "stereo.wav")
    assert x.dtype == torch.float32 and len(x) == 4000
    assert (x - 0.75 * dtmf(5, seconds=0.5))[100:-100].abs().max() < 0.01


def test_resampling_does_not_fold_high_tones_back(tmp_path):
    high = 0.5 * np.sin(2 * np.pi * 7000 * np.arange(24_000) / 48_000) + 0.01 * np.sin(2 * np.pi * 500 * np.arange(24_000) / 48_000)
    (tmp_path / "high.wav").write_bytes(wav(high, 48_000))
    with pytest.warns(UserWarning):
        assert read_wav(tmp_path / "high.wav")[100:-100].abs().max() < 0.02


def test_read_wav_scales_down_what_exceeds_full_scale(tmp_path):
    (tmp_path / "loud.wav").write_bytes(wav(3 * dtmf(1).numpy(), subtype="FLOAT"))
    with pytest.warns(UserWarning, match="above full scale"):
        assert read_wav(tmp_path / "loud.wav").abs().max() == 1


def test_speech_is_downloaded_verified_and_found_again(mirror, tmp_path, monkeypatch):
    train, test = speech("train"), speech("test")
    assert (len(train), len(test), train.source) == (4, 4, "fsdd")
    assert set(test.takes.tolist()) == {0} and set(train.takes.tolist()) == {7}
    assert train.sha256 == audio.CONTENT and data.SOURCES_USED == {"speech, train, auto": "fsdd", "speech, test, auto": "fsdd"}
    folder = tmp_path / "cache" / "FSDD"
    assert sorted(p.name for p in (folder / "recordings").iterdir()) == sorted(recordings()), "nothing but recordings is unpacked"
    monkeypatch.setattr(data, "_from_mirrors", lambda *a: pytest.fail("the network was asked although the files are there"))
    again = speech("train", source="real")
    assert torch.equal(again.samples, train.samples) and again.speakers == train.speakers
    row = train.speakers.index("bob")
    whole = soundfile.read(io.BytesIO(recordings()[f"{train.labels[row]}_bob_7.wav"]), dtype="float32")[0]
    assert (
        torch.equal(train.samples[row, : train.lengths[row]], torch.from_numpy(whole))
        and not train.samples[row, train.lengths[row] :].any()
    )


def test_one_speaker_held_out(mirror):
    train, test = speech("train", held_out="bob"), speech("test", held_out="bob")
    assert set(train.speakers) == {"ann"} and set(test.speakers) == {"bob"} and len(train) == len(test) == 4


def test_a_damaged_mirror_is_passed_over(mirror, tmp_path, monkeypatch):
    bad = {"cut": mirror.read_bytes()[:-300], "html": b"<html>log in first</html>", "other": archive(recordings(digits=(1, 2)))}
    for name, content in bad.items():
        (tmp_path / name).write_bytes(content)
    monkeypatch.setattr(audio, "MIRRORS", [*((tmp_path / name).as_uri() for name in bad), "file:///no/such/mirror", *audio.MIRRORS])
    assert len(speech("test")) == 4


def test_without_network_the_standin_comes_with_one_notice(mirror, monkeypatch):
    monkeypatch.setattr(audio, "MIRRORS", ["file:///no/such/mirror/"])
    asked = []
    monkeypatch.setattr(data, "_from_mirrors", lambda *a, real=data._from_mirrors: asked.append(a) or real(*a))
    with pytest.warns(UserWarning, match="STAND-IN"):
        assert speech("test").source == "stand-in"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert speech("test").source == "stand-in"
    assert len(asked) == 1, "an offline process waits for the network once"
    assert data.SOURCES_USED == {"speech, test, auto": "stand-in"}
    with pytest.raises(data.DownloadError, match="no/such/mirror"):
        speech("test", source="real")


def test_the_folder_appears_whole_or_not_at_all(mirror, tmp_path, monkeypatch):
    seen = []

    def stop(half, target):
        seen.append(data.content_digest({p.name: p.read_bytes() for p in half.iterdir()}))
        raise KeyboardInterrupt

    monkeypatch.setattr(data.os, "replace", stop)
    with pytest.raises(KeyboardInterrupt):
        audio.download_speech(tmp_path / "cache")
    assert seen == [audio.CONTENT] and not (tmp_path / "cache" / "FSDD" / "recordings").exists()
    monkeypatch.undo()
    assert not list((tmp_path / "cache" / "FSDD").glob(".download-*"))


def test_two_at_once_download_once(mirror, tmp_path, monkeypatch):
    asked = []

    def slow(*arguments, real=data._from_mirrors):
        asked.append(arguments)
        time.sleep(0.05)
        return real(*arguments)

    monkeypatch.setattr(data, "_from_mirrors", slow)
    threads = [threading.Thread(target=audio.download_speech, args=(tmp_path / "cache",)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(asked) == 1


def test_standin_is_deterministic_balanced_and_not_trivial():
    train, test = speech("train", "stand-in"), speech("test", "stand-in")
    assert (len(train), len(test)) == (600, 300) and test.labels.bincount().tolist() == [30] * 10 and len(set(test.speakers)) == 6
    assert torch.equal(audio._standin_speech.__wrapped__().samples, audio._standin_speech().samples)
    assert train.samples.abs().max() <= 1 and train.samples.isfinite().all()
    loud = train.samples.square().sum(1) / train.lengths
    assert loud.max() / loud.min() > 100 and train.lengths.max() > 1.5 * train.lengths.min()
    assert len(speech("test", "stand-in", held_out="line 3")) == 150


def test_subset_takes_masks_and_rows():
    test = speech("test", "stand-in")
    some, rows = test.subset(test.labels == 7), test.subset(torch.tensor([5, 2]))
    assert len(some) == 30 and set(some.labels.tolist()) == {7} and len(some.speakers) == 30
    assert torch.equal(rows.samples, test.samples[[5, 2]]) and rows.speakers == [test.speakers[5], test.speakers[2]]


def test_excerpt_cuts_pads_and_plays_faster():
    x = torch.arange(1.0, 11)[None]
    length = torch.tensor([8])
    assert excerpt(x, length, torch.tensor([2.0]), size=3).tolist() == [[3, 4, 5]]
    assert excerpt(x, length, torch.tensor([-2.0]), size=4).tolist() == [[0, 0, 1, 2]]
    assert excerpt(x, length, torch.tensor([6.0]), size=4).tolist() == [[7, 8, 0, 0]], "what lies after the length is silence"
    assert excerpt(x, length, torch.tensor([0.0]), torch.tensor([2.0]), size=4).tolist() == [[1, 3, 5, 7]]
    assert excerpt(x, length, torch.tensor([0.5]), size=2).tolist() == [[1.5, 2.5]]


def test_the_loudest_second_of_a_long_recording_is_taken():
    x = torch.zeros(2, 20_000)
    x[0, 12_000:13_000] = 1.0
    start = audio.loudest_second(x, torch.tensor([20_000, 5000]))
    assert start[0] <= 12_000 and start[0] + RATE >= 13_000 and start[1] == -1500
    picture = audio.spectrogram(x[:1], torch.tensor([20_000]))
    assert picture.max() > 0


def test_spectrogram_does_not_hear_loudness_or_what_comes_after():
    x = torch.zeros(1, 9000)
    x[0, :4000] = torch.randn(4000, generator=torch.Generator().manual_seed(0)) / 10
    quiet, longer = 0.01 * x, torch.cat([x, torch.ones(1, 3000)], 1)
    at = torch.tensor([4000])
    assert torch.allclose(audio.spectrogram(x, at), audio.spectrogram(quiet, at), atol=1e-3)
    assert torch.equal(audio.spectrogram(x, at), audio.spectrogram(longer, at))
    assert audio.spectrogram(x, at).shape == (1, 40, 100)


def test_classifier_is_small_and_takes_anything():
    model = SpeechClassifier().eval()
    assert sum(p.numel() for p in model.parameters()) <= 300_000
    x = torch.zeros(3, 12_000)
    x[1] = torch.randn(12_000, generator=torch.Generator().manual_seed(0))
    x[2, 0] = 1
    logits = classify(model, x, torch.tensor([12_000, 11_000, 1]))
    assert logits.shape == (3, 10) and logits.isfinite().all()
    assert torch.allclose(classify(model, x[1:2]), classify(model, x, torch.tensor([1, 12_000, 1]))[1:2], atol=1e-5)
    assert model.features(audio.spectrogram(x)).shape == (3, 128)


def test_a_highpass_has_scipys_response_and_no_delay():
    hertz = torch.tensor([0.0, 30, 50, 60, 100, 120, 140, 160, 250, 1000, 3900])
    taps = -audio._low_pass(torch.device("cpu")).double().numpy()
    taps[audio.TAPS // 2] += 1
    _, response = signal.freqz(taps, worN=2 * np.pi * hertz.numpy() / RATE)
    seconds = torch.arange(-4000, 4001, dtype=torch.float64) / RATE
    tones = torch.cos(2 * torch.pi * hertz[:, None] * seconds)
    assert np.allclose(audio.highpass(tones)[:, 4000], np.abs(response), atol=1e-6)
    assert np.allclose(audio.highpass(tones)[3:, 3000:5000], signal.lfilter(taps, 1, tones.numpy())[3:, 3200:5200], atol=1e-6)
    assert abs(response[[0, 2, 3]]).max() < 0.01 and abs(abs(response[7:]) - 1).max() < 0.01


def test_a_hum_and_an_offset_change_nothing_that_is_heard():
    noise = torch.randn(3, 6000, generator=torch.Generator().manual_seed(0)) * torch.hann_window(6000)
    hum = 0.5 * torch.sin(2 * torch.pi * 50 * torch.arange(6000) / RATE) + 0.2
    clean, hummed = (audio.spectrogram(torch.nn.functional.pad(x, (5000, 5000))) for x in (noise, noise + hum * torch.hann_window(6000)))
    assert (clean[:, 8:, 30:70] - hummed[:, 8:, 30:70]).abs().max() < 0.05


@pytest.mark.parametrize(("before", "after"), [(0, 0), (3000, 0), (0, 9000), (7000, 2000)])
def test_half_of_the_energy_lies_before_the_middle_wherever_the_silence_is(before, after):
    word = torch.randn(1, 4000, generator=torch.Generator().manual_seed(1)) * torch.linspace(1, 0.1, 4000)
    sound = torch.nn.functional.pad(word, (before, after))
    second = audio.one_second(sound, torch.tensor([sound.shape[1]]))
    assert second.square()[:, :4000].sum() / second.square().sum() == pytest.approx(0.5, abs=0.01)
    assert second.square().mean().sqrt() == pytest.approx(0.1, rel=1e-4)
    assert torch.allclose(
        audio.one_second(sound, torch.tensor([sound.shape[1]]), shift=torch.tensor([500.0]))[:, 500:], second[:, :-500], atol=0.05
    )


def test_sounds_that_are_no_digits_are_of_eight_kinds_in_turn():
    words = audio.level(torch.randn(32, RATE, generator=torch.Generator().manual_seed(0)) * torch.hann_window(RATE))
    labels = torch.arange(32) % 10
    made = audio.no_digits(words, labels, torch.Generator().manual_seed(1))
    assert made.shape == (16, RATE) and made.isfinite().all() and len(audio.MADE) == 8
    assert torch.equal(made, audio.no_digits(words, labels, torch.Generator().manual_seed(1)))
    kind = dict(zip(audio.MADE, made[::2]))  # the first of each
    assert torch.allclose(kind["backwards"], words[3].flip(0), atol=1e-5)
    assert torch.allclose(kind["splice"][:3600] / kind["splice"][:3600].norm(), words[2, :3600] / words[2, :3600].norm(), atol=1e-5)
    assert torch.allclose(kind["splice"][4400:] / kind["splice"][4400:].norm(), words[18, 4400:] / words[18, 4400:].norm(), atol=1e-5)
    loudness = made.square().mean(1).sqrt()
    assert ((loudness - 0.1).abs() < 1e-3).sum() >= 15, "all but silence are levelled"
    assert (kind["first half"] == 0).float().mean() > 0.4 and (kind["second half"] == 0).float().mean() > 0.4


def test_what_is_heard_is_what_is_classified_and_its_confidence_is_a_share():
    model = SpeechClassifier().eval()
    sounds = torch.randn(5, RATE, generator=torch.Generator().manual_seed(0))
    heard = audio.hear(model, sounds)
    assert torch.equal(heard.digit, classify(model, sounds).argmax(1))
    logits, doubt = model.both(audio.spectrogram(sounds))
    assert torch.allclose(heard.confidence, (2 * logits).softmax(1).amax(1) * torch.sigmoid(doubt))
    assert torch.equal(heard.known, heard.confidence >= audio.KNOWN)
    assert audio.hear(model, sounds, threshold=0.0).known.all() and not audio.hear(model, sounds, threshold=1.0).known.any()


def test_words_of_a_long_recording_are_found_by_their_energy():
    burst = 0.3 * torch.sin(2 * torch.pi * 700 * torch.arange(2400) / RATE) * torch.hann_window(2400)
    noise = 1e-4 * torch.randn(24_000, generator=torch.Generator().manual_seed(0))
    places = (2000, 8000, 16_000)
    for at, gain in zip(places, (1, 0.3, 0.6)):
        noise[at : at + 2400] += gain * burst
    hum = 0.05 * torch.sin(2 * torch.pi * 50 * torch.arange(24_000) / RATE)
    for sound in (noise, 0.01 * noise, noise + hum):
        found = audio.segments(sound)
        assert len(found) == 3
        for (a, b), at in zip(found, places):
            assert at - 600 <= a <= at + 600 and at + 1800 <= b <= at + 3200
    assert audio.segments(torch.zeros(8000)) == [] and audio.segments(torch.zeros(50)) == []
    clicked = 1e-4 * torch.ones(16_000)
    clicked[100:180] += torch.randn(80, generator=torch.Generator().manual_seed(1))
    assert audio.segments(clicked) == [], "a click is no word"


@pytest.mark.parametrize("kind", sorted(audio.STRANGE))
def test_strange_sounds_are_seconds_at_one_loudness_and_follow_their_seed(kind):
    some = speech("test", "stand-in").subset(torch.arange(0, 300, 25))
    sounds = audio.strange_sounds(kind, some, seed=3)
    assert sounds.shape == (12, RATE) and sounds.isfinite().all()
    assert sounds.square().mean(1).sqrt() == pytest.approx(0.1 * np.ones(12), rel=0.02)
    assert torch.equal(sounds, audio.strange_sounds(kind, some, seed=3)) and not torch.equal(
        sounds, audio.strange_sounds(kind, some, seed=4)
    )


@pytest.mark.parametrize("place", sorted(audio.PLACES))
def test_places_keep_the_recordings_in_their_lengths(place):
    some = speech("test", "stand-in").subset(torch.arange(0, 300, 60))
    sounds, lengths = audio.PLACES[place](some.samples, some.lengths)
    assert len(sounds) == 5 and sounds.isfinite().all() and (lengths >= 1).all() and (lengths <= sounds.shape[1]).all()


class HostReads(TorchDispatchMode):
    """Counts the operations that hand a number from the device to Python, or wait to know a shape."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func.overloadpacket in (torch.ops.aten._local_scalar_dense, torch.ops.aten.nonzero, torch.ops.aten.masked_select)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("augment", [True, False])
def test_no_number_is_read_back_on_the_way_to_the_loss(augment):
    test = speech("test", "stand-in")
    batch, generator = next(Batches(test.tensors, 8)), torch.Generator().manual_seed(0)
    batch["samples"] = torch.nn.functional.pad(batch["samples"], (0, 9000))  # longer than a second, so that the loudest is looked for
    task = SpeechTask(SpeechClassifier(), augment)
    task.loss(batch, generator)  # constants are made once
    with HostReads() as reads:
        task.loss(batch, generator)
        audio.spectrogram(batch["samples"], batch["length"])
        log_mel(batch["samples"])
    assert reads.count == 0


def test_the_loudest_second_without_double_precision(monkeypatch):
    """Some devices have no float64: there the same second is found in float32."""
    x = torch.zeros(2, 20_000)
    x[0, 12_000:13_000] = 1.0
    lengths = torch.tensor([20_000, 5000])
    start = audio.loudest_second(x, lengths)
    assert (audio.widest_float("cpu"), audio.widest_float(torch.device("cuda", 0)), audio.widest_float("mps")) == (
        torch.float64,
        torch.float64,
        torch.float32,
    )
    monkeypatch.setattr(audio, "widest_float", lambda device: torch.float32)
    monkeypatch.setattr(torch.Tensor, "double", lambda self: pytest.fail("float64 on a device that has none"))
    assert torch.equal(audio.loudest_second(x, lengths), start)


def test_mask_hides_stripes_with_the_mean():
    x = torch.randn(50, 40, 100, generator=torch.Generator().manual_seed(0))
    hidden = audio.mask(x, torch.Generator().manual_seed(1))
    for before, after in zip(x, hidden):
        changed = before != after
        assert torch.allclose(after[changed], before.mean(), atol=1e-5)
        rows, columns = changed.all(1).sum(), changed.all(0).sum()
        assert rows <= 8 and columns <= 20
        assert changed.sum() == rows * 100 + columns * 40 - rows * columns, "one stripe each way and nothing else"


def test_augmentation_follows_its_generator_and_can_be_off():
    test = speech("test", "stand-in")
    batch = next(Batches(test.tensors, 8, seed=1))
    task, plain = SpeechTask(SpeechClassifier()), SpeechTask(SpeechClassifier(), augment=False)
    before = torch.get_rng_state()

    def shown(task, seed):
        generator = torch.Generator().manual_seed(seed)
        return task.inputs(task.words(batch, generator), generator)

    a, b, c = (shown(task, seed) for seed in (0, 0, 1))
    assert torch.equal(a, b) and not torch.equal(a, c) and a.shape == (8, 40, 100)
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(shown(plain, 0), audio.spectrogram(batch["samples"], batch["length"]))
    loss, logs = task.loss(batch, torch.Generator().manual_seed(0))
    loss.backward()
    assert loss.isfinite() and 0 <= logs["accuracy"] <= 1 and all(p.grad is not None for p in task.model.parameters())


def test_a_classifier_learns_the_standin(tmp_path):
    from vqdiff_edu.training import Recipe

    recipe = Recipe("test", 30, 32, lr=3e-3, warmup=3, ema_decay=None)
    run = audio.train_speech(tmp_path, recipe, augment=False, source="stand-in")
    test = speech("test", "stand-in").subset(torch.arange(0, 300, 5))
    result = audio.measure_speech(run.model, test)
    assert result["test_accuracy"] > 0.3 and result["recordings"] == 60 and result["source"] == "stand-in"


def test_a_constant_offset_is_taken_off(tmp_path):
    x = 0.4 * dtmf(4, seconds=0.3)
    for name, offset in (("clean", 0.0), ("shifted", 0.2)):
        (tmp_path / f"{name}.wav").write_bytes(wav(x + offset))
    clean, shifted = (read_wav(tmp_path / f"{name}.wav") for name in ("clean", "shifted"))
    assert torch.allclose(clean, shifted, atol=1e-4) and shifted.mean().abs() < 1e-6


def test_full_scale_with_a_little_offset_is_no_matter_for_a_warning(tmp_path):
    x = dtmf(4, seconds=0.3)
    (tmp_path / "full.wav").write_bytes(wav(0.995 * x / x.abs().max() + 0.004))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_wav(tmp_path / "full.wav").abs().max() <= 1


def with_sizes(content, riff=None, samples=None):
    """The bytes of a wav file with other sizes in its header: of the whole, and of its data."""
    content, at = bytearray(content), content.index(b"data") + 4
    for place, size in ((4, riff), (at, samples)):
        if size is not None:
            content[place : place + 4] = size.to_bytes(4, "little")
    return bytes(content)


WHOLE = wav(0.5 * dtmf(4, seconds=0.3))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (WHOLE[:3000], f"is cut off: 3,000 of {len(WHOLE):,} bytes"),
        (with_sizes(WHOLE[:3000], riff=2992), f"is cut off: 3,000 of {len(WHOLE):,} bytes"),
        (with_sizes(WHOLE[:3000], samples=2**32 - 1), f"is cut off: 3,000 of {len(WHOLE):,} bytes"),
        (WHOLE, None),
        (with_sizes(WHOLE, 2**32 - 1, 2**32 - 1), None),  # what a recorder writes that does not know yet
        (with_sizes(WHOLE, 0), None),
        (WHOLE + b"LIST", None),
    ],
)
def test_a_recording_that_is_cut_off_is_read_with_a_warning(tmp_path, content, said):
    (tmp_path / "cut.wav").write_bytes(content)
    with warnings.catch_warnings(record=True) as notices:
        warnings.simplefilter("always")
        assert 1400 <= len(read_wav(tmp_path / "cut.wav")) <= 2400
    assert [str(n.message).split("cut.wav ")[1] for n in notices] == ([said] if said else [])


def test_classify_takes_double_precision():
    torch.manual_seed(0)
    model, x = SpeechClassifier().eval(), torch.randn(2, 4000, generator=torch.Generator().manual_seed(0)) / 10
    assert torch.equal(classify(model, x.double()), classify(model, x))


def named_speakers(chapter):
    """Statements of a chapter, other than exported ones, in which a speaker of the real recordings is named."""
    cells = [c for c in json.loads(chapter.read_text())["cells"] if c["cell_type"] == "code"]
    sources = ["".join(cell["source"]) for cell in cells]
    nodes = [node for source in sources if not source.startswith(("#| export", "#| hide")) for node in ast.walk(ast.parse(source))]
    return [(chapter.name, node.value) for node in nodes if isinstance(node, ast.Constant) and node.value in SPEAKERS]


def test_chapters_name_no_speaker_whom_the_standin_lacks():
    """The sound chapters run on the stand-in too, whose speakers are called line 1 … line 6: speakers are taken by their place."""
    chapters = sorted((Path(audio.__file__).parents[2] / "nbs" / "5_crossmodal").glob("*.ipynb"))
    assert len(chapters) >= 5 and [found for chapter in chapters for found in named_speakers(chapter)] == []
    assert sorted(SPEAKERS)[-2] == "theo" and sorted(set(speech("test", "stand-in").speakers))[-2] == "line 5"
