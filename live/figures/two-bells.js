/** The reverse posterior: what the start says, what the end says, and their product, with walks that were kept as a witness. */

import { bell, chart, drag, legend } from "../chart.js";
import { button, decimal, el, plot, slider, teller } from "../core.js";
import { normals } from "../noise.js";

const WALKS = 100_000;
const WORKED = { x0: 0.8, xt: -0.3, bar: 0.64, beta: 0.4375 }; // the chapter's example by hand

/** Mean and variance of q(x_{t-1} | x_t, x_0), and of the two bells that it is the product of. */
export function posterior({ x0, xt, bar, beta }) {
  const alpha = 1 - beta;
  const start = { mean: Math.sqrt(bar) * x0, variance: 1 - bar };
  const end = { mean: xt / Math.sqrt(alpha), variance: beta / alpha };
  const precision = 1 / start.variance + 1 / end.variance;
  return { start, end, both: { mean: (start.mean / start.variance + end.mean / end.variance) / precision, variance: 1 / precision } };
}

export async function mount(root) {
  const now = { ...WORKED };
  const draw = normals(21);
  const noise = Float32Array.from({ length: 2 * WALKS }, draw);
  const said = teller();
  const knobs = {
    x0: slider({ label: "start, x₀", min: -1, max: 1, step: 0.05, value: now.x0, format: (v) => decimal(v), oninput: set("x0") }),
    xt: slider({ label: "end, xₜ", min: -2, max: 2, step: 0.05, value: now.xt, format: (v) => decimal(v), oninput: set("xt") }),
    bar: slider({ label: "signal left before the step, ᾱₜ₋₁", min: 0.04, max: 0.98, step: 0.02, value: now.bar, format: (v) => v.toFixed(2), oninput: set("bar") }),
    beta: slider({ label: "noise of the step, βₜ", min: 0.0125, max: 0.9, step: 0.0125, value: now.beta, format: (v) => v.toFixed(4).replace(/0+$/, ""), oninput: set("beta") }),
  };
  const view = plot({ height: () => 290, draw: paint, "aria-label": "three bells over the place of the pixel one step before" });
  let frame = null;

  function set(name) {
    return (value) => {
      now[name] = value;
      show();
    };
  }
  /** Heights of a histogram of x_{t-1} over those walks from x0 that end near xt. */
  function kept() {
    const [a, b, c, d] = [Math.sqrt(now.bar), Math.sqrt(1 - now.bar), Math.sqrt(1 - now.beta), Math.sqrt(now.beta)];
    const counts = new Float64Array(60);
    let number = 0;
    for (let i = 0; i < WALKS; i++) {
      const before = a * now.x0 + b * noise[2 * i];
      if (Math.abs(c * before + d * noise[2 * i + 1] - now.xt) > 0.05) continue;
      number += 1;
      const cell = Math.floor((before + 3) * 10);
      if (cell >= 0 && cell < 60) counts[cell] += 1;
    }
    return { number, points: Array.from(counts, (count, i) => [-2.95 + i / 10, (count / Math.max(number, 1)) * 10]).filter(([, y]) => y > 0) };
  }
  function paint(ctx, width, height, colours) {
    const { start, end, both } = posterior(now);
    const top = 1.08 * bell(0, 0, both.variance);
    const [blue, , green] = colours.lines;
    const orange = colours.lines[1];
    const high = legend(ctx, [["from the start", orange], ["from the end", green], ["both: the posterior", blue], ["walks that were kept", colours.soft]], 0, 0, width);
    frame = chart(ctx, { left: 8, top: high + 6, width: width - 16, height: height - high - 44, x: [-3, 3], y: [0, top], colours });
    frame.axis([-3, -2, -1, 0, 1, 2, 3], "where the pixel was one step before, xₜ₋₁");
    frame.line((x) => bell(x, start.mean, start.variance), orange);
    frame.line((x) => bell(x, end.mean, end.variance), green);
    frame.line((x) => bell(x, both.mean, both.variance), blue, { thick: 3, fill: 0.15 });
    const walks = kept();
    walks.points.forEach(([x, y]) => frame.dot(x, Math.min(y, top), colours.soft, 2.5));
    root.result = { ...both, kept: walks.number };
    said.say(
      `Precisions add: ${(1 / start.variance).toFixed(2)} from the start and ${(1 / end.variance).toFixed(2)} from the end make ${(1 / both.variance).toFixed(2)}, ` +
        `so the variance is ${both.variance.toFixed(4)}, whatever was seen. Mean ${decimal(both.mean, 3)}. Of ${WALKS.toLocaleString("en")} walks, ${walks.number.toLocaleString("en")} ended near xₜ: the dots.`,
    );
  }
  const show = () => view.redraw();
  let held = null;
  drag(view.canvas, (x) => {
    const place = frame.at(x);
    if (held === "x0") now.x0 = place / Math.sqrt(now.bar);
    else now.xt = place * Math.sqrt(1 - now.beta);
    now[held] = Math.min(Number(knobs[held].input.max), Math.max(Number(knobs[held].input.min), now[held]));
    knobs[held].set(now[held]);
    show();
  }, {
    start: (x) => {
      const { start, end } = posterior(now);
      held = Math.abs(frame.X(start.mean) - x) < Math.abs(frame.X(end.mean) - x) ? "x0" : "xt";
    },
  });
  const back = button("The chapter's numbers", () => {
    Object.assign(now, WORKED);
    Object.entries(knobs).forEach(([name, knob]) => knob.set(now[name]));
    show();
  });
  root.append(el("div", { className: "live-controls" }, ...Object.values(knobs).map((knob) => knob.root), back), view.canvas, said.root);
}
