/** Guidance where everything is known: a mixture of bells, its guided sampler, and the density that one might think it samples from. */

import { bell, chart, legend } from "../chart.js";
import { COSINE, percent } from "../digits.js";
import { timesteps } from "../diffusion.js";
import { el, plot, slider, teller } from "../core.js";

const CLASS = [{ w: 0.5, m: -1.1, s: 0.35 }, { w: 0.5, m: 0.35, s: 0.3 }]; // the class that is asked for has two modes
const OTHER = [{ w: 1, m: 1.1, s: 0.4 }]; // and the other class lies on the second of them
const STEPS = 80;
const WALKERS = 1200;

const density = (parts, x, bar) => parts.reduce((sum, { w, m, s }) => sum + w * bell(x, Math.sqrt(bar) * m, bar * s * s + 1 - bar), 0);
/** The mean of x_0 given x at a share of signal ᾱ. */
function best(parts, x, bar) {
  let [sum, total] = [0, 0];
  for (const { w, m, s } of parts) {
    const spread = bar * s * s + 1 - bar;
    const weight = w * bell(x, Math.sqrt(bar) * m, spread) + 1e-300;
    sum += weight;
    total += weight * (m + ((Math.sqrt(bar) * s * s) / spread) * (x - Math.sqrt(bar) * m));
  }
  return total / sum;
}
const EVERYTHING = [...CLASS.map((part) => ({ ...part, w: part.w / 2 })), ...OTHER.map((part) => ({ ...part, w: part.w / 2 }))];

/** The quantiles of the normal distribution (Acklam's approximation is not needed: bisection is quick enough once). */
function quantiles(n) {
  const grid = Array.from({ length: 4001 }, (_, i) => -4 + i / 500);
  let [area, k] = [0, 0];
  const found = [];
  for (const x of grid) {
    area += bell(x, 0, 1) / 500;
    while (k < n && area >= (k + 0.5) / n) (found.push(x), (k += 1));
  }
  while (found.length < n) found.push(4);
  return found;
}

/** Walk all walkers down by DDIM with guidance; gives where they were after each step. */
export function walk(scale, [low, high], start) {
  const times = timesteps(1000, STEPS);
  const path = [start];
  times.forEach((t, k) => {
    const bar = COSINE.alphaBar(t);
    const next = COSINE.alphaBar(k + 1 < times.length ? times[k + 1] : -1);
    const s = low <= t && t < high ? scale : 1;
    path.push(
      path[k].map((x) => {
        const [c, u] = [best(CLASS, x, bar), best(EVERYTHING, x, bar)];
        const x0 = u + s * (c - u);
        return Math.sqrt(next) * x0 + (Math.sqrt(1 - next) * (x - Math.sqrt(bar) * x0)) / Math.sqrt(1 - bar);
      }),
    );
  });
  return { path, times };
}

export async function mount(root) {
  const start = quantiles(WALKERS);
  const said = teller();
  const scale = slider({ label: "guidance, s", min: 0, max: 6, step: 0.1, value: 2, format: (v) => (v === 1 ? "1.0: none" : v === 0 ? "0.0: no label" : v.toFixed(1)), oninput: run });
  const low = slider({ label: "acts from t =", min: 0, max: 1000, step: 50, value: 0, oninput: run });
  const high = slider({ label: "to below t =", min: 0, max: 1000, step: 50, value: 1000, oninput: run });
  const view = plot({ height: () => 430, draw: paint, "aria-label": "above, densities and a histogram of guided samples; below, the paths of some of them" });
  let found = null;

  function run() {
    found = walk(scale.value, [low.value, high.value], start);
    view.redraw();
    const last = found.path[STEPS];
    const near = last.filter((x) => x > -0.35).length / WALKERS;
    const wrong = last.reduce((sum, x) => sum + density(OTHER, x, 1) / (density(OTHER, x, 1) + density(CLASS, x, 1)), 0) / WALKERS;
    const mean = last.reduce((a, b) => a + b) / WALKERS;
    root.result = { mean, near, last };
    said.say(`${percent(near)} of the samples are at the right-hand mode (half would be, without guidance). Shown one of them, a perfect judge gives the other class ${percent(wrong)} on average.`);
  }
  function paint(ctx, width, height, colours) {
    if (!found) return;
    const [blue, orange, green] = colours.lines;
    const span = [-2.6, 2.6];
    const names = [["the class asked for", blue], ["the other class", colours.soft], ["class × (class / all)^(s − 1)", green], ["guided samples", orange]];
    const tall = legend(ctx, names, 0, 0, width);
    const side = { left: 8, width: width - 16, x: span, colours };
    const tilt = (x) => density(CLASS, x, 1) * (density(CLASS, x, 1) / density(EVERYTHING, x, 1) / 2) ** (scale.value - 1);
    const area = Array.from({ length: 521 }, (_, i) => tilt(-2.6 + i / 100)).reduce((a, b) => a + b) / 100;
    const counts = new Float64Array(52);
    found.path[STEPS].forEach((x) => counts[Math.floor((x + 2.6) * 10)] !== undefined && (counts[Math.floor((x + 2.6) * 10)] += 10 / WALKERS));
    const top = Math.min(2.6, Math.max(1.1, ...counts));
    const upper = chart(ctx, { ...side, top: tall + 6, height: 170, y: [0, top * 1.05] });
    counts.forEach((count, i) => upper.bar(-2.55 + i / 10, Math.min(count, top * 1.05), 0.1, orange + "80"));
    upper.line((x) => density(OTHER, x, 1), colours.soft, { thick: 1.5, dash: [4, 4] });
    upper.line((x) => density(CLASS, x, 1), blue);
    upper.line((x) => tilt(x) / area, green);
    upper.axis([-2, -1, 0, 1, 2]);
    const lower = chart(ctx, { ...side, top: tall + 210, height: height - tall - 232, y: [0, 1000] });
    lower.line([[-2.6, low.value], [2.6, low.value]], colours.line, { thick: 1, dash: [2, 4] });
    lower.line([[-2.6, high.value], [2.6, high.value]], colours.line, { thick: 1, dash: [2, 4] });
    for (let i = 12; i < WALKERS; i += 25) lower.line(found.path.map((xs, k) => [xs[i], found.times[k] ?? 0]), orange, { thick: 0.9 });
    lower.word("t = 999, noise", -2.55, 900, colours.soft);
    lower.word("t = 0, data", -2.55, 10, colours.soft);
  }
  root.append(el("div", { className: "live-controls" }, scale.root, low.root, high.root), view.canvas, said.root);
  run();
}
