"""Run notebooks top to bottom and store what they print and draw.

    python scripts/execute.py                      every notebook, in reading order
    python scripts/execute.py nbs/1_groundwork/02_data.ipynb 26_mnist_ddpm
    python scripts/execute.py --out /tmp/copy …    leave the repository as it is

A cell marked `#| eval: false` is not run and keeps the outputs it had.  A run that
fails leaves the notebook as it was.  results/executed.json says, chapter by chapter,
which code ran, in which profile, on which data, how long and with which versions.
"""

import argparse
import fcntl
import hashlib
import json
import os
import platform
import re
import sys
import time
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError

ROOT = Path(__file__).resolve().parent.parent
NBS, PACKAGE, LEDGER = ROOT / "nbs", ROOT / "vqdiff_edu", ROOT / "results" / "executed.json"
REPORTED = ("torch", "torchvision", "numpy", "matplotlib")
WIDGET = "application/vnd.jupyter.widget-view+json"
PROGRESS = re.compile(r"\d+%\|.*\|")  # what tqdm draws
FIGURE_TEXT = re.compile(r"^#\|\s*(?:label|fig-cap|fig-alt):.*\n?", re.MULTILINE)
ASK_SOURCES = """
import json as _json, sys as _sys
_imported = getattr(_sys.modules.get("vqdiff_edu.data"), "SOURCES_USED", {})
print(_json.dumps({**_imported, **globals().get("SOURCES_USED", {})}))  # the data chapter has its own
"""


class Refused(Exception):
    """The outputs of this run must not be stored."""


# ---------------------------------------------------------------- which notebooks


def reading_order() -> list[Path]:
    """Every notebook of the book, parts and chapters in the order of their numbers."""
    hidden = ("_", ".")
    found = (p for p in NBS.rglob("*.ipynb") if not any(part.startswith(hidden) for part in p.relative_to(NBS).parts))
    return sorted(found)


def find(name: str) -> Path:
    """The notebook called `name`: a path, a file name, or the start of one, such as `02` or `26_mnist`."""
    path = Path(name)
    if path.suffix == ".ipynb" and path.exists():
        return path.resolve()
    matches = [p for p in reading_order() if p.stem == path.stem] or [p for p in reading_order() if p.stem.startswith(path.stem)]
    if len(matches) == 1:
        return matches[0]
    sys.exit(f"execute: {name!r} names {'no notebook' if not matches else [p.stem for p in matches]}; give a file under nbs/")


# ---------------------------------------------------------------- one run


def is_skipped(cell) -> bool:
    return cell.cell_type == "code" and re.search(r"^#\|\s*eval:\s*false", cell.source, re.MULTILINE | re.IGNORECASE) is not None


def run(path: Path, notebook, profile: str) -> tuple[dict[str, str], float]:
    """Execute `notebook` in the folder of `path`; return the data sources it used and the seconds it took."""
    os.environ.update(VQDIFF_PROFILE=profile, JUPYTER_PREFER_ENV_PATH="1", PYTHONPATH=str(ROOT))
    client = NotebookClient(notebook, kernel_name="python3", timeout=None, resources={"metadata": {"path": str(path.parent)}})
    client.extra_arguments = ["--log-level=ERROR"]
    question, started = nbformat.v4.new_code_cell(ASK_SOURCES), time.perf_counter()
    with client.setup_kernel():
        for index, cell in enumerate(notebook.cells):
            try:
                is_skipped(cell) or client.execute_cell(cell, index)
            except (CellExecutionError, DeadKernelError) as error:
                raise SystemExit(failure(path, index, cell, error)) from None
        seconds = time.perf_counter() - started
        notebook.cells.append(question)  # asked in the same kernel, then taken off the page
        client.execute_cell(question, len(notebook.cells) - 1)
        notebook.cells.pop()
    return json.loads(question.outputs[-1].text), seconds


def failure(path: Path, index: int, cell, error: Exception) -> str:
    """A message that shows the cell and the error, and nothing of our own machinery."""
    lines = [f"execute: {shown(path)} failed in cell {index}:", "", *("    " + line for line in cell.source.splitlines()), ""]
    trace = [line for output in cell.get("outputs", []) if output.output_type == "error" for line in output.traceback]
    return "\n".join([*lines, *(trace or [f"{type(error).__name__}: {error}"]), "", "The notebook on disk was not changed."])


def shown(path: Path) -> str:
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


# ---------------------------------------------------------------- what is stored


def tidy(notebook) -> None:
    """Leave in the notebook what `nbdev_clean` would leave, without progress bars, live widgets and this machine's paths."""
    from nbdev.clean import clean_nb

    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [kept for output in merged(cell.outputs) if (kept := tidy_output(output))]
    notebook.metadata.pop("widgets", None)
    clean_nb(notebook)


def merged(outputs: list) -> list:
    """Join neighbouring pieces of printed text, and put all that went to stderr in one piece at the end."""
    errors = [o for o in outputs if o.output_type == "stream" and o.name == "stderr"]
    joined = []
    for output in [o for o in outputs if o not in errors] + errors:
        last = joined[-1] if joined else None
        if last and output.output_type == last.output_type == "stream" and output.name == last.name:
            last.text += output.text
        else:
            joined.append(output)
    return joined


def tidy_output(output):
    if output.output_type == "stream":
        output.text = tidy_stream(output.text)
        return output if output.text.strip() else None
    return None if WIDGET in output.get("data", {}) else output


def tidy_stream(text: str) -> str:
    """Of a progress bar the last state only; paths relative to the repository."""
    lines = [line.rstrip("\r").rsplit("\r", 1)[-1] for line in text.replace("\x1b[A", "").split("\n")]
    drawn = [PROGRESS.search(line) is not None for line in lines]
    kept = [line for i, line in enumerate(lines) if not (drawn[i] and any(drawn[i + 1 :]))]
    text = re.sub(r"\S*/site-packages/", "", "\n".join(kept))
    text = re.sub(r"\S*/ipykernel_\d+/\d+\.py", "this cell", text)
    return text.replace(str(ROOT) + "/", "").replace(str(Path.home()), "~")


def sources_of(notebook) -> list[str]:
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


def cells_hash(sources: list[str]) -> str:
    """SHA-256 over code cells, without the lines that only name a figure or describe it."""
    return hashlib.sha256("\n\0".join(FIGURE_TEXT.sub("", source) for source in sources).encode()).hexdigest()


def modules_of(texts: list[str]) -> list[Path]:
    """The package's modules that these sources import, and those which they import in turn."""
    pattern = re.compile(r"(?:from|import)\s+(?:vqdiff_edu)?\.?([\w.]*)(?:\s+import\s+\(?([\w, ]+))?")
    found, queue = set(), list(texts)
    while queue:
        for module, names in pattern.findall(queue.pop()):
            for name in (module, *names.replace(",", " ").split()):
                path = PACKAGE / (name.replace(".", "/") + ".py")
                if name and path.exists() and path not in found:
                    found.add(path)
                    queue.append(path.read_text())
    return sorted(found)


def code_hash(notebook) -> str:
    """SHA-256 over the notebook's code cells and every module of the package that they reach."""
    texts = sources_of(notebook)
    digest = hashlib.sha256("\n\0".join(texts).encode())
    for path in modules_of(texts):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


def record(path: Path, notebook, profile: str, sources: dict[str, str], seconds: float) -> None:
    """Write the run's provenance to results/executed.json, beside the other chapters'."""
    entry = {
        "code_sha256": code_hash(notebook),
        "cells_sha256": cells_hash(sources_of(notebook)),
        "profile": profile,
        "data": sources,
        "seconds": round(seconds, 1),
        "date": time.strftime("%Y-%m-%d"),
        "versions": {"python": platform.python_version(), **{name: metadata.version(name) for name in REPORTED}},
    }
    with locked():
        ledger = json.loads(LEDGER.read_text()) if LEDGER.exists() else {}
        ledger[str(path.relative_to(NBS).with_suffix(""))] = entry
        write_atomically(LEDGER, json.dumps(ledger, indent=1, sort_keys=True) + "\n")


@contextmanager
def locked():
    """Two runs at once must not lose each other's entry."""
    with open(__file__) as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def write_atomically(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def execute(path: Path, profile: str, out: Path | None, allow_stand_in: bool) -> None:
    before = path.read_text(encoding="utf-8")
    notebook = nbformat.reads(before, as_version=4)
    sources, seconds = run(path, notebook, profile)
    if out is None and "stand-in" in sources.values() and not allow_stand_in:
        raise Refused(f"{shown(path)} ran on the stand-in, not on real data; nothing stored (--allow-standin stores it all the same)")
    tidy(notebook)
    target = path if out is None else out / (path.relative_to(NBS) if path.is_relative_to(NBS) else path.name)
    if out is None and path.read_text(encoding="utf-8") != before:
        raise Refused(f"{shown(path)} was edited while it ran; nothing stored, run it again")
    nb = json.loads(nbformat.writes(notebook))
    write_atomically(target, json.dumps(nb, sort_keys=True, indent=1, ensure_ascii=False) + "\n")
    if out is None:
        record(path, notebook, profile, sources, seconds)
    print(f"{shown(path)}: {seconds:.0f} s, profile {profile}, data {', '.join(sources.values()) or 'none'} -> {shown(target)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebook", nargs="*", help="files or chapter names; none: the whole book")
    parser.add_argument("--profile", choices=("smoke", "laptop", "gpu"), default=os.environ.get("VQDIFF_PROFILE") or "laptop")
    parser.add_argument("--out", type=Path, help="write the executed copies under this folder and leave the repository as it is")
    parser.add_argument("--allow-standin", action="store_true", help="store outputs that came from the stand-in data")
    args = parser.parse_args()
    if args.profile == "smoke" and args.out is None:
        sys.exit("execute: a smoke run claims nothing, so its outputs are not stored; give --out FOLDER, or --profile laptop")
    paths = [find(name) for name in args.notebook] or reading_order()
    out = args.out.resolve() if args.out else None
    for path in paths:
        try:
            execute(path, args.profile, out, args.allow_standin)
        except Refused as reason:
            sys.exit(f"execute: {reason}")


if __name__ == "__main__":
    main()
