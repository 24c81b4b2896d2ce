"""The live figures, used in a browser: what they compute is what torch computes."""

import itertools

import pytest
import torch

import live
import live_stories
from vqdiff_edu import load_pretrained
from vqdiff_edu.data import running_noise

CLOSE = {"atol": 1e-3, "rtol": 0}


def test_nothing_large_is_fetched_before_it_is_asked_for(visit):
    for name in live.figures():
        visit.wake(name)
    visit.page.wait_for_timeout(200)
    assert not visit.models_asked()


@pytest.mark.parametrize("name", live.figures())
def test_a_figure_fits_a_phone_and_shows_something(visit, name):
    visit.page.set_viewport_size({"width": 390, "height": 844})
    figure = visit.wake(name)
    visit.page.wait_for_timeout(100)
    assert visit.page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    blank = figure.evaluate(
        """(root) => [...root.querySelectorAll("canvas")].filter((c) => c.width && c.height && c.getClientRects().length && !c.closest("[data-may-be-blank]"))
            .filter((c) => { const d = c.getContext("2d").getImageData(0, 0, c.width, c.height).data;
                             return d.every((v, i) => v === d[i % 4]) && !c.classList.contains("live-tile"); })
            .map((c) => c.getAttribute("aria-label"))"""
    )
    assert not blank


@pytest.mark.parametrize("name", live.figures())
def test_a_figure_says_what_its_controls_are(visit, name):
    figure = visit.wake(name)
    nameless = figure.evaluate(
        """(root) => [...root.querySelectorAll("button, input, select, canvas[role], [role=img]")]
            .filter((e) => !e.hidden && !(e.labels?.length || e.getAttribute("aria-label") || e.textContent.trim()))
            .map((e) => e.outerHTML.slice(0, 80))"""
    )
    assert not nameless


def test_noise_becomes_the_digit_that_torch_makes_of_it(visit, models):
    figure = visit.wake("noise-to-digit")
    first, _ = visit.after("noise-to-digit", lambda: figure.locator(".live-ask").click())
    path, beliefs, final = live_stories.walk([4], running_noise())
    torch.testing.assert_close(torch.tensor(first.x), final.flatten(), **CLOSE)
    torch.testing.assert_close(torch.tensor(first.opinions), live_stories.opinions(torch.cat(beliefs)), **CLOSE)
    seven, seconds = visit.after("noise-to-digit", lambda: figure.get_by_role("radio", name="7").click())
    torch.testing.assert_close(torch.tensor(seven.x), live_stories.walk([7], running_noise())[2].flatten(), **CLOSE)
    assert live_stories.opinions(torch.tensor(seven.x).view(1, 1, 28, 28)).argmax() == 7
    print(f"a guided digit in twenty steps: {seconds:.2f} s")


@pytest.mark.parametrize("method", live_stories.METHODS)
def test_a_sampler_of_the_page_walks_as_the_book_s_does(visit, models, method, monkeypatch):
    drawn = (live_stories.normals(784, seed).view(1, 1, 28, 28) for seed in itertools.count(10))
    monkeypatch.setattr("vqdiff_edu.diffusion.samplers.noise_like", lambda x, generator: next(drawn))
    x, interval = live_stories.normals(784, 3).view(1, 1, 28, 28), [200, 600]
    final = live_stories.walk([5], x, method=method, steps=7, scale=2.5, interval=interval)[2]
    found = visit.page.evaluate(
        """async ([method, interval]) => {
            const { load } = await import("./live/engine.js"), { guided, COSINE } = await import("./live/digits.js");
            const { sample } = await import("./live/diffusion.js"), { noise, normals } = await import("./live/noise.js");
            const { generator } = await load(["generator"]);
            let seed = 10, draw = normals(seed), count = 0;
            const normal = () => { if (count++ === 784) { draw = normals(++seed); count = 1; } return draw(); };
            return Array.from(await sample(COSINE, guided(generator, { labels: [5], scale: 2.5, interval }), noise(784, 3), { method, steps: 7, normal }));
        }""",
        [method, interval],
    )
    torch.testing.assert_close(torch.tensor(found), final.flatten(), **CLOSE)


def test_a_digit_drawn_with_the_mouse_is_written_in_codes_and_back(visit, models):
    figure = visit.wake("draw-a-digit")
    visit.after("draw-a-digit", lambda: figure.locator(".live-ask").click())
    box = figure.locator(".live-pad").bounding_box()

    def draw():
        mouse = visit.page.mouse
        at = [(box["x"] + u * box["width"], box["y"] + v * box["height"]) for u, v in ((0.25, 0.25), (0.72, 0.25), (0.45, 0.8))]
        mouse.move(*at[0])
        mouse.down()
        for place in at[1:]:
            mouse.move(*place, steps=4)
        mouse.up()
        visit.page.wait_for_timeout(400)

    found, _ = visit.after("draw-a-digit", draw)
    found, seconds = visit.after("draw-a-digit", lambda: figure.locator(".live-ask").click())
    image, vqvae = torch.tensor(found.image).view(1, 1, 28, 28), load_pretrained("mnist-vqvae")
    assert image.max() > 0.9 and (image > 0).sum() > 30  # something was drawn
    with torch.no_grad():
        codes = vqvae.encode(image)
        torch.testing.assert_close(torch.tensor(found.again), vqvae.decode(codes).flatten(), **CLOSE)
    assert found.codes == codes.flatten().tolist()
    print(f"a digit to codes and back: {seconds:.3f} s")

    figure.locator("canvas[role=application]").click(position={"x": 5, "y": 5})
    figure.locator(".live-code").nth(3).click()
    visit.page.wait_for_timeout(300)
    changed = visit.page.evaluate("Array.from(document.querySelector('.live[data-figure=draw-a-digit] .live-app').result.codes)")
    assert changed[0] != found.codes[0] and changed[1:] == found.codes[1:]
