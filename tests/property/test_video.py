"""What must hold of films from speech for any size, share and length."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vqdiff_edu.crossmodal.video import FEATURES, TemporalAttention, VideoUNet, frame_features, stretch_means, video_noise
from vqdiff_edu.diffusion.parameterization import GaussianDiffusion
from vqdiff_edu.diffusion.schedule import NoiseSchedule
from vqdiff_edu.diffusion.unet import UNet

few = settings(deadline=None, max_examples=12)


@few
@given(batch=st.integers(1, 3), frames=st.integers(1, 6), side=st.integers(1, 4), heads=st.sampled_from([1, 2, 4]), seed=st.integers(0, 99))
def test_reordering_frames_reorders_what_comes_out(batch, frames, side, heads, seed):
    torch.manual_seed(seed)
    layer = TemporalAttention(8, 6, heads)
    torch.nn.init.normal_(layer.out.weight)
    x, e, order = torch.randn(batch, frames, 8, side, side), torch.randn(batch, frames, 6), torch.randperm(frames)
    straight = layer(x.flatten(0, 1), e).unflatten(0, (batch, frames))
    shuffled = layer(x[:, order].flatten(0, 1), e[:, order]).unflatten(0, (batch, frames))
    assert torch.allclose(straight[:, order], shuffled, atol=1e-4)


@few
@given(batch=st.integers(1, 2), frames=st.integers(1, 5), channels=st.integers(1, 3), side=st.integers(2, 8))
def test_any_number_of_frames_and_any_grid_comes_back_in_its_shape(batch, frames, channels, side):
    image = UNet(channels, (8,), 1, patch=1, embedding=8)
    image.diffusion = GaussianDiffusion(NoiseSchedule.cosine(50))
    z = torch.randn(batch, frames, channels, side, side)
    out = VideoUNet(image)(z, torch.zeros(batch, dtype=torch.long), torch.rand(batch, frames, FEATURES), torch.eye(10)[:batch])
    assert out.shape == z.shape and out.isfinite().all()


@few
@given(share=st.floats(0, 1), frames=st.integers(1, 16), seed=st.integers(0, 99))
def test_the_mean_over_frames_keeps_the_shared_part(share, frames, seed):
    noise = video_noise((400, frames, 2, 4, 4), share, generator=torch.Generator().manual_seed(seed))
    expected = share + (1 - share) / frames
    assert abs(noise.mean(1).var().item() - expected) < 0.06 * expected + 0.01
    assert abs(noise[:, 0].var().item() - 1) < 0.08


@few
@given(data=st.data(), ticks=st.integers(1, 40), frames=st.integers(1, 16))
def test_stretch_means_stay_within_the_values_of_the_recording(data, ticks, frames):
    x = torch.rand(1, 2, ticks, generator=torch.Generator().manual_seed(ticks))
    length = data.draw(st.integers(1, ticks))
    means = stretch_means(x, torch.tensor([length]), frames, 1)
    assert means.shape == (1, frames, 2) and means.min() >= x.min() - 1e-6 and means.max() <= x.max() + 1e-6
    if length % frames == 0:
        assert torch.allclose(means.mean(1), x[:, :, :length].mean(2), atol=1e-6)


@few
@given(length=st.integers(1, 4000), padding=st.integers(0, 500), seed=st.integers(0, 99))
def test_features_rise_to_one_for_any_length(length, padding, seed):
    sound = torch.randn(1, length + padding, generator=torch.Generator().manual_seed(seed)) * 0.1
    sound[:, length:] = 0
    features = frame_features(sound, torch.tensor([length]))
    assert features.isfinite().all() and (features[0, 1:, 3] >= features[0, :-1, 3] - 1e-6).all()
    assert abs(features[0, -1, 3] - 1) < 1e-5
