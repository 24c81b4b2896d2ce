/** The best denoiser of a short list of numbers: weights on the list, their mean, and the slope of the log-density. */

import { bell, chart, drag, legend } from "../chart.js";
import { percent } from "../digits.js";
import { decimal, el, player, plot, slider, teller } from "../core.js";

const DATA = [-0.9, -0.6, 0.1, 0.7, 0.85];
const SPAN = [-3, 3];

/** Weights of the data given a noisy x at a share of signal ᾱ, their mean, the density of x and the slope of its logarithm. */
export function denoise(x, bar, data = DATA) {
  const heights = data.map((value) => bell(x, Math.sqrt(bar) * value, 1 - bar) + 1e-300);
  const sum = heights.reduce((a, b) => a + b);
  const weights = heights.map((height) => height / sum);
  const mean = weights.reduce((total, weight, i) => total + weight * data[i], 0);
  return { weights, mean, density: sum / data.length, score: (Math.sqrt(bar) * mean - x) / (1 - bar) };
}

export async function mount(root) {
  let x = 0.35;
  const said = teller();
  const level = slider({ label: "noise: log-SNR in nats", min: -5, max: 7, step: 0.1, value: 2.5, format: (v) => decimal(v, 1), oninput: () => show() });
  const place = slider({ label: "the noisy number, xₜ", min: SPAN[0], max: SPAN[1], step: 0.01, value: x, format: (v) => decimal(v), oninput: (v) => ((x = v), show()) });
  const view = plot({ height: () => 400, draw: paint, "aria-label": "density of noisy numbers above, the best guess of the clean one below" });
  const play = player(() => {
    level.set(level.value <= -5 ? 7 : level.value - 0.2);
    show();
    return level.value > -5;
  }, 70);
  let frame = null;

  const bar = () => 1 / (1 + Math.exp(-level.value));
  function paint(ctx, width, height, colours) {
    const [blue, orange, green] = colours.lines;
    const { weights, mean, density, score } = denoise(x, bar());
    const grid = Array.from({ length: 301 }, (_, i) => SPAN[0] + ((SPAN[1] - SPAN[0]) * i) / 300);
    const top = 1.15 * Math.max(...grid.map((v) => denoise(v, bar()).density));
    const high = legend(ctx, [["density of noisy numbers; weights of the five", blue], ["slope of its logarithm at xₜ", green], ["best guess of x₀", orange]], 0, 0, width);
    const side = { left: 8, width: width - 16, x: SPAN, colours };
    const upper = (frame = chart(ctx, { ...side, top: high + 6, height: 130, y: [0, top] }));
    upper.line(grid.map((v) => [v, denoise(v, bar()).density]), blue, { fill: 0.15 });
    upper.axis([-3, -2, -1, 0, 1, 2, 3]);
    upper.line([[x, 0], [x, density]], colours.soft, { thick: 1, dash: [3, 3] });
    upper.dot(x, density, blue, 5);
    const far = Math.min(0.95, Math.abs(0.35 * score)) * Math.sign(score); // the arrow ends somewhere
    upper.line([[x, density], [x + far, density]], green, { thick: 4 });
    upper.dot(x + far, density, green, 5, "diamond");
    const lower = chart(ctx, { ...side, top: high + 178, height: height - high - 222, y: [-1.25, 1.25] });
    lower.axis([-3, -2, -1, 0, 1, 2, 3], "the noisy number xₜ");
    lower.line(grid.map((v) => [v, denoise(v, bar()).mean]), orange, { thick: 3 });
    lower.line([[x, -1.25], [x, mean]], colours.soft, { thick: 1, dash: [3, 3] });
    DATA.forEach((value, i) => {
      lower.line([[SPAN[0], value], [SPAN[1], value]], colours.faint, { thick: 1 });
      lower.line([[x, value], [x + 0.9 * weights[i], value]], blue, { thick: 7 });
    });
    lower.dot(x, mean, orange, 6);
    root.result = { weights, mean, score };
    const likely = weights.indexOf(Math.max(...weights));
    said.say(
      `Seen ${decimal(x)}: the likeliest of the five is ${decimal(DATA[likely])} with ${percent(weights[likely])}, and their weighted mean is ${decimal(mean, 3)}. ` +
        `The slope ${decimal(score)} says the same: (xₜ + (1 − ᾱ) · slope) / √ᾱ = ${decimal((x + (1 - bar()) * score) / Math.sqrt(bar()), 3)}.`,
    );
  }
  const show = () => view.redraw();
  drag(view.canvas, (px) => {
    x = Math.min(SPAN[1], Math.max(SPAN[0], frame.at(px)));
    place.set(x);
    show();
  });
  root.append(el("div", { className: "live-controls" }, level.root, place.root, play.root), view.canvas, said.root);
}
