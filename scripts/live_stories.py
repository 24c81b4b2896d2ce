"""What the live figures show before a model is fetched, computed by the package and stored in live/stories/.

    python scripts/live_stories.py [NAME ...]     all stories, or some; needs the real data

A story is a JSON file and, where there are pictures, a PNG of many small ones.  It is what the figure would compute itself from its first settings,
so the tests hold the one against the other.
"""

import argparse
import base64
import json
import math
import sys
from contextlib import contextmanager
from unittest import mock

import torch
from torch import Tensor

from bookdata import ROOT
from vqdiff_edu import load_pretrained
from vqdiff_edu.crossmodal.audio import classify, speech
from vqdiff_edu.crossmodal.caption import as_pieces, attention_maps, codes_or_pixels, picture_captioner, read_scene
from vqdiff_edu.crossmodal.scenes import MEANING, SENTENCES, Tokenizer, draw_scenes
from vqdiff_edu.crossmodal.video import audio_condition, decode_video, keep_ink
from vqdiff_edu.data import digits, handwritten_four, running_noise, to_float, to_uint8
from vqdiff_edu.diffusion.samplers import ddim, ddpm, dpmpp_2m, heun, sample_ddim, sample_with
from vqdiff_edu.metrics import load_classifier
from vqdiff_edu.quantization.code_prior import hidden_counts

STORIES = ROOT / "live" / "stories"
METHODS = {"DDIM": ddim, "DDPM": ddpm, "DPM-Solver++": dpmpp_2m, "Heun": heun}


# ---------------------------------------------------------------- the page's random numbers


def uniforms(seed: int):
    """The numbers of live/noise.js in [0, 1), one after the other."""
    state, mask = seed & 0xFFFFFFFF, 0xFFFFFFFF
    while True:
        state = (state + 0x6D2B79F5) & mask
        z = ((state ^ (state >> 15)) * (state | 1)) & mask
        z ^= (z + ((z ^ (z >> 7)) * (z | 61))) & mask
        yield ((z ^ (z >> 14)) & mask) / 2**32


def normals(size: int, seed: int) -> Tensor:
    """`size` standard normal numbers as live/noise.js draws them."""
    draw, values = uniforms(seed), []
    while len(values) < size:
        radius, angle = math.sqrt(-2 * math.log(1 - next(draw))), 2 * math.pi * next(draw)
        values += [radius * math.cos(angle), radius * math.sin(angle)]
    return torch.tensor(values[:size])


# ---------------------------------------------------------------- writing


def packed(values: Tensor) -> str:
    """Little-endian float32 as base64."""
    return base64.b64encode(values.detach().float().contiguous().numpy().astype("<f4").tobytes()).decode()


def rounded(values: Tensor, places: int = 4) -> list:
    return torch.as_tensor(values).double().mul(10**places).round().div(10**places).tolist()


def atlas(pictures: Tensor, columns: int = 20):
    """Pictures [n, 1, side, side] in [-1, 1] as one grey image, row after row."""
    from PIL import Image

    n, _, side, _ = pictures.shape
    rows = -(-n // columns)
    whole = torch.full((rows * columns, side, side), -1.0)
    whole[:n] = pictures[:, 0].clamp(-1, 1)
    sheet = whole.view(rows, columns, side, side).transpose(1, 2).reshape(rows * side, columns * side)
    return Image.fromarray(to_uint8(sheet).numpy()), {"side": side, "number": n}


def write(name: str, told: dict, pictures: Tensor | None = None, columns: int = 20) -> None:
    STORIES.mkdir(parents=True, exist_ok=True)
    if pictures is not None:
        image, told["atlas"] = atlas(pictures, columns)
        image.save(STORIES / f"{name}.png", optimize=True)
    (STORIES / f"{name}.json").write_text(json.dumps(told, separators=(",", ":"), ensure_ascii=False) + "\n", encoding="utf-8")
    size = sum(path.stat().st_size for path in STORIES.glob(f"{name}.*"))
    print(f"{name}: {size / 1000:.0f} kB")


# ---------------------------------------------------------------- the stories


def walk(labels: list[int], x: Tensor, *, method="DDIM", steps=20, scale=None, interval="card", **options) -> tuple[list, list, Tensor]:
    """A walk of the shipped generator from noise x [n, 1, 28, 28]: where it was, what it predicted before each step, and where it ended."""
    ddpm_ = load_pretrained("mnist-ddpm")
    card, path, beliefs = ddpm_.card, [x], []
    interval = card["guidance_interval"] if interval == "card" else interval
    scale = card["guidance_scale"] if scale is None else scale
    guidance = {"cond": {"label": torch.tensor(labels)}, "guidance_scale": scale, "guidance_interval": interval}
    believe = ddpm_.diffusion.denoiser(ddpm_.model, **guidance)
    times = [round(1000 - k * 1000 / steps) - 1 for k in range(steps)]
    final = sample_with(
        METHODS[method],
        ddpm_.diffusion,
        ddpm_.model,
        tuple(x.shape),
        x_init=x,
        num_inference_steps=steps,
        callback=lambda s, x: path.append(x),
        **guidance,
        **options,
    )
    with torch.no_grad():
        beliefs = [believe(path[k], times[k]).x_start for k in range(steps)]
    return path, beliefs, final


@torch.no_grad()
def opinions(pictures: Tensor) -> Tensor:
    return load_classifier()(pictures.clamp(-1, 1)).softmax(1)


def noise_to_digit() -> None:
    path, beliefs, final = walk([4], running_noise())
    told = {"label": 4, "noise": packed(running_noise()), "final": packed(final), "opinions": rounded(opinions(torch.cat(beliefs)))}
    pictures = torch.cat([*path, *beliefs, final])  # as many of the one as of the other
    write("noise-to-digit", told, pictures, columns=21)


@torch.no_grad()
def draw_a_digit() -> None:
    vqvae, test, four = load_pretrained("mnist-vqvae"), digits("test"), handwritten_four()
    k = vqvae.quantizer.num_embeddings
    counts, sums = torch.zeros(k), torch.zeros(k, 16)
    for part in test.images.split(500):
        x = to_float(part)
        codes = vqvae.encode(x).flatten()
        patches = x.unfold(2, 4, 4).unfold(3, 4, 4).reshape(-1, 16)
        counts.index_add_(0, codes, torch.ones(len(codes)))
        sums.index_add_(0, codes, patches)
    patches = (sums / counts.clamp(min=1)[:, None]).view(k, 1, 4, 4)
    z = vqvae.encode_latents(four).flatten(2)[0].T  # [49, 64]
    codes = vqvae.encode(four)
    told = {
        "image": packed(four),
        "codes": codes.flatten().tolist(),
        "nearest": torch.cdist(z, vqvae.quantizer.codebook).argsort(1)[:, :15].tolist(),
        "again": packed(vqvae.decode(codes)),
        "counts": counts.long().tolist(),
    }
    write("draw-a-digit", told, patches, columns=32)


def four() -> None:
    """The running 4 and its noise, for figures that need nothing else."""
    write("four", {"image": packed(handwritten_four()), "noise": packed(running_noise())})


@torch.no_grad()
def describe_my_digits() -> None:
    """The last of the tour's scenes, its caption, how sure each word was, and where the first block looked for it."""
    captioner, words = load_pretrained("scene-captioner"), Tokenizer()
    image = to_float(draw_scenes(4, digits("test"), torch.Generator().manual_seed(11)).images)[3:]
    (sentence,) = captioner(image)
    tokens = words.encode([sentence])
    shares = captioner.model(codes_or_pixels(captioner.model, image, captioner.vqvae), tokens[:, :-1]).softmax(1)
    said = shares[0].gather(0, tokens[:, 1:])[0]  # of the true next words, the end mark last
    pictures = picture_captioner()
    reading = read_scene((image[0, 0] + 1) / 2)
    pieces = reading.digits.float() / 255
    told = {
        "confidence": round(pictures.tell(reading).confidence, 4),
        "pieces": [packed(piece) for piece in pieces],
        "verdicts": rounded(pictures.judge(as_pieces(pieces)).softmax(1)),
        "meaning": MEANING,
        "sentences": SENTENCES,
        "words": sentence.split(),
        "shares": rounded(said[: len(sentence.split())]),
        "looked": rounded(attention_maps(captioner, image, [sentence])[0, 0, : len(sentence.split())].flatten(1)),
        "vocabulary": list(words.words),
        "blocks": len(captioner.model.decoder.blocks),
        "show": "six",
    }
    write("describe-my-digits", told, image, columns=1)


def film_noise(seed: int) -> Tensor:
    """Noise of a film as live/figures/speak-a-digit.js draws it, [1, 16, 12, 7, 7]: half of it common to all frames."""
    own, common = normals(17 * 588, seed).split([16 * 588, 588])
    return 0.5**0.5 * (own.view(1, 16, 12, 7, 7) + common.view(1, 1, 12, 7, 7))


@torch.no_grad()
def film_of(samples: Tensor, seed: int, steps: int) -> tuple[Tensor, Tensor, Tensor]:
    """What is heard in a recording [sample], the latents of its film and the film, from the page's noise."""
    writer, lengths = load_pretrained("writing-video"), torch.tensor([len(samples)])
    cond = audio_condition(writer.classifier, samples[None], lengths)
    uncond = writer.model.null_cond(1)
    x = film_noise(seed)
    how = {"num_inference_steps": steps, "cond": cond, "uncond": uncond, "guidance_scale": writer.card["guidance_scale"]}
    z = sample_ddim(writer.model.diffusion, writer.model, tuple(x.shape), x_init=x, **how)
    return classify(writer.classifier, samples[None])[0], z, keep_ink(decode_video(writer.codec, z))


def speak_a_digit(seed: int = 4, steps: int = 20) -> None:
    """The tour's second voice: jackson says 4."""
    one = speech("test").subset(torch.tensor([128]))
    pcm = (one.samples[0, : one.lengths[0]] * 2**15).round().clamp(-(2**15), 2**15 - 1).to(torch.int16)
    logits, _, film = film_of(pcm.float() / 2**15, seed, steps)
    told = {"samples": base64.b64encode(pcm.numpy().astype("<i2").tobytes()).decode(), "logits": rounded(logits)}
    write("speak-a-digit", told | {"heard": int(logits.argmax()), "seed": seed, "steps": steps}, film[0], columns=16)


def ten_labels(places=(0, 2, 4, 6, 8, 10, 12, 14, 16, 18)) -> None:
    """One noise, ten labels: predictions at some places of the walk, and the digits."""
    _, beliefs, final = walk(list(range(10)), running_noise().expand(10, 1, 28, 28))
    told = {"places": [*places, 20], "read": opinions(final).argmax(1).tolist()}
    write("ten-labels", told, torch.cat([*(beliefs[k] for k in places), final]), columns=10)


def raced(label: int, x: Tensor, steps: int, method: str) -> Tensor:
    """A digit by one sampler without guidance, DDPM's own noise drawn as the page draws it."""
    drawn = iter(normals(784 * (steps + 1), 1000).split(784))
    with mock.patch("vqdiff_edu.diffusion.samplers.noise_like", lambda like, generator: next(drawn).view_as(like)):
        return walk([label], x, method=method, steps=steps, scale=1.0)[2]


def four_samplers(label: int = 4) -> None:
    digits_ = torch.cat([raced(label, running_noise(), steps, method) for method in METHODS for steps in (3, 5, 10, 20)])
    write("four-samplers", {"label": label, "read": opinions(digits_).argmax(1).tolist()}, digits_, columns=4)


# ---------------------------------------------------------------- four generators on one clock


@contextmanager
def drawing_as_the_page(seed: int):
    """The package's generators of codes draw as live/codes.js does, from the numbers of a seed."""
    draw = uniforms(seed)

    def sample_token(logits, temperature=1.0, generator=None):
        sums = logits.double().softmax(1).cumsum(1)
        u = torch.tensor([next(draw) for _ in logits], dtype=torch.float64)
        return (sums <= u[:, None]).sum(1).clamp(max=logits.shape[1] - 1)

    def rand(shape, **_):
        return torch.tensor([next(draw) for _ in range(math.prod(shape))], dtype=torch.float64).view(shape)

    with mock.patch("vqdiff_edu.quantization.code_prior.sample_token", sample_token), mock.patch("torch.rand", rand):
        yield


@torch.no_grad()
def latents_on_the_clock(label: int, seed: int) -> tuple[list, Tensor]:
    """Latents [1, 12, 7, 7] before and after each of the twenty steps, and what each step took the clean ones to be [20, 12, 7, 7]."""
    latents = load_pretrained("mnist-latent")
    process, guidance = (
        latents.model.diffusion,
        {"cond": {"label": torch.tensor([label])}, "guidance_scale": latents.card["guidance_scale"]},
    )
    path = [normals(588, seed + 1000).view(1, 12, 7, 7)]
    sample_ddim(
        process, latents.model, (1, 12, 7, 7), x_init=path[0], num_inference_steps=20, callback=lambda s, z: path.append(z), **guidance
    )
    believe = process.denoiser(latents.model, **guidance)
    return path, torch.cat([believe(z, round(1000 - 50 * k) - 1).x_start for k, z in enumerate(path[:-1])])


@torch.no_grad()
def codes_on_the_clock(name: str, label: int, seed: int) -> Tensor:
    """Codes [step, 49] after each step of a generator of codes, 512 where one is hidden."""
    pipeline = load_pretrained(name)
    if name == "mnist-prior":
        with drawing_as_the_page(seed + 2000):
            codes = pipeline.model.sample([label], **pipeline.card["sampling"])[0]
        return torch.stack([torch.where(torch.arange(49) <= i, codes, 512) for i in range(49)])
    model, how, rows = pipeline.model, pipeline.card["sampling"], []
    codes, steps = torch.full((1, 49), 512), how["num_inference_steps"]
    with drawing_as_the_page(seed + 3000):
        for step, left in enumerate(hidden_counts(49, steps), start=1):
            codes = model.reveal(codes, torch.tensor([label]), left, noise=how["choice_temperature"] * (1 - step / steps))
            rows.append(codes[0])
    return torch.stack(rows)


@torch.no_grad()
def painted(codes: Tensor, blank: int) -> Tensor:
    """Pictures of codes [n, 49], the code `blank` in the place of hidden ones."""
    return load_pretrained("mnist-vqvae").decode(codes.masked_fill(codes == 512, blank).view(-1, 7, 7))


@torch.no_grad()
def clock(label: int, seed: int, x: Tensor, blank: int) -> tuple[dict, dict]:
    """What the four generators told and painted: of each its words, and its pictures after each step."""
    path, beliefs, final = walk([label], x)
    z, z_beliefs = latents_on_the_clock(label, seed)
    rows = {"pixels": {"steps": 20}, "latents": {"steps": 20, "states": [rounded(step[0, 0].flatten(), 2) for step in z]}}
    pictures = {"pixels": torch.cat(beliefs), "latents": load_pretrained("mnist-latent").codec.decode(z_beliefs)}
    for key, name in (("prior", "mnist-prior"), ("maskgit", "mnist-maskgit")):
        codes = codes_on_the_clock(name, label, seed)
        rows[key] = {"steps": len(codes), "codes": codes.tolist()}
        pictures[key] = painted(codes, blank)
    for key, row in rows.items():
        row["read"] = rounded(opinions(pictures[key][-1:]))[0]
    return rows, {"states": torch.cat(path)} | pictures


def one_clock(label: int = 4, seed: int = 1) -> None:
    """All four asked for the running 4; of the seeds from 0 on, the first with which all four of them are read as one."""
    counts = json.loads((STORIES / "draw-a-digit.json").read_text(encoding="utf-8"))["counts"]
    blank = counts.index(max(counts))
    rows, pictures = clock(label, seed, running_noise(), blank)
    told = {"label": label, "seed": seed, "blank": blank, **rows}
    write("one-clock", told, torch.cat(list(pictures.values())))
    print({key: row["read"] for key, row in rows.items()})


TOLD = {
    "four": four,
    "ten-labels": ten_labels,
    "four-samplers": four_samplers,
    "describe-my-digits": describe_my_digits,
    "speak-a-digit": speak_a_digit,
    "noise-to-digit": noise_to_digit,
    "draw-a-digit": draw_a_digit,
    "one-clock": one_clock,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help=", ".join(TOLD))
    names = parser.parse_args().names or list(TOLD)
    if digits("test").source != "mnist":
        sys.exit("The stories are told with real digits, and those are not on this machine.")
    for name in names:
        TOLD[name]()


if __name__ == "__main__":
    main()
