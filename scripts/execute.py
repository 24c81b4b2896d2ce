"""Run notebooks top to bottom and store what they print and draw.

    python scripts/execute.py                      every notebook, in reading order
    python scripts/execute.py nbs/1_groundwork/02_data.ipynb 26_mnist_ddpm
    python scripts/execute.py --stale              those whose outputs no longer belong to their code (--list only names them)
    python scripts/execute.py --out /tmp/copy …    leave the repository as it is

A cell marked `#| eval: false` is not run and keeps the outputs it had.  A run that fails leaves its notebook as it was, and the next one begins;
the failures are named at the end.  results/executed.json says, chapter by chapter, which code ran (see freshness.py), in which profile, on which
data, how long and with which versions.
"""

import argparse
import fcntl
import json
import os
import platform
import re
import sys
import time
from contextlib import contextmanager
from importlib import metadata
from itertools import groupby
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError

from bookdata import ROOT, Book, Notebook
from freshness import Package, chapter_hash, is_fresh

LEDGER = ROOT / "results" / "executed.json"
REPORTED = ("torch", "torchvision", "numpy", "matplotlib")
WIDGET = "application/vnd.jupyter.widget-view+json"
PROGRESS = re.compile(r"\d+%\|.*\|")  # what tqdm draws
ASK_SOURCES = """
import json as _json, sys as _sys
_imported = getattr(_sys.modules.get("vqdiff_edu.data"), "SOURCES_USED", {})
print(_json.dumps({**_imported, **globals().get("SOURCES_USED", {})}))  # the data chapter has its own
"""


class Refused(Exception):
    """The outputs of this run must not be stored."""


class Failed(Exception):
    """A cell raised an error; the message shows the cell and the error, and nothing of our own machinery."""


# ---------------------------------------------------------------- which notebooks


def find(name: str) -> Path:
    """The notebook called `name`: a path, a file name, or the start of one, such as `02` or `26_mnist`."""
    path, paths = Path(name), [nb.path for nb in Book(ROOT).notebooks]
    if path.suffix == ".ipynb" and path.exists():
        return path.resolve()
    matches = [p for p in paths if p.stem == path.stem] or [p for p in paths if p.stem.startswith(path.stem)]
    if len(matches) == 1:
        return matches[0]
    sys.exit(f"execute: {name!r} names {'no notebook' if not matches else [p.stem for p in matches]}; give a file under nbs/")


def ledger() -> dict:
    return json.loads(LEDGER.read_text(encoding="utf-8")) if LEDGER.exists() else {}


def stale() -> list[Path]:
    """The numbered notebooks whose stored outputs come from other code than today's, or that were never run."""
    entries, package = ledger(), Package(ROOT)
    return [nb.path for nb in Book(ROOT).notebooks if nb.number is not None and nb.runs and not is_fresh(nb, entries.get(nb.key), package)]


# ---------------------------------------------------------------- one run


def run(path: Path, notebook, profile: str) -> tuple[dict[str, str], float]:
    """Execute `notebook` in the folder of `path`; return the data sources it used and the seconds it took."""
    os.environ.update(VQDIFF_PROFILE=profile, JUPYTER_PREFER_ENV_PATH="1", PYTHONPATH=str(ROOT))
    for cell, read in zip(notebook.cells, Notebook(path, ROOT).cells, strict=True):
        if read.kind == "code" and not read.runs:
            cell.metadata["tags"] = ["skip-execution"]  # only here: the tag is not stored
    starts = []
    client = NotebookClient(
        notebook,
        kernel_name="python3",
        timeout=None,
        skip_cells_with_tag="skip-execution",
        on_cell_start=lambda cell, cell_index: starts.append((cell_index, time.perf_counter())),
        resources={"metadata": {"path": str(path.parent)}},
    )
    client.extra_arguments = ["--log-level=ERROR"]
    notebook.cells.append(nbformat.v4.new_code_cell(ASK_SOURCES))  # asked in the same kernel, then taken off the page
    try:
        client.execute()
    except (CellExecutionError, DeadKernelError) as error:
        raise Failed(failure(path, notebook, starts[-1][0], error)) from None
    question = notebook.cells.pop()
    return json.loads(question.outputs[-1].text), starts[-1][1] - starts[0][1]


def failure(path: Path, notebook, index: int, error: Exception) -> str:
    cell = notebook.cells[index]
    lines = [f"{shown(path)} failed in cell {index}:", "", *("    " + line for line in cell.source.splitlines()), ""]
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
            cell.metadata.pop("tags", None)
            cell.outputs = [kept for output in merged(cell.outputs) if (kept := tidy_output(output))]
    notebook.metadata.pop("widgets", None)
    clean_nb(notebook)


def merged(outputs: list) -> list:
    """Neighbouring pieces of printed text joined, and what went to stderr at the end.

    nbclient's `coalesce_streams` joins all pieces of a cell, and so moves a line that was printed under a picture above it.
    """
    joined = []
    for (kind, name), group in groupby(sorted(outputs, key=lambda o: o.get("name") == "stderr"), lambda o: (o.output_type, o.get("name"))):
        pieces = list(group)
        if kind == "stream":
            pieces = [nbformat.v4.new_output("stream", name=name, text="".join(piece.text for piece in pieces))]
        joined += pieces
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


def record(path: Path, profile: str, sources: dict[str, str], seconds: float) -> None:
    """Write the run's provenance to results/executed.json, beside the other chapters'."""
    nb = Notebook(path, ROOT)
    entry = {
        "code_sha256": chapter_hash(nb, Package(ROOT)),
        "profile": profile,
        "data": sources,
        "seconds": round(seconds, 1),
        "date": time.strftime("%Y-%m-%d"),
        "versions": {"python": platform.python_version(), **{name: metadata.version(name) for name in REPORTED}},
    }
    with locked():
        write_atomically(LEDGER, json.dumps({**ledger(), nb.key: entry}, indent=1, sort_keys=True) + "\n")


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
    nbs = ROOT / "nbs"
    target = path if out is None else out / (path.relative_to(nbs) if path.is_relative_to(nbs) else path.name)
    if out is None and path.read_text(encoding="utf-8") != before:
        raise Refused(f"{shown(path)} was edited while it ran; nothing stored, run it again")
    nb = json.loads(nbformat.writes(notebook))
    write_atomically(target, json.dumps(nb, sort_keys=True, indent=1, ensure_ascii=False) + "\n")
    if out is None:
        record(path, profile, sources, seconds)
    print(f"{shown(path)}: {seconds:.0f} s, profile {profile}, data {', '.join(sources.values()) or 'none'} -> {shown(target)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebook", nargs="*", help="files or chapter names; none: the whole book")
    parser.add_argument("--profile", choices=("smoke", "laptop", "gpu"), default=os.environ.get("VQDIFF_PROFILE") or "laptop")
    parser.add_argument("--stale", action="store_true", help="pass over what is fresh")
    parser.add_argument("--list", action="store_true", help="name the notebooks and run nothing")
    parser.add_argument("--out", type=Path, help="write the executed copies under this folder and leave the repository as it is")
    parser.add_argument("--allow-standin", action="store_true", help="store outputs that came from the stand-in data")
    args = parser.parse_args()
    paths = [find(name) for name in args.notebook] or [nb.path for nb in Book(ROOT).notebooks]
    if args.stale:
        wanted = set(stale())
        paths = [path for path in paths if path in wanted]
        print(f"{len(paths)} stale", flush=True)
    if args.list:
        return print("\n".join(map(shown, paths)))
    if args.profile == "smoke" and args.out is None:
        sys.exit("execute: a smoke run claims nothing, so its outputs are not stored; give --out FOLDER, or --profile laptop")
    failures = []
    for path in paths:
        try:
            execute(path, args.profile, args.out.resolve() if args.out else None, args.allow_standin)
        except (Failed, Refused) as reason:
            failures.append(path)
            print(f"execute: {reason}", file=sys.stderr, flush=True)
    if failures:
        sys.exit(f"execute: {len(failures)} of {len(paths)} not stored: {', '.join(path.stem for path in failures)}")


if __name__ == "__main__":
    main()
