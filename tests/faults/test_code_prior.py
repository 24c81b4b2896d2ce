"""Priors over codes refuse what does not fit, by name."""

import pytest
import torch

from vqdiff_edu.quantization.code_prior import CodePrior, MaskedPrior, PriorDigits, encode_codes, hidden_counts
from vqdiff_edu.quantization.vector_quantizer import VectorQuantizer
from vqdiff_edu.quantization.vqvae import VQVAE

VQ = VQVAE(1, 16, VectorQuantizer(12, 8, kmeans_init=False)).eval()
SIZE = {"dim": 16, "depth": 1, "heads": 2}
PRIOR, MASKED = CodePrior(12, 9, **SIZE).eval(), MaskedPrior(12, 9, **SIZE).eval()


@pytest.mark.parametrize("kind", [CodePrior, MaskedPrior])
@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"num_codes": 0}, ValueError, "num_codes must be a whole number of at least 1, got 0"),
        ({"num_codes": 12.0}, TypeError, "num_codes must be"),
        ({"length": 0}, ValueError, "length must be"),
        ({"num_classes": 0}, ValueError, "num_classes must be"),
        ({"dim": 15}, ValueError, "heads must divide dim=15"),
        ({"depth": 0}, ValueError, "depth must be"),
        ({"label_dropout": 1.5}, ValueError, "label_dropout must be .* 0 … 1, got 1.5"),
        ({"label_dropout": "some"}, TypeError, "label_dropout must be"),
    ],
)
def test_a_prior_that_cannot_be_built(kind, options, error, words):
    with pytest.raises(error, match=f"^{words}"):
        kind(**{"num_codes": 12, "length": 9} | SIZE | options)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"labels": [11]}, ValueError, "labels must be one or more whole numbers in 0 … 10"),
        ({"labels": []}, TypeError, "labels must be"),
        ({"labels": [0.5]}, TypeError, "labels must be"),
        ({"temperature": -1.0}, ValueError, "temperature must be"),
        ({"temperature": float("nan")}, ValueError, "temperature must be"),
        ({"top_k": 0}, ValueError, "top_k must be a whole number in 1 … 12, got 0"),
        ({"top_k": 13}, ValueError, "top_k must be"),
        ({"top_k": 2.5}, TypeError, "top_k must be"),
        ({"top_p": 0.0}, ValueError, "top_p must be .* above 0"),
        ({"top_p": 1.2}, ValueError, "top_p must be"),
        ({"guidance_scale": float("inf")}, ValueError, "guidance_scale must be"),
    ],
)
@pytest.mark.parametrize("prior", [PRIOR, MASKED], ids=["one by one", "masked"])
def test_a_request_that_cannot_be_met(prior, options, error, words):
    with pytest.raises(error, match=f"^{words}"):
        prior.sample(**{"labels": [1, 2]} | options)


@pytest.mark.parametrize(
    ("prefix", "error", "words"),
    [
        (torch.zeros(3, 2, dtype=torch.int64), ValueError, "prefix must be .*2 m"),
        (torch.zeros(2, 2), TypeError, "prefix must be .* got dtype"),
        (torch.zeros(2, 10, dtype=torch.int64), ValueError, "prefix: its length must be a whole number in 1 … 9, got 10"),
        (torch.full((2, 2), 12), ValueError, "prefix must be one or more whole numbers in 0 … 11"),
        ([[0], [1]], TypeError, "prefix must be a tensor"),
    ],
)
def test_a_beginning_that_cannot_be_continued(prefix, error, words):
    with pytest.raises(error, match=f"^{words}"):
        PRIOR.sample([1, 2], prefix=prefix)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"num_inference_steps": 0}, ValueError, "num_inference_steps must be a whole number in 1 … 9, got 0"),
        ({"num_inference_steps": 10}, ValueError, "num_inference_steps must be"),
        ({"num_inference_steps": 2.0}, TypeError, "num_inference_steps must be"),
        ({"choice_temperature": -1}, ValueError, "choice_temperature must be"),
    ],
)
def test_masks_that_cannot_be_lifted(options, error, words):
    with pytest.raises(error, match=f"^{words}"):
        MASKED.sample([1], **options)


def test_a_schedule_that_does_not_exist():
    with pytest.raises(ValueError, match="^length must be"):
        hidden_counts(0, 1)


def test_a_prior_and_a_vqvae_that_do_not_fit():
    with pytest.raises(ValueError, match="^model must draw a square of codes, got length 10"):
        PriorDigits(CodePrior(12, 10, **SIZE), VQ)
    with pytest.raises(ValueError, match="^model must know the 12 codes of vqvae, got num_codes=13"):
        PriorDigits(CodePrior(13, 9, **SIZE), VQ)


def test_one_code_after_another_takes_a_step_for_each():
    drawer = PriorDigits(PRIOR, VQ)
    with pytest.raises(ValueError, match="^num_inference_steps must be one of 9; got 8"):
        drawer([1], num_inference_steps=8)
    assert drawer([1], num_inference_steps=9).shape == (1, 1, 12, 12)


@pytest.mark.parametrize(
    ("images", "error", "words"),
    [
        (torch.zeros(2, 1, 28, 28), TypeError, "images must be .* got dtype torch.float32"),
        (torch.zeros(2, 28, 28, dtype=torch.uint8), ValueError, "images must be .* got shape"),
        (torch.zeros(0, 1, 28, 28, dtype=torch.uint8), ValueError, "images must be .* not empty"),
    ],
)
def test_pictures_that_are_none(images, error, words):
    with pytest.raises(error, match=f"^{words}"):
        encode_codes(VQ, images)
