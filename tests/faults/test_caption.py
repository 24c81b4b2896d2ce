"""Sizes that cannot be built, scenes of the wrong kind, a missing VQ-VAE: each refused by name."""

import pytest
import torch

from vqdiff_edu.crossmodal.caption import Captioner, CaptionTask, attention_maps, caption, look, score_captions, wilson_interval
from vqdiff_edu.crossmodal.scenes import Scene, Thing, Tokenizer

TOKENS = Tokenizer().num_tokens
SMALL = {"width": 8, "dim": 8, "depth": 1}
CODES = Captioner(TOKENS, "codes", num_embeddings=9, embedding_dim=4, **SMALL).eval()
PATCHES = Captioner(TOKENS, "patches", **SMALL).eval()
SENTENCE = "a large bold 7"


@pytest.mark.parametrize("source", ["pixels", "", None, 3])
def test_an_unknown_source(source):
    with pytest.raises(ValueError, match=f"source must be 'codes' or 'patches', got {source!r}"):
        Captioner(TOKENS, source)


@pytest.mark.parametrize("name", ["num_tokens", "width", "dim", "depth", "num_embeddings", "embedding_dim"])
@pytest.mark.parametrize("value", [0, -8, 8.0, "8", True])
def test_sizes_that_are_no_counts(name, value):
    with pytest.raises(ValueError, match=f"{name} must be a whole number of at least 1, got {value!r}"):
        Captioner(**({"num_tokens": TOKENS} | {name: value}))


def test_widths_that_cannot_be_grouped():
    with pytest.raises(ValueError, match="width must be a multiple of 8, got 20"):
        Captioner(TOKENS, width=20)
    with pytest.raises(ValueError, match="dim must be a multiple of 4, the number of heads; got 18"):
        Captioner(TOKENS, dim=18)


@pytest.mark.parametrize("codebook", [torch.zeros(4), torch.zeros(4, 2, dtype=torch.int64), [[0.0, 1.0]]])
def test_a_codebook_that_is_none(codebook):
    with pytest.raises(TypeError, match="codebook must be a float tensor"):
        Captioner(TOKENS, codebook=codebook)


def test_a_codebook_for_patches():
    with pytest.raises(ValueError, match="codebook was given to a captioner of patches"):
        Captioner(TOKENS, "patches", torch.zeros(4, 2))
    with pytest.raises(ValueError, match="codebook was given to a captioner of patches"):
        PATCHES.start_from(torch.zeros(4, 2))


def test_a_codebook_of_another_size():
    with pytest.raises(ValueError, match=r"codebook must be \[9, 4\], got \[9, 5\]"):
        CODES.start_from(torch.zeros(9, 5))


def test_pictures_for_a_captioner_of_codes():
    with pytest.raises(TypeError, match="x must be int64 codes from vqvae.encode.*float32"):
        CODES.encode_scene(torch.zeros(1, 1, 56, 56))


@pytest.mark.parametrize("shape", [(14, 14), (1, 7, 7), (0, 14, 14), (1, 196)])
def test_codes_of_another_shape(shape):
    with pytest.raises(ValueError, match=r"x must be codes \[batch, 14, 14\], got"):
        CODES.encode_scene(torch.zeros(shape, dtype=torch.int64))


@pytest.mark.parametrize("code", [-1, 9])
def test_codes_outside_the_codebook(code):
    with pytest.raises(ValueError, match=f"x must hold codes in 0 … 8, got .*{code}"):
        CODES.encode_scene(torch.full((1, 14, 14), code))


def test_codes_for_a_captioner_of_patches():
    with pytest.raises(TypeError, match="x must be a float picture .*int64"):
        PATCHES.encode_scene(torch.zeros(1, 14, 14, dtype=torch.int64))


@pytest.mark.parametrize("shape", [(1, 1, 28, 28), (1, 3, 56, 56), (56, 56), (0, 1, 56, 56)])
def test_pictures_of_another_shape(shape):
    with pytest.raises(ValueError, match=r"x must be pictures \[batch, 1, 56, 56\], got"):
        PATCHES.encode_scene(torch.zeros(shape))
    with pytest.raises(ValueError, match=r"images must be \[n, 1, 56, 56\]"):
        caption(PATCHES, torch.zeros(shape))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_pictures_that_are_not_finite(bad):
    x = torch.zeros(1, 1, 56, 56)
    x[0, 0, 3, 3] = bad
    with pytest.raises(ValueError, match="x must be finite; 1 of its values"):
        PATCHES.encode_scene(x)
    with pytest.raises(ValueError, match="images must be finite; 1 of their values"):
        attention_maps(PATCHES, x, [SENTENCE])


@pytest.mark.parametrize("value", [1.1, -1.1, 255.0])
def test_pictures_out_of_range(value):
    x = torch.zeros(1, 1, 56, 56)
    x[0, 0, 3, 3] = value
    with pytest.raises(ValueError, match=rf"images must lie in \[-1, 1\], got .*{value:g}"):
        caption(PATCHES, x)


def test_bytes_for_floats():
    with pytest.raises(TypeError, match="images must be float in .*uint8.*to_float"):
        caption(PATCHES, torch.zeros(1, 1, 56, 56, dtype=torch.uint8))


def test_a_missing_vqvae():
    images = torch.zeros(1, 1, 56, 56)
    for call in (lambda: look(CODES, images), lambda: caption(CODES, images), lambda: CaptionTask(CODES)):
        with pytest.raises(ValueError, match="vqvae is missing"):
            call()


def test_the_number_of_captions():
    with pytest.raises(ValueError, match="captions must be one an image, 1, got 2"):
        attention_maps(PATCHES, torch.zeros(1, 1, 56, 56), [SENTENCE] * 2)
    truth = [Scene((Thing(7, "large", "bold"),))]
    with pytest.raises(ValueError, match="told and references must hold one caption a scene: 1 scenes, 2 and 1"):
        score_captions(truth, [SENTENCE] * 2, [SENTENCE])


@pytest.mark.parametrize(("right", "n"), [(0, 0), (3, 2), (-1, 5)])
def test_counts_that_are_none(right, n):
    with pytest.raises(ValueError, match=f"right must be in 0 … n and n at least 1, got right={right}, n={n}"):
        wilson_interval(right, n)
