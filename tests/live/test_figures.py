"""The live figures, used in a browser: what they compute is what torch computes."""

import itertools
import json

import pytest
import torch

import live
import live_stories
from vqdiff_edu import load_pretrained
from vqdiff_edu.crossmodal.audio import classify
from vqdiff_edu.crossmodal.caption import attention_maps, picture_captioner
from vqdiff_edu.data import handwritten_four, running_noise

from .conftest import MINUTE, Visit

CLOSE = {"atol": 1e-3, "rtol": 0}


BLANK = """(root) => [...root.querySelectorAll("canvas:not(.live-tile, [data-may-be-blank])")].filter((canvas) => {
    const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    return data.every((value, i) => value === data[i % 4]);
}).map((canvas) => canvas.getAttribute("aria-label"))"""
NAMELESS = """(root) => [...root.querySelectorAll("button, input, select, canvas[role], [role=img]")]
    .filter((e) => !e.hidden && !(e.labels?.length || e.getAttribute("aria-label") || e.textContent.trim())).map((e) => e.outerHTML.slice(0, 80))"""


@pytest.mark.parametrize("name", live.figures())
def test_untouched_a_figure_shows_its_story_on_a_phone_and_fetches_nothing_large(visit, name):
    visit.page.set_viewport_size({"width": 390, "height": 844})
    figure = visit.wake(name)
    visit.page.wait_for_function("document.querySelector('.live-app').offsetHeight > 200")
    visit.page.wait_for_timeout(150)
    assert visit.page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert not figure.evaluate(BLANK)
    assert not figure.evaluate(NAMELESS)
    assert not visit.models_asked()


BARRIERS = """() => axe.run(".live", { resultTypes: ["violations"] }).then(found => found.violations
    .filter(v => ["serious", "critical"].includes(v.impact)).map(v => `${v.id}: ${v.nodes.length} times, ${v.nodes[0].html.slice(0, 120)}`))"""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nothing_in_a_figure_bars_a_reader(visit, axe, theme):
    """What axe-core calls serious or critical in all figures awake, contrast among it."""
    visit.page.emulate_media(color_scheme=theme)
    visit.page.goto(f"{visit.address}/index.html")
    for name in live.figures():
        visit.page.locator(f'.live[data-figure="{name}"]').scroll_into_view_if_needed()
        visit.page.wait_for_selector(f'.live[data-figure="{name}"][data-state="awake"]', timeout=MINUTE)
    visit.page.evaluate(axe)
    assert not visit.page.evaluate(BARRIERS)


def test_what_a_page_fetches_is_small_and_said(models):
    """The engine is 4 MB or less, and every model that a figure names is there."""
    text = (models.folder / "live" / "manifest.js").read_text(encoding="utf-8")
    manifest = json.loads(text.removeprefix("export const MANIFEST = ").rstrip(";\n"))
    assert manifest["engine"]["bytes"] <= 4_000_000
    assert {model for figure in live.figures().values() for model in figure["models"]} == set(manifest["models"])
    assert all(model["bytes"] <= 2_500_000 for model in manifest["models"].values())


def test_all_figures_live_on_one_page(visit):
    visit.page.goto(f"{visit.address}/index.html")
    for name in live.figures():
        visit.page.locator(f'.live[data-figure="{name}"]').scroll_into_view_if_needed()
        visit.page.wait_for_selector(f'.live[data-figure="{name}"][data-state="awake"]')
    assert not visit.models_asked()


def test_a_page_opened_as_a_file_says_why_its_figures_are_still(chromium, site):
    page = chromium.new_context().new_page()
    page.goto((site.folder / "two-bells.html").as_uri())
    assert "make read" in page.locator(".live").inner_text() and page.locator(".live-still").is_visible()
    page.context.close()


def test_without_scripts_the_stored_pictures_stay(chromium, site):
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{site.address}/index.html")
    assert page.locator(".live-still").count() == len(live.figures())
    assert all(picture.is_visible() for picture in page.locator(".live-still").all())
    context.close()


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


def test_ten_wishes_from_one_noise_are_torch_s(visit, models):
    figure = visit.wake("ten-labels")
    found, seconds = visit.after("ten-labels", lambda: figure.locator(".live-ask").click())
    final = live_stories.walk(list(range(10)), running_noise().expand(10, 1, 28, 28))[2]
    torch.testing.assert_close(torch.tensor(found.x).view_as(final), final, **CLOSE)
    assert found.read == live_stories.opinions(final).argmax(1).tolist()
    print(f"ten digits: {seconds:.2f} s")


def test_four_samplers_race_as_torch_s_do(visit, models):
    figure = visit.wake("four-samplers")
    found, seconds = visit.after("four-samplers", lambda: figure.locator(".live-ask").click())
    cells = torch.tensor(found.x).view(4, 4, 1, 1, 28, 28)
    for row, method in enumerate(live_stories.METHODS):
        known = live_stories.raced(4, running_noise(), 5, method)
        torch.testing.assert_close(cells[row, 1], known, **CLOSE)
    print(f"sixteen digits: {seconds:.2f} s")


def test_four_generators_on_one_clock_are_torch_s(visit, models):
    """The chances are the page's, in Python too; the codes must then be the same, and what is painted alike."""
    figure, told = visit.wake("one-clock"), live_stories
    right = 0
    for label in (4, 7, 0):
        act = (
            (lambda: figure.locator(".live-ask").click()) if label == 4 else figure.get_by_role("radio", name=str(label), exact=True).check
        )
        found, seconds = visit.after("one-clock", act)
        rows, pictures = told.clock(label, 1, running_noise(), 0)
        torch.testing.assert_close(torch.tensor(found.pixels), told.walk([label], running_noise())[2].flatten(), **CLOSE)
        torch.testing.assert_close(torch.tensor(found.latents), told.latents_on_the_clock(label, 1)[0][-1].flatten(), **CLOSE)
        assert found.prior == rows["prior"]["codes"][-1] and found.codes == rows["maskgit"]["codes"]
        ends = torch.stack([pictures[key][-1].flatten() for key in rows])
        torch.testing.assert_close(torch.tensor(found.last)[[0, 2, 3]], ends[[0, 2, 3]], **CLOSE)
        off = (torch.tensor(found.last)[1] - ends[1]).abs() > 1e-3  # a latent between two codes may fall to either side
        assert off.double().mean() < 0.05
        torch.testing.assert_close(torch.tensor(found.read)[[0, 2, 3]], told.opinions(ends.view(4, 1, 28, 28))[[0, 2, 3]], **CLOSE)
        right += sum(torch.tensor(shares).argmax() == label for shares in found.read)
        print(f"four digits: {seconds:.2f} s; " + ", ".join(f"{name} {ms:.0f} ms" for name, ms in found.ms.items()))
    assert right >= 10  # of twelve

    for clock in ("calls of a network", "milliseconds"):
        figure.get_by_role("radio", name=clock).check()
        figure.get_by_label("Time").evaluate("(input) => { input.value = 100; input.dispatchEvent(new Event('input')); }")
        assert figure.locator(".live-said").inner_text().count("done, read as") == 4
    figure.get_by_label("Time").press("Home")  # by keyboard
    assert "done" not in figure.locator(".live-said").inner_text()


def test_the_next_code_and_the_hidden_ones_are_the_priors(visit, models):
    """The logits, with the cache that the page keeps, against the whole at once."""
    prior, masked = (load_pretrained(name).model for name in ("mnist-prior", "mnist-maskgit"))
    codes = torch.randint(512, (1, 49))
    holes = codes.masked_fill(torch.rand(1, 49) < 0.5, 512)
    found = visit.page.evaluate(
        """async ([codes, holes]) => {
            const { load } = await import("./live/engine.js"), { reader } = await import("./live/codes.js");
            const models = await load(["next-code", "hidden-codes"]);
            const next = reader(models["next-code"], 3, true), rows = [];
            for (let i = 0; i < 49; i++) rows.push((await next(i ? codes[i - 1] : null)).map((row) => Array.from(row)));
            const { logits } = await models["hidden-codes"]({ codes: [Int32Array.from(holes), [1, 49]], label: [Int32Array.of(3), [1]] });
            return [rows, Array.from(logits)];
        }""",
        [codes[0].tolist(), holes[0].tolist()],
    )
    with torch.no_grad():
        known = prior(codes.expand(2, -1), torch.tensor([3, 10]))  # [row, code, place]
        torch.testing.assert_close(torch.tensor(found[0]).permute(1, 2, 0), known, **CLOSE)
        torch.testing.assert_close(torch.tensor(found[1]).view(1, 49, 512).transpose(1, 2), masked(holes, torch.tensor([3])), **CLOSE)


def pasted(image: torch.Tensor) -> torch.Tensor:
    """A scene with one digit, large, in the middle."""
    scene = torch.full((1, 1, 56, 56), -1.0)
    scene[:, :, 14:42, 14:42] = image
    return scene


def test_a_scene_is_told_as_torch_tells_it(visit, models, tmp_path):
    from PIL import Image

    figure, captioner = visit.wake("describe-my-digits"), load_pretrained("scene-captioner")
    found, seconds = visit.after("describe-my-digits", lambda: figure.locator(".live-ask").click())
    image = torch.tensor(found.image).view(1, 1, 56, 56)
    assert [found.sentence] == captioner(image)
    looked = attention_maps(captioner, image, [found.sentence])[0, 0, : len(found.looked)].flatten(1)
    torch.testing.assert_close(torch.tensor(found.looked), looked, **CLOSE)
    print(f"a caption of {len(found.looked)} words: {seconds:.2f} s")

    photograph = tmp_path / "photograph.png"  # a black 4 on white paper
    Image.fromarray((127.5 - 127.5 * pasted(handwritten_four())[0, 0]).byte().numpy()).resize((280, 280)).save(photograph)
    found, _ = visit.after("describe-my-digits", lambda: figure.locator("input[type=file]").set_input_files(str(photograph)))
    told_of_it = picture_captioner()(photograph)
    assert found.sentence == told_of_it.caption and found.refusal is None is told_of_it.refusal
    assert found.confidence == pytest.approx(told_of_it.confidence, abs=1e-3)
    assert [found.sentence] == captioner(torch.tensor(found.image).view(1, 1, 56, 56).clamp(-1, 1)) and {"4", "four"} & set(
        found.sentence.split()
    )
    figure.locator(".live-sentence button").first.press("Tab")  # words can be reached by keyboard


STROKES = {  # on a square of side 1
    "a 7": [[(0.3, 0.25), (0.68, 0.25), (0.45, 0.78)]],
    "a scribble": [[(0.2, 0.3), (0.8, 0.35), (0.3, 0.5), (0.75, 0.7), (0.25, 0.65), (0.6, 0.2), (0.5, 0.8), (0.85, 0.5), (0.2, 0.45)]],
    "letters": [
        *([(0.12, 0.3), (0.12, 0.7)], [(0.12, 0.5), (0.32, 0.5)], [(0.32, 0.3), (0.32, 0.7)]),  # H
        *([(0.62, 0.3), (0.62, 0.7), (0.86, 0.7)], [(0.62, 0.3), (0.86, 0.3)], [(0.62, 0.5), (0.8, 0.5)]),  # E
    ],
    "a house": [[(0.25, 0.8), (0.25, 0.45), (0.5, 0.2), (0.75, 0.45), (0.75, 0.8), (0.25, 0.8), (0.75, 0.45), (0.25, 0.45), (0.75, 0.8)]],
}


@pytest.mark.parametrize("what", [*STROKES, "an empty sheet"])
def test_what_is_drawn_is_told_or_refused_as_torch_does(visit, models, what):
    figure = visit.wake("describe-my-digits")
    visit.after("describe-my-digits", lambda: figure.locator(".live-ask").click())
    found, seconds = visit.after("describe-my-digits", lambda: figure.get_by_role("button", name="Clear").click())
    assert found.refusal == "nothing stands out from the paper" and not found.sentence
    box, mouse = figure.locator(".live-pad").bounding_box(), visit.page.mouse

    def draw():
        for stroke in STROKES[what]:
            places = [(box["x"] + u * box["width"], box["y"] + v * box["height"]) for u, v in stroke]
            mouse.move(*places[0])
            mouse.down()
            for place in places[1:]:
                mouse.move(*place, steps=4)
            mouse.up()
        visit.page.wait_for_timeout(600)  # the page waits for another stroke

    if what in STROKES:
        visit.after("describe-my-digits", draw)
        found, seconds = visit.after("describe-my-digits", lambda: figure.locator(".live-ask").click())
        found = visit.page.evaluate(
            """(() => { const { pieces, ...rest } = document.querySelector('.live-app').result; return { ...rest, image: [...rest.image], n: pieces.length } })()"""
        )
        paper = torch.tensor(visit.page.evaluate("Array.from(document.querySelector('.live-app').levels().grey)")).view(448, 448)
        told_of_it = picture_captioner()(paper)
        assert bool(found["refusal"]) == bool(told_of_it.refusal) == (what != "a 7")
        assert found["confidence"] == pytest.approx(told_of_it.confidence, abs=0.01)
    told = figure.locator(".live-said").inner_text()
    assert ("no scene of digits" in told) == (what != "a 7") and bool(figure.locator(".live-sentence button").count()) == (what == "a 7")
    print(f"{what}: {seconds:.2f} s; {told}")


def filmed_as_torch(found, seed: int, steps: int) -> None:
    """What the page heard and drew, against torch on the samples that it had."""
    logits, z, film = live_stories.film_of(torch.tensor(found.samples), seed, steps)
    torch.testing.assert_close(torch.tensor(found.logits), logits, **CLOSE)
    torch.testing.assert_close(torch.tensor(found.z).view_as(z), z, **CLOSE)
    off = (torch.tensor(found.film).view_as(film) - film).abs() > 1e-3  # a latent between two codes may fall to either side
    assert off.double().mean() < 0.01


def test_the_book_s_voice_is_filmed_as_torch_films_it(visit, models):
    figure = visit.wake("speak-a-digit")
    figure.get_by_role("radio", name="5", exact=True).check()
    found, _ = visit.after("speak-a-digit", lambda: figure.locator(".live-ask").click())
    filmed_as_torch(found, 4, 5)
    figure.get_by_role("button", name="Play with sound").click()
    visit.page.wait_for_timeout(100)


@pytest.mark.usefixtures("chromium")  # skipped where none starts; this one has flags of its own
def test_a_microphone_is_heard_and_filmed(playwright, models, tmp_path):
    """A recording takes the place of the microphone; what comes through it is no longer the same bytes, but the same word."""
    import base64

    import soundfile

    told = json.loads((live.LIVE / "stories" / "speak-a-digit.json").read_text())
    spoken = torch.frombuffer(bytearray(base64.b64decode(told["samples"])), dtype=torch.int16).float() / 2**15
    path = tmp_path / "voice.wav"  # said in time to be recorded, whenever the recording begins
    soundfile.write(path, torch.cat([torch.zeros(3000), spoken, torch.zeros(8000)]).repeat(3).numpy(), 8000)
    flags = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream", f"--use-file-for-fake-audio-capture={path}"]
    browser = playwright.chromium.launch(executable_path=live.chromium(), args=[*live.FLAGS, *flags])
    seen = Visit(browser.new_context(permissions=["microphone"]).new_page(), models.address)
    figure = seen.wake("speak-a-digit")
    figure.get_by_role("radio", name="5", exact=True).check()
    seen.after("speak-a-digit", lambda: figure.locator(".live-ask").click())
    found, seconds = seen.after("speak-a-digit", lambda: figure.get_by_role("button", name="Record 2 seconds").click())
    browser.close()
    assert not seen.complaints and len(found.samples) < 2.2 * 8000
    filmed_as_torch(found, 4, 5)
    assert torch.tensor(found.logits).argmax() == 4
    print(f"a film in five steps: {seconds:.2f} s")


def test_a_word_under_noise_is_heard_as_torch_hears_it(visit, models):
    figure = visit.wake("hear-a-digit")
    visit.after("hear-a-digit", lambda: figure.locator(".live-ask").click())
    slide = "(input) => { input.value = -3; input.dispatchEvent(new Event('input')); }"
    found, _ = visit.after("hear-a-digit", lambda: figure.get_by_label("noise under the voice").evaluate(slide))
    known = classify(load_pretrained("spoken-digits"), torch.tensor(found.samples)[None])[0]
    torch.testing.assert_close(torch.tensor(found.logits), known, **CLOSE)
