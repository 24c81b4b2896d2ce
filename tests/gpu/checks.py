"""What is looked at on a GPU, as functions of the device, so that a CPU can run them too.

Run as a program, this file trains and kills itself: `python -m tests.gpu.checks NAME FOLDER STEP`.
"""

import dataclasses
import importlib.util
import inspect
import math
import os
import signal
import statistics
import subprocess
import sys
import time
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from tests.unit import test_golden as golden
from vqdiff_edu import load_pretrained
from vqdiff_edu.training import Run, begin, fit, train_step

ROOT = Path(__file__).resolve().parents[2]


def gpu_table():
    """scripts/gpu_table.py as a module."""
    if "script_gpu_table" not in sys.modules:
        spec = importlib.util.spec_from_file_location("script_gpu_table", ROOT / "scripts" / "gpu_table.py")
        sys.modules[spec.name] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules["script_gpu_table"]


def prepare(name: str, **changes):
    return gpu_table().prepare(name, **changes)


def load(name: str, device: str) -> nn.Module:
    """A shipped model with all its parts on a device."""
    if "device" in inspect.signature(load_pretrained).parameters:
        return load_pretrained(name, device=device)
    return load_pretrained(name).to(device)


def devices(model: nn.Module) -> set[str]:
    return {tensor.device.type for tensor in (*model.parameters(), *model.buffers())}


# ---------------------------------------------------------------- training


def trains(name: str, folder: Path, device: str, steps: int = 20) -> Run:
    """Train some steps by the recipe of the current profile; every loss must be finite, and the model on its device."""
    run = fit(*prepare(name, steps=steps, log_every=max(1, steps // 4)), folder)
    assert run.history[-1]["step"] == steps
    assert all(math.isfinite(entry["loss"]) and math.isfinite(entry["grad_norm"]) for entry in run.history)
    assert devices(run.model) == {device}
    return run


class Dying:
    """A task that sends SIGKILL to its own process at a loss of choice."""

    def __init__(self, task, step: int):
        self.task, self.model, self.left = task, task.model, step

    def loss(self, batch, generator):
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.task.loss(batch, generator)


def interruptible(name: str, steps: int):
    """What is trained, whole, killed and resumed: the recipe's, with a checkpoint every five steps and no compiler, which would take most of the time."""
    return prepare(name, steps=steps, log_every=5, checkpoint_every=5, compile=False)


def killed_and_resumed(name: str, folder: Path, steps: int = 20, kill: int = 13) -> tuple[Run, Run]:
    """A training without interruption, and one that was killed at a step and went on."""
    whole = fit(*interruptible(name, steps), folder / "whole")
    command = [sys.executable, "-m", "tests.gpu.checks", name, str(folder / "part"), str(steps), str(kill)]
    died = subprocess.run(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert died.returncode == -signal.SIGKILL, died.stderr[-3000:]
    return whole, fit(*interruptible(name, steps), folder / "part", resume=True)


def same_weights(a: Run, b: Run) -> bool:
    a, b = a.model.state_dict(), b.model.state_dict()
    return all(torch.equal(a[key], b[key]) for key in a)


# ---------------------------------------------------------------- answers


def exactly_float32():
    """No tf32 in products and convolutions from here on; gives back how it was."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    return before


def disagreement(name: str, device: str) -> dict[str, float]:
    """How far a model's answers on a device are from the CPU's: relative to the largest number; for whole numbers the share that differs."""
    before = exactly_float32()
    try:
        with torch.no_grad():
            here, there = (golden.NETWORKS[name](load(name, place), place) for place in ("cpu", device))
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before
    return {key: distance(here[key], there[key].cpu()) for key in here}


def distance(a: Tensor, b: Tensor) -> float:
    if a.is_floating_point():
        return ((a - b).abs().max() / a.abs().max()).item()
    return (a != b).double().mean().item()


@torch.no_grad()
def answer(name: str, device: str):
    """What a shipped model on a device says to its fixed inputs, in the end."""
    model = load(name, device)
    assert devices(model) == {device}
    generator = torch.Generator(device).manual_seed(0)
    if name in ("mnist-ddpm", "mnist-latent"):
        return model(torch.arange(20, device=device) % 10, generator=generator)
    if name == "scene-captioner":
        return model(golden.pictures(4, 56, 22).to(device))
    if name == "writing-video":
        return model(*(given.to(device) for given in golden.sounds(1, seed=24)), generator=generator)
    return next(iter(golden.NETWORKS[name](model, device).values()))


def labels_read(images: Tensor, device: str) -> float:
    """Share of digits, drawn for 0 … 9 in turn, in which the classifier reads what was asked for."""
    with torch.no_grad():
        return (load("digit-classifier", device)(images).argmax(1) == torch.arange(len(images), device=device) % 10).double().mean().item()


# ---------------------------------------------------------------- waiting


class Reads(TorchDispatchMode):
    """Counts the numbers that are read back from tensors, on any device."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


def waits(step, device: str) -> list[str]:
    """Where `step()` makes the host wait for the device, one entry a time; on a CPU, where nothing waits, one for every number that is read."""
    if device != "cuda":
        with Reads() as reads:
            step()
        return ["a number is read"] * reads.count
    torch.cuda.synchronize()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            step()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return [f"{Path(w.filename).name}:{w.lineno}" for w in caught if "called a synchronizing CUDA operation" in str(w.message)]


def refuses_to_wait(step) -> None:
    """Run `step()` where waiting is an error (CUDA only)."""
    torch.cuda.set_sync_debug_mode("error")
    try:
        step()
    finally:
        torch.cuda.set_sync_debug_mode("default")


def training_under_way(name: str, folder: Path, warm_up: int = 3, **changes):
    """A training after its first steps, in which codebooks find their place and compilers compile."""
    training = begin(*prepare(name, **changes), folder)
    for _ in range(warm_up):
        train_step(training)
    return training


# ---------------------------------------------------------------- speed


def quantizer_steps(device: str, shape=(256, 64, 7, 7), codes: int = 512) -> dict:
    """Forward and backward of our quantizer, and of vector-quantize-pytorch on the same numbers in the layout it likes."""
    from vector_quantize_pytorch import VectorQuantize

    from vqdiff_edu.quantization.vector_quantizer import VectorQuantizer

    z = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(device)
    rows = z.flatten(2).transpose(1, 2).contiguous()
    mine = VectorQuantizer(codes, shape[1], kmeans_init=False, revive_below=0.0).to(device)
    peer = VectorQuantize(shape[1], codes, decay=0.99, kmeans_init=False, threshold_ema_dead_code=0, rotation_trick=False).to(device)

    def ours() -> None:
        out = mine(leaf := z.clone().requires_grad_())
        (out.z_q.square().mean() + out.loss).backward()
        assert leaf.grad is not None

    def theirs() -> None:
        z_q, _, loss = peer(leaf := rows.clone().requires_grad_())
        (z_q.square().mean() + loss.sum()).backward()
        assert leaf.grad is not None

    return {"ours": ours, "theirs": theirs}


def ratio_of_times(slow, fast, device: str, repeats: int = 30, calls: int = 10, warm_up: int = 10) -> float:
    """How many times longer `slow` takes than `fast`: the median over repeats of turn by turn."""

    def seconds(work) -> float:
        gpu_table().wait(device)
        started = time.perf_counter()
        for _ in range(calls):
            work()
        gpu_table().wait(device)
        return time.perf_counter() - started

    for _ in range(warm_up):
        slow(), fast()
    return statistics.median(seconds(slow) / seconds(fast) for _ in range(repeats))


if __name__ == "__main__":
    name, folder, steps, kill = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    task, data, recipe = interruptible(name, steps)
    fit(Dying(task, kill), data, dataclasses.replace(recipe), folder)
