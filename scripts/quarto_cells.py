"""Quarto's ipynb-filter: a notebook on stdin, the same on stdout as the page should show it.

`#| export` is folded, `#| exports` is shown, `#| hide` and cells of nothing but a directive go; code is set at the width of a page.  nbdev's own filter would put
listings of the API between the sentences and leave the solutions out.
"""

import json
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))  # Quarto runs this file through runpy

import live  # noqa: E402
import pagecells  # noqa: E402
from bookdata import split_directives  # noqa: E402

BADGE = re.compile(r"^\[!\[([^\]]*)\]\(https://colab[^)]*\)\]\(([^)]*)\)", re.MULTILINE)


def code(cell: dict) -> list[dict]:
    """A code cell as Quarto should see it; nothing if it should not."""
    found, below = split_directives("".join(cell["source"]))
    named = {line.key for line in found if not line.has_colon}  # nbdev's directives; Quarto's have a colon
    lines = [line.line for line in found if line.has_colon] + below.splitlines()
    if {"hide", "default_exp"} & named or not lines:
        return []
    if "export" in named:
        summary = (
            [] if any(line.key == "code-summary" for line in found) else [f"#| code-summary: {json.dumps(pagecells.fold_label(below))}"]
        )
        lines[:0] = ["#| code-fold: true", *summary]
    for output in cell["outputs"]:
        data = output.get("data", {})
        if "text/html" in data:  # as markdown: text/html makes Quarto load require.js and jQuery from a CDN
            html = re.sub(r"<link\b[^>]*https?:[^>]*>", "", "".join(data["text/html"]))
            output["data"] = {"text/markdown": f"``````{{=html}}\n{html}\n``````"}
    return [with_source(part, source) for part, source in one_picture_each(cell, lines)]


def with_source(cell: dict, lines: list[str]) -> dict:
    return {**cell, "source": "\n".join(lines).splitlines(keepends=True)}  # Quarto joins strings without their line ends


def one_picture_each(cell: dict, lines: list[str]) -> list[tuple[dict, list[str]]]:
    """The cell, and its figure in a cell of its own where it also plays sounds or films: Quarto would make all of them parts (a), (b), (c) of one figure,
    and lose its caption."""
    figure = [line for line in lines if line.startswith(("#| label: fig-", "#| fig-"))]
    pictures = [o for o in cell["outputs"] if any(kind.startswith("image/") for kind in o.get("data", {}))]
    others = [o for o in cell["outputs"] if o not in pictures]
    if not figure or not pictures or not any("text/markdown" in o.get("data", {}) for o in others):
        return [(cell, lines)]
    first, second = {**cell, "outputs": others}, {**cell, "id": f"{cell.get('id')}-figure", "outputs": pictures}
    return [(first, [line for line in lines if line not in figure]), (second, [*figure, "#| echo: false", "figure"])]


def notebook_link(colab: str) -> str:
    """A link to the notebook itself in the repository; one to the file beside the page would lead to the page, as Quarto sees it."""
    path = colab.partition("https://colab.research.google.com/github/")[2].replace("/blob/", "/raw/")
    return f" [Notebook](https://github.com/{path}){{.notebook}}" if path else ""


def prose(cell: dict) -> dict:
    """A markdown cell as a page has it: with its live figure, exercises and solutions linked, and its badge as a link in words (a picture alone in a
    paragraph becomes a figure with a caption)."""
    text = BADGE.sub(lambda m: f"[{m[1]}]({m[2]}){{.colab}}{notebook_link(m[2])}", "".join(cell["source"]))
    return {**cell, "source": live.place(pagecells.prose(text)).splitlines(keepends=True)}


def filtered(notebook: dict) -> dict:
    """The notebook with its cells as the page should show them."""
    cells = [code(cell) if cell["cell_type"] == "code" else [prose(cell)] for cell in notebook["cells"]]
    return {**notebook, "cells": [part for parts in cells for part in parts]}


if __name__ == "__main__":
    json.dump(filtered(json.loads(pagecells.set_narrower(sys.stdin.read()))), sys.stdout)
