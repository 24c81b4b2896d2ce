"""Our sound beside librosa: the same bands over the same bins, and the same picture in decibels."""

import numpy as np
import pytest
import torch

from vqdiff_edu.crossmodal.audio import hann, log_mel, mel_filters


@pytest.fixture
def librosa():
    return pytest.importorskip("librosa")


def test_mel_filters_agree_with_librosa(librosa):
    theirs = librosa.filters.mel(sr=8000, n_fft=256, n_mels=40, htk=True, norm=None)
    assert np.allclose(mel_filters().numpy(), theirs, atol=1e-4)


def test_log_mel_agrees_with_librosa(librosa):
    x = torch.randn(8000, generator=torch.Generator().manual_seed(0)) / 10
    settings = {"sr": 8000, "n_fft": 256, "hop_length": 80, "center": False, "n_mels": 40, "htk": True, "norm": None}
    theirs = librosa.feature.melspectrogram(y=np.pad(x.numpy(), (88, 88)), **settings)  # not normalised; both sides of the spectrum in one
    theirs = librosa.power_to_db(2 * theirs / (256 * hann().square().sum().item()), ref=1.0, amin=1e-8, top_db=None)
    assert np.abs(log_mel(x).numpy() - theirs).max() < 1e-3
