"""Films from speech: what a frame hears, attention through time, noise that frames share, films as files, and their scores."""

import copy
import re
import subprocess
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from vqdiff_edu.codes.latent import LatentUNet
from vqdiff_edu.crossmodal.audio import SpeechClassifier, speech
from vqdiff_edu.crossmodal.video import (
    FEATURES,
    HEARD,
    Film,
    SpeechWriter,
    TemporalAttention,
    VideoTask,
    VideoUNet,
    audio_condition,
    fourier_features,
    frame_features,
    heard_features,
    keep_ink,
    looked_up,
    measure_videos,
    median_curve,
    mp4_bytes,
    null_frames,
    score_videos,
    show_strip,
    stretch_means,
    true_videos,
    video_noise,
    write_mp4,
    write_wav,
)
from vqdiff_edu.crossmodal.writing import energy_curve, ring_times
from vqdiff_edu.data import digits, to_float
from vqdiff_edu.diffusion.samplers import sample_ddim

TEST = speech("test", "stand-in")
SOME = TEST.subset(torch.arange(4))


class Folds(torch.nn.Module):
    """A codec that loses nothing: 4 × 4 pixels are the channels of one place."""

    quantizer = SimpleNamespace(embedding_dim=16)

    def encode_latents(self, x):
        return F.pixel_unshuffle(x, 4)

    def decode_latents(self, z, quantize=True):
        return F.pixel_shuffle(z, 4)


def image_model():
    torch.manual_seed(0)
    return awake(LatentUNet(16, 16, 1, dim=16, num_timesteps=100, embedding=32))


def awake(model):
    """The model with its zero-initialised layers moved, so that everything has an effect."""
    with torch.no_grad():
        for p in model.parameters():
            p += 0.05 * torch.randn(p.shape, generator=torch.Generator().manual_seed(p.numel()))
    return model.eval()


def ready():
    torch.manual_seed(1)
    return SpeechWriter(VideoUNet(image_model()), SpeechClassifier(), Folds()).eval()


def test_an_untrained_network_draws_with_every_frame_what_the_image_model_would():
    image = image_model()
    model, z, t = VideoUNet(image).eval(), torch.randn(2, 5, 16, 7, 7), torch.tensor([3, 90])
    labels = torch.tensor([3, 7])
    heard = torch.randn(2, 5, FEATURES)
    each = image(z.flatten(0, 1), t.repeat_interleave(5), label=labels.repeat_interleave(5))
    film = model(z, t, frames=heard, clip=F.one_hot(labels, 10).float())
    assert torch.allclose(film.flatten(0, 1), each, atol=1e-5)
    none = image(z.flatten(0, 1), t.repeat_interleave(5), label=torch.full((10,), 10))
    assert torch.allclose(model(z, t).flatten(0, 1), none, atol=1e-5)
    assert torch.equal(model(z, t), model(z, t, **model.null_cond(2)))


def test_the_image_model_is_copied():
    image = image_model()
    before, model = copy.deepcopy(image.state_dict()), VideoUNet(image)
    awake(model)
    assert all(torch.equal(before[key], value) for key, value in image.state_dict().items())


def test_frames_and_word_matter_and_examples_do_not_mix():
    model = awake(VideoUNet(image_model()))
    z, t, cond = torch.randn(3, 6, 16, 7, 7), torch.tensor([1, 50, 99]), {"frames": torch.rand(3, 6, FEATURES), "clip": torch.eye(10)[:3]}
    together = model(z, t, **cond)
    alone = [model(z[i : i + 1], t[i : i + 1], **{key: value[i : i + 1] for key, value in cond.items()}) for i in range(3)]
    assert torch.allclose(together, torch.cat(alone), atol=1e-4)
    assert not torch.allclose(together, model(z, t, **cond | {"clip": torch.eye(10)[3:6]}), atol=1e-3)
    assert not torch.allclose(together, model(z, t, **cond | {"frames": cond["frames"].flip(1)}), atol=1e-3)
    other = z.clone()
    other[:, 0] += 1  # one frame changed is felt in all others
    assert ((model(other, t, **cond) - together).abs().amax((2, 3, 4)) > 1e-5).all()


def test_every_parameter_gets_a_gradient():
    model = awake(VideoUNet(image_model())).train()
    model(torch.randn(2, 4, 16, 7, 7), torch.tensor([1, 50]), torch.rand(2, 4, FEATURES), torch.eye(10)[:2]).square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_temporal_attention_agrees_with_a_loop_over_places():
    torch.manual_seed(2)
    layer, x, e = awake(TemporalAttention(16, 8, heads=2)), torch.randn(6, 16, 2, 3), torch.randn(2, 3, 8)
    out = layer(x, e)
    for b in range(2):
        for row in range(2):
            for column in range(3):
                tokens = x[3 * b : 3 * b + 3, :, row, column]
                q, k, v = layer.to_qkv(layer.norm(tokens) + layer.told(e[b])).reshape(3, 3, 2, 8).permute(1, 2, 0, 3)
                mixed = torch.softmax(q @ k.transpose(1, 2) / 8**0.5, -1) @ v
                expected = tokens + layer.out(mixed.transpose(0, 1).reshape(3, 16))
                assert torch.allclose(out[3 * b : 3 * b + 3, :, row, column], expected, atol=1e-5)


def test_temporal_attention_begins_as_the_identity():
    x = torch.randn(6, 16, 7, 7)
    assert torch.equal(TemporalAttention(16, 8)(x, torch.randn(2, 3, 8)), x)


def test_stretch_means_are_means_of_stretches():
    x = torch.arange(20.0).reshape(1, 2, 10)
    assert torch.equal(
        stretch_means(x, torch.tensor([10]), 5, 1), torch.tensor([[[0.5, 10.5], [2.5, 12.5], [4.5, 14.5], [6.5, 16.5], [8.5, 18.5]]])
    )
    half = stretch_means(x, torch.tensor([4]), 8, 1)[0, :, 0]  # two frames a tick
    assert half.tolist() == [0, 0, 1, 1, 2, 2, 3, 3] and stretch_means(x, torch.tensor([10]), 1, 1)[0, 0].tolist() == [4.5, 14.5]


def test_frame_features_tell_the_energy_and_do_not_depend_on_padding_or_volume():
    features = frame_features(SOME.samples, SOME.lengths)
    assert features.shape == (4, 16, FEATURES) and (features[..., 0] == 1).all()
    assert torch.equal(features[..., 3], energy_curve(SOME.samples, SOME.lengths)) and torch.equal(features[:, 1:, 2], features[:, :-1, 3])
    assert torch.equal(features[..., 1], (torch.arange(16) + 1).div(16).expand(4, 16))
    longer = F.pad(SOME.samples, (0, 3000))
    assert torch.allclose(frame_features(longer, SOME.lengths), features, atol=1e-4)
    assert torch.allclose(frame_features(0.5 * SOME.samples, SOME.lengths)[..., 1:4], features[..., 1:4], atol=1e-5)
    assert features[..., 4:].max() <= 0 and features[..., 4:].min() >= -1.5


def test_what_is_heard_without_the_curve_still_holds_it():
    """Each row has the power of all sixteen stretches, in decibels below the loudest: added up, they are the energy curve."""
    told = heard_features(SOME.samples, SOME.lengths)
    assert told.shape == (4, 16, HEARD) and (told[..., 0] == 1).all()
    assert torch.equal(told[..., 1], (torch.arange(16) + 1).div(16).expand(4, 16))
    assert torch.equal(told[:, 0, 2:], told[:, 9, 2:]), "every frame is told of the whole recording"
    swelling = torch.randn(2, 12_000, generator=torch.Generator().manual_seed(0)) * torch.linspace(0.1, 1, 12_000) ** torch.tensor(
        [[1], [3]]
    )
    lengths = torch.tensor([12_000, 9000])
    power = (10 ** (3.5 * heard_features(swelling, lengths)[:, 0, 2:].view(2, 16, 8))).sum(2)
    curve = power.cumsum(1) / power.sum(1, keepdim=True)
    assert (curve - energy_curve(swelling, lengths)).abs().max() < 0.03
    assert torch.allclose(heard_features(F.pad(SOME.samples, (0, 3000)), SOME.lengths), told, atol=1e-4)
    assert heard_features(torch.zeros(1, 40), torch.tensor([1])).isfinite().all()


def test_a_network_that_hears_begins_as_the_image_model_and_listens():
    image = image_model()
    model = VideoUNet(image, hears=True)
    z, t = torch.randn(2, 16, 16, 7, 7, generator=torch.Generator().manual_seed(0)), torch.tensor([30, 90])
    told, other = heard_features(SOME.samples[:2], SOME.lengths[:2]), heard_features(SOME.samples[2:], SOME.lengths[2:])
    still = VideoUNet(image)
    with torch.no_grad():
        assert torch.allclose(model.eval()(z, t, told), still.eval()(z, t), atol=1e-4)
        awake(model)
        assert not torch.allclose(model(z, t, told), model(z, t, other), atol=1e-4)
        assert torch.equal(model(z, t), model(z, t, null_frames(2, features=HEARD)))
    writer = SpeechWriter(model, SpeechClassifier(), Folds()).eval()
    film = writer(SOME.samples, SOME.lengths, num_inference_steps=1, generator=torch.Generator().manual_seed(0))
    assert film.shape == (4, 16, 1, 28, 28)
    batch = written(digits("train", "stand-in").images[:4], energy_curve(SOME.samples, SOME.lengths))
    loss, _ = VideoTask(writer, dropout=0.9).loss(
        batch | {"samples": SOME.samples, "length": SOME.lengths}, torch.Generator().manual_seed(0)
    )
    assert loss.isfinite()


def test_ink_that_is_kept_never_falls_and_ink_that_rises_stays_as_it_is():
    film = torch.randn(3, 16, 1, 28, 28, generator=torch.Generator().manual_seed(0)).clamp(-1, 1)
    kept = keep_ink(film)
    assert (kept.diff(dim=1) >= 0).all() and (kept >= film).all() and torch.equal(kept[:, 0], film[:, 0])
    assert torch.equal(kept, torch.stack([film[:, : f + 1].amax(1) for f in range(16)], 1))
    assert torch.equal(keep_ink(film.sort(1).values), film.sort(1).values)


def test_a_writer_keeps_its_ink_unless_told_otherwise():
    writer, how = ready(), {"num_inference_steps": 2, "guidance_scale": 1.5, "share": 0.0}
    kept, free = (
        writer(SOME.samples, SOME.lengths, **how, keep=keep, generator=torch.Generator().manual_seed(0)) for keep in (True, False)
    )
    assert torch.equal(kept, keep_ink(free)) and (free.diff(dim=1) < 0).any()
    energy = median_curve(TEST)
    assert score_videos(kept, SOME, energy)["falls"] == 0 < score_videos(free, SOME, energy)["falls"]


def test_a_recording_is_looked_up_as_itself():
    assert looked_up(SOME, TEST) == {"right": 1.0, "timing": 0.0}


def test_silence_and_a_single_sample_are_heard_without_a_fuss():
    features = frame_features(torch.zeros(1, 40), torch.tensor([1]))
    assert features.isfinite().all()


def test_the_clip_vector_is_a_distribution():
    cond = audio_condition(SpeechClassifier().eval(), SOME.samples, SOME.lengths)
    assert cond["clip"].shape == (4, 10) and torch.allclose(cond["clip"].sum(1), torch.ones(4))


def test_fourier_features_are_cosines_and_sines_from_half_a_turn():
    angles = fourier_features(torch.tensor([0.0, 0.5, 1.0]), 2)
    assert torch.allclose(angles, torch.tensor([[1, 1, 0, 0], [0, -1, 1, 0], [-1, 1, 0, 0.0]]), atol=1e-6)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_noise_is_standard_normal_and_shared_as_asked(share):
    noise = video_noise((4000, 3, 1, 2, 2), share, generator=torch.Generator().manual_seed(0)).flatten(2).transpose(1, 2).reshape(-1, 3)
    expected = share + (1 - share) * torch.eye(3)
    assert torch.allclose(torch.cov(noise.T), expected, atol=0.05) and noise.mean().abs() < 0.02


def keep_of(frames):
    """Which of the sixteen frames these are."""
    return (16 * frames[0, :, 1]).round().long() - 1


def written(images, curve):
    """What a batch says of images and curves."""
    starts, ends = ring_times(to_float(images))
    return {"image": images, "curve": curve, "starts": starts, "ends": ends}


def test_the_task_withholds_the_word_and_sometimes_everything():
    seen = []

    class Spy(VideoUNet):
        def forward(self, z, t, frames=None, clip=None):
            seen.append((frames, clip))
            return super().forward(z, t, frames, clip)

    n = 200
    task = VideoTask(SpeechWriter(Spy(image_model()).train(), SpeechClassifier(), Folds()), dropout=0.4)
    batch = written(digits("train", "stand-in").images[:n], torch.linspace(0.1, 1, 16).expand(n, 16))
    rows = torch.zeros(n, dtype=torch.long)
    loss, parts = task.loss(batch | {"samples": TEST.samples[rows], "length": TEST.lengths[rows]}, torch.Generator().manual_seed(0))
    deaf, wordless = (seen[0][0][..., 0] == 0).all(1), (seen[0][1] == 0).all(1)
    assert torch.equal(seen[0][0][deaf], null_frames(int(deaf.sum()))[:, keep_of(seen[0][0])])
    assert loss.isfinite() and set(parts) >= {"mse"}
    assert abs(wordless.double().mean() - 0.4) < 0.15 and abs(deaf.double().mean() - 0.2) < 0.12 and (wordless | ~deaf).all()


def test_the_task_shows_some_frames_and_always_the_last():
    seen = []
    task = VideoTask(ready(), frames=5)
    forward = task.model.forward
    task.model.forward = lambda z, t, frames, clip: seen.append(keep_of(frames)) or forward(z, t, frames, clip)
    batch = written(digits("train", "stand-in").images[:4], energy_curve(SOME.samples, SOME.lengths))
    for seed in range(6):
        task.loss(batch | {"samples": SOME.samples, "length": SOME.lengths}, torch.Generator().manual_seed(seed))
    assert all(len(keep) == 5 and keep[-1] == 15 and (keep[1:] > keep[:-1]).all() for keep in seen)
    assert len({tuple(keep.tolist()) for keep in seen}) > 3


def test_the_loss_is_that_of_the_diffusion_on_the_latents_of_writing():
    task = VideoTask(ready(), dropout=0.0)
    batch = written(digits("train", "stand-in").images[:4], energy_curve(SOME.samples, SOME.lengths))
    batch |= {"samples": SOME.samples, "length": SOME.lengths}
    first, again = (task.loss(batch, torch.Generator().manual_seed(3))[0] for _ in range(2))
    assert first.item() == again.item() and 0 < first.item() < 10


def test_a_writer_gives_sixteen_frames_and_repeats_itself():
    writer = ready()
    how = {"num_inference_steps": 2, "guidance_scale": 1.5}
    one = writer(SOME.samples, SOME.lengths, **how, generator=torch.Generator().manual_seed(0))
    two = writer(SOME.samples, SOME.lengths, **how, generator=torch.Generator().manual_seed(0))
    assert one.shape == (4, 16, 1, 28, 28) and torch.equal(one, two) and one.abs().max() <= 1
    both = writer(SOME.samples, SOME.lengths, **how, guide="both", generator=torch.Generator().manual_seed(0))
    assert both.shape == one.shape


def test_a_writer_takes_its_defaults_from_its_card():
    writer = ready()
    writer.card = {"guidance_scale": 1.0, "num_inference_steps": 3}
    told = writer(SOME.samples, SOME.lengths, guidance_scale=1.0, num_inference_steps=3, generator=torch.Generator().manual_seed(0))
    assert torch.equal(writer(SOME.samples, SOME.lengths, generator=torch.Generator().manual_seed(0)), told)


def test_an_untrained_network_with_all_noise_shared_films_a_still():
    how = {"num_inference_steps": 2, "guidance_scale": 1.0, "share": 1.0}
    film = ready()(SOME.samples, SOME.lengths, **how, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(film, film[:, :1].expand_as(film), atol=1e-4)


def test_the_pipeline_owns_its_parts_and_stores_one_of_them():
    writer = ready()
    assert all(key.split(".")[0] in ("image", "temporal", "frame") for key in writer.model.state_dict())
    assert {name.split(".")[0] for name, _ in writer.named_parameters()} == {"model", "classifier"}  # this VQ-VAE has none
    assert not any(p.requires_grad for p in writer.classifier.parameters())
    assert isinstance(copy.deepcopy(writer).vqvae, Folds)


def test_the_codec_sees_latents_in_the_coordinates_of_the_image_model():
    writer = ready()
    writer.model.image.scale.fill_(2.0)
    x = to_float(digits("test", "stand-in").images[:3])
    assert torch.allclose(writer.codec.encode(x), F.pixel_unshuffle(x, 4) / 2)


def test_the_book_samplers_take_the_model():
    model = ready().model
    z = sample_ddim(model.diffusion, model, (2, 16, 16, 7, 7), num_inference_steps=2, cond={"clip": torch.eye(10)[:2]}, guidance_scale=2.0)
    assert z.shape == (2, 16, 16, 7, 7) and z.isfinite().all()


def streams(path):
    import imageio_ffmpeg

    said = subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-i", str(path), "-f", "null", "-"], capture_output=True).stderr.decode()
    return said, int(re.findall(r"frame=\s*(\d+)", said)[-1])


def test_a_film_has_its_frames_and_its_sound():
    n = int(SOME.lengths[0])
    video, sound = torch.rand(16, 1, 28, 28) * 2 - 1, SOME.samples[0, :n]
    with tempfile.TemporaryDirectory() as folder:
        path = write_mp4(Path(folder) / "seven.mp4", video, sound, hold=0)
        said, frames = streams(path)
    assert frames == 16 and "Video: h264" in said and "Audio: aac" in said and "224x224" in said
    seconds = [float(x) for x in re.findall(r"Duration: 00:00:(\d+\.\d+)", said)]
    assert abs(seconds[0] - n / 8000) < 0.15


def test_a_film_sounds_as_it_was_given():
    """The sound track begins with the film, is as long as the recording, and is it: same energy, same timetable."""
    import imageio_ffmpeg

    t = torch.arange(6000) / 8000
    sound = 0.5 * torch.sin(2 * torch.pi * 440 * t) * (t > 0.3) * (t < 0.6)
    with tempfile.TemporaryDirectory() as folder:
        path = write_mp4(Path(folder) / "tone.mp4", torch.zeros(16, 1, 28, 28), sound)
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-i", str(path), "-f", "s16le", "-ac", "1", "-ar", "8000", "-"]
        raw = subprocess.run(command, capture_output=True, check=True).stdout
    heard = torch.frombuffer(bytearray(raw), dtype=torch.int16) / 32768
    assert 0.74 < len(heard) / 8000 < 0.9
    heard = heard[:6000]
    assert abs(heard.square().sum() / sound.square().sum() - 1) < 0.1
    curves = energy_curve(torch.stack([F.pad(heard, (0, 6000 - len(heard))), sound]), torch.tensor([6000, 6000]))
    assert (curves[0] - curves[1]).abs().max() < 0.05


def test_a_film_shows_what_it_was_given():
    import imageio_ffmpeg

    video = torch.full((16, 1, 28, 28), -1.0)
    video[8:, :, 7:21, 7:21] = 1
    with tempfile.TemporaryDirectory() as folder:
        path = write_mp4(Path(folder) / "square.mp4", video, SOME.samples[0, :4000])
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-i", str(path), "-f", "rawvideo", "-pix_fmt", "gray", "-"]
        raw = subprocess.run(command, capture_output=True).stdout
    frames = torch.frombuffer(bytearray(raw), dtype=torch.uint8).reshape(-1, 224, 224).float() / 127.5 - 1
    assert len(frames) > 16  # the last one is held
    assert (F.avg_pool2d(frames[:16, None], 8) - video).abs().mean() < 0.1 and (frames[-1] - frames[15]).abs().mean() < 0.05


@pytest.mark.parametrize("name", ["film.m4v", "film.mov", "FILM.MP4"])
def test_names_that_a_film_may_have(name, tmp_path):
    assert write_mp4(tmp_path / name, torch.zeros(2, 1, 4, 4) - 1, torch.zeros(800), source=tmp_path / "voice.wav").exists()


def test_a_page_embeds_its_films():
    film = mp4_bytes(torch.zeros(2, 1, 4, 4) - 1, torch.zeros(800))
    html = Film([film, film], ["one", "two"])._repr_html_()
    assert html.count("data:video/mp4;base64,") == 2 and html.count("<figcaption>") == 2 and "one" in html
    assert "2 films" in repr(Film([film, film]))


def test_a_sound_file_holds_what_was_written():
    import soundfile

    sound = torch.linspace(-1.5, 1.5, 900)
    with tempfile.TemporaryDirectory() as folder:
        write_wav(Path(folder) / "a.wav", sound)
        back, rate = soundfile.read(Path(folder) / "a.wav")
    assert rate == 8000 and abs(torch.from_numpy(back).float() - sound.clamp(-1, 1)).max() < 1e-4


def test_a_strip_has_two_rows():
    import matplotlib.pyplot as plt

    figure = show_strip(torch.rand(16, 1, 28, 28) * 2 - 1, SOME.samples[0, : int(SOME.lengths[0])], title="seven")
    assert len(figure.axes) == 2 and figure.axes[0].get_title() == "seven"
    plt.close(figure)


def test_true_videos_write_the_right_digit_in_time():
    images, generator = digits("test", "stand-in"), torch.Generator().manual_seed(0)
    video = true_videos(SOME, images, generator)
    whole = video[:, -1]
    known = to_float(images.images)
    for picture, label in zip(whole, SOME.labels):
        same = (known - picture).abs().flatten(1).mean(1)
        assert same.min() < 0.05 and images.labels[same.argmin()] == label
    scores = score_videos(video, SOME, median_curve(TEST))
    assert scores["timing"] < 0.06 and scores["timing"] <= scores["constant"] + 0.06 and 0 <= scores["last_frame"] <= 1


def test_scores_of_films_in_perfect_time():
    curve = energy_curve(TEST.samples, TEST.lengths)
    video = torch.full((len(TEST), 16, 1, 28, 28), -1.0)
    video[:, :, :, 10:12] = (2 * curve - 1)[:, :, None, None, None]
    scores = score_videos(video, TEST, median_curve(TEST))
    assert scores["timing"] < 1e-4 and scores["timing_interval"][0] <= scores["timing"] <= scores["timing_interval"][1]
    assert scores["constant"] >= 0 and scores["shuffled"] >= scores["timing"]


def test_measure_videos_reports_the_model_the_codec_and_the_real_thing():
    outcome = measure_videos(ready(), SOME, SOME, replicates=2, source="stand-in", num_inference_steps=1)
    assert outcome["recordings"] == 4 and len(outcome["replicates"]) == 2 and 0 <= outcome["heard_right"] <= 1
    row = outcome["replicates"][0]
    assert row["codec"]["timing"] == pytest.approx(row["real"]["timing"], abs=1e-5)  # this codec loses nothing
    assert row["frechet"] > row["frechet_floor"] and row["frechet_codec"] == pytest.approx(row["frechet_floor"], rel=1e-3)


def test_double_precision_is_spoken_like_single():
    writer, how = ready(), {"num_inference_steps": 1, "guidance_scale": 1.5}
    one, two = (writer(x, SOME.lengths, **how, generator=torch.Generator().manual_seed(0)) for x in (SOME.samples, SOME.samples.double()))
    assert torch.equal(one, two)
