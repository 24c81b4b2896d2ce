"""What holds for every schedule, not only for the named ones."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from vqdiff_edu.diffusion.schedule import NoiseSchedule, q_sample

lengths = st.integers(20, 300)
names = st.sampled_from(["linear", "cosine", "sigmoid"])
any_betas = st.lists(st.floats(1e-5, 0.95), min_size=1, max_size=40).map(lambda b: torch.tensor(b, dtype=torch.float64))


@given(names, lengths)
def test_signal_only_falls_and_the_end_is_noise(name, T):
    s = getattr(NoiseSchedule, name)(T)
    assert (s.alphas_cumprod.diff() < 0).all() and 0 < s.alphas_cumprod[-1] < 1e-4 and s.alphas_cumprod[0] < 1
    assert (s.log_snr.diff() < 0).all()


@given(st.integers(20, 5000))
def test_linear_betas_sum_to_the_same_whatever_their_number(T):
    betas = NoiseSchedule.linear(T).betas
    assert abs(betas.sum().item() - 10.05) <= 0.0011  # the clip at T = 20 takes 0.001


@given(any_betas)
def test_survival_and_betas_are_two_ways_to_say_the_same(betas):
    s = NoiseSchedule(betas)
    again = NoiseSchedule.from_alphas_cumprod(s.alphas_cumprod)
    torch.testing.assert_close(again.betas, s.betas, rtol=0, atol=1e-12)
    torch.testing.assert_close(again.alphas_cumprod, s.alphas_cumprod, rtol=1e-12, atol=0)
    torch.testing.assert_close(s.log_snr.sigmoid(), s.alphas_cumprod, rtol=1e-12, atol=0)


@given(any_betas, st.integers(0, 2**31))
def test_two_jumps_by_hand_land_where_one_does(betas, seed):
    """The mean after one more step, and the variance, from those before it: the induction, step by step."""
    s, generator = NoiseSchedule(betas), torch.Generator().manual_seed(seed)
    x = torch.randn(2, 3, generator=generator, dtype=torch.float64)
    zero, one = torch.zeros_like(x), torch.ones_like(x)
    for t in range(s.num_timesteps):
        mean, spread = q_sample(s, x, t - 1, zero), q_sample(s, zero, t - 1, one)
        torch.testing.assert_close(q_sample(s, x, t, zero), s.alphas[t].sqrt() * mean, rtol=1e-10, atol=1e-14)
        torch.testing.assert_close(q_sample(s, zero, t, one) ** 2, s.alphas[t] * spread**2 + s.betas[t], rtol=1e-10, atol=1e-14)


@given(names, lengths, st.integers(0, 2**31))
def test_equal_log_snr_gives_equal_pictures_whatever_the_clock(name, T, seed):
    s, generator = getattr(NoiseSchedule, name)(T), torch.Generator().manual_seed(seed)
    t = int(torch.randint(1, T, (1,), generator=generator))
    other = NoiseSchedule.from_alphas_cumprod(s.log_snr[t].sigmoid()[None])  # one step, to the same log-SNR
    x, noise = torch.randn(2, 2, 3, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(q_sample(s, x, t, noise), q_sample(other, x, 0, noise), rtol=1e-9, atol=1e-12)


@given(any_betas.filter(lambda b: len(b) > 1))
def test_bending_to_zero_is_lawful_for_any_schedule(betas):
    bent = NoiseSchedule(betas).zero_terminal_snr()
    assert bent.alphas_cumprod[-1] == 0 and (bent.alphas_cumprod.diff() < 0).all()
    assert (bent.alphas_cumprod <= NoiseSchedule(betas).alphas_cumprod * (1 + 1e-12)).all()
