"""Bad input to the quantizer: the error names the argument, what was given and what is accepted."""

import pytest
import torch

from vqdiff_edu.quantization.vector_quantizer import VectorQuantizer


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"num_embeddings": 0}, ValueError, "num_embeddings must be a whole number of at least 1, got 0"),
        ({"num_embeddings": 2.5}, TypeError, "num_embeddings must be a whole number of at least 1, got 2.5"),
        ({"num_embeddings": True}, TypeError, "num_embeddings must be a whole number of at least 1, got True"),
        ({"embedding_dim": -3}, ValueError, "embedding_dim must be a whole number of at least 1, got -3"),
        ({"commitment_cost": -0.1}, ValueError, "commitment_cost must be a finite number of at least 0, got -0.1"),
        ({"commitment_cost": float("nan")}, ValueError, "commitment_cost must be a finite number of at least 0, got nan"),
        ({"revive_below": float("inf")}, ValueError, "revive_below must be a finite number of at least 0, got inf"),
        ({"ema_decay": 1.0}, ValueError, "ema_decay must be a finite number of at least 0 and below 1, got 1.0"),
        ({"ema_decay": -0.5}, ValueError, "ema_decay must be a finite number of at least 0 and below 1, got -0.5"),
        ({"estimator": "gumbel"}, ValueError, "estimator must be one of 'straight_through', 'rotation'; got 'gumbel'"),
        ({"metric": "l1"}, ValueError, "metric must be one of 'euclidean', 'cosine'; got 'l1'"),
    ],
)
def test_options_out_of_range_are_refused_by_name(options, error, message):
    with pytest.raises(error, match=message):
        VectorQuantizer(**({"num_embeddings": 8, "embedding_dim": 4} | options))


@pytest.mark.parametrize("shape", [(2, 5, 3), (2, 8, 3), (4,), (2, 3, 4)])
@pytest.mark.parametrize("kmeans_init", [True, False])
def test_latents_of_another_width_are_not_taken_for_others(shape, kmeans_init):
    with pytest.raises((RuntimeError, IndexError)):
        VectorQuantizer(8, 4, kmeans_init=kmeans_init)(torch.zeros(shape))


@pytest.mark.parametrize("code", [-1, 8])
def test_indices_that_name_no_code_are_refused(code):
    with pytest.raises(IndexError):
        VectorQuantizer(8, 4).lookup(torch.tensor([0, code]))


def test_indices_that_are_no_integers_are_refused():
    with pytest.raises(RuntimeError):
        VectorQuantizer(8, 4).lookup(torch.zeros(3))
