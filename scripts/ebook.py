"""The book in one file, from the same chapters as the pages and with the same numbers: an EPUB, and a PDF where the package `typst` is installed.

    python scripts/ebook.py [--out _docs] [--only 21 22]

What only a page can do stays there: films, sounds and players are named and linked; code that the page folds away is left out.
"""

import argparse
import base64
import re
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import render
from bookdata import ROOT
from finish import accents
from render import BOOK, NAME, Chapter, Media, code_cell, markdown, number_book, outside_code, read_book

HERE = Path(__file__).resolve().parent
TITLE = "VQ-VAE and diffusion models: a book that runs"
CSS = """body { line-height: 1.5; } pre { font-size: .72em; white-space: pre-wrap; } pre.output { border-left: 3px solid #999; padding-left: .6em; }
.figure > p { font-size: .9em; } img { max-width: 100%; } .equation { display: flex; align-items: center; } .equation p:first-child { flex: 1; } table { font-size: .85em; }
.to-solution { font-size: .85em; } .callout { border: 1px solid #999; padding: 0 .8em; } .callout-title { font-weight: bold; }
math { font-family: "STIX Two Math", "Cambria Math", "Latin Modern Math", "Book Math", math; }
@font-face { font-family: "Book Math"; src: url("../fonts/math.woff2"); }
"""


@dataclass
class Bound(Chapter):
    """A chapter whose links lead to places in the same file."""

    def link(self, to: Chapter, anchor: str = "") -> str:
        return anchor or f"#{label_of(to)}"


def label_of(chapter: Chapter) -> str:
    """The label of the chapter's title; the preface has none in its source."""
    head = next((cell.source for cell in chapter.cells if cell.kind == "markdown"), "")
    found = re.search(r"^# .*\{#(sec-[\w-]+)", head, re.M)
    return found[1] if found else "preface"


@dataclass
class Paper(Media):
    """Pictures as files, and everything else in plain markdown."""

    page: str = ""  # the chapter's page below the site

    def address(self, data: str, kind: str) -> str:
        stem = self.page.removesuffix(".html").replace("/", "-")
        path = self.folder / f"{stem}-{len(self.saved) + 1}.{kind.partition('/')[2].replace('jpeg', 'jpg').removesuffix('+xml')}"
        path.write_bytes(base64.b64decode(data))
        self.saved.append(path.name)
        return str(path)

    def picture(self, data: str, kind: str, alt: str) -> str:
        return f"![{escaped(alt)}]({self.address(data, kind)})"

    def drawn(self, svg: str, alt: str) -> str:
        return self.picture(base64.b64encode(svg.encode()).decode(), "image/svg+xml", alt)

    def inside(self, text: str) -> str:
        kinds = {"<video": "Films", "<audio": "A sound", "<script": "A player"}
        kind = next((word for tag, word in kinds.items() if tag in text), "A table")
        captions = escaped(", ".join(re.findall(r"<figcaption>(.*?)</figcaption>", text, re.S)))
        return f"*{kind}{captions and f' ({captions})'}, [on the page]({BOOK.site}{self.page}).*"

    def printed(self, text: str, kind: str, columns: int) -> str:
        return f"\n{render.FENCE} {{.output}}\n{text}\n{render.FENCE}\n"


def escaped(text: str) -> str:
    return re.sub(r"([\\\[\]*_$`@^~<>])", r"\\\1", text)


def with_numbers(chapter: Chapter, text: str, levels: list[int]) -> str:
    """Headings that carry their numbers in their words (one file would count its chapters from 1); `levels` counts on from cell to cell."""

    def heading(found) -> str:
        level, words = len(found[1]), found[2]
        if level == 1 and "{#" not in words:
            words = re.sub(r"\s*\{[^}]*\}\s*$", "", words) + " {#preface}"
        if not chapter.number or re.search(r"\{-\}|\.unnumbered", words):
            return f"{found[1]} {words}"
        levels[:] = [*levels[: level - 1], levels[level - 1] + 1, 0, 0, 0, 0][:4]
        return f"{found[1]} {'.'.join([chapter.number, *map(str, levels[1:level])])} {words}"

    return outside_code(text, lambda piece: re.sub(r"^(#{1,4}) (.*)$", heading, piece, flags=re.M))


def text_of(chapter: Chapter, folder: Path, targets, pages) -> str:
    """A chapter in pandoc's markdown, without folded code."""
    page = chapter.page.as_posix()
    here = Bound(chapter.source, chapter.part, chapter.appendix, chapter.cells, media=Paper(folder, page=page))
    pieces, levels = [], [0, 0, 0, 0]
    for cell in here.cells:
        if cell.kind == "markdown":
            text = re.sub(
                r"^::: \{\.actions\}\n.*?^:::$",
                f"[This page on the web]({BOOK.site}{page})",
                markdown(here, cell.source, targets, pages),
                flags=re.M | re.S,
            )
            text = re.sub(r"(`{3,})\{=html\}\n<link [^\n]*<script [^\n]*\n\1", "", text)  # what makes a live figure live
            text = re.sub(r"\]\((?:\.\./)*((?:live|results)/[^)]*)\)", rf"]({ROOT}/\1)", without_site_links(text))
            pieces.append(with_numbers(here, text, levels))
        elif cell.kind == "code":
            pieces += [piece for piece in code_cell(here, cell, targets) if isinstance(piece, str)]
    return "\n\n".join(filter(None, pieces))


def without_site_links(text: str) -> str:
    """The preface's raw HTML without links to files of the site: its graph's boxes, the EPUB itself."""
    text = re.sub(r'<a href="nbs/[^"]*"[^>]*>(.*?)</a>', r"\1", text)
    return re.sub(r'<a href="[\w.]+" download>(.*?)</a>', r"\1", text)


def manuscript(folder: Path, only: list[str] = ()) -> str:
    """All chapters, one after the other, the references at the end."""
    chapters = read_book()
    targets, pages = number_book(chapters), {c.source.resolve(): c for c in chapters}
    chosen = [c for c in chapters if not only or c.number.zfill(2) in only]
    return "\n\n".join([*(text_of(c, folder, targets, pages) for c in chosen), "# References {.unnumbered}\n\n::: {#refs}\n:::\n"])


def pandoc(text: str, *options: str) -> None:
    """The whole book at once: identifiers that are unique on their pages may stand there twice."""
    render.pandoc(text, "the book in one file", *render.CITED, *options, expected="Duplicate identifier")


def write_epub(text: str, out: Path, folder: Path) -> None:
    """The EPUB; afterwards its accents are mended as on the pages."""
    (folder / "book.css").write_text(CSS)
    made = folder / "book.epub"
    options = [
        "-t",
        "epub3",
        "--mathml",
        "--toc",
        "--toc-depth=2",
        "--split-level=1",
        f"--css={folder / 'book.css'}",
        f"--resource-path={ROOT}",
    ]
    options += [
        f"--epub-embed-font={HERE / 'assets' / 'math.woff2'}",
        f"--metadata=title:{TITLE}",
        "--metadata=author:The vqdiff_edu authors",
    ]
    options += [
        "--metadata=lang:en",
        "--metadata=rights:Code: Apache License 2.0. Prose and figures: CC BY 4.0.",
        f"--metadata=identifier:{BOOK.site}",
    ]
    pandoc(text, *options, "-o", str(made))
    with zipfile.ZipFile(made) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        for item in old.infolist():
            data = old.read(item)
            if item.filename.endswith(".xhtml"):
                data = accents(data.decode()).encode()
            new.writestr(item, data, zipfile.ZIP_STORED if item.filename == "mimetype" else zipfile.ZIP_DEFLATED)


def write_pdf(text: str, out: Path, folder: Path) -> list[Path]:
    """The PDF, set by Typst; an equation's number stands at its right.  What Typst cannot set costs the PDF and not the pages: it is said, and [] returned."""
    import typst

    out.unlink(missing_ok=True)

    begin, middle = ("\n```{=typst}\n" + code + "\n```\n" for code in ("#grid(columns: (1fr, auto), align: horizon, [", "], ["))
    equation = re.compile(r"(::: \{#eq-[\w-]+ \.equation\}\n)(\$\$.*?\$\$)\n\n\[(\([\w.]+\))\]\{\.eqno\}\n:::", re.S)
    text = equation.sub(lambda m: f"{m[1]}{begin}\n{m[2]}\n{middle}\n{m[3]}\n\n```{{=typst}}\n])\n```\n:::", text)
    text = text.replace("\\!", "")  # Typst's brackets stand close enough
    options = [
        "-t",
        "typst",
        "--standalone",
        "--toc",
        "--toc-depth=2",
        f"--metadata=title:{TITLE}",
        "--metadata=author:The vqdiff_edu authors",
    ]
    options += ["-V", "papersize=a4", "-V", "fontsize=10pt", f"--include-in-header={HERE / 'book.typ'}"]
    (folder / "page.yaml").write_text("margin: {x: 2cm, top: 2cm, bottom: 2.4cm}\n")
    pandoc(text, *options, f"--metadata-file={folder / 'page.yaml'}", "-o", str(folder / "book.typ"))
    try:
        typst.compile(str(folder / "book.typ"), output=str(out), root=Path(folder.anchor))
    except typst.TypstError as problem:
        print(f"NO PDF: Typst could not set it: {problem}", flush=True)
        return []
    return [out]


def tell(page: Path, made: list[Path]) -> None:
    """The link to the PDF, on the preface's page, if there is a PDF."""
    if len(made) > 1 and page.exists():
        link = f' The same <a href="{made[1].name}" download>as a PDF</a>, for paper.'
        page.write_text(page.read_text(encoding="utf-8").replace("<!-- the PDF -->", link), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "_docs")
    parser.add_argument("--only", nargs="*", default=[], help="numbers of chapters; none: the whole book")
    parser.add_argument("--no-pdf", action="store_true")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        text = manuscript(folder, args.only)
        target = args.out / f"{NAME}.epub"
        write_epub(text, target, folder)
        made = [target]
        if not args.no_pdf and find_spec("typst"):
            made += write_pdf(text, target.with_suffix(".pdf"), folder)
        tell(args.out / "index.html", made)
    print("; ".join(f"{path.name}: {path.stat().st_size / 2**20:.1f} MB" for path in made))
    if not find_spec("typst"):
        print("no PDF: the package typst is not installed")
    if render.faults:
        sys.exit("these could not be resolved:\n  " + "\n  ".join(dict.fromkeys(render.faults)))


if __name__ == "__main__":
    main()
