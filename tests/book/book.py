"""The book as data: notebooks, their text, code, labels and outputs. What is looked for is decided in the tests beside this file."""

import ast
import configparser
import json
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "vqdiff_edu"

EQ_DEF = re.compile(r"\{#(eq-[\w-]+)\}")
REF = re.compile(r"(?<![\w.])@((?:eq|fig|sec|tbl|lst)-[\w-]+)")
LABEL = re.compile(r"(?:\{#|#\|\s*label:\s*)((?:eq|fig|sec|tbl|lst)-[\w-]+)")
VERIFY = re.compile(r"verify\w*\(\s*[\"'](eq-[\w-]+)[\"']")
CHECK = re.compile(r"(?<!\w)check\(\s*[\"']([\w-]+)[\"']")
KEY = re.compile(r"(?<![\w.`\\])@([A-Za-z][\w:.-]*\w)")
LINK = re.compile(r"\]\(\s*<?([^)\s>]+)>?[^)]*\)")
CODE_SPAN = re.compile(r"^```.*?^```|(`+)(?!`).*?(?<!`)\1(?!`)", re.S | re.M)
MATHS = re.compile(r"\$\$.*?\$\$|\$[^$\n]+\$", re.S)


@dataclass
class Cell:
    """One cell; `index` counts from 0, as error messages do."""

    index: int
    kind: str
    source: str
    outputs: list

    @cached_property
    def directives(self) -> dict[str, str]:
        """`#| key: value` and `#| word value` as a dictionary."""
        found = re.findall(r"^#\|\s*([\w-]+)\s*:?[ \t]*(.*)$", self.source, re.M)
        return {key: value.strip().strip("\"'") for key, value in found}

    @cached_property
    def exported(self) -> bool:
        return bool({"export", "exports", "exporti"} & self.directives.keys())

    @cached_property
    def lines(self) -> int:
        """Lines of code: neither blank nor directives."""
        return sum(bool(line.strip()) and not line.lstrip().startswith("#|") for line in self.source.splitlines())

    @cached_property
    def tree(self) -> ast.Module:
        """The code's syntax tree, without Jupyter's magics and shell lines."""
        plain = re.sub(r"^(\s*)[%!].*$", r"\1pass", self.source, flags=re.M)
        return ast.parse(plain if not self.source.lstrip().startswith("%%") else "")

    @cached_property
    def printed(self) -> str:
        """Every text among the outputs; pictures and sounds left out."""
        texts = []
        for output in self.outputs:
            texts += ["".join(output.get("text", "")), *output.get("traceback", [])]
            texts += ["".join(v) if isinstance(v, (str, list)) else json.dumps(v) for k, v in output.get("data", {}).items() if is_text(k)]
        return "\n".join(texts)

    @cached_property
    def has_picture(self) -> bool:
        return any(kind.startswith("image/") for output in self.outputs for kind in output.get("data", {}))


def is_text(mime: str) -> bool:
    return mime.startswith("text/") or mime in ("application/json", "image/svg+xml")


@dataclass
class Notebook:
    """A chapter, tool page or solutions page."""

    path: Path
    root: Path

    @cached_property
    def cells(self) -> list[Cell]:
        raw = json.loads(self.path.read_text(encoding="utf-8"))["cells"]
        return [Cell(i, c["cell_type"], "".join(c["source"]), c.get("outputs", [])) for i, c in enumerate(raw)]

    @cached_property
    def code(self) -> list[Cell]:
        return [cell for cell in self.cells if cell.kind == "code"]

    @cached_property
    def prose(self) -> str:
        return "\n".join(cell.source for cell in self.cells if cell.kind == "markdown")

    @cached_property
    def source(self) -> str:
        return "\n".join(cell.source for cell in self.code)

    @property
    def rel(self) -> str:
        return self.path.relative_to(self.root).as_posix()

    @property
    def key(self) -> str:
        """Its name in results/executed.json."""
        return self.path.relative_to(self.root / "nbs").with_suffix("").as_posix()

    @property
    def number(self) -> int | None:
        """The chapter's number; solutions have none."""
        found = re.match(r"(\d\d)_", self.path.name)
        return int(found[1]) if found else None

    @cached_property
    def module(self) -> str | None:
        """What `#| default_exp` names."""
        found = [cell.directives["default_exp"] for cell in self.code if "default_exp" in cell.directives]
        return found[0] if found else None

    @cached_property
    def runs(self) -> bool:
        """Is there anything to run, beyond exported definitions and directives?"""
        return any(cell.lines and not cell.exported and cell.directives.get("eval") != "false" for cell in self.code)

    @cached_property
    def imports(self) -> set[str]:
        """Modules of the package that exported code imports, at the top or inside functions."""
        nodes = [node for cell in self.code if cell.exported for node in ast.walk(cell.tree)]
        return set().union(*(imported_modules(node) for node in nodes)) if nodes else set()


def imported_modules(node: ast.AST) -> set[str]:
    """`data` for `from vqdiff_edu.data import x`, `from vqdiff_edu import data` and `import vqdiff_edu.data`."""
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom) and node.module == PACKAGE and not node.level:
        names = [f"{PACKAGE}.{alias.name}" for alias in node.names]
    elif isinstance(node, ast.ImportFrom) and not node.level:
        names = [node.module or ""]
    else:
        names = []
    return {name.removeprefix(PACKAGE + ".") for name in names if name.startswith(PACKAGE + ".")}


class Book:
    """Everything under a project's root; made small and bad on purpose in `test_bites`."""

    def __init__(self, root: Path = ROOT):
        self.root = Path(root)

    @cached_property
    def notebooks(self) -> list[Notebook]:
        """All notebooks in reading order."""
        nbs = self.root / "nbs"
        paths = [p for p in sorted(nbs.rglob("*.ipynb")) if not any(part.startswith((".", "_")) for part in p.relative_to(nbs).parts)]
        return [Notebook(path, self.root) for path in paths]

    @cached_property
    def pages(self) -> dict[str, str]:
        """Prose of every notebook and of the .qmd pages, by relative path."""
        texts = {nb.rel: nb.prose for nb in self.notebooks}
        qmd = [*self.root.glob("*.qmd"), *(self.root / "nbs").rglob("*.qmd")]
        return texts | {p.relative_to(self.root).as_posix(): p.read_text(encoding="utf-8") for p in sorted(qmd)}

    @cached_property
    def modules(self) -> dict[str, list[Notebook]]:
        """Which notebooks export each module."""
        found: dict[str, list[Notebook]] = {}
        for nb in self.notebooks:
            if nb.module:
                found.setdefault(nb.module, []).append(nb)
        return found

    @cached_property
    def files(self) -> set[str]:
        """Modules on disk, `exercises.ch12` among them; `__init__` and nbdev's index are nobody's."""
        package = self.root / PACKAGE
        paths = [p.relative_to(package).with_suffix("") for p in package.rglob("*.py") if p.name not in ("__init__.py", "_modidx.py")]
        return {".".join(path.parts) for path in paths}

    @cached_property
    def labels(self) -> dict[str, list[str]]:
        """Where each label is defined."""
        found: dict[str, list[str]] = {}
        code = {nb.rel: nb.source for nb in self.notebooks}
        for page, prose in self.pages.items():
            for label in LABEL.findall(prose + "\n" + code.get(page, "")):
                found.setdefault(label, []).append(page)
        return found

    @cached_property
    def references(self) -> dict[str, list[str]]:
        """Where each label is cited in prose."""
        found: dict[str, list[str]] = {}
        for page, prose in self.pages.items():
            for label in REF.findall(prose):
                found.setdefault(label, []).append(page)
        return found

    @cached_property
    def citations(self) -> dict[str, list[str]]:
        """Where each work is cited."""
        found: dict[str, list[str]] = {}
        for page, prose in self.pages.items():
            for key in KEY.findall(plain(prose)):
                if not REF.fullmatch("@" + key):
                    found.setdefault(key, []).append(page)
        return found

    @cached_property
    def bibliography(self) -> dict[str, str]:
        """The entries of references.bib by key; a key given twice keeps both texts."""
        path, found = self.root / "references.bib", {}
        for entry in re.split(r"(?m)^(?=@)", path.read_text(encoding="utf-8") if path.exists() else ""):
            if head := re.match(r"@\w+\s*\{\s*([^,\s]+)\s*,", entry):
                found[head[1]] = found.get(head[1], "") + entry
        return found

    @cached_property
    def settings(self) -> dict[str, str]:
        """settings.ini's one section."""
        parser = configparser.ConfigParser(interpolation=None)
        parser.read(self.root / "settings.ini", encoding="utf-8")
        return dict(parser["DEFAULT"])


def plain(prose: str) -> str:
    """Prose without code and mathematics."""
    return MATHS.sub(" ", CODE_SPAN.sub(" ", prose))
