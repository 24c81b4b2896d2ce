"""Sizes that cannot be built, pictures of the wrong kind, a missing VQ-VAE: each refused by name."""

import pytest
import torch

from vqdiff_edu.crossmodal.caption import Captioner, SceneCaptioner, attention_maps, score_captions, wilson_interval
from vqdiff_edu.crossmodal.scenes import Scene, Thing, Tokenizer

TOKENS = Tokenizer().num_tokens
SMALL = {"width": 8, "dim": 8, "depth": 1}
CODES = Captioner(TOKENS, "codes", num_embeddings=9, embedding_dim=4, **SMALL).eval()
PATCHES = SceneCaptioner(Captioner(TOKENS, "patches", **SMALL).eval())
SENTENCE = "a large bold 7"
PICTURE = torch.zeros(1, 1, 56, 56)


def spoilt(value):
    x = PICTURE.clone()
    x[0, 0, 3, 3] = value
    return x


@pytest.mark.parametrize("name", ["num_tokens", "width", "dim", "depth", "num_embeddings", "embedding_dim"])
@pytest.mark.parametrize(("value", "error"), [(0, ValueError), (-8, ValueError), (8.0, TypeError), ("8", TypeError), (True, TypeError)])
def test_sizes_that_are_no_counts(name, value, error):
    with pytest.raises(error, match=f"^{name} must be a whole number of at least 1, got {value!r}"):
        Captioner(**({"num_tokens": TOKENS} | {name: value}))


@pytest.mark.parametrize(
    ("call", "error", "name"),
    [
        (lambda: Captioner(TOKENS, "pixels"), ValueError, "source must be one of 'codes', 'patches'; got 'pixels'"),
        (lambda: Captioner(TOKENS, None), ValueError, "source"),
        (lambda: Captioner(TOKENS, dim=18), ValueError, "heads must divide dim=18"),
        (lambda: Captioner(TOKENS, codebook=torch.zeros(4)), ValueError, "codebook"),
        (lambda: Captioner(TOKENS, codebook=torch.zeros(4, 2, dtype=torch.int64)), TypeError, "codebook"),
        (lambda: Captioner(TOKENS, codebook=[[0.0, 1.0]]), TypeError, "codebook"),
        (lambda: Captioner(TOKENS, "patches", torch.zeros(4, 2)), ValueError, "codebook was given to a captioner of patches"),
        (lambda: PATCHES.model.start_from(torch.zeros(4, 2)), ValueError, "codebook was given to a captioner of patches"),
        (lambda: CODES.start_from(torch.zeros(9, 5)), ValueError, "codebook"),
        (lambda: CODES.start_from(torch.zeros(1, 4)), ValueError, "codebook"),
        (lambda: SceneCaptioner(CODES), ValueError, "vqvae is missing"),
        (lambda: wilson_interval(0, 0), ValueError, "n must be"),
        (lambda: wilson_interval(3, 2), ValueError, "right must be a whole number in 0 … 2, got 3"),
        (lambda: wilson_interval(-1, 5), ValueError, "right"),
    ],
)
def test_what_cannot_be_made(call, error, name):
    with pytest.raises(error, match=f"^{name}"):
        call()


@pytest.mark.parametrize("use", [PATCHES, lambda images: attention_maps(PATCHES, images, [SENTENCE])], ids=["captions", "maps"])
@pytest.mark.parametrize(
    ("images", "error", "words"),
    [
        (PICTURE.to(torch.uint8), TypeError, "images must be .*uint8"),
        (torch.zeros(1, 1, 28, 28), ValueError, r"images must be .* got shape \[1, 1, 28, 28\]"),
        (torch.zeros(1, 3, 56, 56), ValueError, "images"),
        (torch.zeros(56, 56), ValueError, "images"),
        (torch.zeros(0, 1, 56, 56), ValueError, "images"),
        (spoilt(float("nan")), ValueError, "images must be finite; 1 of its values"),
        (spoilt(float("inf")), ValueError, "images must be finite; 1 of its values"),
        (spoilt(1.1), ValueError, "images: their largest absolute value must be .* got 1.1"),
        (spoilt(-255.0), ValueError, "images: their largest absolute value must be .* got 255"),
    ],
)
def test_pictures_that_cannot_be_described(use, images, error, words):
    with pytest.raises(error, match=f"^{words}"):
        use(images)


@pytest.mark.parametrize("codes", [torch.full((1, 14, 14), 9), torch.full((1, 14, 14), -1)])
def test_codes_outside_the_codebook(codes):
    with pytest.raises(IndexError):
        CODES.encoder(codes)


def test_the_number_of_captions():
    with pytest.raises(ValueError, match="captions must be one an image, 1, got 2"):
        attention_maps(PATCHES, PICTURE, [SENTENCE] * 2)
    truth = [Scene((Thing(7, "large", "bold"),))]
    with pytest.raises(ValueError, match="told must hold one caption a scene, got 2 for 1"):
        score_captions(truth, [SENTENCE] * 2, [SENTENCE])
    with pytest.raises(ValueError, match="references must hold one entry a candidate, got 2 for 1"):
        score_captions(truth, [SENTENCE], [SENTENCE] * 2)
