"""One notebook a module, one module a notebook, and imports that follow the reading order."""

import graphlib

import pytest

from .book import PACKAGE, Book, Notebook

BOOK = Book()
FREE = ("require", "verify", "grading", "viz", "weights", "data", "process", "registry")  # may be imported by all
LAST = ("cli",)  # after every chapter


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


def place(module: str, number: int | None) -> float:
    """A module's place in the reading order."""
    if module.startswith("exercises."):
        return 1000 + int(module[-2:])
    if module in LAST:
        return 900 + LAST.index(module)
    return float(number if number is not None else 999)


def import_problems(book: Book, nb: Notebook) -> list[str]:
    """Exported imports of this notebook that look ahead."""
    problems = []
    for module in sorted(nb.imports & book.modules.keys()):
        source = book.modules[module][0]
        if module == nb.module:
            problems.append(f"exports an import of its own module {module}; the names are defined here already")
        elif nb.module == "registry" and module == "training":
            continue  # which does not import it
        elif nb.module in FREE and module not in FREE:
            problems.append(f"{nb.module} may be imported by all, so it imports only {', '.join(FREE)}; it imports {module}")
        elif module not in FREE and place(module, source.number) >= place(nb.module, nb.number):
            problems.append(f"{nb.module} imports {module}, which is taught later ({source.rel}); move the code or the chapter")
    return problems


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
