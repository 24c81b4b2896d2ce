"""What a finished page gets, whichever renderer made it: accents that browsers set right, a player without a font of icons, films and sounds with names,
and the entries of the search.  Everything here turns text into text."""

import html
import re
from html.parser import HTMLParser

ICONS = {  # of matplotlib's player, on a square of 16
    "fa-minus": "M3 7h10v2H3z",
    "fa-plus": "M7 3h2v4h4v2H9v4H7V9H3V7h4z",
    "fa-fast-backward": "M2 3h2v10H2zM9 3v4.5L14 3v10L9 8.5V13L4 8z",
    "fa-step-backward": "M4 3h2v10H4zM12 3v10L6 8z",
    "fa-play fa-flip-horizontal": "M12 3v10L4 8z",
    "fa-pause": "M4 3h3v10H4zM9 3h3v10H9z",
    "fa-play": "M4 3v10l8-5z",
    "fa-step-forward": "M10 3h2v10h-2zM4 3v10l6-5z",
    "fa-fast-forward": "M12 3h2v10h-2zM2 3v10l5-4.5V13l5-5-5-5v4.5z",
}


def mended(page: str) -> str:
    """All mends of a page."""
    return named_media(players(kept_together(accents(page))))


def accents(page: str) -> str:
    """Hats and tildes as characters that stand above their letter: pandoc writes combining ones, which Chrome sets to the left of it."""
    page = re.sub(r"(<mo\b[^>]*>)\u0302(</mo>)", r"\1^\2", page)
    return re.sub(r"(<mo\b[^>]*>)\u0303(</mo>)", "\\1\u02dc\\2", page)


def kept_together(page: str) -> str:
    """A formula and the full stop or bracket behind it on one line; browsers would break between them."""
    return re.sub(r"(<math display=\"inline\"(?:(?!</math>).)*</math>)([.,;:?!)\]’”-]+)", r'<span class="nb">\1\2</span>', page, flags=re.S)


def players(page: str) -> str:
    """matplotlib's player: buttons drawn as SVG, a picture and a slider with names, and nothing from outside."""
    page = re.sub(r"<link\b[^>]*https?:[^>]*font-awesome[^>]*>", "", page)
    page = re.sub(r'<i class="fa ([\w -]+)"></i>', lambda found: icon(found[1]), page)
    page = re.sub(r'<img id="(_anim_img\w+)">', r'<img id="\1" alt="The frame that the slider below points at">', page)
    page = re.sub(r'(<input id="_anim_slider\w+")', r'\1 aria-label="Frame"', page)
    return re.sub(r"(input\[type=range\]\.anim-slider \{\s*)width: \d+px;", r"\1width: min(100%, 374px);", page)


def icon(name: str) -> str:
    return f'<svg viewBox="0 0 16 16" width="16" height="16" fill="currentColor" aria-hidden="true"><path d="{ICONS.get(name, "")}"/></svg>'


def named_media(page: str) -> str:
    """Films at their own size, loaded when they come near; every sound with a name."""
    page = re.sub(r'<video controls playsinline width="140"', '<video controls playsinline preload="metadata"', page)
    number = 0

    def sound(found) -> str:
        nonlocal number
        number += 1
        return found[0] if "aria-label" in found[1] else f'<audio controls preload="metadata" aria-label="Sound {number} of this page">'

    return re.sub(r"<audio\b([^>]*)>", sound, page)


def extent(text: str) -> tuple[bool, int]:
    """Is printed text a table, which is not broken into lines, and how long is its longest line?"""
    lines = text.splitlines()
    in_columns = sum(re.search(r"\S {2,}\S.*\S {2,}\S|[─|] ", line.strip()) is not None for line in lines)
    return len(lines) > 2 and in_columns * 2 > len(lines), max([len(line) for line in lines], default=1)


# ---------------------------------------------------------------- search


class Sections(HTMLParser):
    """The text of a page's <main>, cut at its headings: [(anchor, heading, text)].

    A formula is read once (not its TeX as well), and what was printed or drawn is left out.
    """

    SILENT = ("annotation", "script", "style", "svg", "nav", "summary", "button", "footer", "template")

    def __init__(self, silent_classes: tuple[str, ...] = ()):
        super().__init__(convert_charrefs=True)
        self.found: list[list[str]] = [["", "", ""]]
        self.silent_classes = silent_classes
        self.inside = self.heading = False
        self.quiet: list[str] = []
        self.section = ""

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        if tag == "main":
            self.inside = True
        if self.quiet or tag in self.SILENT or set((given.get("class") or "").split()) & set(self.silent_classes):
            if tag not in VOID:
                self.quiet.append(tag)
            return
        if tag == "section":
            self.section = given.get("id", "")
        if self.inside and tag in ("h1", "h2", "h3"):
            self.found.append([given.get("id") or self.section if tag != "h1" else "", "", ""])
            self.heading = True
        elif tag in SEPARATE:
            self.handle_data(" ")

    def handle_endtag(self, tag):
        if self.quiet:
            if tag == self.quiet[-1]:
                self.quiet.pop()
            return
        if tag == "main":
            self.inside = False
        if tag in ("h1", "h2", "h3"):
            self.heading = False
        elif tag in SEPARATE:
            self.handle_data(" ")

    def handle_data(self, data):
        if self.inside and not self.quiet:
            self.found[-1][1 if self.heading else 2] += data


VOID = ("area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr", "mspace")
SEPARATE = ("p", "div", "li", "td", "th", "tr", "pre", "br", "figcaption", "blockquote")


def sections_of(page: str) -> list[tuple[str, str, str]]:
    """(anchor, heading, text) of each section of a page, with the numbers that the page shows."""
    parser = Sections(("output", "cell-output-stdout", "cell-output-stderr", "to-solution", "no-search"))
    parser.feed(page)
    return [(anchor, squeezed(heading), squeezed(text)) for anchor, heading, text in parser.found if squeezed(heading + text)]


def squeezed(text: str) -> str:
    return " ".join(text.replace("\u2061", "").split())


def search_entries(page: str, href: str, title: str = "") -> list[dict[str, str]]:
    """The page's entries as Quarto's search reads them."""
    entries = []
    for anchor, heading, text in sections_of(page):
        title = title or heading
        where = f"{href}#{anchor}" if anchor else href
        section = heading if anchor else ""
        entries.append({"objectID": where, "href": where, "title": title, "section": section, "text": text})
    return entries


def words_of(fragment: str) -> str:
    """HTML as words: a heading for a <title>, a promise for a description."""
    fragment = re.sub(r"<annotation\b.*?</annotation>", "", fragment, flags=re.S)
    return squeezed(html.unescape(re.sub(r"<[^>]*>", "", fragment)))
