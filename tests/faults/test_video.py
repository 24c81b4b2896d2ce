"""Films from speech refuse what does not fit, by name."""

import pytest
import torch

from vqdiff_edu.codes.latent import LatentUNet
from vqdiff_edu.crossmodal.audio import SpeechClassifier, speech
from vqdiff_edu.crossmodal.video import SpeechWriter, VideoTask, VideoUNet, mp4_bytes, score_videos, show_strip, video_noise, write_mp4
from vqdiff_edu.diffusion.parameterization import GaussianDiffusion
from vqdiff_edu.diffusion.schedule import NoiseSchedule
from vqdiff_edu.diffusion.unet import UNet


def image_model(**changes):
    image = UNet(4, **{"channels": (8,), "blocks": 1, "patch": 1, "embedding": 8} | changes)
    image.diffusion = GaussianDiffusion(NoiseSchedule.cosine(50))
    return image


WRITER = SpeechWriter(VideoUNet(LatentUNet(4, 8, 1, embedding=8)), SpeechClassifier(), torch.nn.Identity()).eval()
SOUND, FILM = torch.zeros(1, 100), torch.zeros(2, 1, 4, 4)
ONE = speech("test", "stand-in").subset(torch.tensor([0]))


def spoilt(x, value):
    x = x.clone()
    x.view(-1)[3] = value
    return x


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: VideoUNet(image_model(channels=(8, 16))), ValueError, "image must have one level and patch 1"),
        (lambda: VideoUNet(image_model(patch=2)), ValueError, "image must have one level and patch 1"),
        (lambda: VideoUNet(image_model(num_classes=None)), TypeError, "image must be a labelled LatentUNet .* lacks label"),
        (lambda: VideoUNet(torch.nn.Linear(2, 2)), TypeError, "image must be .*Linear lacks stem"),
        (lambda: VideoTask(WRITER, frames=17), ValueError, "frames must be a whole number in 1 … 16, got 17"),
        (lambda: VideoTask(WRITER, share=1.5), ValueError, "share"),
        (lambda: VideoTask(WRITER, dropout=-0.1), ValueError, "dropout"),
        (lambda: video_noise((1, 2, 1, 2, 2), 1.5), ValueError, "share must be a finite number in 0 … 1, got 1.5"),
        (lambda: WRITER(SOUND[0]), ValueError, r"samples must be .* got shape \[100\]"),
        (lambda: WRITER(SOUND[:0]), ValueError, "samples must be .* not empty"),
        (lambda: WRITER(SOUND.short()), TypeError, "samples must be .* got dtype torch.int16"),
        (lambda: WRITER(spoilt(SOUND, torch.nan)), ValueError, "samples must be finite; 1 of its values"),
        (lambda: WRITER(SOUND, torch.tensor([100, 100])), ValueError, r"lengths must be .* got shape \[2\]"),
        (lambda: WRITER(SOUND, torch.tensor([50.0])), TypeError, "lengths must be .* got dtype torch.float32"),
        (lambda: WRITER(SOUND, torch.tensor([101])), ValueError, "lengths: the longest must be a whole number in 1 … 100, got 101"),
        (lambda: WRITER(SOUND, torch.tensor([0])), ValueError, "lengths: the shortest must be a whole number of at least 1, got 0"),
        (lambda: WRITER(SOUND, guide="when"), ValueError, "guide must be one of 'what', 'both'; got 'when'"),
        (lambda: WRITER(SOUND, share=2.0), ValueError, "share"),
        (lambda: WRITER(SOUND, guidance_scale=float("nan")), ValueError, "guidance_scale must be a finite number, got nan"),
        (lambda: WRITER(SOUND, guidance_scale=float("inf")), ValueError, "guidance_scale must be a finite number, got inf"),
        (lambda: WRITER(SOUND, num_inference_steps=0), ValueError, "num_inference_steps must .*got 0"),
        (lambda: mp4_bytes(FILM[None], SOUND[0]), ValueError, "video"),
        (lambda: mp4_bytes(FILM, SOUND), ValueError, "samples"),
        (lambda: mp4_bytes(spoilt(FILM, torch.inf), SOUND[0]), ValueError, "video must be finite; 1 of its values"),
        (lambda: mp4_bytes(FILM, spoilt(SOUND[0], torch.nan)), ValueError, "samples must be finite; 1 of its values"),
        (lambda: mp4_bytes(torch.zeros(2, 1, 27, 4), SOUND[0], scale=3), ValueError, "scale must make both sides even, .* got 3"),
        (lambda: mp4_bytes(FILM, SOUND[0], scale=0), ValueError, "scale must be a whole number of at least 1, got 0"),
        (lambda: mp4_bytes(FILM, SOUND[0], scale=2.0), TypeError, "scale must be a whole number"),
        (lambda: show_strip(FILM[:0], SOUND[0]), ValueError, "video"),
        (
            lambda: score_videos(torch.zeros(1, 16, 1, 28, 28), ONE, torch.zeros(16)),
            ValueError,
            "recordings: their number must be .* got 1",
        ),
    ],
)
def test_what_is_refused(call, error, words):
    with pytest.raises(error, match=f"^{words}"):
        call()


def test_a_program_that_fails_says_so(monkeypatch):
    monkeypatch.setattr("imageio_ffmpeg.get_ffmpeg_exe", lambda: "false")
    with pytest.raises(RuntimeError, match="ffmpeg could not write the film"):
        mp4_bytes(FILM, SOUND[0])


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="cannot write"):
        write_mp4(tmp_path / "file" / "film.mp4", FILM, SOUND[0])


@pytest.mark.parametrize("name", ["voice.wav", "film.txt", "film"])
def test_a_film_is_not_written_under_the_name_of_something_else(name, tmp_path):
    (tmp_path / name).write_bytes(b"a recording")
    with pytest.raises(ValueError, match="^suffix of path must be one of '.mp4', '.m4v', '.mov'"):
        write_mp4(tmp_path / name, FILM, SOUND[0])
    assert (tmp_path / name).read_bytes() == b"a recording"


def test_a_film_is_not_written_over_the_recording_that_it_came_from(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "voice.mp4").write_bytes(b"a recording")
    with pytest.raises(ValueError, match="^path must not be that of the recording itself"):
        write_mp4("voice.mp4", FILM, SOUND[0], source=tmp_path / "voice.mp4")
    assert (tmp_path / "voice.mp4").read_bytes() == b"a recording"
