"""The shipped generators of digits: they draw what is asked, the same for the same seed, with their card's settings."""

import pytest
import torch

from vqdiff_edu.diffusion import digits as digits_module
from vqdiff_edu.diffusion.digits import DigitGenerator, digit_task, generate, make_ddpm
from vqdiff_edu.registry import load_pretrained


@pytest.mark.parametrize("name", ["mnist-ddpm", "mnist-latent", "mnist-prior", "mnist-maskgit"])
def test_a_generator_draws_what_is_asked(name):
    labels = torch.arange(40) % 10
    images = generate(load_pretrained(name), labels, generator=torch.Generator().manual_seed(0))
    assert images.shape == (40, 1, 28, 28) and images.abs().max() <= 1
    assert (load_pretrained("digit-classifier")(images).argmax(1) == labels).sum() >= 36


def test_the_card_promises_what_the_book_says():
    assert load_pretrained("mnist-ddpm").card["metrics"]["guided"]["label_accuracy"]["mean"] >= 0.99


def test_defaults_come_from_the_card_and_arguments_go_before_it(monkeypatch):
    pipeline, seen = load_pretrained("mnist-ddpm"), {}
    monkeypatch.setattr(digits_module, "sample_ddim", lambda *args, **kwargs: seen.update(kwargs) or torch.zeros(args[2]))
    pipeline([1, 2])
    assert (seen["num_inference_steps"], seen["guidance_scale"], seen["guidance_interval"]) == (20, 1.5, [400, 900])
    generate(pipeline, [1, 2], num_inference_steps=7, guidance_scale=1.0)
    assert (seen["num_inference_steps"], seen["guidance_scale"]) == (7, 1.0)
    pipeline([1, 2], guidance_interval=(0, 500))
    assert (seen["guidance_scale"], seen["guidance_interval"]) == (1.5, (0, 500))


def test_a_seed_is_a_picture():
    pipeline = load_pretrained("mnist-ddpm")
    one, again = (pipeline([7], num_inference_steps=2, generator=torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(one, again)


def test_the_pipeline_and_the_function_draw_alike():
    pipeline = load_pretrained("mnist-ddpm")
    draws = [
        f([3], num_inference_steps=2, generator=torch.Generator().manual_seed(1))
        for f in (pipeline, lambda y, **o: generate(pipeline, y, **o))
    ]
    assert torch.equal(*draws)


def test_anything_that_is_called_with_labels_generates():
    def grey(labels, num_inference_steps, guidance_scale, generator):
        return torch.zeros(len(labels), 1, 28, 28)

    assert generate(grey, [1, 2]).shape == (2, 1, 28, 28)


@pytest.mark.parametrize("name", ["mnist-vqvae", "writing-video"])
def test_what_is_no_generator_of_digits_is_refused(name):
    with pytest.raises(TypeError, match="pipeline must draw digits for labels"):
        generate(load_pretrained(name), [1])


def test_the_whole_pipeline_moves_with_its_model_and_stores_it_alone():
    pipeline = make_ddpm((8, 16))
    assert isinstance(pipeline, DigitGenerator)
    assert {key.split(".")[0] for key in pipeline.state_dict()} == {"model"}
    assert all(value.is_meta for value in pipeline.to("meta").state_dict().values())


def test_the_task_asks_for_v_at_a_step_and_a_noise_of_its_generator():
    """The loss by hand: v = sqrt(abar) noise - sqrt(1 - abar) x, mean square error."""
    pipeline = make_ddpm((8, 16)).eval()
    batch = {"image": torch.randint(256, (3, 1, 28, 28), dtype=torch.uint8), "label": torch.tensor([0, 4, 9])}
    loss, logs = digit_task(pipeline).loss(batch, torch.Generator().manual_seed(2))
    g = torch.Generator().manual_seed(2)
    t = (1000 * torch.randn(3, generator=g).sigmoid()).long()
    noise, x = torch.randn(3, 1, 28, 28, generator=g), batch["image"] / 127.5 - 1
    abar = torch.cos((torch.arange(1001).double() / 1000 + 0.008) / 1.008 * torch.pi / 2) ** 2
    betas = (1 - abar[1:] / abar[:-1]).clamp(max=0.999)
    abar = (1 - betas).cumprod(0)[t].float()[:, None, None, None]
    noisy, v = abar.sqrt() * x + (1 - abar).sqrt() * noise, abar.sqrt() * noise - (1 - abar).sqrt() * x
    with torch.no_grad():
        by_hand = (pipeline.model(noisy, t, label=batch["label"]) - v).square().mean()
    assert loss.item() == pytest.approx(by_hand.item(), rel=1e-4)
    assert all(value.ndim == 0 for value in logs.values())
