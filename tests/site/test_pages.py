"""The pages as files: what they link and load, what their search finds, what stands in the EPUB."""

import html
import json
import posixpath
import re
import xml.etree.ElementTree as ElementTree
import zipfile

import pytest

from bookdata import Book, split_directives

from .pages import link_problems, outside

BOOK = Book()
HEAVIEST = 1_200_000  # bytes of a page read to its end, uncompressed


def listed(problems: dict) -> str:
    return "\n".join(f"{name}:\n  " + "\n  ".join(map(str, found)) for name, found in problems.items() if found)


def test_every_chapter_has_a_page(pages):
    expected = {entry.file.rpartition(".")[0] + ".html" for entry in BOOK.contents} | {"404.html"}
    assert set(pages) == expected


def test_the_renderers_can_resolve_everything(site):
    unresolved = (site / "unresolved").read_text(encoding="utf-8")
    assert not unresolved, unresolved


def test_links_and_anchors_lead_somewhere(pages):
    by_path = {page.path: page for page in pages.values()}
    problems = {name: link_problems(page, by_path) for name, page in pages.items()}
    assert not any(problems.values()), listed(problems)


def test_nothing_comes_from_outside(pages):
    problems = {name: [link for link in page.reader.loads + page.reader.lazy if outside(link)] for name, page in pages.items()}
    assert not any(problems.values()), listed(problems)


def test_no_page_is_heavy(pages):
    heavy = {name: f"{page.weight() / 1e6:.2f} MB" for name, page in pages.items() if page.weight() > HEAVIEST}
    assert not heavy, heavy


def test_pages_say_what_they_are(pages):
    """One title, one description, one address each."""
    for what in (r"<title>(.*?)</title>", r'<meta name="description" content="(.*?)">', r'<link rel="canonical" href="(.*?)">'):
        found = [re.findall(what, page.text) for name, page in pages.items() if name != "404.html" and "solutions" not in name]
        assert all(len(one) == 1 and one[0].strip() for one in found), what
        assert len({one[0] for one in found}) == len(found), what


def test_accents_stand_above_their_letters(pages):
    """No combining hat or tilde as an operator: Chrome sets it to the left."""
    assert not [name for name, page in pages.items() if re.search("<mo[^>]*>[\u0302\u0303]", page.text)]


def test_folds_say_what_they_fold(pages):
    folds = [label for page in pages.values() for label in re.findall(r"<details><summary>(.*?)</summary>", page.text)]
    assert len(folds) > 100
    assert "code" not in folds


def test_films_sounds_and_players_have_names(pages):
    for name, page in pages.items():
        assert not re.search(r"<(?:video|audio)\b(?![^>]*aria-label)", page.text), name
        assert 'class="fa ' not in page.text, name
        assert not re.search(r"<img\b(?![^>]*\balt=\"[^\"])", page.text), name


def test_a_chapter_hands_out_its_notebook(pages):
    for nb in BOOK.chapters:
        page = pages[nb.rel.replace(".ipynb", ".html")]
        assert page.reader.links.count(nb.path.name) == 2, nb.rel  # at the head and at the foot
        assert page.file(nb.path.name).read_bytes() == nb.path.read_bytes()
        assert BOOK.colab_of(nb.rel) in page.reader.links


def test_exercises_lead_to_their_solutions_and_back(pages):
    asked = {}
    for nb in BOOK.chapters:
        page = nb.rel.replace(".ipynb", ".html")
        for key in re.findall(rf"(?m)^\*\*({nb.number:02d}-\d+)\b", nb.prose):
            asked[key] = page
    assert len(asked) > 100
    for key, page in asked.items():
        solutions = f"nbs/9_appendix/solutions/ch{key[:2]}.html"
        assert f"exercise-{key}" in pages[page].reader.ids
        assert f"solution-{key}" in pages[solutions].reader.ids
        assert f"../9_appendix/solutions/ch{key[:2]}.html#solution-{key}" in pages[page].reader.links
        assert any(link.endswith(f"#exercise-{key}") for link in pages[solutions].reader.links)


def test_answers_outweigh_their_marking(pages):
    """A page of solutions shows less code of `Exercise(…)` than of answers: none of the first stands outside a fold."""
    for name, page in pages.items():
        if "solutions/" in name:
            shown = re.sub(r"<details>.*?</details>", "", page.text, flags=re.S)
            assert "EXERCISES[" not in html.unescape(re.sub(r"<[^>]*>", "", shown)), name


def test_code_is_as_wide_as_the_page(pages):
    """Words in a text or a comment may be longer, and wrap."""
    lines = [
        line
        for page in pages.values()
        for block in re.findall(r'<pre\s+class="sourceCode python">(.*?)</pre>', page.text, re.S)
        for line in re.sub(r'""".*?"""', "", html.unescape(re.sub(r"<[^>]*>", "", block)), flags=re.S).splitlines()
    ]
    wide = [line for line in lines if len(line) > 100 and not re.search(r"[\"'#]", line)]
    assert len(lines) > 5000
    assert len(wide) < len(lines) / 200, wide[:10]  # what the formatter could not break wraps on the page


# ---------------------------------------------------------------- search


@pytest.fixture(scope="module")
def entries(site):
    text = (site / "site" / "search.js").read_text(encoding="utf-8")
    return json.loads(text.partition("=")[2])


def words(fragment: str) -> str:
    fragment = re.sub(r"<annotation\b.*?</annotation>", "", fragment, flags=re.S)
    return " ".join(html.unescape(re.sub(r"<[^>]*>", "", fragment)).replace("\u2061", "").split())


def test_search_calls_sections_as_the_pages_do(entries, pages):
    wrong = []
    for entry in entries:
        page, _, anchor = entry["href"].partition("#")
        heading = re.search(rf'<h[1-3]\b[^>]*\bid="{re.escape(anchor)}"[^>]*>(.*?)</h[1-3]>', pages[page].text, re.S) if anchor else None
        if anchor and (heading is None or words(heading[1]) != entry["section"]):
            wrong.append((entry["href"], entry["section"], heading and words(heading[1])))
    assert len(entries) > 300
    assert not wrong, wrong[:5]


def test_search_knows_the_numbers_of_equations_and_figures(entries, pages):
    """Every number that a page prints at an equation or a figure stands in the entries of that page, and no other does."""
    for name, page in pages.items():
        text = " ".join(entry["text"] for entry in entries if entry["href"].partition("#")[0] == name)
        printed = set(re.findall(r'<span\s+class="eqno">\(([\d.]+)\)</span>', page.text))
        assert printed <= set(re.findall(r"\((\d+\.\d+)\)", text)), name
        figures = set(re.findall(r"<strong>(?:Figure|Table) ([\d.]+)\.</strong>", page.text))
        assert figures <= {number.rstrip(".") for number in re.findall(r"(?:Figure|Table)\s+([\d.]+)", text)}, name


def test_search_holds_each_formula_once(entries, pages):
    """As signs, and not as TeX beside them."""
    for name, page in pages.items():
        formulas = {html.unescape(tex) for tex in re.findall(r"<annotation[^>]*>(.*?)</annotation>", page.text, re.S)}
        text = " ".join(entry["text"] for entry in entries if entry["href"].partition("#")[0] == name)
        doubled = [tex for tex in formulas if "\\" in tex and len(tex) > 12 and tex in text]
        assert not doubled, (name, doubled[:3])


# ---------------------------------------------------------------- EPUB


@pytest.fixture(scope="module")
def epub(site):
    with zipfile.ZipFile(site / "vqdiff_edu.epub") as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_the_epub_is_well_formed_and_its_links_lead_somewhere(epub):
    assert next(iter(epub)) == "mimetype"
    texts = {name: data.decode() for name, data in epub.items() if name.endswith(".xhtml")}
    ids = {name: set(re.findall(r'\bid="([^"]+)"', text)) for name, text in texts.items()}
    problems = []
    for name, text in texts.items():
        ElementTree.fromstring(text)
        for link in re.findall(r'(?:href|src)="([^"]+)"', text):
            path, _, anchor = link.partition("#")
            target = posixpath.normpath(posixpath.join(posixpath.dirname(name), path)) if path else name
            if not outside(link) and (target not in epub or (anchor and anchor not in ids.get(target, ()))):
                problems.append(f"{name}: {link}")
    assert not problems, problems[:10]


def test_the_epub_numbers_as_the_pages_do(epub, pages):
    text = "".join(data.decode() for name, data in epub.items() if name.endswith(".xhtml"))
    numbers = sorted(number for page in pages.values() for number in re.findall(r'<span\s+class="eqno">\(([\d.]+)\)</span>', page.text))
    assert len(numbers) > 100
    assert sorted(re.findall(r'<span\s+class="eqno">\(([\d.]+)\)</span>', text)) == numbers
    contents = epub["EPUB/nav.xhtml"].decode()
    for page in pages.values():
        for number in re.findall(r'<h2[^>]*data-number="([\d.]+)"', page.text):
            assert re.search(rf">{re.escape(number)} ", contents), (page.name, number)


# ---------------------------------------------------------------- notebooks elsewhere


def test_an_install_cell_stands_at_every_chapters_head_and_runs_nowhere_else():
    for nb in BOOK.chapters:
        found = [cell for cell in nb.code if "installs the book where it is missing" in cell.source]
        assert [cell.index for cell in found] == [1 + next(c.index for c in nb.cells if c.kind == "markdown")], nb.rel
        assert not found[0].runs and not found[0].shown, nb.rel
        assert BOOK.repository in found[0].source, nb.rel
        assert {line.key for line in split_directives(found[0].source)[0]} == {"hide", "eval"}, nb.rel
