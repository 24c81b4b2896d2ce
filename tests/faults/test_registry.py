"""What the registry refuses, in its own words."""

import json
import shutil

import pytest
import torch
from torch import nn

from vqdiff_edu.registry import find, from_pretrained, load_pretrained, register, save_pretrained, train
from vqdiff_edu.weights import FOLDER, load_card, save_weights

ENTRY = dict(part=0, task=None, batches=None, recipe=None, measure=None)


@pytest.mark.parametrize("name", ["mnist-vae", [1], None, ""])
@pytest.mark.parametrize("call", [find, load_pretrained, lambda name: train(name, "nowhere")])
def test_a_name_that_is_none_lists_the_names(call, name):
    with pytest.raises(ValueError, match="name must be one of 'digit-classifier', 'digit-fusion', .*; got "):
        call(name)


def test_sizes_are_for_the_profiles_there_are():
    with pytest.raises(ValueError, match="profiles must be one of 'smoke', 'laptop', 'gpu'; got 'huge'"):
        register("m", **ENTRY, profiles={"huge": {}})


def test_a_smoke_model_is_not_shipped(tmp_path, monkeypatch):
    monkeypatch.setenv("VQDIFF_PROFILE", "smoke")
    with pytest.raises(ValueError, match="ship: "):
        train("mnist-vqvae", tmp_path, ship=True)
    assert not list(tmp_path.iterdir())


def test_weights_of_another_architecture(tmp_path):
    save_weights(nn.Linear(8, 8), "mnist-vqvae", {"model": {}}, tmp_path)
    with pytest.raises(ValueError, match="'mnist-vqvae' do not fit the model their card describes"):
        load_pretrained("mnist-vqvae", folder=tmp_path)


@pytest.mark.parametrize("change, message", [({"model": {"hiden": 3}}, "hiden"), ({"objective": "eps"}, "trained to predict 'eps'.*'v'")])
def test_a_card_that_tells_of_another_model(tmp_path, change, message):
    shutil.copy(FOLDER / "mnist-ddpm.safetensors", tmp_path)
    (tmp_path / "mnist-ddpm.json").write_text(json.dumps(load_card("mnist-ddpm") | change))
    with pytest.raises(ValueError, match=message):
        load_pretrained("mnist-ddpm", folder=tmp_path)


@pytest.mark.parametrize("module", ["os", "vqdiff_edu_evil.x", "vqdiff_edu", "", None, ["vqdiff_edu.data"], "vqdiff_edu.nowhere"])
def test_a_card_chooses_no_code_from_outside_the_package(tmp_path, module):
    save_weights(nn.Linear(2, 2), "theirs", {"module": module}, tmp_path)
    (tmp_path / "theirs.json").rename(tmp_path / "config.json")
    (tmp_path / "theirs.safetensors").rename(tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="module "):
        from_pretrained(tmp_path)


def test_a_model_without_a_card_is_not_saved(tmp_path):
    with pytest.raises(ValueError, match=r"model has no \.card"):
        save_pretrained(nn.Linear(2, 2), tmp_path)


def test_the_hub_without_its_package_names_the_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match=r"vqdiff_edu\["):
        from_pretrained("somebody/model")


def test_a_damaged_download_is_refused(tmp_path):
    folder = save_pretrained(load_pretrained("digit-classifier"), tmp_path)
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    with pytest.raises(ValueError, match="not the file its card describes"):
        from_pretrained(folder)
    assert torch.is_tensor(load_pretrained("digit-classifier").head.weight)
