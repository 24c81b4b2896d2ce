"""The book's pages, made with pandoc: what `make book` does without Quarto.

    python scripts/render.py                       every chapter of _quarto.yml -> _docs/
    python scripts/render.py 21 26                 those chapters alone, in a site that was made before
    python scripts/render.py --page IN.ipynb OUT.html     one notebook, standing alone

Numbered equations, figures, sections and the references to them are worked out here (chapter 21's third equation is
21.3); mathematics becomes MathML, citations a list of references.  A page loads nothing from outside.
A reference, link, citation or formula that cannot be resolved is named, and the exit status is 1.
"""

import argparse
import base64
import html
import io
import json
import os
import re
import shutil
import struct
import subprocess
import sys
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from urllib.parse import quote

import pypandoc
from PIL import Image

import live
from bookdata import ROOT, Book, Cell, cells_of, number_of, split_directives
from finish import extent, mended, search_entries, words_of
from pagecells import fold_label, prose, set_narrower

HERE = Path(__file__).resolve().parent
BOOK = Book(ROOT)
NAME = BOOK.settings["title"]
KINDS = {"eq": "Equation", "fig": "Figure", "tbl": "Table", "sec": "Section"}
LABEL = r"(?:eq|fig|tbl|sec)-[\w-]*\w"
CODE = re.compile(r"(^ *(`{3,}|~{3,}).*?^ *\2 *$|(?<!`)`[^`\n]+`(?!`))", re.MULTILINE | re.DOTALL)
FENCE = "`" * 12
READER = "markdown+fenced_divs+citations+tex_math_dollars+raw_attribute+bracketed_spans-smart-implicit_figures"
HTML = ("-t", "html5", "--mathml")
CITED = ("--citeproc", "--bibliography=references.bib", "--metadata=link-citations:true")
BADGE = re.compile(r"^\[!\[[^\]]*\]\(https?:[^)]*\)\]\((https://colab[^)]*)\)[ ]*$", re.MULTILINE)
GROUPS = {"7_tools": "Tools", "9_appendix": "Reference", "solutions": "Solutions"}  # of the appendices, by folder
faults: list[str] = []


@dataclass
class Chapter:
    source: Path  # a notebook, or index.qmd
    part: str = ""
    appendix: bool = False
    cells: list = field(default_factory=list)
    title: str = ""  # in markdown; `heading` is the same in HTML
    heading: str = ""
    promise: str = ""  # the line that begins with `>`, in words
    media: "Media" = field(default_factory=lambda: Media())

    @property
    def file(self) -> str:
        return self.source.relative_to(ROOT).as_posix()

    @property
    def number(self) -> str:
        """The chapter's number; a file without one is not numbered."""
        found = number_of(self.source)
        return "" if found is None else str(found)

    @property
    def page(self) -> Path:
        """Where its page lies below the site's root."""
        return self.source.relative_to(ROOT).with_suffix(".html")

    @property
    def root(self) -> str:
        """The way from its page to the site's root."""
        return os.path.relpath(".", self.page.parent)

    def link(self, to: "Chapter", anchor: str = "") -> str:
        return os.path.relpath(to.page, self.page.parent) + anchor


@dataclass
class Media:
    """Where a page's pictures, films and sounds go: into a folder beside it, or into the page itself (`folder` is None)."""

    folder: Path | None = None
    saved: list[str] = field(default_factory=list)

    def address(self, data: str, kind: str) -> str:
        """A URL for data in base64."""
        if self.folder is None:
            return f"data:{kind};base64,{data.strip()}"
        content, kind = lighter(base64.b64decode(data), kind)
        name = f"{len(self.saved) + 1}.{kind.partition('/')[2].removeprefix('x-').replace('jpeg', 'jpg')}"
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / name).write_bytes(content)
        self.saved.append(name)
        return f"{self.folder.name}/{name}"

    def picture(self, data: str, kind: str, alt: str) -> str:
        return raw(f'<img src="{self.address(data, kind)}"{size_of(data, kind)} alt="{html.escape(alt)}" loading="lazy">')

    def drawn(self, svg: str, alt: str) -> str:
        return raw(f'<div role="img" aria-label="{html.escape(alt)}">{svg}</div>')

    def inside(self, text: str) -> str:
        """HTML without what it would load from elsewhere (matplotlib's player asks for a font of icons), films and sounds as files."""
        text = re.sub(r"<link\b[^>]*https?:[^>]*>", "", text)
        text = re.sub(r"<script\b[^>]*\bsrc=[\"']?https?:[^>]*>\s*</script>", "", text)
        return raw(re.sub(r'(?<=src=")data:((?:video|audio)/[\w+-]+);base64,([^"]*)', lambda found: self.address(found[2], found[1]), text))

    def printed(self, text: str, kind: str, columns: int) -> str:
        return raw(f'<pre class="output {kind}" style="--columns:{columns}">{html.escape(text)}</pre>')

    def folded(self, label: str, code: str) -> str:
        return f"{raw(f'<details><summary>{html.escape(label)}</summary>')}\n\n{code}\n\n{raw('</details>')}"


# ---------------------------------------------------------------- reading


def read_book() -> list[Chapter]:
    """The chapters and appendices of _quarto.yml, in order, with their cells."""
    entries = [Chapter(ROOT / file, part or "Appendix" * appendix, appendix) for file, part, appendix in Book(ROOT).contents]
    faults.extend(f"_quarto.yml: {entry.source.relative_to(ROOT)} does not exist" for entry in entries if not entry.source.exists())
    chapters = [entry for entry in entries if entry.source.exists()]
    for chapter in chapters:
        chapter.cells = read_cells(chapter.source)
        chapter.title, chapter.promise = title_of(chapter), promise_of(chapter)
    return chapters


def read_cells(path: Path) -> list[Cell]:
    """A notebook's cells; index.qmd counts as one markdown cell."""
    if path.suffix != ".ipynb":
        return [Cell(0, "markdown", re.sub(r"\A---\n.*?\n---\n", "", path.read_text(), flags=re.DOTALL), [])]
    return cells_of(set_narrower(path.read_text(encoding="utf-8")))


def title_of(chapter: Chapter) -> str:
    for cell in chapter.cells:
        if cell.kind == "markdown" and (found := re.search(r"^# (.+?)\s*(\{[#.-][^}]*\})?\s*$", cell.source, re.MULTILINE)):
            return found[1]
    return chapter.source.stem


def promise_of(chapter: Chapter) -> str:
    """The line under the title; the book's own description where there is none."""
    head = next((cell.source for cell in chapter.cells if cell.kind == "markdown"), "")
    found = re.search(r"^> (.+)$", head, re.MULTILINE)
    return found[1] if found else BOOK.settings["description"]


# ---------------------------------------------------------------- numbering


@dataclass
class Target:
    chapter: Chapter
    kind: str
    number: str


def number_book(chapters: list[Chapter]) -> dict[str, Target]:
    """Every label of the book, with its chapter and number."""
    targets: dict[str, Target] = {}
    for chapter in chapters:
        counts, levels = {"eq": 0, "fig": 0, "tbl": 0}, [0, 0, 0, 0]
        for label, level in labels_in(chapter):
            kind = label.partition("-")[0]
            if level:
                levels = [*levels[: level - 1], levels[level - 1] + 1, 0, 0, 0, 0][:4]
                number = ".".join([chapter.number, *map(str, levels[1:level])]) if chapter.number else ""
            else:
                counts[kind] += 1
                number = f"{chapter.number}.{counts[kind]}".lstrip(".")
            if label in targets:
                faults.append(f"{chapter.source.name}: {label} is defined twice, also in {targets[label].chapter.source.name}")
            if label:
                targets[label] = Target(chapter, "chap" if level == 1 else kind, number)
    return targets


def labels_in(chapter: Chapter):
    """(label, 0) for each equation, figure and table, (label or "", level) for each heading, in order."""
    for cell in chapter.cells:
        if cell.kind == "code":
            if cell.shown and re.match(r"(fig|tbl)-", cell.directives.get("label", "")):
                yield cell.directives["label"], 0
        elif cell.kind == "markdown":
            text = CODE.sub("", callouts(cell.source))
            for found in re.finditer(rf"^(#{{1,4}}) (.*)$|\{{#({LABEL})[^}}]*\}}", text, re.MULTILINE):
                if not found[1]:
                    yield found[3], 0
                elif not re.search(r"\{-\}|\.unnumbered", found[2]):
                    name = re.search(r"\{#(sec-[\w-]+)", found[2])
                    yield (name[1] if name else ""), len(found[1])


def say(target: Target, bare: bool) -> str:
    """How a reference reads: Equation 21.3, Chapter 21."""
    if not target.number:
        return target.chapter.title
    word = ("Appendix" if target.chapter.appendix else "Chapter") if target.kind == "chap" else KINDS[target.kind]
    return target.number if bare else f"{word} {target.number}"


# ---------------------------------------------------------------- markdown cells


def outside_code(text: str, change) -> str:
    """Apply `change` to what is neither a code block nor a code span."""
    pieces, last = [], 0
    for found in CODE.finditer(text):
        pieces += [change(text[last : found.start()]), found[0]]
        last = found.end()
    return "".join([*pieces, change(text[last:])])


def callouts(text: str) -> str:
    """Quarto's callouts as plain divs, whose title is a paragraph and not a heading."""

    def opening(found) -> str:
        kind, title = found["kind"], re.search(r'title="([^"]*)"', found["rest"])
        title = title[1] if title else (found["heading"] or kind.capitalize())
        return f"{found['colons']} {{.callout .callout-{kind}}}\n\n[{title}]{{.callout-title}}\n\n"

    pattern = r"^(?P<colons>:{3,})\s*\{\.callout-(?P<kind>\w+)(?P<rest>[^}]*)\}[ ]*\n+(?:#+ (?P<heading>[^{\n]+?)[ ]*(?:\{[^}]*\}[ ]*)?\n)?"
    return re.sub(pattern, opening, text, flags=re.MULTILINE)


def markdown(chapter: Chapter, text: str, targets: dict[str, Target], pages: dict[Path, Chapter]) -> str:
    """A markdown cell in pandoc's own terms: numbers, references and links filled in."""

    def reference(found) -> str:
        label, target = found["label"], targets.get(found["label"])
        if target is None:
            faults.append(f"{chapter.source.name}: @{label} refers to nothing")
            return f"**{label}?**"
        return f"[{say(target, bool(found['bare']))}]({chapter.link(target.chapter, '#' + label)})"

    def number(found) -> str:
        return f"\n::: {{#{found[2]} .equation}}\n$${found[1]}$$\n\n[({targets[found[2]].number})]{{.eqno}}\n:::\n"

    def caption(found) -> str:
        return f"::: {{#{found[3]} .figure}}\n![{found[1]}]({found[2]})\n\n{numbered(targets, found[3])} {found[1]}\n:::"

    def change(piece: str) -> str:
        piece = re.sub(r"\$\$((?:(?!\$\$).)+?)\$\$\s*\{#(eq-[\w-]+)\}", number, piece, flags=re.DOTALL)
        piece = re.sub(r"!\[([^\]]*)\]\(([^)]*)\)\{#(fig-[\w-]+)[^}]*\}", caption, piece)
        piece = BADGE.sub(lambda found: actions(chapter, found[1]), piece)
        piece = re.sub(r"\[!\[([^\]]*)\]\(https?:[^)]*\)\]\(([^)]*)\)", r"[\1](\2)", piece)  # a badge is a picture from outside
        piece = re.sub(rf"\[(?P<bare>-)?@(?P<label>{LABEL})\]", reference, piece)
        piece = re.sub(rf"(?<![\w\[#])(?P<bare>-)?@(?P<label>{LABEL})", reference, piece)
        return re.sub(r"\]\(([^)\s:]+\.(?:ipynb|qmd))(#[\w-]+)?\)", lambda found: local_link(chapter, found, pages), piece)

    return outside_code(callouts(live.place(prose(text), os.path.relpath("live", chapter.page.parent))), change)


def actions(chapter: Chapter, colab: str) -> str:
    """What can be done with a chapter's notebook, in place of its badge."""
    file = f'<a href="{chapter.source.name}" download>Notebook</a>'
    solutions = ROOT / "nbs" / "9_appendix" / "solutions" / f"ch{chapter.number.zfill(2)}.ipynb"
    answers = f" [Solutions]({os.path.relpath(solutions, chapter.source.parent)})" if solutions.exists() else ""
    return f"::: {{.actions}}\n[Open in Colab]({colab}) {file} [Source]({BOOK.source_of(chapter.file)}){answers}\n:::\n"


def numbered(targets: dict[str, Target], label: str) -> str:
    target = targets[label]
    return f"**{KINDS[target.kind]} {target.number}.**"


def local_link(chapter: Chapter, found, pages: dict[Path, Chapter]) -> str:
    """A link to another notebook becomes one to its page."""
    target = pages.get((chapter.source.parent / found[1]).resolve())
    if target is None:
        faults.append(f"{chapter.source.name}: the link to {found[1]} leads to no chapter of the book")
        return f"]({found[1]})"
    return f"]({chapter.link(target, found[2] or '')})"


# ---------------------------------------------------------------- code cells


@dataclass
class Fold:
    """Code that the page folds away, under a label that says what it is."""

    label: str
    code: str


def code_cell(chapter: Chapter, cell: Cell, targets: dict[str, Target]) -> list[str | Fold]:
    """Source and outputs; plumbing (`#| export`) is folded away."""
    options, source = cell.directives, split_directives(cell.source)[1]
    if not cell.shown:
        return []
    shown = "" if options.get("echo") == "false" or "hide_input" in options or not source else f"{FENCE}python\n{source}\n{FENCE}\n"
    hidden = options.get("output") == "false" or "hide_output" in options
    outputs = "" if hidden else "\n\n".join(filter(None, (output_of(chapter, o, options.get("fig-alt", "")) for o in cell.outputs)))
    if outputs and options.get("label") in targets:
        label = options["label"]
        words = options.get("fig-cap") or options.get("tbl-cap", "")
        outputs = f"::: {{#{label} .figure}}\n{outputs}\n\n{numbered(targets, label)} {words}\n:::"
    if shown and ("export" in options or options.get("code-fold") == "true"):
        return [Fold(options.get("code-summary") or fold_label(source), shown), outputs]
    return [shown, outputs]


def folded(media: Media, pieces: list[str | Fold]) -> list[str]:
    """Neighbouring folds become one."""
    texts = []
    for is_fold, group in groupby((piece for piece in pieces if piece), lambda piece: isinstance(piece, Fold)):
        group = list(group)
        if is_fold:
            labels = [re.sub(r"^set-up: imports?$", "imports", fold.label) for fold in group]
            label = "; ".join(dict.fromkeys(labels))
            code = "\n\n".join(fold.code for fold in group)
            texts.append(media.folded(label, code))
        else:
            texts += group
    return texts


def lighter(content: bytes, kind: str) -> tuple[bytes, str]:
    """A large PNG as lossless WebP, which is half its size."""
    if kind != "image/png" or len(content) < 48_000:
        return content, kind
    packed = io.BytesIO()
    Image.open(io.BytesIO(content)).save(packed, "WEBP", lossless=True, method=2, quality=40)
    return (packed.getvalue(), "image/webp") if len(packed.getvalue()) < len(content) else (content, kind)


def raw(text: str) -> str:
    return f"{FENCE}{{=html}}\n{text}\n{FENCE}"


def output_of(chapter: Chapter, output: dict, alt: str) -> str:
    """One stored output as markdown or raw HTML."""
    media = chapter.media
    if output["output_type"] == "stream":
        return printed(media, output["text"], output["name"])
    if output["output_type"] == "error":
        return printed(media, "\n".join(output["traceback"]), "stderr")
    data = {kind: "".join(value) if isinstance(value, list) else value for kind, value in output["data"].items()}
    if "text/html" in data:
        return media.inside(data["text/html"])
    if "image/svg+xml" in data:
        return media.drawn(data["image/svg+xml"], alt)
    for kind in ("image/png", "image/jpeg", "image/gif"):
        if kind in data:
            return media.picture(data[kind], kind, alt)
    if "text/markdown" in data or "text/latex" in data:
        return data.get("text/markdown") or data["text/latex"]
    return "" if is_figure_name(data.get("text/plain", "")) else printed(media, data.get("text/plain", ""), "stdout")


def size_of(data: str, kind: str) -> str:
    """A PNG's width and height as attributes, so that the text does not jump when it comes."""
    head = base64.b64decode(data.strip()[:64])
    if kind != "image/png" or len(head) < 24:
        return ""
    width, height = struct.unpack(">II", head[16:24])
    return f' width="{width}" height="{height}"'


def is_figure_name(text: str) -> bool:
    """True of `<Figure size 640x480 with 1 Axes>`, which stands beside the picture itself."""
    return re.fullmatch(r"<(Figure|IPython\.core\.display)\b.*>", text) is not None


def printed(media: Media, text, name: str) -> str:
    """Printed text, with the length of its longest line, which the style sheet fits to the page; a table is not broken into lines."""
    text = re.sub(r"\x1b\[[\d;]*[A-Za-z]", "", "".join(text)).rstrip()
    table, columns = extent(text)
    return media.printed(text, f"{name} table" if table else name, columns) if text else ""


# ---------------------------------------------------------------- pages


def pandoc(text: str, name: str, *options: str, expected: str = "[no such warning]") -> str:
    """Run pandoc; what it warns of (an unknown citation, a formula it cannot read) is a fault of `name`, but for warnings that hold `expected`."""
    command = [pypandoc.get_pandoc_path(), "-f", READER, *options]
    done = subprocess.run(command, input=text, capture_output=True, text=True, cwd=ROOT)
    if done.returncode:
        sys.exit(f"pandoc failed on {name}: {done.stderr}")
    warnings = re.findall(r"\[WARNING\] (.*(?:\n  .*)*)", done.stderr)
    faults.extend(f"{name}: {line}" for line in warnings if expected not in line)
    return done.stdout


def text_of(chapter: Chapter, targets: dict[str, Target], pages: dict[Path, Chapter]) -> str:
    """A chapter in pandoc's markdown, its outputs among it."""
    pieces: list[str | Fold] = []
    for cell in chapter.cells:
        if cell.kind == "markdown":
            pieces.append(markdown(chapter, cell.source, targets, pages))
        elif cell.kind == "code":
            pieces += code_cell(chapter, cell, targets)
    return "\n\n".join(folded(chapter.media, pieces))


def body_of(chapter: Chapter, targets: dict[str, Target], pages: dict[Path, Chapter]) -> tuple[str, str]:
    """The page's table of contents and its text, in HTML."""
    text = text_of(chapter, targets, pages)
    options = [*HTML, *CITED, "--toc", "--toc-depth=3", f"--template={HERE / 'fragment.html'}"]
    if re.search(r"@[a-z]+\d{4}\w*", CODE.sub("", text)):
        text += "\n\n## References {.unnumbered}\n\n::: {#refs}\n:::\n"
    if chapter.number:
        options += ["--number-sections", f"--number-offset={int(chapter.number) - 1}"]
    contents, _, body = pandoc(text, chapter.source.name, *options).partition("<!-- body -->")
    return mended(contents), mended(body)


def headings(chapters: list[Chapter]) -> None:
    """All titles to HTML and all promises to words in one go, formulas included."""
    texts = [text for c in chapters for text in (c.title, re.sub(rf"@({LABEL})", r"\1", c.promise))]
    pages = mended(pandoc("\n\n".join(f"::: x\n{text}\n:::" for text in texts), "titles", *HTML))
    found = re.findall(r"<p>(.*?)</p>", pages, re.DOTALL)
    for chapter, title, promise in zip(chapters, found[::2], found[1::2], strict=True):
        chapter.heading = f'<span class="number">{chapter.number}</span> {title}' if chapter.number else title
        chapter.promise = words_of(promise)


def group_of(chapter: Chapter) -> str:
    return (GROUPS.get(chapter.source.parent.name) if chapter.appendix else None) or chapter.part


def sidebar(here: Chapter, chapters: list[Chapter]) -> str:
    """The list of all pages by parts; the solutions, one for each chapter, are folded."""
    lines = []
    for group, members in groupby(chapters, group_of):
        members = list(members)
        current = {c.file: ' aria-current="page"' for c in members if c is here}
        links = [f'<a href="{here.link(c)}"{current.get(c.file, "")}>{c.heading}</a>' for c in members]
        if group == "Solutions":
            lines += [f"<details{' open' * bool(current)}><summary>{group}</summary>", *links, "</details>"]
        else:
            lines += [f"<p>{html.escape(group)}</p>" * bool(group), *links]
    listed = "\n".join(lines)
    return f'<details class="sidebar" open><summary>Chapters</summary>\n<nav aria-label="Chapters">\n{listed}\n</nav>\n</details>'


def on_this_page(contents: str) -> str:
    if "<li>" not in contents:
        return ""
    return f'<details class="contents" open><summary>On this page</summary>\n<nav aria-label="On this page">\n{contents}</nav>\n</details>'


def neighbours(here: Chapter, chapters: list[Chapter]) -> str:
    place = chapters.index(here)
    before = f'<a href="{here.link(chapters[place - 1])}">&larr; {chapters[place - 1].heading}</a>' if place else "<span></span>"
    after = f'<a href="{here.link(chapters[place + 1])}">{chapters[place + 1].heading} &rarr;</a>' if place + 1 < len(chapters) else ""
    return f'<nav class="neighbours" aria-label="Before and after">{before}{after}</nav>'


def footer(here: Chapter, root: str) -> str:
    """Where the page comes from, how to report a mistake in it, and on what terms it may be used."""
    title = quote(f"{here.number or here.source.stem} {words_of(here.title)}: ")
    links = [
        f'<a href="{BOOK.source_of(here.file)}">Source of this page</a>',
        f'<a href="{BOOK.repository}/issues/new?title={title}">Report a mistake</a>',
    ]
    if here.source.suffix == ".ipynb":
        links += [f'<a href="{here.source.name}" download>Notebook</a>', f'<a href="{BOOK.colab_of(here.file)}">Open in Colab</a>']
    about = [
        f'<a href="{root}/index.html#{anchor}">{words}</a>'
        for anchor, words in (("cite", "Cite this book"), ("errata", "Errata"), ("files", "EPUB and PDF"))
    ]
    terms = (
        f'Code: <a href="{BOOK.source_of("LICENSE")}">Apache License 2.0</a>. '
        f'Prose and figures: <a href="{BOOK.source_of("LICENSE-prose")}" rel="license">CC BY 4.0</a>.'
    )
    return f"<footer>\n<p>{' · '.join(links)}</p>\n<p>{' · '.join(about)} · {terms}</p>\n</footer>"


def meta(chapter: Chapter) -> str:
    """What search engines and social networks ask for."""
    address, title = BOOK.site + chapter.page.as_posix(), html.escape(page_title(chapter))
    picture = (
        f"{chapter.page.parent.as_posix()}/{chapter.media.folder.name}/{first}" if (first := first_picture(chapter)) else "site/card.png"
    )
    said = {
        "og:title": title,
        "og:description": html.escape(chapter.promise),
        "og:type": "book" if chapter.file == "index.qmd" else "article",
        "og:url": address,
        "og:image": BOOK.site + picture,
        "og:site_name": NAME,
    }
    lines = [f'<meta name="description" content="{html.escape(chapter.promise)}">', f'<link rel="canonical" href="{address}">']
    lines += [f'<meta property="{name}" content="{value}">' for name, value in said.items()]
    return "\n".join([*lines, '<meta name="twitter:card" content="summary_large_image">'])


def first_picture(chapter: Chapter) -> str:
    return next((name for name in chapter.media.saved if name.endswith((".png", ".webp"))), "")


def page_title(chapter: Chapter) -> str:
    """The title in words: 21 The reverse posterior: where was x_t-1?"""
    heading = words_of(re.sub(r"(</mi>)(<(?:mn|mrow|mi)>)", r"\1_\2", chapter.heading))
    return f"{heading} – {NAME}" if chapter.file != "index.qmd" else f"{NAME}: {BOOK.settings['description']}"


def write_page(path: Path, **slots: str) -> str:
    page = (HERE / "page.html").read_text(encoding="utf-8")
    for name in ("title", "meta", "repository", "sidebar", "contents", "body", "neighbours", "footer", "root"):
        page = page.replace(f"<!-- {name} -->", slots.get(name, ""))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")
    return page


def repository_link() -> str:
    return f'<a href="{BOOK.repository}">Repository</a>'


def write_chapter(out: Path, chapter: Chapter, chapters: list[Chapter], targets: dict[str, Target], pages: dict[Path, Chapter]) -> str:
    """One chapter's page with its media and its notebook; returns the page."""
    folder = (out / chapter.page).with_name(chapter.page.stem + "_files")
    shutil.rmtree(folder, ignore_errors=True)
    chapter.media = Media(folder)
    contents, body = body_of(chapter, targets, pages)
    page = write_page(
        out / chapter.page,
        title=html.escape(page_title(chapter)),
        meta=meta(chapter),
        repository=repository_link(),
        sidebar=sidebar(chapter, chapters),
        contents=on_this_page(contents),
        body=body,
        neighbours=neighbours(chapter, chapters),
        footer=footer(chapter, chapter.root),
        root=chapter.root,
    )
    if chapter.source.suffix == ".ipynb":
        shutil.copy(chapter.source, (out / chapter.page).with_suffix(".ipynb"))
    for picture in re.findall(r'<img[^>]*\bsrc="((?!data:|https?:)[^"]*)"', body):
        if not (out / chapter.page.parent / picture).exists():  # a picture of the repository
            (out / chapter.page.parent / picture).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(chapter.source.parent / picture, out / chapter.page.parent / picture)
    return page


def render_book(out: Path, only: list[str] = ()) -> int:
    """Write all pages below `out`, or those whose numbers are given; return how many."""
    chapters = read_book()
    targets, pages = number_book(chapters), {chapter.source.resolve(): chapter for chapter in chapters}
    headings(chapters)
    copy_assets(out)
    chosen = [c for c in chapters if not only or (c.number or c.source.stem).zfill(2) in only]
    written = {chapter.page.as_posix(): write_chapter(out, chapter, chapters, targets, pages) for chapter in chosen}
    if not only:
        entries = [entry for c in chapters for entry in search_entries(written[c.page.as_posix()], c.page.as_posix(), words_of(c.heading))]
        write_index(out, entries)
        write_404(out, chapters)
        write_map(out, [c.page.as_posix() for c in chapters])
    return len(chosen)


def render_beside(out: Path) -> None:
    """What stands beside Quarto's pages."""
    chapters = read_book()
    headings(chapters)
    copy_assets(out)
    write_404(out, chapters)
    for chapter in chapters:
        if chapter.source.suffix == ".ipynb":
            (out / chapter.page).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(chapter.source, (out / chapter.page).with_suffix(".ipynb"))


def copy_assets(out: Path) -> None:
    """Style, script, font and pictures that all pages share."""
    site = out / "site"
    site.mkdir(parents=True, exist_ok=True)
    (site / "page.css").write_text(style(), encoding="utf-8")
    for path in [HERE / "page.js", *(HERE / "assets").iterdir()]:
        shutil.copy(path, site)
    if (card := ROOT / "results" / "readme.png").exists():
        shutil.copy(card, site / "card.png")


def style() -> str:
    return "".join((HERE / name).read_text(encoding="utf-8") for name in ("page.css", "player.css"))


def write_index(out: Path, entries: list[dict[str, str]]) -> None:
    """The search's entries, as a script: a page that was opened as a file may not fetch."""
    kept = [{name: entry[name] for name in ("href", "title", "section", "text")} for entry in entries]
    (out / "site" / "search.js").write_text(f"const bookIndex = {json.dumps(kept, ensure_ascii=False)}\n", encoding="utf-8")


def write_404(out: Path, chapters: list[Chapter]) -> None:
    """What a host shows for an address that leads nowhere; it may stand at any depth, so its own links begin at the host's root."""
    base = "/" + BOOK.settings["repo"]
    links = "".join(f'<li><a href="{base}/{c.page.as_posix()}">{c.heading}</a></li>' for c in chapters if not c.appendix)
    body = (
        "<h1>This page does not exist</h1>\n<p>It may have moved: chapters have been renumbered since the first edition. "
        f'<a href="{base}/index.html">The preface</a> shows what there is, the search above finds words, and these are the chapters:</p>\n<ul>{links}</ul>'
    )
    looks = f"<style>{style()}</style>"  # wherever the host shows it
    write_page(out / "404.html", title=f"Not found – {NAME}", meta=looks, repository=repository_link(), body=body, root=base)


def write_map(out: Path, pages: list[str]) -> None:
    """sitemap.xml and robots.txt."""
    urls = "\n".join(f"<url><loc>{BOOK.site}{page}</loc></url>" for page in pages)
    (out / "sitemap.xml").write_text(
        f'<?xml version="1.0" encoding="UTF-8"?>\n<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">\n{urls}\n</urlset>\n'
    )
    (out / "robots.txt").write_text(f"User-agent: *\nAllow: /\nSitemap: {BOOK.site}sitemap.xml\n")


def render_single(source: Path, target: Path) -> None:
    """One notebook as a page of its own; references into the rest of the book stay words."""
    chapters = read_book()
    original = next((c for c in chapters if c.source.name == source.name), Chapter(ROOT / "nbs" / source.name))
    alone = Chapter(original.source, cells=read_cells(source))
    alone.title, alone.promise = title_of(alone), promise_of(alone)
    headings([alone])
    targets, pages = number_book(chapters), {c.source.resolve(): c for c in chapters}
    contents, body = body_of(alone, targets, pages)
    copy_assets(ROOT / "_docs")
    base, root = os.path.relpath(ROOT / "_docs" / original.page.parent, target.parent), os.path.relpath(ROOT / "_docs", target.parent)
    body = re.sub(r'\b(href|src)="(?!https?:|data:|#)([^"]*)"', lambda m: f'{m[1]}="{os.path.normpath(os.path.join(base, m[2]))}"', body)
    title = f"{words_of(alone.heading)}, on this machine – {NAME}"
    write_page(target, title=html.escape(title), repository=repository_link(), contents=on_this_page(contents), body=body, root=root)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("only", nargs="*", help="numbers of chapters, `index`, or `ch21` for solutions; none: the whole book")
    parser.add_argument("--out", type=Path, default=ROOT / "_docs")
    parser.add_argument(
        "--beside", action="store_true", help="only what Quarto leaves out: the notebooks beside the pages, the page for a dead address"
    )
    parser.add_argument("--page", nargs=2, type=Path, metavar=("NOTEBOOK", "PAGE"))
    args = parser.parse_args()
    if args.page:
        render_single(args.page[0].resolve(), args.page[1].resolve())
    elif args.beside:
        render_beside(args.out)
    else:
        if not args.only:
            shutil.rmtree(args.out / "nbs", ignore_errors=True)
        print(f"{render_book(args.out, args.only)} pages in {args.out}")
    if faults:
        sys.exit("these could not be resolved:\n  " + "\n  ".join(dict.fromkeys(faults)))


if __name__ == "__main__":
    main()
