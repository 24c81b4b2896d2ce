"""The preface's graph of chapters, drawn from the `*Needs: …*` line of each: python scripts/graph.py writes it into index.qmd.

A column is a part, and a chapter stands below everything that it needs.  What a need brings along is not drawn a second time.  Lines run in the gutters
between the boxes: out of a box at its side, down, and along the row into the box from above, so that none passes behind a box.
"""

import html
import re
import textwrap
from dataclasses import dataclass

from bookdata import ROOT, Book, Notebook

PAGE = ROOT / "index.qmd"
BEGIN, END = "<!-- the graph, made by `make graph` from the chapters' needs -->", "<!-- end of the graph -->"
COLOURS = ("#7d7d7d", "#c85a00", "#0a7fbf", "#b5508f", "#16906c", "#9a7b00")  # seen on white and on black
WIDTH, HEIGHT, BESIDE, BETWEEN, TOP = 146, 46, 44, 34, 54
SPELLED = {"mnist": "MNIST", "vqvae": "VQ-VAE", "ddpm": "DDPM", "unet": "U-Net", "kmeans": "k-means", "bits": "bits"}


@dataclass
class Box:
    """A chapter's place: its column from the left, its row from the top."""

    chapter: Notebook
    column: int
    row: int

    @property
    def name(self) -> str:
        words = self.chapter.path.stem.partition("_")[2].split("_")
        return f"{self.chapter.number:02d} {' '.join(SPELLED.get(word, word) for word in words)}"

    @property
    def x(self) -> int:
        return BESIDE + self.column * (WIDTH + BESIDE)

    @property
    def y(self) -> int:
        return TOP + self.row * (HEIGHT + BETWEEN)


def needs_of(book: Book) -> dict[str, set[str]]:
    """chapter -> the chapters that it needs and that none of its other needs brings along."""
    direct = {nb.rel: set(nb.needs or ()) for nb in book.chapters}
    behind: dict[str, set[str]] = {}
    for name in direct:  # in reading order, so that a need comes before what needs it
        behind[name] = set().union(direct[name], *(behind.get(other, set()) for other in direct[name]))
    return {name: {n for n in direct[name] if not any(n in behind.get(other, ()) for other in direct[name])} for name in direct}


def place(book: Book) -> dict[str, Box]:
    """One row below everything that a chapter needs, and below the chapter before it in its part."""
    boxes: dict[str, Box] = {}
    parts = list(dict.fromkeys(nb.path.parent.name for nb in book.chapters))
    for nb in book.chapters:
        column = parts.index(nb.path.parent.name)
        above = [box.row for name, box in boxes.items() if name in (nb.needs or ()) or box.column == column]
        boxes[nb.rel] = Box(nb, column, max(above, default=-1) + 1)
    return boxes


def spread(keys: list, room: int) -> dict:
    """Evenly spaced offsets within a gutter of `room`, one a key."""
    step = min(7, (room - 14) / max(1, len(keys) - 1))
    return {key: round(room / 2 + step * (i - (len(keys) - 1) / 2), 1) for i, key in enumerate(keys)}


def lines(book: Book, boxes: dict[str, Box]) -> list[str]:
    """An SVG path for each need."""
    edges = [(boxes[need], box) for name, box in boxes.items() for need in sorted(needs_of(book)[name]) if need in boxes]
    filled = {(box.column, box.row) for box in boxes.values()}
    straight = [(a, b) for a, b in edges if a.column == b.column and not any((a.column, row) in filled for row in range(a.row + 1, b.row))]
    bent = [(a, b, a.column + (a.column < b.column)) for a, b in edges if (a, b) not in straight]
    tracks = {g: spread(sorted({a.name for a, _, gutter in bent if gutter == g}), BESIDE) for g in {gutter for *_, gutter in bent}}
    levels = {r: spread(sorted({b.name for _, b, _ in bent if b.row == r}, reverse=True), BETWEEN) for r in {b.row for _, b, _ in bent}}
    paths = [path(a, f"M{a.x + WIDTH // 2} {a.y + HEIGHT} V{b.y - 2}") for a, b in straight]
    for a, b, gutter in bent:
        right = a.column < b.column
        x0, x = a.x + WIDTH * right, round(gutter * (WIDTH + BESIDE) + tracks[gutter][a.name], 1)
        y, x1 = round(b.y - BETWEEN + levels[b.row][b.name], 1), b.x + (30 if x < b.x + WIDTH / 2 else WIDTH - 30)
        out, along = (5 if right else -5), (5 if x1 > x else -5)
        turns = f"H{x - out} q{out} 0 {out} 5 V{y - 5} q0 5 {along} 5 H{x1 - along} q{along} 0 {along} 5"
        paths.append(path(a, f"M{x0} {a.y + HEIGHT // 2} {turns} V{b.y - 2}"))
    return paths


def path(source: Box, d: str) -> str:
    return f'<path d="{d}" stroke="{COLOURS[source.column % len(COLOURS)]}" marker-end="url(#tip{source.column})"/>'


def tip(column: int) -> str:
    """An arrow's head in a part's colour."""
    shape = f'<path d="M0 0 L8 4 L0 8 z" fill="{COLOURS[column % len(COLOURS)]}" stroke="none"/>'
    return f'<marker id="tip{column}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">{shape}</marker>'


def drawn(box: Box, needs: list[str]) -> str:
    """A chapter's box, which is a link."""
    rows = textwrap.wrap(box.name, 17)
    first = box.y + HEIGHT / 2 + 5 - 8.5 * (len(rows) - 1)
    words = "".join(f'<tspan x="{box.x + WIDTH // 2}" y="{first + 17 * i:g}">{html.escape(row)}</tspan>' for i, row in enumerate(rows))
    label = f"{box.name}, needs {', '.join(needs)}" if needs else box.name
    colour = COLOURS[box.column % len(COLOURS)]
    return (
        f'<a href="{box.chapter.rel.removesuffix(".ipynb")}.html" aria-label="{html.escape(label)}">'
        f'<rect x="{box.x}" y="{box.y}" width="{WIDTH}" height="{HEIGHT}" rx="7" stroke="{colour}" fill="{colour}" fill-opacity="0.1"/>'
        f"<text>{words}</text></a>"
    )


def graph(book: Book) -> str:
    """The graph as a raw HTML block for index.qmd."""
    boxes, needs = place(book), needs_of(book)
    titles = {entry.file: entry.part for entry in book.contents}
    columns = {box.column: titles.get(box.chapter.rel, "") for box in boxes.values()}
    width = BESIDE + len(columns) * (WIDTH + BESIDE)
    height = TOP + (1 + max(box.row for box in boxes.values())) * (HEIGHT + BETWEEN) - BETWEEN + 10
    whole = "; ".join(f"{column} has {', '.join(b.name for b in boxes.values() if b.column == i)}" for i, column in columns.items())
    heads = [
        f'<text x="{BESIDE + i * (WIDTH + BESIDE) + WIDTH // 2}" y="20" font-weight="600">{html.escape(title)}</text>'
        for i, title in columns.items()
    ]
    return "\n".join(
        [
            "```{=html}",
            '<div style="overflow-x: auto">',
            f'<svg viewBox="0 0 {width} {height}" role="group" aria-label="What leans on what: {html.escape(whole)}." '
            'style="width: 100%; min-width: 640px; height: auto; font: 14px system-ui, sans-serif" fill="none" stroke-width="1.4">',
            *(tip(i) for i in columns),
            '<g fill="currentColor" text-anchor="middle" stroke="none">',
            *heads,
            "</g>",
            *lines(book, boxes),
            '<g fill="currentColor" text-anchor="middle">',
            *(drawn(box, [boxes[n].name for n in sorted(needs[name]) if n in boxes]) for name, box in boxes.items()),
            "</g>",
            "</svg>",
            "</div>",
            "```",
        ]
    )


def with_graph(text: str, book: Book) -> str:
    """The preface with the graph that the chapters' needs ask for."""
    pattern = re.compile(re.escape(BEGIN) + ".*?" + re.escape(END), re.S)
    if len(pattern.findall(text)) != 1:
        raise ValueError(f"index.qmd must hold {BEGIN} … {END} once")
    return pattern.sub(lambda _: f"{BEGIN}\n\n{graph(book)}\n\n{END}", text)


if __name__ == "__main__":
    before = PAGE.read_text(encoding="utf-8")
    after = with_graph(before, Book())
    PAGE.write_text(after, encoding="utf-8")
    print("index.qmd: the graph was drawn anew" if after != before else "index.qmd: the graph is what the needs say")
