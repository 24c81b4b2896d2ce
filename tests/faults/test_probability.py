"""Bad input to vqdiff_edu.probability is refused by name. Run with JAXTYPING_DISABLE=1."""

import pytest
import torch

from vqdiff_edu.probability import categorical_kl, condition_gaussian, gaussian_log_density, gaussian_product, normal_kl, sample_gaussian

ONE = torch.ones(1)


def test_categorical_kl_wants_equal_shapes():
    with pytest.raises(ValueError, match=r"logits1 and logits2 .*\(2, 3\) and \(2, 4\)"):
        categorical_kl(torch.zeros(2, 3), torch.zeros(2, 4))
    with pytest.raises(ValueError, match="same shape"):
        categorical_kl(torch.zeros(2, 3), torch.zeros(1, 3))


def test_sample_gaussian_wants_equal_shapes():
    with pytest.raises(ValueError, match=r"mean and logvar .*\(3,\) and \(1,\)"):
        sample_gaussian(torch.zeros(3), torch.zeros(1))


@pytest.mark.parametrize("bad", [0.0, -1.0, float("nan")])
@pytest.mark.parametrize("which", ["var1", "var2"])
def test_gaussian_product_refuses_variances_that_are_none(which, bad):
    variances = {"var1": ONE, "var2": ONE} | {which: bad * ONE}
    with pytest.raises(ValueError, match=f"{which} must be above 0"):
        gaussian_product(mean1=ONE, mean2=ONE, **variances)


@pytest.mark.parametrize(
    "mean, cov, index, observed, match",
    [
        (torch.zeros(3), torch.eye(2), [0], torch.zeros(1), r"cov square to match.*\(3,\) and \(2, 2\)"),
        (torch.zeros(3, 1), torch.eye(3), [0], torch.zeros(1), "mean must be a vector"),
        (torch.zeros(3), torch.eye(3), [0, 1], torch.zeros(1), r"observed must hold one value.*\(1,\) for 2"),
        (torch.zeros(3), torch.eye(3), [0, 0], torch.zeros(2), r"distinct numbers from 0 to 2, got \[0, 0\]"),
        (torch.zeros(3), torch.eye(3), [3], torch.zeros(1), r"from 0 to 2, got \[3\]"),
        (torch.zeros(3), torch.eye(3), [-1], torch.zeros(1), r"from 0 to 2, got \[-1\]"),
    ],
)
def test_condition_gaussian_names_what_does_not_fit(mean, cov, index, observed, match):
    with pytest.raises(ValueError, match=match):
        condition_gaussian(mean, cov, index, observed)


def test_whole_numbers_are_refused_and_not_rounded():
    with pytest.raises(TypeError, match="mean1 must be a floating-point tensor, got torch.int64"):
        normal_kl(torch.tensor([1]), 0.5, 0.7, -0.5)
    with pytest.raises(TypeError, match="x must be a floating-point tensor, got torch.int64"):
        gaussian_log_density(torch.tensor([0, 1]), 0.5, 0.3)
