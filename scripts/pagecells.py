"""How a notebook's cells are prepared for a page, whichever renderer makes it: render.py, or Quarto through quarto_cells.py.

Code is set at 100 columns, which is what a page holds; a fold says what it folds; an exercise leads to its solution and the solution back.
"""

import ast
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

from bookdata import ROOT, Book

COLUMNS = 100
EXERCISE = re.compile(r"^\*\*(\d\d-\d+)\b", re.M)
SOLUTION = re.compile(r"^(### (\d\d-\d+)\b[^\n{]*?)[ \t]*$", re.M)
TAG = re.compile(r"\s*\\tag\{[\d.]+\}")
FENCED = re.compile(r"(^ *(`{3,}|~{3,}).*?^ *\2 *$)", re.M | re.S)


def set_narrower(notebook: str) -> str:
    """A notebook's JSON with its code set at the page's width; as it is where ruff is missing or cannot read it."""
    ruff = shutil.which("ruff", path=str(Path(sys.executable).parent)) or shutil.which("ruff")
    if ruff is None:
        return notebook
    command = [ruff, "format", "--isolated", "--line-length", str(COLUMNS), "--stdin-filename", "page.ipynb", "-"]
    done = subprocess.run(command, input=notebook, capture_output=True, text=True, encoding="utf-8")
    return notebook if done.returncode else done.stdout


# ---------------------------------------------------------------- folds


def fold_label(source: str) -> str:
    """What a folded cell holds, in words: `code: sample_token and two more`, `imports`."""
    try:
        body = ast.parse(re.sub(r"^(\s*)[%!].*$", r"\1pass", source, flags=re.M)).body
    except SyntaxError:
        return "code"
    imports = (ast.Import, ast.ImportFrom, ast.If, ast.Try)
    if body and all(isinstance(node, imports) for node in body):
        return "imports"
    named = [name for node in body for name in names_of(node)]
    registered = [key for node in body for key in exercises_of(node)]
    if registered:
        return f"how check marks {' and '.join(dict.fromkeys(registered))}"
    public = [name for name in dict.fromkeys(named) if not name.startswith("_")] or list(dict.fromkeys(named))
    if not public or public == ["EXERCISES"]:
        return "set-up"
    return f"code: {', '.join(public[:3])}{f' and {len(public) - 3} more' if len(public) > 3 else ''}"


def names_of(node: ast.stmt) -> list[str]:
    """The names that a statement defines."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    names = [name for target in targets for name in (target.elts if isinstance(target, ast.Tuple) else [target])]
    return [name.id for name in names if isinstance(name, ast.Name)]


def exercises_of(node: ast.stmt) -> list[str]:
    """The exercises that a statement registers: `EXERCISES["21-1"] = …`."""
    targets = node.targets if isinstance(node, ast.Assign) else []
    subscripts = [t for t in targets if isinstance(t, ast.Subscript) and getattr(t.value, "id", "") == "EXERCISES"]
    return [t.slice.value for t in subscripts if isinstance(t.slice, ast.Constant)]


# ---------------------------------------------------------------- prose


@cache
def chapter_files(root: Path = ROOT) -> dict[str, str]:
    """Two digits -> the chapter's file below nbs/."""
    return {f"{nb.number:02d}": nb.path.relative_to(root / "nbs").as_posix() for nb in Book(root).chapters}


def outside_fences(text: str, change) -> str:
    """`change` applied to what is not a block of code."""
    pieces = FENCED.split(text)  # text, block, its fence, text, …
    return "".join(change(piece) if i % 3 == 0 else piece if i % 3 == 1 else "" for i, piece in enumerate(pieces))


def prose(text: str) -> str:
    """A markdown cell with what only a page has: anchors and links between exercises and solutions, and no `\\tag`, since pages number by themselves."""
    return outside_fences(TAG.sub("", text), with_exercise_links)


def with_exercise_links(text: str) -> str:
    def exercise(found) -> str:
        key = found[1]
        link = (
            f"[solution](../9_appendix/solutions/ch{key[:2]}.ipynb#solution-{key}){{.to-solution aria-label='Solution of exercise {key}'}}"
        )
        return f"{link}[]{{#exercise-{key}}}{found[0]}" if key[:2] in chapter_files() else found[0]

    def solution(found) -> str:
        key, chapter = found[2], chapter_files().get(found[2][:2])
        if chapter is None:
            return found[0]
        link = f"[the exercise](../../{chapter}#exercise-{key}){{.to-solution aria-label='Exercise {key}'}}"
        return f"{found[1][1:]} {{#solution-{key}}}\n\n{link}"

    return SOLUTION.sub(solution, EXERCISE.sub(exercise, text))
