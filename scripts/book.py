"""What `make book` does once the environment is there: run the tour on this machine, then make the pages, the EPUB and the PDF.

With Quarto on the PATH the book is rendered by Quarto (RENDERER=pandoc says otherwise), and what Quarto cannot render is an error.  Without Quarto
scripts/render.py makes the pages with pandoc.  Either way _docs/index.html is the page to open, _docs/tour/ holds what the tour computed here
and now, and _docs/live/ what runs inside the pages, as far as npm can be reached.
"""

import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import live

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "_docs"
TOUR = "nbs/1_groundwork/00_tour.ipynb"
PANDOC = "Made with pandoc, by scripts/render.py: the pages have everything but Quarto's previews of equations and citations."


def python(*command: str) -> int:
    return subprocess.run([sys.executable, *command], cwd=ROOT).returncode


def run_tour(folder: Path) -> tuple[Path, str]:
    """Execute the tour into `folder` and say on what data; the repository's copy stays as it is."""
    print("1. The tour, run on this machine", flush=True)
    command = [sys.executable, "scripts/execute.py", TOUR, "--profile", "laptop", "--out", str(folder)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit("The tour failed, see above; no page was made.")
    print(done.stdout, end="", flush=True)
    return folder / "1_groundwork" / "00_tour.ipynb", sources_of(done.stdout)


def pictures_of(notebook: Path, folder: Path) -> list[Path]:
    """Write every picture among the notebook's outputs to `folder`."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    outputs = [o for cell in json.loads(notebook.read_text())["cells"] for o in cell.get("outputs", [])]
    pictures = ["".join(o["data"]["image/png"]) for o in outputs if "image/png" in o.get("data", {})]
    paths = [folder / f"tour-{number}.png" for number in range(1, len(pictures) + 1)]
    for path, picture in zip(paths, pictures, strict=True):
        path.write_bytes(base64.b64decode(picture))
    return paths


def sources_of(printed: str) -> str:
    """A sentence on the data that execute.py reported."""
    if "data stand-in" in printed:
        return "The tour ran on the embedded STAND-IN digits: MNIST was not on this machine and could not be downloaded."
    return "The tour ran on real MNIST." if "data mnist" in printed else "The tour needed no data beyond what the package holds."


def render() -> bool:
    """The whole book to _docs/; False if it could not be rendered, or if something in it could not be resolved."""
    print("2. The pages", flush=True)
    if (quarto := shutil.which("quarto")) and os.environ.get("RENDERER") != "pandoc":
        env = {**os.environ, "QUARTO_PYTHON": sys.executable, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
        if status := subprocess.run([quarto, "render"], cwd=ROOT, env=env).returncode:
            print(f"Quarto failed with status {status}, see above; the pages are not complete.", flush=True)
        return python("scripts/render.py", "--beside") == 0 and status == 0
    print(PANDOC, flush=True)
    return python("scripts/render.py") == 0


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        tour, source = run_tour(Path(temporary))
        if os.environ.get("CI") and "STAND-IN" in source:
            sys.exit("The tour found no real data, and the book is not published without.")
        complete = render()
        pictures = pictures_of(tour, DOCS / "tour")
        complete = python("scripts/render.py", "--page", str(tour), str(DOCS / "tour" / "index.html")) == 0 and complete
    print("3. The book in one file", flush=True)
    complete = python("scripts/ebook.py") == 0 and complete
    print("4. What runs inside the pages", flush=True)
    inside = live.assemble(DOCS)
    print(f"\n{source}")
    print(f"Its {len(pictures)} pictures: {DOCS / 'tour'}")
    print(f"Its page:       {DOCS / 'tour' / 'index.html'}")
    print(inside)
    print(f"Open the book:  {DOCS / 'index.html'}, or `make read`: its live figures need a server, and that is one, on this machine alone")
    if not complete:
        sys.exit("The book is not complete, see above.")


if __name__ == "__main__":
    main()
