"""The live figures: where they stand on a page, and what must lie beside the pages so that they run.

    python scripts/live.py [--out _docs]     put the figures, the models and the engine into _docs/live
    python scripts/live.py --read            serve the pages on this machine and open them
    python scripts/live.py --pictures        take the stored pictures of all figures anew, in Chromium

A chapter places a figure with a cell `<div class="live" data-figure="NAME">`, an empty line, what a reader sees there, an empty line, `</div>`.
In Jupyter and Colab it is that sentence; the pages get the stored picture above it, which live/live.js replaces by the figure itself.
Where npm cannot be reached, or `onnx` is missing, the pages say so: figures without a network run all the same, the others stay stored pictures.
"""

import argparse
import functools
import html
import json
import re
import shutil
import sys
import threading
import webbrowser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from bookdata import ROOT

LIVE = ROOT / "live"
BUILD = ROOT / "build" / "live"
PLACE = re.compile(r'^<div class="live" data-figure="([\w-]+)">\n\n(.*?)\n\n</div>$', re.MULTILINE | re.DOTALL)
FENCE = "`" * 12


# ---------------------------------------------------------------- on the page


def figures() -> dict[str, dict]:
    """All figures by name: the words for the picture, and the models that it runs."""
    return json.loads((LIVE / "figures.json").read_text(encoding="utf-8"))


def place(text: str, base: str = "../../live") -> str:
    """A markdown cell with its live figure as the pages have it; `base` leads from the page to the folder of the figures."""

    def change(found: re.Match) -> str:
        name, words = found[1], found[2].strip()
        if name not in figures():
            raise ValueError(f"there is no live figure called {name!r}; there are {', '.join(figures())}")
        alt = figures()[name]["alt"].replace("[", "(").replace("]", ")")
        still = f"![{alt}]({base}/pictures/{name}.png){{.live-still}}"
        load = f'<link rel="stylesheet" href="{base}/live.css" /><script type="module" src="{base}/live.js"></script>'
        load += f'<script src="{base}/file.js"></script>'
        return f'::: {{.live data-figure="{name}"}}\n{still}\\\n{words}\n:::\n\n{FENCE}{{=html}}\n{load}\n{FENCE}'

    return PLACE.sub(change, text)


# ---------------------------------------------------------------- beside the pages


def assemble(out: Path, build: Path = BUILD) -> str:
    """Copy the figures to out/live, with the models and the engine where they can be had; returns a sentence on what is there."""
    target = out / "live"
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(LIVE, target, ignore=shutil.ignore_patterns("tests", "*.md"))
    manifest, said = {"engine": None, "models": {}}, ""
    try:
        from filelock import FileLock

        import live_models

        build.mkdir(parents=True, exist_ok=True)
        with FileLock(build / ".lock"):
            engine, models = live_models.fetch_engine(build), live_models.export_models(build)
    except (ImportError, RuntimeError, OSError) as problem:
        said = f"The live figures that run a trained model stay stored pictures: {problem}"
    else:
        (target / "engine").mkdir()
        for path in [*engine.values(), *models.values()]:
            shutil.copy2(path, target / "engine" / path.name)
        names = dict(zip(("module", "glue", "wasm"), (path.name for path in engine.values())))
        manifest["engine"] = names | {"bytes": sum(path.stat().st_size for path in engine.values())}
        manifest["models"] = {name: {"file": path.name, "bytes": path.stat().st_size} for name, path in models.items()}
        size = sum(path.stat().st_size for path in models.values())
        said = f"The live figures run: {len(models)} networks of {size / 1e6:.1f} MB, and the engine of {manifest['engine']['bytes'] / 1e6:.1f} MB."
    (target / "manifest.js").write_text(f"export const MANIFEST = {json.dumps(manifest, indent=1)};\n", encoding="utf-8")
    return said


# ---------------------------------------------------------------- a page to try them on, and their pictures


def sheet(names: list[str], title: str = "Live figures") -> str:
    """A page that holds some figures and nothing else, in the looks of the preview."""
    style = (ROOT / "scripts" / "page.css").read_text(encoding="utf-8")
    bodies = "\n".join(
        f'<div class="live" data-figure="{name}"><p><img class="live-still" src="live/pictures/{name}.png" alt="{html.escape(figures()[name]["alt"])}">'
        f"<br>The figure <code>{name}</code>.</p></div>"
        for name in names
    )
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title><link rel="icon" href="data:,">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">'
        f'<style>{style} body{{display:block;max-width:50rem;margin:auto}}</style><link rel="stylesheet" href="live/live.css"></head>'
        f'<body><main>{bodies}</main><script type="module" src="live/live.js"></script><script src="live/file.js"></script></body></html>'
    )


class Handler(SimpleHTTPRequestHandler):
    """Files without a line of log for each."""

    extensions_map = {**SimpleHTTPRequestHandler.extensions_map, ".mjs": "text/javascript", ".gz": "application/octet-stream"}

    def log_message(self, *_) -> None:
        pass


def serve(folder: Path, port: int = 0) -> ThreadingHTTPServer:
    """A folder on a port of this machine, in a thread; `.server_address` says which."""
    server = ThreadingHTTPServer(("127.0.0.1", port), functools.partial(Handler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
FLAGS = "--headless --no-sandbox --disable-gpu --disable-background-networking --disable-component-update --disable-sync".split()


def chromium() -> str | None:
    """Where a Chromium is, if there is one."""
    return next(filter(None, map(shutil.which, CHROMIUM)), None)


def take_pictures(names: list[str]) -> None:
    """The first state of each figure as the picture that stands for it, without the controls, on white."""
    import tempfile

    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        site = Path(folder)
        shutil.copytree(LIVE, site / "live")
        (site / "index.html").write_text(sheet(names), encoding="utf-8")
        server = serve(site)
        browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        page = browser.new_page(viewport={"width": 760, "height": 900}, device_scale_factor=2, color_scheme="light")
        page.goto(f"http://127.0.0.1:{server.server_address[1]}/")
        hidden = ".live-controls, .live-asker, .live-keys, .live-time button, .live-said, .live-ask { display: none !important } .live { border: 0; background: none }"
        page.add_style_tag(content=hidden)
        for name in names:
            box = page.locator(f'.live[data-figure="{name}"]')
            box.scroll_into_view_if_needed()
            page.wait_for_selector(f'.live[data-figure="{name}"][data-state="awake"]')
            page.wait_for_timeout(300)
            path = LIVE / "pictures" / f"{name}.png"
            box.locator(".live-app").screenshot(path=path)
            squeeze(path)
            print(f"{path.relative_to(ROOT)}: {path.stat().st_size / 1000:.0f} kB")
        browser.close()
        server.shutdown()


def squeeze(path: Path) -> None:
    """A screenshot in 64 colours: a third of the size, and no eye sees it."""
    from PIL import Image

    Image.open(path).convert("RGB").quantize(64, dither=Image.Dither.NONE).save(path, optimize=True)


def read(folder: Path) -> None:
    """The pages in a browser, until the program is stopped."""
    if not (folder / "index.html").exists():
        sys.exit(f"there is no book in {folder}; `make book` makes it")
    server = serve(folder)
    address = f"http://127.0.0.1:{server.server_address[1]}/"
    print(f"The book is at {address} as long as this runs; Ctrl+C ends it.", flush=True)
    webbrowser.open(address)
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        server.shutdown()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "_docs")
    parser.add_argument("--pictures", nargs="*", metavar="NAME")
    parser.add_argument("--read", action="store_true", help="serve the pages in --out and open them, until it is stopped")
    args = parser.parse_args()
    if args.pictures is not None:
        take_pictures(args.pictures or list(figures()))
    elif args.read:
        read(args.out)
    else:
        print(assemble(args.out))


if __name__ == "__main__":
    main()
