"""Bad input to the quantizer: the error names the argument, what was given and what is accepted."""

import pytest
import torch

from vqdiff_edu.quantization.vector_quantizer import VectorQuantizer


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_embeddings": 0}, "num_embeddings must be a whole number of at least 1, got 0"),
        ({"num_embeddings": 2.5}, "num_embeddings must be a whole number of at least 1, got 2.5"),
        ({"embedding_dim": -3}, "embedding_dim must be a whole number of at least 1, got -3"),
        ({"commitment_cost": -0.1}, "commitment_cost must be a finite number of at least 0, got -0.1"),
        ({"commitment_cost": float("nan")}, "commitment_cost must be a finite number of at least 0, got nan"),
        ({"revive_below": float("inf")}, "revive_below must be a finite number of at least 0, got inf"),
        ({"ema_decay": 1.0}, r"ema_decay must be in \[0, 1\), or None .* got 1.0"),
        ({"ema_decay": -0.5}, r"ema_decay must be in \[0, 1\), or None .* got -0.5"),
        ({"estimator": "gumbel"}, "estimator must be one of straight_through, rotation; got 'gumbel'"),
        ({"metric": "l1"}, "metric must be 'euclidean' or 'cosine', got 'l1'"),
    ],
)
def test_options_out_of_range_are_refused_by_name(options, message):
    with pytest.raises(ValueError, match=message):
        VectorQuantizer(**({"num_embeddings": 8, "embedding_dim": 4} | options))


@pytest.fixture
def quantizer():
    return VectorQuantizer(8, 4, kmeans_init=False)


@pytest.mark.parametrize("shape", [(2, 5, 3), (4,), (2, 3, 4), (0, 4), (2, 4, 0)])
def test_latents_of_another_shape_are_refused(quantizer, shape):
    with pytest.raises(ValueError, match=r"z_e must be \[batch, 4, \*space\] and not empty, got \["):
        quantizer(torch.zeros(shape))


@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8, torch.bool, torch.complex64])
def test_latents_that_are_no_floats_are_refused(quantizer, dtype):
    with pytest.raises(TypeError, match="z_e must be a floating-point tensor, got torch"):
        quantizer(torch.zeros(2, 4, dtype=dtype))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("training", [True, False])
def test_latents_that_are_not_finite_are_refused_before_they_move_anything(quantizer, bad, training):
    before = {name: value.clone() for name, value in quantizer.state_dict().items()}
    z = torch.zeros(2, 4, 3)
    z[1, 2, 0] = bad
    with pytest.raises(ValueError, match="z_e holds NaN or infinity"):
        quantizer.train(training)(z)
    assert all(torch.equal(value, before[name]) for name, value in quantizer.state_dict().items())


@pytest.mark.parametrize(("indices", "given"), [([0, 8], "0 … 8"), ([-1, 3], "-1 … 3")])
def test_indices_that_name_no_code_are_refused(quantizer, indices, given):
    with pytest.raises(ValueError, match=f"indices must lie in 0 … 7, got {given}"):
        quantizer.lookup(torch.tensor(indices))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bool])
def test_indices_that_are_no_integers_are_refused(quantizer, dtype):
    with pytest.raises(TypeError, match="indices must be an integer tensor, got torch"):
        quantizer.lookup(torch.zeros(3, dtype=dtype))


def test_indices_have_a_batch_axis_and_any_whole_dtype():
    quantizer = VectorQuantizer(8, 4)
    with pytest.raises(ValueError, match="indices must be .*the single number 3"):
        quantizer.lookup(torch.tensor(3))
    assert torch.equal(quantizer.lookup(torch.tensor([3], dtype=torch.uint8)), quantizer.lookup(torch.tensor([3])))


def test_true_is_no_number_of_codes():
    with pytest.raises(ValueError, match="num_embeddings must be a whole number"):
        VectorQuantizer(True, 4)
