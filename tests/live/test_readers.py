"""Sound and pictures are read once in Python and once in JavaScript: the same files, the same numbers."""

import base64
import io

import pytest
import torch

from vqdiff_edu.crossmodal import audio, caption, scenes, video
from vqdiff_edu.crossmodal.writing import energy_curve
from vqdiff_edu.data import digits, read_picture

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


READ = "m.levelsOfFile(new Blob([bytes])).then(async (l) => { const r = await import('./live/reader.js'), p = await import('./live/planes.js');"
READ += "const s = r.readScene(p.plane(l.height, l.width, l.grey)); return [...s.image, ...s.digits.flatMap((d) => [...d]), ...r.asPieces(s.digits)]; })"


@pytest.mark.parametrize("kind", ["phone photo", "on a desk", "squared paper", "turned by 15°", "thin pen", "a canvas"])
def test_a_scene_is_read_from_a_picture_as_python_reads_it(visit, kind):
    """Paper, light, lines and desk, strokes and pieces, the canvas and what the judge is shown."""
    from PIL import Image

    generator, data = torch.Generator().manual_seed(7), digits("test")
    if kind == "a canvas":
        grey = scenes.draw_scenes(1, data, generator).images[0, 0].float() / 255
    else:
        grey = caption.draw_picture(data, kind, generator)[0]
    levels, file = (255 * grey).round().to(torch.uint8), io.BytesIO()
    Image.fromarray(levels.numpy()).save(file, "PNG")
    reading = caption.read_scene(levels.float() / 255)
    pieces = reading.digits.float() / 255
    found = in_page(visit, "pictures", READ, file.getvalue())
    image, ink, shown = found.split([56 * 56, pieces.numel(), pieces.numel()])
    torch.testing.assert_close(image, reading.image.flatten(), atol=2.01 * 2 / 255, rtol=0)
    torch.testing.assert_close(ink, pieces.flatten(), atol=2.01 / 255, rtol=0)
    torch.testing.assert_close(shown, caption.as_pieces(pieces).flatten(), atol=0.03, rtol=0)


def test_the_judge_s_rules_of_the_page_are_python_s(visit):
    """Sentences of the grammar and broken ones, verdicts that agree and others: the same things, confidence and reason."""
    generator, words = torch.Generator().manual_seed(3), scenes.Tokenizer()
    captions = scenes.draw_scenes(40, digits("test"), generator, "all").captions
    captions += ["a bold small 3", "a tiny tiny bold 3", "above a soft big 4", "", "a large bold 1 between a huge soft 2 and a tiny weak 3"]
    cases, known = [], []
    for n, said in enumerate(captions):
        shares = torch.rand(len(said.split()), len(words.words), generator=generator).pow(8)
        for row, word in zip(shares, said.split()):
            row[words.ids[word]] += 20 * (n % 3)
        shares = shares / shares.sum(1, keepdim=True)
        pieces = (2 if n % 9 == 0 else said.split().count("a")) or 1
        verdicts = 0.05 * torch.rand(pieces, 11, generator=generator)
        if not caption.unreadable(said):
            for row, thing in zip(verdicts, scenes.parse(said).things):
                row[10 if n % 7 == 0 else thing.digit] += 1
        verdicts = verdicts / verdicts.sum(1, keepdim=True)
        cases.append([said.split(), shares.tolist(), verdicts.tolist()])
        if caption.unreadable(said):
            known.append([0.0, f"this cannot be told as one to three digits: the captioner stammers “{said}”"])
            continue
        scene = scenes.parse(said)
        confidence = caption.agreement(scene, chances_of(said, shares, words), verdicts)
        known.append([confidence, caption.reason_to_refuse(scene, verdicts, confidence, caption.LEAST_CONFIDENCE)])
    call = "(async (cases) => { const story = await (await fetch('./live/stories/describe-my-digits.json')).json();"
    call += "return cases.map((c) => { const { confidence, refusal } = m.judged(...c, story); return [confidence, refusal]; }); })"
    script = f"async (cases) => {{ const m = await import('./live/captions.js'); return await {call}(cases); }}"
    found = visit.page.evaluate(script, cases)
    assert [row[1] for row in found] == [row[1] for row in known]
    assert [row[0] for row in found] == pytest.approx([row[0] for row in known], abs=1e-6)
    assert {"told": None in [row[1] for row in known], "refused": any(row[1] for row in known)} == {"told": True, "refused": True}
    assert visit.page.evaluate("import('./live/captions.js').then((m) => m.LEAST)") == caption.LEAST_CONFIDENCE


def chances_of(said: str, shares: torch.Tensor, words: scenes.Tokenizer) -> list[float]:
    """`caption.digit_chances`, from shares in the place of a captioner."""

    class Told(caption.Captioner):
        def __init__(self):
            torch.nn.Module.__init__(self)
            self.source = "patches"
            self.own = torch.nn.Parameter(torch.zeros(1))

        def forward(self, x, tokens):
            logits = torch.zeros(1, words.num_tokens, tokens.shape[1])
            logits[0, :, : len(shares)] = shares.log().T
            return logits

    captioner = caption.SceneCaptioner.__new__(caption.SceneCaptioner)
    torch.nn.Module.__init__(captioner)
    captioner.model, captioner.vqvae = Told(), None
    return caption.digit_chances(captioner, torch.zeros(1, 1, 56, 56), [said])[0]
