"""Examples a second in training on this GPU: `fit` in the gpu profile beside a tight loop by hand of the same network.

    python scripts/gpu_table.py                        measure the three, and store results/gpu.json
    python scripts/gpu_table.py --only mnist-ddpm      one of them; the others' rows stay
    python scripts/gpu_table.py --out /tmp/gpu.json    leave the repository as it is

A loop by hand draws its noise, goes forward and back, and steps AdamW; it loads no data, clips nothing, averages nothing and writes nothing down.
It is run in float32, in bfloat16 (autocast), compiled, and compiled with CUDA graphs.  One example is one picture; of a captioner one scene with all its
captions.  A way that does not run is stored with its reason instead of a number.
"""

import argparse
import dataclasses
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ROOT = Path(__file__).resolve().parent.parent
RESULT = ROOT / "results" / "gpu.json"
WARM_UP, STEPS, FIT_STEPS = 10, 100, 400
LOOPS = {
    "loop, fp32": {},
    "loop, bf16": {"bf16": True},
    "loop, bf16, compiled": {"bf16": True, "mode": "default"},
    "loop, bf16, CUDA graphs": {"bf16": True, "mode": "reduce-overhead"},
}
FITS = {"fit": {}, "fit, fp32, not compiled": {"precision": "no", "compile": False}}


# ---------------------------------------------------------------- what is trained


def entry_of(name: str):
    """A model's entry in the registry."""
    from vqdiff_edu import registry

    return (registry.find if hasattr(registry, "find") else registry.shipped)(name)


def prepare(name: str, **changes):
    """Task, batches and recipe of a model in the current profile, the recipe with changes; warm-up is cut to fit its steps."""
    from vqdiff_edu import load_pretrained
    from vqdiff_edu.training import seed_everything

    entry = entry_of(name)
    recipe = entry.recipe()
    steps = changes.get("steps", recipe.steps)
    recipe = dataclasses.replace(recipe, **{"warmup": min(recipe.warmup, steps // 10)} | changes)
    parents = [load_pretrained(parent) for parent in entry.parents]
    seed_everything(recipe.seed)
    model = entry.make(*parents, **(entry.arguments() if hasattr(entry, "arguments") else entry.sizes()))
    batches, _ = entry.batches(model, recipe)
    return entry.task(model), batches, recipe


# ---------------------------------------------------------------- loops by hand


def ddpm_loss(net: nn.Module, batch: dict[str, Tensor]) -> Callable[[], Tensor]:
    """The mean square in v, at random steps of the cosine schedule."""
    from vqdiff_edu.diffusion.schedule import NoiseSchedule

    x, label = batch["image"].float() / 127.5 - 1, batch["label"]
    share = NoiseSchedule.cosine(1000).alphas_cumprod.float().to(x.device)

    def loss() -> Tensor:
        t = torch.randint(1000, (len(x),), device=x.device)
        noise, ab = torch.randn_like(x), share[t][:, None, None, None]
        signal, rest = ab.sqrt(), (1 - ab).sqrt()
        return F.mse_loss(net(signal * x + rest * noise, t, label=label).float(), signal * noise - rest * x)

    return loss


def vqvae_loss(net: nn.Module, batch: dict[str, Tensor]) -> Callable[[], Tensor]:
    """The picture's error and the quantizer's loss."""
    x = batch["image"].float() / 127.5 - 1
    return lambda: net(x).loss


def captioner_loss(net: nn.Module, batch: dict[str, Tensor]) -> Callable[[], Tensor]:
    """Cross-entropy of the words of all captions, from codes at random: what they are does not change how long it takes."""
    tokens = batch["tokens"]
    captions = tokens.shape[1] if tokens.ndim == 3 else 1
    rows = tokens.flatten(0, -2)
    rows = rows[:, : int((rows != 0).sum(1).max())]
    codes = torch.randint(net.encoder.embedding.num_embeddings, (len(tokens), 14, 14), device=tokens.device)

    def loss() -> Tensor:
        context = net.encoder(codes).repeat_interleave(captions, 0)
        return F.cross_entropy(net.decoder(rows[:, :-1], context).float(), rows[:, 1:], ignore_index=0)

    return loss


LOSSES = {"mnist-ddpm": ddpm_loss, "mnist-vqvae": vqvae_loss, "scene-captioner": captioner_loss}


def wait(device: torch.device | str) -> None:
    """Until the device has done all that it was asked."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()


def loop_speed(name: str, device: str, *, bf16: bool = False, mode: str | None = None, steps: int = STEPS, warm_up: int = WARM_UP) -> float:
    """Examples a second of a loop by hand, on one batch that stays on the device."""
    task, data, recipe = prepare(name)
    batch = {key: value.to(device) for key, value in next(iter(data)).items()}
    net = task.model.to(device, memory_format=torch.channels_last if recipe.channels_last else torch.preserve_format).train()
    optimizer = torch.optim.AdamW(net.parameters(), lr=recipe.lr, betas=recipe.betas, fused=True)
    loss = LOSSES[name](net, batch)
    loss()  # a codebook finds its place here, outside of what is compiled
    run = loss if mode is None else torch.compile(loss, mode=mode)

    def step() -> None:
        torch.compiler.cudagraph_mark_step_begin()
        with torch.autocast(torch.device(device).type, torch.bfloat16) if bf16 else nullcontext():
            value = run()
        optimizer.zero_grad()
        value.backward()
        optimizer.step()

    for _ in range(warm_up):
        step()
    wait(device)
    started = time.perf_counter()
    for _ in range(steps):
        step()
    wait(device)
    return steps * recipe.batch_size / (time.perf_counter() - started)


def fit_speed(name: str, *, steps: int = FIT_STEPS, **changes) -> float:
    """Examples a second of `fit`: the median over the second half of its history."""
    from vqdiff_edu.training import fit

    with tempfile.TemporaryDirectory() as folder:
        task, data, recipe = prepare(name, steps=steps, log_every=max(1, steps // 20), checkpoint_every=steps, **changes)
        run = fit(task, data, recipe, folder)
    key = next(key for key in run.history[-1] if key.endswith("_per_second"))
    return statistics.median(entry[key] for entry in run.history[len(run.history) // 2 :])


# ---------------------------------------------------------------- the table


def measured(measure: Callable[[], float]) -> float | str:
    """A rounded number, or why there is none."""
    try:
        return round(measure(), 1)
    except Exception as error:  # whatever a compiler may say
        return f"{type(error).__name__}: {error}".splitlines()[0][:200]
    finally:
        torch._dynamo.reset()


def table(
    name: str, device: str, *, loops=LOOPS, fits=FITS, steps: int = STEPS, warm_up: int = WARM_UP, fit_steps: int = FIT_STEPS
) -> dict:
    """Examples a second in every way for one model, and the size of its network and batch."""
    task, _, recipe = prepare(name)
    rows = {way: measured(lambda how=how: fit_speed(name, steps=fit_steps, **how)) for way, how in fits.items()}
    rows |= {way: measured(lambda how=how: loop_speed(name, device, steps=steps, warm_up=warm_up, **how)) for way, how in loops.items()}
    return {"batch": recipe.batch_size, "parameters": sum(p.numel() for p in task.model.parameters()), "examples_per_second": rows}


def machine() -> dict:
    """Where the numbers come from."""
    return {
        "card": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "conv_tf32": torch.backends.cudnn.allow_tf32,
        "date": time.strftime("%Y-%m-%d"),
        "profile": os.environ["VQDIFF_PROFILE"],
    }


def as_lines(name: str, row: dict) -> str:
    speeds = row["examples_per_second"].items()
    return "\n".join(
        [f"{name}: {row['parameters']:,} parameters, batch {row['batch']}", *(f"  {way:<28} {speed:>12}" for way, speed in speeds)]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=sorted(LOSSES), help="one model; the others' rows stay")
    parser.add_argument("--out", type=Path, default=RESULT)
    given = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("gpu_table: torch sees no CUDA device here; nothing was measured and nothing written")
    os.environ["VQDIFF_PROFILE"] = "gpu"
    models = json.loads(given.out.read_text())["models"] if given.only and given.out.exists() else {}
    for name in [given.only] if given.only else LOSSES:
        models[name] = table(name, "cuda") | machine()
        print(as_lines(name, models[name]), flush=True)
    given.out.write_text(json.dumps({"models": models}, indent=1) + "\n")


if __name__ == "__main__":
    main()
