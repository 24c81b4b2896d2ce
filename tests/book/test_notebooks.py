"""What every notebook of the book is like: short cells, clean outputs, a title, captions, no trace of the machine it ran on."""

import ast
import re

import pytest

from bookdata import Book, Cell, Notebook

BOOK = Book()
LONGEST_CELL, LONGEST_CLASS, LARGEST_NOTEBOOK = 40, 90, 2 * 2**20
FOLDERS = ("home", "root", "tmp", "work", "Users", "private", "mnt")
MACHINE_PATH = re.compile(r"(?<![\w.:~/+=-])/(?:" + "|".join(FOLDERS) + r")/[\w.]|\b[A-Z]:\\\\?Users\b")


def shape_problems(nb: Notebook) -> list[str]:
    """Length, ending, size."""
    problems = [
        f"cell {c.index} has {c.lines} lines ({bound} is the bound{' for a class' if bound > LONGEST_CELL else ''}); make it shorter"
        for c in nb.code
        if c.lines > (bound := longest(c))
    ]
    if not nb.cells or nb.cells[-1].kind != "markdown":
        problems.append("the last cell must be markdown (and hand over a question)")
    if (size := nb.path.stat().st_size) > LARGEST_NOTEBOOK:
        problems.append(f"{size / 2**20:.1f} MB with outputs (2 MB is the bound); store smaller pictures")
    return problems


def longest(cell: Cell) -> int:
    """The most lines that a cell may have: a class stands whole in one cell."""
    whole = sum(isinstance(node, ast.ClassDef) for node in cell.tree.body) == len(cell.tree.body) == 1
    return LONGEST_CLASS if whole else LONGEST_CELL


def import_mix(cell: Cell) -> bool:
    """Does an import stand among other code? nbdev's filter runs a cell with an import, whatever else is in it, unless `eval: false`."""
    if cell.directives.get("eval") == "false":
        return False
    imports = [is_import(node) for node in cell.tree.body]
    return any(imports) and not all(imports)


def is_import(node: ast.stmt) -> bool:
    """An import, also one for the type checker alone, or one that says which extra is missing."""
    if isinstance(node, ast.If):
        return getattr(node.test, "id", "") == "TYPE_CHECKING" and all(map(is_import, node.body))
    if isinstance(node, ast.Try):
        return all(map(is_import, node.body)) and all(getattr(handler.type, "id", "") == "ImportError" for handler in node.handlers)
    return isinstance(node, (ast.Import, ast.ImportFrom))


def output_problems(nb: Notebook, stand_in: str) -> list[str]:
    """Stored errors, and results that come from the stand-in data."""
    problems = [
        f"cell {c.index} stores an error; run the chapter again" for c in nb.code if any(o["output_type"] == "error" for o in c.outputs)
    ]
    notice = " ".join(stand_in.split())[:60]
    found = [c.index for c in nb.code if notice in " ".join(c.printed.split())]
    return problems + [f"cell {i} stores a result of the stand-in data; run the chapter with real data" for i in found]


def path_problems(nb: Notebook) -> list[str]:
    """Folders of somebody's machine in text, code or outputs."""
    problems = []
    for cell in nb.cells:
        for text, what in ((cell.source, "says"), (cell.printed, "prints")):
            if found := MACHINE_PATH.search(text):
                around = text[max(0, found.start() - 10) : found.end() + 25]
                problems.append(f"cell {cell.index} {what} {around!r}; no path of this machine belongs in the book")
    return problems


def figure_problems(nb: Notebook) -> list[str]:
    """Labelled figures without caption or alt text; pictures without alt text."""
    problems = []
    for cell in nb.code:
        label = cell.directives.get("label", "")
        needed = ("fig-cap", "fig-alt") if label.startswith("fig-") else ("fig-alt",) if cell.has_picture else ()
        problems += [
            f"cell {cell.index} ({label or 'a picture'}) has no `#| {key}:`" for key in needed if len(cell.directives.get(key, "")) < 15
        ]
        if label.startswith("fig-") and cell.directives.get("fig-cap") == cell.directives.get("fig-alt") is not None:
            problems.append(f"cell {cell.index} ({label}): the alt text repeats the caption; say what is to be seen")
    return problems


def title_problems(nb: Notebook, badge: str) -> list[str]:
    """The title and its label; in a chapter also the promise and the Colab badge."""
    first = nb.cells[0] if nb.cells else None
    opening = next((cell.source for cell in nb.cells if cell.kind == "markdown"), "")
    titles = re.findall(r"(?m)^# .*$", re.sub(r"(?ms)^```.*?^```", "", nb.prose))
    problems = []
    if len(titles) != 1 or not opening.startswith("# "):
        problems.append(f"the first markdown cell begins with the only `# Title` of the page; found {titles or 'none'}")
    elif not re.search(r"\{#sec-[\w-]+\}\s*$", titles[0]):
        problems.append(f"the title has no label: {titles[0]} {{#sec-…}}")
    if nb.number is not None and nb.number < 70:
        if not re.search(r"(?m)^> \S", opening):
            problems.append("no one-line promise (`> …`) under the title")
        if badge not in nb.prose:
            problems.append(f"no Colab badge to {badge}")
    wrong = [url for url in re.findall(r"https://colab\.research\.google\.com/github/[^\s)\"']+", nb.prose) if url != badge]
    return problems + [f"a Colab link leads elsewhere: {url}" for url in wrong] + ([] if first else ["no cells"])


def badge_of(book: Book, nb: Notebook) -> str:
    """Where this notebook opens in Colab, by settings.ini."""
    s = book.settings
    return f"https://colab.research.google.com/github/{s['user']}/{s['repo']}/blob/{s['branch']}/{nb.rel}"


def explained(nb: Notebook, problems: list[str]) -> str:
    return f"{nb.rel}:\n  " + "\n  ".join(problems)


every_notebook = pytest.mark.parametrize("nb", BOOK.notebooks, ids=lambda nb: nb.key)


@every_notebook
def test_cells_are_short_and_the_last_is_markdown(nb):
    assert not shape_problems(nb), explained(nb, shape_problems(nb))


@every_notebook
def test_imports_stand_in_cells_of_their_own(nb):
    mixed = [cell.index for cell in nb.code if import_mix(cell)]
    assert not mixed, f"{nb.rel}: cells {mixed} mix imports with other code; give the imports a cell of their own"


@every_notebook
def test_no_error_and_no_stand_in_result_is_stored(nb):
    from vqdiff_edu.data import STANDIN_NOTICE

    problems = output_problems(nb, STANDIN_NOTICE)
    assert not problems, explained(nb, problems)


@every_notebook
def test_no_path_of_a_machine(nb):
    assert not path_problems(nb), explained(nb, path_problems(nb))


@every_notebook
def test_figures_have_captions_and_alt_text(nb):
    assert not figure_problems(nb), explained(nb, figure_problems(nb))


@every_notebook
def test_title_promise_and_badge(nb):
    problems = title_problems(nb, badge_of(BOOK, nb))
    assert not problems, explained(nb, problems)
