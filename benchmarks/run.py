"""The vector quantizer beside its peers: forward and backward in training mode, same data, same machine, turn by turn.

Each repeat times every contender once, in a new order, so that whatever else the machine does falls on all alike; what is reported is
the median over repeats of the ratio within a repeat.  Peers get their input in their own preferred layout.  Start-up and revival of codes
are off for all.  On a CPU the result goes to results/bench.json with the versions; `python -m benchmarks cuda` measures on a GPU, waits for it before
and after each turn, and prints.  `python -m benchmarks fsq` measures finite scalar quantization alone, which both measure after the vector quantizer.
"""

import json
import platform
import random
import statistics
import sys
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import torch
from torch import Tensor, nn

from vqdiff_edu.quantization.quantizers import FSQ
from vqdiff_edu.quantization.vector_quantizer import VectorQuantizer

RESULT = Path(__file__).resolve().parent.parent / "results" / "bench.json"
BATCH, DIM, SIDE, K, DECAY, WEIGHT = 256, 64, 7, 512, 0.99, 0.25
THREADS, WARM_UP, REPEATS = 2, 3, 20
LEVELS = [8, 8, 8]  # 512 codes as well
LEAST = {"cpu": 2.5, "cuda": 1.5}  # how many times our time the first peer must take
LEAST_FSQ = 1.2
PACKAGES = ("torch", "vector-quantize-pytorch", "diffusers")

Step = Callable[[], Tensor]


def step_of(x: Tensor, quantize: Callable[[Tensor], tuple[Tensor, Tensor]]) -> Step:
    """A training step's worth of work: quantize, and go back to the encoder's output. Returns its gradient."""

    def step() -> Tensor:
        leaf = x.clone().requires_grad_()
        z_q, loss = quantize(leaf)
        (z_q.square().mean() + loss.sum()).backward()
        return leaf.grad

    return step


def ours(z: Tensor, codebook: Tensor) -> Step:
    quantizer = VectorQuantizer(K, DIM, commitment_cost=WEIGHT, ema_decay=DECAY, kmeans_init=False, revive_below=0.0)
    quantizer.codebook.copy_(codebook)
    quantizer.total.copy_(codebook)
    quantizer.to(z.device)

    def quantize(leaf: Tensor) -> tuple[Tensor, Tensor]:
        out = quantizer(leaf)
        return out.z_q, out.loss

    return step_of(z, quantize)


def lucidrains(z: Tensor, codebook: Tensor) -> Step:
    """vector-quantize-pytorch, straight-through, channel last."""
    from vector_quantize_pytorch import VectorQuantize

    options = dict(kmeans_init=False, threshold_ema_dead_code=0, rotation_trick=False)
    peer = VectorQuantize(DIM, K, decay=DECAY, commitment_weight=WEIGHT, **options)
    peer._codebook.embed.data.copy_(codebook[None])
    peer._codebook.embed_avg.data.copy_(codebook[None])
    peer.to(z.device)

    def quantize(leaf: Tensor) -> tuple[Tensor, Tensor]:
        z_q, _, loss = peer(leaf)
        return z_q, loss

    return step_of(z.flatten(2).transpose(1, 2).contiguous(), quantize)


def diffusers(z: Tensor, codebook: Tensor) -> Step:
    """diffusers' quantizer: channel second, codebook by gradient, so no running means (its optimizer's step is not counted)."""
    from diffusers.models.autoencoders.vae import VectorQuantizer as Peer

    peer = Peer(K, DIM, beta=WEIGHT, legacy=False)
    peer.to(z.device)
    nn.init.zeros_(peer.embedding.weight).data.add_(codebook)

    def quantize(leaf: Tensor) -> tuple[Tensor, Tensor]:
        peer.embedding.weight.grad = None
        z_q, loss, _ = peer(leaf)
        return z_q, loss

    return step_of(z, quantize)


def fsq_ours(z: Tensor) -> Step:
    quantizer = FSQ(LEVELS).to(z.device)

    def quantize(leaf: Tensor) -> tuple[Tensor, Tensor]:
        out = quantizer(leaf)
        return out.z_q, out.loss

    return step_of(z, quantize)


def fsq_lucidrains(z: Tensor) -> Step:
    """vector-quantize-pytorch's, channel last, with symmetric levels as ours; it computes no perplexity."""
    from vector_quantize_pytorch import FSQ as Peer

    peer = Peer(LEVELS, preserve_symmetry=True).to(z.device)

    def quantize(leaf: Tensor) -> tuple[Tensor, Tensor]:
        z_q, _ = peer(leaf)
        return z_q, z_q.new_zeros(())

    return step_of(z.flatten(2).transpose(1, 2).contiguous(), quantize)


def measure(steps: dict[str, Step], wait: Callable[[], None]) -> dict[str, list[float]]:
    """Seconds of every contender in every repeat, in turns; `wait` until the device has done its work."""
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    order = list(steps)
    for repeat in range(WARM_UP + REPEATS):
        random.Random(repeat).shuffle(order)
        for name in order:
            wait()
            started = time.perf_counter()
            steps[name]()
            wait()
            if repeat >= WARM_UP:
                seconds[name].append(time.perf_counter() - started)
    return seconds


def report(seconds: dict[str, list[float]]) -> dict:
    """Medians, and each peer's time over ours within the same repeat."""
    mine, found = seconds["vqdiff_edu"], {}
    for name, values in seconds.items():
        ratios = sorted(value / base for value, base in zip(values, mine))
        low, high = ratios[len(ratios) // 10], ratios[-1 - len(ratios) // 10]
        median = {"milliseconds": round(1000 * statistics.median(values), 2), "ratio": round(statistics.median(ratios), 3)}
        found[name] = median | {"ratio_10_90": [round(low, 3), round(high, 3)]}
    return found


def agree(steps: dict[str, Step]) -> None:
    """Do all contenders compute the same thing? The largest difference of the encoder's gradient, channel last, before any update counts."""
    grads = {name: step() for name, step in steps.items()}
    flat = {name: (g.movedim(1, -1).flatten(0, -2) if g.ndim == 4 else g.flatten(0, 1)) for name, g in grads.items()}
    if (apart := max((g - flat["vqdiff_edu"]).abs().max().item() for g in flat.values())) > 1e-6:
        raise SystemExit(f"the contenders do not compute the same gradient (they differ by {apart:.2g}): nothing to compare")


def contest(title: str, steps: dict[str, Step], least: float, device: str) -> tuple[dict, bool]:
    """Measure and print one table; the numbers, and whether the first peer takes `least` times as long as we do."""
    agree(steps)
    found = report(measure(steps, torch.cuda.synchronize if device == "cuda" else lambda: None))
    where = torch.cuda.get_device_name() if device == "cuda" else f"{THREADS} threads"
    print(f"{title}, forward and backward, {where}, {REPEATS} repeats in turns")
    for name, row in found.items():
        print(f"  {name:26} {row['milliseconds']:8.2f} ms   {row['ratio']:5.2f} times ours (10-90 %: {row['ratio_10_90']})")
    ratio = found["vector-quantize-pytorch"]["ratio"]
    print(f"vector-quantize-pytorch takes {ratio:.2f} times as long; asked for: at least {least}: {'yes' if ratio >= least else 'NO'}")
    return found, ratio >= least


def main() -> None:
    torch.set_num_threads(THREADS)
    asked = sys.argv[1:]
    generator, device = torch.Generator().manual_seed(0), "cuda" if "cuda" in asked else "cpu"
    z, codebook = torch.randn(BATCH, DIM, SIDE, SIDE, generator=generator), torch.randn(K, DIM, generator=generator)
    z, codebook = z.to(device), codebook.to(device)
    stored, fine = json.loads(RESULT.read_text()) if RESULT.exists() else {}, []
    if "fsq" not in asked:
        contenders = {"vqdiff_edu": ours, "vector-quantize-pytorch": lucidrains, "diffusers": diffusers}
        steps = {name: make(z, codebook) for name, make in contenders.items()}
        times, ok = contest(f"VectorQuantizer, [{BATCH}, {DIM}, {SIDE}, {SIDE}], K = {K}", steps, LEAST[device], device)
        case = {"shape": [BATCH, DIM, SIDE, SIDE], "num_embeddings": K, "ema_decay": DECAY, "commitment_cost": WEIGHT, "threads": THREADS}
        stored |= {"case": case | {"repeats": REPEATS}, "times": times}
        fine.append(ok)
    few = z[:, : len(LEVELS)].contiguous()
    steps = {"vqdiff_edu": fsq_ours(few), "vector-quantize-pytorch": fsq_lucidrains(few)}
    times, ok = contest(f"FSQ{LEVELS}, {list(few.shape)}", steps, LEAST_FSQ, device)
    stored |= {"fsq": {"shape": list(few.shape), "levels": LEVELS, "threads": THREADS, "repeats": REPEATS, "times": times}}
    if device == "cpu":
        stored |= {"versions": {"python": platform.python_version(), **{name: metadata.version(name) for name in PACKAGES}}}
        RESULT.write_text(json.dumps(stored, indent=1) + "\n")
        print(f"written to {RESULT.relative_to(RESULT.parent.parent)}")
    raise SystemExit(not all([*fine, ok]))


if __name__ == "__main__":
    main()
