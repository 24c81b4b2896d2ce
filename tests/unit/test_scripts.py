"""The Makefile's tools: what they store, what they refuse, and what they name."""

import importlib.util
import json
import sys
from pathlib import Path

import nbformat
import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
OUTPUT = nbformat.v4.new_output("stream", name="stdout", text="kept\n")


def load(name: str):
    """A script as a module of its own, so that a test may change its globals."""
    spec = importlib.util.spec_from_file_location(f"script_{name}", SCRIPTS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def code(source: str, outputs=()):
    return nbformat.v4.new_code_cell(source, outputs=list(outputs))


def text(source: str):
    return nbformat.v4.new_markdown_cell(source)


def write(path: Path, *cells) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(nbformat.v4.new_notebook(cells=list(cells)), path)
    return path


@pytest.fixture
def execute(tmp_path):
    """execute.py, living in a repository of its own."""
    module = load("execute")
    module.ROOT, module.LEDGER = tmp_path, tmp_path / "results" / "executed.json"
    return module


def run_main(module, *arguments: str) -> None:
    """The script's `main`, as if called with these arguments."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["script", *arguments])
        module.main()


def test_execute_stores_outputs_and_provenance_and_passes_over_eval_false(execute):
    path = write(execute.ROOT / "nbs" / "1" / "02_x.ipynb", code("#| eval: false\n1 / 0", [OUTPUT]), code("print(6 * 7)"), text("end"))
    execute.execute(path, "laptop", None, False)
    cells = json.loads(path.read_text())["cells"]
    assert cells[0]["outputs"][0]["text"] == ["kept\n"]
    assert cells[1]["outputs"][0]["text"] == ["42\n"] and cells[1]["execution_count"] is None
    assert len(cells) == 3  # the question about the data is not on the page
    entry = json.loads(execute.LEDGER.read_text())["1/02_x"]
    assert entry["profile"] == "laptop" and entry["data"] == {} and len(entry["code_sha256"]) == 64


def test_execute_leaves_a_failing_notebook_alone_and_shows_the_cell(execute):
    path = write(execute.ROOT / "nbs" / "02_x.ipynb", code("a = 1"), code("a / 0"))
    before = path.read_bytes()
    with pytest.raises(execute.Failed, match=r"(?s)02_x.ipynb failed in cell 1.*a / 0.*ZeroDivisionError"):
        execute.execute(path, "laptop", None, False)
    assert path.read_bytes() == before and not execute.LEDGER.exists()


def test_execute_refuses_to_store_what_came_from_the_stand_in(execute, tmp_path):
    path = write(execute.ROOT / "nbs" / "02_x.ipynb", code('SOURCES_USED = {"digits": "stand-in"}'))
    before = path.read_bytes()
    with pytest.raises(execute.Refused, match="stand-in"):
        execute.execute(path, "laptop", None, False)
    assert path.read_bytes() == before
    execute.execute(path, "smoke", tmp_path / "out", False)
    assert (tmp_path / "out" / "02_x.ipynb").exists() and path.read_bytes() == before and not execute.LEDGER.exists()


def test_execute_goes_on_after_a_failure_and_names_it_at_the_end(execute, capsys):
    for name, source in {"02_a": "print(1)", "03_b": "1 / 0", "06_c": "print(2)"}.items():
        write(execute.ROOT / "nbs" / f"{name}.ipynb", code(source), text("end"))
    with pytest.raises(SystemExit, match="1 of 3 not stored: 03_b"):
        run_main(execute, "--profile", "laptop")
    assert json.loads(execute.LEDGER.read_text()).keys() == {"02_a", "06_c"}
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_execute_passes_over_what_is_fresh(execute, capsys):
    for name in ("02_a", "03_b"):
        write(execute.ROOT / "nbs" / f"{name}.ipynb", code("print(1)"), text("end"))
    run_main(execute, "--profile", "laptop", "02_a")
    capsys.readouterr()
    run_main(execute, "--stale", "--list")
    assert capsys.readouterr().out == "1 stale\nnbs/03_b.ipynb\n"
    write(execute.ROOT / "nbs" / "02_a.ipynb", code("print(2)"), text("end"))
    run_main(execute, "--stale", "--list")
    assert capsys.readouterr().out.splitlines()[0] == "2 stale"


def test_printed_text_stays_on_its_side_of_a_picture():
    execute = load("execute")
    picture = nbformat.v4.new_output("display_data", {"image/png": "QUJD"})
    pieces = [("stdout", "a\n"), ("stderr", "w\n"), ("stdout", "b\n"), None, ("stdout", "c\n")]
    outputs = [picture if p is None else nbformat.v4.new_output("stream", name=p[0], text=p[1]) for p in pieces]
    assert [o.get("text", "picture") for o in execute.merged(outputs)] == ["a\nb\n", "picture", "c\n", "w\n"]


def test_of_a_progress_bar_the_last_state_is_kept():
    tidy = load("execute").tidy_stream
    assert tidy(" 0%|   | 0/2\r 50%|## | 1/2\r100%|###| 2/2\ndone\n") == "100%|###| 2/2\ndone\n"


@pytest.fixture
def render(tmp_path):
    module = load("render")
    module.ROOT = tmp_path
    (tmp_path / "references.bib").write_text("@book{knuth1997art, title={The Art}, author={Knuth, Donald}, year={1997}}")
    (tmp_path / "_quarto.yml").write_text("book: {chapters: [index.qmd, {part: P, chapters: [nbs/21_a.ipynb, nbs/22_b.ipynb]}]}")
    (tmp_path / "index.qmd").write_text("# Preface {.unnumbered}\n\n[go](nbs/21_a.ipynb)\n")
    write(tmp_path / "nbs" / "22_b.ipynb", text("# B {#sec-b}\n\n## Deep {#sec-deep}\n"))
    return module


def page(render, *cells) -> str:
    write(render.ROOT / "nbs" / "21_a.ipynb", *cells)
    render.render_book(render.ROOT / "out")
    return (render.ROOT / "out" / "nbs" / "21_a.html").read_text()


def test_render_numbers_and_links_across_chapters(render):
    made = page(
        render,
        text(
            "# A $x_{t-1}$ {#sec-a}\n\n$$\na = b\n$$ {#eq-one}\n\n$$ c $$ {#eq-two}\n\nSee @eq-two, @fig-f, @sec-deep, [@knuth1997art], `@eq-none`."
        ),
        code("#| label: fig-f\n#| fig-cap: A cap.\nplot()", [nbformat.v4.new_output("display_data", {"image/png": "QUJD"})]),
        code("#| hide\nsecret()"),
    )
    assert render.faults == []
    joined = " ".join(made.split())
    assert '<a href="21_a.html#eq-two">Equation 21.2</a>' in joined and "(21.2)" in joined
    assert '<a href="21_a.html#fig-f">Figure 21.1</a>' in joined and "<strong>Figure 21.1.</strong> A cap." in joined
    assert 'href="22_b.html#sec-deep">Section 22.1</a>' in joined and "Knuth 1997" in joined
    assert "secret" not in made and "<code>@eq-none</code>" in made and "<math" in made


@pytest.mark.parametrize(
    ("broken", "named"),
    [
        ("@eq-none", "@eq-none refers to nothing"),
        ("[x](23_c.ipynb)", "23_c.ipynb leads to no chapter"),
        ("[@nobody2020x]", "nobody2020x"),
        ("$\\notamacro{$", "Could not convert TeX math"),
    ],
)
def test_render_names_what_it_cannot_resolve(render, broken, named):
    page(render, text(f"# A\n\n{broken}"))
    assert any(named in fault and "21_a.ipynb" in fault for fault in render.faults), render.faults


def test_render_loads_nothing_from_outside(render):
    player = '<link rel="stylesheet" href="https://x.org/a.css"><script src="https://x.org/a.js"></script><script>var a;</script>'
    made = page(
        render,
        text("# A\n\n[![b](https://x.org/b.svg)](https://x.org)"),
        code("p()", [nbformat.v4.new_output("display_data", {"text/html": player})]),
    )
    assert "x.org/a" not in made and "b.svg" not in made and "var a;" in made


def test_a_notebook_can_stand_alone(render):
    page(render, text("# A"))
    made = render.ROOT / "_docs" / "tour" / "index.html"
    render.render_single(render.ROOT / "nbs" / "22_b.ipynb", made)
    assert "22 B, on this machine" in made.read_text() and (render.ROOT / "_docs" / "site" / "page.css").exists()
    assert 'href="../site/page.css"' in made.read_text()


def test_callout_keeps_its_title_and_is_no_section(render):
    made = page(
        render,
        text(
            '# A\n\n::: {.callout-note title="Mind"}\nbody\n:::\n\n::: {.callout-tip}\n## Answer\nyes\n:::\n\n## Two {#sec-two}\n\n@sec-two'
        ),
    )
    assert '<span class="callout-title">Mind</span>' in made and '<span class="callout-title">Answer</span>' in made
    assert "Section 21.1</a>" in " ".join(made.split())


@pytest.fixture
def fidelity(tmp_path):
    """fidelity.py, before a small project whose package was just exported."""
    module = load("fidelity")
    settings = (SCRIPTS.parent / "settings.ini").read_text().replace("vqdiff_edu", "tiny")
    (tmp_path / "settings.ini").write_text(settings)
    write(tmp_path / "nbs" / "02_x.ipynb", code("#| default_exp x"), code("#| export\nA = 1"), text("end"))
    (tmp_path / "tiny").mkdir()
    module.ROOT = tmp_path
    module.call(tmp_path, "git init --quiet && nbdev_export && nbdev_clean")
    return module


def test_fidelity_sees_an_edited_module_and_a_notebook_that_is_not_clean(fidelity, capsys):
    fidelity.main()
    assert "the package is what they export" in capsys.readouterr().out
    module, notebook = fidelity.ROOT / "tiny" / "x.py", fidelity.ROOT / "nbs" / "02_x.ipynb"
    module.write_text(module.read_text().replace("A = 1", "A = 2"))
    with pytest.raises(SystemExit, match="tiny/x.py"):
        fidelity.main()
    module.write_text(module.read_text().replace("A = 2", "A = 1"))
    notebook.write_text(notebook.read_text().replace('"execution_count": null', '"execution_count": 7'))
    with pytest.raises(SystemExit, match="nbs/02_x.ipynb"):
        fidelity.main()


@pytest.mark.parametrize(("quarto", "code", "said"), [(None, 0, "Made with pandoc"), ("exit 3", 1, "Quarto failed"), ("exit 0", 0, "")])
def test_the_book_fails_where_quarto_fails_and_is_made_with_pandoc_without_it(tmp_path, monkeypatch, capsys, quarto, code, said):
    book, called = load("book"), []
    monkeypatch.setenv("PATH", str(tmp_path))
    if quarto:
        (tmp_path / "quarto").write_text(f"#!/bin/sh\n{quarto}\n")
        (tmp_path / "quarto").chmod(0o755)
    monkeypatch.setattr(book, "python", lambda *command: called.append(command[0]) or 0)
    assert book.render() is (code == 0)
    assert said in capsys.readouterr().out
    assert called == ["scripts/render.py"]  # all pages, or what stands beside Quarto's


def test_the_notebook_that_was_running_is_named():
    runner = load("test")
    started = [f"Starting {runner.ROOT}/nbs/{name}.ipynb" for name in ("02_a", "03_b")]
    assert runner.running([*started, f"- Completed {runner.ROOT}/nbs/02_a.ipynb"]) == ["nbs/03_b.ipynb"]


# ---------------------------------------------------------------- Quarto's filter and its numbers


def test_quarto_is_given_solutions_folded_and_no_plumbing():
    cells = load("quarto_cells").filtered(
        {
            "cells": [
                {"cell_type": "code", "source": "#| default_exp m", "outputs": []},
                {"cell_type": "code", "source": "#| hide\nimport m", "outputs": []},
                {"cell_type": "code", "source": "#| export\nA = 1\nB = 2", "outputs": []},
                {"cell_type": "code", "source": "#| exports\n#| label: fig-a\nC = 3", "outputs": []},
                {"cell_type": "markdown", "source": "[![Open in Colab](https://colab/b.svg)](https://colab/n.ipynb) · more"},
            ]
        }
    )["cells"]
    assert ["".join(cell["source"]) for cell in cells] == [
        '#| code-fold: true\n#| code-summary: "code: A, B"\nA = 1\nB = 2',
        "#| label: fig-a\nC = 3",
        "[Open in Colab](https://colab/n.ipynb){.colab} · more",
    ]
    assert all(isinstance(cell["source"], list) for cell in cells)


def test_quarto_is_given_players_without_anything_from_outside():
    html = '<link rel="stylesheet" href="https://elsewhere/icons.css"><video src="data:video/mp4;base64,AA"></video>'
    cell = {"cell_type": "code", "source": "show()", "outputs": [{"data": {"text/html": [html], "text/plain": "<Film>"}}]}
    data = load("quarto_cells").filtered({"cells": [cell]})["cells"][0]["outputs"][0]["data"]
    assert list(data) == ["text/markdown"] and "elsewhere" not in data["text/markdown"] and "data:video/mp4" in data["text/markdown"]


def test_quarto_is_given_a_figure_beside_sounds_as_one_picture():
    """Else it makes parts (a), (b) of them, and the figure's caption is lost."""
    source = '#| label: fig-a\n#| fig-cap: "Seen"\n#| code-fold: true\nlisten()\nshow()'
    sound, said, seen = {"data": {"text/html": "<audio></audio>"}}, {"name": "stdout", "text": "ten"}, {"data": {"image/png": "AA"}}
    cell = {"cell_type": "code", "id": "a1", "source": source, "outputs": [sound, said, seen]}
    first, second = load("quarto_cells").filtered({"cells": [cell]})["cells"]
    assert (
        "".join(first["source"]) == "#| code-fold: true\nlisten()\nshow()" and seen not in first["outputs"] and len(first["outputs"]) == 2
    )
    assert "".join(second["source"]).startswith('#| label: fig-a\n#| fig-cap: "Seen"\n#| echo: false\n') and second["outputs"] == [seen]
    alone = load("quarto_cells").filtered({"cells": [{**cell, "outputs": [said, seen]}]})["cells"]
    assert len(alone) == 1 and "".join(alone[0]["source"]) == source


def test_quartos_pages_are_introduced_by_their_own_words():
    formula = "<math><msub><mi>x</mi><mn>0</mn></msub><annotation>x_0</annotation></math>"
    page = (
        '<title>21&nbsp; Where x_0? – vqdiff_edu</title><meta name="description" content="The book"><meta property="og:title" content="18&nbsp; Where x0x_0?">'
        '<meta name="twitter:description" content="The book"><a href="https://g/issues/new" class="toc-action"><i class="bi empty"></i>Report an issue</a>'
        f'<h1 class="title"><span class="chapter-number">21</span>&nbsp; <span class="chapter-title">Where {formula}?</span></h1>'
        '<blockquote class="blockquote"><p>A promise &amp; more.</p></blockquote>'
    )
    made = load("quarto_numbers").introduced(page)
    assert "<title>21 Where x0? – vqdiff_edu</title>" in made and 'og:title" content="21 Where x0? – vqdiff_edu"' in made
    assert made.count('content="A promise &amp; more."') == 2
    assert '/issues/new?title=21%20Where%20x0%3F%3A%20" class="toc-action"><i class="bi empty"></i>Report a mistake</a>' in made


def test_solutions_carry_no_letter():
    link = '<a href="../solutions/ch21.html" class="x">\n<span class="menu-text">{}<span class="chapter-title">Solutions</span></span></a>'
    page = '<h1 class="title">Appendix [&nbsp;— Solutions to chapter 21</h1><h2 data-number="[.1" class="a"><span class="header-section-number">[.1</span> 21-1</h2>'
    made = load("quarto_numbers").without_letters(page + link.format('<span class="chapter-number">[</span>&nbsp; '), "ch21.html")
    assert made == '<h1 class="title">Solutions to chapter 21</h1><h2 class="a">21-1</h2>' + link.format("")
    other = '<h2 data-number="A.1"><span class="header-section-number">A.1</span> B</h2>'
    assert load("quarto_numbers").without_letters(other, "70_verify.html") == other


def test_quartos_printed_text_is_measured():
    rows = "a  b  c\nten  two  one\n&lt;1  2.5  3\n"
    made = load("quarto_numbers").fitted(f'<div class="cell-output cell-output-stdout">\n<pre><code>{rows}</code></pre>\n</div>')
    assert '<div class="cell-output cell-output-stdout table" style="--columns:13">' in made and rows in made
    assert "table" not in load("quarto_numbers").fitted('<div class="cell-output cell-output-stdout">\n<pre><code>said</code></pre></div>')


def test_quartos_script_spares_links_inside_a_drawing(tmp_path):
    script = tmp_path / "quarto-nav.js"
    script.write_text("for (;;) if (links[i].href) { links[i].href = 1 }")
    load("quarto_numbers").spare_drawn_links(script)
    assert 'if (typeof links[i].href === "string") {' in script.read_text()


def test_quartos_letters_become_the_numbers_of_the_files():
    script, here = load("quarto_numbers"), "70_verify.html"
    letter, ours = script.NUMBERS[here]
    assert (letter, ours) == ("A", "70")
    html = (
        '<h1 class="title"><span class="chapter-number">A</span>&nbsp; <span class="chapter-title">A check</span></h1>'
        '<h2 data-number="A.1"><span class="header-section-number">A.1</span> A test</h2> <figcaption>Figure&nbsp;A.2: A plot</figcaption>'
    )
    assert script.mend(html, here) == (
        '<h1 class="title"><span class="chapter-number">70</span>&nbsp; <span class="chapter-title">A check</span></h1>'
        '<h2 data-number="70.1"><span class="header-section-number">70.1</span> A test</h2> <figcaption>Figure&nbsp;70.2: A plot</figcaption>'
    )


def test_quartos_search_is_written_anew_from_the_pages(tmp_path, monkeypatch):
    script = load("quarto_numbers")
    monkeypatch.setattr(script, "DOCS", tmp_path)
    (tmp_path / "a.html").write_text(
        '<main><h1>21 Where</h1><p>In Equation 21.3.</p><section id="sec-b"><h2>21.1 Part</h2><p>text</p></section></main>'
    )
    (tmp_path / "search.json").write_text('[{"href": "a.html", "title": "12 Where", "text": "In Equation 12.3.", "crumbs": ["Diffusion"]}]')
    script.write_search(tmp_path / "search.json")
    found = json.loads((tmp_path / "search.json").read_text())
    assert [(e["href"], e["section"], e["text"], e["crumbs"]) for e in found] == [
        ("a.html", "", "In Equation 21.3.", ["Diffusion"]),
        ("a.html#sec-b", "21.1 Part", "text", ["Diffusion"]),
    ]


def test_quartos_numbers_become_those_of_the_files():
    script = load("quarto_numbers")
    here, there = "21_reverse_posterior.html", "20_forward_process.html"
    (theirs, ours), (before, _) = script.NUMBERS[here], script.NUMBERS[there]
    assert ours == "21" != theirs
    html = (
        f'<title>{theirs} Where</title><h2 data-number="{theirs}.1"><span class="header-section-number">{theirs}.1</span> The 12 steps</h2>'
        f'<a href="#eq-a" class="quarto-xref">Equation {theirs}.7</a> <a href="{there}#eq-b" class="quarto-xref">Equation {before}.3</a>'
        f'<a href="../{there}"><span class="chapter-number">{before}</span> Forward</a> {theirs}.7 seconds'
    )
    assert script.mend(html, here) == (
        '<title>21 Where</title><h2 data-number="21.1"><span class="header-section-number">21.1</span> The 12 steps</h2>'
        f'<a href="#eq-a" class="quarto-xref">Equation 21.7</a> <a href="{there}#eq-b" class="quarto-xref">Equation 20.3</a>'
        f'<a href="../{there}"><span class="chapter-number">20</span> Forward</a> {theirs}.7 seconds'
    )
