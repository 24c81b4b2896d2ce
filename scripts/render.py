"""A preview of the book without Quarto: plain linked pages made with pandoc.  Nothing is published with it, and it grows no further.

    python scripts/render.py                       every chapter of _quarto.yml -> _docs/
    python scripts/render.py --page IN.ipynb OUT.html     one notebook, standing alone

Numbered equations, figures, sections and the references to them are worked out here (chapter 21's third equation is
21.3); mathematics becomes MathML, citations a list of references.  A page loads nothing from outside.
A reference, link, citation or formula that cannot be resolved is named, and the exit status is 1.
"""

import argparse
import html
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pypandoc

import live
from bookdata import ROOT, Book, Cell, Notebook, number_of, split_directives

HERE = Path(__file__).resolve().parent
STYLE = "<style>\n" + "".join((HERE / name).read_text() for name in ("page.css", "player.css")) + "</style>"
KINDS = {"eq": "Equation", "fig": "Figure", "tbl": "Table", "sec": "Section"}
LABEL = r"(?:eq|fig|tbl|sec)-[\w-]*\w"
CODE = re.compile(r"(^ *(`{3,}|~{3,}).*?^ *\2 *$|(?<!`)`[^`\n]+`(?!`))", re.MULTILINE | re.DOTALL)
FENCE = "`" * 12
READER = "markdown+fenced_divs+citations+tex_math_dollars+raw_attribute+bracketed_spans-smart-implicit_figures"
faults: list[str] = []


@dataclass
class Chapter:
    source: Path  # a notebook, or index.qmd
    part: str = ""
    appendix: bool = False
    cells: list = field(default_factory=list)
    title: str = ""  # in markdown; `heading` is the same in HTML
    heading: str = ""

    @property
    def number(self) -> str:
        """The chapter's number; a file without one is not numbered."""
        found = number_of(self.source)
        return "" if found is None else str(found)

    @property
    def page(self) -> Path:
        """Where its page lies below the site's root."""
        return self.source.relative_to(ROOT).with_suffix(".html")

    def link(self, to: "Chapter") -> str:
        return os.path.relpath(to.page, self.page.parent)


# ---------------------------------------------------------------- reading


def read_book() -> list[Chapter]:
    """The chapters and appendices of _quarto.yml, in order, with their cells."""
    entries = [Chapter(ROOT / file, part or "Appendix" * appendix, appendix) for file, part, appendix in Book(ROOT).contents]
    faults.extend(f"_quarto.yml: {entry.source.relative_to(ROOT)} does not exist" for entry in entries if not entry.source.exists())
    chapters = [entry for entry in entries if entry.source.exists()]
    for chapter in chapters:
        chapter.cells = read_cells(chapter.source)
        chapter.title = title_of(chapter)
    return chapters


def read_cells(path: Path) -> list[Cell]:
    """A notebook's cells; index.qmd counts as one markdown cell."""
    if path.suffix != ".ipynb":
        return [Cell(0, "markdown", re.sub(r"\A---\n.*?\n---\n", "", path.read_text(), flags=re.DOTALL), [])]
    return Notebook(path, ROOT).cells


def title_of(chapter: Chapter) -> str:
    for cell in chapter.cells:
        if cell.kind == "markdown" and (found := re.search(r"^# (.+?)\s*(\{[#.-][^}]*\})?\s*$", cell.source, re.MULTILINE)):
            return found[1]
    return chapter.source.stem


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
        return f"[{say(target, bool(found['bare']))}]({chapter.link(target.chapter)}#{label})"

    def number(found) -> str:
        return f"\n::: {{#{found[2]} .equation}}\n$${found[1]}$$\n\n[({targets[found[2]].number})]{{.eqno}}\n:::\n"

    def caption(found) -> str:
        return f"::: {{#{found[3]} .figure}}\n![{found[1]}]({found[2]})\n\n{numbered(targets, found[3])} {found[1]}\n:::"

    def change(piece: str) -> str:
        piece = re.sub(r"\$\$((?:(?!\$\$).)+?)\$\$\s*\{#(eq-[\w-]+)\}", number, piece, flags=re.DOTALL)
        piece = re.sub(r"!\[([^\]]*)\]\(([^)]*)\)\{#(fig-[\w-]+)[^}]*\}", caption, piece)
        piece = re.sub(r"\[!\[([^\]]*)\]\(https?:[^)]*\)\]\(([^)]*)\)", r"[\1](\2)", piece)  # a badge is a picture from outside
        piece = re.sub(rf"\[(?P<bare>-)?@(?P<label>{LABEL})\]", reference, piece)
        piece = re.sub(rf"(?<![\w\[#])(?P<bare>-)?@(?P<label>{LABEL})", reference, piece)
        return re.sub(r"\]\(([^)\s:]+\.(?:ipynb|qmd))(#[\w-]+)?\)", lambda found: local_link(chapter, found, pages), piece)

    return outside_code(callouts(live.place(text, os.path.relpath("live", chapter.page.parent))), change)


def numbered(targets: dict[str, Target], label: str) -> str:
    target = targets[label]
    return f"**{KINDS[target.kind]} {target.number}.**"


def local_link(chapter: Chapter, found, pages: dict[Path, Chapter]) -> str:
    """A link to another notebook becomes one to its page."""
    target = pages.get((chapter.source.parent / found[1]).resolve())
    if target is None:
        faults.append(f"{chapter.source.name}: the link to {found[1]} leads to no chapter of the book")
        return f"]({found[1]})"
    return f"]({chapter.link(target)}{found[2] or ''})"


# ---------------------------------------------------------------- code cells


def code_cell(chapter: Chapter, cell: Cell, targets: dict[str, Target]) -> str:
    """Source and outputs; plumbing (`#| export`) is folded away."""
    options, source = cell.directives, split_directives(cell.source)[1]
    if not cell.shown:
        return ""
    shown = "" if options.get("echo") == "false" or "hide_input" in options or not source else f"{FENCE}python\n{source}\n{FENCE}\n"
    if shown and ("export" in options or options.get("code-fold") == "true"):
        shown = f"\n{raw('<details><summary>code</summary>')}\n\n{shown}\n\n{raw('</details>')}\n"
    hidden = options.get("output") == "false" or "hide_output" in options
    outputs = "" if hidden else "\n\n".join(filter(None, (output_of(o, options.get("fig-alt", "")) for o in cell.outputs)))
    if outputs and options.get("label") in targets:
        label = options["label"]
        words = options.get("fig-cap") or options.get("tbl-cap", "")
        outputs = f"::: {{#{label} .figure}}\n{outputs}\n\n{numbered(targets, label)} {words}\n:::"
    return f"{shown}\n\n{outputs}"


def raw(text: str) -> str:
    return f"{FENCE}{{=html}}\n{text}\n{FENCE}"


def output_of(output: dict, alt: str) -> str:
    """One stored output as markdown or raw HTML."""
    if output["output_type"] == "stream":
        return printed(output["text"], output["name"])
    if output["output_type"] == "error":
        return printed("\n".join(output["traceback"]), "stderr")
    data = {kind: "".join(value) if isinstance(value, list) else value for kind, value in output["data"].items()}
    if "text/html" in data:
        return raw(from_inside(data["text/html"]))
    if "image/svg+xml" in data:
        return raw(f'<div role="img" aria-label="{html.escape(alt)}">{data["image/svg+xml"]}</div>')
    for kind in ("image/png", "image/jpeg", "image/gif"):
        if kind in data:
            return raw(f'<img src="data:{kind};base64,{data[kind].strip()}" alt="{html.escape(alt)}">')
    if "text/markdown" in data or "text/latex" in data:
        return data.get("text/markdown") or data["text/latex"]
    return "" if is_figure_name(data.get("text/plain", "")) else printed(data.get("text/plain", ""), "stdout")


def is_figure_name(text: str) -> bool:
    """True of `<Figure size 640x480 with 1 Axes>`, which stands beside the picture itself."""
    return re.fullmatch(r"<(Figure|IPython\.core\.display)\b.*>", text) is not None


def printed(text, name: str) -> str:
    text = re.sub(r"\x1b\[[\d;]*[A-Za-z]", "", "".join(text)).rstrip()
    return raw(f'<pre class="output {name}">{html.escape(text)}</pre>') if text else ""


def from_inside(text: str) -> str:
    """HTML without what it would load from elsewhere (matplotlib's player asks for a font of icons; player.css draws them)."""
    text = re.sub(r"<link\b[^>]*https?:[^>]*>", "", text)
    return re.sub(r"<script\b[^>]*\bsrc=[\"']?https?:[^>]*>\s*</script>", "", text)


# ---------------------------------------------------------------- pages


def pandoc(text: str, name: str, *options: str) -> str:
    """Run pandoc; what it warns of (an unknown citation, a formula it cannot read) is a fault of `name`."""
    command = [pypandoc.get_pandoc_path(), "-f", READER, "-t", "html5", "--mathml", *options]
    done = subprocess.run(command, input=text, capture_output=True, text=True, cwd=ROOT)
    if done.returncode:
        sys.exit(f"pandoc failed on {name}: {done.stderr}")
    faults.extend(f"{name}: {line}" for line in re.findall(r"\[WARNING\] (.*(?:\n  .*)*)", done.stderr))
    return done.stdout


def body_of(chapter: Chapter, targets: dict[str, Target], pages: dict[Path, Chapter]) -> tuple[str, str]:
    """The page's table of contents and its text, in HTML."""
    write = {
        "markdown": lambda cell: markdown(chapter, cell.source, targets, pages),
        "code": lambda cell: code_cell(chapter, cell, targets),
    }
    text = "\n\n".join(write[cell.kind](cell) for cell in chapter.cells if cell.kind in write)
    options = ["--toc", "--toc-depth=3", f"--template={HERE / 'fragment.html'}", "--metadata=link-citations:true"]
    options += ["--citeproc", "--bibliography=references.bib"]
    if re.search(r"@[a-z]+\d{4}\w*", CODE.sub("", text)):
        text += "\n\n## References {.unnumbered}\n\n::: {#refs}\n:::\n"
    if chapter.number:
        options += ["--number-sections", f"--number-offset={int(chapter.number) - 1}"]
    contents, _, body = pandoc(text, chapter.source.name, *options).partition("<!-- body -->")
    return contents, body


def headings(chapters: list[Chapter]) -> None:
    """All titles to HTML in one go, formulas included."""
    pages = pandoc("\n\n".join(f"::: x\n{c.title}\n:::" for c in chapters), "titles")
    for chapter, found in zip(chapters, re.findall(r"<p>(.*?)</p>", pages, re.DOTALL), strict=True):
        chapter.heading = f'<span class="number">{chapter.number}</span> {found}' if chapter.number else found


def sidebar(here: Chapter, chapters: list[Chapter]) -> str:
    lines, part = [], None
    for chapter in chapters:
        if chapter.part != part:
            part = chapter.part
            lines.append(f"<p>{html.escape(part)}</p>")
        current = ' aria-current="page"' if chapter is here else ""
        lines.append(f'<a href="{here.link(chapter)}"{current}>{chapter.heading}</a>')
    return "\n".join(lines)


def neighbours(here: Chapter, chapters: list[Chapter]) -> str:
    place = chapters.index(here)
    before = f'<a href="{here.link(chapters[place - 1])}">&larr; {chapters[place - 1].heading}</a>' if place else "<span></span>"
    after = f'<a href="{here.link(chapters[place + 1])}">{chapters[place + 1].heading} &rarr;</a>' if place + 1 < len(chapters) else ""
    return f'<nav class="neighbours">{before}{after}</nav>'


def write_page(path: Path, title: str, style: str, **slots: str) -> None:
    page = (HERE / "page.html").read_text()
    for name, value in {"title": html.escape(re.sub(r"[$`*\\{}]", "", title)), "style": style, **slots}.items():
        page = page.replace(f"<!-- {name} -->", value)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")


def render_book(out: Path) -> int:
    """Write all pages below `out`; return how many."""
    chapters = read_book()
    targets, pages = number_book(chapters), {chapter.source.resolve(): chapter for chapter in chapters}
    headings(chapters)
    for chapter in chapters:
        contents, body = body_of(chapter, targets, pages)
        slots = {"contents": contents, "body": body, "sidebar": sidebar(chapter, chapters), "neighbours": neighbours(chapter, chapters)}
        write_page(out / chapter.page, chapter.title, STYLE, **slots)
    return len(chapters)


def render_single(source: Path, target: Path) -> None:
    """One notebook as a page of its own; references into the rest of the book stay words."""
    chapters = read_book()
    original = next((c for c in chapters if c.source.name == source.name), Chapter(ROOT / "nbs" / source.name))
    alone = Chapter(original.source, cells=read_cells(source))
    alone.title = title_of(alone)
    targets, pages = number_book(chapters), {c.source.resolve(): c for c in chapters}
    contents, body = body_of(alone, targets, pages)
    base = os.path.relpath(ROOT / "_docs" / original.page.parent, target.parent)
    body = re.sub(r'\b(href|src)="(?!https?:|data:|#)([^"]*)"', lambda m: f'{m[1]}="{os.path.normpath(os.path.join(base, m[2]))}"', body)
    write_page(target, alone.title, STYLE, contents=contents, body=body, sidebar="", neighbours="")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "_docs")
    parser.add_argument("--page", nargs=2, type=Path, metavar=("NOTEBOOK", "PAGE"))
    args = parser.parse_args()
    if args.page:
        render_single(args.page[0].resolve(), args.page[1].resolve())
    else:
        shutil.rmtree(args.out / "nbs", ignore_errors=True)
        print(f"{render_book(args.out)} pages in {args.out}")
    if faults:
        sys.exit("these could not be resolved:\n  " + "\n  ".join(dict.fromkeys(faults)))


if __name__ == "__main__":
    main()
