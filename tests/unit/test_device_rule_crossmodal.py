"""A graphics card is never kept waiting: no number is read back in a forward pass or a loss, networks are one graph, and all parts follow `.to`."""

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from vqdiff_edu.codes.latent import LatentUNet
from vqdiff_edu.crossmodal.audio import SpeechClassifier
from vqdiff_edu.crossmodal.caption import Captioner, CaptionTask, SceneCaptioner
from vqdiff_edu.crossmodal.scenes import SceneBatches, Tokenizer, draw_scenes
from vqdiff_edu.crossmodal.video import FEATURES, SpeechWriter, VideoTask, VideoUNet
from vqdiff_edu.crossmodal.writing import ring_times
from vqdiff_edu.data import digits, to_float
from vqdiff_edu.quantization.vector_quantizer import VectorQuantizer
from vqdiff_edu.quantization.vqvae import VQVAE
from vqdiff_edu.registry import load_pretrained
from vqdiff_edu.transformer import Transformer

STAND_IN = digits("test", "stand-in")
WORDS = Tokenizer()


class HostReads(TorchDispatchMode):
    """Counts the numbers that Python reads out of tensors."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += function is torch.ops.aten._local_scalar_dense.default
        return function(*args, **(kwargs or {}))


def host_reads(call):
    with HostReads() as reads:
        call()
    return reads.count


def small(source):
    sizes = {"width": 8, "dim": 8, "depth": 1, "num_embeddings": 9, "embedding_dim": 4}
    return Captioner(WORDS.num_tokens, source, **sizes)


def small_vqvae():
    return VQVAE(1, 16, VectorQuantizer(9, 4), blocks=0)


def film_model():
    return VideoUNet(LatentUNet(4, 16, 1, dim=4, embedding=16))


TOKENS = torch.randint(3, WORDS.num_tokens, (2, 7))
CODES, PICTURES = torch.zeros(2, 14, 14, dtype=torch.int64), torch.zeros(2, 1, 56, 56)
Z, STEPS, FRAMES, CLIP = torch.zeros(2, 3, 4, 7, 7), torch.tensor([1, 90]), torch.zeros(2, 3, FEATURES), torch.zeros(2, 10)
CALLS = {
    "transformer": lambda: (Transformer(60, 8, 1), (TOKENS,), {}),
    "transformer, cached": lambda: (Transformer(60, 8, 1), (TOKENS,), {"cache": {}}),
    "transformer, masked": lambda: (Transformer(60, 8, 1, causal=False), (TOKENS,), {"mask": TOKENS > 9}),
    "captioner of codes": lambda: (small("codes"), (CODES, TOKENS), {}),
    "captioner of patches": lambda: (small("patches"), (PICTURES, TOKENS), {}),
    "video network": lambda: (film_model(), (Z, STEPS, FRAMES, CLIP), {}),
    "video network without conditions": lambda: (film_model(), (Z, STEPS), {}),
}


def test_a_number_that_is_read_is_counted():
    assert host_reads(lambda: int(TOKENS.max())) == 1


@pytest.mark.parametrize("name", CALLS)
def test_no_forward_pass_reads_a_number_back(name):
    model, arguments, options = CALLS[name]()
    assert host_reads(lambda: model(*arguments, **options)) == 0


def test_the_loss_of_the_captioner_reads_no_number_back():
    task, batch = CaptionTask(SceneCaptioner(small("patches"))), SceneBatches(STAND_IN, 2, captions=2).at(0)
    assert host_reads(lambda: task.loss(batch, torch.Generator())[0].backward()) == 0


GRAPHS = """
import torch
import tests.unit.test_device_rule_crossmodal as m

for name, make in m.CALLS.items():
    model, arguments, options = make()
    if not options:
        torch._dynamo.reset()
        print(name, torch._dynamo.explain(model)(*arguments).graph_count)

film = m.film_model()
for p in film.parameters():
    torch.nn.init.normal_(p, std=0.1)
whole, half = film(m.Z + 1, m.STEPS), film(m.Z + 1, m.STEPS + 0.5)
print("float steps", int(torch.equal(film(m.Z + 1, m.STEPS.float()), whole) and not torch.equal(half, whole)))
"""


def test_the_loss_of_the_films_reads_no_number_back():
    task = VideoTask(SpeechWriter(film_model(), SpeechClassifier(), small_vqvae()), frames=3)
    images = STAND_IN.images[:2]
    starts, ends = ring_times(to_float(images))
    batch = {"image": images, "starts": starts, "ends": ends, "curve": torch.linspace(0.1, 1, 16).expand(2, 16)}
    batch |= {"samples": torch.randn(2, 4000), "length": torch.tensor([4000, 3000])}
    assert host_reads(lambda: task.loss(batch, torch.Generator())[0].backward()) == 0


def test_networks_compile_to_one_graph_and_take_steps_of_any_number():
    """In a process of its own: the shape checks of the other tests would break the graphs."""
    environment = os.environ | {"JAXTYPING_DISABLE": "1"}
    done = subprocess.run([sys.executable, "-c", GRAPHS], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    found = dict(line.rsplit(" ", 1) for line in done.stdout.splitlines())
    compiled = [name for name in CALLS if name not in ("transformer, cached", "transformer, masked")]
    assert found == dict.fromkeys([*compiled, "float steps"], "1")


def pipelines():
    writer = SpeechWriter(film_model(), SpeechClassifier(), small_vqvae())
    captioner = SceneCaptioner(small("codes"), small_vqvae())
    return {"captioner": captioner, "writer": writer, "captioner's task": CaptionTask(captioner), "writer's task": VideoTask(writer)}


@pytest.mark.parametrize("name", ["captioner", "writer", "captioner's task", "writer's task"])
def test_every_part_of_a_pipeline_and_of_its_task_follows(name):
    whole = pipelines()[name].to("meta")
    assert {x.device.type for x in (*whole.parameters(), *whole.buffers())} == {"meta"}
    parts = SimpleNamespace(**{part: getattr(whole, part) for part in ("model", "vqvae", "classifier") if hasattr(whole, part)})
    for part in vars(parts).values():
        assert {x.device.type for x in (*part.parameters(), *part.buffers())} == {"meta"}


@pytest.mark.parametrize(("name", "companions"), [("scene-captioner", ["vqvae"]), ("writing-video", ["classifier", "vqvae"])])
def test_a_shipped_pipeline_hides_nothing(name, companions):
    whole = load_pretrained(name).to("meta")
    for part in ("model", *companions):
        assert all(x.device.type == "meta" for x in (*getattr(whole, part).parameters(), *getattr(whole, part).buffers()))


def test_scenes_are_rendered_on_a_device_without_a_look_at_what_is_there():
    """On the meta device there are no numbers to look at; what is drawn must not depend on them."""
    there, here = (draw_scenes(20, STAND_IN, torch.Generator().manual_seed(1), device=device) for device in ("meta", None))
    assert there.images.device.type == "meta"
    assert there.images.shape == here.images.shape
    assert there.captions == here.captions
    assert torch.equal(there.boxes, here.boxes)


def test_batches_of_scenes_are_made_on_their_device():
    batch = SceneBatches(STAND_IN, 3, captions=2, device="meta").at(0)
    assert {name: (x.device.type, *x.shape) for name, x in batch.items()} == {
        "image": ("meta", 3, 1, 56, 56),
        "tokens": ("meta", 3, 2, WORDS.length),
    }
