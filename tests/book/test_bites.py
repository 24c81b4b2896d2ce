"""The book's tests, tested: each must find a fault that was put into a small bad book on purpose."""

import hashlib
import json
import shutil

import pytest

import bookdata
import graph
from bookdata import Book
from freshness import Package, chapter_hash
from vqdiff_edu.grading import Exercise

from . import test_exercises as exercises
from . import test_modules as modules
from . import test_needs as needs
from . import test_notebooks as notebooks
from . import test_references as references
from . import test_results as results
from . import test_site as site

TITLE = "# A title {#sec-a}\n\n> A promise.\n\n[Colab](https://colab.research.google.com/github/u/r/blob/b/nbs/1_groundwork/02_data.ipynb)"
END = ("md", "What next?")


def code(source, *outputs):
    return {
        "cell_type": "code",
        "source": source.splitlines(keepends=True),
        "outputs": list(outputs),
        "metadata": {},
        "execution_count": None,
    }


def cell(given):
    if isinstance(given, dict):
        return given
    kind, source = given
    return {"cell_type": "markdown", "source": source.splitlines(keepends=True), "metadata": {}} if kind == "md" else code(source)


@pytest.fixture
def make(tmp_path):
    """make({"1_groundwork/02_data": [cells]}, bib="", files=["data"]) -> Book"""

    def build(pages, bib="", files=(), extra=()):
        (tmp_path / "settings.ini").write_text("[DEFAULT]\nuser = u\nrepo = r\nbranch = b\n")
        (tmp_path / "references.bib").write_text(bib)
        for name, cells in pages.items():
            path = tmp_path / "nbs" / f"{name}.ipynb"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps({"cells": [cell(c) for c in cells]}))
        for name in files:
            path = tmp_path / "vqdiff_edu" / f"{name}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("")
        for name, text in extra:
            (tmp_path / name).write_text(text)
        return Book(tmp_path)

    return build


def one(make, *cells, name="1_groundwork/02_data", **kwargs):
    book = make({name: [("md", TITLE), *cells, END]}, **kwargs)
    return book, book.notebooks[0]


def export(module, source):
    return [("code", f"#| default_exp {module}"), ("code", f"#| exports\n{source}")]


# ------------------------------------------------------------------ modules


def test_module_without_notebook_and_notebook_without_module(make):
    book, _ = one(make, *export("data", "x = 1"), files=["orphan", "__init__", "_modidx", "exercises/ch02"])
    text = "\n".join(modules.homeless_modules(book))
    assert "orphan: no notebook" in text and "exercises.ch02: no notebook" in text and "exports data, which is not" in text
    assert "__init__" not in text and "_modidx" not in text


def test_two_notebooks_with_one_module(make):
    book = make({"1_groundwork/02_data": export("data", "x = 1"), "1_groundwork/03_more": export("data", "y = 1")}, files=["data"])
    assert "2 notebooks export it" in modules.homeless_modules(book)[0]


def test_exports_without_a_module(make):
    assert "no `#| default_exp`" in modules.module_problems(one(make, ("code", "#| export\nx = 1"))[1])[0]
    assert "nothing exported" in modules.module_problems(one(make, ("code", "#| default_exp data"))[1])[0]
    assert "2 times" in modules.module_problems(one(make, *export("a", "x = 1"), *export("b", "x = 1"))[1])[0]
    assert not modules.module_problems(one(make, *export("data", "x = 1"))[1])


@pytest.mark.parametrize(
    "importer, imported, fine",
    [
        ("2_quantization/11_b:b", "1_groundwork/02_a:a", True),
        ("3_diffusion/25_b:b", "2_quantization/11_a:a", True),
        ("2_quantization/11_a:a", "3_diffusion/25_b:b", False),
        ("1_groundwork/02_a:a", "2_quantization/11_b:b", False),
        ("1_groundwork/02_a:a", "1_groundwork/06_b:b", True),
        ("1_groundwork/03_a:a", "7_tools/72_viz:viz", True),
        ("7_tools/72_viz:viz", "1_groundwork/03_a:a", True),
        ("7_tools/72_viz:viz", "3_diffusion/25_b:b", False),
        ("3_diffusion/25_b:b", "7_tools/74_registry:registry", True),
        ("7_tools/74_registry:registry", "3_diffusion/25_b:b", False),
        ("7_tools/75_cli:cli", "7_tools/74_registry:registry", True),
        ("7_tools/74_registry:registry", "7_tools/75_cli:cli", False),
        ("9_appendix/solutions/ch12:exercises.ch12", "7_tools/75_cli:cli", True),
        ("9_appendix/solutions/ch12:exercises.ch12", "3_diffusion/25_b:b", True),
        ("3_diffusion/25_b:b", "9_appendix/solutions/ch12:exercises.ch12", False),
    ],
)
@pytest.mark.parametrize(
    "form",
    ["from vqdiff_edu.{} import x", "import vqdiff_edu.{}", "def f():\n    from vqdiff_edu.{} import x"],
)
def test_reading_order(make, importer, imported, fine, form):
    (page, module), (other, name) = importer.split(":"), imported.split(":")
    book = make({page: export(module, form.format(name)), other: export(name, "x = 1")})
    nb = next(nb for nb in book.notebooks if nb.module == module)
    assert bool(modules.import_problems(book, nb)) is not fine


def test_the_command_line_imports_inside_its_commands(make):
    def problems(text):
        book = make({"7_tools/75_cli": export("cli", text), "3_diffusion/25_b": export("b", "x = 1")})
        return modules.import_problems(book, next(nb for nb in book.notebooks if nb.module == "cli"))

    assert not problems("def sample():\n    from vqdiff_edu.b import x")
    assert "at the top" in problems("from vqdiff_edu.b import x")[0]


def test_a_module_imported_from_the_package_is_seen(make):
    book = make(
        {"1_groundwork/02_a": export("a", "from vqdiff_edu import b, load_pretrained"), "2_quantization/11_b": export("b", "x = 1")}
    )
    assert book.notebooks[0].imports == {"b", "load_pretrained"} and modules.import_problems(book, book.notebooks[0])


def test_self_import_and_circles(make):
    book = make({"1_groundwork/02_a": export("a", "from vqdiff_edu.a import x")})
    assert "its own module" in modules.import_problems(book, book.notebooks[0])[0]
    book = make(
        {"7_tools/70_verify": export("verify", "import vqdiff_edu.viz"), "7_tools/72_viz": export("viz", "import vqdiff_edu.verify")}
    )
    assert "verify" in modules.import_circles(book)[0]


def test_an_experiment_may_look_ahead(make):
    book = make(
        {
            "1_groundwork/02_a": [*export("a", "x = 1"), ("code", "from vqdiff_edu.later import y")],
            "3_diffusion/25_b": export("later", "y = 1"),
        }
    )
    assert not modules.import_problems(book, book.notebooks[0])


# ------------------------------------------------------------------ needs


def chapter(needs, *cells):
    return [("md", f"{TITLE}\n\n{needs}\n\nAfterwards you can do it."), *cells, END]


def test_needs(make):
    pages = {
        "1_groundwork/02_data": chapter("*Needs: nothing but curiosity.*"),
        "1_groundwork/03_b": chapter("*Needs: [data](02_data.ipynb#sec-a), and [the rest](../2_quantization/11_c.ipynb).*"),
        "2_quantization/11_c": chapter(
            "*Needs: [gone](12_gone.ipynb), [itself](11_c.ipynb), [a tool](../7_tools/70_v.ipynb), [data](../1_groundwork/02_data.ipynb).*"
        ),
        "3_diffusion/20_d": chapter("You need [data](../1_groundwork/02_data.ipynb)."),
        "7_tools/70_v": chapter(""),
    }
    book = make(pages)
    found = {nb.rel.split("/")[2]: "\n".join(needs.needs_problems(book, nb)) for nb in book.notebooks}
    assert found["02_data.ipynb"] == "" and book.notebooks[0].needs == []
    assert found["03_b.ipynb"] == "needs nbs/2_quantization/11_c.ipynb, which comes later"
    assert found["11_c.ipynb"].splitlines() == [
        "needs nbs/2_quantization/12_gone.ipynb, which does not exist",
        "needs nbs/2_quantization/11_c.ipynb, which comes later",
        "needs nbs/7_tools/70_v.ipynb, which is no chapter",
    ]
    assert "no line `*Needs: " in found["20_d.ipynb"] and found["70_v.ipynb"] == ""


def test_what_is_imported_is_needed(make):
    pages = {
        "2_quantization/11_b": chapter("*Needs: nothing.*", *export("b", "x = 1")),
        "3_diffusion/20_c": chapter("*Needs: [b](../2_quantization/11_b.ipynb).*", *export("c", "y = 1")),
        "3_diffusion/21_d": chapter("*Needs: [c](20_c.ipynb).*", *export("d", "from vqdiff_edu.b import x")),
        "3_diffusion/23_e": chapter("*Needs: nothing.*", *export("e", "from vqdiff_edu.c import y")),
    }
    book = make(pages)
    assert [needs.needs_problems(book, nb) for nb in book.notebooks] == [
        [],
        [],
        [],
        ["imports c, so it needs nbs/3_diffusion/20_c.ipynb; say so in its line"],
    ]


def test_the_graph_follows_the_needs(make):
    pages = {
        "1_groundwork/02_data": chapter("*Needs: nothing.*"),
        "2_quantization/11_b": chapter("*Needs: [data](../1_groundwork/02_data.ipynb).*"),
        "3_diffusion/20_c": chapter("*Needs: [data](../1_groundwork/02_data.ipynb), [b](../2_quantization/11_b.ipynb).*"),
    }
    listed = [{"part": f"P{i}", "chapters": [f"nbs/{name}.ipynb"]} for i, name in enumerate(pages)]
    config = json.dumps({"book": {"chapters": ["index.qmd", *listed]}})
    empty = f"# Preface\n\n{graph.BEGIN}\n{graph.END}\n\nWords.\n"
    book = make(pages, extra=[("index.qmd", empty), ("_quarto.yml", config)])
    assert graph.needs_of(book)["nbs/3_diffusion/20_c.ipynb"] == {"nbs/2_quantization/11_b.ipynb"}  # which brings the data along
    drawn = graph.with_graph(empty, book)
    assert drawn.count('<path d="M') == 3 + 2 and 'href="nbs/2_quantization/11_b.html"' in drawn and drawn.endswith("Words.\n")
    assert [(box.column, box.row) for box in graph.place(book).values()] == [(0, 0), (1, 1), (2, 2)]
    assert needs.graph_problems(book) and not needs.graph_problems(make(pages, extra=[("index.qmd", drawn), ("_quarto.yml", config)]))
    more = pages | {"3_diffusion/21_d": chapter("*Needs: [c](20_c.ipynb).*")}
    assert needs.graph_problems(make(more, extra=[("index.qmd", drawn), ("_quarto.yml", config)]))
    assert needs.graph_problems(make(pages, extra=[("index.qmd", "# Preface"), ("_quarto.yml", config)]))


def test_ways_to_read(make):
    rows = "| b | [c](nbs/3_diffusion/20_c.ipynb), [b](nbs/2_quantization/11_b.ipynb) |\n| a | [b](nbs/2_quantization/11_b.ipynb) |"
    book = make({"2_quantization/11_b": [END], "3_diffusion/20_c": [END]}, extra=[("index.qmd", f"## Ways to read\n\n{rows}\n")])
    assert needs.way_problems(book) == ["the way 20, 11 is not in reading order"]


# ------------------------------------------------------------------ references

EQUATION = ("md", "$$ a = b $$ {#eq-ab}")


def test_equations_must_be_verified_and_cited(make):
    book, nb = one(make, EQUATION)
    text = "\n".join(references.equation_problems(book, nb))
    assert 'verify("eq-ab"' in text and "no text says @eq-ab" in text
    book, nb = one(make, EQUATION, ("md", "By @eq-ab."), ("code", 'verify_mean(\n    "eq-ab", 1, 1)'))
    assert not references.equation_problems(book, nb)
    book, nb = one(make, ("code", 'verify("eq-nothing", 1, 1, atol=0)'))
    assert "eq-nothing" in references.equation_problems(book, nb)[0]


def test_a_verification_in_another_chapter_does_not_count(make):
    book = make({"1_groundwork/02_a": [EQUATION, ("md", "@eq-ab")], "1_groundwork/03_b": [("code", 'verify("eq-ab", 1, 1, atol=0)')]})
    assert 'no cell here says verify("eq-ab"' in references.equation_problems(book, book.notebooks[0])[0]


def test_labels_and_references(make):
    book, nb = one(make, EQUATION, EQUATION, ("code", "#| label: fig-one\n1"), ("md", "See @fig-one, @fig-two and @sec-a."))
    assert "eq-ab is defined 2 times" in references.label_problems(book)[0]
    assert references.reference_problems(book, nb.rel) == ["@fig-two is defined nowhere"]


def test_labels_of_hidden_cells_do_not_count(make):
    book, nb = one(make, ("code", "#| hide\n#| label: fig-one\n1"), ("md", "See @fig-one."))
    assert references.reference_problems(book, nb.rel) == ["@fig-one is defined nowhere"]


def test_formulas(make):
    book, _ = one(make, ("md", "Half is $\\frac{1}{2}$, and this is nothing: $\\frac{1$. In code `$\\frac{$` it may stand."))
    assert references.formula_problems(book) == ["nbs/1_groundwork/02_data.ipynb: \\frac{1"]
    assert not references.formula_problems(one(make, ("md", "$$ \\bar\\alpha_t $$ {#eq-a}"))[0])


BIB = "@article{ho2020denoising,\n title = {a},\n doi = {10.1/2}\n}\n@misc{Bad,\n title = {b}\n}\n"


def test_citations_and_bibliography(make):
    prose = "As in [@ho2020denoising; @nobody2020nothing, p. 3]. Mail a@b.org, code `x @decorator`, $a @maths$."
    book, nb = one(make, ("md", prose + "\n\n```python\n@dataclass\nclass A: ...\n```\n"), bib=BIB)
    assert references.citation_problems(book, nb.rel) == ["@nobody2020nothing is not in references.bib"]
    assert not references.entry_problems(book, "ho2020denoising")
    text = "\n".join(references.entry_problems(book, "Bad"))
    assert "no doi" in text and "cited nowhere" in text and "author, year" in text
    book, _ = one(make, ("md", "@ho2020denoising"), bib=BIB * 2)
    assert "twice" in references.entry_problems(book, "ho2020denoising")[0]


def test_links(make):
    prose = "[a](../nope.ipynb) [b](02_data.ipynb#sec-a) [c](https://x.org/nope) [d](02_data.ipynb#sec-z) ![p](pic.png) [e](../../../x) `[f](code)`"
    book, nb = one(make, ("md", prose))
    problems = "\n".join(references.link_problems(book, nb.rel))
    assert problems.splitlines() == [
        "../nope.ipynb does not exist",
        "#sec-z is defined nowhere",
        "pic.png does not exist",
        "../../../x leaves the project",
    ]
    book, _ = one(make, extra=[("index.qmd", "[start](nbs/1_groundwork/02_data.ipynb) [gone](nbs/gone.ipynb) @sec-b")])
    assert references.link_problems(book, "index.qmd") == ["nbs/gone.ipynb does not exist"]
    assert references.reference_problems(book, "index.qmd") == ["@sec-b is defined nowhere"]


# ------------------------------------------------------------------ notebooks


def test_long_cells_and_a_code_cell_at_the_end(make):
    book = make({"1_groundwork/02_data": [("md", TITLE), ("code", "#| echo: true\n" + "x = 1\n\n" * 40), ("code", "x = 1\n" * 41)]})
    problems = notebooks.shape_problems(book.notebooks[0])
    assert len(problems) == 2 and problems[0].startswith("cell 2 has 41 lines") and "last cell must be markdown" in problems[1]


@pytest.mark.parametrize("lines, more, fine", [(90, "", True), (91, "", False), (41, "\ny = 1", False)])
def test_a_class_may_be_longer_than_other_cells(make, lines, more, fine):
    _, nb = one(make, ("code", "class A:\n" + "    x = 1\n" * (lines - 1) + more))
    assert (not notebooks.shape_problems(nb)) is fine


def test_large_notebooks(make):
    _, nb = one(make, code("1", {"output_type": "display_data", "data": {"image/png": "A" * 2**21}}))
    assert "2 MB is the bound" in notebooks.shape_problems(nb)[0]


@pytest.mark.parametrize(
    "source, mixed",
    [
        ("import torch\nfrom torch import nn", False),
        ("#| export\nimport torch  # the library", False),
        ("import torch\nx = 1", True),
        ("x = 1\nfrom torch import nn", True),
        ("#| eval: false\nimport torch\nx = 1", False),
        ("def f():\n    import torch", False),
        ("%matplotlib inline\nx = 1\n!ls", False),
        ("%%bash\nimport nothing", False),
    ],
)
def test_imports_among_other_code(make, source, mixed):
    _, nb = one(make, ("code", source))
    assert notebooks.import_mix(nb.code[0]) is mixed


def test_errors_and_stand_in_results(make):
    notice = "using the STAND-IN,\nbecause MNIST is not to be had on this machine, and so on"
    error = {"output_type": "error", "ename": "E", "evalue": "", "traceback": ["boom"]}
    warned = {
        "output_type": "stream",
        "name": "stderr",
        "text": ["UserWarning: using the STAND-IN,  because MNIST is\n", "not to be had on this machine, and so on"],
    }
    _, nb = one(make, code("1", error), code("2", warned), code("3", {"output_type": "stream", "name": "stdout", "text": ["real"]}))
    problems = notebooks.output_problems(nb, notice)
    assert (
        problems[0].startswith("cell 1 stores an error")
        and problems[1].startswith("cell 2 stores a result of the stand-in")
        and len(problems) == 2
    )


@pytest.mark.parametrize("folder", notebooks.FOLDERS)
def test_paths_of_a_machine(make, folder):
    path = "/" + folder + "/me/x"
    printed = {"output_type": "execute_result", "data": {"text/plain": [f"PosixPath('{path}')"]}}
    _, nb = one(make, ("md", f"in {path}"), ("code", f"open('{path}')"), code("p", printed))
    assert [p.split()[2] for p in notebooks.path_problems(nb)] == ["says", "says", "prints"]
    _, nb = one(make, ("md", f"https://example.org{path} and ../{folder}/x and ~/{folder}/x, left/{folder}/right"))
    assert not notebooks.path_problems(nb)


def test_pictures_hold_no_paths(make):
    _, nb = one(make, code("1", {"output_type": "display_data", "data": {"image/png": "x /" + "tmp/y"}}))
    assert not notebooks.path_problems(nb)


def test_figures(make):
    picture = {"output_type": "display_data", "data": {"image/png": "A"}}
    caption, alt = '#| fig-cap: "What the digits look like"', '#| fig-alt: "A row of ten digits, each in grey"'
    _, nb = one(
        make,
        code("#| label: fig-a\nplot()"),
        code("plot()", picture),
        code(f"#| label: fig-b\n{caption}\n{alt}\nplot()", picture),
        code(f"{alt}\nplot()", picture),
    )
    problems = notebooks.figure_problems(nb)
    assert len(problems) == 3 and "fig-cap" in problems[0] and "fig-alt" in problems[1] and problems[2].startswith("cell 2 (a picture)")
    _, nb = one(make, code(f"#| label: fig-b\n{caption}\n{caption.replace('cap', 'alt')}\nplot()"))
    assert "repeats the caption" in notebooks.figure_problems(nb)[0]


@pytest.mark.parametrize(
    "opening, found",
    [
        (TITLE, None),
        (TITLE.replace(" {#sec-a}", ""), "no label"),
        ("Words.\n\n" + TITLE, "first markdown cell"),
        (TITLE + "\n\n# Another {#sec-b}", "only `# Title`"),
        (TITLE + "\n\n```python\n# a comment\n```", None),
        (TITLE.replace("> ", ""), "promise"),
        (TITLE.replace("02_data", "03_other"), "no Colab badge"),
        (TITLE + " [x](https://colab.research.google.com/github/u/r/blob/b/nbs/x.ipynb)", "leads elsewhere"),
    ],
)
def test_titles_promises_and_badges(make, opening, found):
    book = make({"1_groundwork/02_data": [("md", opening), END]})
    problems = notebooks.title_problems(book.notebooks[0], notebooks.badge_of(book, book.notebooks[0]))
    assert not problems if found is None else any(found in problem for problem in problems), problems


# ------------------------------------------------------------------ exercises


def exercise(**changes):
    given = {
        "kind": "implement",
        "solution": lambda x: x / 2,
        "cases": lambda: [(3.0,), (8.0,)],
        "wrong": {"doubling": (lambda x: x * 2, "Which way round?")},
        "property": "half",
    }
    return Exercise("02-1", **{**given, **changes})


@pytest.mark.parametrize(
    "stub, empty",
    [
        ("def f(x):\n    ...\ncheck('02-1', f)", True),
        ('def f(x):\n    """Words."""\n    # yours\n    raise NotImplementedError\ncheck("02-1", f)', True),
        ("def f(x):\n    return None\ncheck('02-1', f)", True),
        ("answer = None\nverdict = check('02-1', answer)", True),
        ("answer = (None, None)\ncheck('02-1', answer)", True),
        ("a, b = None, None\ncheck('02-1', a)", True),
        ("check('02-1', None)", True),
        ("def f(x):\n    return x / 2\ncheck('02-1', f)", False),
        ("answer = 3\ncheck('02-1', answer)", False),
        ("answer = None\nanswer = 3\ncheck('02-1', answer)", False),
        ("check('02-1', lambda x: x / 2)", False),
        ("check('02-1', unknown)", False),
    ],
)
def test_stubs(make, stub, empty):
    _, nb = one(make, ("code", stub))
    assert exercises.unsolved(nb, "02-1") is empty


def test_exercises_in_the_wrong_place(make):
    book, _ = one(make, ("code", "check('02-2', None)"))
    assert "has no check" in exercises.place_problems(book, "02-1", "exercises.ch02", exercise())[0]
    assert "has no chapter" in exercises.place_problems(book, "03-1", "exercises.ch03", exercise())[1]
    text = "\n".join(exercises.place_problems(book, "02-2", "exercises.ch12", exercise()))
    assert "calls itself 02-1" in text and "exercises.ch02" in text
    explain = exercise(kind="explain", rubric=["a", "b"])
    assert "never asks it" in exercises.place_problems(book, "02-1", "exercises.ch02", explain)[0]
    book, _ = one(make, ("md", "**02-1 (explain).** Why?"))
    assert not exercises.place_problems(book, "02-1", "exercises.ch02", explain)


def test_checks_in_any_form_are_seen(make):
    _, nb = one(make, ("code", "checks.check('02-7', None)\nif x:\n    print(check('02-8', None))"))
    assert exercises.asked(nb).keys() == {"02-7", "02-8"}


def test_declarations():
    assert not exercises.declaration_problems(exercise())
    assert "property" in exercises.declaration_problems(exercise(property=""))[0]
    assert "no classic mistake" in exercises.declaration_problems(exercise(wrong={}))[0]
    assert "no hint" in exercises.declaration_problems(exercise(wrong={"a": (abs, "")}))[0]
    assert "rubric" in exercises.declaration_problems(exercise(kind="explain", rubric=["one"]))[0]


def test_gradings():
    assert not exercises.grading_problems(exercise()) and not exercises.accidents(exercise())
    harmless = {"harmless": (lambda x: 0.5 * x, "No difference.")}
    assert "is found 'right'" in exercises.grading_problems(exercise(wrong=harmless))[0]
    twins = {"a": (lambda x: x * 2, "First hint."), "b": (lambda x: x + x, "Second hint.")}
    assert "'b' is refused but not named" in exercises.grading_problems(exercise(wrong=twins))[0]
    calls = iter(range(100))
    assert "solution is refused" in exercises.grading_problems(exercise(solution=lambda x: x + next(calls)))[0]
    assert "ZeroDivisionError" in exercises.accidents(exercise(solution=lambda x: x / 0))[0]
    assert "no cases" in exercises.accidents(exercise(cases=lambda: []))[0]


# ------------------------------------------------------------------ results and site


def test_stored_runs(make):
    printed = {"output_type": "stream", "name": "stdout", "text": ["1"]}
    book, nb = one(make, code("print(1)", printed))
    package = Package(book.root)
    good = {"code_sha256": chapter_hash(nb, package), "profile": "laptop", "data": {"digits, test, auto": "mnist"}}

    def problems(entry, nb=nb):
        return "\n".join(results.run_problems(nb, entry, package))

    assert problems(good) == ""
    assert "knows no run" in problems(None)
    assert "changed after the outputs were stored; run `make execute CHAPTER=02_data`" in problems(good | {"code_sha256": "0"})
    assert "changed after" in problems({"cells_sha256": "0", "profile": "laptop"})
    assert "'smoke'" in problems(good | {"profile": "smoke"})
    assert "stand-in" in problems(good | {"data": {"digits, test, auto": "stand-in"}})
    assert problems(good | {"data": {"digits, test, stand-in": "stand-in"}}) == ""
    _, silent = one(make, code("print(1)"))
    assert "no stored outputs" in problems(good, silent)


# ------------------------------------------------------------------ freshness

CHAPTER = """#| label: fig-a
#| fig-cap: "What we see"
from vqdiff_edu import require
from vqdiff_edu.diffusion.samplers import sample

steps = 20
print(sample(steps))"""
SAMPLERS = '''"""How to sample."""
__all__ = ["sample"]
from vqdiff_edu import require
from .schedule import rate


def sample(steps: int, eta: float = 0.0) -> float:
    """One sample."""
    steps = require.whole("steps", steps, 1)
    if eta < 0:
        raise ValueError(f"eta must not be negative, got {eta}")
    return 2 * rate(steps)  # twice
'''
RATE = """class Rate:
    value: float = 0.5
"""
PACE = """def rate(steps):
    return share(steps) * Rate.value
"""
SCHEDULE = f"from ..probability import half as share\n\n\n{RATE}\n\n{PACE}"
PROBABILITY = """def half(x):
    return x / 2
"""
REACHED = {"diffusion/samplers": SAMPLERS, "diffusion/schedule": SCHEDULE, "probability": PROBABILITY, "viz": "GREY = 0.5\n"}


@pytest.fixture
def hash_of(make):
    """hash_of(("diffusion/samplers", old, new), …): a chapter's hash after replacing text in the chapter or in a module."""

    def build(*changes, files=REACHED, chapter=CHAPTER, cards=()):
        texts = {"chapter": chapter, **files}
        for where, old, new in changes:
            assert old in texts[where]
            texts[where] = texts[where].replace(old, new)
        book, nb = one(make, ("code", texts.pop("chapter")))
        shutil.rmtree(book.root / "vqdiff_edu", ignore_errors=True)
        for name, text in {"require": "", **texts}.items():
            path = book.root / "vqdiff_edu" / f"{name}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        (book.root / "vqdiff_edu" / "weights").mkdir()
        for card in cards:
            (book.root / "vqdiff_edu" / "weights" / f"{card['name']}.json").write_text(json.dumps(card))
        return chapter_hash(nb, Package(book.root))

    return build


@pytest.mark.parametrize(
    "where, old, new",
    [
        ("diffusion/samplers", "How to sample.", "Another word."),
        ("diffusion/samplers", "One sample.", "One sample of many."),
        ("diffusion/samplers", "# twice", "# two of them"),
        ("diffusion/samplers", "got {eta}", "and it was {eta}"),
        ("diffusion/samplers", 'f"eta must not be negative, got {eta}"', '"no"'),
        ("diffusion/samplers", 'steps = require.whole("steps", steps, 1)', 'steps = require.whole("steps", steps, 2, 7)'),
        ("diffusion/samplers", '    steps = require.whole("steps", steps, 1)\n', ""),
        ("diffusion/samplers", "    if eta < 0:", '    if eta:\n        require.number("eta", eta)\n    if eta < 0:'),
        ("diffusion/samplers", "steps: int, eta: float = 0.0", "steps, eta=0.0"),
        ("diffusion/samplers", '["sample"]', '["sample", "walk"]'),
        ("diffusion/schedule", "value: float", "value: int"),
        ("diffusion/schedule", f"{RATE}\n\n{PACE}", f"{PACE}\n\n{RATE}"),
        ("viz", "0.5", "0.6"),
        ("chapter", "What we see", "What there is to see"),
        ("chapter", "from vqdiff_edu import require\n", ""),
    ],
)
def test_what_is_said_and_not_done_leaves_a_run_fresh(hash_of, where, old, new):
    assert hash_of((where, old, new)) == hash_of()


@pytest.mark.parametrize(
    "where, old, new",
    [
        ("diffusion/samplers", "2 * rate", "3 * rate"),
        ("diffusion/samplers", "eta: float = 0.0", "eta: float = 0.1"),
        ("diffusion/samplers", "eta < 0", "eta <= 0"),
        ("diffusion/samplers", "ValueError", "TypeError"),
        ("diffusion/samplers", 'steps = require.whole("steps", steps, 1)', 'steps = require.whole("steps", steps + 1, 1)'),
        ("diffusion/schedule", "value: float = 0.5", "value: float = 0.25"),
        ("diffusion/schedule", "half as share", "third as share"),
        ("probability", "x / 2", "x / 3"),
        ("chapter", "steps = 20", "steps = 21"),
        ("diffusion/schedule", RATE, ""),
        ("chapter", "print(", "#| fig-cap: late\nprint(0, "),
        ("chapter", "#| label: fig-a", "#| eval: false"),
    ],
)
def test_what_is_done_makes_a_run_stale(hash_of, where, old, new):
    assert hash_of((where, old, new)) != hash_of()


def test_a_module_that_moves_leaves_a_run_fresh(hash_of):
    moved = {**REACHED, "walks": SAMPLERS.replace("from .schedule", "from .codes.pace"), "codes/pace": SCHEDULE}
    del moved["diffusion/samplers"], moved["diffusion/schedule"]
    assert hash_of(files=moved, chapter=CHAPTER.replace("diffusion.samplers", "walks")) == hash_of()


LOADER = "from vqdiff_edu import load_pretrained\n\nmodel = load_pretrained('vae')"
MODELS = {"registry": "def load_pretrained(name): ...\n", "quantization/vqvae": "K = 512\n", "codes/latent": "C = 12\n"}
CARDS = [
    {"name": "vae", "module": "vqdiff_edu.quantization.vqvae", "sha256": "a"},
    {"name": "latent", "module": "vqdiff_edu.codes.latent", "sha256": "b", "parents": {"vae": "a"}},
]


def test_loading_a_model_reaches_the_registry_its_module_and_its_weights(hash_of):
    before = hash_of(files=MODELS, chapter=LOADER, cards=CARDS)

    def after(*changes, chapter=LOADER, cards=CARDS):
        return hash_of(*changes, files=MODELS, chapter=chapter, cards=cards)

    assert after() == before
    assert after(("quantization/vqvae", "512", "256")) != before
    assert after(("registry", "...", "pass; print(name)")) != before
    assert after(cards=[CARDS[0] | {"sha256": "c"}, CARDS[1]]) != before
    assert after(cards=[CARDS[0] | {"metrics": {"mse": 1}}, CARDS[1]]) == before
    assert after(("codes/latent", "12", "13")) == before


def test_a_model_brings_its_parents_and_a_loop_over_names_loads_them(hash_of):
    looped = "from vqdiff_edu import load_pretrained\n\nfor name in ('latent',):\n    load_pretrained(name)"

    def after(*changes):
        return hash_of(*changes, files=MODELS, chapter=looped, cards=CARDS)

    assert after(("codes/latent", "12", "13")) != after()
    assert after(("quantization/vqvae", "512", "256")) != after()


def test_what_needs_a_run(make):
    assert one(make, ("code", "print(1)"))[1].runs
    assert not one(make, *export("data", "x = 1"), ("code", "#| eval: false\nprint(1)"))[1].runs


def test_stand_in_results():
    assert results.stand_in_places([{"source": "stand-in"}, {"a": {"profile": "smoke"}}]) == [
        "[0].source is 'stand-in'",
        "[1].a.profile is 'smoke'",
    ]
    assert not results.stand_in_places([{"source": "mnist", "profile": "laptop", "note": "smoke"}])


def test_weight_bounds():
    parts = {"a": 1, "b": 2, "c": 3}
    assert not results.size_problems({"a": 2**21, "b": 2**21}, parts)
    assert "parts 1 and 2" in results.size_problems({"a": 2**21, "b": 2**21 + 1}, parts)[0]
    assert "in all" in results.size_problems({"c": 33 * 2**20}, parts)[0]


def test_stale_models():
    weights, recipe = b"w", {"steps": 10, "betas": (0.9, 0.99)}
    sha = hashlib.sha256(weights).hexdigest()
    good = {"sha256": sha, "fingerprint": "f", "recipe": {"steps": 10, "betas": [0.9, 0.99]}, "profile": "laptop", "seed": 0}
    good |= {"wall_seconds": 1.5, "versions": {"torch": "2"}, "metrics": {"n": 1}, "data": {"source": "mnist"}, "parents": {"vae": "p"}}

    def problems(**changes):
        return "\n".join(results.card_problems(good | changes, weights, recipe, "f", {"vae": {"tensors_sha256": "p"}}))

    assert problems() == ""
    assert "sha256" in problems(sha256="0")
    assert "differs in steps" in problems(fingerprint="g", recipe={"steps": 9, "betas": [0.9, 0.99]})
    assert "child of another vae" in problems(parents={"vae": "q"})
    assert "data.source is 'stand-in'" in problems(data={"source": "stand-in"})
    assert "metrics.source is 'stand-in'" in problems(metrics={"source": "stand-in"})
    assert "profile 'smoke'" in problems(profile="smoke")
    assert "lacks versions, metrics" in problems(versions={}, metrics=None)


def test_descriptions_that_differ(make):
    files = {
        name: (bookdata.ROOT / name).read_text() for name in ("settings.ini", "pyproject.toml", "_quarto.yml", "CITATION.cff", "README.md")
    }

    def problems(**changes):
        (root := make({}).root).joinpath("settings.ini").write_text(files["settings.ini"])
        for name, text in files.items():
            (root / name).write_text(text.replace(*changes.get(name.partition(".")[0].lower(), ("", ""))))
        return "\n".join(site.metadata_problems(root))

    assert problems() == ""
    assert "pyproject.toml's description" in problems(pyproject=("A book that runs", "A book"))
    assert "CITATION.cff's version" in problems(citation=("version: 0.1.0", "version: 0.2.0"))
    assert "README.md" in problems(readme=("A book that runs", "A text"))
    assert "_quarto.yml's subtitle" in problems(_quarto=("A book that runs", "A text"))


def test_table_of_contents(make):
    pages = {"1_groundwork/02_a": [END], "1_groundwork/03_b": [END], "7_tools/70_c": [END]}
    a, b, c = "nbs/1_groundwork/02_a.ipynb", "nbs/1_groundwork/03_b.ipynb", "nbs/7_tools/70_c.ipynb"

    def problems(*chapters, appendices=(c,), first=("index.qmd",)):
        contents = {"book": {"chapters": [*first, {"part": "P", "chapters": list(chapters)}], "appendices": list(appendices)}}
        return "\n".join(site.contents_problems(make(pages, extra=[("index.qmd", "Hello"), ("_quarto.yml", json.dumps(contents))])))

    assert problems(a, b) == ""
    assert problems(a, {"part": "Q", "chapters": [{"file": b}]}) == ""
    assert f"{b} is not listed" in problems(a)
    assert "nbs/x.ipynb, which does not exist" in problems(a, b, "nbs/x.ipynb")
    assert "twice" in problems(a, b, b)
    assert "order" in problems(b, a)
    assert "belongs to the appendices" in problems(a, b, c, appendices=())
    assert "begins with index.qmd" in problems(a, b, first=())
