"""The book's table of contents: _quarto.yml lists what exists, in reading order."""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

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


def metadata_problems(root: Path) -> list[str]:
    """Do all files that describe the project say what settings.ini says?"""
    settings, problems = Book(root).settings, []
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    book, citation = (yaml.safe_load((root / name).read_text(encoding="utf-8")) for name in ("_quarto.yml", "CITATION.cff"))
    readme = " ".join((root / "README.md").read_text(encoding="utf-8").split())
    url = f"https://github.com/{settings['user']}/{settings['repo']}"
    said = {
        "pyproject.toml's description": (project["project"]["description"], settings["description"]),
        "_quarto.yml's subtitle": (book["book"]["subtitle"], settings["description"]),
        "CITATION.cff's abstract": (citation["abstract"], settings["description"]),
        "CITATION.cff's version": (str(citation["version"]), settings["version"]),
        "CITATION.cff's repository-code": (citation["repository-code"], url),
        "pyproject.toml's Repository": (project["project"]["urls"]["Repository"], url),
        "[tool.nbdev]'s branch": (project["tool"]["nbdev"]["branch"], settings["branch"]),
        "[tool.nbdev]'s lib_path": (project["tool"]["nbdev"]["lib_path"], settings["lib_path"]),
    }
    problems += [f"{name} is {ours!r}; settings.ini says {theirs!r}" for name, (ours, theirs) in said.items() if ours != theirs]
    return problems + ([] if settings["description"] in readme else ["README.md does not open with the description of settings.ini"])


def test_the_project_is_described_in_one_way():
    assert not metadata_problems(ROOT), "\n".join(metadata_problems(ROOT))


def test_quarto_would_accept_the_configuration():
    """`panache` knows Quarto's schema; without it, nothing is said here."""
    panache = shutil.which("panache", path=str(Path(sys.executable).parent)) or shutil.which("panache")
    if panache is None:
        pytest.skip("panache is not installed (pip install -e '.[dev]')")
    rules = ["--select", "quarto-schema", "--select", "quarto-schema-unknown-key"]
    done = subprocess.run([panache, "lint", *rules, str(CONFIG)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
