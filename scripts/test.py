"""What `make test` runs once the environment is there: stages, their times, and what passed.

fidelity    the notebooks are clean and the package is what they export
style       ruff check, ruff format --check
notebooks   every chapter from top to bottom in the smoke profile
faults      pytest tests/faults: our own messages for bad input, so without the run-time shape checks
tests       pytest, the rest, every annotated shape checked at each call; tests/peers where the peers are installed
fast        pytest tests/unit and tests/faults without the shape checks, which is what `make test FAST=1` runs after the style
"""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
MINUTES = {"notebooks": 20, "tests": 20}  # a stage that takes longer than this hangs; the others: ten
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 2
WORKERS = str(max(2, min(CORES, 8)))  # of one thread each
WHOLE, FAST = ("fidelity", "style", "notebooks", "faults", "tests"), ("style", "fast")


def stages() -> dict[str, list[list[str]]]:
    pytest = [sys.executable, "-m", "pytest", "--no-header", "-n", WORKERS, "--dist", "worksteal"]
    return {
        "fidelity": [[sys.executable, "scripts/fidelity.py"]],
        "style": [[f"{BIN}/ruff", "check", "."], [f"{BIN}/ruff", "format", "--check", "--output-format", "concise", "."]],
        "notebooks": [[f"{BIN}/nbdev_test", "--n_workers", WORKERS, "--do_print", "--timing"]],
        "faults": [[*pytest, "tests/faults"]],
        "tests": [[*pytest, "tests", "--ignore", "tests/faults", "--ignore", "tests/gpu/test_gpu.py"]],
        "fast": [[*pytest, "tests/unit", "tests/faults"]],
    }


def environment(stage: str) -> dict[str, str]:
    """Small runs, one thread a worker, no figure windows; the rest of the caller's environment passes through."""
    env = {name: value for name, value in os.environ.items() if name not in ("IN_TEST", "JAXTYPING_DISABLE")}
    env.update(VQDIFF_PROFILE="smoke", OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", MPLBACKEND="agg", PYTHONUNBUFFERED="1")
    env["PATH"] = f"{BIN}{os.pathsep}{env.get('PATH', os.defpath)}"
    if env.get("VQDIFF_DATA"):
        env["VQDIFF_DATA"] = str(Path(env["VQDIFF_DATA"]).expanduser().resolve())  # notebooks run in their own folders
    if stage in ("faults", "fast"):
        env["JAXTYPING_DISABLE"] = "1"
    return env


def run(stage: str, command: list[str]) -> tuple[bool, list[str]]:
    """Run a command, show its output as it comes, and return whether it succeeded and its lines."""
    limit, started, lines = 60 * MINUTES.get(stage, 10), time.monotonic(), []
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment(stage), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    watchdog = subprocess.Popen([sys.executable, "-c", WATCHDOG, str(process.pid), str(limit)])
    for line in process.stdout:
        lines.append(line.rstrip())
        print(line, end="", flush=True)
    succeeded = process.wait() == 0
    watchdog.kill()
    if time.monotonic() - started > limit:
        lines.append(f"stopped after {limit // 60} minutes")
    return succeeded, lines


WATCHDOG = """
import os, signal, sys, time
time.sleep(int(sys.argv[2]))
os.killpg(int(sys.argv[1]), signal.SIGKILL)
"""


def running(lines: list[str]) -> list[str]:
    """The notebooks that were started and never completed: the ones to look at after a crash or a hang."""
    started = [m[1] for line in lines if (m := re.match(r"Starting (.*\.ipynb)", line))]
    completed = {m[1] for line in lines if (m := re.match(r"- Completed (.*\.ipynb)", line))}
    return [str(Path(name).relative_to(ROOT)) for name in started if name not in completed]


def what(stage: str, lines: list[str], succeeded: bool) -> str:
    """One line on what the stage showed."""
    if stage == "notebooks" and succeeded:
        return f"{sum(line.startswith('- Completed') for line in lines)} chapters ran"
    if stage == "notebooks" and (left := running(lines)):
        return "still running when it failed: " + ", ".join(left)
    if stage == "notebooks":
        return "failed: " + ", ".join(line.strip() for line in lines if re.fullmatch(r"\t\S+\.ipynb", line))
    return "ruff check and format" if stage == "style" else "".join(lines[-1:]).strip("= ")


def main() -> None:
    report, verdicts, all_passed, began = [], [], True, time.monotonic()
    chosen = FAST if sys.argv[1:] == ["--fast"] else tuple(sys.argv[1:]) or WHOLE
    if unknown := set(chosen) - stages().keys():
        sys.exit(f"test: no stage is called {', '.join(sorted(unknown))}; there are {', '.join(stages())}")
    for stage in chosen:
        print(f"\n---- {stage}", flush=True)
        started, succeeded, lines = time.monotonic(), True, []
        for command in stages()[stage]:
            ok, said = run(stage, command)
            succeeded, lines = succeeded and ok, lines + said
        all_passed = all_passed and succeeded
        verdicts += [line for line in lines if re.match(r"(FAILED|ERROR) |=+ .*(passed|failed|error|no tests ran).* =+$", line)]
        report.append((stage, succeeded, time.monotonic() - started, what(stage, lines, succeeded)))
    print(f"\n---- make test: {'passed' if all_passed else 'FAILED'} in {(time.monotonic() - began) / 60:.1f} minutes")
    for stage, succeeded, seconds, said in report:
        print(f"{'passed' if succeeded else 'FAILED'}  {stage:<10} {seconds:6.0f} s  {said}")
    for line in verdicts:
        print(line)
    sys.exit(not all_passed)


if __name__ == "__main__":
    main()
