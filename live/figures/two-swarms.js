/** Vectors and codes: who pulls whom, and what the commitment weight does to the play between them. */

import { chart, legend } from "../chart.js";
import { button, choice, el, player, plot, slider, teller } from "../core.js";
import { normals } from "../noise.js";

const CURVATURE = 1; // a, of the decoder's bowls
const RATE = 0.08;
const VIEW = { x: [-1.5, 4.5], y: [-1.4, 3.9] };

export async function mount(root) {
  let vectors, targets, codes, steps, trail;
  const said = teller();
  const beta = slider({ label: "commitment weight, β", min: 0, max: 3, step: 0.05, value: 0.25, format: (v) => (v === CURVATURE / 2 ? `${v.toFixed(2)}, the critical one` : v.toFixed(2)), oninput: () => view.redraw() });
  const where = choice({ label: "β stands on", options: [["commitment", "the commitment term, as in the paper"], ["codebook", "the codebook term, by mistake"]], value: "commitment", onchange: () => view.redraw() });
  const view = plot({ height: (w) => Math.round(w * 0.62) + 26, draw: paint, "aria-label": "vectors, the places where the decoder would like them, codes, and the pulls on each" });
  const play = player(() => (step(3), steps < 900), 40);

  const mine = (z) => codes.reduce((best, e, k) => (Math.hypot(z[0] - e[0], z[1] - e[1]) < Math.hypot(z[0] - codes[best][0], z[1] - codes[best][1]) ? k : best), 0);
  const weights = () => (where.value === "commitment" ? { codebook: 1, commitment: beta.value } : { codebook: beta.value, commitment: 1 });

  function begin() {
    const draw = normals(12);
    const centres = [[0, 0], [3, 0.6], [1.4, 2.6]];
    targets = centres.flatMap(([x, y]) => Array.from({ length: 14 }, () => [x + 0.45 * draw(), y + 0.45 * draw()]));
    vectors = targets.map(([x, y]) => [x + 0.3 * draw(), y + 0.3 * draw()]);
    codes = [[0.9, 0.5], [2.8, -0.5], [0.4, 2.8]];
    trail = codes.map((e) => [[...e]]);
    steps = 0;
    play.stop();
    tell();
  }
  /** Minus the gradients, per vector and per code (a code's is a mean over what it owns). */
  function pulls() {
    const { codebook, commitment } = weights();
    const owner = vectors.map(mine);
    const onVectors = vectors.map((z, i) => {
      const e = codes[owner[i]];
      return [0, 1].map((d) => -CURVATURE * (e[d] - targets[i][d]) - 2 * commitment * (z[d] - e[d])); // straight-through: the decoder's slope, taken at the code
    });
    const onCodes = codes.map((e, k) => {
      const own = vectors.filter((_, i) => owner[i] === k);
      return [0, 1].map((d) => (own.length ? 2 * codebook * (own.reduce((sum, z) => sum + z[d], 0) / own.length - e[d]) : 0));
    });
    return { onVectors, onCodes, owner };
  }
  function step(times = 1) {
    for (let n = 0; n < times; n++) {
      const { onVectors, onCodes } = pulls();
      vectors = vectors.map((z, i) => z.map((v, d) => v + RATE * onVectors[i][d]));
      codes = codes.map((e, k) => e.map((v, d) => v + RATE * onCodes[k][d]));
      codes.forEach((e, k) => trail[k].push([...e]));
      steps += 1;
    }
    tell();
  }
  function tell() {
    const owner = vectors.map(mine);
    const mean = (f) => vectors.reduce((sum, z, i) => sum + f(z, i), 0) / vectors.length;
    const leash = mean((z, i) => Math.hypot(z[0] - codes[owner[i]][0], z[1] - codes[owner[i]][1]));
    const error = mean((z, i) => (codes[owner[i]][0] - targets[i][0]) ** 2 + (codes[owner[i]][1] - targets[i][1]) ** 2);
    root.result = { leash, error, steps, vectors, targets, chosen: owner.map((k) => codes[k]) };
    said.say(`After ${steps} steps: vectors lie ${leash.toFixed(2)} from their codes on average; squared distance from a code to what the decoder wants: ${error.toFixed(2)}.`);
    view.redraw();
  }
  function paint(ctx, width, height, colours) {
    const [blue, orange] = colours.lines;
    const high = legend(ctx, [["vectors and their pulls", blue], ["codes and theirs", orange], ["where the decoder wants each vector", colours.soft]], 0, 0, width);
    const unit = Math.min(width / (VIEW.x[1] - VIEW.x[0]), (height - high) / (VIEW.y[1] - VIEW.y[0]));
    const wide = unit * (VIEW.x[1] - VIEW.x[0]);
    const c = chart(ctx, { left: (width - wide) / 2, top: high, width: wide, height: unit * (VIEW.y[1] - VIEW.y[0]), ...VIEW, colours });
    const { onVectors, onCodes } = pulls();
    const arrow = (at, by, colour, thick) => {
      const [x, y, u, v] = [c.X(at[0]), c.Y(at[1]), c.X(at[0] + 0.42 * by[0]), c.Y(at[1] + 0.42 * by[1])];
      if (Math.hypot(u - x, v - y) < 3) return;
      const turn = Math.atan2(v - y, u - x);
      Object.assign(ctx, { strokeStyle: colour, lineWidth: thick });
      ctx.beginPath();
      ctx.moveTo(x, y);
      ctx.lineTo(u, v);
      for (const side of [2.6, -2.6]) (ctx.moveTo(u, v), ctx.lineTo(u + 6 * Math.cos(turn + side), v + 6 * Math.sin(turn + side)));
      ctx.stroke();
    };
    ctx.save();
    ctx.beginPath();
    ctx.rect(0, high, width, height - high);
    ctx.clip();
    targets.forEach(([x, y]) => {
      Object.assign(ctx, { strokeStyle: colours.soft, lineWidth: 1 });
      ctx.beginPath();
      ctx.arc(c.X(x), c.Y(y), 3, 0, 7);
      ctx.stroke();
    });
    trail.forEach((path) => path.length > 1 && c.line(path, orange, { thick: 1.2 }));
    vectors.forEach((z, i) => (arrow(z, onVectors[i], blue, 1.3), c.dot(...z, blue, 3)));
    codes.forEach((e, k) => (arrow(e, onCodes[k], orange, 2.6), c.dot(...e, orange, 7, "diamond")));
    ctx.restore();
  }
  root.step = step;
  root.append(
    el("div", { className: "live-controls" }, beta.root, where.root, el("div", { className: "live-keys" }, button("One step", () => step()), play.root, button("Start again", begin))),
    view.canvas, said.root);
  begin();
}
