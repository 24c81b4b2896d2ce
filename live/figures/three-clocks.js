/** Three schedules as clocks on one axis of log-SNR: at one t their pictures differ, at one log-SNR they are the same. */

import { SCHEDULES, survival } from "../diffusion.js";
import { choice, decimal, el, floats, player, plot, slider, stamp, story, teller } from "../core.js";

const NAMES = Object.keys(SCHEDULES);
const AXIS = [11, -12];
const TICKS = 26;

export async function mount(root) {
  const told = await story("four");
  const [four, noise] = [floats(told.image), floats(told.noise)];
  const said = teller();
  let clocks = {};
  const length = choice({ label: "steps, T", options: [[50, "50"], [200, "200"], [1000, "1000"]], value: 1000, onchange: wind });
  const equal = choice({ label: "compare at", options: [["t", "the same t"], ["snr", "the same log-SNR"]], value: "t", onchange: () => (when.set(when.value), show()) });
  const when = slider({ label: "time", min: 0, max: 1000, value: 300, format: (v) => (equal?.value === "snr" ? `log-SNR ${decimal(lambdaOf(v), 1)}` : `t = ${step(v)} of ${length.value - 1}`), oninput: show });
  const view = plot({ height: (w) => (w < 480 ? 300 : 340), draw: paint, "aria-label": "three schedules on one axis of log-SNR, each with a noisy four at its place" });
  const play = player(() => {
    when.set(when.value >= 1000 ? 0 : Math.min(1000, when.value + 10));
    show();
    return when.value < 1000;
  }, 60);

  const lambdaOf = (v) => AXIS[0] - 2 + ((AXIS[1] - AXIS[0] + 4) * v) / 1000;
  function step(v) {
    return Math.round((v / 1000) * (length.value - 1));
  }
  /** log-SNR at each step of each schedule. */
  function wind() {
    clocks = Object.fromEntries(
      NAMES.map((name) => {
        const bars = survival(SCHEDULES[name](length.value)).slice(1);
        return [name, Array.from(bars, (bar) => Math.log(bar) - Math.log1p(-bar))];
      }),
    );
    when.set(when.value);
    show();
  }
  /** The place of a schedule now: its step, and its log-SNR. */
  function place(name) {
    const clock = clocks[name];
    if (equal.value === "t") return { t: step(when.value), snr: clock[step(when.value)] };
    const wanted = lambdaOf(when.value);
    const t = clock.reduce((best, snr, i) => (Math.abs(snr - wanted) < Math.abs(clock[best] - wanted) ? i : best), 0);
    return { t, snr: wanted };
  }
  function paint(ctx, width, height, { ink, soft, line, lines }) {
    if (!clocks.linear) return;
    const [left, right] = [8, width - 8];
    const X = (snr) => left + ((snr - AXIS[0]) / (AXIS[1] - AXIS[0])) * (right - left);
    const size = width < 480 ? 48 : 60;
    const row = (height - 36) / 3;
    NAMES.forEach((name, i) => {
      const y = row * i + row - 22;
      const { t, snr } = place(name);
      Object.assign(ctx, { strokeStyle: line, lineWidth: 1, fillStyle: soft, textAlign: "left", textBaseline: "middle" });
      ctx.beginPath();
      ctx.moveTo(left, y);
      ctx.lineTo(right, y);
      for (let k = 0; k <= TICKS; k++) {
        const at = clocks[name][Math.round((k / TICKS) * (length.value - 1))];
        if (at < AXIS[1]) continue;
        ctx.moveTo(X(at), y - 5);
        ctx.lineTo(X(at), y + 5);
      }
      ctx.stroke();
      const x = Math.min(right, Math.max(left, X(snr)));
      const box = Math.min(right - size, Math.max(left, x - size / 2));
      const bar = 1 / (1 + Math.exp(-snr));
      const picture = four.map((v, j) => Math.sqrt(bar) * v + Math.sqrt(1 - bar) * noise[j]);
      stamp(ctx, picture, 28, box, y - size - 9, size);
      ctx.fillStyle = lines[1];
      ctx.beginPath();
      ctx.moveTo(x, y - 8);
      ctx.lineTo(x - 5, y + 3);
      ctx.lineTo(x + 5, y + 3);
      ctx.fill();
      ctx.fillStyle = ink;
      ctx.textAlign = box > width / 2 ? "left" : "right";
      ctx.fillText(`${name}, t = ${t}`, box > width / 2 ? left : right, y - size / 2 - 9);
    });
    Object.assign(ctx, { fillStyle: soft, textAlign: "center", textBaseline: "top" });
    for (let snr = 10; snr >= -10; snr -= 5) ctx.fillText(decimal(snr, 0), X(snr), height - 34);
    ctx.fillText(width < 480 ? "log-SNR in nats; strokes: 27 steps evenly in t" : "log-SNR in nats: signal left, noise right; strokes: 27 steps evenly in t", width / 2, height - 17, width);
  }
  function show() {
    const places = NAMES.map(place);
    view.redraw();
    root.result = { snr: places.map((p) => p.snr), t: places.map((p) => p.t) };
    said.say(
      equal.value === "t"
        ? `At t = ${places[0].t}: ${NAMES.map((name, i) => `${name} has log-SNR ${decimal(places[i].snr, 1)}`).join(", ")}.`
        : `At log-SNR ${decimal(places[0].snr, 1)} the three pictures are the same; ${NAMES.map((name, i) => `${name} is there at t = ${places[i].t}`).join(", ")}.`,
    );
  }
  root.append(el("div", { className: "live-controls" }, equal.root, length.root), el("div", { className: "live-time" }, play.root, when.root), view.canvas, said.root);
  wind();
}
