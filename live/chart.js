/** Axes and lines on a canvas, for the figures without a network. */

import { FONT } from "./core.js";

/**
 * A rectangle of a canvas with two axes.
 * @param {CanvasRenderingContext2D} ctx
 * @param {{left: number, top: number, width: number, height: number, x: number[], y: number[]}} box  `x` and `y`: lowest and highest value
 */
export function chart(ctx, { left, top, width, height, x, y, colours }) {
  const X = (value) => left + ((value - x[0]) / (x[1] - x[0])) * width;
  const Y = (value) => top + height - ((value - y[0]) / (y[1] - y[0])) * height;
  const bottom = top + height;
  return {
    X,
    Y,
    /** The value of x at a place of the canvas. */
    at: (place) => x[0] + ((place - left) / width) * (x[1] - x[0]),
    /** A line along the bottom with numbers at `ticks`, and a name. */
    axis(ticks, name = "", format = String) {
      Object.assign(ctx, { font: FONT, textAlign: "center", textBaseline: "top", strokeStyle: colours.line, fillStyle: colours.soft, lineWidth: 1 });
      ctx.beginPath();
      ctx.moveTo(left, bottom + 0.5);
      ctx.lineTo(left + width, bottom + 0.5);
      for (const tick of ticks) {
        ctx.moveTo(X(tick), bottom);
        ctx.lineTo(X(tick), bottom + 4);
      }
      ctx.stroke();
      for (const tick of ticks) ctx.fillText(format(tick), X(tick), bottom + 6);
      if (name) ctx.fillText(name, left + width / 2, bottom + 21, width);
    },
    /** A curve of `f`, or through points [[x, y], …]. */
    line(f, colour, { thick = 2, dash = [], fill = 0 } = {}) {
      const points = typeof f === "function" ? Array.from({ length: 201 }, (_, i) => x[0] + ((x[1] - x[0]) * i) / 200).map((v) => [v, f(v)]) : f;
      ctx.save();
      ctx.beginPath();
      ctx.rect(left - 1, top - 1, width + 2, height + 2);
      ctx.clip();
      ctx.beginPath();
      points.forEach(([a, b], i) => (i ? ctx.lineTo(X(a), Y(b)) : ctx.moveTo(X(a), Y(b))));
      Object.assign(ctx, { strokeStyle: colour, lineWidth: thick, lineJoin: "round" });
      ctx.setLineDash(dash);
      ctx.stroke();
      if (fill) {
        ctx.lineTo(X(points[points.length - 1][0]), bottom);
        ctx.lineTo(X(points[0][0]), bottom);
        Object.assign(ctx, { fillStyle: colour, globalAlpha: fill });
        ctx.fill();
      }
      ctx.restore();
    },
    dot(a, b, colour, size = 4, shape = "round") {
      ctx.fillStyle = colour;
      ctx.beginPath();
      if (shape === "round") ctx.arc(X(a), Y(b), size, 0, 7);
      else ["moveTo", "lineTo", "lineTo", "lineTo"].forEach((go, i) => ctx[go](X(a) + size * [0, 1, 0, -1][i], Y(b) + size * [-1, 0, 1, 0][i]));
      ctx.fill();
    },
    bar(a, b, wide, colour) {
      ctx.fillStyle = colour;
      ctx.fillRect(X(a - wide / 2), Y(b), Math.max(1, X(a + wide / 2) - X(a - wide / 2) - 1), bottom - Y(b));
    },
    word(text, a, b, colour, align = "left") {
      Object.assign(ctx, { font: FONT, textAlign: align, textBaseline: "bottom", fillStyle: colour });
      ctx.fillText(text, X(a), Y(b));
    },
  };
}

/** Names of lines in their colours, in a row, from the left; wraps at `width`. Returns the height that it took. */
export function legend(ctx, entries, left, top, width) {
  Object.assign(ctx, { font: FONT, textAlign: "left", textBaseline: "middle" });
  let [x, y] = [left, top + 8];
  for (const [name, colour] of entries) {
    const wide = ctx.measureText(name).width + 34;
    if (x + wide > left + width && x > left) [x, y] = [left, y + 18];
    ctx.fillStyle = colour;
    ctx.fillRect(x, y - 1.5, 16, 3);
    ctx.fillText(name, x + 21, y);
    x += wide;
  }
  return y + 10 - top;
}

/** The density of a normal number. */
export const bell = (x, mean, variance) => Math.exp(-((x - mean) ** 2) / (2 * variance)) / Math.sqrt(2 * Math.PI * variance);

/** Drag on a canvas, by mouse, finger or pen: `move(x, y)` while held down, in CSS pixels. */
export function drag(canvas, move, { start = () => true, end = () => {} } = {}) {
  let held = false;
  const at = (event) => {
    const box = canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  canvas.style.touchAction = "pan-y";
  canvas.addEventListener("pointerdown", (event) => {
    held = start(...at(event)) !== false;
    if (!held) return;
    canvas.setPointerCapture(event.pointerId);
    move(...at(event));
    event.preventDefault();
  });
  canvas.addEventListener("pointermove", (event) => held && move(...at(event)));
  for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => held && ((held = false), end()));
}
