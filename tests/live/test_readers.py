"""Sound and pictures are read once in Python and once in JavaScript: the same files, the same numbers."""

import base64
import io

import pytest
import torch

from vqdiff_edu.crossmodal import audio, video
from vqdiff_edu.crossmodal.writing import energy_curve
from vqdiff_edu.data import read_picture

CLOSE = {"atol": 1e-3, "rtol": 0}
WAVES = ["PCM_16-8000-1", "PCM_U8-8000-1", "PCM_24-11025-2", "PCM_32-44100-2", "FLOAT-48000-1"]


def in_page(visit, module: str, call: str, content: bytes):
    """What `call` of a module makes of a file's bytes, which it knows as `bytes`."""
    script = f"""async (text) => {{
        const m = await import("./live/{module}.js");
        const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer;
        return Array.from(await ({call}));
    }}"""
    return torch.tensor(visit.page.evaluate(script, base64.b64encode(content).decode()))


def word(rate: int, channels: int) -> torch.Tensor:
    """Something between a word and a siren, with an offset."""
    t = torch.arange(int(0.7 * rate)) / rate
    sound = 0.05 + 0.6 * torch.sin(2 * torch.pi * (300 * t + 400 * t**2)) * torch.sin(torch.pi * t / 0.7) ** 2
    return torch.stack([sound, 0.5 * sound.flip(0)][:channels], 1)


@pytest.fixture(params=WAVES)
def wave(request, tmp_path):
    import soundfile

    subtype, rate, channels = request.param.split("-")
    path = tmp_path / "word.wav"
    soundfile.write(path, word(int(rate), int(channels)).numpy(), int(rate), subtype=subtype)
    return path


@pytest.mark.filterwarnings("ignore:.*resampled")
def test_a_recording_is_the_same_on_the_page(visit, wave):
    known = audio.read_wav(wave)
    found = in_page(visit, "audio", "m.readSound(new Blob([bytes]))", wave.read_bytes())
    torch.testing.assert_close(found, known, atol=1e-5, rtol=0)


@pytest.mark.parametrize("seconds", [0.3, 0.71, 1.6])
def test_what_is_made_of_a_recording_is_the_same_on_the_page(visit, seconds):
    samples = word(8000, 1)[:, 0].repeat(3)[: int(8000 * seconds)]
    content, row, length = samples.numpy().astype("<f4").tobytes(), samples[None], torch.tensor([len(samples)])
    here = {
        name: in_page(visit, "audio", f"m.{name}(new Float32Array(bytes))", content)
        for name in ("spectrogram", "frameFeatures", "energyCurve")
    }
    torch.testing.assert_close(here["spectrogram"].view(40, 100), audio.spectrogram(row, length)[0], **CLOSE)
    torch.testing.assert_close(here["frameFeatures"].view(16, 12), video.frame_features(row, length)[0], **CLOSE)
    torch.testing.assert_close(here["energyCurve"], energy_curve(row, length)[0], **CLOSE)


PICTURES = {
    "white paper": (255, 20, (90, 140), "L"),
    "black": (0, 255, (56, 56), "L"),
    "grey": (40, 200, (200, 61), "RGB"),
    "small": (255, 0, (30, 33), "L"),
}


@pytest.mark.parametrize("kind", PICTURES)
def test_a_picture_is_the_same_on_the_page(visit, kind, tmp_path):
    from PIL import Image, ImageDraw

    ground, ink, size, mode = PICTURES[kind]
    picture = Image.new("L", size, ground)
    draw = ImageDraw.Draw(picture)
    draw.line([(size[0] * 0.3, size[1] * 0.2), (size[0] * 0.6, size[1] * 0.7), (size[0] * 0.7, size[1] * 0.3)], fill=ink, width=5)
    draw.line([(4, size[1] - 6), (size[0] - 9, size[1] - 8)], fill=(ground + ink) // 2, width=3)
    content = io.BytesIO()
    picture.convert(mode).save(content, "PNG")
    path = tmp_path / "picture.png"
    path.write_bytes(content.getvalue())
    found = in_page(visit, "pictures", "m.readPictureFile(new Blob([bytes], { type: 'image/png' }), 56)", content.getvalue())
    torch.testing.assert_close(found.view(1, 1, 56, 56), read_picture(path, 56), atol=1e-4, rtol=0)
