"""The commands, as a terminal calls them."""

import pytest
import soundfile
import torch
from PIL import Image
from torchvision.utils import save_image
from typer.testing import CliRunner

from vqdiff_edu.cli import app, parse_labels
from vqdiff_edu.crossmodal.caption import unreadable
from vqdiff_edu.crossmodal.scenes import draw_scenes, parse
from vqdiff_edu.data import digits
from vqdiff_edu.registry import SHIPPED

RUNNER = CliRunner()


def run(*arguments):
    return RUNNER.invoke(app, list(arguments))


def test_list_names_every_shipped_model():
    out = run("list")
    assert out.exit_code == 0
    for name in SHIPPED:
        assert name in out.output
    assert "not measured" not in out.output


def test_data_says_what_it_found():
    out = run("data", "--source", "stand-in")
    assert out.exit_code == 0
    assert ["written" in line for line in out.output.splitlines()] == [True, False, False]
    assert sum(line.startswith("stand-in:") for line in out.output.splitlines()) == 2


def test_sample_writes_a_picture(tmp_path):
    path = tmp_path / "digits.png"
    out = run("sample", "--labels", "40", "--steps", "2", "--out", str(path))
    assert out.exit_code == 0, out.output
    assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    again = tmp_path / "again.png"
    run("sample", "--labels", "40", "--steps", "2", "--out", str(again))
    assert path.read_bytes() == again.read_bytes()
    run("sample", "--labels", "40", "--steps", "2", "--seed", "1", "--out", str(again))
    assert path.read_bytes() != again.read_bytes()


def test_train_in_smoke_goes_the_whole_way(tmp_path, monkeypatch):
    monkeypatch.setenv("VQDIFF_PROFILE", "laptop")
    out = run("train", "mnist-vqvae", "--out", str(tmp_path), "--profile", "smoke")
    assert out.exit_code == 0, out.output
    assert '"test_mse_01"' in out.output
    assert (tmp_path / "mnist-vqvae-smoke" / "checkpoint.pt").exists()


def test_caption_says_what_is_on_a_picture(tmp_path):
    scene = draw_scenes(1, digits("test"), torch.Generator().manual_seed(3))
    save_image((255 - scene.images.float()) / 255, tmp_path / "paper.png")
    out = run("caption", str(tmp_path / "paper.png"))
    assert out.exit_code == 0, out.output
    assert not unreadable(out.output.splitlines()[-1])


def caption_of(path, picture):
    save_image(picture, path)
    out = run("caption", str(path))
    assert out.exit_code == 0, out.output
    *notes, said = out.output.splitlines()
    assert all(note.startswith("note: ") for note in notes)
    return " ".join(notes), said


def test_caption_notes_what_was_done_to_the_picture(tmp_path):
    """Only a scene as the captioner knows it, 56 × 56 on black, is taken as it is."""
    scene = draw_scenes(60, digits("test"), torch.Generator().manual_seed(3))
    row = next(i for i, s in enumerate(scene.scenes) if {thing.ink for thing in s.things} == {"faint"} and len(s.things) == 1)
    picture = scene.images[row].float() / 255
    notes, said = caption_of(tmp_path / "black.png", picture)
    assert notes == "" and parse(said).things[0].ink == "faint"
    notes, said = caption_of(tmp_path / "paper.png", 1 - picture)
    assert "brought to" not in notes and "darkest stroke is taken for full ink" in notes and parse(said).things[0].ink == "bold"
    wide = torch.nn.functional.pad(1 - picture, (14, 14, 0, 0), value=1.0)
    notes, said = caption_of(tmp_path / "wide.png", wide)
    assert "wide.png has 84 × 56 pixels: brought to 56 × 56" in notes


def test_what_is_no_caption_is_an_error(tmp_path):
    save_image(torch.rand(1, 56, 56, generator=torch.Generator().manual_seed(0)), tmp_path / "noise.png")
    out = run("caption", str(tmp_path / "noise.png"))
    assert out.exit_code == 2 and out.output.startswith("error: image: ") and "noise.png shows nothing that can be told" in out.output
    assert "the model stammers" in out.output


def tone(path, rate=8000, channels=1, seconds=0.5):
    """A loud tone that swells, as a wav file."""
    n = int(rate * seconds)
    wave = torch.linspace(0, 0.8, n) * torch.sin(torch.arange(n) * (440 * 2 * torch.pi / rate))
    soundfile.write(path, wave[:, None].expand(-1, channels).numpy(), rate)


@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (44100, 2)])
def test_speak_writes_a_film_with_its_sound(tmp_path, rate, channels):
    tone(tmp_path / "tone.wav", rate, channels)
    out = run("speak", str(tmp_path / "tone.wav"), "--steps", "1", "--out", str(tmp_path / "film.mp4"))
    assert out.exit_code == 0, out.output
    assert ("resampled to 8,000" in out.output) == (rate != 8000) and "heard a " in out.output
    assert (tmp_path / "film.mp4").read_bytes()[4:8] == b"ftyp"


@pytest.mark.parametrize(("arguments", "said"), [(("--steps", "0"), "num_inference_steps"), (("--guidance", "nan"), "guidance_scale")])
def test_speak_refuses_numbers_that_do_not_fit(tmp_path, arguments, said):
    tone(tmp_path / "tone.wav")
    out = run("speak", str(tmp_path / "tone.wav"), *arguments, "--out", str(tmp_path / "film.mp4"))
    assert out.exit_code == 2 and out.output.startswith("error: ") and said in out.output
    assert not (tmp_path / "film.mp4").exists()


@pytest.mark.parametrize("source", ["auto", "stand-in"])
def test_data_in_a_folder_that_is_not_there(tmp_path, monkeypatch, source):
    monkeypatch.setenv("VQDIFF_DATA", str(tmp_path / "nowhere"))
    out = run("data", "--source", source)
    assert out.exit_code == 2 and "error: " in out.output and "VQDIFF_DATA" in out.output


def test_files_that_do_not_fit_get_a_sentence(tmp_path):
    Image.new("L", (60, 60), 255).save(tmp_path / "empty.png")
    (tmp_path / "broken.wav").write_bytes(b"RIFF....WAVE")
    soundfile.write(tmp_path / "silent.wav", torch.zeros(4000).numpy(), 8000)
    tone(tmp_path / "long.wav", seconds=9)
    for arguments, said in (
        (("caption", "empty.png"), "nothing stands out"),
        (("caption", "broken.wav"), "is no picture of ink"),
        (("caption", "nowhere.png"), "nowhere.png"),
        (("speak", "broken.wav"), "broken.wav"),
        (("speak", "silent.wav"), "silent"),
        (("speak", "long.wav"), "at most 5 s"),
        (("speak", "nowhere.wav"), "nowhere.wav"),
    ):
        out = run(arguments[0], str(tmp_path / arguments[1]))
        assert out.exit_code == 2 and out.output.startswith("error: ") and said in out.output, (arguments, out.output)
    assert not (tmp_path / "writing.mp4").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("sample", "mnist-dpm"), "name must be one of"),
        (("sample", "--labels", "4x"), "labels must be digits"),
        (("sample", "--steps", "0"), "num_inference_steps"),
        (("sample", "mnist-vqvae"), "generator of digits"),
        (("evaluate", "mnist-vae"), "name must be one of"),
        (("train", "mnist-vae"), "name must be one of"),
        (("train", "mnist-vqvae", "--profile", "huge"), "VQDIFF_PROFILE"),
        (("data", "--source", "imagenet"), "source"),
    ],
)
def test_mistakes_get_a_sentence(arguments, said, monkeypatch):
    monkeypatch.setenv("VQDIFF_PROFILE", "smoke")
    out = run(*arguments)
    assert out.exit_code == 2
    assert out.output.startswith("error: ") and said in out.output and "Traceback" not in out.output


@pytest.mark.parametrize("labels", ["", "4 7", "-1", "４"])
def test_labels_that_are_no_digits(labels):
    with pytest.raises(ValueError, match="labels must be digits"):
        parse_labels(labels)
