"""The pages in a real browser, at the width of a desk and of a phone, in light and in dark."""

import re

import pytest

from bookdata import Book

from .conftest import MINUTE

BOOK = Book()
CHAPTERS = [entry.file.rpartition(".")[0] + ".html" for entry in BOOK.contents if not entry.appendix]
OTHERS = [
    "nbs/7_tools/70_verify.html",
    "nbs/9_appendix/90_notation.html",
    "nbs/9_appendix/93_glossary.html",
    "nbs/9_appendix/solutions/ch21.html",
]
WITH_FILMS = [nb.rel.replace(".ipynb", ".html") for nb in BOOK.chapters if "<video" in "".join(cell.printed for cell in nb.code)]
WITH_PLAYER = [nb.rel.replace(".ipynb", ".html") for nb in BOOK.chapters if "anim-slider" in "".join(cell.printed for cell in nb.code)]
CHECKED = ["index.html", "nbs/1_groundwork/01_setup.html", "nbs/5_crossmodal/45_writing_videos.html", "nbs/9_appendix/solutions/ch21.html"]

WIDER = """() => [...document.querySelectorAll("main *")].filter(e => e.getBoundingClientRect().right > innerWidth + 1
  && !e.closest("pre, table, math, svg, .live")).map(e => e.outerHTML.slice(0, 90)).slice(0, 3)"""
CUT = """() => [...document.querySelectorAll("main pre, main table")].filter(e => e.checkVisibility() && e.scrollWidth > e.clientWidth + 1)
  .map(e => `${e.scrollWidth - e.clientWidth} px of: ${e.textContent.trim().slice(0, 60)}`)"""
BARRIERS = """() => axe.run({ exclude: ["math", ".live", "pre code"] }, { resultTypes: ["violations"] }).then(found => found.violations
  .filter(v => ["serious", "critical"].includes(v.impact)).map(v => `${v.id}: ${v.nodes.length} times, ${v.nodes[0].html.slice(0, 120)}`))"""


def scrolls_sideways(page) -> bool:
    return page.evaluate("document.documentElement.scrollWidth > innerWidth")


@pytest.mark.parametrize("name", [*CHAPTERS, *OTHERS])
def test_a_page_opens_quietly_and_fits(visit, name):
    opened = visit(name)
    assert not opened.complaints
    assert not scrolls_sideways(opened.page), opened.page.evaluate(WIDER)
    assert not opened.page.evaluate(CUT)
    opened.page.set_viewport_size({"width": 390, "height": 844})
    assert not scrolls_sideways(opened.page), opened.page.evaluate(WIDER)


@pytest.mark.parametrize(("name", "theme"), [*((name, "light") for name in CHECKED), (CHECKED[0], "dark"), (CHECKED[-1], "dark")])
def test_nothing_bars_a_reader(visit, axe, name, theme):
    """What axe-core calls serious or critical, contrast among it; formulas and coloured code apart, which would take minutes."""
    opened = visit(name, theme=theme)
    opened.page.evaluate(axe)
    assert not opened.page.evaluate(BARRIERS)


def test_coloured_code_can_be_read(visit, axe):
    opened = visit("nbs/1_groundwork/01_setup.html")
    opened.page.evaluate(axe)
    for theme in ("light", "dark"):
        opened.page.evaluate(f"document.documentElement.dataset.theme = '{theme}'")
        assert not opened.page.evaluate(
            "() => axe.run('pre code', { runOnly: 'color-contrast' }).then(r => r.violations.map(v => v.nodes[0].html))"
        )


def test_the_search_finds_a_section_by_its_number_and_goes_there(visit):
    page = visit("nbs/1_groundwork/00_tour.html").page
    page.keyboard.press("/")
    page.fill("dialog.find input", "21.3")
    page.wait_for_selector("dialog.find li a")
    first = page.locator("dialog.find li a").first
    assert first.locator("strong").inner_text().startswith("21.3 ")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("21_reverse_posterior.html#"))
    anchor = page.url.partition("#")[2]
    assert page.locator(f"#{anchor}").inner_text().startswith("21.3")


def test_the_search_finds_a_subject_in_its_own_chapter(visit):
    page = visit("index.html").page
    page.click("button.search")
    for word, chapter in {"commitment": "12_commitment_loss", "posterior": "21_reverse_posterior", "dpmpp": "24_samplers"}.items():
        page.fill("dialog.find input", word)
        page.wait_for_function(
            "([word, chapter]) => document.querySelector('dialog.find li a')?.href.includes(chapter)",
            arg=[word, chapter],
            timeout=MINUTE / 6,
        )


@pytest.mark.parametrize("name", WITH_FILMS)
def test_films_play(visit, name):
    page = visit(name).page
    played = """async () => Promise.all([...document.querySelectorAll("main video")].map(async film => {
      film.muted = true; film.currentTime = 0; await film.play(); await new Promise(r => film.ontimeupdate = () => film.currentTime > 0 && r()); film.pause()
      return film.videoWidth > 0 && film.clientWidth >= 224 && film.controls }))"""
    found = page.evaluate(played)
    assert found and all(found)


@pytest.mark.parametrize("name", WITH_PLAYER)
def test_the_player_plays_and_its_buttons_are_drawn(visit, name):
    page = visit(name, width=390).page
    player = page.locator(".animation").first
    player.scroll_into_view_if_needed()
    buttons = player.locator(".anim-buttons button")
    assert buttons.count() == 9
    for i in range(9):
        box, icon = buttons.nth(i).bounding_box(), buttons.nth(i).locator("svg path")
        assert box["x"] >= 0 and box["x"] + box["width"] <= 390
        assert icon.get_attribute("d") and buttons.nth(i).get_attribute("aria-label")
    slider = player.locator("input[type=range]")
    assert slider.get_attribute("aria-label")
    before = slider.input_value()
    player.get_by_role("button", name="Play", exact=True).click()
    page.wait_for_function("([e, before]) => e.value !== before", arg=[slider.element_handle(), before])
    player.get_by_role("button", name="Pause").click()


def test_dark_readers_get_a_dark_page_and_the_button_is_remembered(visit):
    opened = visit("index.html", theme="dark")
    paper = "getComputedStyle(document.body).backgroundColor"
    dark = opened.page.evaluate(paper)
    assert sum(map(int, re.findall(r"\d+", dark))) < 150
    opened.page.click("button.search")
    assert opened.page.evaluate("getComputedStyle(document.querySelector('dialog.find input')).backgroundColor") == dark
    opened.page.keyboard.press("Escape")
    opened.page.click("button.theme")
    assert opened.page.evaluate(paper) == "rgb(255, 255, 255)"
    opened.page.reload()
    assert opened.page.evaluate(paper) == "rgb(255, 255, 255)"


def test_a_phone_has_both_lists_closed_above_the_text(visit):
    page = visit("nbs/3_diffusion/21_reverse_posterior.html", width=390).page
    assert page.locator("h1").bounding_box()["y"] < 300
    page.click("details.contents > summary")
    link = page.locator("details.contents a", has_text="21.3").first
    assert link.is_visible()
    link.click()
    assert abs(page.locator("h2", has_text="21.3").first.bounding_box()["y"]) < 300


def test_a_picture_opens_at_its_full_size(visit):
    page = visit("nbs/3_diffusion/21_reverse_posterior.html", width=390).page
    picture = page.locator("main .figure img").first
    picture.scroll_into_view_if_needed()
    small = picture.bounding_box()["width"]
    picture.click()
    assert page.locator("dialog.zoom img").bounding_box()["width"] > small
    page.keyboard.press("Escape")
    assert page.locator("dialog.zoom").count() == 0


def test_tab_reaches_the_text_first(visit):
    page = visit("index.html").page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "text"
