"""Do a chapter's stored outputs still belong to its code?  A hash over what can change a number, and over nothing else.

It covers the chapter's cells and every module of the package that they reach, through other modules too; `load_pretrained` reaches the registry, and
for each model that the chapter names the module and the weights of its card.  What is said and not done is left out: docstrings, comments, annotations,
messages of errors, checks of `require`, imports, `__all__`, captions.  So a better message asks for no new run, and neither does a module that moves,
nor a function that takes another place among the functions and classes of its module.
"""

import ast
import hashlib
import json
import re
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import NamedTuple

from bookdata import PACKAGE, ROOT, Notebook, imported_modules

SILENT = ("require",)  # its calls are left out, and so is the module


class Essence(ast.NodeTransformer):
    """A syntax tree without what cannot change a number."""

    def visit_Import(self, node):
        return None

    def visit_ImportFrom(self, node):
        renamed = [f"{alias.name} as {alias.asname}" for alias in node.names if alias.asname not in (None, alias.name)]
        return ast.Expr(ast.Constant(" ".join(renamed))) if renamed else None  # which thing bears the name matters, where it lives does not

    def visit_arg(self, node):
        return ast.arg(node.arg, None)

    def visit_FunctionDef(self, node):
        node.body, node.returns = without_docstring(node.body), None
        return self.generic_visit(node)

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_ClassDef(self, node):
        node.body = without_docstring(node.body)
        return self.generic_visit(node)

    def visit_AnnAssign(self, node):
        value = self.visit(node.value) if node.value else None
        return ast.Assign([self.visit(node.target)], value) if value else ast.Expr(self.visit(node.target))

    def visit_Assign(self, node):
        if any(isinstance(target, ast.Name) and target.id == "__all__" for target in node.targets):
            return None
        node = self.generic_visit(node)
        same = len(node.targets) == 1 and isinstance(node.targets[0], ast.Name) and dump(node.targets[0]) == dump(node.value)
        return None if same else node  # x = require.whole("x", x)

    def visit_Expr(self, node):
        return None if is_require(node.value) else self.generic_visit(node)

    def visit_Call(self, node):
        node = self.generic_visit(node)
        if not is_require(node):
            return node
        if len(node.args) > 1:
            return node.args[1]  # require.whole("steps", steps, 1) is steps
        return ast.Tuple([keyword.value for keyword in node.keywords])

    def visit_Pass(self, node):
        return None

    def visit_Assert(self, node):
        return ast.Assert(self.visit(node.test), None)

    def visit_Raise(self, node):
        node.cause = None
        if isinstance(node.exc, ast.Call):
            node.exc.args = [argument for argument in node.exc.args if not has_text(argument)]
        return self.generic_visit(node)

    def visit_If(self, node):
        node = self.generic_visit(node)
        return node if node.body or node.orelse else None  # it held a check and nothing else

    visit_For = visit_If


def without_docstring(body: list[ast.stmt]) -> list[ast.stmt]:
    first = body[0] if body else None
    return body[1:] if isinstance(first, ast.Expr) and isinstance(getattr(first.value, "value", None), str) else body


def is_require(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and getattr(node.func.value, "id", "") == "require"


def has_text(node: ast.AST) -> bool:
    return any(isinstance(n, ast.JoinedStr) or (isinstance(n, ast.Constant) and isinstance(n.value, str)) for n in ast.walk(node))


def dump(node) -> str:
    """As `ast.dump`, but the same in every version of Python: no empty fields, no load and store."""
    if isinstance(node, list):
        return "[" + ",".join(map(dump, node)) + "]"
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = [f"{name}={dump(value)}" for name, value in ast.iter_fields(node) if name not in ("ctx", "kind") and value not in (None, [])]
    if isinstance(node, ast.Constant):
        fields = [repr(node.value)]
    return f"{type(node).__name__}({','.join(fields)})"


def essence(tree: ast.Module) -> str:
    """The text that is hashed for a module or a cell."""
    return "\n".join(dump(statement) for statement in Essence().visit(tree).body)


def calls_of(tree: ast.AST, name: str) -> set[str]:
    """The first arguments of calls of `name`, where they are given as text."""
    calls = [
        n for n in ast.walk(tree) if isinstance(n, ast.Call) and n.args and name in (getattr(n.func, "id", ""), getattr(n.func, "attr", ""))
    ]
    return {call.args[0].value for call in calls if isinstance(call.args[0], ast.Constant)}


class Links(NamedTuple):
    """What a piece of code leads to: names below the package that it imports, models whose state it loads, models that it loads whole."""

    imports: set[str]
    states: set[str]
    pretrained: set[str]


def links_of(tree: ast.AST, room: str = "") -> Links:
    return Links(imported_modules(tree, room), calls_of(tree, "load_state"), calls_of(tree, "load_pretrained"))


class Package:
    """The modules and models below `root`, each read once."""

    def __init__(self, root: Path = ROOT):
        self.folder = root / PACKAGE
        self.links, self.hash, self.card = cache(self.links), cache(self.hash), cache(self.card)

    def path(self, module: str) -> Path:
        return self.folder / (module.replace(".", "/") + ".py")

    def links(self, module: str) -> Links:
        return links_of(ast.parse(self.path(module).read_text(encoding="utf-8")), module.rpartition(".")[0])

    def hash(self, module: str) -> str:
        tree = ast.parse(self.path(module).read_text(encoding="utf-8"))
        tree.body = without_docstring(tree.body)
        defined = [node for node in tree.body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))]
        done = [node for node in tree.body if node not in defined]
        texts = sorted(essence(ast.Module([node], [])) for node in defined), essence(ast.Module(done, []))
        return hashlib.sha256(json.dumps(texts).encode()).hexdigest()

    def card(self, model: str) -> dict:
        path = self.folder / "weights" / f"{model}.json"
        return json.loads(path.read_text(encoding="utf-8")) if re.fullmatch(r"[\w-]+", model) and path.exists() else {}

    def reached(self, trees: list[ast.Module]) -> tuple[set[str], set[str]]:
        """The modules and the models that this code reaches."""
        modules, models, queue = set(), set(), [links_of(tree) for tree in trees]
        said = {n.value for tree in trees for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)}
        while queue:
            imports, states, pretrained = queue.pop()
            wanted, loaded = set(imports), set(states)
            if wanted & {"load_pretrained", "list_models"}:  # from vqdiff_edu itself
                wanted.add("registry")
            if "registry" in wanted:
                loaded |= pretrained | said  # a chapter may load in a loop over names
            while loaded:
                if (card := self.card(model := loaded.pop())) and model not in models:
                    models.add(model)
                    loaded |= set(card.get("parents", ()))
                    wanted.add(str(card.get("module", "")).removeprefix(PACKAGE + "."))
            new = {module for module in wanted if module and module not in (*modules, *SILENT) and self.path(module).is_file()}
            modules |= new
            queue += [self.links(module) for module in new]
        return modules, models


def weights_of(card: dict) -> str:
    """The hash of a model's tensors, or of its file where the card knows no other."""
    return card.get("tensors_sha256") or card.get("sha256") or ""


def chapter_hash(nb: Notebook, package: Package) -> str:
    """SHA-256 over what the chapter's cells, the modules that they reach and the models that they load amount to."""
    trees = [cell.tree for cell in nb.code if cell.runs]
    modules, models = package.reached(trees)
    cells = [text for tree in trees if (text := essence(deepcopy(tree)))]
    digests = sorted(map(package.hash, modules)), sorted(weights_of(package.card(model)) for model in models)
    return hashlib.sha256(json.dumps([cells, *digests]).encode()).hexdigest()


def is_fresh(nb: Notebook, entry: dict | None, package: Package) -> bool:
    """Did the run that stored the outputs run this code?"""
    return entry is not None and entry.get("code_sha256") == chapter_hash(nb, package)
