"""What the figures show first is what the shipped models say: a model that is trained anew asks for its stories to be told again."""

import base64
import json

import pytest
import torch

import live
import live_stories
from vqdiff_edu import load_pretrained
from vqdiff_edu.crossmodal.audio import classify
from vqdiff_edu.crossmodal.caption import attention_maps, picture_captioner
from vqdiff_edu.data import running_noise, to_float

AGAIN = "python scripts/live_stories.py tells it again"


def told(name: str) -> dict:
    return json.loads((live_stories.STORIES / f"{name}.json").read_text(encoding="utf-8"))


def floats(text: str) -> torch.Tensor:
    return torch.frombuffer(bytearray(base64.b64decode(text)), dtype=torch.float32)


def pictures(name: str) -> torch.Tensor:
    """The small pictures of a story, [n, 1, side, side] in [-1, 1]."""
    import numpy
    from PIL import Image

    sheet, how = torch.from_numpy(numpy.array(Image.open(live_stories.STORIES / f"{name}.png"))), told(name)["atlas"]
    side = how["side"]
    return to_float(sheet.unfold(0, side, side).unfold(1, side, side).flatten(0, 1)[: how["number"], None])


def test_the_walk_from_noise_is_the_generator_s():
    path, beliefs, final = live_stories.walk([4], running_noise())
    torch.testing.assert_close(floats(told("noise-to-digit")["final"]), final.flatten(), atol=1e-4, rtol=0, msg=AGAIN)
    shown = pictures("noise-to-digit")
    torch.testing.assert_close(shown[:21], torch.cat(path).clamp(-1, 1), atol=0.01, rtol=0)
    torch.testing.assert_close(shown[21:41], torch.cat(beliefs), atol=0.01, rtol=0)


def test_the_codes_of_the_4_are_the_encoder_s():
    vqvae, story = load_pretrained("mnist-vqvae"), told("draw-a-digit")
    codes = vqvae.encode(floats(story["image"]).view(1, 1, 28, 28))
    assert story["codes"] == codes.flatten().tolist() and [row[0] for row in story["nearest"]] == story["codes"], AGAIN
    torch.testing.assert_close(floats(story["again"]), vqvae.decode(codes).detach().flatten(), atol=1e-4, rtol=0)
    assert sum(story["counts"]) == 49 * 10_000 and min(story["counts"]) > 0


def test_the_scene_s_sentence_is_the_captioner_s():
    captioner, story, image = load_pretrained("scene-captioner"), told("describe-my-digits"), pictures("describe-my-digits")
    assert captioner(image) == [" ".join(story["words"])], AGAIN
    looked = attention_maps(captioner, image, [" ".join(story["words"])])[0, 0, : len(story["words"])].flatten(1)
    torch.testing.assert_close(torch.tensor(story["looked"]), looked, atol=1e-3, rtol=0)
    told_of_it = picture_captioner()((image[0, 0] + 1) / 2)
    assert story["confidence"] == pytest.approx(told_of_it.confidence, abs=1e-3) and told_of_it.refusal is None, AGAIN


def test_the_voice_is_heard_and_filmed_as_the_story_says():
    story = told("speak-a-digit")
    samples = torch.frombuffer(bytearray(base64.b64decode(story["samples"])), dtype=torch.int16).float() / 2**15
    logits = classify(load_pretrained("spoken-digits"), samples[None])[0]
    torch.testing.assert_close(torch.tensor(story["logits"]), logits, atol=1e-3, rtol=0, msg=AGAIN)
    assert story["heard"] == logits.argmax()
    film = live_stories.film_of(samples, story["seed"], story["steps"])[2][0]
    off = (pictures("speak-a-digit") - film.clamp(-1, 1)).abs() > 0.01  # a latent between two codes may fall to either side
    assert off.double().mean() < 0.01, AGAIN


@pytest.mark.parametrize("name, place", [("ten-labels", 100), ("four-samplers", 3)])
def test_digits_of_a_story_are_the_generator_s(name, place):
    label = {"ten-labels": 0, "four-samplers": 4}[name]
    scale = {"ten-labels": None, "four-samplers": 1.0}[name]
    final = live_stories.walk([label], running_noise(), scale=scale)[2]
    torch.testing.assert_close(pictures(name)[place], final[0].clamp(-1, 1), atol=0.01, rtol=0, msg=AGAIN)


def test_the_running_example_is_the_same_in_all_figures():
    story = told("four")
    assert torch.equal(floats(story["noise"]), running_noise().flatten())
    assert story["image"] == told("draw-a-digit")["image"]


def test_the_four_generators_on_one_clock_say_what_the_story_says():
    story, shown = told("one-clock"), pictures("one-clock")
    rows, drawn = live_stories.clock(story["label"], story["seed"], running_noise(), story["blank"])
    for key in ("prior", "maskgit"):
        assert story[key]["codes"] == rows[key]["codes"], AGAIN
    for key, row in rows.items():
        torch.testing.assert_close(torch.tensor(story[key]["read"]), torch.tensor(row["read"]), atol=1e-3, rtol=0, msg=AGAIN)
    torch.testing.assert_close(torch.tensor(story["latents"]["states"]), torch.tensor(rows["latents"]["states"]), atol=0.02, rtol=0)
    torch.testing.assert_close(shown, torch.cat(list(drawn.values())).clamp(-1, 1), atol=0.01, rtol=0)


def test_every_story_is_told_by_the_script():
    assert {path.stem for path in (live.LIVE / "stories").glob("*.json")} == set(live_stories.TOLD)
