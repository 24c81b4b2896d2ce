"""The book as data, read in one place: notebooks with their directives, text, code, labels and outputs, the contents, and who needs whom.

The scripts beside this file and the tests in tests/book import it.  Nothing outside the standard library is loaded until `_quarto.yml` is asked for.
"""

import ast
import configparser
import json
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "vqdiff_edu"

DIRECTIVE = re.compile(r"#\|\s*([\w-]+)(:?)[ \t]*(.*)")
EQ_DEF = re.compile(r"\{#(eq-[\w-]+)\}")
REF = re.compile(r"(?<![\w.])@((?:eq|fig|sec|tbl|lst)-[\w-]+)")
LABEL = re.compile(r"(?:\{#|#\|\s*label:\s*)((?:eq|fig|sec|tbl|lst)-[\w-]+)")
VERIFY = re.compile(r"verify\w*\(\s*[\"'](eq-[\w-]+)[\"']")
CHECK = re.compile(r"(?<!\w)check\(\s*[\"']([\w-]+)[\"']")
KEY = re.compile(r"(?<![\w.`\\])@([A-Za-z][\w:.-]*\w)")
LINK = re.compile(r"\]\(\s*<?([^)\s>]+)>?[^)]*\)")
NEEDS = re.compile(r"^\*Needs:? (.+)\.\*$", re.M)
CODE_SPAN = re.compile(r"^```.*?^```|(`+)(?!`).*?(?<!`)\1(?!`)", re.S | re.M)
MATHS = re.compile(r"\$\$.*?\$\$|\$[^$\n]+\$", re.S)


# ---------------------------------------------------------------- directives and numbers


class Directive(NamedTuple):
    """One `#| key` (nbdev's) or `#| key: value` (Quarto's) line, quotes taken off."""

    key: str
    value: str
    has_colon: bool
    line: str


def split_directives(source: str) -> tuple[list[Directive], str]:
    """The directives at the top of a code cell, and the code below them."""
    lines, found = source.splitlines(), []
    while lines and (line := DIRECTIVE.match(lines[0])):
        found.append(Directive(line[1], unquoted(line[3].strip()), bool(line[2]), line[0]))
        lines.pop(0)
    return found, "\n".join(lines).strip("\n")


def unquoted(value: str) -> str:
    """A YAML scalar without its quotes."""
    if len(value) > 1 and value[0] == value[-1] == '"':
        return re.sub(r"\\(.)", r"\1", value[1:-1])
    return value[1:-1].replace("''", "'") if len(value) > 1 and value[0] == value[-1] == "'" else value


def number_of(path: Path | str) -> int | None:
    """The chapter's number, which its file name starts with; a file without one is not numbered."""
    found = re.match(r"(\d+)_", Path(path).name)
    return int(found[1]) if found else None


# ---------------------------------------------------------------- notebooks


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
        return {line.key: line.value for line in split_directives(self.source)[0]}

    @cached_property
    def exported(self) -> bool:
        return bool({"export", "exports", "exporti"} & self.directives.keys())

    @cached_property
    def shown(self) -> bool:
        """Does anything of this cell stand on the page?"""
        return not ({"hide", "default_exp"} & self.directives.keys()) and self.directives.get("include") != "false"

    @cached_property
    def runs(self) -> bool:
        """Is it code that a run executes?"""
        return self.kind == "code" and self.directives.get("eval", "").lower() != "false"

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


def cells_of(notebook: str) -> list[Cell]:
    """The cells of a notebook given as JSON."""
    return [Cell(i, c["cell_type"], "".join(c["source"]), c.get("outputs", [])) for i, c in enumerate(json.loads(notebook)["cells"])]


@dataclass
class Notebook:
    """A chapter, tool page or solutions page."""

    path: Path
    root: Path

    @cached_property
    def cells(self) -> list[Cell]:
        return cells_of(self.path.read_text(encoding="utf-8"))

    @cached_property
    def code(self) -> list[Cell]:
        return [cell for cell in self.cells if cell.kind == "code"]

    @cached_property
    def prose(self) -> str:
        return "\n".join(cell.source for cell in self.cells if cell.kind == "markdown")

    @cached_property
    def source(self) -> str:
        return "\n".join(cell.source for cell in self.code)

    @cached_property
    def head(self) -> str:
        """The first markdown cell: title, promise, badge, what is needed."""
        return next((cell.source for cell in self.cells if cell.kind == "markdown"), "")

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
        return number_of(self.path)

    @property
    def is_chapter(self) -> bool:
        """One of the numbered chapters, and neither a tool nor an appendix."""
        return self.number is not None and self.number < 70

    @cached_property
    def needs(self) -> list[str] | None:
        """The notebooks that the head's line `*Needs: [data](02_data.ipynb).*` links to, by path below the root; None without such a line."""
        line = NEEDS.search(self.head)
        links = [link.partition("#")[0] for link in LINK.findall(line[1])] if line else []
        paths = [(self.path.parent / link).resolve() for link in links if link.endswith(".ipynb")]
        root = self.root.resolve()
        return [p.relative_to(root).as_posix() if p.is_relative_to(root) else p.as_posix() for p in paths] if line else None

    @cached_property
    def module(self) -> str | None:
        """What `#| default_exp` names."""
        found = [cell.directives["default_exp"] for cell in self.code if "default_exp" in cell.directives]
        return found[0] if found else None

    @cached_property
    def runs(self) -> bool:
        """Is there anything to run, beyond exported definitions and directives?"""
        return any(cell.lines and not cell.exported and cell.runs for cell in self.code)

    @cached_property
    def imports(self) -> set[str]:
        """Modules of the package that exported code imports, at the top or inside functions."""
        return set().union(*(imported_modules(cell.tree) for cell in self.code if cell.exported))


def imported_modules(tree: ast.AST, package: str = "") -> set[str]:
    """Names below the package that these imports could mean: `diffusion.schedule` and `diffusion.schedule.x` for `from vqdiff_edu.diffusion.schedule import x`.

    A relative import counts from `package`: `codes` for a module in vqdiff_edu/codes.
    """
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = [PACKAGE, *filter(None, package.split("."))]
                base = ".".join([*above[: len(above) - node.level + 1], *filter(None, [base])])
            found |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
    return {name.removeprefix(PACKAGE + ".") for name in found if name.startswith(PACKAGE + ".")}


# ---------------------------------------------------------------- the whole


class Entry(NamedTuple):
    """One line of the book's contents."""

    file: str
    part: str
    appendix: bool


def listed(entries: list, part: str = "", appendix: bool = False) -> list[Entry]:
    """What a `chapters:` or `appendices:` list names, parts opened; a part's own page first."""
    found = []
    for entry in entries:
        if isinstance(entry, dict) and "part" in entry:
            own = [entry["part"]] if str(entry["part"]).endswith((".qmd", ".ipynb")) else []
            found += listed([*own, *entry.get("chapters", [])], entry["part"], appendix)
        else:
            found.append(Entry(entry.get("file") or entry["href"] if isinstance(entry, dict) else entry, part, appendix))
    return found


class Book:
    """Everything under a project's root; made small and bad on purpose in tests/book/test_bites.py."""

    def __init__(self, root: Path = ROOT):
        self.root = Path(root)

    @cached_property
    def notebooks(self) -> list[Notebook]:
        """All notebooks in reading order."""
        nbs = self.root / "nbs"
        paths = [p for p in sorted(nbs.rglob("*.ipynb")) if not any(part.startswith((".", "_")) for part in p.relative_to(nbs).parts)]
        return [Notebook(path, self.root) for path in paths]

    @cached_property
    def chapters(self) -> list[Notebook]:
        return [nb for nb in self.notebooks if nb.is_chapter]

    @cached_property
    def contents(self) -> list[Entry]:
        """The lines of _quarto.yml: first the chapters, then the appendices."""
        import yaml

        book = yaml.safe_load((self.root / "_quarto.yml").read_text(encoding="utf-8"))["book"]
        return [*listed(book.get("chapters", [])), *listed(book.get("appendices", []), appendix=True)]

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
        """Where each label is defined; a cell that is not on the page defines none."""
        found: dict[str, list[str]] = {}
        code = {nb.rel: "\n".join(cell.source for cell in nb.code if cell.shown) for nb in self.notebooks}
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

    @property
    def repository(self) -> str:
        return f"https://github.com/{self.settings['user']}/{self.settings['repo']}"

    @property
    def site(self) -> str:
        """Where the pages are published, with a slash at the end."""
        return f"https://{self.settings['user']}.github.io/{self.settings['repo']}/"

    def source_of(self, file: str) -> str:
        """Where a file of the book can be read in the repository."""
        return f"{self.repository}/blob/{self.settings['branch']}/{file}"

    def colab_of(self, file: str) -> str:
        """Where a notebook opens in Colab."""
        return self.source_of(file).replace("https://github.com", "https://colab.research.google.com/github")


def plain(prose: str) -> str:
    """Prose without code and mathematics."""
    return MATHS.sub(" ", CODE_SPAN.sub(" ", prose))
