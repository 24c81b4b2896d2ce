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

import torch
from torch import Tensor

from bookdata import ROOT
from vqdiff_edu import load_pretrained
from vqdiff_edu.data import digits, handwritten_four, running_noise, to_float, to_uint8
from vqdiff_edu.diffusion.samplers import ddim, ddpm, dpmpp_2m, heun, sample_with
from vqdiff_edu.metrics import load_classifier

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


TOLD = {"four": four, "noise-to-digit": noise_to_digit, "draw-a-digit": draw_a_digit}


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
