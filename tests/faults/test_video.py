"""Films from speech refuse what does not fit, by name."""

import pytest
import torch

from vqdiff_edu.crossmodal.audio import SpeechClassifier, speech
from vqdiff_edu.crossmodal.video import (
    FEATURES,
    VideoTask,
    VideoUNet,
    audio_condition,
    mp4_bytes,
    score_videos,
    show_strip,
    speak,
    video_noise,
    write_mp4,
)
from vqdiff_edu.diffusion.parameterization import GaussianDiffusion
from vqdiff_edu.diffusion.schedule import NoiseSchedule
from vqdiff_edu.diffusion.unet import UNet


def image_model(**changes):
    image = UNet(4, **{"channels": (8,), "blocks": 1, "patch": 1, "embedding": 8} | changes)
    image.diffusion = GaussianDiffusion(NoiseSchedule.cosine(50))
    return image


MODEL = VideoUNet(image_model())
Z, T, FRAMES, CLIP = torch.zeros(2, 3, 4, 7, 7), torch.tensor([1, 2]), torch.zeros(2, 3, FEATURES), torch.zeros(2, 10)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ((Z[:, :, :3], T, FRAMES, CLIP), "z must be .*4, height, width"),
        ((Z[0], T, torch.zeros(3, 4, FEATURES), torch.zeros(3, 10)), "z must be"),
        ((Z, T[:1], FRAMES, CLIP), "t must hold one step a video"),
        ((Z, T, FRAMES[:, :2], CLIP), "frames must be"),
        ((Z, T, FRAMES[..., :2], CLIP), "frames must be"),
        ((Z, T, FRAMES, CLIP[:, :9]), "clip must be .*one probability a digit"),
        ((Z, T, FRAMES, CLIP[:1]), "clip must be"),
    ],
)
def test_a_call_that_does_not_fit(call, message):
    with pytest.raises(ValueError, match=message):
        MODEL(*call)


def test_an_image_model_that_cannot_be_filmed():
    with pytest.raises(ValueError, match="image must have one level"):
        VideoUNet(image_model(channels=(8, 16)))
    with pytest.raises(ValueError, match="image must have one level and patch 1"):
        VideoUNet(image_model(patch=2))
    with pytest.raises(TypeError, match="lacks label"):
        VideoUNet(image_model(num_classes=None))
    with pytest.raises(TypeError, match="image must be a labelled LatentUNet.*Linear lacks stem"):
        VideoUNet(torch.nn.Linear(2, 2))


@pytest.mark.parametrize(
    ("samples", "lengths", "error", "message"),
    [
        (torch.zeros(2, 100, dtype=torch.int16), torch.tensor([1, 2]), TypeError, "samples must be floating point"),
        (torch.zeros(100), torch.tensor([100]), ValueError, r"samples must be \[batch, sample\]"),
        (torch.full((1, 100), torch.nan), torch.tensor([100]), ValueError, "samples must be finite; 100"),
        (torch.zeros(2, 100), torch.tensor([100]), ValueError, "lengths"),
        (torch.zeros(1, 100), torch.tensor([50.0]), TypeError, "lengths must be whole numbers"),
        (torch.zeros(2, 100), torch.tensor([100, 101]), ValueError, "lengths must lie in 1 … 100.*got 100 … 101"),
        (torch.zeros(1, 100), torch.tensor([0]), ValueError, "lengths must lie in"),
    ],
)
def test_recordings_that_do_not_fit(samples, lengths, error, message):
    with pytest.raises(error, match=message):
        audio_condition(None, samples, lengths)


def test_speaking_without_companions_or_with_an_unknown_guide():
    for call in (lambda: speak(MODEL, torch.zeros(1, 100)), lambda: VideoTask(MODEL)):
        with pytest.raises(ValueError, match="model has no classifier to listen with; attach"):
            call()
    model = VideoUNet(image_model()).attach(SpeechClassifier())
    with pytest.raises(ValueError, match="guide must be 'what' or 'both', got 'when'"):
        speak(model, torch.zeros(1, 100), guide="when")


@pytest.mark.parametrize(
    ("samples", "how", "error", "message"),
    [
        (
            torch.zeros(100),
            {},
            ValueError,
            r"samples must be \[batch, sample\] and not empty, got \[100\]; a single recording is samples\[None\]",
        ),
        (torch.zeros(0, 100), {}, ValueError, r"samples must be \[batch, sample\] and not empty, got \[0, 100\]"),
        (torch.zeros(1, 100, dtype=torch.int16), {}, TypeError, "samples must be floating point"),
        (torch.zeros(1, 100), {"guidance_scale": float("nan")}, ValueError, "guidance_scale must be finite, got nan"),
        (torch.zeros(1, 100), {"guidance_scale": float("inf")}, ValueError, "guidance_scale must be finite, got inf"),
        (torch.zeros(1, 100), {"num_inference_steps": 0}, ValueError, "num_inference_steps must .*got 0"),
    ],
)
def test_speaking_with_what_does_not_fit(samples, how, error, message):
    with pytest.raises(error, match=message):
        speak(VideoUNet(image_model()).attach(SpeechClassifier().eval()), samples, **how)


def test_a_share_outside_its_range():
    with pytest.raises(ValueError, match="share must lie in 0 … 1, got 1.5"):
        video_noise((1, 2, 1, 2, 2), 1.5)


def test_films_that_do_not_fit(monkeypatch):
    video, sound = torch.zeros(2, 1, 4, 4), torch.zeros(800)
    with pytest.raises(ValueError, match=r"video must be .*video\[0\]"):
        mp4_bytes(video[None], sound)
    with pytest.raises(ValueError, match="samples must be"):
        mp4_bytes(video, sound[None])
    with pytest.raises(ValueError, match="video must be"):
        show_strip(video[:0], sound)
    for scale in (1, 3, 0, 2.0):
        with pytest.raises(ValueError, match=f"scale must be a whole number that makes both sides even.*got {scale!r} for 27 × 4 pixels"):
            mp4_bytes(torch.zeros(2, 1, 27, 4), sound, scale=scale)
    monkeypatch.setattr("imageio_ffmpeg.get_ffmpeg_exe", lambda: "false")  # a program that fails
    with pytest.raises(RuntimeError, match="ffmpeg could not write the film"):
        mp4_bytes(video, sound)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_films_that_are_not_finite(bad):
    video, sound = torch.zeros(2, 1, 4, 4), torch.zeros(800)
    video[0, 0, 0, 0] = sound[3] = bad
    with pytest.raises(ValueError, match="video must be finite; 1 of its values"):
        mp4_bytes(video, torch.zeros(800))
    with pytest.raises(ValueError, match="samples must be finite; 1 of its values"):
        mp4_bytes(torch.zeros(2, 1, 4, 4), sound)


def test_a_single_film_cannot_be_held_against_another():
    one = speech("test", "stand-in").subset(torch.tensor([0]))
    with pytest.raises(ValueError, match="recordings must be two or more.*got 1"):
        score_videos(torch.zeros(1, 16, 1, 28, 28), one, torch.linspace(0, 1, 16))


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="cannot write"):
        write_mp4(tmp_path / "file" / "film.mp4", torch.zeros(2, 1, 4, 4), torch.zeros(800))
