"""Bad input to the quantizers: the error names the argument, what was given and what is accepted."""

import pytest
import torch

from vqdiff_edu.quantization.quantizers import FSQ, LFQ, GumbelQuantizer, ResidualVQ, SimVQ
from vqdiff_edu.quantization.vqvae import VQVAE

MAKE = {
    "fsq": lambda: FSQ([4, 3, 2]),
    "lfq": lambda: LFQ(5),
    "sim": lambda: SimVQ(24, 6),
    "gumbel": lambda: GumbelQuantizer(24, 6),
    "residual": lambda: ResidualVQ(4, 6, 3, kmeans_init=False),
}
every_quantizer = pytest.mark.parametrize("name", MAKE)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: FSQ([]), ValueError, "the number of levels must be a whole number of at least 1, got 0"),
        (lambda: FSQ([8, 1]), ValueError, r"levels\[1\] must be a whole number of at least 2, got 1"),
        (lambda: FSQ([8, 2.5]), TypeError, r"levels\[1\] must be a whole number of at least 2, got 2.5"),
        (lambda: FSQ([1024, 1024, 2]), ValueError, "the product of levels must be a whole number in 2 … 1048576, got 2097152"),
        (lambda: LFQ(0), ValueError, "dim must be a whole number in 1 … 20, got 0"),
        (lambda: LFQ(64), ValueError, "dim must be a whole number in 1 … 20, got 64"),
        (lambda: LFQ(4, temperature=0), ValueError, "temperature must be a finite number above 0, got 0"),
        (lambda: LFQ(4, entropy_weight=-1), ValueError, "entropy_weight must be a finite number of at least 0, got -1"),
        (lambda: LFQ(4, commitment_cost=float("nan")), ValueError, "commitment_cost must be a finite number of at least 0, got nan"),
        (lambda: SimVQ(0, 4), ValueError, "num_embeddings must be a whole number of at least 1, got 0"),
        (lambda: SimVQ(8, True), TypeError, "embedding_dim must be a whole number of at least 1, got True"),
        (lambda: SimVQ(8, 4, commitment_cost=-1), ValueError, "commitment_cost must be a finite number of at least 0, got -1"),
        (lambda: GumbelQuantizer(8, 0), ValueError, "embedding_dim must be a whole number of at least 1, got 0"),
        (lambda: GumbelQuantizer(8, 4, temperature=-1.0), ValueError, "temperature must be a finite number above 0, got -1.0"),
        (lambda: GumbelQuantizer(8, 4, kl_weight="a"), TypeError, "kl_weight must be a finite number of at least 0, got 'a'"),
        (lambda: ResidualVQ(8, 4, 0), ValueError, "stages must be a whole number of at least 1, got 0"),
        (lambda: ResidualVQ(8, 4, 2, dropout=0.5), ValueError, "dropout must be one of False, True; got 0.5"),
        (lambda: ResidualVQ(8, 4, 2, metric="cosine"), ValueError, "metric must be one of 'euclidean'; got 'cosine'"),
        (lambda: ResidualVQ(8, 4, 2, ema_decay=2.0), ValueError, "ema_decay must be a finite number of at least 0 and below 1, got 2.0"),
    ],
)
def test_options_out_of_range_are_refused_by_name(make, error, message):
    with pytest.raises(error, match=message):
        make()


@every_quantizer
@pytest.mark.parametrize("width", [1, 4, 9])
def test_latents_of_another_width_are_not_taken_for_others(name, width):
    with pytest.raises((RuntimeError, IndexError)):
        MAKE[name]()(torch.zeros(2, width, 3))


@every_quantizer
@pytest.mark.parametrize("code", [-1, 32])
def test_indices_that_name_no_code_are_refused(name, code):
    indices = torch.tensor([[0, 0, code]]) if name == "residual" else torch.tensor([0, code])
    with pytest.raises(IndexError):
        MAKE[name]().lookup(indices)


@every_quantizer
def test_indices_that_are_no_integers_are_refused(name):
    with pytest.raises(RuntimeError):
        MAKE[name]().lookup(torch.zeros(2, 3))


@pytest.mark.parametrize("levels", [0, 4])
def test_more_levels_than_stages_are_refused(levels):
    with pytest.raises(ValueError, match=rf"indices must have 1 … 3 levels on their last axis, got shape \[5, {levels}\]"):
        MAKE["residual"]().lookup(torch.zeros(5, levels, dtype=torch.int64))


@every_quantizer
@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.zeros(0, 1, 8, 8), "x must be .* and not empty"),
        (torch.zeros(2, 3, 8, 8), "x must be"),
        (torch.zeros(2, 1, 9, 8), "sides divisible by 4"),
    ],
)
def test_the_models_door_refuses_pictures_that_will_not_do(name, x, message):
    with pytest.raises(ValueError, match=message):
        VQVAE(1, 16, MAKE[name]()).encode(x)


@every_quantizer
def test_the_models_door_refuses_codes_that_are_none(name):
    model = VQVAE(1, 16, MAKE[name]())
    levels = (3,) if name == "residual" else ()
    with pytest.raises(ValueError, match="indices must be"):
        model.decode(torch.zeros(0, 2, 2, *levels, dtype=torch.int64))
    with pytest.raises(TypeError, match="indices must be"):
        model.decode(torch.zeros(1, 2, 2, *levels))
    with pytest.raises(IndexError):
        model.decode(torch.full((1, 2, 2, *levels), 32))


@every_quantizer
def test_more_codes_than_vectors_is_no_error(name):
    """Codes that find no vector simply stay unused."""
    quantizer = MAKE[name]() if name != "residual" else ResidualVQ(4, 6, 3)  # with its k-means start
    out = quantizer(torch.randn(1, quantizer.embedding_dim))
    assert out.z_q.isfinite().all() and out.perplexity.item() == pytest.approx(1)
