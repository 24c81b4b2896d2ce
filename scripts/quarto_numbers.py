"""Quarto's post-render step: chapters carry the numbers of their files (21_reverse_posterior is 21), not Quarto's 1, 2, 3."""

import json
import os
import re
from pathlib import Path

from bookdata import ROOT, Book, number_of

DOCS = ROOT / "_docs"


def chapter_numbers() -> dict[str, tuple[str, str]]:
    """page, as a link without folders -> (Quarto's number, ours)"""
    files = [Path(entry.file) for entry in Book().contents if entry.part and not entry.appendix]
    return {file.with_suffix(".html").name: (str(n), str(number_of(file))) for n, file in enumerate(files, 1)}


NUMBERS = chapter_numbers()
OWN = [  # where a page writes its own chapter's number, and what comes before it
    re.compile(r"(<title>)(\d+)"),
    re.compile(r'(<h1 class="title">(?:(?!</h1>).)*?<span class="chapter-number">)(\d+)', re.S),
    re.compile(r'(\bdata-number="|<span class="header-section-number">)(\d+\.)'),
    re.compile(r"((?:Figure|Table)&nbsp;)(\d+\.\d+:)"),
    re.compile(r"(\\qquad\()(\d+\.\d+)"),  # an equation's number, as TeX
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
    html = re.sub(r'(<a\b[^>]*href="([^"]*)"[^>]*>(?:(?!</a>).)*?)(<span class="chapter-number">\d+</span>)', linked, html, flags=re.S)
    if here not in NUMBERS:
        return html
    for number in OWN:
        html = number.sub(lambda m: m[1] + renumber(m[2], here), html)
    return html


def main() -> None:
    for file in os.environ["QUARTO_PROJECT_OUTPUT_FILES"].split("\n"):
        path = ROOT / file
        if path.suffix == ".html":
            path.write_text(mend(path.read_text(), path.name))
    index = DOCS / "search.json"
    entries = json.loads(index.read_text())
    for entry in entries:
        page = page_of(entry["href"], "")
        if page in NUMBERS:
            for key, start in (("title", r"^\d+"), ("section", r"^\d+"), ("text", r"^\d+(?=\.\d)")):
                entry[key] = re.sub(start, lambda m, page=page: renumber(m[0], page), entry[key])
    index.write_text(json.dumps(entries, indent=2))


if __name__ == "__main__":
    main()
