"""Say by which code the stored rows of studies were measured, and stamp them with today's.

    python scripts/stamp.py                                         which rows today's notebooks would measure again
    python scripts/stamp.py 12_commitment_loss                      the same for one notebook
    python scripts/stamp.py --write 12_commitment_loss beta-sweep   stamp the rows of these studies with today's code

`training.study` reads a row only if it was measured by the code that the notebook has now. After a change that cannot have changed a number (a new
name, a line moved, an annotation) measuring again would be a waste, and a stamp is honest: whoever writes it vouches that today's code would
give the rows that are stored. After any other change it is not: delete the rows, or let the notebook measure them again.
"""

import argparse
import ast
import builtins
import json
import linecache
import os
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ.setdefault("MPLBACKEND", "agg")

from vqdiff_edu.training import code_key  # noqa: E402
from vqdiff_edu.weights import write_atomically  # noqa: E402


def cells(path: Path) -> list[str]:
    """Code cells without Jupyter's own commands."""
    found = [c for c in json.loads(path.read_text(encoding="utf-8"))["cells"] if c["cell_type"] == "code"]
    return [re.sub(r"(?m)^(\s*)[%!].*$", r"\1pass", "".join(c["source"])) for c in found]


def is_light(node: ast.AST) -> bool:
    """A definition, an import, or an assignment that calls nothing but what Python brings along: a table of functions, say."""
    if not isinstance(node, ast.Assign):
        return isinstance(node, (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef))
    inside = {id(part) for body in ast.walk(node) if isinstance(body, ast.Lambda) for part in ast.walk(body)}
    calls = [part for part in ast.walk(node) if isinstance(part, ast.Call) and id(part) not in inside]
    return all(isinstance(call.func, ast.Name) and hasattr(builtins, call.func.id) for call in calls)


def define(scope: dict, node: ast.AST, name: str) -> None:
    """Run a light statement; of any other, note only that it gives its names another value, which is none of the code."""
    if is_light(node):
        try:
            exec(compile(ast.Module([node], []), name, "exec"), scope)
            return
        except Exception as error:  # it needs what only a run has
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                print(f"{name}: {node.name} cannot be defined without a run ({error})", file=sys.stderr)
    scope.update({part.id: None for part in ast.walk(node) if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)})


def keys(path: Path) -> dict[str, str]:
    """Each study of a notebook, with the key of the code that it runs: of what is defined when it is called."""
    scope, found = {"__name__": "__main__"}, {}
    for number, source in enumerate(cells(path)):
        name, tree = f"<{path.stem} {number}>", ast.parse(source)
        linecache.cache[name] = (len(source), None, source.splitlines(True), name)
        for node in tree.body:
            define(scope, node, name)
        for call in ast.walk(tree):
            if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "study" and isinstance(call.args[0], ast.Constant):
                found[call.args[0].value] = code_key(scope[call.args[1].id])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebook", nargs="?", help="the start of a notebook's name; none: all that have a study")
    parser.add_argument("study", nargs="*", help="names of studies; none: all of the notebook")
    parser.add_argument("--write", action="store_true", help="stamp the rows: I vouch that today's code gives them")
    args = parser.parse_args()
    for path in sorted((ROOT / "nbs").rglob(f"{args.notebook or ''}*.ipynb")):
        found = keys(path) if any("study(" in source for source in cells(path)) else {}
        for name, code in found.items():
            if args.study and name not in args.study:
                continue
            stored = ROOT / "results" / f"{name}.json"
            rows = json.loads(stored.read_text()) if stored.exists() else []
            other = sum(row.get("code") != code for row in rows)
            print(f"{path.stem}: {name}: {other} of {len(rows)} rows {'stamped' if args.write else 'by other code than'} {code}")
            if args.write and other:
                write_atomically(stored, (json.dumps([row | {"code": code} for row in rows], indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
