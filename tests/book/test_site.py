"""The book's table of contents: _quarto.yml lists what exists, in reading order."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from .book import ROOT, Book

BOOK = Book()
CONFIG = ROOT / "_quarto.yml"


def listed(node) -> list[str]:
    """Every file that a `chapters:` or `appendices:` list names, parts opened."""
    if isinstance(node, str):
        return [node]
    if isinstance(node, dict):
        own = [node[key] for key in ("file", "href") if key in node] + [node["part"]] * str(node.get("part", "")).endswith(
            (".qmd", ".ipynb")
        )
        return own + listed(node.get("chapters", []))
    return [name for item in node for name in listed(item)]


def contents_problems(book: Book, config: dict) -> list[str]:
    """Chapters that are not listed, listed ones that do not exist, twice, or out of order."""
    chapters, appendices = listed(config["book"].get("chapters", [])), listed(config["book"].get("appendices", []))
    names, existing = chapters + appendices, [nb.rel for nb in book.notebooks]
    problems = [f"{name} is not listed in _quarto.yml" for name in existing if name not in names]
    problems += [f"_quarto.yml lists {name}, which does not exist" for name in names if not (book.root / name).exists()]
    problems += [f"_quarto.yml lists {name} twice" for name in sorted(set(names)) if names.count(name) > 1]
    in_order = [name for name in names if name in existing]
    if in_order != sorted(in_order):
        problems.append("_quarto.yml does not list the notebooks in the order of their numbers")
    problems += [f"{name} belongs to the appendices" for name in chapters if name.startswith(("nbs/7_", "nbs/9_"))]
    return problems + ([] if "index.qmd" in chapters[:1] else ["a Quarto book begins with index.qmd"])


def test_the_contents_list_exactly_what_exists():
    problems = contents_problems(BOOK, yaml.safe_load(CONFIG.read_text(encoding="utf-8")))
    assert not problems, "\n".join(problems)


def test_quarto_would_accept_the_configuration():
    """`panache` knows Quarto's schema; without it, nothing is said here."""
    panache = shutil.which("panache", path=str(Path(sys.executable).parent)) or shutil.which("panache")
    if panache is None:
        pytest.skip("panache is not installed (pip install -e '.[dev]')")
    rules = ["--select", "quarto-schema", "--select", "quarto-schema-unknown-key"]
    done = subprocess.run([panache, "lint", *rules, str(CONFIG)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
