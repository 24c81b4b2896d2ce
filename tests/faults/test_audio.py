"""Bad sounds, bad archives, bad folders: each error names the thing and what to do."""

import errno
import io
import os
import struct
import subprocess
import sys
import tracemalloc
import zipfile
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
import soundfile
import torch

from tests.unit.test_audio import archive, mirror, recordings, wav  # noqa: F401  (mirror is a fixture)
from vqdiff_edu import data
from vqdiff_edu.crossmodal import audio
from vqdiff_edu.crossmodal.audio import SpeechClassifier, classify, log_mel, mel_filters, power, read_wav, spectrogram, speech, stft
from vqdiff_edu.data import DownloadError

TONE = 0.5 * np.sin(np.arange(8000))


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="path must name a file; there is none at .*nowhere.wav"):
        read_wav(tmp_path / "nowhere.wav")


def test_what_is_no_regular_file_is_called_by_its_kind(tmp_path):
    with pytest.raises(ValueError, match="path: .* is a folder"):
        read_wav(tmp_path)
    os.mkfifo(tmp_path / "pipe.wav")
    with pytest.raises(ValueError, match="path: .*pipe.wav is no regular file"):
        read_wav(tmp_path / "pipe.wav")


def test_an_hour_is_refused_before_it_is_read(tmp_path):
    """A header that promises an hour at 8 kHz, and a hole in the disk where its samples would be."""
    path, size = tmp_path / "hour.wav", 3600 * 8000 * 2
    path.write_bytes(b"RIFF" + struct.pack("<I", size + 36) + b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 8000, 16000, 2, 16) + b"data")
    with path.open("ab") as file:
        file.write(struct.pack("<I", size))
        file.truncate(size + 44)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"hour.wav lasts 3600\.0 s; at most 5 s"):
            read_wav(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 5e6, f"{peak / 1e6:.0f} MB for a recording that is refused"


def converted(path, *options):
    """A sound file in another format, made by ffmpeg from a second of 440 Hz in two channels."""
    tone = 0.4 * np.sin(2 * np.pi * 440 * np.arange(48_000) / 48_000)
    soundfile.write(path.with_suffix(".source.wav"), np.stack([tone, 0.5 * tone], 1), 48_000)
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", path.with_suffix(".source.wav"), *options, path]
    subprocess.run(command, check=True)
    return path


@pytest.mark.parametrize("ending", ["m4a", "webm", "mp3", "ogg", "flac", "opus"])
def test_what_telephones_and_browsers_record_is_read(tmp_path, ending):
    options = ["-c:a", "libvorbis"] if ending == "ogg" else ["-c:a", "libopus"] if ending in ("webm", "opus") else []
    with pytest.warns(UserWarning, match="48,000 samples a second: resampled to 8,000"):
        x = read_wav(converted(tmp_path / f"tone.{ending}", *options))
    middle = x[2000:6000]
    assert 7800 <= len(x) <= 8800
    assert torch.fft.rfft(middle).abs().argmax() == 220, "440 Hz in half a second"
    assert middle.square().mean().sqrt() == pytest.approx(0.3 / 2**0.5, rel=0.05)


def test_a_long_m4a_is_refused(tmp_path):
    long = converted(tmp_path / "long.m4a", "-af", "aloop=loop=20:size=48000")
    with pytest.raises(ValueError, match="long.m4a lasts .* s; at most 5 s"):
        read_wav(long)


def test_a_broken_m4a_is_no_sound(tmp_path):
    whole = converted(tmp_path / "tone.m4a")
    whole.write_bytes(whole.read_bytes()[:600])
    with pytest.raises(ValueError, match="path: .*tone.m4a cannot be read as sound"):
        read_wav(whole)


def test_a_wav_file_needs_no_ffmpeg_and_another_says_where_it_comes_from(tmp_path, monkeypatch):
    other = converted(tmp_path / "tone.m4a")
    (tmp_path / "tone.wav").write_bytes(wav(TONE))
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    assert len(read_wav(tmp_path / "tone.wav")) == 8000
    with pytest.raises(ImportError, match=r"imageio_ffmpeg cannot be imported .*vqdiff_edu\[video\]"):
        read_wav(other)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cannot be read as sound"),
        (b"RIFF\x24\x08\x00\x00WAVEfmt nothing", "cannot be read as sound"),
        (wav(TONE)[:30], "cannot be read as sound"),
        (b"ID3 this is no wav" * 50, "cannot be read as sound"),
        (wav(np.zeros(0)), "lasts 0 ms.*at least 100 ms"),
        (wav(np.zeros(4000)), "is silent: no sample is more than 0"),
        (wav(np.full(4000, 0.5)), "is silent: no sample is more than"),
        (wav(np.stack([TONE, -TONE], 1)), "is silent: its channels cancel each other"),
        (wav(TONE[:200]), "lasts 25 ms.*at least 100 ms"),
        (wav(TONE[:720]), "lasts 90 ms.*at least 100 ms"),
        (wav(np.tile(TONE, 6)), r"lasts 6\.0 s; at most 5 s"),
        (wav(np.array([0.1, np.nan] * 500), subtype="FLOAT"), "500 samples that are not finite"),
        (wav(np.full(4000, np.inf), subtype="FLOAT"), "4000 samples that are not finite"),
    ],
)
def test_read_wav_refuses(tmp_path, content, message):
    path = tmp_path / "bad.wav"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"path: .*bad.wav.*({message})"):
        read_wav(path)


def test_a_truncated_recording_is_short_and_says_so(tmp_path):
    path = tmp_path / "cut.wav"
    path.write_bytes(wav(TONE)[:5000])
    with pytest.warns(UserWarning, match="cut.wav is cut off: 5,000 of 16,044 bytes"):
        assert 256 <= len(read_wav(path)) < 2600


EVIL = [
    "../evil.wav",
    "a/../../evil.wav",
    "/etc/0_ann_0.wav",
    "..\\..\\0_ann_0.wav",
    "C:\\0_ann_0.wav",
    "x/recordings/../../../0_ann_1.wav",
]


@pytest.mark.parametrize("path", EVIL)
def test_an_archive_cannot_write_outside_its_folder(mirror, tmp_path, path):  # noqa: F811
    """What leads elsewhere is passed over; an archive that holds other recordings than the book's is refused."""
    file = io.BytesIO(archive(recordings()))
    with zipfile.ZipFile(file, "a") as opened:
        opened.writestr(zipfile.ZipInfo(path), b"evil")
    mirror.write_bytes(file.getvalue())
    before = sorted(str(p) for p in tmp_path.rglob("*"))
    try:
        speech("test", source="real")
    except DownloadError as refused:
        assert "another content" in str(refused)
    assert sorted(str(p) for p in tmp_path.rglob("*") if "FSDD" not in str(p)) == before
    written = {p.name for p in (tmp_path / "cache" / "FSDD").rglob("*.wav")}
    assert written in (set(), set(recordings()))


def test_a_link_in_an_archive_is_no_recording_of_ours(mirror):  # noqa: F811
    file = io.BytesIO(archive(recordings()))
    with zipfile.ZipFile(file, "a") as opened:
        link = zipfile.ZipInfo("x/recordings/0_ann_9.wav")
        link.external_attr = 0o120777 << 16
        opened.writestr(link, "/etc/passwd")
    mirror.write_bytes(file.getvalue())
    with pytest.raises(DownloadError, match="another content"):
        speech("test", source="real")


def test_an_archive_that_explodes_is_refused_unread():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("x/recordings/0_ann_0.wav", bytes(120_000_000))
    assert len(file.getvalue()) < 200_000
    with pytest.raises(ValueError, match="would unpack to 120 MB"):
        audio.unpack(file.getvalue())


@pytest.mark.parametrize("content", [b"", b"no zip", archive(recordings())[:-60], archive(recordings())[200:]])
def test_a_damaged_archive_is_refused(mirror, content):  # noqa: F811
    mirror.write_bytes(content)
    with pytest.raises(DownloadError, match="could not be downloaded. file:.*archive.zip: .+"):
        speech("test", source="real")


def test_a_flipped_byte_is_noticed(mirror):  # noqa: F811
    content = bytearray(mirror.read_bytes())
    content[300] ^= 1
    mirror.write_bytes(content)
    with pytest.raises(DownloadError, match="file:.*archive.zip: .+"):
        speech("test", source="real")


@pytest.mark.parametrize("harm", ["missing", "altered", "added"])
def test_damaged_folders_are_named_and_never_replaced_by_the_standin(mirror, tmp_path, harm):  # noqa: F811
    speech("test")
    folder = tmp_path / "cache" / "FSDD" / "recordings"
    path = folder / "0_ann_0.wav"
    if harm == "missing":
        path.unlink()
    elif harm == "altered":
        path.write_bytes(path.read_bytes()[:-2] + b"ab")
    else:
        (folder / "9_eve_1.wav").write_bytes(path.read_bytes())
    with pytest.raises(ValueError, match="recordings is damaged.*Delete it and it will be downloaded again"):
        speech("test")


def test_a_full_disk_names_the_folder_and_the_remedy(mirror, tmp_path, monkeypatch):  # noqa: F811
    def full(self, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="cannot write .*cache.*No space left.*VQDIFF_DATA"):
        speech("test")
    assert not (tmp_path / "cache" / "FSDD" / "recordings").exists() and not list((tmp_path / "cache" / "FSDD").glob(".download-*"))


def test_a_read_only_folder_names_the_remedy_and_is_enough_if_complete(mirror, monkeypatch):  # noqa: F811
    real = Path.mkdir

    def refuse(self, *arguments, **keywords):
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(OSError, match="cannot write .*Permission denied.*VQDIFF_DATA"):
        speech("test", source="real")
    monkeypatch.setattr(Path, "mkdir", real)
    assert len(speech("test")) == 4
    monkeypatch.setattr(Path, "mkdir", refuse)
    monkeypatch.setattr(data, "FileLock", lambda *a, **k: pytest.fail("locked a folder that needs no writing"))
    assert len(speech("test")) == 4


def test_a_missing_data_folder_is_an_error_that_names_the_variable(monkeypatch, tmp_path):
    monkeypatch.setenv("VQDIFF_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match="VQDIFF_DATA.*nowhere.*not a folder"):
        speech("test")


SOUND, MODEL = torch.zeros(2, 100), SpeechClassifier()


@pytest.mark.parametrize(
    ("call", "error", "name"),
    [
        (lambda: speech("valid"), ValueError, "split must be one of 'train', 'test'; got 'valid'"),
        (lambda: speech("test", "fake"), ValueError, "source must be one of .* got 'fake'"),
        (lambda: speech("test", "stand-in", "eve"), ValueError, "held_out must be one of 'line 1', .*; got 'eve'"),
        (lambda: stft(torch.zeros(79)), ValueError, "hop must be .* in 1 … 79, got 80"),
        (lambda: stft(torch.zeros(8000, dtype=torch.int16)), TypeError, "samples must be floating point.*int16"),
        (lambda: log_mel(torch.zeros(8000, dtype=torch.int64)), TypeError, "samples must be floating point.*int64"),
        (lambda: power(torch.zeros(8000), 100, 200), ValueError, "hop must be .* in 1 … 100, got 200"),
        (lambda: power(torch.zeros(8000), 100, 0), ValueError, "hop must be .* got 0"),
        (lambda: mel_filters(100), ValueError, "num_mels=100 is too many for 129 bins"),
        (lambda: mel_filters(0), ValueError, "num_mels must be .* at least 1, got 0"),
        (lambda: mel_filters(40, high=5000.0), ValueError, "high must be .* at most 4000.*got 5000"),
        (lambda: mel_filters(40, low=3000.0, high=2000.0), ValueError, "low must be .* below 2000.*got 3000"),
        (lambda: classify(MODEL, SOUND.long()), TypeError, "samples must be .*int64"),
        (lambda: classify(MODEL, SOUND[0]), ValueError, r"samples must be .* got shape \[100\]"),
        (lambda: classify(MODEL, SOUND[:, :0]), ValueError, "samples must be .* not empty"),
        (lambda: classify(MODEL, SOUND * float("nan")), ValueError, "samples must be finite; 200 "),
        (lambda: classify(MODEL, SOUND, torch.tensor([5])), ValueError, r"lengths must be .* got shape \[1\]"),
        (lambda: classify(MODEL, SOUND, torch.tensor([5, 101])), ValueError, "lengths must lie in 1 … 100 samples, got 5 … 101"),
        (lambda: classify(MODEL, SOUND, torch.tensor([0, 7])), ValueError, "lengths must lie in 1 … 100 samples, got 0 … 7"),
        (lambda: classify(MODEL, SOUND, torch.tensor([50.5, 7])), TypeError, "lengths must be .*float32"),
        (lambda: classify(MODEL, SOUND, torch.tensor([True, True])), TypeError, "lengths must be .*bool"),
    ],
)
def test_arguments_are_refused_by_name(call, error, name):
    with pytest.raises(error, match=f"^{name}"):
        call()


def test_silence_and_a_single_sample_are_answered_without_nan():
    model = SpeechClassifier().eval()
    x = torch.zeros(2, 40_000)
    x[1, 20_000] = 1.0
    assert classify(model, x).isfinite().all()
    assert torch.equal(spectrogram(x[:1]), torch.full((1, 40, 100), (-80 + 55) / 15))


def test_reading_leaves_no_file_open(tmp_path):
    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("no /proc here")
    soundfile.write(tmp_path / "a.wav", TONE, 8000)
    read_wav(tmp_path / "a.wav")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        read_wav(tmp_path / "a.wav")
    assert len(os.listdir("/proc/self/fd")) == before
