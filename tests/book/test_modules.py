"""One notebook a module, one module a notebook, and imports that follow the reading order.

Tools and the common ground of part 1 may be imported by all.  Otherwise a module imports only from earlier chapters.  The registry imports by name the
module that a model's card names, and the command line imports inside its commands.
"""

import ast
import graphlib

import pytest

from bookdata import PACKAGE, Book, Cell, Notebook, imported_modules

BOOK = Book()


def homeless_modules(book: Book) -> list[str]:
    """Modules without a notebook, notebooks without a module, modules with two notebooks."""
    problems = [
        f"{module}: no notebook has `#| default_exp {module}`; remove {PACKAGE}/{module.replace('.', '/')}.py or restore its notebook"
        for module in sorted(book.files - book.modules.keys())
    ]
    problems += [
        f"{book.modules[m][0].rel}: exports {m}, which is not in the package; run nbdev_export"
        for m in sorted(book.modules.keys() - book.files)
    ]
    problems += [
        f"{m}: {len(nbs)} notebooks export it ({', '.join(nb.rel for nb in nbs)}), and each overwrites the other"
        for m, nbs in sorted(book.modules.items())
        if len(nbs) > 1
    ]
    return problems


def module_problems(nb: Notebook) -> list[str]:
    """Exports without a module, or more than one `default_exp`."""
    named = [cell.directives["default_exp"] for cell in nb.code if "default_exp" in cell.directives]
    exported = [cell.index for cell in nb.code if cell.exported]
    problems = [f"`#| default_exp` stands {len(named)} times ({', '.join(named)}); a notebook has one module"] if len(named) > 1 else []
    if exported and not named:
        problems.append(f"cells {exported} are exported, but no `#| default_exp` says where to")
    if named and not exported:
        problems.append(f"`#| default_exp {named[0]}` and nothing exported")
    return problems


def kind(book: Book, module: str) -> str:
    """Where in the book a module comes from: "common" ground (part 1), a "chapter", a "tool", the "cli", or an "exercise"."""
    folder = book.modules[module][0].path.parent.name
    if module == "cli" or module.startswith("exercises."):
        return module.partition(".")[0].rstrip("s")
    return {"1": "common", "7": "tool"}.get(folder[:1], "chapter")


def may_import(book: Book, importer: str, imported: str, inside: bool) -> bool:
    """May `importer` import `imported` (`inside` a function)?"""
    who, what = kind(book, importer), kind(book, imported)
    if who == "exercise" or what in ("common", "tool"):
        return True
    if what in ("exercise", "cli"):
        return False
    if who == "cli":
        return inside
    return who == "chapter" and book.modules[imported][0].number < book.modules[importer][0].number


def import_problems(book: Book, nb: Notebook) -> list[str]:
    """Exported imports of this notebook that look ahead."""
    problems = []
    at_the_top = set().union(*(imported_modules(ast.Module(imports, [])) for imports in map(top_imports, nb.code) if imports))
    for module in sorted(nb.imports & book.modules.keys()):
        source = book.modules[module][0].rel
        if module == nb.module:
            problems.append(f"exports an import of its own module {module}; the names are defined here already")
        elif may_import(book, nb.module, module, module not in at_the_top):
            continue
        elif nb.module == "cli":
            problems.append(f"cli imports {module} at the top; import it inside the command that needs it")
        elif kind(book, nb.module) == "chapter":
            problems.append(f"{nb.module} imports {module}, which is taught later ({source}); move the code or the chapter")
        else:
            problems.append(
                f"{nb.module} may be imported by all, so it imports only tools and the common ground; it imports {module} ({source})"
            )
    return problems


def top_imports(cell: Cell) -> list[ast.stmt]:
    """The imports of an exported cell outside functions and classes."""
    return [node for node in cell.tree.body if isinstance(node, (ast.Import, ast.ImportFrom))] if cell.exported else []


def import_circles(book: Book) -> list[str]:
    """Modules that import each other in a circle."""
    graph = {module: nbs[0].imports & book.modules.keys() - {module} for module, nbs in book.modules.items()}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return [" -> ".join(error.args[1])]
    return []


def test_every_module_has_exactly_one_notebook():
    assert BOOK.modules, "no notebook exports anything"
    problems = homeless_modules(BOOK)
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("nb", BOOK.notebooks, ids=lambda nb: nb.key)
def test_a_notebook_exports_to_one_module(nb):
    problems = module_problems(nb)
    assert not problems, f"{nb.rel}:\n" + "\n".join(problems)


@pytest.mark.parametrize("nb", [nb for nb in BOOK.notebooks if nb.module], ids=lambda nb: nb.key)
def test_imports_follow_the_reading_order(nb):
    problems = import_problems(BOOK, nb)
    assert not problems, f"{nb.rel}:\n" + "\n".join(problems)


def test_no_module_imports_itself_through_others():
    assert not import_circles(BOOK), f"modules import each other in a circle: {import_circles(BOOK)}"
