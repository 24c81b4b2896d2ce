"""Where live figures stand: each in some chapter, with its stored picture on the page, and with scripts only where there is one."""

import re

import pytest

import live
from bookdata import ROOT, Book

PLACED = {
    (notebook.rel, name): cell.source
    for notebook in Book(ROOT).notebooks
    for cell in notebook.cells
    for name, _ in live.PLACE.findall(cell.source)
}
CELL = '<div class="live" data-figure="two-bells">\n\nDrag *me*.\n\n</div>'


def test_a_placed_figure_is_its_picture_its_words_and_its_script():
    text = live.place(CELL, "../../live")
    assert (
        text.startswith('::: {.live data-figure="two-bells"}\n![')
        and "(../../live/pictures/two-bells.png){.live-still}\\\nDrag *me*.\n:::" in text
    )
    assert '<script type="module" src="../../live/live.js">' in text


def test_text_without_a_figure_stays_as_it_is():
    text = 'A paragraph, and `<div class="live" data-figure="two-bells">` in code.\n'
    assert live.place(text) == text


def test_a_figure_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="no live figure called 'three-bells'"):
        live.place(CELL.replace("two-bells", "three-bells"))


def test_every_figure_stands_in_a_chapter():
    assert {name for _, name in PLACED} == set(live.figures())


def test_a_chapter_holds_a_figure_only_once():
    cells = [(rel, source) for (rel, _), source in PLACED.items()]
    assert len(cells) == sum(len(live.PLACE.findall(source)) for source in PLACED.values())


def test_no_cell_means_a_figure_and_is_not_read_as_one():
    """A missing empty line, and the page would show nothing but the sentence."""
    for notebook in Book(ROOT).notebooks:
        for cell in notebook.cells:
            if cell.kind == "markdown" and re.search(r"^<div class=.live.", cell.source, re.M):
                assert live.PLACE.search(cell.source), f"{notebook.rel}, cell {cell.index}"


@pytest.mark.parametrize("name", live.figures())
def test_a_figure_has_its_module_its_picture_and_words_for_it(name):
    script = (live.LIVE / "figures" / f"{name}.js").read_text(encoding="utf-8")
    assert all(f'"{model}"' in script for model in live.figures()[name]["models"])
    assert len(live.figures()[name]["alt"]) > 60
    assert (live.LIVE / "pictures" / f"{name}.png").stat().st_size < 120_000


def test_nothing_of_the_figures_asks_for_something_outside():
    for path in live.LIVE.rglob("*.[jc]s*"):
        if path.suffix in (".js", ".css"):
            assert not re.search(r"https?://", path.read_text(encoding="utf-8")), path.name
