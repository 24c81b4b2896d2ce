"""GaussianDiffusion refuses what it cannot do, by name."""

from types import SimpleNamespace

import pytest
import torch

from vqdiff_edu.diffusion.parameterization import GaussianDiffusion
from vqdiff_edu.diffusion.schedule import NoiseSchedule

SCHEDULE = NoiseSchedule.cosine(50)


@pytest.mark.parametrize(
    ("argument", "value"),
    [("objective", "noise"), ("loss_weight", "snr"), ("variance", "learned"), ("clip_range", (1, -1))],
)
def test_an_unknown_setting(argument, value):
    with pytest.raises(ValueError, match=argument):
        GaussianDiffusion(SCHEDULE, **{argument: value})


def test_eps_with_zero_terminal_snr():
    with pytest.raises(ValueError, match="'eps' needs a last SNR above zero"):
        GaussianDiffusion(SCHEDULE.zero_terminal_snr(), "eps")


def test_a_model_of_another_objective():
    class Model:
        diffusion = SimpleNamespace(objective="eps")

        def __call__(self, x, t):
            return x

    with pytest.raises(ValueError, match="trained to predict 'eps'"):
        GaussianDiffusion(SCHEDULE, "v").predict(Model(), torch.zeros(1, 1, 2, 2), 3)


def test_guidance_without_anything_to_guide_away_from():
    with pytest.raises(ValueError, match="guidance_scale"):
        GaussianDiffusion(SCHEDULE).predict(lambda x, t: x, torch.zeros(1, 1, 2, 2), 3, guidance_scale=2.0)


def test_a_network_that_returns_another_shape():
    with pytest.raises(ValueError, match="model must return"):
        GaussianDiffusion(SCHEDULE).predict(lambda x, t: x[:, :, :1], torch.zeros(1, 1, 2, 2), 3)


def test_noise_of_another_shape():
    with pytest.raises(ValueError, match="noise"):
        GaussianDiffusion(SCHEDULE).training_losses(lambda x, t: x, torch.zeros(2, 1, 2, 2), torch.tensor([1, 2]), torch.zeros(2, 1, 2, 1))


@pytest.mark.parametrize("t", [-1, 50])
def test_a_step_that_no_network_was_trained_on(t):
    with pytest.raises(ValueError, match="t must lie in"):
        GaussianDiffusion(SCHEDULE).predict(lambda x, t: x, torch.zeros(1, 1, 2, 2), t)
    with pytest.raises(ValueError, match="t must lie in"):
        GaussianDiffusion(SCHEDULE).training_losses(lambda x, t: x, torch.zeros(1, 1, 2, 2), torch.tensor([t]))


def test_training_a_network_whose_output_would_broadcast():
    with pytest.raises(ValueError, match="model must return"):
        GaussianDiffusion(SCHEDULE).training_losses(lambda x, t: x[:, :, :1], torch.zeros(1, 1, 2, 2), torch.tensor([3]))


def test_a_schedule_and_two_ends():
    with pytest.raises(TypeError, match="schedule must be a NoiseSchedule.*got str"):
        GaussianDiffusion("linear")
    for clip_range in (("a", "b"), (0, 1, 2), 1.0):
        with pytest.raises(ValueError, match="clip_range must be"):
            GaussianDiffusion(SCHEDULE, clip_range=clip_range)


@pytest.mark.parametrize("scale", [float("nan"), float("inf")])
def test_guidance_is_finite(scale):
    with pytest.raises(ValueError, match="guidance_scale must be a finite number"):
        GaussianDiffusion(SCHEDULE).predict(lambda x, t: x, torch.zeros(2, 1, 2, 2), 3, uncond={}, guidance_scale=scale)


def test_guidance_does_not_broadcast():
    model = lambda x, t, rows=4: x[:rows]  # noqa: E731
    with pytest.raises(ValueError, match="model must return the shape of x"):
        GaussianDiffusion(SCHEDULE).predict(model, torch.zeros(4, 1, 2, 2), 3, uncond={"rows": 1}, guidance_scale=2.0)
