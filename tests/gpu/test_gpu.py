"""On a GPU, in the gpu profile: every recipe trains, devices agree, interruptions leave no trace, nobody waits, and how fast it goes."""

import importlib.util
import os

import pytest
import torch

from vqdiff_edu.weights import available

from . import checks

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device"),
    pytest.mark.skipif(
        os.environ.get("JAXTYPING_DISABLE", "").lower() not in ("1", "true"),
        reason="with shapes checked at every call nothing compiles whole: run `make gpu`, or JAXTYPING_DISABLE=1 pytest tests/gpu",
    ),
]
QUANTIZERS = ("mnist-vqvae", "scene-vqvae")  # in training they may look, once a step, whether a code is idle


@pytest.fixture(autouse=True)
def _gpu_profile(monkeypatch):
    monkeypatch.setenv("VQDIFF_PROFILE", "gpu")
    yield
    torch._dynamo.reset()


@pytest.mark.parametrize("name", available())
def test_every_recipe_trains_twenty_steps(name, tmp_path):
    checks.trains(name, tmp_path, "cuda")


@pytest.mark.parametrize("name", available())
def test_cpu_and_gpu_agree_in_float32(name):
    for key, far in checks.disagreement(name, "cuda").items():
        assert far <= (0 if key == "codes" else 1e-5), key


@pytest.mark.parametrize("name", available())
def test_a_shipped_model_answers_on_the_gpu(name):
    said = checks.answer(name, "cuda")
    if name == "scene-captioner":
        assert said == checks.golden.stored(name)["sentences"]
        return
    assert said.device.type == "cuda" and (not said.is_floating_point() or bool(said.isfinite().all()))
    if name in ("mnist-ddpm", "mnist-latent"):
        assert said.shape == (20, 1, 28, 28) and checks.labels_read(said, "cuda") >= 0.9
    if name == "writing-video":
        assert said.shape == (1, 16, 1, 28, 28) and said.abs().max() <= 1


def test_a_ddpm_that_was_killed_and_resumed_is_the_same_to_the_last_bit(tmp_path):
    whole, resumed = checks.killed_and_resumed("mnist-ddpm", tmp_path)
    assert checks.same_weights(whole, resumed)


def test_a_vqvae_that_was_killed_goes_on(tmp_path):
    """Not to the last bit: its codebook adds up vectors in whatever order they come, and two runs without interruption differ too."""
    whole, resumed = checks.killed_and_resumed("mnist-vqvae", tmp_path)
    assert [entry["step"] for entry in resumed.history] == [entry["step"] for entry in whole.history]
    assert resumed.history[-1]["loss"] == pytest.approx(whole.history[-1]["loss"], rel=0.1)


@pytest.mark.parametrize("name", sorted(set(available()) - set(QUANTIZERS)))
def test_a_training_step_never_waits_for_the_gpu(name, tmp_path):
    training = checks.training_under_way(name, tmp_path)
    for _ in range(3):
        assert checks.waits(lambda: checks.train_step(training), "cuda") == []
    checks.refuses_to_wait(lambda: checks.train_step(training))


@pytest.mark.parametrize("name", QUANTIZERS)
def test_a_vqvae_waits_only_to_revive_codes(name, tmp_path):
    training = checks.training_under_way(name, tmp_path, warm_up=20)
    for _ in range(3):
        places = checks.waits(lambda: checks.train_step(training), "cuda")
        assert all(place.startswith("vector_quantizer.py") for place in places), places


@pytest.mark.skipif(importlib.util.find_spec("vector_quantize_pytorch") is None, reason="needs vector-quantize-pytorch, of the peers extra")
def test_the_quantizer_is_half_as_fast_again_as_vector_quantize_pytorch():
    steps = checks.quantizer_steps("cuda")
    assert checks.ratio_of_times(steps["theirs"], steps["ours"], "cuda") >= 1.5


@pytest.fixture(scope="module")
def ddpm_speeds():
    """The table's row of mnist-ddpm, measured once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VQDIFF_PROFILE", "gpu")
        row = checks.gpu_table().table("mnist-ddpm", "cuda")
    print(checks.gpu_table().as_lines("mnist-ddpm", row | checks.gpu_table().machine()))
    return row["examples_per_second"]


def test_fit_keeps_up_with_a_compiled_loop_by_hand(ddpm_speeds):
    assert ddpm_speeds["fit"] >= 0.8 * ddpm_speeds["loop, bf16, compiled"], ddpm_speeds


def test_bfloat16_and_the_compiler_pay(ddpm_speeds):
    assert ddpm_speeds["fit"] >= 1.8 * ddpm_speeds["fit, fp32, not compiled"], ddpm_speeds
