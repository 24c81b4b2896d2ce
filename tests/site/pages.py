"""What the pages on disk say of themselves, read without a browser: links, anchors, what is loaded, and their weight."""

import re
from functools import cached_property
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADING = {
    "img": "src",
    "script": "src",
    "video": "src",
    "audio": "src",
    "source": "src",
    "iframe": "src",
    "embed": "src",
    "object": "data",
}


class Reader(HTMLParser):
    """Ids, links and loaded files of a page."""

    def __init__(self):
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.loads: list[str] = []
        self.lazy: list[str] = []

    def handle_starttag(self, tag, attributes):
        given = {name: value or "" for name, value in attributes}
        if "id" in given:
            self.ids.append(given["id"])
        if tag in ("a", "area") and "href" in given:
            self.links.append(given["href"])
        loaded = given.get(LOADING.get(tag, ""))
        if tag == "link" and given.get("rel") in ("stylesheet", "icon", "preload", "modulepreload"):
            loaded = given.get("href")
        if loaded and not loaded.startswith("data:"):
            (self.lazy if given.get("loading") == "lazy" or tag in ("video", "audio", "source") else self.loads).append(loaded)


class Page:
    def __init__(self, path: Path, site: Path, base: str = ""):
        self.path, self.site, self.base = path, site, base

    @property
    def name(self) -> str:
        return self.path.relative_to(self.site).as_posix()

    @cached_property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def reader(self) -> Reader:
        reader = Reader()
        reader.feed(self.text)
        return reader

    def file(self, link: str) -> Path:
        """The file that a link of this page means; an absolute one begins at the site's address."""
        path = unquote(urlsplit(link).path)
        if path.startswith("/"):
            return self.site / path.removeprefix(self.base).lstrip("/")
        return (self.path.parent / path).resolve() if path else self.path

    def weight(self) -> int:
        """Bytes that come when the page is opened and read to its end, films and sounds apart."""
        files = {
            self.file(link)
            for link in [*self.reader.loads, *(link for link in self.reader.lazy if link.endswith((".png", ".webp", ".jpg", ".gif")))]
        }
        if "<math" in self.text:
            files.add(self.site / "site" / "math.woff2")
        return self.path.stat().st_size + sum(file.stat().st_size for file in files if file.exists())


def outside(link: str) -> bool:
    return bool(re.match(r"[a-z][\w+.-]*:|//", link))


def link_problems(page: Page, pages: dict[Path, Page]) -> list[str]:
    """Links and anchors of a page that lead nowhere; ids that are given twice."""
    problems = [f"the id {id} stands there twice" for id in sorted({i for i in page.reader.ids if page.reader.ids.count(i) > 1})]
    for link in sorted({*page.reader.links, *page.reader.loads, *page.reader.lazy}):
        if outside(link):
            continue
        file, anchor = page.file(link), unquote(urlsplit(link).fragment)
        if not file.exists():
            problems.append(f"{link} leads to nothing")
        elif anchor and file.suffix == ".html" and anchor not in pages[file.resolve()].reader.ids:
            problems.append(f"{link}: no such place on that page")
    return problems
