"""The commands, as a terminal calls them."""

import json
import re

import pytest
import soundfile
import torch
from PIL import Image
from torchvision.utils import save_image
from typer.testing import CliRunner

from vqdiff_edu.cli import app, parse_labels
from vqdiff_edu.crossmodal.scenes import parse
from vqdiff_edu.registry import load_pretrained, train
from vqdiff_edu.weights import FOLDER, available

RUNNER = CliRunner()


def run(*arguments):
    return RUNNER.invoke(app, list(arguments))


def test_list_names_every_shipped_model():
    out = run("list")
    assert out.exit_code == 0
    for name in available():
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


def test_draw_writes_what_a_sentence_says(tmp_path):
    path = tmp_path / "scene.png"
    out = run("draw", "A big, bold 7 above a small faint 2.", "--out", str(path))
    assert out.exit_code == 0, out.output
    assert (
        Image.open(path).size == (56, 56)
        and "1 picture in" in out.output
        and "read back as asked" in out.output
        and "note" not in out.output
    )
    again = tmp_path / "again.png"
    run("draw", "a big bold 7 above a small faint 2", "--out", str(again))
    assert path.read_bytes() == again.read_bytes()
    run("draw", "a big bold 7 above a small faint 2", "--seed", "1", "--out", str(again))
    assert path.read_bytes() != again.read_bytes()
    run("draw", "a big bold 7 above a small faint 2", "--guidance", "0", "--out", str(again))
    assert path.read_bytes() != again.read_bytes()


def test_draw_says_what_it_chose_by_itself(tmp_path):
    out = run("draw", "a big bold 7 above a small 2", "--n", "3", "--out", str(tmp_path / "scene.png"))
    assert out.exit_code == 0
    assert re.search("note: what was not told was drawn by chance: a big bold 7 above a small (faint|bold) 2", out.output)
    assert "3 pictures in" in out.output and Image.open(tmp_path / "scene.png").size[0] > 3 * 56


def test_a_drawn_scene_can_be_captioned(tmp_path):
    run("draw", "a big bold 7", "--seed", "1", "--out", str(tmp_path / "scene.png"))
    out = run("caption", str(tmp_path / "scene.png"))
    assert out.exit_code == 0 and parse(out.output.splitlines()[-1]).facts["count"] == 1


def test_train_in_smoke_goes_the_whole_way(tmp_path, monkeypatch):
    monkeypatch.setenv("VQDIFF_PROFILE", "laptop")
    out = run("train", "mnist-vqvae", "--out", str(tmp_path), "--profile", "smoke")
    assert out.exit_code == 0, out.output
    assert '"test_mse_01"' in out.output
    folder = tmp_path / "mnist-vqvae-smoke"
    assert {path.name for path in folder.iterdir()} == {"checkpoint.pt", "mnist-vqvae.safetensors", "mnist-vqvae.json"}
    assert f"weights and card in {folder}" in out.output
    assert load_pretrained("mnist-vqvae", folder=folder).card["profile"] == "smoke"


def a_page(*strokes, side=560):
    """A page of paper with dark strokes: (top, left, height, width)."""
    page = torch.full((1, side, side), 0.95)
    for top, left, height, width in strokes:
        page[:, top : top + height, left : left + width] = 0.1
    return page


ONE = ((150, 260, 240, 28),)  # a vertical stroke


def caption_of(path, picture, *options):
    """Notes and refusals, the line on stdout, and the exit status."""
    save_image(picture, path)
    out = run("caption", str(path), *options)
    return out.stderr, out.stdout.strip(), out.exit_code


def test_caption_says_what_is_on_a_picture(tmp_path):
    notes, said, status = caption_of(tmp_path / "one.png", a_page(*ONE))
    assert status == 0 and [thing.digit for thing in parse(said).things] == [1]
    assert "its ink was found and brought to 56 × 56" in notes and "faint is told only beside bold" in notes
    assert re.search(r"note: confidence [01]\.\d\d that the digits are right", notes)


def test_a_canvas_is_taken_as_it_is(tmp_path):
    """Only a scene as the captioner knows it, 56 × 56 on black, keeps its ink."""
    scene = torch.zeros(1, 56, 56)
    scene[:, 18:40, 26:29] = 0.45
    notes, said, status = caption_of(tmp_path / "black.png", scene)
    assert status == 0 and "56 × 56" not in notes and parse(said).things[0].ink == "faint"
    notes, said, status = caption_of(tmp_path / "paper.png", 1 - scene)
    assert status == 0 and "darkest stroke is taken for full ink" in notes and parse(said).things[0].ink == "bold"


def test_a_thin_pen_is_not_told_as_faint_ink(tmp_path):
    _, said, status = caption_of(tmp_path / "thin.png", a_page((300, 500, 400, 4), side=1000))
    assert status == 0 and parse(said).things[0].ink == "bold"


def test_caption_as_json_is_a_line_per_file(tmp_path):
    _, said, status = caption_of(tmp_path / "one.png", a_page(*ONE), "--json")
    row = json.loads(said)
    assert status == 0 and list(row) == ["file", "caption", "digits", "confidence"]
    assert row["file"] == str(tmp_path / "one.png") and row["digits"] == [1] and 0.5 < row["confidence"] <= 1
    assert [thing.digit for thing in parse(row["caption"]).things] == [1]


REFUSED = {
    "unevenly lit blank paper": (torch.linspace(200 / 255, 1, 400).expand(1, 300, 400), "nothing stands out"),
    "plain paper": (torch.full((1, 300, 300), 0.9), "nothing stands out"),
    "noise": (torch.rand(1, 56, 56, generator=torch.Generator().manual_seed(0)), ""),
    "an H": (a_page((100, 150, 360, 30), (100, 380, 360, 30), (250, 150, 30, 260)), ""),
    "a page of writing": (a_page(*[(40 + 100 * r, 40 + 100 * c, 60, 16) for r in range(5) for c in range(5)]), "25 pieces of ink"),
    "four digits": (a_page(*[(200, 60 + 120 * c, 160, 22) for c in range(4)]), "4 pieces of ink"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_picture_that_cannot_be_told_is_refused_with_its_own_status(kind, tmp_path):
    picture, reason = REFUSED[kind]
    notes, said, status = caption_of(tmp_path / "strange.png", picture)
    assert status == 3 and said == "" and notes.startswith("refused: ") and "strange.png: " in notes and reason in notes
    _, said, status = caption_of(tmp_path / "strange.png", picture, "--json")
    row = json.loads(said)
    assert status == 3 and row["caption"] is None and row["digits"] == [] and row["confidence"] < 0.9


def test_one_bad_picture_does_not_keep_the_others_from_being_told(tmp_path):
    save_image(a_page(*ONE), tmp_path / "one.png")
    save_image(a_page(), tmp_path / "blank.png")
    (tmp_path / "text.png").write_text("no picture")
    names = [str(tmp_path / name) for name in ("blank.png", "text.png", "one.png")]
    out = run("caption", *names)
    assert out.exit_code == 2 and out.stdout.startswith(f"{names[2]}: ") and len(out.stdout.splitlines()) == 1
    assert "refused: " in out.stderr and "error: " in out.stderr and "Traceback" not in out.stderr
    assert run("caption", names[0], names[2]).exit_code == 3
    rows = [json.loads(line) for line in run("caption", "--json", *names).stdout.splitlines()]
    assert [row["file"] for row in rows] == names
    assert [row["caption"] is None for row in rows] == [True, True, False] and rows[1]["confidence"] is None


def bad_file(folder, kind):
    path = folder / "file.png"
    if kind == "a folder":
        path.mkdir()
    elif kind == "nothing in it":
        path.touch()
    elif kind == "text":
        path.write_text("a big bold seven")
    elif kind == "cut off":
        save_image(torch.rand(1, 300, 300), folder / "whole.png")
        path.write_bytes((folder / "whole.png").read_bytes()[:2000])
    return path  # or there is none


@pytest.mark.parametrize("kind", ["a folder", "nothing in it", "text", "cut off", "no file"])
def test_a_file_that_is_no_picture_is_an_error(kind, tmp_path):
    path = bad_file(tmp_path, kind)
    out = run("caption", str(path))
    assert out.exit_code == 2 and out.stdout == "" and out.stderr.startswith("error: ") and "file.png" in out.stderr
    assert "Traceback" not in out.stderr


@pytest.mark.parametrize(
    ("mode", "name"), [("CMYK", "page.jpg"), ("1", "page.gif"), ("RGBA", "page.webp"), ("P", "page.png"), ("I;16", "page.png")]
)
def test_kinds_of_picture_files(mode, name, tmp_path):
    page = (255 * a_page(*ONE)[0]).byte().numpy()
    (Image.fromarray(page.astype("uint16") * 257) if mode == "I;16" else Image.fromarray(page).convert(mode)).save(tmp_path / name)
    out = run("caption", str(tmp_path / name))
    assert out.exit_code == 0 and [thing.digit for thing in parse(out.stdout.strip()).things] == [1], out.output


def test_a_large_picture_is_read_without_a_warning(tmp_path):
    Image.fromarray((255 * a_page(*ONE)[0]).byte().numpy()).resize((9600, 9600)).save(tmp_path / "large.png")
    out = run("caption", str(tmp_path / "large.png"))
    assert out.exit_code == 0 and "Warning" not in out.stderr and "site-packages" not in out.stderr


def tone(path, rate=8000, channels=1, seconds=0.5):
    """A loud tone that swells, as a wav file."""
    n = int(rate * seconds)
    wave = torch.linspace(0, 0.8, n) * torch.sin(torch.arange(n) * (440 * 2 * torch.pi / rate))
    soundfile.write(path, wave[:, None].expand(-1, channels).numpy(), rate)


@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (44100, 2)])
def test_speak_writes_a_film_with_its_sound(tmp_path, rate, channels):
    tone(tmp_path / "tone.wav", rate, channels)
    out = run("speak", str(tmp_path / "tone.wav"), "--steps", "1", "--threshold", "0", "--out", str(tmp_path / "film.mp4"))
    assert out.exit_code == 0, out.output
    assert ("resampled to 8,000" in out.output) == (rate != 8000) and re.search(r"heard a \d, \d+% sure; 0.50 s", out.output)
    assert (tmp_path / "film.mp4").read_bytes()[4:8] == b"ftyp"


def test_speak_refuses_a_guidance_that_is_no_number(tmp_path):
    tone(tmp_path / "tone.wav")
    out = run("speak", str(tmp_path / "tone.wav"), "--guidance", "nan", "--threshold", "0", "--out", str(tmp_path / "film.mp4"))
    assert out.exit_code == 2 and out.output.startswith("error: ") and "guidance_scale" in out.output
    assert not (tmp_path / "film.mp4").exists()


def noisy(path, *, digit=None):
    """A sound that is no digit: a second of noise; or two bursts of it, as if two words."""
    sound = 0.1 * torch.randn(8000, generator=torch.Generator().manual_seed(3))
    sound[3000:5000] *= 1e-3 if digit else 1.0
    soundfile.write(path, sound.numpy(), 8000)


def test_speak_refuses_what_is_no_digit_with_its_own_status(tmp_path):
    noisy(tmp_path / "noise.wav")
    out = RUNNER.invoke(app, ["speak", str(tmp_path / "noise.wav"), "--out", str(tmp_path / "film.mp4")])
    assert out.exit_code == 3 and out.stdout == ""
    assert re.fullmatch(
        r"refused: .*noise.wav is none of the ten digits, or not surely one: at best a \d, \d+% sure, of \d+% needed\n", out.stderr
    )
    assert not (tmp_path / "film.mp4").exists()


def test_a_refusal_of_several_words_says_so(tmp_path):
    noisy(tmp_path / "two.wav", digit=2)
    out = run("speak", str(tmp_path / "two.wav"), "--threshold", "1", "--out", str(tmp_path / "film.mp4"))
    assert out.exit_code == 3 and "it seems to hold 2 words, give them one by one" in out.output


def test_speak_does_what_it_can_of_many_files_and_says_what_became_of_each(tmp_path):
    tone(tmp_path / "a.wav")
    tone(tmp_path / "b.wav", rate=44100)
    (tmp_path / "broken.wav").write_bytes(b"RIFF....WAVE")
    files = [str(tmp_path / name) for name in ("a.wav", "broken.wav", "b.wav")]
    out = RUNNER.invoke(app, ["speak", *files, "--threshold", "0", "--steps", "1", "--json", "--out", str(tmp_path)])
    rows = [json.loads(line) for line in out.stdout.splitlines()]
    assert out.exit_code == 2 and "broken.wav cannot be read" in out.stderr
    assert [row["file"] for row in rows] == files and all(list(row) == ["file", "digit", "confidence", "out"] for row in rows)
    assert [row["digit"] is None for row in rows] == [False, True, False] and rows[1]["out"] is None and rows[1]["confidence"] is None
    assert all(0 <= row["confidence"] <= 1 and 0 <= row["digit"] <= 9 for row in rows[::2])
    assert [row["out"] for row in rows[::2]] == [str(tmp_path / "a.mp4"), str(tmp_path / "b.mp4")]
    assert (tmp_path / "a.mp4").exists() and (tmp_path / "b.mp4").exists()


def test_a_refused_file_does_not_stop_the_others(tmp_path):
    for name in ("a.wav", "b.wav"):
        noisy(tmp_path / name)
    out = RUNNER.invoke(app, ["speak", str(tmp_path / "a.wav"), str(tmp_path / "b.wav"), "--json", "--out", str(tmp_path)])
    rows = [json.loads(line) for line in out.stdout.splitlines()]
    assert out.exit_code == 3 and out.stderr.count("refused: ") == 2
    assert [(row["digit"], row["out"]) for row in rows] == [(None, None)] * 2 and all(row["confidence"] < 0.5 for row in rows)


def test_several_recordings_need_a_folder_and_names_of_their_own(tmp_path):
    (tmp_path / "sub").mkdir()
    for path in (tmp_path / "a.wav", tmp_path / "b.wav", tmp_path / "sub" / "a.wav"):
        tone(path)
    a, b, other = (str(path) for path in (tmp_path / "a.wav", tmp_path / "b.wav", tmp_path / "sub" / "a.wav"))
    for files, out, said in (((a, b), "film.mp4", "must be a folder that exists"), ((a, other), ".", "would both become")):
        found = run("speak", *files, "--out", str(tmp_path / out))
        assert found.exit_code == 2 and found.output.startswith("error: ") and said in found.output, found.output
    assert not list(tmp_path.glob("*.mp4"))


@pytest.mark.parametrize("value", ["-0.1", "1.5"])
def test_a_threshold_is_a_share(tmp_path, value):
    out = run("speak", "tone.wav", "--threshold", value)
    assert out.exit_code == 2 and "Invalid value for '--threshold'" in out.output


@pytest.mark.parametrize("n", ["0", "101"])
def test_a_number_of_pictures_that_is_none(n):
    out = run("draw", "a big bold 7", "--n", n)
    assert out.exit_code == 2 and "Invalid value for '--n'" in out.output


@pytest.mark.parametrize("command", [("sample",), ("speak", "tone.wav")])
@pytest.mark.parametrize(
    ("option", "value"), [("--steps", "0"), ("--steps", "-3"), ("--seed", "-1"), ("--seed", str(2**64)), ("--seed", str(2**63))]
)
def test_numbers_out_of_range_are_named_with_their_range(command, option, value):
    out = run(*command, option, value)
    assert out.exit_code == 2 and f"Invalid value for '{option}'" in out.output and re.search("range|equal to", out.output)


def test_the_largest_seed_is_a_seed(tmp_path):
    out = run("sample", "--labels", "4", "--steps", "1", "--seed", str(2**63 - 1), "--out", str(tmp_path / "four.png"))
    assert out.exit_code == 0, out.output


@pytest.mark.parametrize("way", ["same path", "another path", "symbolic link", "hard link", "from a link"])
def test_speak_never_replaces_its_recording(tmp_path, monkeypatch, way):
    tone(tmp_path / "mine.mp4.wav")
    wav = tmp_path / "mine.mp4"  # a recording whose name would do for a film
    (tmp_path / "mine.mp4.wav").rename(wav)
    before, given, out = wav.read_bytes(), wav, wav
    monkeypatch.chdir(tmp_path)
    if way == "another path":
        out = tmp_path / ".." / tmp_path.name / "mine.mp4"
    elif way == "symbolic link":
        (out := tmp_path / "link.mp4").symlink_to(wav)
    elif way == "hard link":
        (out := tmp_path / "hard.mp4").hardlink_to(wav)
    elif way == "from a link":
        (given := tmp_path / "link.mp4").symlink_to(wav)
    said = run("speak", str(given), "--steps", "1", "--out", str(out))
    assert said.exit_code == 2 and said.output.startswith("error: --out is the recording itself"), said.output
    assert wav.read_bytes() == before and given.read_bytes() == before


def test_the_film_itself_is_told_what_it_must_not_replace(tmp_path, monkeypatch):
    """The recording is safe even where it took the film's place after the output was looked at."""
    tone(tmp_path / "mine.wav")
    wav = (tmp_path / "mine.wav").rename(tmp_path / "mine.mp4")
    before = wav.read_bytes()
    monkeypatch.setattr("vqdiff_edu.cli.check_output", lambda *a, **k: None)
    out = run("speak", str(wav), "--steps", "1", "--threshold", "0", "--out", str(wav))
    assert out.exit_code == 2 and "path must not be that of the recording" in out.output
    assert wav.read_bytes() == before


def test_speak_keeps_a_wav_that_is_named_twice(tmp_path):
    tone(tmp_path / "mine.wav")
    before = (tmp_path / "mine.wav").read_bytes()
    out = run("speak", str(tmp_path / "mine.wav"), "--out", str(tmp_path / "mine.wav"))
    assert out.exit_code == 2 and out.output.startswith("error: --out is the recording itself")
    assert (tmp_path / "mine.wav").read_bytes() == before


@pytest.mark.parametrize(
    ("command", "out", "said"),
    [
        ("sample", "nowhere/digits.png", "nothing can be written in the folder"),
        ("draw", "nowhere/scene.png", "nothing can be written in the folder"),
        ("draw", "scene", "must end in .png, .jpg or .jpeg"),
        ("draw", "folder.png", "is a folder"),
        ("speak", "nowhere/film.mp4", "nothing can be written in the folder"),
        ("sample", "digits", "must end in .png, .jpg or .jpeg"),
        ("sample", "digits.mp4", "must end in .png, .jpg or .jpeg"),
        ("speak", "film.png", "must end in .mp4"),
        ("speak", "film", "must end in .mp4"),
        ("sample", "folder.png", "is a folder"),
        ("speak", "folder.mp4", "is a folder"),
    ],
)
def test_an_output_is_looked_at_before_any_work_is_done(tmp_path, monkeypatch, command, out, said):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("vqdiff_edu.registry.load_pretrained", lambda *a, **k: pytest.fail("a model was loaded"))
    tone(tmp_path / "tone.wav")
    for name in ("folder.png", "folder.mp4"):
        (tmp_path / name).mkdir()
    before = sorted(tmp_path.rglob("*"))
    result = run(command, *{"speak": ["tone.wav"], "draw": ["a big bold 7"]}.get(command, []), "--out", out)
    assert result.exit_code == 2 and result.output.startswith("error: --out") and said in result.output, result.output
    assert sorted(tmp_path.rglob("*")) == before


def test_an_existing_picture_is_replaced(tmp_path):
    path = tmp_path / "digits.JPG"
    path.write_bytes(b"old")
    assert run("sample", "--labels", "4", "--steps", "1", "--out", str(path)).exit_code == 0
    assert path.read_bytes()[:3] == b"\xff\xd8\xff"


def test_evaluate_says_what_it_does_and_prints_the_figures_alone():
    out = RUNNER.invoke(app, ["evaluate", "digit-classifier"])
    assert out.exit_code == 0, out.output
    assert json.loads(out.stdout)["test_errors"] >= 0
    assert "measuring digit-classifier" in out.stderr and "minutes" in out.stderr


@pytest.mark.parametrize(("name", "lacking"), [("digit-classifier", "mnist"), ("spoken-digits", "fsdd")])
def test_evaluate_does_not_measure_on_the_stand_in(tmp_path, monkeypatch, name, lacking):
    """The package's models are trained on real data; what they do on drawn digits and on tones is no figure of theirs."""
    monkeypatch.setenv("VQDIFF_DATA", str(tmp_path))
    monkeypatch.setattr("urllib.request.urlopen", lambda *a, **k: (_ for _ in ()).throw(OSError("no network")))
    out = RUNNER.invoke(app, ["evaluate", name])
    assert out.exit_code == 2 and out.stdout == ""
    assert f"error: {name} is measured on {lacking}" in out.stderr and "stand-in" in out.stderr and "Warning" not in out.stderr


def test_evaluate_measures_a_model_of_ones_own(tmp_path):
    train("digit-classifier", tmp_path)
    out = RUNNER.invoke(app, ["evaluate", "digit-classifier", "--folder", str(tmp_path)])
    assert out.exit_code == 0 and json.loads(out.stdout)["test_accuracy"] < 0.9
    assert RUNNER.invoke(app, ["evaluate", "mnist-vqvae", "--folder", str(tmp_path)]).exit_code == 2


def test_train_ships_only_when_told(tmp_path):
    before = {path.name: path.read_bytes() for path in FOLDER.iterdir()}
    out = run("train", "digit-classifier", "--out", str(tmp_path), "--profile", "smoke", "--ship")
    assert out.exit_code == 2 and out.output.startswith("error: ship: ")
    assert run("train", "digit-classifier", "--out", str(tmp_path), "--profile", "smoke").exit_code == 0
    assert before == {path.name: path.read_bytes() for path in FOLDER.iterdir()}


@pytest.mark.parametrize("source", ["auto", "stand-in"])
def test_data_in_a_folder_that_is_not_there(tmp_path, monkeypatch, source):
    monkeypatch.setenv("VQDIFF_DATA", str(tmp_path / "nowhere"))
    out = run("data", "--source", source)
    assert out.exit_code == 2 and "error: " in out.output and "VQDIFF_DATA" in out.output


def test_files_that_do_not_fit_get_a_sentence(tmp_path):
    (tmp_path / "broken.wav").write_bytes(b"RIFF....WAVE")
    soundfile.write(tmp_path / "silent.wav", torch.zeros(4000).numpy(), 8000)
    tone(tmp_path / "long.wav", seconds=9)
    for arguments, said in (
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
        (("sample", "mnist-vqvae"), "must draw digits for labels"),
        (("draw", "a big purple 7"), "no known meaning, 'purple'. The words are: 0, 1, 2"),
        (("draw", "a 7 and a 3"), "is no sentence of the grammar"),
        (("draw", ""), "is no sentence of the grammar"),
        (("draw", "a big bold 7", "--guidance", "nan"), "guidance_scale"),
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
