/** The digit generator of chapter 26 and the classifier of chapter 07, as the figures use them. */

import { prediction, schedule, softmax } from "./diffusion.js";
import { el } from "./core.js";

export const COSINE = schedule("cosine", 1000);
export const INTERVAL = [400, 900];
export const PIXELS = 784;
const NULL = 10;

/**
 * `denoise(x, t)` for a batch of digits, one label each, guided in an interval of steps, as `process.guided` does.
 * @param {Function} generator
 * @param {{labels: number[], scale: number, interval: number[]|null}} how
 */
export function guided(generator, { labels, scale = 1.5, interval = INTERVAL }) {
  const n = labels.length;
  const output = async (x, t, asked) => {
    const batch = asked.length;
    const inputs = { x: [x, [batch, 1, 28, 28]], t: [new Float32Array(batch).fill(t), [batch]], label: [Int32Array.from(asked), [batch]] };
    return (await generator(inputs)).v;
  };
  return async (x, t) => {
    let v;
    if (scale === 1 || (interval && !(interval[0] <= t && t < interval[1]))) v = await output(x, t, labels);
    else {
      const twice = new Float32Array(2 * x.length);
      twice.set(x);
      twice.set(x, x.length);
      const both = await output(twice, t, [...labels, ...Array(n).fill(NULL)]);
      v = Float32Array.from({ length: x.length }, (_, i) => both[x.length + i] + scale * (both[i] - both[x.length + i]));
    }
    return prediction(COSINE.alphaBar(t), x, v, 1);
  };
}

/** What the classifier takes pictures for: ten probabilities each. @returns {Promise<number[][]>} */
export async function opinions(classifier, pictures) {
  const n = pictures.length / PIXELS;
  const { logits } = await classifier({ x: [pictures.map((p) => Math.min(1, Math.max(-1, p))), [n, 1, 28, 28]] });
  return Array.from({ length: n }, (_, i) => softmax(logits.slice(10 * i, 10 * i + 10)));
}

/** Ten bars, one a digit. */
export function bars(label) {
  const columns = Array.from({ length: 10 }, (_, digit) => {
    const fill = el("span", { className: "live-fill" });
    return { fill, root: el("div", { className: "live-bar", title: `digit ${digit}` }, el("span", { className: "live-track" }, fill), el("span", {}, String(digit))) };
  });
  const root = el("div", { className: "live-bars", role: "img", "aria-label": label }, ...columns.map((column) => column.root));
  return {
    root,
    show(shares) {
      const top = shares.indexOf(Math.max(...shares));
      columns.forEach(({ fill, root: bar }, i) => {
        fill.style.height = `${Math.max(1, 100 * shares[i])}%`;
        bar.classList.toggle("live-top", i === top);
        bar.title = `${i}: ${percent(shares[i])}`;
      });
      root.setAttribute("aria-label", `${label}: ${top} with ${percent(shares[top])}`);
      return top;
    },
  };
}

export const percent = (share) => (share > 0.995 ? "over 99 %" : share < 0.005 ? "under 1 %" : `${Math.round(100 * share)} %`);
