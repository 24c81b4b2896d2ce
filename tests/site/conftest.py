"""The whole book as pages, made once for all workers, and a Chromium to open them. What is missing is named, and the tests are skipped."""

import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from filelock import FileLock

import live
from bookdata import ROOT, Book

from .pages import Page

MINUTE = 60_000


def made(folder: Path) -> None:
    """What `make book` makes, but for the tour's run, the models of the live figures and the PDF; what it could not resolve is kept in `unresolved`."""
    unresolved = ""
    for command in (["scripts/render.py"], ["scripts/ebook.py", "--no-pdf"]):
        done = subprocess.run([sys.executable, *command, "--out", str(folder)], cwd=ROOT, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0 or "these could not be resolved" in done.stderr, done.stdout + done.stderr
        unresolved += done.stderr
    shutil.copytree(ROOT / "live", folder / "live", dirs_exist_ok=True)
    (folder / "unresolved").write_text(unresolved, encoding="utf-8")


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """The folder of the pages."""
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if "popen-gw" in base.name else base) / "book"  # the workers of pytest-xdist share a parent
    with FileLock(f"{shared}.lock"):
        if not (shared / "done").exists():
            shared.mkdir(exist_ok=True)
            made(shared)
            (shared / "done").touch()
    return shared.resolve()


@pytest.fixture(scope="session")
def pages(site):
    """Every page by its name below the site."""
    base = "/" + Book().settings["repo"]
    return {page.name: page for page in (Page(path, site, base) for path in sorted(site.rglob("*.html")))}


@pytest.fixture(scope="session")
def address(site):
    server = live.serve(site)
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()


@pytest.fixture
def visit(chromium, address):
    """visit("index.html", width=390, theme="dark") opens a page; `complaints` are what it said to the console or asked of others."""
    contexts = []

    def opened(name: str, width: int = 1280, theme: str = "light"):
        context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=theme)
        context.set_default_timeout(MINUTE)
        contexts.append(context)
        page, complaints = context.new_page(), []
        page.on("console", lambda message: message.type in ("error", "warning") and complaints.append(message.text))
        page.on("pageerror", lambda problem: complaints.append(str(problem)))
        page.on("request", lambda r: r.url.startswith((address, "data:", "blob:")) or complaints.append(f"asks for {r.url}"))
        page.goto(address + name)
        return SimpleNamespace(page=page, complaints=complaints, context=context)

    yield opened
    for context in contexts:
        context.close()
