"""What a script keeps in the notebooks, and what the pages make of a cell."""

import ast

import pytest

import cells
from bookdata import Book
from finish import accents, kept_together, players, search_entries
from pagecells import fold_label, prose

BOOK = Book()


def test_the_notebooks_are_kept_up():
    found = [str(path.relative_to(BOOK.root)) for path in cells.outdated(BOOK)]
    assert not found, f"python scripts/cells.py, then nbdev_export, brings up to date: {', '.join(found)}"


def test_a_numbered_formula_carries_its_number_once():
    numbers = {"eq-a": "21.3"}
    once = cells.with_numbers("$$ a = b $$ {#eq-a}", numbers)
    assert once == "$$ a = b \\tag{21.3} $$ {#eq-a}"
    assert cells.with_numbers(once, numbers) == once
    assert cells.with_numbers(once, {"eq-a": "21.4"}) == "$$ a = b \\tag{21.4} $$ {#eq-a}"
    assert cells.with_numbers("$$\na\n$$\n{#eq-a}", numbers) == "$$\na \\tag{21.3}\n$$\n{#eq-a}"
    assert cells.with_numbers("$$ a $$ and $$ b $$ {#eq-a}", numbers) == "$$ a $$ and $$ b \\tag{21.3} $$ {#eq-a}"


def test_the_page_does_not_show_the_number_twice():
    assert prose("$$ a \\tag{21.3} $$ {#eq-a}") == "$$ a $$ {#eq-a}"


def test_the_install_cell_is_code_and_does_nothing_where_the_package_is():
    source = cells.install_source(BOOK)
    run = "\n".join("pass" if line.lstrip()[:1] in "!%" and line.strip() else line for line in source.splitlines())
    run = run.replace("\npass", "\n    pass")
    assert "find_spec" in ast.unparse(ast.parse(run))
    commands = [line.strip() for line in source.splitlines() if line.lstrip().startswith(("!", "%"))]
    assert len(commands) == 2 and all(line.startswith("    ") for line in source.splitlines() if line.strip() in commands)


SOLVED = """#| export
def root(x):
    return _half(x)


def _half(x):
    return x / 2


def _cases():
    return [(1,)]


EXERCISES["21-1"] = Exercise("21-1", solution=root, cases=_cases)"""


def test_an_answer_comes_before_its_marking():
    answers = cells.answers_of([SOLVED.partition("\n")[2]])
    assert answers == {"root", "_half"}
    shown, folded = cells.parted(SOLVED, answers)
    assert shown.startswith("#| exports\ndef root(x):") and "_cases" not in shown
    assert folded.startswith("#| export\ndef _cases():") and folded.endswith("cases=_cases)")
    assert cells.parted(shown, answers) == [shown] and cells.parted(folded, set()) == [folded]


@pytest.mark.parametrize(
    ("source", "label"),
    [
        ("import torch\nfrom x import y", "imports"),
        ("def walk(n):\n    return n\n\n\ndef _step(n):\n    return n", "code: walk"),
        ("class A: pass\nclass B: pass\nclass C: pass\nclass D: pass", "code: A, B, C and 1 more"),
        ('EXERCISES["21-1"] = Exercise("21-1")', "how check marks 21-1"),
        ("EXERCISES = {}", "set-up"),
        ("%matplotlib inline", "set-up"),
    ],
)
def test_a_fold_says_what_it_folds(source, label):
    assert fold_label(source) == label


def test_an_exercise_and_its_solution_lead_to_each_other():
    asked = prose("**21-5** (explain). Why?")
    assert "(../9_appendix/solutions/ch21.ipynb#solution-21-5)" in asked and "{#exercise-21-5}" in asked
    assert "#exercise-21-5" in prose("### 21-5 Why\n\nBecause.") and "{#solution-21-5}" in prose("### 21-5 Why\n\nBecause.")
    code = "```\n**21-5** (explain)\n```"
    assert prose(code) == code


def test_accents_are_mended_and_bars_are_left():
    assert accents('<mo accent="true">\u0302</mo><mo accent="true">\u0303</mo><mo accent="true">\u203e</mo>') == (
        '<mo accent="true">^</mo><mo accent="true">\u02dc</mo><mo accent="true">\u203e</mo>'
    )


def test_a_full_stop_stays_with_its_formula():
    formula = '<math display="inline"><mi>x</mi></math>'
    assert kept_together(f"{formula}. And {formula} is") == f'<span class="nb">{formula}.</span> And {formula} is'


def test_a_player_asks_for_no_font():
    page = players('<link rel="stylesheet" href="https://x/font-awesome.min.css"><button><i class="fa fa-pause"></i></button>')
    assert "https" not in page and page.startswith("<button><svg") and 'd="M' in page


def test_the_search_reads_a_formula_once():
    page = (
        '<main><h1>21 Title</h1><p>a</p><h2 id="b"><span>21.1</span> Part</h2><p>then <math><semantics><mi>β</mi>'
        '<annotation encoding="application/x-tex">\\beta</annotation></semantics></math>.</p><pre class="output">1.0</pre></main>'
    )
    assert search_entries(page, "p.html") == [
        {"objectID": "p.html", "href": "p.html", "title": "21 Title", "section": "", "text": "a"},
        {"objectID": "p.html#b", "href": "p.html#b", "title": "21 Title", "section": "21.1 Part", "text": "then β."},
    ]
