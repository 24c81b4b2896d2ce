"""What marks the exercises, itself marked: right answers are right, mistakes are named, nothing leaves a trace."""

import math
import signal
import sys
import threading
import time
import types

import numpy
import pytest
import torch

from vqdiff_edu import grading
from vqdiff_edu.grading import Exercise, Mistake, check, grade

# ------------------------------------------------------------------ exercises


def halve(x):
    return x / 2


def make(**changes):
    given = {
        "kind": "implement",
        "solution": halve,
        "cases": lambda: [(torch.arange(6.0).reshape(2, 3),), (torch.tensor([2.0, -2.0]),)],
        "wrong": {
            "doubling": (lambda x: x * 2, "Which way?"),
            "integer division": (lambda x: x // 2, "What is half of 1?"),
            "in-place": (lambda x: x.div_(2), "Whose tensor is it?"),
        },
        "property": "the half of every element",
    }
    return Exercise("70-1", **{**given, **changes})


def test_a_right_answer_is_right_and_its_message_is_one_line():
    verdict = grade(make(), lambda x: 0.5 * x)
    assert verdict.ok and verdict.status == "right" and str(verdict) == "70-1: right, on 2 cases"


def raises_not_implemented(x):
    raise NotImplementedError


def raises_not_implemented_with_text(x):
    raise NotImplementedError("your turn")


@pytest.mark.parametrize(
    "stub", [None, ..., lambda x: None, lambda x: ..., lambda x: (None, None), raises_not_implemented, raises_not_implemented_with_text]
)
def test_a_stub_is_not_tried(stub):
    verdict = grade(make(), stub)
    assert verdict.status == "not tried" and not verdict.ok and verdict.message == "70-1: not tried"


def test_an_operation_that_torch_lacks_is_an_error_and_no_stub():
    def attempt(x):
        return torch.ops.aten.some_missing(x) if False else unsupported()

    def unsupported():
        missing = types.SimpleNamespace(run=exec)
        missing.run("raise NotImplementedError('addmm not implemented for Bool')")

    verdict = grade(make(), attempt)
    assert verdict.status == "wrong" and "addmm" in verdict.message


@pytest.mark.parametrize(
    "answer, expected",
    [
        (lambda x: (x / 2)[None], "shape: expected [2], got [1, 2]"),
        (lambda x: (x / 2).double(), "dtype: expected float32, got float64"),
        (lambda x: (x / 2).double()[None] + 1, "shape:"),
        (lambda x: (x / 2).double() + 1, "dtype:"),
        (lambda x: x / 2 + 1, "value at [0]: got 2, expected 1 (2 of 2 differ)"),
        (lambda x: "a string", "type:"),
        (lambda x: None if len(x.shape) == 2 else x / 2, "got None"),
        (lambda x: x / 2 * math.nan, "value at [0]: got nan, expected 1"),
        ("not a function", "expected a function"),
    ],
)
def test_shape_then_dtype_then_value(answer, expected):
    verdict = grade(make(), answer)
    assert verdict.status == "wrong" and expected in verdict.message


def test_the_smallest_failing_input_the_property_and_the_seed_are_shown():
    message = grade(make(), lambda x: x / 3).message
    assert "x = [2, -2] (float32[2])" in message  # listed second, but smaller
    assert "the half of every element" in message and "seed 0" in message
    message = grade(make(), lambda x: x / 2 if x.ndim == 1 else x).message
    assert "float32[2, 3]" in message


@pytest.mark.parametrize("name", ["doubling", "integer division", "in-place"])
def test_classic_mistakes_are_named(name):
    exercise = make()
    mistake, hint = exercise.wrong[name]
    verdict = grade(exercise, mistake)
    assert verdict.status == "wrong" and f"this looks like: {name}. {hint}" in verdict.message


def test_a_mistake_that_agrees_on_some_cases_only_is_not_named():
    verdict = grade(make(), lambda x: x * 2 if x.ndim == 1 else x * 3)
    assert verdict.status == "wrong" and "this looks like" not in verdict.message


def test_an_answer_that_changes_its_input_is_told_so_and_gets_copies():
    kept = torch.tensor([2.0, -2.0])
    verdict = grade(make(cases=lambda: [(kept,)], wrong={}), lambda x: x.div_(2))
    assert verdict.status == "wrong" and "changes its input in place" in verdict.message
    assert kept.tolist() == [2.0, -2.0]


def test_inputs_nested_in_lists_and_dicts_are_copied_and_watched():
    kept = {"a": [torch.ones(2)]}
    exercise = make(solution=lambda d: d["a"][0] + 1, cases=lambda: [(kept,)], wrong={})
    verdict = grade(exercise, lambda d: d["a"][0].add_(1))
    assert "in place" in verdict.message and kept["a"][0].tolist() == [1, 1]
    assert grade(exercise, lambda d: 1 + d["a"][0]).ok


def test_a_generator_gives_solution_and_answer_the_same_numbers():
    def draw(shape, generator):
        return torch.randn(shape, generator=generator)

    exercise = make(solution=draw, cases=lambda: [((3,), torch.Generator().manual_seed(5))], wrong={})
    assert grade(exercise, lambda shape, generator: torch.randn(shape, generator=generator)).ok
    assert not grade(exercise, lambda shape, generator: torch.randn(shape)).ok


def test_global_randomness_is_seeded_alike_and_restored():
    import random

    exercise = make(solution=lambda x: torch.rand(3) + random.random() + numpy.random.rand(), wrong={})
    before = torch.get_rng_state(), random.getstate(), numpy.random.get_state()[1].tolist()
    assert grade(exercise, lambda x: torch.rand(3) + random.random() + numpy.random.rand()).ok
    assert torch.equal(before[0], torch.get_rng_state()) and before[1] == random.getstate()
    assert before[2] == numpy.random.get_state()[1].tolist()


def test_gradient_mode_and_default_dtype_are_restored():
    def attempt(x):
        torch.set_grad_enabled(False)
        torch.set_default_dtype(torch.float64)
        return x / 2

    assert grade(make(), attempt).ok
    assert torch.is_grad_enabled() and torch.get_default_dtype() is torch.float32


def test_an_answer_may_take_gradients_even_under_no_grad():
    exercise = make(solution=lambda x: 2 * x, cases=lambda: [(torch.ones(2, requires_grad=True),)], wrong={})
    with torch.no_grad():
        assert grade(exercise, lambda x: torch.autograd.grad((x**2).sum(), x)[0]).ok


def test_a_crash_is_a_verdict_with_its_message_and_line():
    def attempt(x):
        y = x / 2
        return y.sum(dim=7)  # the offending line

    message = grade(make(), attempt).message
    assert "IndexError" in message and "return y.sum(dim=7)" in message


@pytest.mark.parametrize("error", [SystemExit, ZeroDivisionError, RecursionError, AssertionError])
def test_no_error_of_the_answer_gets_out(error):
    def attempt(x):
        raise error("boom")

    verdict = grade(make(), attempt)
    assert verdict.status == "wrong" and error.__name__ in verdict.message


def test_a_solution_may_be_to_raise():
    def refuse(x):
        raise ValueError("x")

    exercise = make(solution=refuse, wrong={})
    assert grade(exercise, refuse).ok
    assert "expected a ValueError" in grade(exercise, halve).message


def endless(x):
    while True:
        x = x + 0


def stubborn(x):
    while True:
        try:
            x = x + 0
        except Exception:
            pass


@pytest.mark.parametrize("answer", [endless, stubborn, lambda x: time.sleep(60)])
def test_an_endless_answer_is_cut_off_and_leaves_nothing_behind(answer):
    before, handler, started = threading.active_count(), signal.getsignal(signal.SIGALRM), time.monotonic()
    verdict = grade(make(wrong={}), answer, seconds=0.2)
    assert verdict.status == "wrong" and "0.2 s" in verdict.message
    assert time.monotonic() - started < 5
    assert threading.active_count() == before and signal.getsignal(signal.SIGALRM) is handler
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_an_endless_answer_is_cut_off_where_there_is_no_alarm():
    """In another thread than the main one, as on a system without signals, nobody waits for the answer any longer."""
    verdicts, over = [], threading.Event()

    def waits(x):
        over.wait(60)

    thread = threading.Thread(target=lambda: verdicts.extend([grade(make(wrong={}), waits, seconds=0.2), grade(make(), halve)]))
    thread.start()
    thread.join(30)
    over.set()
    assert [verdict.status for verdict in verdicts] == ["wrong", "right"] and "0.2 s" in verdicts[0].message


def test_an_interrupt_is_the_readers_and_goes_through():
    def interrupted(x):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        grade(make(), interrupted)


def test_a_mistake_has_names_for_its_two_parts():
    mistake = Mistake(lambda x: x * 2, "Which way?")
    assert mistake.hint == "Which way?" and "doubling. Which way?" in grade(make(wrong={"doubling": mistake}), mistake.answer).message


@pytest.mark.parametrize(
    "answer, status",
    [
        (0.25, "right"),
        (torch.tensor(0.25), "right"),
        (1 / 4 + 1e-9, "right"),
        (0.5, "wrong"),
        ("0.25", "wrong"),
        (None, "not tried"),
        ([0.25], "wrong"),
    ],
)
def test_compute(answer, status):
    exercise = Exercise("70-2", kind="compute", solution=0.25, wrong={"no square": (0.5, "Square it.")})
    assert grade(exercise, answer).status == status


def test_compute_names_the_mistake_and_keeps_the_solution_to_itself():
    exercise = Exercise("70-2", kind="compute", solution=0.7123, wrong={"no square": (0.5, "Square it.")})
    assert "no square. Square it." in grade(exercise, 0.5).message
    assert "0.71" not in grade(exercise, 0.6).message
    several = Exercise("70-2", kind="compute", solution=(torch.tensor([1.0, 2.0]), 3.0))
    assert grade(several, (torch.tensor([1.0, 2.0]), 3)).ok
    assert "part 1" in grade(several, (torch.tensor([1.0, 2.0]), 4)).message
    assert "structure" in grade(several, torch.zeros(2)).message


def test_a_dict_and_a_named_tuple_are_compared_part_by_part():
    from typing import NamedTuple

    class Pair(NamedTuple):
        mean: torch.Tensor
        variance: torch.Tensor

    exercise = make(solution=lambda x: {"mean": x, "variance": x**2}, wrong={})
    assert grade(exercise, lambda x: {"variance": x * x, "mean": x}).ok
    assert "part variance: value" in grade(exercise, lambda x: {"mean": x, "variance": x}).message
    assert "structure" in grade(exercise, lambda x: {"mean": x}).message
    exercise = make(solution=lambda x: Pair(x, x**2), wrong={})
    assert grade(exercise, lambda x: (x, x * x)).ok
    assert "part 1: shape" in grade(exercise, lambda x: (x, x[None])).message


def test_with_a_wide_tolerance_the_exact_mistake_is_named_first():
    exercise = Exercise(
        "70-2", kind="compute", solution=5.0, atol=0.1, wrong={"nearly none": (0.05, "Not this."), "none": (0.0, "Nothing?")}
    )
    assert "none. Nothing?" in grade(exercise, 0.0).message
    assert "nearly none. Not this." in grade(exercise, 0.0501).message


@pytest.mark.parametrize(
    "solution, right, wrong",
    [
        ("Falls", " falls", torch.ones(2)),
        (True, True, torch.tensor([True, False])),
        (True, 1, False),
        (["a", "b"], ["a", "b"], ["a", "c"]),
        ({1, 2}, {1, 2}, {1}),
        ([0.1, 0.2], torch.tensor([0.1, 0.2]), [0.1, 0.3]),
        (torch.ones(2, dtype=torch.float64), torch.ones(2), "two ones"),
        ((1, None), (1, None), (1, 2)),
    ],
)
def test_answers_of_any_type_are_judged_and_never_raise(solution, right, wrong):
    exercise = Exercise("70-2", kind="compute", solution=solution)
    assert grade(exercise, right).status == "right"
    assert grade(exercise, wrong).status == "wrong"
    assert grade(exercise, object()).status == "wrong"


def test_a_tensor_is_no_option():
    exercise = Exercise("70-3", kind="predict", solution=1, options=(1, 2))
    assert "none of 1, 2" in grade(exercise, torch.tensor([1.0, 2.0])).message
    assert grade(exercise, torch.tensor(1)).ok


def test_predict_among_options_and_a_number():
    exercise = Exercise("70-3", kind="predict", solution="falls", options=("falls", "rises"), wrong={"rises": ("rises", "Look again.")})
    assert grade(exercise, " Falls").ok
    assert "Look again." in grade(exercise, "rises").message
    assert "none of 'falls', 'rises'" in grade(exercise, "stays").message
    number = Exercise("70-3", kind="predict", solution=100, atol=10)
    assert grade(number, 107).ok and not grade(number, 120).ok


def test_explain_shows_its_rubric_and_is_never_wrong():
    verdict = grade(Exercise("70-4", kind="explain", rubric=["names the wall", "says why"]), "some text")
    assert verdict.status == "not tried" and "names the wall" in verdict.message


@pytest.mark.parametrize(
    "arguments, named",
    [
        ({"id": "1-1"}, "id"),
        ({"kind": "quiz"}, "kind"),
        ({"kind": "explain"}, "rubric"),
        ({"kind": "implement", "solution": 3}, "solution"),
        ({"kind": "predict", "solution": "c", "options": ("a", "b")}, "options"),
    ],
)
def test_an_exercise_that_makes_no_sense_is_refused(arguments, named):
    with pytest.raises(ValueError, match=named):
        Exercise(**{"id": "70-1", "kind": "compute", "solution": 1, **arguments})


@pytest.fixture
def ch70(monkeypatch):
    """A chapter with two exercises."""
    module = types.ModuleType("vqdiff_edu.exercises.ch70")
    module.EXERCISES = {"70-1": make(), "70-2": make()}
    package = types.ModuleType("vqdiff_edu.exercises")
    package.__path__ = []
    monkeypatch.setitem(sys.modules, "vqdiff_edu.exercises", package)
    monkeypatch.setitem(sys.modules, "vqdiff_edu.exercises.ch70", module)


def test_check_finds_prints_and_returns(ch70, capsys):
    verdict = check("70-1", halve)
    assert verdict.ok and capsys.readouterr().out == "70-1: right, on 2 cases\n"
    verdict._ipython_display_()  # at a cell's end: printed already
    assert capsys.readouterr().out == ""
    grade(make(), halve)._ipython_display_()
    assert capsys.readouterr().out == "70-1: right, on 2 cases\n"


def test_check_raises_only_if_strict(ch70):
    assert not check("70-1", lambda x: x).ok
    for answer in (lambda x: x, None):
        with pytest.raises(AssertionError, match="70-1"):
            check("70-1", answer, strict=True)
    assert check("70-1", halve, strict=True).ok


def test_an_unknown_exercise_is_refused_with_the_nearest(ch70):
    with pytest.raises(ValueError, match=r"'70-9'; the nearest are 70-1"):
        check("70-9", None)
    for unknown in ("forward-1", "99-1"):
        with pytest.raises(ValueError, match="expected chapter-number"):
            check(unknown, None)


def test_the_chapter_tells_the_module(monkeypatch):
    module = types.ModuleType("any chapter")
    asked = []
    monkeypatch.setattr(grading.importlib, "import_module", lambda name: asked.append(name) or module)
    module.EXERCISES = dict.fromkeys(("03-1", "12-1", "21-3"), make())
    assert all(check(id, halve).ok for id in module.EXERCISES)
    assert asked == ["vqdiff_edu.exercises.ch03", "vqdiff_edu.exercises.ch12", "vqdiff_edu.exercises.ch21"]
