"""What must hold of a VQ-VAE of any size, on any picture."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from vqdiff_edu.vector_quantizer import VectorQuantizer
from vqdiff_edu.vqvae import VQVAE


@st.composite
def models_and_pictures(draw):
    """A small untrained model and a batch that fits it."""
    downsample, channels = draw(st.sampled_from([2, 4, 8])), draw(st.integers(1, 3))
    height, width = (downsample * draw(st.integers(1, 3)) for _ in range(2))
    torch.manual_seed(draw(st.integers(0, 1000)))
    quantizer = VectorQuantizer(draw(st.integers(1, 9)), draw(st.integers(1, 6)))
    model = VQVAE(channels, draw(st.sampled_from([16, 32])), quantizer, downsample, blocks=draw(st.integers(0, 1)))
    return model, torch.rand(draw(st.integers(1, 3)), channels, height, width) * 2 - 1


@given(models_and_pictures())
def test_codes_fit_the_grid_and_the_codebook_and_decode_to_the_forward_pass(given_pair):
    model, x = given_pair
    model.eval()
    out = model(x)
    grid = [side // model.downsample for side in x.shape[2:]]
    assert list(out.indices.shape) == [len(x), *grid]
    assert 0 <= int(out.indices.min()) <= int(out.indices.max()) < model.quantizer.num_embeddings
    assert torch.equal(model.decode(model.encode(x)), out.x_hat)


@given(models_and_pictures())
def test_pictures_of_a_batch_do_not_see_each_other(given_pair):
    model, x = given_pair
    model.eval()
    alone = torch.cat([model.encode_latents(picture[None]) for picture in x])
    assert torch.allclose(model.encode_latents(x), alone, atol=1e-4)


@given(models_and_pictures(), st.booleans())
def test_asking_never_changes_the_model(given_pair, training):
    model, x = given_pair
    model.train(training)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    codes = model.encode(x)
    model.decode(codes), model.decode_latents(model.encode_latents(x)), model.quantize(model.encode_latents(x))
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert model.training is training and model.quantizer.training is training


@given(models_and_pictures())
def test_every_training_step_has_finite_gradients(given_pair):
    model, x = given_pair
    out = model.train()(x)
    out.loss.backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)
    assert any(p.grad is not None and p.grad.abs().max() > 0 for p in model.encoder.parameters())


@given(models_and_pictures())
def test_latents_are_quantized_by_decode_latents_only_when_asked(given_pair):
    model, x = given_pair
    model.eval()
    z = model.encode_latents(x)
    z_q = model.quantize(z).z_q
    assert torch.equal(model.decode_latents(z), model.decode_latents(z_q, quantize=False))
    assert torch.equal(model.decode_latents(z, quantize=False), model.decoder(z))
