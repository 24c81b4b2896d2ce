"""The U-Net's shapes, condition and start."""

import pytest
import torch
import torch.nn.functional as F

from vqdiff_edu.diffusion.unet import ResidualBlock, SpatialAttention, UNet, timestep_embedding


def small(**changes):
    torch.manual_seed(0)
    return UNet(**{"channels": (16, 24), "blocks": 1, "embedding": 32} | changes)


def awake(model):
    """The model with its zero-initialised layers moved, so that everything has an effect."""
    with torch.no_grad():
        for p in model.parameters():
            p += 0.05 * torch.randn(p.shape, generator=torch.Generator().manual_seed(p.numel()))
    return model.eval()


@pytest.mark.parametrize("channels", [(16,), (16, 24), (16, 24, 32)])
@pytest.mark.parametrize(("patch", "side"), [(1, 28), (2, 32), (2, 56)])
def test_returns_the_shape_of_its_input(channels, patch, side):
    model = small(in_channels=3, channels=channels, patch=patch)
    x = torch.randn(2, 3, side, side)
    assert model(x, torch.tensor([0, 999]), label=torch.tensor([1, 10])).shape == x.shape


def test_blocks_begin_as_identities():
    x, e = torch.randn(2, 16, 7, 7), torch.randn(2, 32)
    assert torch.equal(ResidualBlock(16, 32)(x, e), x)
    assert torch.equal(SpatialAttention(16)(x), x)


def test_attention_agrees_with_the_formula_written_out():
    layer = awake(SpatialAttention(16, heads=2))
    x = torch.randn(1, 16, 3, 3)
    q, k, v = layer.to_qkv(layer.norm(x)).reshape(3, 2, 8, 9)
    mixed = [vh @ torch.softmax((qh.T @ kh) / 8**0.5, 1).T for qh, kh, vh in zip(q, k, v)]
    expected = x + layer.out(torch.cat(mixed).reshape(1, 16, 3, 3))
    assert torch.allclose(layer(x), expected, atol=1e-5)


def test_step_and_label_matter_and_none_is_the_null_label():
    model, x, t = awake(small()), torch.randn(2, 1, 28, 28), torch.tensor([10, 10])
    base = model(x, t, label=torch.tensor([3, 3]))
    assert not torch.allclose(base, model(x, t + 500, label=torch.tensor([3, 3])))
    assert not torch.allclose(base, model(x, t, label=torch.tensor([4, 4])))
    assert torch.equal(model(x, t), model(x, t, **model.null_cond(2)))
    assert model.null_cond(2)["label"].tolist() == [10, 10]


def test_labels_are_dropped_at_the_given_rate_and_only_in_training():
    model = small(label_dropout=0.25)
    t, label = torch.zeros(4000, dtype=torch.long), torch.full((4000,), 3)
    torch.manual_seed(1)
    dropped = (model.train().condition(t, label) - model.condition(t, None)[:1]).abs().sum(1) < 1e-6
    assert abs(dropped.float().mean() - 0.25) < 5 * (0.25 * 0.75 / 4000) ** 0.5
    model.eval()
    assert torch.equal(model.condition(t, label)[0], model.condition(t, label)[-1])


def test_a_model_without_classes():
    model = small(num_classes=None)
    assert model.null_cond(3) == {}
    assert model(torch.randn(1, 1, 28, 28), torch.tensor([5])).shape == (1, 1, 28, 28)


def test_examples_of_a_batch_do_not_mix():
    model, x, t = awake(small()), torch.randn(3, 1, 28, 28), torch.tensor([1, 500, 999])
    together = model(x, t)
    alone = torch.cat([model(x[i : i + 1], t[i : i + 1]) for i in range(3)])
    assert torch.allclose(together, alone, atol=1e-5)


def test_every_parameter_gets_a_gradient():
    model = awake(small()).train()
    F.mse_loss(model(torch.randn(4, 1, 28, 28), torch.arange(4), label=torch.arange(4)), torch.zeros(4, 1, 28, 28)).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_dropped_labels_come_from_the_models_generator_if_it_has_one():
    model, t, label = small(label_dropout=0.5).train(), torch.zeros(64, dtype=torch.long), torch.full((64,), 3)
    before, outcomes = torch.get_rng_state(), []
    for _ in range(2):
        model.generator = torch.Generator().manual_seed(7)
        outcomes.append(model.condition(t, label))
    assert torch.equal(*outcomes)
    assert torch.equal(torch.get_rng_state(), before)
    assert len(outcomes[0].unique(dim=0)) == 2  # some dropped, some kept


def test_a_time_may_be_a_fraction():
    model, x = awake(small()), torch.randn(2, 1, 28, 28)
    whole, same, between = (model(x, torch.tensor(t)) for t in ([3, 3], [3.0, 3.0], [3.5, 3.5]))
    assert torch.equal(whole, same)
    assert not torch.allclose(whole, between, atol=1e-5)


def test_hands_turn_at_frequencies_that_fall_by_one_factor_and_would_reach_the_longest_period_next():
    e = timestep_embedding(torch.tensor([1]), 8, max_period=10_000.0)[0].double()
    assert torch.allclose(torch.atan2(e[4:], e[:4]), torch.tensor([1.0, 0.1, 0.01, 0.001]).double(), atol=1e-6)


def test_timestep_embedding_is_made_of_hands():
    e = timestep_embedding(torch.tensor([0, 7]), 8)
    assert torch.equal(e[0], torch.tensor([1.0, 1, 1, 1, 0, 0, 0, 0]))
    assert torch.allclose(e[1, :4].square() + e[1, 4:].square(), torch.ones(4))
    assert torch.allclose(e[1, 4], torch.tensor(7.0).sin())
