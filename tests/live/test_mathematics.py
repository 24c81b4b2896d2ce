"""The figures without a network: their JavaScript against the package."""

import math

import pytest
import torch

import live_stories
from vqdiff_edu.diffusion.posterior import q_posterior_mean_variance
from vqdiff_edu.diffusion.samplers import timesteps
from vqdiff_edu.diffusion.schedule import NoiseSchedule
from vqdiff_edu.quantization.kmeans import nearest_code, sum_by_code


def result(visit, name: str) -> dict:
    return visit.page.evaluate(f"document.querySelector('.live[data-figure=\"{name}\"] .live-app').result")


def test_the_page_and_python_draw_the_same_random_numbers(visit):
    found = visit.page.evaluate("import('./live/noise.js').then((m) => Array.from(m.noise(1001, 5)))")
    torch.testing.assert_close(torch.tensor(found), live_stories.normals(1001, 5), atol=1e-6, rtol=0)


@pytest.mark.parametrize("steps", [20, 1000])
@pytest.mark.parametrize("name", ["linear", "cosine", "sigmoid"])
def test_a_schedule_of_the_page_is_the_package_s(visit, name, steps):
    find = "([name, steps]) => import('./live/diffusion.js').then((m) => Array.from(m.survival(m.SCHEDULES[name](steps))))"
    found = visit.page.evaluate(find, [name, steps])
    known = getattr(NoiseSchedule, name)(steps).alphas_cumprod
    torch.testing.assert_close(torch.tensor(found[1:], dtype=torch.float64), known, atol=1e-12, rtol=1e-9)


def test_a_sampler_of_the_page_visits_the_package_s_steps(visit):
    for total, number in ((1000, 20), (1000, 7), (50, 4), (1000, 1000), (20, 8)):
        found = visit.page.evaluate("([a, b]) => import('./live/diffusion.js').then((m) => m.timesteps(a, b))", [total, number])
        assert found == timesteps(total, number).tolist()


def test_two_bells_multiply_into_the_package_s_posterior(visit):
    figure = visit.wake("two-bells")
    visit.page.wait_for_timeout(200)
    schedule = NoiseSchedule(torch.tensor([0.36, 0.4375]))
    start, end = (torch.tensor([value], dtype=torch.float64) for value in (0.8, -0.3))
    mean, variance, _ = q_posterior_mean_variance(schedule, start, end, 1)
    found = result(visit, "two-bells")
    assert found["mean"] == pytest.approx(mean.item(), abs=1e-6) and found["variance"] == pytest.approx(variance.item(), abs=1e-6)
    figure.get_by_label("end, xₜ").press("ArrowRight")  # by keyboard: -0.25
    visit.page.wait_for_timeout(200)
    assert result(visit, "two-bells")["mean"] == pytest.approx(0.546875 * 0.8 + 0.421875 * -0.25, abs=1e-6)


def test_dragging_a_bell_moves_its_end(visit):
    figure = visit.wake("two-bells")
    visit.page.wait_for_timeout(200)
    before, box = result(visit, "two-bells"), figure.locator("canvas").bounding_box()
    mouse, y = visit.page.mouse, box["y"] + box["height"] / 2
    mouse.move(box["x"] + 0.4 * box["width"], y)  # nearer to the green bell, at -0.4
    mouse.down()
    mouse.move(box["x"] + 0.2 * box["width"], y, steps=3)
    mouse.up()
    visit.page.wait_for_timeout(200)
    after = result(visit, "two-bells")
    assert after["mean"] < before["mean"] - 0.2 and after["variance"] == before["variance"]


def test_half_steps_of_the_page_are_lloyd_s(visit):
    figure = visit.wake("k-means")
    visit.page.wait_for_timeout(200)
    draw = iter(live_stories.normals(720, 3).tolist())
    six = [[0, 0], [2.6, 0.2], [7, 0], [0.2, 2.8], [2.8, 3], [7.1, 2.4]]
    points = torch.tensor([[x + 0.45 * next(draw), y + 0.45 * next(draw)] for x, y in six for _ in range(60)])
    codes = torch.tensor(result(visit, "k-means")["codes"])
    for _ in range(3):
        counts, sums = sum_by_code(points, nearest_code(points, codes), 6)
        codes = torch.where(counts[:, None] > 0, sums / counts[:, None].clamp_min(1), codes)
        for _ in range(2):
            figure.get_by_role("button", name="Half a step").click()
    visit.page.wait_for_timeout(200)
    found = result(visit, "k-means")
    torch.testing.assert_close(torch.tensor(found["codes"]), codes, atol=1e-4, rtol=0)
    distortion = (points - codes[nearest_code(points, codes)]).square().sum(1).mean().item()
    assert found["distortion"] == pytest.approx(distortion, abs=1e-4)


def test_three_clocks_show_the_package_s_log_snr(visit):
    figure = visit.wake("three-clocks")
    visit.page.wait_for_timeout(200)
    known = [getattr(NoiseSchedule, name)(1000).log_snr[300].item() for name in ("linear", "cosine", "sigmoid")]
    assert result(visit, "three-clocks")["snr"] == pytest.approx(known, abs=1e-6)
    figure.get_by_role("radio", name="the same log-SNR").check()
    visit.page.wait_for_timeout(200)
    assert len(set(result(visit, "three-clocks")["snr"])) == 1


def test_the_best_denoiser_is_bayes_rule(visit):
    visit.wake("best-denoiser")
    visit.page.wait_for_timeout(200)
    data, bar, x = torch.tensor([-0.9, -0.6, 0.1, 0.7, 0.85], dtype=torch.float64), 1 / (1 + math.exp(-2.5)), 0.35
    place = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    log_density = (-((place - math.sqrt(bar) * data) ** 2) / (2 * (1 - bar))).logsumexp(0)
    (score,) = torch.autograd.grad(log_density, place)
    found = result(visit, "best-denoiser")
    assert found["score"] == pytest.approx(score.item(), abs=1e-9)
    assert found["mean"] == pytest.approx((x + (1 - bar) * score.item()) / math.sqrt(bar), abs=1e-9)  # Tweedie


def test_without_guidance_the_mixture_is_sampled_as_it_is(visit):
    figure = visit.wake("guided-mixture")
    slider = figure.get_by_label("guidance, s")
    for scale, low, high in ((1, 0.47, 0.53), (3, 0.0, 0.15)):
        slider.evaluate("(input, value) => { input.value = value; input.dispatchEvent(new Event('input')); }", scale)
        assert low < result(visit, "guided-mixture")["near"] < high
    slider.evaluate("(input) => { input.value = 1; input.dispatchEvent(new Event('input')); }")
    last = torch.tensor(result(visit, "guided-mixture")["last"])
    mean, variance = -0.375, 0.5 * (0.35**2 + 0.3**2) + 0.725**2
    assert last.mean().item() == pytest.approx(mean, abs=0.03) and last.var().item() == pytest.approx(variance, abs=0.05)


@pytest.mark.parametrize("beta, share", [(0.5, 1.0), (1.0, 0.5), (2.0, 0.25)])
def test_on_its_leash_a_vector_goes_a_multiple_of_the_way(visit, beta, share):
    figure = visit.wake("two-swarms")
    figure.get_by_label("commitment weight").evaluate("(input, v) => { input.value = v; input.dispatchEvent(new Event('input')); }", beta)
    figure.locator(".live-app").evaluate("(app) => app.step(3000)")
    found = result(visit, "two-swarms")
    z, e, wanted = (torch.tensor(found[key]) for key in ("vectors", "chosen", "targets"))
    torch.testing.assert_close(z - e, share * (wanted - e), atol=2e-3, rtol=0)  # eq-leash, a = 1
