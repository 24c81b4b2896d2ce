"""GaussianDiffusion refuses what it cannot do, by name."""

from types import SimpleNamespace

import pytest
import torch

from vqdiff_edu.diffusion.parameterization import GaussianDiffusion
from vqdiff_edu.diffusion.schedule import NoiseSchedule

SCHEDULE = NoiseSchedule.cosine(50)
BENT = SCHEDULE.zero_terminal_snr()
X = torch.zeros(2, 1, 2, 2)


class TrainedOnEps:
    diffusion = SimpleNamespace(objective="eps")

    def __call__(self, x, t):
        return x


@pytest.mark.parametrize(
    ("schedule", "options", "error", "words"),
    [
        ("linear", {}, TypeError, "schedule must be a NoiseSchedule.*got str"),
        (SCHEDULE, {"objective": "noise"}, ValueError, "objective must be one of 'eps', 'x0', 'v'"),
        (SCHEDULE, {"loss_weight": "snr"}, ValueError, "loss_weight must be one of"),
        (SCHEDULE, {"variance": "learned"}, ValueError, "variance must be one of"),
        (SCHEDULE, {"clip_range": (1, -1)}, ValueError, "clip_range must be"),
        (SCHEDULE, {"clip_range": ("a", "b")}, TypeError, "clip_range must be"),
        (SCHEDULE, {"clip_range": (0, 1, 2)}, TypeError, "clip_range must be"),
        (SCHEDULE, {"clip_range": 1.0}, TypeError, "clip_range must be"),
        (BENT, {"objective": "eps"}, ValueError, "objective 'eps' needs a last SNR above zero"),
        (BENT, {"objective": "v", "loss_weight": "min_snr"}, ValueError, "loss_weight 'min_snr' needs a last SNR above zero"),
        (BENT, {"objective": "x0", "loss_weight": "min_snr"}, ValueError, "loss_weight 'min_snr' needs a last SNR above zero"),
    ],
)
def test_a_diffusion_that_cannot_be(schedule, options, error, words):
    with pytest.raises(error, match=f"^{words}"):
        GaussianDiffusion(schedule, **options)


@pytest.mark.parametrize(
    ("model", "t", "guidance", "error", "words"),
    [
        (TrainedOnEps(), 3, {}, ValueError, "model was trained to predict 'eps'"),
        (lambda x, t: x, 3, {"guidance_scale": 2.0}, ValueError, "uncond is needed at guidance_scale 2.0"),
        (lambda x, t: x, 3, {"guidance_scale": float("nan"), "uncond": {}}, ValueError, "guidance_scale must be a finite number"),
        (lambda x, t: x, 3, {"guidance_scale": float("inf"), "uncond": {}}, ValueError, "guidance_scale must be a finite number"),
        (lambda x, t: x, 3, {"guidance_interval": 5}, TypeError, "guidance_interval must be"),
        (lambda x, t: x, 3, {"guidance_interval": (8, 5)}, ValueError, "guidance_interval must be"),
        (lambda x, t: x, -1, {}, ValueError, "t must be a whole number in 0 … 49"),
        (lambda x, t: x, 50, {}, ValueError, "t must be a whole number in 0 … 49"),
        (lambda x, t: x, 3.5, {}, TypeError, "t must be a whole number"),
    ],
)
def test_a_question_that_has_no_answer(model, t, guidance, error, words):
    with pytest.raises(error, match=f"^{words}"):
        GaussianDiffusion(SCHEDULE, "v").predict(model, X, t, **guidance)


@pytest.mark.parametrize("rows", [lambda x: x[:, :, :1], lambda x: x[:1]])
def test_an_output_of_another_size_is_an_error_and_is_not_stretched(rows):
    diffusion, model = GaussianDiffusion(SCHEDULE), lambda x, t: rows(x)
    with pytest.raises(RuntimeError, match="shape.* is invalid for input of size"):
        diffusion.predict(model, X, 3)
    with pytest.raises(RuntimeError, match="shape.* is invalid for input of size"):
        diffusion.training_losses(model, X, torch.tensor([3, 4]))


def test_bytes_are_no_noise():
    with pytest.raises(RuntimeError):
        GaussianDiffusion(SCHEDULE).training_losses(lambda x, t: x, X.byte(), torch.tensor([3, 4]))
