"""Bad input and bad weather: each error names the thing and what to do."""

import errno
import os
from pathlib import Path

import pytest
import torch
from PIL import Image

from tests.unit.test_data import files_in, mirror  # noqa: F401  (a fixture)
from vqdiff_edu import data
from vqdiff_edu.data import Batches, digits, dtmf, read_picture, to_float, to_uint8


def test_a_missing_data_folder_is_an_error_that_names_the_variable(monkeypatch, tmp_path):
    monkeypatch.setenv("VQDIFF_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match="VQDIFF_DATA.*nowhere.*not a folder"):
        digits("test")


def test_the_data_folder_is_made_absolute(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    monkeypatch.setenv("VQDIFF_DATA", "here")
    assert data.data_folder() == (tmp_path / "here").resolve()
    monkeypatch.setenv("VQDIFF_DATA", "")
    assert "vqdiff_edu" in str(data.data_folder())


@pytest.mark.parametrize("harm", [lambda b: b[:-100], lambda b: b[:500] + bytes([b[500] ^ 1]) + b[501:], lambda b: b""])
@pytest.mark.parametrize("name", ["t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"])
def test_damaged_files_are_named_and_never_replaced_by_the_standin(mirror, tmp_path, name, harm):  # noqa: F811
    digits("test")
    path = tmp_path / "cache" / "MNIST" / "raw" / name
    whole = path.read_bytes() + bytes(600)  # long enough for every harm
    path.write_bytes(harm(whole))
    with pytest.raises(ValueError, match=f"{name} is damaged.*Delete it"):
        digits("test")
    path.unlink()
    assert len(digits("test")) == 10


def test_a_full_disk_names_the_folder_and_the_remedy(mirror, tmp_path, monkeypatch):  # noqa: F811
    def full(self, content):
        self.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    for source in ("auto", "real"):
        with pytest.raises(OSError, match="cannot write .*cache.*No space left.*VQDIFF_DATA"):
            digits("test", source=source)
    assert files_in(tmp_path / "cache") == []


def test_a_read_only_folder_names_the_folder_and_the_remedy(mirror, monkeypatch):  # noqa: F811
    def refuse(self, *arguments, **keywords):
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(OSError, match="cannot write .*cache.*Permission denied.*VQDIFF_DATA"):
        digits("test")


def test_a_read_only_folder_that_holds_the_files_is_enough(mirror, monkeypatch):  # noqa: F811
    digits("test")
    monkeypatch.setattr(Path, "mkdir", lambda *a, **k: pytest.fail("wrote into a folder that needs no writing"))
    monkeypatch.setattr(data, "FileLock", lambda *a, **k: pytest.fail("locked a folder that needs no writing"))
    assert len(digits("test")) == 10


X = {"x": torch.arange(10)}


@pytest.mark.parametrize(
    ("call", "error", "name"),
    [
        (lambda: to_float(torch.zeros(2)), TypeError, r"images must be uint8.*got torch\.float32"),
        (lambda: to_float(torch.zeros(2, dtype=torch.int64)), TypeError, r"images must be uint8.*got torch\.int64"),
        (lambda: to_uint8(torch.zeros(2, dtype=torch.uint8)), TypeError, "images must be floating point"),
        (lambda: to_uint8(torch.tensor([0.0, float("nan")])), ValueError, "images must not hold NaN, got 1"),
        (lambda: digits("valid"), ValueError, "split must be one of 'train', 'test'; got 'valid'"),
        (lambda: digits("test", "fake"), ValueError, "source must be one of .* got 'fake'"),
        (lambda: Batches(X, 0), ValueError, "batch_size must be a whole number in 1 … 10, got 0"),
        (lambda: Batches(X, 11), ValueError, "batch_size must be a whole number in 1 … 10, got 11"),
        (lambda: Batches(X, 2.5), TypeError, "batch_size must be a whole number"),
        (lambda: Batches(X, True), TypeError, "batch_size must be a whole number"),
        (lambda: Batches({"x": torch.zeros(0)}, 1), ValueError, "digits must hold tensors of one length above 0"),
        (lambda: Batches({}, 1), ValueError, "digits must hold tensors of one length above 0"),
        (lambda: Batches({"x": torch.zeros(3), "y": torch.zeros(4)}, 1), ValueError, "digits .*'x': 3, 'y': 4"),
        (lambda: Batches(X, 2, epochs=0), ValueError, "epochs must be a whole number of at least 1"),
        (lambda: Batches(X, 2, epochs=1.5), TypeError, "epochs must be a whole number"),
        (lambda: dtmf(10), ValueError, "digit must be .* in 0 … 9, got 10"),
        (lambda: dtmf(1, rate=2000), ValueError, "rate must be .* above 2954"),
        (lambda: dtmf(1, seconds=0), ValueError, "seconds must be .* above 0"),
    ],
)
def test_arguments_are_refused_by_name(call, error, name):
    with pytest.raises(error, match=f"^{name}"):
        call()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 1}, "seed.*1, 0"),
        ({"batch_size": 5}, "batch_size"),
        ({"size": 11}, "size"),
        ({"drop_last": False}, "drop_last"),
        ({"index": -1}, "index.*of at least 0, got -1"),
    ],
)
def test_a_state_of_other_batches_is_refused(change, message):
    batches = Batches(X, 3)
    with pytest.raises(ValueError, match=message):
        batches.load_state_dict(batches.state_dict() | change)
    with pytest.raises(ValueError, match=r"lacks \['index'\]: it must come from Batches.state_dict"):
        batches.load_state_dict({k: v for k, v in batches.state_dict().items() if k != "index"})


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n\x00\x00"])
def test_a_broken_picture_is_named(tmp_path, content):
    path = tmp_path / "broken.png"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"path: .*broken\.png is no picture of ink"):
        read_picture(path)
    with pytest.raises(FileNotFoundError, match="nowhere.png"):
        read_picture(tmp_path / "nowhere.png")


def test_what_is_no_regular_file_is_called_by_its_kind(tmp_path):
    with pytest.raises(ValueError, match="path: .* is a folder"):
        read_picture(tmp_path)
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(ValueError, match="path: .*pipe.png is no regular file"):
        read_picture(tmp_path / "pipe.png")


@pytest.mark.filterwarnings("error")
def test_a_large_picture_is_read_without_a_word_of_pillow(tmp_path, monkeypatch):
    page = Image.new("L", (60, 60), 255)
    page.paste(0, (20, 20, 40, 40))
    page.save(tmp_path / "large.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2000)  # it warns above this, and refuses above twice as many
    assert read_picture(tmp_path / "large.png").max() == 1


@pytest.mark.parametrize("grey", [0, 130, 255])
def test_an_empty_page_is_refused(tmp_path, grey):
    path = tmp_path / "page.png"
    Image.new("L", (40, 30), grey).save(path)
    with pytest.raises(ValueError, match=r"page\.png .* nothing stands out from the ground"):
        read_picture(path)


def test_a_place_between_two_batches():
    batches = Batches({"x": torch.zeros(10)}, 2)
    with pytest.raises(TypeError, match="index.* must be a whole number.*1.5"):
        batches.load_state_dict(batches.state_dict() | {"index": 1.5})
