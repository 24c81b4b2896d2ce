"""Stored results: each chapter's outputs belong to its code, models fit their bounds and their recipes, and nothing comes from the stand-in."""

import dataclasses
import hashlib
import json
from pathlib import Path

import pytest

from bookdata import ROOT, Book, Notebook
from freshness import Package, is_fresh

BOOK, PACKAGE = Book(), Package()
MB = 2**20
WEIGHTS = ROOT / "vqdiff_edu" / "weights"
BOUNDS = {"parts 1 and 2": ((1, 2), 4), "part 3": ((3,), 9), "part 4": ((4,), 6), "part 5": ((5,), 13)}
WHOLE = 32
NAMES = sorted(path.stem for path in WEIGHTS.glob("*.safetensors"))


# ---------------------------------------------------------------- chapters


def ledger(root: Path) -> dict:
    path = root / "results" / "executed.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def run_problems(nb: Notebook, entry: dict | None, package: Package) -> list[str]:
    """What is wrong with the stored run of a chapter."""
    again = f"run `make execute CHAPTER={nb.path.stem}`"
    if entry is None:
        return [f"results/executed.json knows no run of it; {again}"]
    problems = [] if any(cell.outputs for cell in nb.code) else [f"has no stored outputs; {again}"]
    if entry.get("profile") not in ("laptop", "gpu"):
        problems.append(f"its outputs come from profile {entry.get('profile')!r}; {again}")
    if any(source == "stand-in" and not asked.endswith("stand-in") for asked, source in entry.get("data", {}).items()):
        problems.append(f"its outputs come from the stand-in data; {again} with real data")
    if not is_fresh(nb, entry, package):
        problems.append(f"its code, or a module or model that it reaches, changed after the outputs were stored; {again}")
    return problems


EXECUTED = [nb for nb in BOOK.notebooks if nb.number is not None and nb.runs]


@pytest.mark.parametrize("nb", EXECUTED, ids=lambda nb: nb.key)
def test_stored_outputs_belong_to_the_code(nb):
    problems = run_problems(nb, ledger(ROOT).get(nb.key), PACKAGE)
    assert not problems, f"{nb.rel}:\n  " + "\n  ".join(problems)


def test_the_ledger_lists_no_notebook_that_is_gone():
    gone = sorted(ledger(ROOT).keys() - {nb.key for nb in BOOK.notebooks})
    assert not gone, f"results/executed.json still lists {', '.join(gone)}; remove the entries"


def stand_in_places(value, path: str = "") -> list[str]:
    """Where in a result something says that it comes from the stand-in, or from a smoke run."""
    if isinstance(value, dict):
        return [place for key, item in value.items() for place in stand_in_places(item, f"{path}.{key}")]
    if isinstance(value, list):
        return [place for i, item in enumerate(value) for place in stand_in_places(item, f"{path}[{i}]")]
    leaf = path.rsplit(".", 1)[-1]
    bad = isinstance(value, str) and (value.startswith("stand-in") or (value == "smoke" and leaf == "profile"))
    return [f"{path.lstrip('.')} is {value!r}"] if bad else []


RESULTS = sorted(path for path in (ROOT / "results").glob("*.json") if path.name != "executed.json")


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_no_result_of_the_stand_in_or_of_a_smoke_run_is_stored(path):
    problems = stand_in_places(json.loads(path.read_text(encoding="utf-8")))
    assert not problems, f"{path.name}: {'; '.join(problems[:5])}; measure again with real data in profile laptop"


# ---------------------------------------------------------------- models


def size_problems(sizes: dict[str, int], parts: dict[str, int]) -> list[str]:
    """Bounds in megabytes, over all and part by part; `sizes` are bytes by model, weights and card together."""
    problems = [f"{total / MB:.1f} MB of weights in all ({WHOLE} MB is the bound)"] if (total := sum(sizes.values())) > WHOLE * MB else []
    for name, (members, bound) in BOUNDS.items():
        used = sum(size for model, size in sizes.items() if parts.get(model) in members)
        if used > bound * MB:
            problems.append(f"{used / MB:.1f} MB of weights in {name} ({bound} MB is the bound)")
    return problems


def card_problems(card: dict, weights: bytes, recipe: dict, fingerprint: str, cards: dict[str, dict]) -> list[str]:
    """Is the model what its card says, made by today's recipe from today's parents and real data?"""
    problems = []
    if card.get("sha256") != hashlib.sha256(weights).hexdigest():
        problems.append("the card's sha256 is not the file's; train it again, or restore the file")
    if card.get("fingerprint") != fingerprint:
        changed = [
            key for key in recipe.keys() | card.get("recipe", {}).keys() if plain(recipe.get(key)) != plain(card.get("recipe", {}).get(key))
        ]
        problems.append(f"trained by another recipe (differs in {', '.join(sorted(changed)) or 'nothing visible'}); train it again")
    if card.get("profile") not in ("laptop", "gpu"):
        problems.append(f"trained in profile {card.get('profile')!r}; train it in laptop")
    problems += [f"{place}: train and measure on real data" for place in stand_in_places({k: card.get(k) for k in ("data", "metrics")})]
    for parent, digest in card.get("parents", {}).items():
        if cards.get(parent, {}).get("tensors_sha256") != digest:
            problems.append(f"is a child of another {parent} than the one shipped; train it again")
    lacking = [key for key in ("seed", "wall_seconds", "versions", "metrics") if not card.get(key) and card.get(key) != 0]
    return problems + ([f"the card lacks {', '.join(lacking)}"] if lacking else [])


def plain(value):
    """As JSON would give it back."""
    return json.loads(json.dumps(value))


def card_of(name: str) -> dict:
    path = WEIGHTS / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def test_weights_stay_within_their_bounds():
    from vqdiff_edu.registry import find

    sizes = {name: sum(path.stat().st_size for path in WEIGHTS.glob(f"{name}.*")) for name in NAMES}
    problems = size_problems(sizes, {name: find(name).part for name in NAMES})
    assert not problems, "\n".join(problems)


def test_weights_and_cards_come_in_pairs_and_every_model_is_shipped():
    from vqdiff_edu.registry import training_order

    files = {path.name for path in WEIGHTS.iterdir()} if WEIGHTS.exists() else set()
    expected = {f"{name}.{kind}" for name in training_order() for kind in ("safetensors", "json")}
    assert files == expected, f"missing: {sorted(expected - files)} (make train NAME=…); not registered: {sorted(files - expected)}"


@pytest.mark.parametrize("name", NAMES)
def test_a_model_is_not_stale(name, monkeypatch):
    from vqdiff_edu.registry import find

    card = card_of(name)
    monkeypatch.setenv("VQDIFF_PROFILE", card.get("profile", "laptop"))
    entry = find(name)
    recipe = entry.recipe()
    weights = (WEIGHTS / f"{name}.safetensors").read_bytes()
    problems = card_problems(card, weights, dataclasses.asdict(recipe), recipe.fingerprint(), {other: card_of(other) for other in NAMES})
    if plain(card.get("model", {})) != plain(entry.arguments()):
        problems.append(f"built with {card.get('model')}, today's entry says {entry.arguments()}; train it again")
    assert not problems, f"{name}:\n  " + "\n  ".join(problems)
