"""Exercises: each has a stub, a check, a solution that passes and mistakes that are called by their names."""

import ast
import importlib
import re

import pytest

from bookdata import CHECK, PACKAGE, Book, Notebook
from vqdiff_edu.grading import KINDS, Exercise, _outcomes, grade

BOOK = Book()
PARTS = sorted(module for module in BOOK.modules if module.startswith("exercises."))


def registered(modules: list[str]) -> tuple[dict[str, tuple[str, Exercise]], dict[str, Exception]]:
    """Every exercise with its key and module, and the modules that could not be imported."""
    found, broken = {}, {}
    for module in modules:
        try:
            for key, exercise in importlib.import_module(f"{PACKAGE}.{module}").EXERCISES.items():
                found[key] = (module, exercise)
        except Exception as error:  # reported by a test of its own, so that the others still run
            broken[module] = error
    return found, broken


FOUND, BROKEN = registered(PARTS)


def chapter_of(book: Book, id: str) -> Notebook | None:
    return next((nb for nb in book.notebooks if nb.number == int(id[:2])), None)


def asked(nb: Notebook) -> dict[str, list[ast.expr | None]]:
    """The ids that a notebook checks, with the expressions handed in."""
    found: dict[str, list[ast.expr | None]] = {}
    for cell in nb.code:
        for node in ast.walk(cell.tree):
            if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) == "check" and node.args:
                if isinstance(node.args[0], ast.Constant):
                    found.setdefault(str(node.args[0].value), []).append(node.args[1] if len(node.args) > 1 else None)
    return found


def is_nothing(node: ast.AST | None) -> bool:
    """None, `...`, or a tuple of such."""
    if isinstance(node, ast.Tuple):
        return all(is_nothing(item) for item in node.elts)
    return isinstance(node, ast.Constant) and node.value in (None, ...)


def is_stub(node: ast.stmt) -> bool:
    """A definition without an answer in it."""
    if isinstance(node, (ast.Assign, ast.AnnAssign)):
        return is_nothing(node.value)
    if not isinstance(node, ast.FunctionDef):
        return False
    return all(
        isinstance(step, (ast.Pass, ast.Raise))
        or (isinstance(step, ast.Return) and (step.value is None or is_nothing(step.value)))
        or (isinstance(step, ast.Expr) and isinstance(step.value, ast.Constant))
        for step in node.body
    )


def names_of(node: ast.stmt) -> set[str]:
    if isinstance(node, ast.FunctionDef):
        return {node.name}
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return {name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)}


def unsolved(nb: Notebook, id: str) -> bool:
    """Is the first answer that the chapter hands in for this exercise an empty stub?"""
    latest: dict[str, ast.stmt] = {}
    for statement in (node for cell in nb.code for node in cell.tree.body):
        for node in ast.walk(statement):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "check" and getattr(node.args[0], "value", None) == id:
                answer = node.args[1] if len(node.args) > 1 else None
                return is_nothing(answer) or (isinstance(answer, ast.Name) and answer.id in latest and is_stub(latest[answer.id]))
        latest |= dict.fromkeys(names_of(statement), statement)
    return False


def named(nb: Notebook, key: str) -> bool:
    """Does the page's prose mention the exercise's number?"""
    return re.search(rf"(?<![\d-]){key}(?!\d)", nb.prose) is not None


def place_problems(book: Book, key: str, module: str, exercise: Exercise) -> list[str]:
    """Is it registered under its own number, in the module of its chapter, and asked in its own chapter with an empty stub?"""
    problems, chapter = [], chapter_of(book, key)
    if exercise.id != key:
        problems.append(f"is registered as {key} but calls itself {exercise.id}")
    if module != f"exercises.ch{key[:2]}":
        problems.append(f"is registered in {module}; its chapter's is exercises.ch{key[:2]}")
    if chapter is None:
        problems.append("has no chapter")
    elif exercise.kind == "explain":
        problems += [] if key in asked(chapter) or named(chapter, key) else [f"{chapter.rel} never asks it"]
    elif key not in asked(chapter):
        problems.append(f'{chapter.rel} has no check("{key}", …)')
    elif not unsolved(chapter, key):
        problems.append(f"{chapter.rel} hands in an answer already; the stub must be empty")
    return problems


def declaration_problems(exercise: Exercise) -> list[str]:
    """Kind, property, mistakes."""
    problems = [] if exercise.kind in KINDS else [f"kind {exercise.kind!r} is none of {KINDS}"]
    if exercise.kind == "explain":
        return problems + ([] if len(exercise.rubric) >= 2 else ["an explain exercise needs a rubric of two points or more"])
    if exercise.kind == "implement" and not exercise.property:
        problems.append("an implement exercise says which property must hold (property=…)")
    if not exercise.wrong:
        problems.append("names no classic mistake (wrong={name: (what it gives, hint)})")
    return problems + [f"the mistake {name!r} has no hint" for name, (_, hint) in exercise.wrong.items() if len(hint) < 8]


def grading_problems(exercise: Exercise) -> list[str]:
    """Does its check pass the solution, refuse each mistake by name, and leave an empty stub alone?"""
    if exercise.kind == "explain":
        return []
    problems = [] if grade(exercise, None).status == "not tried" else ["an answer of None must be 'not tried'"]
    if not (verdict := grade(exercise, exercise.solution, seconds=10)).ok:
        problems.append(f"its own solution is refused:\n{verdict}")
    for name, (mistake, hint) in exercise.wrong.items():
        verdict = grade(exercise, mistake, seconds=10)
        if verdict.status != "wrong":
            problems.append(f"the mistake {name!r} is found {verdict.status!r}; add a case on which it differs")
        elif f"this looks like: {name}. {hint}" not in verdict.message:
            problems.append(f"the mistake {name!r} is refused but not named (another does the same, or it is random?):\n{verdict}")
    return problems


def accidents(exercise: Exercise) -> list[str]:
    """Errors of the solution itself other than a refusal of bad input."""
    if exercise.kind == "explain":
        return []
    solution = exercise.solution if callable(exercise.solution) else lambda: exercise.solution
    cases = [case if isinstance(case, tuple) else (case,) for case in exercise.cases()]
    found = [outcome.error for outcome in _outcomes(solution, cases, exercise.seed, seconds=10)]
    return ([] if cases else ["has no cases"]) + [repr(e) for e in found if e is not None and not isinstance(e, (ValueError, TypeError))]


@pytest.mark.parametrize("module", PARTS)
def test_exercises_can_be_imported(module):
    assert module not in BROKEN, f"{PACKAGE}.{module}: {BROKEN[module]!r}"


@pytest.mark.parametrize("key", FOUND)
def test_an_exercise_is_asked_where_it_belongs(key):
    module, exercise = FOUND[key]
    problems = place_problems(BOOK, key, module, exercise)
    assert not problems, f"{key}:\n  " + "\n  ".join(problems)


@pytest.mark.parametrize("key", FOUND)
def test_an_exercise_is_fully_declared(key):
    problems = declaration_problems(FOUND[key][1])
    assert not problems, f"{key}:\n  " + "\n  ".join(problems)


@pytest.mark.parametrize("key", FOUND)
def test_the_check_knows_right_from_wrong(key):
    problems = accidents(FOUND[key][1]) + grading_problems(FOUND[key][1])
    assert not problems, f"{key}:\n  " + "\n  ".join(problems)


@pytest.mark.parametrize("nb", BOOK.notebooks, ids=lambda nb: nb.key)
def test_every_check_has_its_exercise(nb):
    missing = sorted((set(CHECK.findall(nb.source)) | asked(nb).keys()) - FOUND.keys())
    assert not missing, f"{nb.rel} checks {', '.join(missing)}; register it in nbs/9_appendix/solutions"


@pytest.mark.parametrize("chapter", sorted({key[:2] for key, (_, exercise) in FOUND.items() if exercise.kind == "implement"}))
def test_a_chapter_knows_three_ways_to_go_wrong(chapter):
    most = max(len(exercise.wrong) for key, (_, exercise) in FOUND.items() if key[:2] == chapter and exercise.kind == "implement")
    assert most >= 3, f"chapter {chapter}: its implement exercises name at most {most} classic mistakes; three to five teach something"


@pytest.mark.parametrize("chapter", sorted({key[:2] for key in FOUND}))
def test_exercises_are_numbered_as_they_come(chapter):
    """On the page and in the solutions."""
    page = [int(n) for n in re.findall(rf"(?m)^\*\*{chapter}-(\d+)", chapter_of(BOOK, chapter).prose)]
    assert page == list(range(1, len(page) + 1)), f"chapter {chapter} asks in the order {page}"
    assert [int(key[3:]) for key in FOUND if key[:2] == chapter] == page, f"the solutions of chapter {chapter} have another order"


@pytest.mark.parametrize("nb", [nb for nb in BOOK.notebooks if nb.module in PARTS], ids=lambda nb: nb.key)
def test_solutions_are_told_in_words(nb):
    """Each exercise that a solutions page registers is also named in its prose."""
    keys = re.findall(r"EXERCISES\[[\"']([\w-]+)[\"']\]", nb.source)
    missing = [key for key in keys if not named(nb, key)]
    assert not missing, f"{nb.rel} registers {', '.join(missing)} without a word about it"
