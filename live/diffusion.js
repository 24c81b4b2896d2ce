/**
 * The cosine schedule and the book's four samplers, step by step as in chapters 20 and 24. Noisy data are Float32Arrays; times count from
 * 0 to T - 1, and -1 is clean data.
 */

/** Shares of signal ᾱ at t = -1 … T - 1, from step variances. @param {ArrayLike<number>} betas */
export function survival(betas) {
  const bars = new Float64Array(betas.length + 1);
  bars[0] = 1;
  for (let t = 0; t < betas.length; t++) bars[t + 1] = bars[t] * (1 - betas[t]);
  return bars;
}

/** Step variances along a curve of survival u → s(u), none above `most`. */
function betasOf(curve, steps, most = 0.999) {
  const at = Array.from({ length: steps + 1 }, (_, t) => curve(t / steps));
  return Array.from({ length: steps }, (_, t) => Math.min(1 - at[t + 1] / at[t], most));
}

const logistic = (x) => 1 / (1 + Math.exp(-x));
/** The three schedules of chapter 20. @type {Object<string, (steps: number) => number[]>} */
export const SCHEDULES = {
  linear: (steps) => {
    const scale = 1000 / steps;
    return Array.from({ length: steps }, (_, t) => Math.min((1e-4 + ((0.02 - 1e-4) * t) / (steps - 1)) * scale, 0.999));
  },
  cosine: (steps) => betasOf((u) => Math.cos((((u + 0.008) / 1.008) * Math.PI) / 2) ** 2, steps),
  sigmoid: (steps) => betasOf((u) => (logistic(3 - 6 * u) - logistic(-3)) / (logistic(3) - logistic(-3)), steps),
};

/** ᾱ as a function of t in -1 … T - 1. */
export function schedule(name = "cosine", steps = 1000) {
  const bars = survival(SCHEDULES[name](steps));
  return { steps, alphaBar: (t) => bars[t + 1] };
}

/** Half to even, as torch rounds. */
const round = (x) => (Math.abs(x % 1) === 0.5 ? 2 * Math.round(x / 2) : Math.round(x));

/** The "trailing" steps that a sampler visits. @returns {number[]} */
export function timesteps(total, number) {
  return Array.from({ length: number }, (_, k) => round(total - (k * total) / number) - 1);
}

/**
 * What an output v says at time t: the clean data, clipped, and the noise and v that agree with it.
 * @returns {{x0: Float32Array, eps: Float32Array, v: Float32Array}}
 */
export function prediction(ab, x, v, clip) {
  const [a, b] = [Math.sqrt(ab), Math.sqrt(1 - ab)];
  const x0 = x.map((value, i) => a * value - b * v[i]);
  if (clip) x0.forEach((value, i) => (x0[i] = Math.min(clip, Math.max(-clip, value))));
  const eps = x.map((value, i) => (value - a * x0[i]) / b);
  return { x0, eps, v: eps.map((value, i) => a * value - b * x0[i]) };
}

const mix = (a, x, b, y) => x.map((value, i) => a * value + b * y[i]);
const logit = (p) => Math.log(p) - Math.log1p(-p);

/**
 * One method: given ᾱ, `denoise(x, t)` and a source of normal numbers, a function that steps from t to s and tells what was predicted.
 * @typedef {(x: Float32Array, t: number, s: number) => Promise<{x: Float32Array, x0: Float32Array}>} Step
 * @type {Object<string, (alphaBar: (t: number) => number, denoise: Function, normal: () => number) => Step>}
 */
export const METHODS = {
  DDIM: (alphaBar, denoise) => async (x, t, s) => {
    const p = await denoise(x, t);
    return { x: mix(Math.sqrt(alphaBar(s)), p.x0, Math.sqrt(1 - alphaBar(s)), p.eps), x0: p.x0 };
  },
  DDPM: (alphaBar, denoise, normal) => async (x, t, s) => {
    const { x0 } = await denoise(x, t);
    const [at, as] = [alphaBar(t), alphaBar(s)];
    const ratio = at / as;
    const mean = mix((Math.sqrt(as) * (1 - ratio)) / (1 - at), x0, (Math.sqrt(ratio) * (1 - as)) / (1 - at), x);
    if (s < 0) return { x: mean, x0 };
    const deviation = Math.sqrt(((1 - as) / (1 - at)) * (1 - ratio));
    return { x: mean.map((value) => value + deviation * normal()), x0 };
  },
  "DPM-Solver++": (alphaBar, denoise) => {
    let before = null;
    let hBefore = 0;
    return async (x, t, s) => {
      const { x0 } = await denoise(x, t);
      const [at, as] = [alphaBar(t), alphaBar(s)];
      const h = s < 0 ? Infinity : 0.5 * (logit(as) - logit(at));
      const slope = before && Number.isFinite(h) ? (0.5 * h) / hBefore : 0;
      const d = before ? mix(1 + slope, x0, -slope, before) : x0;
      [before, hBefore] = [x0, h];
      return { x: mix(Math.sqrt((1 - as) / (1 - at)), x, -Math.sqrt(as) * Math.expm1(-h), d), x0 };
    };
  },
  Heun: (alphaBar, denoise) => async (x, t, s) => {
    const p = await denoise(x, t);
    const [at, as] = [alphaBar(t), alphaBar(s)];
    const ahead = mix(Math.sqrt(as), p.x0, Math.sqrt(1 - as), p.eps);
    if (s < 0) return { x: ahead, x0: p.x0 };
    const q = await denoise(ahead, s);
    const turn = Math.acos(Math.sqrt(as)) - Math.acos(Math.sqrt(at));
    return { x: x.map((value, i) => value + turn * 0.5 * (p.v[i] + q.v[i])), x0: p.x0 };
  },
};

/**
 * Walk noise down to data. After each step `seen({k, t, x, x0})` is told where it is; if it returns false the walk is given up.
 * @param {{alphaBar: Function, steps: number}} process
 * @param {(x: Float32Array, t: number) => Promise<{x0, eps, v}>} denoise
 */
export async function sample(process, denoise, x, { method = "DDIM", steps = 20, normal = () => 0, seen = () => true } = {}) {
  const times = timesteps(process.steps, steps);
  const step = METHODS[method](process.alphaBar, denoise, normal);
  for (let k = 0; k < steps; k++) {
    const [t, s] = [times[k], k + 1 < steps ? times[k + 1] : -1];
    const moved = await step(x, t, s);
    if ((await seen({ k, t, s, from: x, x: moved.x, x0: moved.x0 })) === false) return null;
    x = moved.x;
  }
  return x;
}

/** softmax of each row of ten. */
export function softmax(logits) {
  const top = Math.max(...logits);
  const weights = Array.from(logits, (value) => Math.exp(value - top));
  const sum = weights.reduce((a, b) => a + b);
  return weights.map((weight) => weight / sum);
}
