"""What must hold of a VQ-VAE of any size, on any picture."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from vqdiff_edu.quantization.vector_quantizer import VectorQuantizer
from vqdiff_edu.quantization.vqvae import VQVAE

SPECS = st.fixed_dictionaries(
    {
        "downsample": st.sampled_from([2, 4, 8]),
        "channels": st.integers(1, 3),
        "rows": st.integers(1, 3),
        "columns": st.integers(1, 3),
        "codes": st.integers(1, 9),
        "dim": st.integers(1, 6),
        "hidden": st.sampled_from([16, 32]),
        "blocks": st.integers(0, 1),
        "batch": st.integers(1, 3),
        "seed": st.integers(0, 1000),
    }
)


def build(s):
    """A small untrained model and a batch that fits it."""
    torch.manual_seed(s["seed"])
    quantizer = VectorQuantizer(s["codes"], s["dim"])
    model = VQVAE(s["channels"], s["hidden"], quantizer, downsample=s["downsample"], blocks=s["blocks"])
    return model, torch.rand(s["batch"], s["channels"], s["downsample"] * s["rows"], s["downsample"] * s["columns"]) * 2 - 1


@given(SPECS)
def test_codes_fit_the_grid_and_the_codebook_and_decode_to_the_forward_pass(spec):
    model, x = build(spec)
    model.eval()
    out = model(x)
    grid = [side // model.downsample for side in x.shape[2:]]
    assert list(out.indices.shape) == [len(x), *grid]
    assert 0 <= int(out.indices.min()) <= int(out.indices.max()) < model.quantizer.num_embeddings
    assert torch.equal(model.decode(model.encode(x)), out.x_hat)


@given(SPECS)
def test_pictures_of_a_batch_do_not_see_each_other(spec):
    model, x = build(spec)
    model.eval()
    alone = torch.cat([model.encode_latents(picture[None]) for picture in x])
    assert torch.allclose(model.encode_latents(x), alone, atol=1e-4)


@given(SPECS, st.booleans())
def test_asking_never_changes_the_model(spec, training):
    model, x = build(spec)
    model.train(training)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    codes = model.encode(x)
    model.decode(codes), model.decode_latents(model.encode_latents(x)), model.quantize(model.encode_latents(x))
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert model.training is training and model.quantizer.training is training


@given(SPECS)
def test_every_training_step_has_finite_gradients(spec):
    model, x = build(spec)
    out = model.train()(x)
    out.loss.backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)
    assert any(p.grad is not None and p.grad.abs().max() > 0 for p in model.encoder.parameters())


@given(SPECS)
def test_latents_are_quantized_by_decode_latents_only_when_asked(spec):
    model, x = build(spec)
    model.eval()
    z = model.encode_latents(x)
    z_q = model.quantize(z).z_q
    assert torch.equal(model.decode_latents(z), model.decode_latents(z_q, quantize=False))
    assert torch.equal(model.decode_latents(z, quantize=False), model.decoder(z))
