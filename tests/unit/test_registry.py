"""The shipped models: found, loaded from the package alone, as good as their cards say, and made by the recipes in the code."""

import dataclasses
import json
import subprocess
import sys

import pytest
import torch
from torch import nn

import vqdiff_edu
from vqdiff_edu import registry
from vqdiff_edu.crossmodal.audio import speech
from vqdiff_edu.crossmodal.scenes import draw_scenes, facts_right
from vqdiff_edu.crossmodal.writing import energy_curve, ink_curve, timing_error
from vqdiff_edu.data import Batches, Digits, digits, to_float
from vqdiff_edu.quantization.vqvae import measure_vqvae
from vqdiff_edu.registry import (
    MODELS,
    find,
    from_pretrained,
    list_models,
    load_pretrained,
    register,
    save_pretrained,
    train,
    trained_part,
    training_order,
)
from vqdiff_edu.training import Recipe
from vqdiff_edu.weights import FOLDER, available, load_card, tensor_hash, to_half, weights_path

NAMES = available()
DIFFUSION = ["mnist-ddpm", "mnist-latent", "writing-video"]


def test_the_package_hands_out_what_one_needs_first():
    assert vqdiff_edu.load_pretrained is load_pretrained
    assert vqdiff_edu.list_models is list_models


def test_every_model_of_the_package_is_shipped():
    assert sorted(training_order()) == NAMES == list_models()


def test_parents_are_trained_before_their_children():
    order = training_order()
    for name in order:
        assert all(order.index(parent) < order.index(name) for parent in find(name).parents)


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_model_is_in_eval_mode_with_its_card(name):
    model = load_pretrained(name)
    assert not any(m.training for m in model.modules())
    assert set(model.card["data"]["source"].split(", ")) <= {"mnist", "fsdd"} and model.card["profile"] == "laptop"
    assert sum(p.numel() for p in trained_part(model).parameters()) == model.card["parameters"]


@pytest.mark.parametrize("name", NAMES)
def test_the_card_holds_the_recipe_of_the_code(name, monkeypatch):
    monkeypatch.setenv("VQDIFF_PROFILE", "laptop")
    recipe, card = find(name).recipe(), load_card(name)
    assert card["fingerprint"] == recipe.fingerprint()
    assert Recipe(**card["recipe"] | {"betas": tuple(card["recipe"]["betas"])}) == recipe


@pytest.mark.parametrize("name", NAMES)
def test_the_card_holds_every_argument_and_what_was_registered_with_the_model(name, monkeypatch):
    monkeypatch.setenv("VQDIFF_PROFILE", "laptop")
    entry, card = find(name), load_card(name)
    assert card["model"] == json.loads(json.dumps(entry.arguments())) and card["module"] == entry.make.__module__
    assert entry.card.items() <= card.items() and card["failures"].endswith(".")


def test_a_default_that_changes_leaves_a_stored_model_as_it_is(monkeypatch):
    """The card of mnist-vqvae says 512 codes of 64 numbers, whatever `make` would choose today."""
    entry = find("mnist-vqvae")
    other = lambda hidden=8, num_embeddings=16, embedding_dim=4, blocks=1: entry.make(hidden, num_embeddings, embedding_dim, blocks)
    monkeypatch.setitem(MODELS, "mnist-vqvae", dataclasses.replace(entry, make=other))
    assert tuple(load_pretrained("mnist-vqvae").quantizer.codebook.shape) == (512, 64)


@pytest.mark.parametrize("name", [name for name in NAMES if find(name).parents])
def test_a_child_is_built_on_the_parents_that_are_shipped(name):
    assert load_card(name)["parents"] == {parent: load_card(parent)["tensors_sha256"] for parent in find(name).parents}


@pytest.mark.parametrize("name", NAMES)
def test_the_hash_of_the_tensors_is_that_of_what_is_stored(name):
    assert tensor_hash(to_half(trained_part(load_pretrained(name)).state_dict())) == load_card(name)["tensors_sha256"]


def test_the_weights_of_the_capstones_are_small():
    sizes = {name: weights_path(name).stat().st_size for name in NAMES}
    assert sum(size for name, size in sizes.items() if find(name).part == 5) <= 13e6
    assert sum(sizes.values()) <= 32e6


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


# ------------------------------------------------------------------ training


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("name", NAMES)
def test_a_training_writes_to_its_folder_and_leaves_the_package_alone(name, tmp_path):
    before = contents(FOLDER)
    model = train(name, tmp_path)
    assert {f"{name}.safetensors", f"{name}.json", "checkpoint.pt"} <= contents(tmp_path).keys()
    assert contents(FOLDER) == before
    again = load_pretrained(name, folder=tmp_path)
    assert again.card == json.loads(json.dumps(model.card)) and again.card["profile"] == "smoke" and again.card["metrics"]
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), again.state_dict().values(), strict=True))


def test_only_a_training_that_ships_writes_the_packages_weights(tmp_path, monkeypatch):
    package = tmp_path / "package"
    monkeypatch.setattr(registry, "FOLDER", package)
    monkeypatch.setattr(registry, "profile", lambda: "laptop")
    monkeypatch.setitem(MODELS, "toy", toy_entry())
    train("toy", tmp_path / "run")
    assert not package.exists() and (tmp_path / "run" / "toy.json").exists()
    train("toy", tmp_path / "shipped", ship=True)
    assert contents(package).keys() == {"toy.safetensors", "toy.json"} and contents(tmp_path / "shipped").keys() == {"checkpoint.pt"}


def test_a_child_finds_its_parent_beside_it_or_is_refused_by_another(tmp_path):
    train("mnist-vqvae", tmp_path)
    parent = load_pretrained("mnist-vqvae", folder=tmp_path)
    train("mnist-latent", tmp_path / "child", parents=[parent])
    with pytest.raises(ValueError, match="'mnist-latent' was trained on another 'mnist-vqvae'"):
        load_pretrained("mnist-latent", folder=tmp_path / "child")
    for file in ("mnist-vqvae.json", "mnist-vqvae.safetensors"):
        (tmp_path / "child" / file).write_bytes((tmp_path / file).read_bytes())
    assert load_pretrained("mnist-latent", folder=tmp_path / "child").card["parents"] == {"mnist-vqvae": parent.card["tensors_sha256"]}


# ------------------------------------------------------------------ a reader's own model


class Toy(nn.Module):
    """A pipeline with a part that is not stored."""

    def __init__(self, widths=(2, 3), bias=True):
        super().__init__()
        self.model, self.frozen = nn.Linear(*widths, bias=bias), nn.Linear(1, 1)

    def forward(self, x):
        return self.model(x)


class ToyTask:
    def __init__(self, pipeline):
        self.model = pipeline.model

    def loss(self, batch, generator):
        return self.model(batch["x"]).square().mean(), {}


def toy_entry():
    register(
        "toy",
        part=0,
        task=ToyTask,
        batches=lambda model, recipe: (Batches({"x": torch.ones(4, 2)}, recipe.batch_size), {"source": "ones"}),
        recipe=lambda: Recipe("toy", 2, 2, 0.1, ema_decay=None),
        measure=lambda model: {"zero": 0.0},
        profiles={"smoke": {"bias": False}, "laptop": {}},
    )(Toy)
    return MODELS.pop("toy")


@pytest.fixture
def toy(monkeypatch):
    monkeypatch.setitem(MODELS, "toy", toy_entry())
    return "toy"


def test_a_readers_own_pipeline_is_registered_trained_and_loaded(toy, tmp_path):
    card = train(toy, tmp_path).card
    assert card["model"] == {"widths": [2, 3], "bias": False} and card["module"] == __name__ and card["parameters"] == 6
    model = load_pretrained(toy, folder=tmp_path)
    assert isinstance(model, Toy) and model.model.bias is None
    assert load_card(toy, tmp_path)["parents"] == {}


def test_a_readers_own_model_is_handed_on(toy, tmp_path):
    model = train(toy, tmp_path)
    again = from_pretrained(save_pretrained(model, tmp_path / "out"))
    assert again.card == load_card(toy, tmp_path) and torch.equal(again.model.weight, model.model.weight)


@pytest.mark.parametrize("name", NAMES)
def test_saved_and_read_back_a_shipped_model_is_the_same(name, tmp_path):
    model = load_pretrained(name)
    assert sorted(path.name for path in save_pretrained(model, tmp_path).iterdir()) == ["README.md", "config.json", "model.safetensors"]
    again = from_pretrained(tmp_path)
    assert type(again) is type(model) and again.card == model.card and not again.training
    assert again.state_dict().keys() == model.state_dict().keys()
    assert all(torch.equal(value, again.state_dict()[key]) for key, value in model.state_dict().items())


def test_a_model_goes_to_the_hub_and_comes_back(tmp_path, monkeypatch):
    """The Hub is a folder here: what is uploaded to a repository is what a snapshot of it holds."""

    class Hub:
        @staticmethod
        def create_repo(repository, exist_ok):
            (tmp_path / repository).mkdir(parents=True, exist_ok=exist_ok)

        @staticmethod
        def upload_folder(repo_id, folder_path, private=False):
            for file in folder_path.iterdir():
                (tmp_path / repo_id / file.name).write_bytes(file.read_bytes())
            return f"https://hub/{repo_id}"

        @staticmethod
        def snapshot_download(repository, allow_patterns):
            return str(tmp_path / repository)

    monkeypatch.setitem(sys.modules, "huggingface_hub", Hub)
    model = load_pretrained("digit-classifier")
    assert registry.push_to_hub(model, "somebody/reader", private=True) == "https://hub/somebody/reader"
    assert from_pretrained("somebody/reader").card == model.card


@pytest.mark.parametrize("name", NAMES)
def test_the_page_of_a_model_tells_its_figures_seed_floors_and_failures(name):
    from vqdiff_edu.weights import describe_model

    card = load_card(name)
    page = describe_model(card)
    header, body = page.removeprefix("---\n").split("---\n", 1)
    assert "license: " in header and "library_name: " in header and 'datasets: ["' in header
    assert card["failures"] in body and f"| seed | {card['seed']} |" in body and f"# {name}\n" in body
    assert name != "mnist-ddpm" or "| guided floor | 0.1148 (0.09383 … 0.1271) |" in body
    assert name != "digit-classifier" or f"| test errors | {card['metrics']['test_errors']} |" in body


# ------------------------------------------------------------------ importing


def in_a_fresh_process(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


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
    assert min(float(in_a_fresh_process(SNIPPET)[-1]) for _ in range(3)) < 0.2


COMMON = {"data", "metrics", "probability", "registry", "require", "training", "transformer", "weights"}


def test_loading_a_model_imports_its_own_part_alone_and_draws_nothing():
    loaded = in_a_fresh_process("import sys, vqdiff_edu; vqdiff_edu.load_pretrained('mnist-vqvae'); print(*sys.modules)")
    rooms = {name.split(".")[1] for name in loaded if name.startswith("vqdiff_edu.")}
    assert rooms <= COMMON | {"quantization"}
    assert not {"matplotlib", "accelerate", "soundfile", "typer", "torchvision", "PIL", "huggingface_hub"} & set(loaded)


BARE = """
import sys
for name in ("matplotlib", "soundfile", "imageio_ffmpeg", "typer", "accelerate", "huggingface_hub"):
    sys.modules[name] = None
import vqdiff_edu
for name in vqdiff_edu.list_models():
    vqdiff_edu.load_pretrained(name)
vqdiff_edu.load_pretrained("mnist-ddpm")([4], num_inference_steps=1)
try:
    import vqdiff_edu.cli
except ImportError as error:
    print(error)
"""


def test_every_model_loads_without_the_optional_packages():
    assert " ".join(in_a_fresh_process(BARE)).endswith("pip install 'vqdiff_edu[cli]'")


@pytest.mark.parametrize("name", DIFFUSION)
def test_the_cards_of_diffusion_models_say_what_they_predict(name):
    assert load_card(name)["objective"] == registry.objective_of(load_pretrained(name)) == "v"
