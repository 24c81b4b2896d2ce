"""The book's table of contents: _quarto.yml lists what exists, in reading order."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bookdata import ROOT, Book

BOOK = Book()
CONFIG = ROOT / "_quarto.yml"


def contents_problems(book: Book) -> list[str]:
    """Chapters that are not listed, listed ones that do not exist, twice, or out of order."""
    chapters = [entry.file for entry in book.contents if not entry.appendix]
    appendices = [entry.file for entry in book.contents if entry.appendix]
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
    problems = contents_problems(BOOK)
    assert not problems, "\n".join(problems)


def test_quarto_would_accept_the_configuration():
    """`panache` knows Quarto's schema; without it, nothing is said here."""
    panache = shutil.which("panache", path=str(Path(sys.executable).parent)) or shutil.which("panache")
    if panache is None:
        pytest.skip("panache is not installed (pip install -e '.[dev]')")
    rules = ["--select", "quarto-schema", "--select", "quarto-schema-unknown-key"]
    done = subprocess.run([panache, "lint", *rules, str(CONFIG)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
