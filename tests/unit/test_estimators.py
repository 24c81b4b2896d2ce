"""The estimators against their definitions, by autograd and by enumeration."""

import pytest
import torch
import torch.nn.functional as F

from vqdiff_edu.quantization.estimators import ESTIMATORS, gumbel_softmax, rotation_trick, straight_through


def pair(n=64, dim=8, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    z_e, z_q = (torch.randn(n, dim, generator=generator, dtype=torch.float64).to(dtype) for _ in range(2))
    return z_e.requires_grad_(), z_q, torch.randn(n, dim, generator=generator, dtype=torch.float64).to(dtype)


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_value_is_the_code_exactly_even_beside_a_much_larger_vector(name, dtype):
    z_e, z_q, _ = pair(dtype=dtype)
    z = ESTIMATORS[name](1e4 * z_e, z_q)
    assert z.dtype == dtype
    assert torch.equal(z, z_q)


def test_straight_through_hands_the_gradient_on_unchanged():
    z_e, z_q, g = pair()
    (got,) = torch.autograd.grad(straight_through(z_e, z_q), z_e, g)
    assert torch.equal(got, g)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_the_codebook_gets_no_gradient_from_the_estimator(name):
    z_e, z_q, g = pair()
    z_q.requires_grad_()
    (got,) = torch.autograd.grad(ESTIMATORS[name](z_e, z_q), z_q, g, allow_unused=True)
    assert got is None


def jacobian(z_e, z_q):
    rows = torch.eye(len(z_q), dtype=z_q.dtype)
    leaf = z_e.detach().requires_grad_()
    z = rotation_trick(leaf, z_q)
    return torch.stack([torch.autograd.grad(z, leaf, row, retain_graph=True)[0] for row in rows])


def test_rotation_jacobian_carries_the_vector_to_its_code_and_is_a_stretched_rotation():
    z_e, z_q, _ = pair(n=1, dim=6)
    z_e, z_q = z_e[0].detach(), z_q[0]
    stretch, j = z_q.norm() / z_e.norm(), jacobian(z_e, z_q)
    torch.testing.assert_close(j @ z_e, z_q)
    torch.testing.assert_close(j.T @ j, stretch**2 * torch.eye(6, dtype=j.dtype))
    assert torch.linalg.det(j / stretch).item() == pytest.approx(1)


def test_rotation_leaves_what_is_orthogonal_to_both_vectors_alone():
    z_e, z_q = torch.tensor([1.0, 2.0, 0.0, 0.0]), torch.tensor([-2.0, 0.5, 0.0, 0.0])
    j = jacobian(z_e, z_q) * z_e.norm() / z_q.norm()
    torch.testing.assert_close(j[2:, 2:], torch.eye(2))
    torch.testing.assert_close(j[:2, 2:], torch.zeros(2, 2))


def test_rotation_by_hand():
    z_e, z_q = torch.tensor([[2.0, 0.0]], requires_grad=True), torch.tensor([[0.0, 1.0]])  # a quarter turn, halved
    (got,) = torch.autograd.grad(rotation_trick(z_e, z_q), z_e, torch.tensor([[1.0, 3.0]]))
    torch.testing.assert_close(got, torch.tensor([[1.5, -0.5]]))


def test_rotation_of_parallel_vectors_is_the_stretch_alone():
    z_e, _, g = pair()
    (got,) = torch.autograd.grad(rotation_trick(z_e, 3 * z_e.detach()), z_e, g)
    torch.testing.assert_close(got, 3 * g)


SPECIAL = {
    "vector zero": ([0.0, 0.0], [1.0, 2.0], [1.0, 5.0]),  # no direction: straight-through
    "vector tiny beside its code": ([1e-30, 0.0], [1.0, 2.0], [1.0, 5.0]),
    "both zero": ([0.0, 0.0], [0.0, 0.0], [1.0, 5.0]),
    "code zero": ([1.0, 2.0], [0.0, 0.0], [0.0, 0.0]),  # the stretch is 0
    "antiparallel": ([1.0, 0.0], [-2.0, 0.0], [-2.0, 10.0]),  # reflection, stretched by 2
}


@pytest.mark.parametrize("case", SPECIAL)
def test_rotation_special_cases(case):
    z_e, z_q, want = (torch.tensor([row]) for row in SPECIAL[case])
    z_e.requires_grad_()
    z = rotation_trick(z_e, z_q)
    (got,) = torch.autograd.grad(z, z_e, torch.tensor([[1.0, 5.0]]))
    assert torch.equal(z, z_q)
    torch.testing.assert_close(got, want)


@pytest.mark.parametrize("angle", [1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 0.0])
def test_rotation_stays_orthogonal_near_antiparallel_in_float32(angle):
    z_e = torch.tensor([1.3, -0.7, 0.2])
    z_q = -z_e + angle * torch.tensor([0.7, 1.3, 0.0])
    j = jacobian(z_e, z_q) * z_e.norm() / z_q.norm()
    torch.testing.assert_close(j.T @ j, torch.eye(3), atol=2e-6, rtol=0)
    assert F.cosine_similarity(j @ z_e, z_q, dim=0) > 1 - 1e-5


def test_estimators_take_no_vectors_and_any_leading_shape():
    for estimator in ESTIMATORS.values():
        assert estimator(torch.zeros(0, 4), torch.zeros(0, 4)).shape == (0, 4)
        assert estimator(torch.ones(2, 3, 5, 4), torch.ones(2, 3, 5, 4)).shape == (2, 3, 5, 4)


def test_gumbel_softmax_is_torch_s_own_for_the_same_noise():
    logits = torch.randn(5, 7, 3, generator=torch.Generator().manual_seed(1))
    with torch.random.fork_rng():
        torch.manual_seed(2)
        theirs = F.gumbel_softmax(logits, tau=0.7, dim=1)
    ours = gumbel_softmax(logits, 0.7, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(ours, theirs)


def test_gumbel_hard_is_one_hot_exactly_with_the_gradient_of_the_soft():
    logits = torch.randn(50, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64).requires_grad_()
    soft, hard = (gumbel_softmax(logits, 0.5, h, generator=torch.Generator().manual_seed(3)) for h in (False, True))
    assert torch.equal(hard.detach(), F.one_hot(soft.argmax(1), 4).double())
    g = torch.randn(50, 4, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    assert torch.equal(*(torch.autograd.grad(y, logits, g)[0] for y in (soft, hard)))


def test_gumbel_classes_lie_on_the_second_axis_by_default():
    logits = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(gumbel_softmax(logits).sum(1), torch.ones(2, 4, 5))
    torch.testing.assert_close(gumbel_softmax(logits, axis=-1).sum(-1), torch.ones(2, 3, 4))


def test_gumbel_frequencies_are_the_softmax():
    theta = torch.tensor([1.0, -0.5, 0.0, 2.0])
    n = 40_000
    counts = gumbel_softmax(theta.expand(n, 4), hard=True, generator=torch.Generator().manual_seed(5)).mean(0)
    p = theta.softmax(0)
    assert ((counts - p).abs() < 4 * (p * (1 - p) / n).sqrt()).all()


def test_gumbel_leaves_global_randomness_alone_and_repeats():
    before = torch.get_rng_state()
    first, second = (gumbel_softmax(torch.zeros(3, 4), generator=torch.Generator().manual_seed(6)) for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(before, torch.get_rng_state())
