"""What the shipped models answer to fixed inputs, held against stored answers: rearranging code must not change a model.

The inputs need no data set.  The stored answers, tests/golden/NAME.json, belong to the shipped weights; only a new training is a reason to write them anew:
`python tests/unit/test_golden.py NAME …`.
"""

import json
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vqdiff_edu import load_pretrained
from vqdiff_edu.crossmodal.audio import classify
from vqdiff_edu.crossmodal.text2image import Plan, covered_places, reading_order

FOLDER = Path(__file__).resolve().parents[1] / "golden"
ONE_PASS = 1e-5  # one pass of a network: other machines add up in another order
MANY_PASSES = 1e-4  # twenty guided steps carry a last digit on and enlarge it, and whether both conditions go through the network in one batch decides last digits
KEPT = 200  # numbers stored of an answer


# ---------------------------------------------------------------- fixed inputs


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(n: int, side: int, seed: int) -> Tensor:
    """Blots of ink in [-1, 1]."""
    coarse = torch.randn(n, 1, side // 4, side // 4, generator=seeded(seed))
    return F.interpolate(coarse, size=(side, side), mode="bilinear", align_corners=False).mul(3).tanh()


def noise(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=seeded(seed))


def sounds(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Three quarters of a second of noise that swells and fades, and how much of it counts."""
    swell = torch.linspace(0, torch.pi, 6000).sin()
    return 0.1 * swell * noise(n, 6000, seed=seed), torch.tensor([6000, 5200, 4100])[:n]


STEPS = torch.tensor([0, 40, 130, 300, 480, 650, 820, 999])
LABELS = torch.tensor([3, 1, 4, 10, 5, 9, 2, 6])  # 10 is none


# ---------------------------------------------------------------- the answers


def digit_classifier(model, device="cpu"):
    x = pictures(8, 28, 1).to(device)
    return {"logits": model(x), "features": model.features(x)}


def vqvae_answers(model, x, codes):
    indices = model.encode(x)
    return {"codes": indices, "latents": model.encode_latents(x), "rebuilt": model.decode(indices), "decoded": model.decode(codes)}


def mnist_vqvae(model, device="cpu"):
    codes = torch.randint(512, (2, 7, 7), generator=seeded(2))
    return vqvae_answers(model, pictures(8, 28, 1).to(device), codes.to(device))


def scene_vqvae(model, device="cpu"):
    codes = torch.randint(512, (2, 14, 14), generator=seeded(4))
    return vqvae_answers(model, pictures(4, 56, 3).to(device), codes.to(device))


def mnist_prior(model, device="cpu"):
    codes = torch.randint(512, (8, 49), generator=seeded(26)).to(device)
    return {"logits": model.model(codes, LABELS.to(device)), "nats": model.model.nll(codes, LABELS.to(device))}


def mnist_maskgit(model, device="cpu"):
    codes, hidden = torch.randint(512, (8, 49), generator=seeded(27)), torch.rand(8, 49, generator=seeded(28)) < 0.6
    return {"logits": model.model(codes.masked_fill(hidden, 512).to(device), LABELS.to(device))}


def mnist_ddpm(model, device="cpu"):
    x, t, label = (given.to(device) for given in (noise(8, 1, 28, 28, seed=5), STEPS, LABELS))
    return {"labelled": model.model(x, t, label=label), "unlabelled": model.model(x, t)}


def mnist_latent(model, device="cpu"):
    net = model.model
    z, t, label = (given.to(device) for given in (noise(8, net.in_channels, 7, 7, seed=7), STEPS, LABELS))
    return {"labelled": net(z, t, label=label), "unlabelled": net(z, t)}


def spoken_digits(model, device="cpu"):
    samples, lengths = (given.to(device) for given in sounds(3, seed=9))
    return {"logits": classify(model, samples, lengths), "network": model(noise(4, 40, 100, seed=10).to(device))}


def shared_space(model, device="cpu"):
    cards = pictures(6, 28, 30).to(device)
    words = torch.randint(3, 40, (6, 7), generator=seeded(31)).to(device)
    return {
        "pictures": model.pictures(cards),
        "recordings": model.recordings(noise(4, 40, 100, seed=32).to(device)),
        "captions": model.captions(words),
        "scale": model.scale.reshape(1),
    }


def speech_codec(model, device="cpu"):
    samples, _ = sounds(3, seed=9)
    codes = torch.randint(512, (2, 12, 8), generator=seeded(29)).to(device)
    return {"codes": model.encode(samples.to(device)), "latents": model.encode_latents(samples.to(device)), "decoded": model.decode(codes)}


def speech_prior(model, device="cpu"):
    codes = torch.randint(512, (4, 40, 3), generator=seeded(30)) + 512 * torch.arange(3)
    labels = torch.tensor([0, 31, 59, 60]).to(device)  # 60 is none
    return {"logits": model.model(codes.flatten(1).to(device), labels), "nats": model.model.nll(codes.flatten(1).to(device), labels)}


def scene_captioner(model, device="cpu"):
    tokens = torch.randint(1, 20, (4, 6), generator=seeded(12)).to(device)
    codes = model.vqvae.encode(pictures(4, 56, 22).to(device))
    return {"codes": codes, "logits": model.model(codes, tokens)}


def ink_judge(model, device="cpu"):
    return {"logits": model(pictures(8, 28, 1).to(device))}


def scene_painter(model, device="cpu"):
    tokens = model.tokens(["a big bold 7 above a small faint 2", "between a small bold 1 and a little soft six is a large weak 4"])
    things, corners = torch.tensor([[31, 8, -1], [5, 18, 24]]), torch.tensor([[[3, 9], [31, 14], [0, 0]], [[0, 20], [17, 18], [41, 21]]])
    plan = Plan(things.to(device), corners.to(device))
    order, told = reading_order(covered_places(plan)[0]), torch.tensor([True, False]).to(device)
    codes = model.vqvae.encode(pictures(2, 56, 26).to(device)).flatten(1)
    return {"plan": model.model.planner.nll(plan, tokens), "codes": codes, "logits": model.model.drawer(codes, plan, order, told)}


def writing_video(model, device="cpu"):
    net, t = model.model, STEPS[[2, 6]].to(device)
    z, frames, clip = noise(2, 16, net.image.in_channels, 7, 7, seed=14), noise(2, 16, 12, seed=15), noise(2, 10, seed=16).softmax(1)
    z, frames, clip = (given.to(device) for given in (z, frames, clip))
    return {"told": net(z, t, frames=frames, clip=clip), "untold": net(z, t)}


def digit_fusion(model, device="cpu"):
    images, (sound, _) = pictures(3, 28, 33).to(device), sounds(3, seed=34)
    sound = F.pad(sound, (0, 2000)).to(device)
    return {"picture": model(images), "voice": model(sound=sound), "both": model(images, sound)}


NETWORKS = {  # one pass of each network, on any device
    "digit-classifier": digit_classifier,
    "mnist-vqvae": mnist_vqvae,
    "scene-vqvae": scene_vqvae,
    "mnist-prior": mnist_prior,
    "mnist-maskgit": mnist_maskgit,
    "mnist-ddpm": mnist_ddpm,
    "mnist-latent": mnist_latent,
    "spoken-digits": spoken_digits,
    "shared-space": shared_space,
    "speech-codec": speech_codec,
    "speech-prior": speech_prior,
    "scene-captioner": scene_captioner,
    "ink-judge": ink_judge,
    "scene-painter": scene_painter,
    "writing-video": writing_video,
    "digit-fusion": digit_fusion,
}


def drawn_digits(model, seed):
    drawn = model(torch.arange(10), generator=seeded(seed))
    return {"drawn": drawn, "drawn mean": drawn.mean((1, 2, 3))}


def drawn_film(model):
    drawn = model(*sounds(1, seed=24), generator=seeded(124))
    return {"drawn": drawn, "drawn mean": drawn.mean((2, 3, 4)).flatten()}


DRAWN = {  # what comes out in the end, by many passes, on the CPU; seeds after which no code is within 100 roundings of being another
    "mnist-ddpm": lambda model: drawn_digits(model, 6),
    "mnist-latent": lambda model: drawn_digits(model, 23),
    "scene-captioner": lambda model: {"sentences": model(pictures(4, 56, 22))},
    "writing-video": drawn_film,
}


def some(answer: Tensor) -> Tensor:
    """All of the whole numbers; of others at most KEPT, spread over the answer."""
    flat = answer.flatten().contiguous()
    stride = max(1, len(flat) // KEPT) | 1  # odd, so that it does not keep to a column
    return flat[::stride][:KEPT] if flat.is_floating_point() else flat


@torch.no_grad()
def answers(name: str) -> dict:
    """What a model says now, in the form in which it is stored."""
    model = load_pretrained(name)
    said = NETWORKS[name](model) | DRAWN.get(name, lambda model: {})(model)
    return {key: some(value) if isinstance(value, Tensor) else value for key, value in said.items()}


def stored(name: str) -> dict:
    return json.loads((FOLDER / f"{name}.json").read_text())


def test_every_shipped_model_has_a_stored_answer():
    from vqdiff_edu.weights import available

    assert set(available()) == set(NETWORKS) == {path.stem for path in FOLDER.glob("*.json")}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_shipped_model_answers_as_it_always_did(name):
    now, before = answers(name), stored(name)
    assert now.keys() == before.keys()
    for key, value in now.items():
        if isinstance(value, Tensor) and value.is_floating_point():
            tolerance = MANY_PASSES if key.startswith("drawn") else ONE_PASS
            expected = torch.tensor(before[key])
            worst = (value - expected).abs().max().item()
            assert torch.allclose(value, expected, rtol=tolerance, atol=tolerance), f"{key}: off by {worst:.2g}"
        else:
            assert (value.tolist() if isinstance(value, Tensor) else value) == before[key], key


def as_text(answer) -> list:
    """Numbers as JSON, floats with the eight digits that float32 has."""
    if not isinstance(answer, Tensor):
        return answer
    return [float(f"{x:.8g}") for x in answer.tolist()] if answer.is_floating_point() else answer.tolist()


def write(name: str) -> None:
    text = json.dumps({key: as_text(value) for key, value in answers(name).items()}, ensure_ascii=False)
    (FOLDER / f"{name}.json").write_text(text.replace('], "', '],\n "') + "\n")


if __name__ == "__main__":
    for name in sys.argv[1:] or sys.exit("which models? give names, or all of: " + " ".join(NETWORKS)):
        write(name)
