"""Are the notebooks clean, and is the package exactly what they export?

nbdev's and git's own commands, in a temporary copy, so that edits under way are neither lost nor mistaken for faults.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = f"{Path(sys.executable).parent}{os.pathsep}"
ENVIRONMENT = {
    k: v for k, v in os.environ.items() if k not in ("IN_TEST", "GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE")
}  # IN_TEST: no export
ENVIRONMENT |= {"PATH": BIN + os.environ.get("PATH", os.defpath), "PYTHONPATH": ""}


def copy_of_the_tree(folder: Path) -> None:
    """Every file that git tracks or would track, as it is now, in a repository of its own."""
    listed = subprocess.run("git ls-files -z --cached --others --exclude-standard".split(), cwd=ROOT, capture_output=True, check=True)
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    call(folder, "git init --quiet && git add --all --force")


def call(folder: Path, command: str) -> subprocess.CompletedProcess:
    return subprocess.run(command, shell=True, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        copy_of_the_tree(Path(folder))
        for command in ("nbdev_export", "nbdev_clean", "git diff --exit-code --stat"):
            done = call(Path(folder), command)
            if done.returncode:
                sys.exit(
                    f"{done.stdout}{done.stderr}\n{command} in a fresh copy of the tree: run nbdev_export and nbdev_clean (both in .venv/bin)"
                )
    print("the notebooks are clean, and the package is what they export")


if __name__ == "__main__":
    main()
