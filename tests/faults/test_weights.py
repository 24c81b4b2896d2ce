"""Damaged, missing and unstorable weights end in a sentence that names them."""

import os

import pytest
import torch
from torch import nn

from vqdiff_edu.weights import load_card, load_state, save_weights


@pytest.fixture
def stored(tmp_path):
    save_weights(nn.Linear(8, 8), "m", {}, tmp_path)
    return tmp_path


def test_an_unknown_name_lists_the_known(stored):
    with pytest.raises(ValueError, match="no weights called 'n'.*there are: m"):
        load_state("n", stored)


@pytest.mark.parametrize("damage", ["flipped", "cut", "empty"])
def test_damaged_weights(stored, damage):
    path = stored / "m.safetensors"
    content = bytearray(path.read_bytes())
    if damage == "flipped":
        content[-3] ^= 4
    path.write_bytes({"flipped": content, "cut": content[:100], "empty": b""}[damage])
    with pytest.raises(ValueError, match=r"m\.safetensors is not the file its card describes"):
        load_state("m", stored)


def test_a_card_that_is_gone_or_garbled(stored):
    (stored / "m.json").write_text("{ not json")
    with pytest.raises(ValueError, match=r"m\.json is not readable JSON"):
        load_card("m", stored)
    (stored / "m.json").unlink()
    with pytest.raises(ValueError, match="the weights have no card"):
        load_state("m", stored)


@pytest.mark.parametrize("value", [1e6, float("nan"), float("inf")])
def test_values_that_sixteen_bits_cannot_hold(tmp_path, value):
    with pytest.raises(ValueError, match=r"state\['w'\]"):
        save_weights({"w": torch.tensor([value])}, "m", {}, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="cannot write .*is the folder writable"):
        save_weights(nn.Linear(2, 2), "m", {}, tmp_path / "file" / "folder")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OSError, match="cannot write"):
        save_weights(nn.Linear(2, 2), "m", {}, tmp_path)


def test_a_card_that_is_no_object(stored):
    (stored / "m.json").write_text("[]")
    with pytest.raises(ValueError, match=r"m\.json is not readable JSON \(it holds a list, not an object\)"):
        load_card("m", stored)
