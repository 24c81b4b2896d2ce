/** A voice is heard, and a film of the digit being written is drawn in time with it. */

import { energyCurve, FRAMES, frameFeatures, spectrogram } from "../audio.js";
import { breathe, button, choice, el, picture, plot, stamp, story, teller } from "../core.js";
import { prediction, sample, softmax } from "../diffusion.js";
import { bars, COSINE, percent } from "../digits.js";
import { asker } from "../engine.js";
import { noise } from "../noise.js";
import { play, samplesOf, voice, wave } from "../voice.js";
import { chart, legend } from "../chart.js";

const MODELS = ["listener", "filmmaker", "frame-decoder"];
const LATENT = 12 * 49;
const [SCALE, SHARPNESS] = [2, 2]; // guidance, and what sharpens the listener's verdict

/** Noise of which half is common to all frames. @returns {Float32Array} [16, 12, 7, 7] */
export function filmNoise(seed) {
  const draw = noise((FRAMES + 1) * LATENT, seed);
  const common = draw.subarray(FRAMES * LATENT);
  return Float32Array.from({ length: FRAMES * LATENT }, (_, i) => Math.SQRT1_2 * (common[i % LATENT] + draw[i]));
}

/** Frames of which none takes ink back. */
function keepInk(frames) {
  for (let f = 1; f < frames.length; f++) frames[f] = frames[f].map((v, i) => Math.max(v, frames[f - 1][i]));
  return frames;
}

/** Each frame's ink as a share of the last one's. */
function inkCurve(frames) {
  const ink = frames.map((frame) => frame.reduce((sum, v) => sum + (Math.min(1, Math.max(-1, v)) + 1) / 2, 0));
  return ink.map((v) => (ink[FRAMES - 1] > 1e-6 ? v / ink[FRAMES - 1] : 0));
}

export async function mount(root) {
  const told = await story("speak-a-digit");
  const book = samplesOf(told.samples);
  let samples = book;
  let film = told.pictures;
  let seed = told.seed;
  let now = FRAMES - 1;
  let turn = 0;

  const said = teller();
  const screen = picture(28, { "aria-label": "the film", className: "live-picture live-screen" });
  const votes = bars("heard as");
  const steps = choice({ label: "Steps", options: [[5, "5"], [10, "10"], [20, "20"]], value: told.steps, onchange: again });
  const strip = plot({ height: (w) => 130 + (2 * w) / FRAMES, draw: paint, "aria-label": "the wave, how much of its energy has sounded and how much of the ink is written, and the sixteen frames" });
  const ask = asker({ names: MODELS, what: "the listener, the film model and the decoder", verb: "Film it", ready: make });
  const source = voice({ book, say: said.say, taken: (next) => ((samples = next), (film = []), strip.redraw(), again()) });
  const watch = button("Play with sound", () => play(samples, (share) => go(Math.min(FRAMES - 1, Math.floor(share * FRAMES)))));
  const other = button("Another hand", () => ((seed += 1), again()));

  function again() {
    if (ask.models()) make(ask.models());
    else said.say("Press Film it: the networks are fetched then.");
  }
  function go(frame) {
    now = frame;
    if (film[frame]) screen.show(film[frame]);
  }

  async function make(models) {
    const mine = ++turn;
    const began = performance.now();
    const { logits } = await models.listener({ x: [spectrogram(samples), [1, 40, 100]] });
    const heard = softmax(logits);
    const word = Float32Array.from(softmax(logits.map((v) => SHARPNESS * v)));
    const top = votes.show(heard);
    said.say(`Heard a ${top}, with ${percent(heard[top])}. Drawing …`);
    const frames = frameFeatures(samples);
    const twice = (a, b) => Float32Array.from([...a, ...b]);
    const untold = frames.map((v, i) => (i % 12 === 1 ? v : 0)); // only when they end
    const [hear, words] = [twice(frames, untold), twice(word, new Float32Array(10))];
    const size = FRAMES * LATENT;
    const denoise = async (z, t) => {
      const inputs = { z: [twice(z, z), [2, FRAMES, 12, 7, 7]], t: [new Float32Array(2).fill(t), [2]], frames: [hear, [2, FRAMES, 12]], clip: [words, [2, 10]] };
      const { v } = await models.filmmaker(inputs);
      return prediction(COSINE.alphaBar(t), z, Float32Array.from({ length: size }, (_, i) => v[size + i] + SCALE * (v[i] - v[size + i])), null);
    };
    const draw = async (z) => {
      const { x } = await models["frame-decoder"]({ z: [z, [FRAMES, 12, 7, 7]] });
      film = keepInk(Array.from({ length: FRAMES }, (_, f) => x.slice(f * 784, (f + 1) * 784)));
      go(FRAMES - 1);
      strip.redraw();
    };
    const seen = async ({ k }) => {
      said.say(`Heard a ${top}, with ${percent(heard[top])}. Drawing, step ${k + 1} of ${steps.value} …`);
      await breathe();
      return mine === turn;
    };
    const z = await sample(COSINE, denoise, filmNoise(seed), { steps: steps.value, seen });
    if (!z || mine !== turn) return;
    await draw(z);
    root.dataset.seconds = ((performance.now() - began) / 1000).toFixed(3);
    const [ink, energy] = [inkCurve(film), energyCurve(samples)];
    const gap = ink.reduce((sum, v, f) => sum + Math.abs(v - energy[f]), 0) / FRAMES;
    said.say(`Heard a ${top}, with ${percent(heard[top])}; filmed in ${Number(root.dataset.seconds).toFixed(1)} s. Between ink and energy lie ${gap.toFixed(3)} on average.`);
    root.result = { samples, logits, z, film: Float32Array.from(film.flatMap((frame) => [...frame])) };
    root.dispatchEvent(new CustomEvent("live-done"));
  }

  function paint(ctx, width, height, colours) {
    const { lines, soft, line } = colours;
    const tall = legend(ctx, [["the voice", soft], ["energy that has sounded", lines[0]], ["ink that is written", lines[1]]], 0, 0, width);
    const cell = (2 * width) / FRAMES;
    const box = chart(ctx, { left: 0, top: tall + 2, width, height: height - tall - cell - 12, x: [0, 1], y: [-0.05, 1.08], colours });
    wave(ctx, samples, 0, width, tall + (height - tall - cell) / 2, (height - tall - cell) / 2 - 10, line);
    const curve = (values, colour, dash) => box.line(values.map((v, f) => [(f + 1) / FRAMES, v]), colour, { dash });
    curve(energyCurve(samples), lines[0], []);
    if (!film.length) return;
    curve(inkCurve(film), lines[1], [5, 3]);
    for (let f = 1; f < FRAMES; f += 2) stamp(ctx, film[f], 28, (cell * (f - 1)) / 2 + 1, height - cell, cell - 2);
  }
  votes.show(softmax(told.logits));
  root.append(
    el("p", { className: "live-note" }, "Your voice is heard by this page alone: it is not sent anywhere, and not kept."),
    el("div", { className: "live-controls" }, source.root, steps.root),
    ask.root,
    el("div", { className: "live-panels live-top-aligned" },
      el("div", { className: "live-panel" }, screen.canvas, el("div", { className: "live-keys" }, watch, other)),
      el("div", { className: "live-panel live-wide" }, votes.root, el("span", {}, "what the listener hears"))),
    strip.canvas,
    said.root);
  go(FRAMES - 1);
  said.say(`The book's recording: heard a ${told.heard}, with ${percent(Math.max(...softmax(told.logits)))}.`);
}
