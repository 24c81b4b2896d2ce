"""What must hold of the quantizer for every batch."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from vqdiff_edu.quantization.kmeans import kmeans, nearest_code, sum_by_code
from vqdiff_edu.quantization.vector_quantizer import VectorQuantizer, batch_perplexity

seeds = st.integers(0, 2**31)


@st.composite
def scenes(draw):
    """Vectors and codes in float64, with scales from tiny to large and sometimes repeated rows."""
    generator = torch.Generator().manual_seed(draw(seeds))
    n, k, dim = draw(st.integers(1, 40)), draw(st.integers(1, 12)), draw(st.integers(1, 6))
    scale = 10.0 ** draw(st.integers(-3, 3))
    vectors, codes = (scale * torch.randn(rows, dim, generator=generator, dtype=torch.float64) for rows in (n, k))
    if draw(st.booleans()):
        codes[-1] = codes[0]
    return vectors, codes, scale


@given(scenes())
def test_no_code_is_nearer_than_the_chosen_one(scene):
    vectors, codes, scale = scene
    distances = (vectors[:, None] - codes[None]).square().sum(-1)
    chosen = distances.gather(1, nearest_code(vectors, codes)[:, None]).squeeze(1)
    assert (chosen <= distances.amin(1) + 1e-12 * scale**2 * vectors.shape[1]).all()


@given(scenes())
def test_counts_and_sums_lose_nothing(scene):
    vectors, codes, scale = scene
    counts, sums = sum_by_code(vectors, nearest_code(vectors, codes), len(codes))
    assert counts.sum() == len(vectors)
    torch.testing.assert_close(sums.sum(0), vectors.sum(0), atol=1e-9 * scale, rtol=1e-9)


@given(scenes(), seeds)
def test_lloyd_never_makes_the_distortion_worse(scene, seed):
    vectors, _, scale = scene
    k, worst = min(4, len(vectors)), float("inf")
    for iterations in (0, 1, 2, 5):
        torch.manual_seed(seed)
        centres = kmeans(vectors, k, iterations)
        distortion = torch.cdist(vectors, centres).amin(1).square().mean().item()
        assert distortion <= worst + 1e-9 * scale**2
        worst = distortion


@given(scenes(), st.floats(0, 0.999), st.booleans())
def test_a_running_mean_stays_among_old_code_and_batch(scene, decay, evaluating):
    vectors, codes, scale = scene
    quantizer = VectorQuantizer(len(codes), codes.shape[1], ema_decay=decay, kmeans_init=False, revive_below=0.0).double()
    quantizer.codebook.copy_(codes)
    quantizer.total.copy_(codes)
    out = quantizer.train(not evaluating)(vectors)
    assert torch.equal(out.z_q, codes[out.indices])
    if evaluating:
        assert torch.equal(quantizer.codebook, codes)
    everything = torch.cat([vectors, codes])
    low, high = everything.amin(0) - 1e-9 * scale, everything.amax(0) + 1e-9 * scale
    assert ((quantizer.codebook >= low) & (quantizer.codebook <= high)).all()


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=20).filter(any))
def test_perplexity_lies_between_one_and_the_codes_in_use(counts):
    counts = torch.tensor(counts, dtype=torch.float64)
    value = batch_perplexity(counts).item()
    assert 1 - 1e-9 <= value <= (counts > 0).sum().item() + 1e-9


@given(seeds, st.integers(1, 20), st.integers(1, 30))
def test_any_first_batch_gives_a_finite_start(seed, k, n):
    torch.manual_seed(seed)
    quantizer = VectorQuantizer(k, 3)
    z = torch.randn(n, 3) if seed % 2 else torch.ones(n, 3)  # also a batch of equal vectors
    out = quantizer(z)
    assert all(value.isfinite().all() for value in quantizer.state_dict().values())
    assert bool(quantizer.started) and 1 - 1e-5 <= out.perplexity <= min(k, n) + 1e-4
