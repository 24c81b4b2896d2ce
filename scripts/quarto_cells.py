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
SOLUTIONS = re.compile(r"^(# .*\{#sec-solutions-\w+)\}", re.MULTILINE)


def code(cell: dict) -> dict | None:
    """A code cell as Quarto should see it; None if it should not."""
    found, below = split_directives("".join(cell["source"]))
    named = {line.key for line in found if not line.has_colon}  # nbdev's directives; Quarto's have a colon
    lines = [line.line for line in found if line.has_colon] + below.splitlines()
    if {"hide", "default_exp"} & named or not lines:
        return None
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
    return {**cell, "source": "\n".join(lines).splitlines(keepends=True)}  # Quarto joins strings without their line ends


def notebook_link(colab: str) -> str:
    """A link to the notebook itself in the repository; one to the file beside the page would lead to the page, as Quarto sees it."""
    path = colab.partition("https://colab.research.google.com/github/")[2].replace("/blob/", "/raw/")
    return f" [Notebook](https://github.com/{path}){{.notebook}}" if path else ""


def prose(cell: dict) -> dict:
    """A markdown cell as a page has it: with its live figure, exercises and solutions linked, and its badge as a link in words (a picture alone in a
    paragraph becomes a figure with a caption).  Solutions carry no number."""
    text = BADGE.sub(lambda m: f"[{m[1]}]({m[2]}){{.colab}}{notebook_link(m[2])}", "".join(cell["source"]))
    text = SOLUTIONS.sub(r"\1 .unnumbered}", pagecells.prose(text))
    return {**cell, "source": live.place(text).splitlines(keepends=True)}


def filtered(notebook: dict) -> dict:
    """The notebook with its cells as the page should show them."""
    cells = [code(cell) if cell["cell_type"] == "code" else prose(cell) for cell in notebook["cells"]]
    return {**notebook, "cells": [cell for cell in cells if cell]}


if __name__ == "__main__":
    json.dump(filtered(json.loads(pagecells.set_narrower(sys.stdin.read()))), sys.stdout)
