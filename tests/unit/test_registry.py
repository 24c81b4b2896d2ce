"""The shipped models: loaded from the package alone, as good as their cards say, and made by the recipes in the code."""

import dataclasses
import subprocess
import sys

import pytest
import torch

import vqdiff_edu
from vqdiff_edu import registry
from vqdiff_edu.crossmodal.audio import speech
from vqdiff_edu.crossmodal.scenes import draw_scenes, facts_right
from vqdiff_edu.crossmodal.writing import energy_curve, ink_curve, timing_error
from vqdiff_edu.data import Digits, digits, to_float
from vqdiff_edu.registry import SHIPPED, generate, load_pretrained, make_ddpm, measure_vqvae, trained_part
from vqdiff_edu.weights import available, load_card, weights_path


def test_the_package_hands_out_load_pretrained():
    assert vqdiff_edu.load_pretrained is load_pretrained


def test_every_recipe_has_shipped_weights():
    assert set(available()) == set(SHIPPED)


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_a_shipped_model_is_in_eval_mode_with_its_card(name):
    model = load_pretrained(name)
    assert not any(m.training for m in model.modules())
    assert set(model.card["data"]["source"].split(", ")) <= {"mnist", "fsdd"} and model.card["profile"] == "laptop"
    assert sum(p.numel() for p in trained_part(model).parameters()) == model.card["parameters"]


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_the_card_holds_the_recipe_of_the_code(name, monkeypatch):
    monkeypatch.setenv("VQDIFF_PROFILE", "laptop")
    recipe = SHIPPED[name].recipe()
    assert load_card(name)["fingerprint"] == recipe.fingerprint()
    assert {**dataclasses.asdict(recipe), "betas": list(recipe.betas)} == load_card(name)["recipe"]


@pytest.mark.parametrize("name", sorted(name for name in SHIPPED if SHIPPED[name].parents))
def test_a_child_is_built_on_the_parents_that_are_shipped(name):
    assert load_card(name)["parents"] == {parent: load_card(parent)["sha256"] for parent in SHIPPED[name].parents}


def test_the_weights_of_the_capstones_are_small():
    sizes = {name: weights_path(name).stat().st_size for name in SHIPPED}
    assert sum(size for name, size in sizes.items() if SHIPPED[name].part == 5) <= 8 * 2**20
    assert sum(sizes.values()) <= 24 * 2**20


def real_test_digits():
    data = digits("test")
    if data.source != "mnist":
        pytest.skip("the cards' figures are for MNIST, which is not here")
    return data


def test_the_vqvae_is_as_good_as_its_card_says():
    data = real_test_digits()
    first = Digits(data.images[:2000], data.labels[:2000], data.source, data.sha256)
    measured, card = measure_vqvae(load_pretrained("mnist-vqvae"), first), load_card("mnist-vqvae")["metrics"]
    assert measured["test_mse_01"] == pytest.approx(card["test_mse_01"], rel=0.1)
    assert card["test_mse_01"] <= 0.0018 and card["codes_used"] == 512 and card["images"] == 10_000


def test_the_vqvae_encodes_to_integers_and_back():
    model, x = load_pretrained("mnist-vqvae"), to_float(real_test_digits().images[:5])
    indices = model.encode(x)
    assert indices.shape == (5, 7, 7) and indices.dtype == torch.int64
    assert torch.allclose(model.decode(indices), model.decode_latents(model.encode_latents(x)), atol=1e-5)


def test_the_ddpm_draws_what_is_asked():
    model = load_pretrained("mnist-ddpm")
    labels = torch.arange(40) % 10
    images = generate(model, labels, generator=torch.Generator().manual_seed(0))
    assert images.shape == (40, 1, 28, 28) and images.abs().max() <= 1
    read = load_pretrained("digit-classifier")(images).argmax(1)
    assert (read == labels).sum() >= 36
    assert model.card["metrics"]["guided"]["label_accuracy"]["mean"] >= 0.99


def test_the_latent_model_draws_what_is_asked():
    model = load_pretrained("mnist-latent")
    labels = torch.arange(40) % 10
    images = generate(model, labels, generator=torch.Generator().manual_seed(0))
    assert images.shape == (40, 1, 28, 28) and images.abs().max() <= 1
    assert (load_pretrained("digit-classifier")(images).argmax(1) == labels).sum() >= 36


def test_the_cards_of_the_capstones_hold_what_the_book_promises():
    spoken, told, films = (load_card(name)["metrics"] for name in ("spoken-digits", "scene-captioner", "writing-video"))
    assert spoken["test_accuracy"] >= 0.99 and spoken["recordings"] == 300
    assert told["seen"]["all"]["share"] >= 0.92 and told["seen"]["digit"]["share"] >= 0.975
    assert told["held_out"]["all"]["share"] >= 0.85
    for row in films["replicates"]:
        assert row["model"]["last_frame"] >= 0.92
        assert row["model"]["timing"] <= min(0.05, row["model"]["shuffled"] / 3, row["model"]["constant"])


def test_the_captioner_tells_most_scenes_rightly():
    captioner, scenes = load_pretrained("scene-captioner"), draw_scenes(40, real_test_digits(), torch.Generator().manual_seed(1))
    assert facts_right(scenes.scenes, captioner(to_float(scenes.images)))["all"] >= 0.8


def test_the_film_of_a_recording_ends_in_its_digit_and_is_in_time():
    test = speech("test")
    if test.source != "fsdd":
        pytest.skip("the model has heard real voices only, which are not here")
    some = test.subset(torch.arange(0, 300, 50))
    video = load_pretrained("writing-video")(some.samples, some.lengths, generator=torch.Generator().manual_seed(0))
    assert video.shape == (6, 16, 1, 28, 28) and video.abs().max() <= 1
    assert (load_pretrained("digit-classifier")(video[:, -1]).argmax(1) == some.labels).sum() >= 5
    assert timing_error(ink_curve(video), energy_curve(some.samples, some.lengths)).mean() <= 0.07


def test_a_seed_is_a_picture_and_defaults_come_from_the_card(monkeypatch):
    model, seen = load_pretrained("mnist-ddpm"), {}
    monkeypatch.setattr(registry, "sample_ddim", lambda *args, **kwargs: seen.update(kwargs) or torch.zeros(args[2]))
    generate(model, [1, 2])
    assert seen["num_inference_steps"] == model.card["num_inference_steps"] and seen["guidance_scale"] == model.card["guidance_scale"]
    monkeypatch.undo()
    draw = lambda: generate(model, [7], num_inference_steps=2, generator=torch.Generator().manual_seed(1))  # noqa: E731
    assert torch.equal(draw(), draw())


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_a_smoke_training_leaves_the_package_alone(name, tmp_path):
    before = {name: load_card(name)["sha256"] for name in available()}
    model = registry.train(name, tmp_path)
    assert model.card["profile"] == "smoke" and (tmp_path / f"{name}.safetensors").exists()
    assert before == {name: load_card(name)["sha256"] for name in available()}


def test_only_generators_generate():
    with pytest.raises(TypeError, match="generator of digits"):
        generate(load_pretrained("mnist-vqvae"), [1])


def test_labels_outside_are_refused():
    with pytest.raises(ValueError, match="label"):
        generate(make_ddpm((8, 16)), [12])


SNIPPET = """
import time, sys, socket
import torch
def refuse(*args): raise AssertionError("network used")
socket.socket.connect = refuse
state = torch.get_rng_state()
begin = time.perf_counter()
import vqdiff_edu
seconds = time.perf_counter() - begin
assert torch.equal(state, torch.get_rng_state()), "seeded"
vqdiff_edu.load_pretrained("mnist-vqvae"), vqdiff_edu.load_pretrained("mnist-ddpm")
print(seconds)
"""


def test_importing_is_quick_and_loading_needs_no_network():
    seconds = [
        float(subprocess.run([sys.executable, "-c", SNIPPET], capture_output=True, text=True, check=True).stdout.split()[-1])
        for _ in range(3)
    ]
    assert min(seconds) < 0.2


def test_a_maker_of_films_draws_no_single_digits():
    with pytest.raises(TypeError, match="model must be a generator of digits.*SpeechWriter"):
        generate(load_pretrained("writing-video"), [4])


@pytest.mark.parametrize("name", ["mnist-ddpm", "mnist-latent", "writing-video"])
def test_the_cards_of_diffusion_models_say_what_they_predict(name):
    assert load_card(name)["objective"] == trained_part(load_pretrained(name)).diffusion.objective
