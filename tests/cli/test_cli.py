"""The commands, as a terminal calls them."""

import pytest
from typer.testing import CliRunner

from vqdiff_edu.cli import app, parse_labels

RUNNER = CliRunner()


def run(*arguments):
    return RUNNER.invoke(app, list(arguments))


def test_list_names_every_shipped_model():
    out = run("list")
    assert out.exit_code == 0
    for name in ("digit-classifier", "mnist-vqvae", "mnist-ddpm"):
        assert name in out.output
    assert "not measured" not in out.output


def test_data_says_what_it_found():
    out = run("data", "--source", "stand-in")
    assert out.exit_code == 0 and out.output.startswith("stand-in:")


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
