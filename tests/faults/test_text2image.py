"""Painters of scenes refuse what does not fit, by name."""

import pytest
import torch

from vqdiff_edu.crossmodal.scenes import Tokenizer
from vqdiff_edu.crossmodal.text2image import MaskedPainter, RasterPainter, ScenePainter, WordsToCodes, clean_caption, fill_in
from vqdiff_edu.quantization.vector_quantizer import VectorQuantizer
from vqdiff_edu.quantization.vqvae import VQVAE

VQ = VQVAE(1, 16, VectorQuantizer(12, 8, kmeans_init=False)).eval()
SIZE = {"dim": 16, "depth": 1, "heads": 2}
RASTER, MASKED = (
    kind(WordsToCodes(VQ.quantizer.codebook, causal=kind is RasterPainter, **SIZE)) for kind in (RasterPainter, MaskedPainter)
)
WORDS = Tokenizer().encode(["a small faint 1"])


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"side": 1}, ValueError, "side must be a whole number of at least 2, got 1"),
        ({"dim": 15}, ValueError, "heads must divide dim=15"),
        ({"depth": 0}, ValueError, "depth must be"),
    ],
)
def test_a_network_that_cannot_be_built(options, error, words):
    with pytest.raises(error, match=f"^{words}"):
        WordsToCodes(torch.randn(5, 4), causal=True, **SIZE | options)


@pytest.mark.parametrize("kind", [RasterPainter, MaskedPainter])
def test_a_share_that_is_none(kind):
    with pytest.raises(ValueError, match="caption_dropout must be .* 0 … 1, got 1.5"):
        kind(WordsToCodes(torch.randn(5, 4), causal=True, **SIZE), caption_dropout=1.5)


@pytest.mark.parametrize("model", [RASTER, MASKED], ids=["raster", "masked"])
@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"temperature": -1.0}, ValueError, "temperature must be"),
        ({"top_k": 0}, ValueError, "top_k must be a whole number in 1 … 12, got 0"),
        ({"top_p": 1.2}, ValueError, "top_p must be"),
        ({"guidance_scale": float("nan")}, ValueError, "guidance_scale must be"),
    ],
)
def test_a_request_that_cannot_be_met(model, options, error, words):
    with pytest.raises(error, match=f"^{words}"):
        model.sample(WORDS, **options)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"num_inference_steps": 0}, "num_inference_steps must be a whole number in 1 … 196, got 0"),
        ({"choice_temperature": -1}, "choice_temp"),
    ],
)
def test_masks_that_cannot_be_lifted(options, words):
    with pytest.raises(ValueError, match=f"^{words}"):
        MASKED.sample(WORDS, **options)


@pytest.mark.parametrize(
    ("sentence", "error", "words"),
    [
        ("a big purple 7", ValueError, "no known meaning, 'purple'"),
        ("a big bold 7 abve a small bold 3", ValueError, "is it 'above'"),
        ("a 7 and a 3", ValueError, "is no sentence of the grammar"),
        ("a small small 3", ValueError, "it tells the size twice"),
        ("a small", ValueError, "it does not tell the digit"),
        ("", ValueError, "is no sentence of the grammar"),
    ],
)
def test_a_sentence_that_cannot_be_read_gets_the_words_there_are(sentence, error, words):
    with pytest.raises(error, match=words) as caught:
        fill_in(sentence)
    assert "The words are: 0, 1, 2" in str(caught.value) and "zero" in str(caught.value)


def test_what_is_no_sentence_at_all():
    for ask in (fill_in, clean_caption):
        with pytest.raises(TypeError, match="str"):
            ask(7)


def test_a_painter_wants_every_fact():
    painter = ScenePainter(RASTER, VQ)
    with pytest.raises(ValueError, match="does not tell the ink"):
        painter(["a big bold 7 above a small 2"])
