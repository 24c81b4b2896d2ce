"""Schedules against published values, against the chain itself, and where they end."""

import math

import pytest
import torch

from vqdiff_edu.diffusion.schedule import NoiseSchedule, betas_from_alphas_cumprod, coefficient, q_sample

NAMED = {name: getattr(NoiseSchedule, name) for name in ("linear", "cosine", "sigmoid")}


@pytest.mark.parametrize(
    ("name", "published"),
    [("linear", [0.9999, 0.07779665837, 4.035829765e-5]), ("cosine", [0.9999587158, 0.4922851724, 2.428766907e-9])],
)
def test_a_thousand_steps_have_the_published_values(name, published):
    ours = NAMED[name](1000).alphas_cumprod[[0, 500, 999]]
    torch.testing.assert_close(ours, torch.tensor(published, dtype=torch.float64), rtol=5e-10, atol=0)


def test_linear_ends_are_those_of_the_paper_and_scale_with_the_length():
    betas = NoiseSchedule.linear(1000).betas
    assert betas[0].item() == pytest.approx(1e-4, rel=1e-12) and betas[-1].item() == pytest.approx(0.02, rel=1e-12)
    assert NoiseSchedule.linear(250).betas[[0, -1]].tolist() == pytest.approx([4e-4, 0.08], rel=1e-12)


def test_linear_with_twenty_steps_is_clipped_below_one():
    schedule = NoiseSchedule.linear(20)
    assert schedule.betas[-1].item() == 0.999 and schedule.alphas_cumprod[-1] > 0


def test_cosine_is_squared_and_its_last_step_obeys_the_ceiling():
    schedule = NoiseSchedule.cosine(1000)
    angle = lambda u: math.cos((u + 0.008) / 1.008 * math.pi / 2)  # noqa: E731
    assert schedule.alphas_cumprod[299].item() == pytest.approx((angle(0.3) / angle(0)) ** 2, rel=1e-12)
    assert schedule.betas[-1].item() == 0.999 and (schedule.betas[:-1] < 0.999).all()
    assert NoiseSchedule.cosine(1000, max_beta=0.5).betas.max().item() == 0.5


def test_sigmoid_follows_the_stretched_logistic_curve():
    logistic = lambda v: 1 / (1 + math.exp(-v))  # noqa: E731
    wanted = (logistic(3 - 6 * 0.3) - logistic(-3)) / (logistic(3) - logistic(-3))
    assert NoiseSchedule.sigmoid(1000).alphas_cumprod[299].item() == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize("name", NAMED)
def test_everything_is_float64_and_consistent(name):
    s = NAMED[name](64)
    assert s.num_timesteps == 64 and repr(s) == "NoiseSchedule(num_timesteps=64)"
    for values in (s.betas, s.alphas, s.alphas_cumprod, s.log_snr):
        assert values.dtype == torch.float64 and values.shape == (64,) and values.device.type == "cpu"
    torch.testing.assert_close(s.alphas, 1 - s.betas, rtol=0, atol=0)
    product = 1.0
    for t in range(64):
        product *= 1 - s.betas[t].item()
        assert s.alphas_cumprod[t].item() == pytest.approx(product, rel=1e-12)
        assert s.log_snr[t].item() == pytest.approx(math.log(product / (1 - product)), abs=1e-9)


def test_alpha_bar_is_one_for_clean_data_and_never_wraps_around():
    s = NoiseSchedule.linear(100)
    assert s.alpha_bar(-1).item() == 1.0
    t = torch.tensor([[-1, 0], [50, 99]])
    wanted = torch.stack([torch.ones((), dtype=torch.float64), s.alphas_cumprod[0], s.alphas_cumprod[50], s.alphas_cumprod[99]]).view(2, 2)
    assert torch.equal(s.alpha_bar(t), wanted)
    assert torch.equal(s.alpha_bar(t.to(torch.int32)), wanted)
    assert s.alpha_bar(torch.empty(0, dtype=torch.int64)).shape == (0,)


@pytest.mark.parametrize("name", NAMED)
def test_zero_terminal_snr_ends_at_nothing_and_keeps_the_first_value(name):
    before = NAMED[name](50)
    after = before.zero_terminal_snr()
    assert after.alphas_cumprod[-1].item() == 0.0 and after.betas[-1].item() == 1.0
    assert after.alphas_cumprod[0].item() == pytest.approx(before.alphas_cumprod[0].item(), rel=1e-12)
    assert after.log_snr[-1].item() == -math.inf and torch.isfinite(after.log_snr[:-1]).all()
    torch.testing.assert_close(after.zero_terminal_snr().alphas_cumprod, after.alphas_cumprod, rtol=1e-12, atol=0)
    x, noise = torch.randn(2, 1, 4, 4), torch.randn(2, 1, 4, 4)
    assert torch.equal(q_sample(after, x, 49, noise), noise)


def test_zero_terminal_snr_bends_the_roots_by_an_affine_map():
    before = NoiseSchedule.linear(200)
    root, bent = before.alphas_cumprod.sqrt(), before.zero_terminal_snr().alphas_cumprod.sqrt()
    ratio = (bent[:-1] - bent[1:]) / (root[:-1] - root[1:])
    torch.testing.assert_close(ratio, ratio[:1].expand_as(ratio), rtol=1e-7, atol=0)
    assert ratio[0] > 1


def test_an_unscaled_linear_schedule_would_stop_too_early_and_ours_does_not():
    unscaled = NoiseSchedule(torch.linspace(1e-4, 0.02, 50, dtype=torch.float64))
    assert unscaled.log_snr[-1] > 0
    for T in (20, 50, 200, 1000, 4000):
        assert NoiseSchedule.linear(T).log_snr[-1] < -10


def test_the_schedule_does_not_share_memory_with_what_it_was_made_from():
    betas = torch.full((10,), 0.1, dtype=torch.float64)
    schedule = NoiseSchedule(betas)
    betas.fill_(0.9)
    assert schedule.betas.max().item() == 0.1 and schedule.alphas.min().item() == 0.9
    with pytest.raises(AttributeError):
        schedule.betas = betas


def test_lower_precision_comes_in_and_float64_comes_out():
    s = NoiseSchedule.from_alphas_cumprod(torch.tensor([0.9, 0.5, 0.1]))
    assert s.betas.dtype == torch.float64
    assert s.alphas_cumprod.tolist() == pytest.approx([0.9, 0.5, 0.1], rel=1e-6)
    assert betas_from_alphas_cumprod(torch.tensor([0.64, 0.5184], dtype=torch.float64)).tolist() == pytest.approx([0.36, 0.19], rel=1e-12)


def test_the_hand_example():
    s = NoiseSchedule(torch.tensor([0.36, 0.19], dtype=torch.float64))
    zero, one = torch.zeros(1, 1, dtype=torch.float64), torch.ones(1, 1, dtype=torch.float64)
    assert q_sample(s, 2 * one, 1, zero).item() == pytest.approx(1.44, abs=1e-12)
    assert q_sample(s, zero, 1, one).item() ** 2 == pytest.approx(0.4816, abs=1e-12)


def test_q_sample_has_mean_and_variance_of_the_iterated_chain():
    s, generator = NoiseSchedule.linear(20), torch.Generator().manual_seed(0)
    x = start = torch.full((40_000,), 1.5, dtype=torch.float64)
    for t in range(8):
        x = s.alphas[t].sqrt() * x + s.betas[t].sqrt() * torch.randn(x.shape, generator=generator, dtype=x.dtype)
    jump = q_sample(s, start, 7, torch.randn(x.shape, generator=generator, dtype=x.dtype))
    error = (2 * x.var() / len(x)).sqrt().item()
    assert jump.mean().item() == pytest.approx(x.mean().item(), abs=5 * error)
    assert jump.var().item() == pytest.approx(x.var().item(), rel=5 * (4 / len(x)) ** 0.5)


def test_each_picture_of_a_batch_gets_its_own_step():
    s, x, noise = NoiseSchedule.cosine(30), torch.randn(3, 2, 4, 5), torch.randn(3, 2, 4, 5)
    t = torch.tensor([29, -1, 4])
    together = q_sample(s, x, t, noise)
    for i in range(3):
        assert torch.equal(together[i : i + 1], q_sample(s, x[i : i + 1], int(t[i]), noise[i : i + 1]))
    assert torch.equal(together[1], x[1])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_results_keep_the_type_of_the_picture(dtype):
    x = torch.randn(2, 1, 3, 3, dtype=dtype)
    assert q_sample(NoiseSchedule.linear(1000), x, torch.tensor([0, 999]), torch.randn_like(x)).dtype == dtype


def test_roots_are_taken_before_the_cast():
    s, zero = NoiseSchedule.linear(1000), torch.zeros(1, 1, dtype=torch.bfloat16)
    assert q_sample(s, zero, 0, zero + 1).item() == pytest.approx(0.01, rel=4e-3)  # 1 - 0.9999 is 0 in bfloat16


def test_coefficients_fit_scalars_and_batches():
    x = torch.zeros(3, 2, 4)
    assert coefficient(torch.tensor(2.0, dtype=torch.float64), x).shape == (1, 1, 1)
    column = coefficient(torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64), x)
    assert column.shape == (3, 1, 1) and column.dtype == torch.float32
    assert coefficient(torch.tensor([5.0]), torch.zeros(1)).tolist() == [5.0]
    assert coefficient(torch.tensor(5.0), torch.tensor(0.0)).item() == 5.0


def test_coefficients_follow_the_picture_to_its_device():
    x = torch.zeros(2, 1, device="meta")
    moved = coefficient(torch.tensor([1.0, 2.0], dtype=torch.float64), x)
    assert moved.device.type == "meta" and moved.dtype == torch.float32


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_everything_on_a_gpu():
    s, x = NoiseSchedule.linear(100), torch.randn(2, 1, 4, 4)
    t, noise = torch.tensor([3, 99]), torch.randn(2, 1, 4, 4)
    there = q_sample(s, x.cuda(), t.cuda(), noise.cuda())
    assert there.is_cuda
    torch.testing.assert_close(there.cpu(), q_sample(s, x, t, noise))


def test_the_table_is_looked_up_where_t_lives_and_copied_there_once():
    s, t = NoiseSchedule.linear(100), torch.zeros(3, dtype=torch.int64, device="meta")
    assert s.alpha_bar(t).device.type == "meta"
    assert s.alpha_bar(t).dtype == torch.float64
    assert s._table(t.device) is s._table(t.device)
    assert s.alphas_cumprod.device.type == "cpu"
