"""The data module: what a byte becomes, where digits come from, in which order they are served."""

import gzip
import hashlib
import struct
import threading
import time
import warnings

import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torchvision.datasets import MNIST

from vqdiff_edu import data
from vqdiff_edu.data import Batches, Digits, EndlessBatches, digits, dtmf, handwritten_four, read_picture, running_noise, to_float, to_uint8


def idx(array):
    """A uint8 tensor in the MNIST file format."""
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.numpy().tobytes()


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """A mirror on disk that serves a tiny MNIST, with the checksums to match; no network is used."""
    generator = torch.Generator().manual_seed(0)
    contents = {}
    for prefix, n in (("train", 30), ("t10k", 10)):
        contents[f"{prefix}-images-idx3-ubyte"] = idx(torch.randint(0, 256, (n, 28, 28), dtype=torch.uint8, generator=generator))
        contents[f"{prefix}-labels-idx1-ubyte"] = idx((torch.arange(n) % 10).to(torch.uint8))
    folder = tmp_path / "mirror"
    folder.mkdir()
    for name, content in contents.items():
        (folder / f"{name}.gz").write_bytes(gzip.compress(content))
    monkeypatch.setattr(data, "SOURCES", {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()})
    monkeypatch.setattr(MNIST, "mirrors", [f"{folder.as_uri()}/"])
    cache = tmp_path / "cache"
    cache.mkdir()
    monkeypatch.setenv("VQDIFF_DATA", str(cache))
    monkeypatch.setattr(data, "SOURCES_USED", {})
    data._why_not.cache_clear()
    yield folder
    data._why_not.cache_clear()


def files_in(folder):
    return sorted(p.name for p in folder.rglob("*") if p.is_file() and p.name != ".download.lock")


def test_every_byte_survives_the_round_trip():
    every = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(to_uint8(to_float(every)), every)
    assert to_float(every)[[0, 255]].tolist() == [-1.0, 1.0]


def test_to_uint8_clamps_and_takes_half_precision():
    assert to_uint8(torch.tensor([-3.0, -1.0, 0.996, 1.0, 7.0, float("inf")])).tolist() == [0, 0, 254, 255, 255, 255]
    assert to_uint8(torch.tensor([1.0, -1.0], dtype=torch.bfloat16)).tolist() == [255, 0]


def test_real_digits_are_downloaded_verified_and_found_again(mirror, tmp_path, monkeypatch):
    train = digits("train")
    assert (train.source, len(train), tuple(train.images.shape), train.labels.dtype) == ("mnist", 30, (30, 1, 28, 28), torch.int64)
    assert train.sha256 == data.SOURCES["train-images-idx3-ubyte"]
    assert train.labels[:12].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]
    assert data.SOURCES_USED == {"digits, train, auto": "mnist"}
    assert files_in(tmp_path / "cache") == sorted(data.SOURCES)
    monkeypatch.setattr(data, "_from_mirrors", lambda *a: pytest.fail("the network was asked although the files are there"))
    assert torch.equal(digits("train", source="real").images, train.images)


def test_a_damaged_mirror_is_passed_over(mirror, tmp_path, monkeypatch):
    bad = tmp_path / "bad"
    bad.mkdir()
    for i, name in enumerate(data.SOURCES):  # another file, a truncated one, no gzip at all, and nothing
        content = [gzip.compress(b"something else"), (mirror / f"{name}.gz").read_bytes()[:-20], b"<html>log in first</html>", None][i]
        if content is not None:
            (bad / f"{name}.gz").write_bytes(content)
    monkeypatch.setattr(MNIST, "mirrors", [f"{bad.as_uri()}/", *MNIST.mirrors])
    assert len(digits("test")) == 10 and len(digits("train")) == 30


def test_without_network_the_standin_comes_with_one_notice(mirror, monkeypatch):
    monkeypatch.setattr(MNIST, "mirrors", ["file:///no/such/mirror/"])
    asked = []
    monkeypatch.setattr(data, "_from_mirrors", lambda *a, real=data._from_mirrors: asked.append(a) or real(*a))
    with pytest.warns(UserWarning, match="STAND-IN"):
        assert digits("test").source == "stand-in"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert digits("test").source == "stand-in"
    assert len(asked) == 1, "an offline process waits for the network once"
    assert data.SOURCES_USED == {"digits, test, auto": "stand-in"}
    with pytest.raises(data.DownloadError, match="no/such/mirror"):
        digits("test", source="real")


def test_a_broken_download_leaves_no_half_file(mirror, tmp_path, monkeypatch):
    third = list(data.SOURCES)[2]
    whole = (mirror / f"{third}.gz").read_bytes()
    (mirror / f"{third}.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(data.DownloadError, match=third):
        digits("train", source="real")
    assert files_in(tmp_path / "cache") == sorted(list(data.SOURCES)[:2])
    (mirror / f"{third}.gz").write_bytes(whole)
    (tmp_path / "cache" / "MNIST" / "raw" / ".download-killed").mkdir()  # what a SIGKILL between write and move leaves
    assert len(digits("train", source="real")) == 30
    assert not list((tmp_path / "cache" / "MNIST").rglob(".download-*"))


def test_a_file_appears_whole_or_not_at_all(mirror, tmp_path, monkeypatch):
    moved = []

    def stop(half, target):
        moved.append((hashlib.sha256(half.read_bytes()).hexdigest(), target.name))
        raise KeyboardInterrupt

    monkeypatch.setattr(data.os, "replace", stop)
    with pytest.raises(KeyboardInterrupt):
        data.download_mnist(tmp_path / "cache")
    first = next(iter(data.SOURCES))
    assert moved == [(data.SOURCES[first], first)], "what is moved into place is complete and verified"
    assert files_in(tmp_path / "cache") == [], "until it is moved, nothing is seen"


def test_two_at_once_download_once(mirror, tmp_path, monkeypatch):
    asked = []

    def slow(urls, *others, real=data._from_mirrors):
        asked.append(urls[0].rpartition("/")[2].removesuffix(".gz"))
        time.sleep(0.05)  # long enough for the others to arrive
        return real(urls, *others)

    monkeypatch.setattr(data, "_from_mirrors", slow)
    threads = [threading.Thread(target=data.download_mnist, args=(tmp_path / "cache",)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(asked) == sorted(data.SOURCES)


def test_standin_is_deterministic_balanced_and_differs_between_splits():
    test = digits("test", source="stand-in")
    assert test.labels.bincount().tolist() == [200] * 10
    again = data._standin.__wrapped__("test")
    assert torch.equal(again.images, test.images) and again.sha256 == test.sha256
    train = digits("train", source="stand-in")
    assert train.sha256 != test.sha256 and not torch.equal(train.images[:2000], test.images)
    test.images.zero_()
    assert digits("test", source="stand-in").images.any(), "a caller must not be able to wipe the cached digits"


def test_standin_digits_can_be_told_apart():
    train, test = digits("train", source="stand-in"), digits("test", source="stand-in")
    means = torch.stack([train.images[train.labels == k].float().flatten(1).mean(0) for k in range(10)])
    correct = torch.cdist(test.images.float().flatten(1), means).argmin(1) == test.labels
    assert correct.float().mean() > 0.8
    assert min(correct[test.labels == k].float().mean() for k in range(10)) > 0.7


def test_standin_has_the_look_of_handwriting():
    images = digits("test", source="stand-in").images
    edge = torch.cat([images[..., 0, :], images[..., -1, :], images[..., 0], images[..., -1]], -1)
    assert edge.float().mean() < 1, "digits must not be cut off at the border"
    assert 0.09 < images.float().mean() / 255 < 0.18  # MNIST: 0.13
    assert ((images > 0) & (images < 255)).float().mean() > 0.05, "edges are grey"


def test_ink_of_a_level_stroke():
    picture = data._ink(torch.tensor([[[5.0, 10.5]]]), torch.tensor([[[20.0, 10.5]]]), torch.tensor([1.0]))[0, 0]
    assert picture[9:12, 8:18].eq(torch.tensor([[128], [255], [128]], dtype=torch.uint8)).all()
    assert not picture[:8].any() and not picture[13:].any() and not picture[:, 23:].any()


def test_running_example_and_noise(mirror):
    four = handwritten_four()
    assert torch.equal(four, to_float(digits("test").images[4:5])) and four.shape == (1, 1, 28, 28)
    assert digits("test", source="stand-in").labels[4] == 4
    noise = running_noise()
    assert torch.equal(noise, running_noise())
    assert torch.equal(noise, torch.randn(1, 1, 28, 28, generator=torch.Generator().manual_seed(4)))


def test_nothing_touches_the_global_generator():
    before = torch.get_rng_state()
    digits("test", source="stand-in")
    data._draw(3, 2, torch.Generator().manual_seed(0))
    next(Batches({"x": torch.arange(9)}, 3))
    running_noise()
    assert torch.equal(before, torch.get_rng_state())


def test_batches_serve_digits_as_bytes_with_their_labels():
    test = digits("test", source="stand-in")
    batch = next(Batches(test, 64, seed=3))
    assert batch["image"].dtype == torch.uint8 and batch["label"].dtype == torch.int64
    row = (test.images == batch["image"][7]).flatten(1).all(1).nonzero().item()
    assert test.labels[row] == batch["label"][7]


def test_batches_shuffle_anew_each_epoch_and_by_seed():
    def epochs(seed):
        flat = torch.cat([b["x"] for b in Batches({"x": torch.arange(100)}, 10, seed=seed, epochs=3)])
        return flat.view(3, 100)

    a = epochs(0)
    assert all(torch.equal(row.sort().values, torch.arange(100)) for row in a)
    assert not torch.equal(a[0], a[1]) and not torch.equal(a[1], a[2]) and not torch.equal(a[0], torch.arange(100))
    assert torch.equal(a, epochs(0)) and not torch.equal(a, epochs(1))


def test_batches_last_incomplete_batch():
    x = {"x": torch.arange(10)}
    kept, dropped = Batches(x, 4, epochs=1, drop_last=False), Batches(x, 4, epochs=1)
    assert (len(kept), len(dropped)) == (3, 2)
    assert [len(b["x"]) for b in kept] == [4, 4, 2] and [len(b["x"]) for b in dropped] == [4, 4]
    assert list(kept) == [], "a finished iterator stays finished"


def test_batches_state_is_plain_numbers():
    import json

    state = Batches({"x": torch.arange(10)}, 4).state_dict()
    assert json.loads(json.dumps(state)) == state


def test_batches_stay_on_the_device_they_are_given():
    there = next(Batches(digits("test", "stand-in"), 64, device="meta"))
    assert {name: x.device.type for name, x in there.items()} == {"image": "meta", "label": "meta"}
    mixed = next(Batches({"here": torch.arange(9), "there": torch.arange(9, device="meta")}, 3))
    assert (mixed["here"].device.type, mixed["there"].device.type) == ("cpu", "meta")


def test_the_order_of_examples_is_the_one_that_trainings_have_used():
    """Written down once: another order would make every interrupted training another training."""
    batches = Batches({"x": torch.arange(7)}, 3, seed=2, drop_last=False)
    served = [next(batches)["x"].tolist() for _ in range(6)]
    order = [torch.randperm(7, generator=torch.Generator().manual_seed(2 * 1_000_003 + epoch)).tolist() for epoch in (0, 1)]
    assert served == [o[i : i + 3] for o in order for i in (0, 3, 6)]


class Countdown(EndlessBatches):
    """The smallest child there can be."""

    def __init__(self, start):
        self.start = start

    def at(self, index):
        return {"x": torch.tensor([self.start - index])}

    def origin(self):
        return {"start": self.start}


def test_a_child_of_endless_batches_says_only_what_is_its_own():
    batches = Countdown(9)
    assert [next(batches)["x"].item() for _ in range(3)] == [9, 8, 7]
    assert batches.state_dict() == {"index": 3, "start": 9}
    resumed = Countdown(9)
    resumed.load_state_dict(batches.state_dict())
    assert next(resumed)["x"].item() == 6
    with pytest.raises(ValueError, match=r"other batches.*'start': \(9, 8\)"):
        Countdown(8).load_state_dict(batches.state_dict())


def test_dtmf_has_its_two_tones():
    for digit, tones in {0: (941, 1336), 1: (697, 1209), 5: (770, 1336), 6: (770, 1477), 9: (852, 1477)}.items():
        sound = dtmf(digit, seconds=1.0)
        assert sound.shape == (8000,) and sound.abs().max() <= 1
        assert sorted(torch.fft.rfft(sound).abs().topk(2).indices.tolist()) == list(tones)
    assert torch.isclose(dtmf(3, seconds=1.0).square().mean(), torch.tensor(0.25), atol=1e-4)


def test_digits_is_frozen():
    import dataclasses

    with pytest.raises(dataclasses.FrozenInstanceError):
        digits("test", source="stand-in").source = "mnist"
    assert dataclasses.is_dataclass(Digits)


def saved_picture(path, mode="L", invert=False, scale=1, margin=(0, 0)):
    """The running four as a picture file; returns its ink [28, 28] in 0 … 1."""
    four = (handwritten_four()[0, 0] + 1) / 2
    pixels = (255 * (1 - four if invert else four)).round().to(torch.uint8).repeat_interleave(scale, 0).repeat_interleave(scale, 1)
    pixels = F.pad(pixels, (margin[0], margin[0], margin[1], margin[1]), value=255 if invert else 0)
    if mode == "RGBA":  # black ink, and nothing where there is none
        alpha = pixels if not invert else 255 - pixels
        Image.merge("RGBA", [Image.new("L", alpha.shape[::-1], 0)] * 3 + [Image.fromarray(alpha.numpy())]).save(path)
    else:
        Image.fromarray(pixels.numpy()).convert(mode).save(path)
    return four


@pytest.mark.parametrize("invert", [False, True])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
@pytest.mark.parametrize("scale", [1, 4])
def test_a_picture_is_read_whatever_its_colours_and_size(tmp_path, mode, invert, scale):
    four = saved_picture(tmp_path / "four.png", mode, invert, scale)
    read = read_picture(tmp_path / "four.png")
    assert read.shape == (1, 1, 28, 28) and read.dtype == torch.float32
    assert torch.allclose((read[0, 0] + 1) / 2, four / four.max(), atol=0.01)


def test_a_small_picture_gets_a_margin_and_a_wide_one_is_shrunk(tmp_path):
    four = saved_picture(tmp_path / "four.png", invert=True)
    ink = (four.sum() / four.max()).item()
    scene = (read_picture(tmp_path / "four.png", 56)[0, 0] + 1) / 2
    assert torch.allclose(scene[14:42, 14:42], four / four.max(), atol=0.01)
    assert scene.sum().item() == pytest.approx(ink, rel=0.01)
    saved_picture(tmp_path / "wide.png", invert=True, margin=(14, 0))
    small = (read_picture(tmp_path / "wide.png")[0, 0] + 1) / 2
    assert not small[:7].any() and not small[21:].any()
    quarters = F.avg_pool2d(F.pad(four, (14, 14, 14, 14))[None], 2)[0]
    assert torch.allclose(small, quarters / quarters.max(), atol=0.01), "every pixel counts, and the darkest is full ink"


def test_a_photograph_is_read_the_way_up_it_was_taken(tmp_path):
    saved_picture(tmp_path / "four.png", invert=True, scale=4)
    with Image.open(tmp_path / "four.png") as picture:
        exif = picture.getexif()
        exif[0x0112] = 6  # turn by a quarter, clockwise, to see it upright
        picture.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    assert torch.allclose(read_picture(tmp_path / "turned.png"), read_picture(tmp_path / "four.png"), atol=1e-5)


def test_sixteen_bits_a_point_are_read_like_eight(tmp_path):
    grey = (torch.rand(28, 28, generator=torch.Generator().manual_seed(0)) * 255).byte()
    grey[0] = grey[-1] = grey[:, 0] = grey[:, -1] = 0
    Image.fromarray(grey.numpy()).save(tmp_path / "8.png")
    for name, levels in {"16.png": grey.numpy().astype("uint16") * 257, "i.tiff": grey.numpy().astype("int32") * 257}.items():
        Image.fromarray(levels).save(tmp_path / name)
        torch.testing.assert_close(read_picture(tmp_path / name), read_picture(tmp_path / "8.png"))
    Image.fromarray(grey.numpy().astype("float32") / 255).save(tmp_path / "f.tiff")
    torch.testing.assert_close(read_picture(tmp_path / "f.tiff"), read_picture(tmp_path / "8.png"), atol=0.01, rtol=0)


def test_a_picture_of_the_right_size_on_black_keeps_its_faint_ink(tmp_path):
    grey = torch.zeros(28, 28, dtype=torch.uint8)
    grey[8:20, 8:20] = 102
    Image.fromarray(grey.numpy()).save(tmp_path / "faint.png")
    assert read_picture(tmp_path / "faint.png").max() == pytest.approx(2 * 102 / 255 - 1)
    Image.fromarray(255 - grey.numpy()).save(tmp_path / "photo.png")  # on paper: how dark ink is, is not known
    assert read_picture(tmp_path / "photo.png").max() == 1


@pytest.mark.parametrize("pen", [4, 40, 200])
def test_the_darkest_stroke_becomes_full_ink_however_thin_the_pen(tmp_path, pen):
    """A level stroke on a large page covers a part of each small pixel's height; shrunk, it is as dark as any."""
    page = Image.new("L", (1000, 1000), 240)
    page.paste(30, (200, 500, 800, 500 + pen))
    page.save(tmp_path / "stroke.png")
    read = read_picture(tmp_path / "stroke.png", 56)[0, 0]
    assert read.max() == 1
    assert read[:, 12:44].amax(0).min() > 0.99, "all along the stroke"
    assert read.min() == -1 and read.mean() < 0
