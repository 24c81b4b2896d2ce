"""One contract for every process: a toy chain of letters is trained, guided and sampled by what was written for Gaussian noise."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vqdiff_edu.data import to_float
from vqdiff_edu.diffusion.parameterization import GaussianDiffusion
from vqdiff_edu.diffusion.samplers import sample
from vqdiff_edu.diffusion.schedule import NoiseSchedule
from vqdiff_edu.process import DiffusionTask, Process, guided, noise_like

LETTERS, MASK, T = 3, 3, 8


class Absorbing:
    """Letters 0, 1, 2 that are masked one by one: after step t = 0 … T - 1 each is masked with probability (t + 1) / T."""

    def draw_times(self, batch, *, generator=None, device=None):
        return torch.randint(T, (batch,), generator=generator, device=device)

    def corrupt(self, x_start, t, generator=None):
        u = torch.rand(x_start.shape, generator=generator)
        return torch.where(u < ((t + 1) / T)[:, None], MASK, x_start)

    def loss(self, model, x_start, t, *, cond=None, generator=None):
        x = self.corrupt(x_start, t, generator)
        logits = model(x, t, **(cond or {}))
        nats = F.cross_entropy(logits, x_start, reduction="none") * (x == MASK)
        return nats.mean(1), {"masked": (x == MASK).float().mean(1)}

    def denoiser(self, model, **guidance):
        return guided(model, **guidance)


class Letters(nn.Module):
    """Logits [batch, letter, place] of the letter at each place; label 2 stands for none."""

    def __init__(self):
        super().__init__()
        self.letter, self.label, self.out = nn.Embedding(LETTERS + 1, 16), nn.Embedding(3, 16), nn.Linear(16, LETTERS)
        self.place = nn.Parameter(0.1 * torch.randn(5, 16))

    def null_cond(self, batch):
        return {"label": torch.full((batch,), 2)}

    def forward(self, x, t, label):
        return self.out(F.silu(self.letter(x) + self.label(label)[:, None] + self.place)).movedim(2, 1)


def unmask(denoise, generator):
    """Ancestral sampling: of the masked places, a share (t - s) / (t + 1) is filled with what the network says."""

    def step(x, t, s):
        guess = torch.distributions.Categorical(logits=denoise(x, t).movedim(1, 2)).probs
        drawn = torch.multinomial(guess.flatten(0, 1), 1, generator=generator).view_as(x)
        now = torch.rand(x.shape, generator=generator) < (t - s) / (t + 1)
        return torch.where((x == MASK) & now, drawn, x)

    return step


def words(label):
    """The words of a language of two labels: "00000" and "12121"."""
    return torch.where(label[:, None] == 0, 0, torch.tensor([1, 2, 1, 2, 1]))


@pytest.fixture(scope="module")
def task():
    torch.manual_seed(0)
    task, g = DiffusionTask(Letters(), Absorbing(), key="letters"), torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(task.model.parameters(), 2e-2)
    for _ in range(300):
        label = torch.randint(2, (64,), generator=g)
        told = torch.where(torch.rand(64, generator=g) < 0.2, 2, label)
        loss, logs = task.loss({"letters": words(label), "label": told}, g)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert logs.keys() == {"masked"}
    return task


@pytest.mark.parametrize("process", [Absorbing(), GaussianDiffusion(NoiseSchedule.cosine(10))], ids=["absorbing", "Gaussian"])
def test_both_processes_keep_the_contract(process):
    assert isinstance(process, Process)


@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_the_loop_the_task_and_guidance_serve_a_chain_of_letters(task, scale):
    label, g = torch.arange(100) % 2, torch.Generator().manual_seed(1)
    denoise = task.process.denoiser(task.model.eval(), cond={"label": label}, guidance_scale=scale)
    with torch.no_grad():
        out = sample(unmask(denoise, g), torch.full((100, 5), MASK), range(T - 1, -1, -1))
    assert (out != MASK).all()
    assert (out == words(label)).all(1).float().mean() > 0.9


def test_guidance_of_letters_sharpens_the_logits(task):
    x, cond = torch.full((2, 5), MASK), {"label": torch.tensor([0, 1])}
    c, u, both = (
        task.process.denoiser(task.model, cond=what, guidance_scale=s)(x, 7)
        for what, s in ((cond, 1.0), (task.model.null_cond(2), 1.0), (cond, 2.5))
    )
    assert torch.allclose(both, u + 2.5 * (c - u), atol=1e-4)


class Recorder(nn.Module):
    """Says its label everywhere, and remembers the batches that it saw."""

    def __init__(self):
        super().__init__()
        self.batches = []

    def null_cond(self, batch):
        return {"label": torch.full((batch,), 10.0)}

    def forward(self, x, t, label):
        self.batches.append((len(x), t.tolist()))
        return label[:, None].expand_as(x)


@pytest.mark.parametrize(
    ("options", "batches", "expected"),
    [
        ({}, [(2, [5, 5])], [4.0, 6.0]),
        ({"guidance_scale": 3.0}, [(4, [5, 5, 5, 5])], [10 + 3 * (4 - 10.0), 10 + 3 * (6 - 10.0)]),
        ({"guidance_scale": 3.0, "uncond": {"label": torch.tensor([1.0, 2.0])}}, [(4, [5, 5, 5, 5])], [1 + 3 * 3.0, 2 + 3 * 4.0]),
    ],
)
@pytest.mark.parametrize("t", [5, torch.tensor(5), torch.tensor([5, 5])])
def test_both_conditions_go_through_the_network_in_one_batch(options, batches, expected, t):
    model, x = Recorder(), torch.zeros(2, 3)
    out = guided(model, cond={"label": torch.tensor([4.0, 6.0])}, **options)(x, t)
    assert model.batches == batches
    assert out[:, 0].tolist() == expected


@pytest.mark.parametrize(("t", "asked", "expected"), [(4, 2, 4.0), (5, 4, -8.0), (7.5, 4, -8.0), (8, 2, 4.0)])
def test_outside_its_interval_guidance_is_off_and_the_network_is_asked_once(t, asked, expected):
    model = Recorder()
    out = guided(model, cond={"label": torch.full((2,), 4.0)}, guidance_scale=3.0, guidance_interval=(5, 8))(torch.zeros(2, 3), t)
    assert [size for size, _ in model.batches] == [asked]
    assert out[:, 0].tolist() == [expected] * 2


def test_a_batch_of_times_is_guided_example_by_example():
    model, t = Recorder(), torch.tensor([4, 5, 7, 8])
    out = guided(model, cond={"label": torch.full((4,), 4.0)}, guidance_scale=3.0, guidance_interval=[5, 8])(torch.zeros(4, 3), t)
    assert out[:, 0].tolist() == [4.0, -8.0, -8.0, 4.0]


@pytest.mark.parametrize("interval", [(8, 5), (float("nan"), 5)])
def test_an_interval_that_is_none_is_refused(interval):
    with pytest.raises(ValueError, match="guidance_interval"):
        guided(Recorder(), cond={"label": torch.zeros(1)}, guidance_scale=2.0, guidance_interval=interval)


def test_conditions_of_different_names_are_asked_one_after_the_other():
    model = lambda x, t, label=None, frames=None: x + (0 if label is None else label[:, None]) + (0 if frames is None else frames)  # noqa: E731
    cond, uncond = {"label": torch.tensor([4.0, 6.0]), "frames": torch.ones(2, 3)}, {"frames": torch.ones(2, 3)}
    out = guided(model, cond=cond, uncond=uncond, guidance_scale=2.0)(torch.zeros(2, 3), 1)
    assert out[:, 0].tolist() == [9.0, 13.0]


def test_a_fraction_of_time_reaches_the_network_as_it_is():
    model = Recorder()
    guided(model, cond={"label": torch.zeros(2)})(torch.zeros(2, 3), 0.25)
    assert model.batches == [(2, [0.25, 0.25])]


class Listener(Process):
    """A process that notes what a task gives it."""

    def __init__(self):
        self.diffusion = GaussianDiffusion(NoiseSchedule.cosine(6))
        self.times, self.given = [], []

    def draw_times(self, batch, **source):
        return self.diffusion.draw_times(batch, **source)

    def loss(self, model, x_start, t, *, cond=None, generator=None):
        self.times.append(t)
        self.given.append((x_start, cond, noise_like(x_start, generator)))
        return t.float(), {"part": t.float()}


def test_every_step_is_drawn_equally_often_and_every_example_has_its_own():
    process, g = Listener(), torch.Generator().manual_seed(0)
    task = DiffusionTask(nn.Identity(), process)
    for _ in range(20):
        task.loss({"image": torch.zeros(300, 1, 1, 1)}, g)
    counts = torch.stack(process.times).flatten().bincount(minlength=6)
    assert len(counts) == 6  # T - 1 among them, and nothing beyond
    assert ((counts - 1000).abs() < 5 * (6000 * 1 / 6 * 5 / 6) ** 0.5).all()
    assert all(len(t.unique()) == 6 for t in process.times)


def test_a_task_draws_times_before_noise_from_the_generator_and_passes_the_label_on():
    process, images, labels = Listener(), torch.randint(256, (4, 1, 2, 2), dtype=torch.uint8), torch.arange(4)
    task, g = DiffusionTask(nn.Identity(), process), torch.Generator().manual_seed(3)
    loss, logs = task.loss({"image": images, "label": labels}, torch.Generator().manual_seed(3))
    t, noise = torch.randint(6, (4,), generator=g), torch.randn(images.shape, generator=g)
    assert torch.equal(process.times[0], t)
    x_start, cond, drawn = process.given[0]
    assert torch.equal(x_start, to_float(images))
    assert torch.equal(drawn, noise)
    assert torch.equal(cond["label"], labels)
    assert loss == logs["part"] == t.float().mean()


def test_a_task_takes_other_data_as_they_are_and_the_models_own_process():
    model = nn.Identity()
    model.diffusion = process = Listener()
    latents = torch.randn(3, 2)
    DiffusionTask(model, key="latent").loss({"latent": latents}, torch.Generator())
    assert torch.equal(process.given[0][0], latents)
    assert process.given[0][1] is None
