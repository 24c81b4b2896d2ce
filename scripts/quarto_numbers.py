"""Quarto's post-render step: chapters and appendices carry the numbers of their files (21_reverse_posterior is 21, 70_verify is 70), not Quarto's 1, 2, 3 and
A, B, C; the mends of finish.py; and a search that knows these numbers."""

import json
import os
import re
from pathlib import Path

from bookdata import ROOT, Book, number_of
from finish import mended, search_entries

DOCS = ROOT / "_docs"


def chapter_numbers() -> dict[str, tuple[str, str]]:
    """page, as a link without folders -> (Quarto's number, ours)"""
    contents = Book().contents
    files = [Path(entry.file) for entry in contents if entry.part and not entry.appendix]
    numbers = {file.with_suffix(".html").name: (str(n), str(number_of(file))) for n, file in enumerate(files, 1)}
    appendices = [Path(entry.file) for entry in contents if entry.appendix and number_of(entry.file) is not None]
    return numbers | {file.with_suffix(".html").name: (chr(64 + n), str(number_of(file))) for n, file in enumerate(appendices, 1)}


NUMBERS = chapter_numbers()
OWN = [  # where a page writes its own chapter's number, and what comes before it
    re.compile(r"(<title>)(\d+)"),
    re.compile(r"(Appendix(?: |&nbsp;))([A-Z])(?=\b)"),
    re.compile(r'(<h1 class="title">(?:(?!</h1>).)*?<span class="chapter-number">)(\d+|[A-Z]\b)', re.S),
    re.compile(r'(\bdata-number="|<span class="header-section-number">)((?:\d+|[A-Z])\.)'),
    re.compile(r"((?:Figure|Table)&nbsp;)((?:\d+|[A-Z])\.\d+:)"),
    re.compile(r"(\\qquad\()((?:\d+|[A-Z])\.\d+)"),  # an equation's number, as TeX
    re.compile(r"(<mi>)([A-Z])(?=</mi><mn>\.\d+</mn><mo[^>]*>\)</mo>(?:</mrow>)*<annotation[^>]*>(?:(?!</annotation>).)*\\qquad\()", re.S),
    re.compile(
        r"(<mn>)(\d+\.\d+)(?=</mn><mo[^>]*>\)</mo>(?:</mrow>)*<annotation[^>]*>(?:(?!</annotation>).)*\\qquad\()", re.S
    ),  # and as MathML
]


def renumber(text: str, page: str) -> str:
    """Replace `page`'s number where it begins the one number in `text`."""
    theirs, ours = NUMBERS[page]
    return re.sub(rf"(?<![\d.]){theirs}(?![\d])", ours, text, count=1)


def page_of(link: str, here: str) -> str:
    """The page that a link leads to, without folders."""
    return link.partition("#")[0].rpartition("/")[2] or here


def mend(html: str, here: str) -> str:
    """The page `here` with our numbers: of its own headings, figures and equations, and in links to other chapters."""

    def linked(m):  # <a href="...21_x.html#...">... chapter number, or Equation 12.3 ...</a>
        page = page_of(m[2], here)
        return m[1] + renumber(m[3], page) if page in NUMBERS else m[0]

    html = re.sub(r'(<a\b[^>]*href="([^"]*)"[^>]*class="[^"]*quarto-xref[^"]*"[^>]*>)(.*?</a>)', linked, html, flags=re.S)
    html = re.sub(
        r'(<a\b[^>]*href="([^"]*)"[^>]*>(?:(?!</a>).)*?)(<span class="chapter-number">(?:\d+|[A-Z])</span>)', linked, html, flags=re.S
    )
    if here not in NUMBERS:
        return html
    for number in OWN:
        html = number.sub(lambda m: m[1] + renumber(m[2], here), html)
    return html


def main() -> None:
    for file in os.environ["QUARTO_PROJECT_OUTPUT_FILES"].split("\n"):
        path = ROOT / file
        if path.suffix == ".html":
            path.write_text(mended(mend(path.read_text(), path.name)))
    write_search(DOCS / "search.json")


def write_search(index: Path) -> None:
    """Quarto's search entries, made anew from the finished pages: their numbers, and each formula once.  A format that is not HTML has no index."""
    if not index.exists():
        return
    crumbs = {entry["href"].partition("#")[0]: entry.get("crumbs", []) for entry in json.loads(index.read_text())}
    entries = []
    for page in crumbs:
        if (path := DOCS / page).exists():
            entries += [entry | {"crumbs": crumbs[page]} for entry in search_entries(path.read_text(), page)]
    index.write_text(json.dumps(entries, indent=2))


if __name__ == "__main__":
    main()
