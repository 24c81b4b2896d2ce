"""Nothing is read back from a device in a network, a loss or a sampler's step, and a network compiles to one graph.

A number that Python reads from a tensor (`int(t.min())`, `.item()`, `if tensor:`) goes through one operator, which is counted here on a CPU.
"""

import jaxtyping
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from vqdiff_edu.codes.latent import LatentUNet
from vqdiff_edu.diffusion.parameterization import GaussianDiffusion
from vqdiff_edu.diffusion.posterior import posterior_coefficients, q_posterior_mean_variance
from vqdiff_edu.diffusion.samplers import ddim, ddpm, dpmpp_2m, heun
from vqdiff_edu.diffusion.schedule import NoiseSchedule, q_sample
from vqdiff_edu.diffusion.unet import UNet
from vqdiff_edu.process import DiffusionTask

SCHEDULE = NoiseSchedule.cosine(100)
X, T, LABEL = torch.randn(2, 1, 8, 8), torch.tensor([3, 70]), torch.tensor([1, 2])


class Reads(TorchDispatchMode):
    """Counts the numbers that are read from tensors while it is on."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        self.count += "_local_scalar_dense" in str(operator) or str(operator).startswith("aten.item")
        return operator(*args, **(kwargs or {}))


def reads(run):
    with Reads() as mode:
        run()
    return mode.count


def unet():
    return UNet(1, (8, 16), 1, embedding=16), X


def latent_unet():
    return LatentUNet(3, 8, 1, dim=4, embedding=16), torch.randn(2, 3, 4, 4)


def test_a_read_is_counted():
    assert reads(lambda: int(T.min())) == 1
    assert reads(lambda: bool((T < 0).any())) == 1


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("make", [unet, latent_unet])
def test_a_network_reads_nothing_back(make, train):
    model, x = make()
    model.train(train)
    assert reads(lambda: model(x, T, LABEL)) == 0
    assert reads(lambda: model(x, T)) == 0


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("make", [unet, latent_unet])
def test_a_network_compiles_to_one_graph(make, train, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # the shape checks of a test run are no part of the network
    model, x = make()
    torch._dynamo.reset()
    found = torch._dynamo.explain(model.train(train))(x, T, LABEL)
    assert found.graph_count == 1
    assert found.graph_break_count == 0


@pytest.mark.parametrize("t", [T, torch.tensor(70)], ids=["a batch of times", "one time"])
@pytest.mark.parametrize(
    "run",
    [
        lambda t: SCHEDULE.alpha_bar(t),
        lambda t: q_sample(SCHEDULE, X, t, X),
        lambda t: posterior_coefficients(SCHEDULE, t),
        lambda t: posterior_coefficients(SCHEDULE, t, t - 2),
        lambda t: q_posterior_mean_variance(SCHEDULE, X, X, t),
    ],
)
def test_the_formulas_read_nothing_back(run, t):
    assert reads(lambda: run(t)) == 0


@pytest.mark.parametrize("loss_weight", ["simple", "min_snr"])
@pytest.mark.parametrize("objective", ["eps", "x0", "v"])
def test_a_training_step_reads_nothing_back(objective, loss_weight):
    diffusion, (model, x) = GaussianDiffusion(SCHEDULE, objective, loss_weight=loss_weight), unet()
    assert reads(lambda: diffusion.training_losses(model, x, T, cond={"label": LABEL})) == 0
    task, generator = DiffusionTask(model, diffusion), torch.Generator()
    batch = {"image": torch.zeros(2, 1, 8, 8, dtype=torch.uint8), "label": LABEL}
    assert reads(lambda: task.loss(batch, generator)[0].backward()) == 0


@pytest.mark.parametrize("scale", [1.0, 2.0])
@pytest.mark.parametrize("variance", ["small", "large"])
@pytest.mark.parametrize("method", [ddpm, ddim, dpmpp_2m, heun, lambda *args: ddim(*args, eta=0.5)])
@pytest.mark.parametrize(
    "times", [(70, 40, 5, -1), tuple(torch.full((2,), t) for t in (70, 40, 5)), tuple(torch.tensor(t) for t in (70, 40, 5))]
)
def test_a_samplers_step_reads_nothing_back(method, variance, scale, times):
    diffusion, (model, x) = GaussianDiffusion(SCHEDULE, variance=variance), unet()

    def walk():
        step, here = method(diffusion, diffusion.denoiser(model.eval(), cond={"label": LABEL}, guidance_scale=scale)), x
        for t, s in zip(times, times[1:]):
            here = step(here, t, s)

    with torch.no_grad():
        assert reads(walk) == 0


@pytest.mark.parametrize("method", [ddpm, ddim, dpmpp_2m, heun])
def test_everything_stays_on_the_device_of_the_data(method):
    """On the meta device nothing can be read at all, and nothing from elsewhere may meet it."""
    diffusion, (model, x) = GaussianDiffusion(SCHEDULE), unet()
    model, x, t = model.to("meta"), x.to("meta"), T.to("meta")
    loss, _ = diffusion.training_losses(model, x, t, cond={"label": LABEL.to("meta")})
    assert loss.device.type == "meta"
    step = method(diffusion, diffusion.denoiser(model, cond={"label": LABEL.to("meta")}, guidance_scale=2.0))
    assert step(x, 70, 40).device.type == "meta"
    assert step(x, t, t - 1).device.type == "meta"
