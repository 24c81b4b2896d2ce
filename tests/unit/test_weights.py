"""Weights are rounded, stored whole, and read back as stored."""

import hashlib
import json
import struct

import pytest
import torch
from safetensors import safe_open
from torch import nn

from vqdiff_edu.weights import available, load_card, load_state, save_weights, tensor_hash, to_half, write_atomically, write_card


def test_what_is_stored_comes_back_rounded(tmp_path):
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    path = save_weights(model, "m", {"seed": 3}, tmp_path)
    state = load_state("m", tmp_path)
    assert state.keys() == model.state_dict().keys()
    for key, value in model.state_dict().items():
        assert state[key].dtype == value.dtype
        assert torch.equal(state[key], value.half().float() if value.is_floating_point() else value)
    hashes = {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "tensors_sha256": tensor_hash(to_half(model.state_dict()))}
    assert load_card("m", tmp_path) == {"seed": 3, "name": "m"} | hashes
    assert available(tmp_path) == ["m"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.json", "m.safetensors"]


def test_stored_twice_is_the_same_file(tmp_path):
    model = nn.Linear(5, 5)
    assert save_weights(model, "a", {}, tmp_path).read_bytes() == save_weights(model, "b", {}, tmp_path).read_bytes()


def test_a_card_can_be_written_anew(tmp_path):
    save_weights(nn.Linear(2, 2), "m", {}, tmp_path)
    card = load_card("m", tmp_path) | {"metrics": {"x": 0.5}}
    write_card(card, tmp_path / "m.json")
    assert load_card("m", tmp_path) == card
    load_state("m", tmp_path)


def test_nothing_is_left_when_writing_breaks(tmp_path, monkeypatch):
    target = tmp_path / "file"
    target.write_bytes(b"old")

    def broken(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", broken)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(target, b"new")
    assert [p.name for p in tmp_path.iterdir()] == ["file"] and target.read_bytes() == b"old"


def test_cards_are_plain_json(tmp_path):
    save_weights(nn.Linear(2, 2), "m", {"b": 1, "a": [1.5]}, tmp_path)
    text = (tmp_path / "m.json").read_text()
    assert text.endswith("}\n") and list(json.loads(text)) == ["a", "b", "name", "sha256", "tensors_sha256"]


def test_to_half_leaves_whole_numbers():
    state = to_half({"n": torch.tensor([70_000]), "x": torch.tensor([0.1])})
    assert state["n"].dtype == torch.int64 and state["x"].dtype == torch.float16


def test_the_file_says_that_its_tensors_are_torchs(tmp_path):
    with safe_open(save_weights(nn.Linear(2, 2), "m", {}, tmp_path), "pt") as file:
        assert file.metadata() == {"format": "pt"}


def test_the_hash_of_tensors_is_that_of_names_kinds_shapes_and_bytes():
    state = {"b": torch.tensor([[1.0, 2.0]]), "a": torch.tensor([3])}
    by_hand = b"a torch.int64 [1]\n" + (3).to_bytes(8, "little") + b"b torch.float32 [1, 2]\n" + struct.pack("<2f", 1.0, 2.0)
    assert tensor_hash(state) == hashlib.sha256(by_hand).hexdigest()
    assert tensor_hash(dict(reversed(state.items()))) == tensor_hash(state)
    others = [{"b": state["b"].T, "a": state["a"]}, {"b": state["b"], "c": state["a"]}, {"b": state["b"].half(), "a": state["a"]}]
    assert tensor_hash(state) not in [tensor_hash(other) for other in others]
