"""Bad input to vqdiff_edu.probability is refused by name. Run with JAXTYPING_DISABLE=1."""

import pytest
import torch

from vqdiff_edu.probability import categorical_kl, condition_gaussian, gaussian_log_density, normal_kl, sample_gaussian

ZEROS, EYE = torch.zeros(3), torch.eye(3)


@pytest.mark.parametrize(
    ("call", "error", "name"),
    [
        (lambda: categorical_kl(torch.zeros(2, 3), torch.zeros(2, 4)), ValueError, r"logits1 and logits2 .*\[2, 3\] and \[2, 4\]"),
        (lambda: categorical_kl(torch.zeros(2, 3), torch.zeros(1, 3)), ValueError, "logits1 and logits2 must have one shape"),
        (lambda: sample_gaussian(torch.zeros(3), torch.zeros(1)), ValueError, r"mean and logvar .*\[3\] and \[1\]"),
        (lambda: condition_gaussian(ZEROS, torch.eye(2), [0], ZEROS[:1]), ValueError, r"cov must be .*3 3.* got shape \[2, 2\]"),
        (lambda: condition_gaussian(ZEROS[:, None], EYE, [0], ZEROS[:1]), ValueError, r"mean must be .* got shape \[3, 1\]"),
        (lambda: condition_gaussian(ZEROS, EYE, [0, 1], ZEROS[:1]), ValueError, r"index and observed .*\[2\] and \[1\]"),
        (lambda: condition_gaussian(ZEROS, EYE, [0, 0], ZEROS[:2]), ValueError, r"index must hold distinct numbers, got \[0, 0\]"),
        (lambda: condition_gaussian(ZEROS, EYE, [3], ZEROS[:1]), ValueError, "index must be .* in 0 … 2, got 3"),
        (lambda: condition_gaussian(ZEROS, EYE, [-1], ZEROS[:1]), ValueError, "index must be .* in 0 … 2, got -1"),
        (lambda: condition_gaussian(ZEROS, EYE, [0.5], ZEROS[:1]), TypeError, "index must be a whole number"),
    ],
)
def test_arguments_are_refused_by_name(call, error, name):
    with pytest.raises(error, match=f"^{name}"):
        call()


def test_whole_numbers_count_as_floats_and_round_nothing():
    """In the dtype of an integer a log-variance of 0.5 would become 0."""
    assert torch.equal(normal_kl(torch.tensor([1]), 0.5, 0.7, -0.5), normal_kl(torch.tensor([1.0]), 0.5, 0.7, -0.5))
    assert torch.equal(gaussian_log_density(torch.tensor([0, 1]), 0.5, 0.3), gaussian_log_density(torch.tensor([0.0, 1.0]), 0.5, 0.3))
