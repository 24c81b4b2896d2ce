"""Each chapter says what it needs; the reading order, the imports and the preface's graph agree with that."""

import re

import pytest

from bookdata import LINK, Book, Notebook, number_of
from graph import with_graph

from .test_modules import kind

BOOK = Book()


def behind(book: Book, nb: Notebook) -> set[str]:
    """All that a chapter needs, directly or through others."""
    chapters, found, queue = {other.rel: other for other in book.chapters}, set(), [nb]
    while queue:
        new = {need for need in queue.pop().needs or () if need in chapters} - found
        found |= new
        queue += [chapters[need] for need in new]
    return found


def needs_problems(book: Book, nb: Notebook) -> list[str]:
    """A chapter without its line, needs that do not exist or come later, imports from a chapter that it does not need."""
    if not nb.is_chapter:
        return []
    if nb.needs is None:
        return ["its head has no line `*Needs: [data](02_data.ipynb), …*` (or `*Needs: nothing.*`)"]
    known, problems = {other.rel: other for other in book.notebooks}, []
    for need in nb.needs:
        if need not in known:
            problems.append(f"needs {need}, which does not exist")
        elif not known[need].is_chapter:
            problems.append(f"needs {need}, which is no chapter")
        elif known[need].number >= nb.number:
            problems.append(f"needs {need}, which comes later")
    imported = {module: book.modules[module][0].rel for module in nb.imports & book.modules.keys() if kind(book, module) == "chapter"}
    return problems + [
        f"imports {module}, so it needs {source}; say so in its line"
        for module, source in sorted(imported.items())
        if source not in (behind(book, nb) | {nb.rel})
    ]


def graph_problems(book: Book) -> list[str]:
    """Is the preface's graph the one that the needs ask for?"""
    text = (book.root / "index.qmd").read_text(encoding="utf-8")
    try:
        return [] if with_graph(text, book) == text else ["the preface's graph is not what the chapters' needs say; run `make graph`"]
    except ValueError as error:
        return [str(error)]


def way_problems(book: Book) -> list[str]:
    """Rows of the preface's "Ways to read" that do not follow the reading order."""
    table = (book.root / "index.qmd").read_text(encoding="utf-8").partition("## Ways to read")[2].partition("\n## ")[0]
    ways = [[number_of(link) for link in LINK.findall(line)] for line in re.findall(r"(?m)^\|.*\|$", table)]
    return [f"the way {', '.join(map(str, way))} is not in reading order" for way in ways if way != sorted(way)]


@pytest.mark.parametrize("nb", BOOK.chapters, ids=lambda nb: nb.key)
def test_a_chapter_needs_only_what_comes_before(nb):
    problems = needs_problems(BOOK, nb)
    assert not problems, f"{nb.rel}:\n  " + "\n  ".join(problems)


def test_the_graph_is_what_the_needs_say():
    assert not graph_problems(BOOK), "\n".join(graph_problems(BOOK))


def test_ways_to_read_follow_the_reading_order():
    assert not way_problems(BOOK), "\n".join(way_problems(BOOK))
