"""Two processes for a test: a test module is run as a program by torchrun, and leaves what each rank saw."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

ROOT = Path(__file__).resolve().parents[1]
needs_gloo = pytest.mark.skipif(
    not (dist.is_available() and dist.is_gloo_available()), reason="this torch has no gloo: training on two processes is NOT tested here"
)


def on_two_ranks(module: str, folder: Path) -> list:
    """What each rank left, after `module` has run as a program on two of them with `folder` as its argument."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--module", module, str(folder)]
    done = subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return [torch.load(folder / f"{rank}.pt") for rank in (0, 1)]


def leave(saw: dict, folder: Path) -> None:
    """In the program: write what this rank saw, and end with the other."""
    torch.save(saw, folder / f"{os.environ['RANK']}.pt")
    dist.barrier()  # a rank that leaves while the other is still talking would be taken for a crash
    dist.destroy_process_group()
