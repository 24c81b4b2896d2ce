"""Quarto's post-render step: chapters and appendices carry the numbers of their files (21_reverse_posterior is 21, 70_verify is 70), not Quarto's 1, 2, 3 and
A, B, C; the mends of finish.py; titles and descriptions of the pages' own; and a search that knows these numbers."""

import html
import json
import os
import re
from pathlib import Path
from urllib.parse import quote

from bookdata import ROOT, Book, number_of
from finish import extent, mended, search_entries, words_of

DOCS = ROOT / "_docs"
NAME = Book(ROOT).settings["title"]


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


def without_letters(page: str, here: str) -> str:
    """Solutions carry no number.  Quarto gives them letters, and signs after Z, for it drops what a notebook's title says of itself."""
    number = r'<span class="chapter-number">(?:(?!<span class="chapter-title">).){0,80}(?=<span class="chapter-title">)'
    page = re.sub(
        rf'(<a\b[^>]*href="[^"]*ch\d\d\.html(?:#[^"]*)?"[^>]*>(?:\s|<i\b[^>]*></i>|<span class="(?:menu|nav-page)-text">)*){number}',
        r"\1",
        page,
        flags=re.S,
    )
    blank = r'(ch(\d\d)\.html"[^>]*>\s*(?:<i\b[^>]*></i>\s*)?<span class="(?:menu|nav-page)-text">)(?=</span>)'  # the sign was a bracket
    page = re.sub(blank, r"\1Solutions to chapter \2", page)
    if not re.fullmatch(r"ch\d\d\.html", here):
        return page
    page = re.sub(r"Appendix(?: |&nbsp;)[^\n—]{0,12}?(?: |&nbsp;)?— (?=Solutions)", "", page)
    page = re.sub(r'(?: data-number="[^"]*"|<span class="header-section-number">[^<]*</span>\s*)', "", page)
    return re.sub(rf'(<h1 class="title">(?:<span id="[^"]*"[^>]*>)?){number}', r"\1", page, flags=re.S)


def introduced(page: str) -> str:
    """The page's head with its heading as words and with its promise: Quarto writes formulas twice there, its own number, and the book's description.
    The link to report a mistake names the page."""
    heading, promise = (re.search(rf"<{tag}>(.*?)</{tag.split()[0]}>", page, re.S) for tag in ('h1 class="title"', "blockquote[^>]*"))
    words = words_of(heading[1]) if heading else NAME
    if words != NAME:
        title = html.escape(f"{words} – {NAME}")
        page = re.sub(r"(<title>).*?(</title>)", lambda m: m[1] + title + m[2], page, count=1, flags=re.S)
        page = re.sub(r'(<meta (?:property="og|name="twitter):title" content=")[^"]*', lambda m: m[1] + title, page)
    if promise:
        said = html.escape(words_of(promise[1]))
        page = re.sub(r'(<meta (?:name="|property="og:|name="twitter:)description" content=")[^"]*', lambda m: m[1] + said, page)
    report = re.compile(r"(/issues/new)(\"[^>]*>(?:<i [^>]*></i>)?)Report an issue")
    return report.sub(lambda m: f"{m[1]}?title={quote(words + ': ')}{m[2]}Report a mistake", page)


def fitted(page: str) -> str:
    """Printed text with the length of its longest line, which quarto.css fits to the page."""

    def measured(found) -> str:
        table, columns = extent(html.unescape(re.sub(r"<[^>]*>", "", found[3])).rstrip())
        return f'{found[1]}{" table" if table else ""}" style="--columns:{columns}"{found[2]}{found[3]}'

    return re.sub(r'(<div class="cell-output cell-output-std(?:out|err))"(>\s*<pre[^>]*>)(.*?)(?=</pre>)', measured, page, flags=re.S)


def spare_drawn_links(script: Path) -> None:
    """Quarto's script changes the address of every link, and stops at one inside a drawing, whose address is not a string."""
    if script.exists():
        script.write_text(script.read_text().replace("if (links[i].href) {", 'if (typeof links[i].href === "string") {'))


def main() -> None:
    spare_drawn_links(DOCS / "site_libs" / "quarto-nav" / "quarto-nav.js")
    for file in os.environ["QUARTO_PROJECT_OUTPUT_FILES"].split("\n"):
        path = ROOT / file
        if path.suffix == ".html":
            path.write_text(fitted(introduced(without_letters(mended(mend(path.read_text(), path.name)), path.name))))
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
