"""Draw the README's picture from the shipped models: python scripts/picture.py [FILE]"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import torch

from vqdiff_edu import load_pretrained
from vqdiff_edu.crossmodal.audio import speech
from vqdiff_edu.data import digits, running_noise, to_float
from vqdiff_edu.diffusion.samplers import sample_ddim
from vqdiff_edu.viz import use_style


@torch.no_grad()
def through_codes():
    """Eight test digits, their integers as shades, and what is made of the integers."""
    vqvae, test = load_pretrained("mnist-vqvae"), digits("test")
    x = to_float(test.images[[4, 1, 3, 61, 18, 15, 21, 9]])
    codes = vqvae.encode(x)
    return x, codes, vqvae.decode(codes)


@torch.no_grad()
def out_of_noise(shown=(0, 6, 10, 12, 14, 16, 18, 20)):
    """One noise on its way to a 4, at some of twenty steps."""
    ddpm, path = load_pretrained("mnist-ddpm"), [running_noise()]
    sample_ddim(
        ddpm.diffusion,
        ddpm.model,
        path[0].shape,
        num_inference_steps=20,
        cond={"label": torch.tensor([4])},
        guidance_scale=ddpm.card["guidance_scale"],
        x_init=path[0],
        callback=lambda s, x: path.append(x),
    )
    return torch.cat([path[k] for k in shown])


def from_a_voice(recording: int = 128):
    """Every second frame of the film of a test recording."""
    one = speech("test").subset(torch.tensor([recording]))
    film = load_pretrained("writing-video")(one.samples, one.lengths, generator=torch.Generator().manual_seed(1))
    return film[0, 1::2]


def main(target: Path) -> None:
    """Five rows of eight: digits, integers, digits again, noise to a 4, a film of a voice."""
    use_style()
    x, codes, again = through_codes()
    fig, axes = plt.subplots(5, 8, figsize=(8, 5.3), layout="constrained")
    for row, images in zip(axes, (x, codes[:, None], again, out_of_noise(), from_a_voice())):
        for ax, image in zip(row, images):
            shades = {"cmap": "viridis", "vmin": 0, "vmax": 511} if image.shape[-1] == 7 else {"vmin": -1, "vmax": 1}
            ax.imshow(image[0].clamp(-1, 511), **shades)
            ax.set(xticks=[], yticks=[])
    for row, name in zip(axes, ("784 bytes", "49 integers", "and back", "out of noise", "from a voice")):
        row[0].set_ylabel(name)
    target.parent.mkdir(parents=True, exist_ok=True)
    fig.savefig(target, dpi=120)
    print(target)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "results/readme.png"))
