"""What a script keeps in the notebooks, so that nobody has to: python scripts/cells.py writes it, --check only says what is out of date.

- At the head of every chapter a cell that installs the package where it is missing, as on Colab.  It is hidden from the pages and not part of a run, so
  stored outputs do not answer for it.
- In every numbered equation its number, as `\\tag{21.3}`, so that it can be found in JupyterLab and on Colab too.  Pages number by themselves.
- In the solutions the answer in a cell that the page shows, and the marking of it in a cell of its own, which the page folds.
"""

import argparse
import ast
import hashlib
import json
import re
import sys
from pathlib import Path

from bookdata import ROOT, Book, Notebook, split_directives
from pagecells import TAG, exercises_of, names_of

NUMBERED = re.compile(r"\$\$((?:(?!\$\$).)+?)\$\$(\s*\{#(eq-[\w-]+)\})", re.S)
INSTALL_MARK = "# installs the book where it is missing"


# ---------------------------------------------------------------- the install cell


def install_source(book: Book) -> str:
    """The cell's code: on Colab it fetches the repository, whose results/ hold what took hours to measure, and works inside it."""
    name, package = book.settings["repo"], book.settings["lib_name"]
    return f"""#| hide
#| eval: false
{INSTALL_MARK}, as on Colab; elsewhere it does nothing
from importlib.util import find_spec
from pathlib import Path

if find_spec("{package}") is None and not Path("{name}").exists():
    !git clone --quiet --depth 1 {book.repository} && pip install --quiet "./{name}[all]"
if Path("{name}/settings.ini").exists():
    %cd -q {name}"""


def with_install_cell(book: Book, nb: Notebook, cells: list[dict]) -> list[dict]:
    """The cells with the install cell behind the head, once."""
    kept = [cell for cell in cells if INSTALL_MARK not in "".join(cell["source"])]
    head = next((i for i, cell in enumerate(kept) if cell["cell_type"] == "markdown"), None)
    if head is None:
        return cells
    new = code_cell(install_source(book), identity(nb.key, "install"))
    return [*kept[: head + 1], new, *kept[head + 1 :]]


def code_cell(source: str, id: str) -> dict:
    return {
        "cell_type": "code",
        "execution_count": None,
        "id": id,
        "metadata": {},
        "outputs": [],
        "source": source.splitlines(keepends=True),
    }


def identity(*words: str) -> str:
    """A cell's id, the same each time."""
    return hashlib.sha256("/".join(words).encode()).hexdigest()[:8]


# ---------------------------------------------------------------- numbers of equations


def equation_numbers(book: Book) -> dict[str, str]:
    """Label -> number, counted in each chapter as the pages count."""
    found = {}
    for nb in book.notebooks:
        labels = [m[3] for cell in nb.cells if cell.kind == "markdown" for m in NUMBERED.finditer(cell.source)]
        found |= {label: f"{nb.number}.{count}" for count, label in enumerate(labels, 1) if nb.number is not None}
    return found


def with_numbers(text: str, numbers: dict[str, str]) -> str:
    """A markdown cell whose numbered formulas carry their numbers."""

    def tagged(found) -> str:
        formula = TAG.sub("", found[1])
        if found[3] not in numbers:
            return f"$${formula}$${found[2]}"
        body = formula.rstrip()
        return f"$${body} \\tag{{{numbers[found[3]]}}}{formula[len(body) :]}$${found[2]}"

    return NUMBERED.sub(tagged, text)


# ---------------------------------------------------------------- solutions


def answers_of(sources: list[str]) -> set[str]:
    """The names that a solutions notebook's `solution=` values lead to, directly or through each other."""
    body = [node for source in sources for node in ast.parse(source).body]
    defined = {name: node for node in body if not exercises_of(node) for name in names_of(node)}
    found, queue = set(), [value for node in body if exercises_of(node) for value in solutions_of(node)]
    while queue:
        for node in ast.walk(queue.pop()):
            if isinstance(node, ast.Name) and node.id in defined and node.id not in found | {"EXERCISES"}:
                found.add(node.id)
                queue.append(defined[node.id])
    return found


def parted(source: str, answers: set[str]) -> list[str]:
    """An exported cell as the answer, which the page shows, and the rest, which it folds."""
    directives, code = split_directives(source)
    body = ast.parse(code).body
    registers = any(exercises_of(node) for node in body)
    if [line.line for line in directives] != ["#| export"] and not (registers and [line.line for line in directives] == ["#| exports"]):
        return [source]
    shown = [bool(answers & set(names_of(node))) for node in body]
    pieces = list(zip(segments(code, body), shown, strict=True))
    texts = [
        (word, "".join(text for text, is_shown in pieces if is_shown == flag).strip("\n"))
        for word, flag in (("exports", True), ("export", False))
    ]
    return [f"#| {word}\n{text}" for word, text in texts if text] if any(shown) or registers else [source]


def solutions_of(node: ast.stmt) -> list[ast.expr]:
    """The value of `solution=` in the calls of a statement."""
    calls = [call for call in ast.walk(node) if isinstance(call, ast.Call)]
    return [keyword.value for call in calls for keyword in call.keywords if keyword.arg == "solution"]


def segments(code: str, body: list[ast.stmt]) -> list[str]:
    """The code cut at its statements, each with the comments and blank lines above it."""
    lines = code.splitlines(keepends=True)
    ends = [0, *(node.end_lineno for node in body[:-1]), len(lines)]
    return ["".join(lines[a:b]).rstrip("\n") + "\n" for a, b in zip(ends, ends[1:], strict=False)]


def with_answers_first(cells: list[dict]) -> list[dict]:
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    answers = answers_of([split_directives(source)[1] for source in code if source.startswith("#| export")])
    found = []
    for cell in cells:
        source = "".join(cell["source"])
        parts = parted(source, answers) if cell["cell_type"] == "code" else [source]
        found += [code_cell(part, identity(cell.get("id", ""), "answer")) for part in parts[:-1]]
        found.append(cell if parts[-1] == source else {**cell, "source": parts[-1].splitlines(keepends=True)})
    return found


# ---------------------------------------------------------------- all of it


def kept_up(book: Book, nb: Notebook, numbers: dict[str, str]) -> str:
    """The notebook's text as it should be."""
    text = nb.path.read_text(encoding="utf-8")
    notebook = json.loads(text)
    before = json.dumps(notebook["cells"])
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown" and (after := with_numbers(source, numbers)) != source:
            cell["source"] = after.splitlines(keepends=True)
    if nb.is_chapter:
        notebook["cells"] = with_install_cell(book, nb, notebook["cells"])
    if nb.path.parent.name == "solutions":
        notebook["cells"] = with_answers_first(notebook["cells"])
    if json.dumps(notebook["cells"]) == before:
        return text
    return json.dumps(notebook, sort_keys=True, indent=1, ensure_ascii=False) + "\n"


def outdated(book: Book) -> dict[Path, str]:
    """The notebooks that a run would change, with what they would become."""
    numbers = equation_numbers(book)
    texts = {nb.path: kept_up(book, nb, numbers) for nb in book.notebooks}
    return {path: text for path, text in texts.items() if text != path.read_text(encoding="utf-8")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; the exit status says whether a run would")
    args = parser.parse_args()
    found = outdated(Book(ROOT))
    for path, text in found.items():
        if not args.check:
            path.write_text(text, encoding="utf-8")
        print(f"{path.relative_to(ROOT)}: {'out of date' if args.check else 'written'}")
    if args.check and found:
        sys.exit("python scripts/cells.py brings them up to date; then nbdev_export")


if __name__ == "__main__":
    main()
