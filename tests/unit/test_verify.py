"""The tools that judge everything else, judged: they must pass what is right and refuse what is not."""

import math

import numpy
import pytest
import torch
from scipy import stats

import vqdiff_edu.verify as verify_module
from vqdiff_edu.verify import verify, verify_mean

# ------------------------------------------------------------------ verify


def test_verify_prints_one_line_and_returns_the_largest_difference(capsys):
    left = torch.zeros(2, 512)
    left[1, 3] = 3.1e-8
    largest = verify("eq-reverse-posterior", left, torch.zeros(2, 512), atol=1e-6)
    assert largest == pytest.approx(3.1e-8, rel=1e-3)
    assert capsys.readouterr().out == "eq-reverse-posterior: max |difference| 3.1e-08 <= 1e-06 over 1,024 values\n"


@pytest.mark.parametrize("value", [2, 2.0, True + 1, numpy.float32(2), numpy.full((3,), 2.0), torch.tensor(2), [2.0, 2.0], 2 + 0j])
def test_verify_takes_numbers_arrays_and_tensors(value):
    assert verify("eq-x", value, 2.0, atol=0) == 0


def test_verify_tells_the_worst_place_and_both_values():
    left = torch.tensor([[1.0, 2.0], [3.0, 4.5]])
    with pytest.raises(AssertionError, match=r"eq-x: 2 of 4 values .* worst at \[1, 1\]: left 4.5, right 4"):
        verify("eq-x", left, torch.tensor([[1.0, 2.1], [3.0, 4.0]]), atol=0.01)


def test_verify_reports_the_worst_after_allowing_for_rtol():
    with pytest.raises(AssertionError, match=r"worst at \[0\]"):  # 1000 is off by more, but is allowed to be
        verify("eq-x", [1.5, 1001.0], [1.0, 1000.0], atol=0, rtol=0.01)


@pytest.mark.parametrize(
    "left, right", [(torch.zeros(4), torch.zeros(4, 1)), (torch.zeros(1), torch.zeros(3)), (torch.zeros(2, 3), torch.zeros(3))]
)
def test_verify_does_not_broadcast(left, right):
    with pytest.raises(AssertionError, match="shape"):
        verify("eq-x", left, right, atol=1.0)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_verify_refuses_non_finite_values_even_if_equal(bad):
    with pytest.raises(AssertionError, match="left has 1 non-finite values of 2"):
        verify("eq-x", [bad, 0.0], [bad, 0.0], atol=1.0)


@pytest.mark.parametrize("label", ["reverse-posterior", "fig-x", "eq-", "eq x", ""])
def test_verify_refuses_a_label_that_is_no_equation(label):
    with pytest.raises(ValueError, match="label"):
        verify(label, 1.0, 1.0, atol=0)


def test_verify_refuses_nothing_and_a_negative_tolerance():
    with pytest.raises(ValueError, match="left must be .* not empty"):
        verify("eq-x", torch.zeros(0, 3), torch.zeros(0, 3), atol=1)
    for atol in (-1e-6, math.nan):
        with pytest.raises(ValueError, match="atol"):
            verify("eq-x", 1.0, 1.0, atol=atol)


def test_verify_compares_in_double_precision():
    with pytest.raises(AssertionError):
        verify("eq-x", 1.0 + 1e-10, 1.0, atol=1e-12)
    with pytest.raises(AssertionError):
        verify("eq-x", 1j, 0.0, atol=0.5)


def test_verify_leaves_a_graph_alone():
    leaf = torch.ones(2, requires_grad=True)
    verify("eq-x", leaf * 2, torch.full((2,), 2.0), atol=0)
    assert leaf.grad is None


# ------------------------------------------------------------------ verify_mean


def normal(*shape, seed=0, **kwargs):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64, **kwargs)


def test_verify_mean_accepts_the_mean_and_refuses_a_shift_of_six_standard_errors():
    samples = normal(900, 5)
    samples -= samples.mean(0)  # the mean is now exactly 0 and the standard error 1/30
    assert verify_mean("eq-x", samples, torch.zeros(5)) == 0
    shift = torch.tensor([0, 0, 0, 0.2, 0], dtype=torch.float64)
    with pytest.raises(AssertionError, match=r"eq-x: z = .* at \[3\]: mean .* of n = 900, closed form 0"):
        verify_mean("eq-x", samples + shift, torch.zeros(5))


def test_verify_mean_widens_for_many_components():
    one = verify_module._family_threshold(4, 1)
    many = verify_module._family_threshold(4, 784)
    assert one == pytest.approx(4)
    assert 784 * stats.norm.sf(many) == pytest.approx(stats.norm.sf(4), rel=1e-6)
    assert verify_module._family_threshold(4, 10**7) < 8


def test_verify_mean_keeps_its_false_alarm_rate_at_small_n():
    """A component whose Student t has the rarity of 3 sigmas must come out as z = 3."""
    for dof in (29, 99, 3999):
        for z in (2.0, 3.0, 4.0, 5.5):
            t = stats.t.isf(stats.norm.sf(z), dof)
            assert verify_module._gaussian_z(torch.tensor(t), dof).item() == pytest.approx(z, rel=0.01)


def test_verify_mean_false_alarms_are_as_rare_as_promised():
    """At 2 sigmas, 4.6 % of families of 50 should fail: 400 families give 18 plus or minus 4.2; uncorrected, 90 % would."""
    failures = 0
    for seed in range(400):
        try:
            verify_mean("eq-x", normal(40, 50, seed=seed), 0.0, sigmas=2)
        except AssertionError:
            failures += 1
    assert 4 <= failures <= 36


def test_verify_mean_without_variance_asks_for_equality_up_to_rounding():
    third = torch.full((30, 2), 1 / 3)  # float32: its mean is 1/3 to 1e-8
    assert verify_mean("eq-x", third, 1 / 3) == 0
    with pytest.raises(AssertionError, match="z = inf"):
        verify_mean("eq-x", third, 0.33334)


def test_verify_mean_needs_thirty_replicates():
    for samples in (normal(29), torch.tensor(1.0)):
        with pytest.raises(ValueError, match="samples: the number of replicates must be .* at least 30"):
            verify_mean("eq-x", samples, 0.0)


def test_verify_mean_refuses_other_shapes_and_non_finite_values():
    with pytest.raises(AssertionError, match="shape"):
        verify_mean("eq-x", normal(30, 4), torch.zeros(4, 1))
    with pytest.raises(AssertionError, match="shape"):
        verify_mean("eq-x", normal(30, 4), torch.zeros(1))
    samples = normal(30, 4)
    samples[3, 2] = math.nan
    with pytest.raises(AssertionError, match="samples has 1 non-finite"):
        verify_mean("eq-x", samples, 0.0)


def test_verify_mean_catches_a_missing_square_root():
    variance = 0.04
    with pytest.raises(AssertionError):
        verify_mean("eq-x", (variance * normal(4000)) ** 2, variance)
    verify_mean("eq-x", (variance**0.5 * normal(4000)) ** 2, variance)
