/** Codes, their cells, and Lloyd's algorithm half a step at a time; codes can be dragged. */

import { drag } from "../chart.js";
import { button, choice, el, FONT, player, plot, slider, teller } from "../core.js";
import { normals, uniforms } from "../noise.js";

const CLUMPS = [[0, 0], [2.6, 0.2], [7, 0], [0.2, 2.8], [2.8, 3], [7.1, 2.4]];
const EACH = 60;
const VIEW = { x: [-1.6, 8.7], y: [-1.6, 4.6] };

export async function mount(root) {
  const draw = normals(3);
  const points = CLUMPS.flatMap(([x, y]) => Array.from({ length: EACH }, () => [x + 0.45 * draw(), y + 0.45 * draw()]));
  let seed = 1;
  let codes = [];
  let owner = [];
  let before = null; // codes before the last move, and how far they came
  let halves = 0;
  let chosen = 0;
  let history = [];

  const number = slider({ label: "codes", min: 2, max: 12, value: 6, oninput: () => begin() });
  const start = choice({ label: "where they start", options: [["two in one clump", "two in one clump"], ["at random", "at random"], ["spread", "spread (k-means++)"]], value: "two in one clump", onchange: () => begin() });
  const view = plot({ height: (w) => Math.round(w * 0.6), draw: paint, tabindex: 0, role: "application", "aria-label": "points, codes and cells; number keys choose a code, arrows move it" });
  const curve = plot({ height: () => 76, draw: paintCurve, "aria-label": "the distortion after each half step" });
  const said = teller();

  const square = (a, b) => (a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2;
  const nearest = (p) => codes.reduce((best, code, i) => (square(p, code) < square(p, codes[best]) ? i : best), 0);
  const distortion = () => points.reduce((sum, p, i) => sum + square(p, codes[owner[i]]), 0) / points.length;

  function begin() {
    const random = uniforms(seed);
    const any = () => [...points[Math.floor(random() * points.length)]];
    const k = number.value;
    codes = [];
    if (start.value === "two in one clump") codes = Array.from({ length: k }, (_, i) => [...points[(i < 2 ? 5 * i : EACH * ((i - 1) % CLUMPS.length) + 5 * i + 10) % points.length]]);
    else if (start.value === "at random") codes = Array.from({ length: k }, any);
    else {
      codes = [any()];
      while (codes.length < k) {
        const far = points.map((p) => Math.min(...codes.map((code) => square(p, code))));
        let left = random() * far.reduce((a, b) => a + b);
        codes.push([...points[far.findIndex((d) => (left -= d) < 0)]]);
      }
    }
    chosen = 0;
    halves = 0;
    before = null;
    owner = points.map(nearest);
    history = [distortion()];
    say("Each point belongs to its nearest code.");
    show();
  }

  /** Half a round: codes to the means of what they own, then points to their nearest codes. Returns whether anything changed. */
  function half() {
    const was = distortion();
    halves += 1;
    if (halves % 2) {
      before = codes.map((code) => [...code]);
      codes = codes.map((code, k) => {
        const own = points.filter((_, i) => owner[i] === k);
        return own.length ? [0, 1].map((axis) => own.reduce((sum, p) => sum + p[axis], 0) / own.length) : code;
      });
    } else {
      before = null;
      owner = points.map(nearest);
    }
    const gain = was - distortion();
    history.push(distortion());
    say(halves % 2 ? `Every code has moved to the mean of its points. Gain: ${gain.toFixed(4)}.` : `Every point has taken its nearest code. Gain: ${gain.toFixed(4)}.`);
    show();
    return gain > 1e-9;
  }
  const say = (text) => said.say(`${text} Distortion, the mean squared distance: ${distortion().toFixed(3)}.`);
  let still = 0;
  const play = player(() => {
    still = half() ? 0 : still + 1;
    if (still > 1) {
      said.say(`Nothing moves any more. Distortion ${distortion().toFixed(3)} is ${start.value === "two in one clump" && number.value === 6 ? "a valley, and not the deepest" : "what this start leads to"}.`);
      return (still = 0), false;
    }
  }, 500);

  const scale = () => {
    const [w, h] = view.size();
    const unit = Math.min(w / (VIEW.x[1] - VIEW.x[0]), h / (VIEW.y[1] - VIEW.y[0]));
    return { X: (x) => (x - VIEW.x[0]) * unit, Y: (y) => h - (y - VIEW.y[0]) * unit, backX: (px) => px / unit + VIEW.x[0], backY: (py) => (h - py) / unit + VIEW.y[0] };
  };
  function paint(ctx, width, height, { ink, lines, faint, dark }) {
    const { X, Y, backX, backY } = scale();
    const hue = (k) => [...lines, ink][k % 6];
    const grain = 4;
    for (let x = 0; x < width; x += grain)
      for (let y = 0; y < height; y += grain) {
        ctx.globalAlpha = dark ? 0.2 : 0.13;
        ctx.fillStyle = hue(nearest([backX(x + 2), backY(y + 2)]));
        ctx.fillRect(x, y, grain, grain);
      }
    ctx.globalAlpha = 1;
    points.forEach((p, i) => {
      ctx.fillStyle = hue(owner[i]);
      ctx.beginPath();
      ctx.arc(X(p[0]), Y(p[1]), 2.4, 0, 7);
      ctx.fill();
    });
    codes.forEach((code, k) => {
      if (before) {
        Object.assign(ctx, { strokeStyle: ink, lineWidth: 1.5 });
        ctx.beginPath();
        ctx.moveTo(X(before[k][0]), Y(before[k][1]));
        ctx.lineTo(X(code[0]), Y(code[1]));
        ctx.stroke();
      }
      ctx.beginPath();
      ctx.arc(X(code[0]), Y(code[1]), 11, 0, 7);
      Object.assign(ctx, { fillStyle: dark ? "#111" : "#fff", strokeStyle: hue(k), lineWidth: k === chosen && document.activeElement === view.canvas ? 5 : 3 });
      ctx.fill();
      ctx.stroke();
      Object.assign(ctx, { fillStyle: ink, font: FONT, textAlign: "center", textBaseline: "middle" });
      ctx.fillText(k + 1, X(code[0]), Y(code[1]) + 0.5);
    });
    root.result = { codes, distortion: distortion() };
  }
  function paintCurve(ctx, width, height, { soft, line, lines }) {
    const top = Math.max(...history, 0.5);
    const wide = Math.min(24, (width - 60) / Math.max(history.length, 2));
    Object.assign(ctx, { fillStyle: soft, textBaseline: "top" });
    ctx.fillText("distortion after each half step", 0, 0);
    history.slice(-Math.floor((width - 10) / wide)).forEach((d, i) => {
      ctx.fillStyle = i % 2 ? lines[1] : lines[0];
      const tall = (d / top) * (height - 24);
      ctx.fillRect(i * wide, height - tall, wide - 3, tall);
    });
    ctx.fillStyle = line;
    ctx.fillRect(0, height - 1, width, 1);
  }
  const show = () => (view.redraw(), curve.redraw());

  function moved() {
    before = null;
    halves = 0;
    owner = points.map(nearest);
    history.push(distortion());
    say(`Code ${chosen + 1} was moved by hand.`);
    show();
  }
  drag(view.canvas, (px, py) => {
    const { backX, backY } = scale();
    codes[chosen] = [backX(px), backY(py)];
    owner = points.map(nearest);
    before = null;
    view.redraw();
  }, {
    start: (px, py) => {
      const { X, Y } = scale();
      const far = codes.map((code) => Math.hypot(X(code[0]) - px, Y(code[1]) - py));
      chosen = far.indexOf(Math.min(...far));
      return far[chosen] < 28;
    },
    end: moved,
  });
  view.canvas.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: [-0.2, 0], ArrowRight: [0.2, 0], ArrowUp: [0, 0.2], ArrowDown: [0, -0.2] }[event.key];
    if (by) {
      codes[chosen] = codes[chosen].map((v, i) => v + by[i]);
      moved();
      event.preventDefault();
    } else if (Number(event.key) >= 1 && Number(event.key) <= codes.length) {
      chosen = Number(event.key) - 1;
      say(`Code ${chosen + 1} is chosen; arrows move it.`);
      view.redraw();
    }
  });
  for (const name of ["focus", "blur"]) view.canvas.addEventListener(name, () => view.redraw());

  begin();
  root.append(
    el("div", { className: "live-controls" }, number.root, start.root,
      el("div", { className: "live-keys" }, button("Half a step", half), play.root, button("Start again", () => begin()), button("Another start", () => ((seed += 1), begin())))),
    view.canvas, curve.canvas, said.root);
}
