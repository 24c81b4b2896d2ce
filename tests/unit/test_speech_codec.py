"""The speech codec: rates, prefixes of levels, how a message is laid out, what the measurements say of known sounds, and what a prior may draw."""

import math
from dataclasses import replace

import pytest
import torch
from scipy.signal import istft

from vqdiff_edu.crossmodal.audio import RATE, Speech, speech, stft
from vqdiff_edu.crossmodal.speech_codec import (
    FRAME,
    CodecTask,
    DigitSpeaker,
    SpeechCodec,
    from_message,
    heard,
    inverse_stft,
    make_speaker,
    mel_distance,
    same_loudness,
    si_sdr,
    speak_digit,
    spectral_loss,
    through,
    to_message,
    varied,
    voice_numbers,
)
from vqdiff_edu.quantization.code_prior import CodePrior


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def noise(*shape, seed=0):
    return 0.1 * torch.randn(shape, generator=seeded(seed))


def small(**options):
    torch.manual_seed(0)
    model = SpeechCodec(6, 4, 3, width=8, **options)
    for stage in model.quantizer.stages:
        stage.started.fill_(True)
    return model.eval()


def recordings(n=4, longest=2000):
    lengths = torch.tensor([2000, 1200, 960, 500])[:n]
    return Speech(noise(n, longest), lengths, torch.arange(n), ["b", "a", "b", "c"][:n], torch.arange(n), "stand-in", "")


# ---------------------------------------------------------------- the codec


def test_a_frame_of_codes_lasts_twenty_milliseconds_and_a_last_one_is_filled_up():
    codec = small()
    assert codec.encode(noise(2, 1600)).shape == (2, 10, 3)
    assert codec.encode(noise(2, 1601)).shape == (2, 11, 3)
    assert codec.decode(codec.encode(noise(2, 1601))).shape == (2, 11 * FRAME)
    assert codec(noise(2, 1601)).sound.shape == (2, 1601)


def test_one_level_of_512_codes_costs_450_bits_per_second():
    assert SpeechCodec(512, 4, 1, width=8).bits_per_second == 450


def test_any_number_of_first_levels_can_be_decoded_and_more_levels_add_their_vectors():
    codec = small()
    codes = codec.encode(noise(2, 1600))
    for depth in (1, 2, 3):
        vectors = sum(codec.quantizer.stages[i].codebook[codes[..., i]] for i in range(depth)).transpose(1, 2)
        assert torch.allclose(codec.decode(codes[..., :depth]), codec.decode_latents(vectors), atol=1e-6)


def test_in_training_every_example_keeps_its_own_number_of_levels():
    codec = small(dropout=True).train()
    x = noise(1, 1600).expand(64, -1)
    assert len({round(s.square().sum().item(), 4) for s in codec(x).sound}) > 1


def test_the_loss_reaches_every_parameter():
    codec = small().train()
    loss, logs = CodecTask(codec).loss({"samples": noise(3, 8000), "length": torch.tensor([8000, 3000, 1000])}, seeded(0))
    loss.backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in codec.parameters())
    assert logs.keys() == {"spectral", "wave", "quantizer", "perplexity"}


def test_training_windows_have_the_length_asked_for_and_are_cut_from_the_recording():
    task = CodecTask(small(), frames=5)
    ramp = torch.arange(1.0, 8001)[None]
    window = task.windows({"samples": ramp, "length": torch.tensor([8000])}, seeded(1))
    assert window.shape == (1, 5 * FRAME)
    step = window[0].diff()[window[0][1:] > 1]
    assert 0.9 - 1e-2 <= step.median() <= 1.1 + 1e-2


# ---------------------------------------------------------------- from a spectrum to a wave


def test_the_inverse_undoes_the_transform():
    x = noise(3, 1600)
    assert torch.allclose(inverse_stft(stft(x)), x, atol=1e-5)


@pytest.mark.filterwarnings("ignore:NOLA")  # scipy misses the edges, which are not compared
def test_a_made_up_spectrum_gets_the_wave_that_scipy_gives_it():
    window, hop, frames = 64, 16, 20
    made_up = torch.view_as_complex(torch.randn(1, window // 2 + 1, frames, 2, generator=seeded(2)))
    made_up[:, [0, -1]] = made_up[:, [0, -1]].real + 0j
    ours = inverse_stft(made_up, window, hop)[0]
    padded = torch.nn.functional.pad(made_up[0], (1, 1))  # scipy wants every sample covered; the outer frames are cut off again
    _, theirs = istft(padded.numpy(), window="hann", nperseg=window, noverlap=window - hop, boundary=False)
    theirs = torch.from_numpy(theirs) / (window / 2)  # it multiplies by the window's sum
    inside = slice(3 * hop, hop * frames - 3 * hop)  # where the added frames do not reach
    margin = (window - hop) // 2
    assert torch.allclose(ours[inside], theirs[hop + margin :][: len(ours)][inside].float(), atol=1e-5)


# ---------------------------------------------------------------- measurements


def test_si_sdr_of_a_known_mixture():
    a = torch.zeros(1, 200).index_fill(1, torch.tensor([0]), 1.0)
    b = torch.zeros(1, 200).index_fill(1, torch.tensor([1]), 1.0)
    assert torch.allclose(si_sdr(a + b, a), torch.zeros(1), atol=1e-5)
    assert torch.allclose(si_sdr(10 * a + b, a), torch.tensor([20.0]), atol=1e-4)
    assert torch.allclose(si_sdr(-5 * (10 * a + b), a), torch.tensor([20.0]), atol=1e-4)


def test_twice_the_pressure_is_six_decibels_in_every_band_and_what_follows_a_recording_does_not_count():
    x, lengths = noise(2, 1600), torch.tensor([1600, 800])
    assert torch.allclose(mel_distance(2 * x, x, lengths), torch.full((2,), 20 * math.log10(2)), atol=0.05)
    late = x.clone()
    late[1, 1100:] *= 5  # no window of the first 800 samples reaches so far
    assert torch.allclose(mel_distance(late, x, lengths)[1], torch.zeros(()), atol=1e-5)


def test_the_spectral_loss_is_blind_to_the_sign_and_not_to_the_loudness():
    x = noise(2, 4000)
    assert spectral_loss(-x, x) < 1e-5
    assert 0.5 < spectral_loss(2 * x, x) - math.log(2) < 1.5  # the logarithms by ln 2, the amplitudes by all of the target's


def test_same_loudness_counts_a_recordings_own_length():
    data = recordings()
    sound = same_loudness(data.samples, data.lengths)
    for x, n in zip(sound, data.lengths.tolist()):
        assert torch.isclose(x[:n].square().mean().sqrt(), torch.tensor(0.1), atol=1e-5)
        assert (x[n:] == 0).all()
    assert (same_loudness(torch.zeros(1, 100), torch.tensor([50])) == 0).all()


def test_heard_is_one_up_to_the_length():
    assert heard(torch.tensor([0, 2]), 3).tolist() == [[0, 0, 0], [1, 1, 0]]


def test_through_with_all_levels_is_encode_and_decode():
    codec, data = small(), recordings()
    sound = same_loudness(data.samples, data.lengths)
    with torch.no_grad():
        assert torch.allclose(through(codec, data, 3)[:, :2000], codec.decode(codec.encode(sound))[:, :2000], atol=1e-6)
        assert torch.allclose(through(codec, data), codec.decode_latents(codec.encode_latents(sound))[:, :2000], atol=1e-6)
        longer = replace(data, samples=torch.nn.functional.pad(data.samples, (0, 1000)))
        assert (
            torch.equal(through(codec, longer, 2)[:, :2000], through(codec, data, 2)) and (through(codec, longer, 2)[:, 2000:] == 0).all()
        )
        assert not torch.allclose(through(codec, data, 1), through(codec, data, 3), atol=1e-4)


# ---------------------------------------------------------------- messages


def test_a_message_by_hand():
    codes = torch.tensor([[[0, 1], [2, 0], [1, 1]]])  # three frames of two levels, three codes
    assert to_message(codes, torch.tensor([2]), 3, 8).tolist() == [[0, 4, 2, 3, 6, 6, 6, 6]]
    assert to_message(codes, torch.tensor([3]), 3, 4).tolist() == [[0, 4, 2, 3]]


def test_a_message_gives_its_codes_back():
    codes, frames = torch.randint(5, (7, 6, 3), generator=seeded(3)), torch.tensor([6, 1, 2, 3, 4, 5, 6])
    back, count = from_message(to_message(codes, frames, 5, 18), 5, 3)
    assert torch.equal(count, frames)
    for a, b, n in zip(codes, back, frames.tolist()):
        assert torch.equal(a[:n], b[:n]) and (b[n:] == 0).all()


def test_what_follows_an_end_is_not_spoken():
    message = torch.tensor([[0, 4, 6, 6, 2, 3]])  # a word of one frame, the end, and another frame
    codes, count = from_message(message, 3, 2)
    assert count.tolist() == [1] and codes[0].tolist() == [[0, 1], [0, 0], [0, 0]]


# ---------------------------------------------------------------- the prior


def small_speaker():
    torch.manual_seed(1)
    return make_speaker(small(), levels=2, frames=5, voices=3, dim=16, depth=1).eval()


def test_a_speaker_gives_as_many_sounds_as_it_was_asked_for_and_their_lengths():
    sounds, lengths = small_speaker()([1, 2, 3], [0, 1, 2], seeded(0))
    assert sounds.shape == (3, 5 * FRAME) and (lengths % FRAME == 0).all() and (lengths >= FRAME).all()
    for sound, n in zip(sounds, lengths.tolist()):
        assert (sound[n:] == 0).all()
    assert len(speak_digit(small_speaker(), 3, voice=2, generator=seeded(0))) % FRAME == 0


def test_the_label_of_a_prior_is_voice_and_digit(monkeypatch):
    speaker, asked = small_speaker(), []
    sample = speaker.model.sample
    monkeypatch.setattr(speaker.model, "sample", lambda labels, **how: (asked.append(labels.tolist()), sample(labels, **how))[1])
    speaker([7, 0], [2, 1], seeded(0))
    assert asked == [[27, 10]]


def test_messages_of_recordings_end_with_the_recording():
    speaker, data = small_speaker(), recordings()
    end = 2 * speaker.codes
    frames = (speaker.messages(data.samples, data.lengths).unflatten(1, (5, 2)) != end).all(2).sum(1)
    assert frames.tolist() == [5, 5, 5, 4]  # 2000, 1200 and 960 samples are cut at 5 frames; 500 take 4


@pytest.mark.parametrize(("codes", "length"), [(12, 10), (13, 9), (25, 20)])
def test_a_prior_that_does_not_fit_the_codec_is_refused(codes, length):
    with pytest.raises(ValueError, match="levels"):
        DigitSpeaker(CodePrior(codes, length, num_classes=30, dim=16, depth=1), small())


@pytest.mark.parametrize(("labels", "voices", "named"), [([10], [0], "labels"), ([1], [3], "voices")])
def test_a_digit_or_a_voice_that_does_not_exist_is_refused(labels, voices, named):
    with pytest.raises(ValueError, match=named):
        small_speaker()(labels, voices)


def test_the_first_copy_is_the_recording_and_the_others_differ_in_speed():
    data = recordings()
    sounds, lengths = varied(data, 3, seeded(0))
    assert torch.equal(sounds[:4], data.samples) and torch.equal(lengths[:4], data.lengths)
    assert not torch.equal(sounds[4:8], data.samples)
    assert ((lengths[4:].double() / data.lengths.repeat(2) - 1).abs() < 0.3).all()


def test_voices_are_numbered_in_alphabetical_order():
    assert voice_numbers(recordings()).tolist() == [1, 0, 1, 2]
    assert voice_numbers(speech("test", "stand-in")).max() == 5


def test_the_rate_of_frames_divides_the_rate_of_samples():
    assert RATE / FRAME == 50
