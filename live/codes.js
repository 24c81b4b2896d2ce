/** Digits written in codes: one after another (`CodePrior`), or many at a time (`MaskedPrior`), as in chapter 15. */

import { softmax } from "./diffusion.js";

export const [LENGTH, CODES, NONE] = [49, 512, 10]; // codes of a digit, how many there are, and the label for none
export const HIDDEN = CODES;

/** The code at which the shares, added up, pass u. @param {ArrayLike<number>} logits @param {number} u in [0, 1) */
export function drawCode(logits, u) {
  const shares = softmax(logits);
  let sum = 0;
  for (let code = 0; code < shares.length; code++) if ((sum += shares[code]) > u) return code;
  return shares.length - 1;
}

/** How many codes are still hidden after each of MaskGIT's steps. @returns {number[]} */
export function hiddenCounts(length, steps) {
  const counts = [length];
  for (let step = 1; step <= steps; step++) counts.push(Math.max(0, Math.min(Math.floor(length * Math.cos(((Math.PI / 2) * step) / steps) + 1e-9), counts[step - 1] - 1)));
  return counts.slice(1);
}

/**
 * Logits of the code that follows, with label and without (`guided`), or only with it: `next(code)` reads one code more; the first call reads none.
 * What was read is filed, so that each call has one token to look at.
 */
export function reader(model, label, guided, [blocks, heads, channels] = [3, 4, 28]) {
  const rows = guided ? 2 : 1;
  let filed = new Float32Array(2 * blocks * rows * heads * LENGTH * channels);
  let place = 0;
  return async (code = null) => {
    const token = code === null ? [CODES + label, CODES + NONE].slice(0, rows) : Array(rows).fill(code);
    const answer = await model({ token: [Int32Array.from(token), [rows]], place: [Int32Array.of(place++), [1]], filed: [filed, [2 * blocks, rows, heads, LENGTH, channels]] });
    filed = answer.filed_then;
    return Array.from({ length: rows }, (_, row) => answer.logits.slice(row * CODES, (row + 1) * CODES));
  };
}

/** u + s (c - u), of logits with and without the label. */
export const guide = ([c, u], scale) => (u ? c.map((value, i) => u[i] + scale * (value - u[i])) : c);

/**
 * One code after another. After each `seen({codes})` is told, hidden ones as `HIDDEN`; if it returns false the digit is given up.
 * @param {{label: number, scale: number, draw: () => number, seen: Function}} how
 */
export async function writeCodes(model, { label, scale = 1.45, draw, seen = () => true }) {
  const next = reader(model, label, scale !== 1);
  const codes = new Int32Array(LENGTH).fill(HIDDEN);
  for (let i = 0; i < LENGTH; i++) {
    codes[i] = drawCode(guide(await next(i ? codes[i - 1] : null), scale), draw());
    if ((await seen({ codes: codes.slice() })) === false) return null;
  }
  return codes;
}

/** One step of MaskGIT: draw all that is hidden, keep the surest, and hide the rest again, so that `left` are. @returns {Int32Array} */
export function reveal(codes, logits, left, noise, draw) {
  const rows = Array.from({ length: LENGTH }, (_, i) => logits.subarray(i * CODES, (i + 1) * CODES));
  const drawn = rows.map((row) => drawCode(row, draw()));
  const confidence = rows.map((row, i) => {
    const u = Math.min(Math.max(draw(), 1e-9), 1 - 1e-7);
    return Math.log(softmax(row)[drawn[i]]) - noise * Math.log(-Math.log(u));
  });
  const unknown = Array.from(codes.keys()).filter((i) => codes[i] === HIDDEN);
  const next = codes.slice();
  for (const i of unknown) next[i] = drawn[i];
  for (const i of unknown.sort((a, b) => confidence[a] - confidence[b]).slice(0, left)) next[i] = HIDDEN;
  return next;
}

/** Many codes at once, in a few steps. `seen` as in `writeCodes`. */
export async function revealCodes(model, { label, steps = 8, noise = 4.5, draw, seen = () => true }) {
  let codes = new Int32Array(LENGTH).fill(HIDDEN);
  for (const [step, left] of hiddenCounts(LENGTH, steps).entries()) {
    const { logits } = await model({ codes: [codes, [1, LENGTH]], label: [Int32Array.of(label), [1]] });
    codes = reveal(codes, logits, left, noise * (1 - (step + 1) / steps), draw);
    if ((await seen({ codes: codes.slice() })) === false) return null;
  }
  return codes;
}
