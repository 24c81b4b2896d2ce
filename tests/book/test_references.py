"""Numbered results are verified and cited; labels, citations and links lead somewhere; formulas can be read."""

import re
import subprocess
from urllib.parse import unquote

import pypandoc
import pytest

from bookdata import CODE_SPAN, EQ_DEF, LINK, VERIFY, Book, Notebook
from pagecells import TAG

BOOK = Book()
FINDABLE = re.compile(r"^\s*(doi|eprint|url|isbn)\s*=\s*[{\"]\s*\S", re.M | re.I)


def equation_problems(book: Book, nb: Notebook) -> list[str]:
    """Equations that are numbered here and not tested here, or cited nowhere; checks of equations that do not exist."""
    numbered, verified = EQ_DEF.findall(nb.prose), set(VERIFY.findall(nb.source))
    problems = [
        f'{eq} is numbered but no cell here says verify("{eq}", …); test it, or take the number off'
        for eq in numbered
        if eq not in verified
    ]
    problems += [
        f"{eq} is numbered but no text says @{eq}; cite it, or take the number off" for eq in numbered if eq not in book.references
    ]
    return problems + [f"verifies {eq}, which numbers no equation of the book" for eq in sorted(verified - book.labels.keys())]


def label_problems(book: Book) -> list[str]:
    """Labels given twice."""
    return [f"{label} is defined {len(pages)} times: {', '.join(pages)}" for label, pages in sorted(book.labels.items()) if len(pages) > 1]


def reference_problems(book: Book, page: str) -> list[str]:
    """`@eq-…`, `@fig-…`, `@sec-…` that no page defines."""
    cited = {label for label, pages in book.references.items() if page in pages}
    return [f"@{label} is defined nowhere" for label in sorted(cited - book.labels.keys())]


def citation_problems(book: Book, page: str) -> list[str]:
    """`[@key]` without an entry in references.bib."""
    cited = {key for key, pages in book.citations.items() if page in pages}
    return [f"@{key} is not in references.bib" for key in sorted(cited - book.bibliography.keys())]


def entry_problems(book: Book, key: str) -> list[str]:
    """What an entry of the bibliography lacks."""
    entry, problems = book.bibliography[key], []
    if not FINDABLE.search(entry):
        problems.append("has no doi, eprint (arXiv), isbn or url: nobody can find it")
    if key not in book.citations:
        problems.append("is cited nowhere; cite it or remove it")
    if len(re.findall(r"(?m)^@\w+\s*\{", entry)) > 1:
        problems.append("stands in references.bib twice")
    if not re.fullmatch(r"[a-z]+\d{4}[a-z0-9]+", key):
        problems.append("a key is author, year and a word, such as ho2020denoising")
    return problems


def link_problems(book: Book, page: str) -> list[str]:
    """Relative links that lead to no file, or to a section that is defined nowhere."""
    problems, here = [], (book.root / page).parent
    for target in LINK.findall(CODE_SPAN.sub(" ", book.pages[page])):
        path, _, anchor = unquote(target).partition("#")
        if re.match(r"[a-z][\w+.-]*:", target):  # https:, mailto:, attachment:
            continue
        if path and not (here / path).resolve().is_relative_to(book.root.resolve()):
            problems.append(f"{target} leaves the project")
        elif path and not (here / path).exists():
            problems.append(f"{target} does not exist")
        if re.match(r"(eq|fig|sec|tbl|lst)-", anchor) and anchor not in book.labels:
            problems.append(f"#{anchor} is defined nowhere")
    return problems


def formula_problems(book: Book) -> list[str]:
    """Formulas that cannot be turned into MathML, with their pages; pandoc, which makes it, names them."""
    text = "\n\n".join(TAG.sub("", CODE_SPAN.sub(" ", prose)) for prose in book.pages.values())  # pages number by themselves
    command = [pypandoc.get_pandoc_path(), "--from", "markdown+tex_math_dollars", "--to", "html5", "--mathml"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=True)
    found = re.findall(r"\[WARNING\] Could not convert TeX math (.*?)(?:, rendering as TeX.*)?$", done.stderr, re.M)
    return [f"{', '.join(page for page, prose in book.pages.items() if formula in prose) or 'somewhere'}: {formula}" for formula in found]


def explained(page: str, problems: list[str]) -> str:
    return f"{page}:\n  " + "\n  ".join(problems)


@pytest.mark.parametrize("nb", BOOK.notebooks, ids=lambda nb: nb.key)
def test_numbered_equations_are_verified_and_cited(nb):
    problems = equation_problems(BOOK, nb)
    assert not problems, explained(nb.rel, problems)


def test_labels_are_unique():
    assert not label_problems(BOOK), "\n".join(label_problems(BOOK))


@pytest.mark.parametrize("page", BOOK.pages)
def test_references_resolve(page):
    problems = reference_problems(BOOK, page)
    assert not problems, explained(page, problems)


@pytest.mark.parametrize("page", BOOK.pages)
def test_citations_are_in_the_bibliography(page):
    problems = citation_problems(BOOK, page)
    assert not problems, explained(page, problems)


def test_formulas_become_mathml():
    problems = formula_problems(BOOK)
    assert not problems, "these cannot be read as TeX:\n  " + "\n  ".join(problems)


@pytest.mark.parametrize("key", BOOK.bibliography)
def test_bibliography_entries_can_be_found_and_are_cited(key):
    problems = entry_problems(BOOK, key)
    assert not problems, explained(key, problems)


@pytest.mark.parametrize("page", BOOK.pages)
def test_relative_links_lead_somewhere(page):
    problems = link_problems(BOOK, page)
    assert not problems, explained(page, problems)
