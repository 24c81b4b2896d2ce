/** From pressure to log-mel to a word: what the listener of chapter 43 is shown, and what it makes of it. */

import { oneSecond, spectrogram } from "../audio.js";
import { button, colours, el, plot, slider, story, teller } from "../core.js";
import { softmax } from "../diffusion.js";
import { bars, percent } from "../digits.js";
import { asker } from "../engine.js";
import { noise } from "../noise.js";
import { samplesOf, voice, wave, play } from "../voice.js";

const KNOWN = 0.35; // confidence below which the command line refuses

export async function mount(root) {
  const told = await story("speak-a-digit");
  const book = samplesOf(told.samples);
  const draw = noise(40_000, 43);
  let clean = book;
  let samples = book;
  let x = spectrogram(samples);
  const said = teller();
  const votes = bars("heard as");
  const hiss = slider({ label: "noise under the voice", min: -61, max: 10, step: 1, value: -61, format: (v) => (v < -60 ? "none" : `${String(v).replace("-", "−")} dB`), oninput: spoil });
  const view = plot({ height: () => 250, draw: paint, "aria-label": "the wave of one second, and its log-mel spectrogram" });
  const ask = asker({ names: ["listener"], what: "the recognizer of spoken digits", verb: "Listen", ready: hear });
  const source = voice({ book, say: said.say, taken: (next) => ((clean = next), spoil()) });

  /** The voice with noise of a level relative to its own. */
  function spoil() {
    const level = Math.sqrt(clean.reduce((sum, v) => sum + v * v, 0) / clean.length);
    const share = hiss.value < -60 ? 0 : level * 10 ** (hiss.value / 20);
    samples = clean.map((v, i) => v + share * draw[i % draw.length]);
    x = spectrogram(samples);
    view.redraw();
    if (ask.models()) hear(ask.models());
    else said.say("Press Listen: the network is fetched then.");
  }
  async function hear({ listener }) {
    const began = performance.now();
    const { logits, known } = await listener({ x: [x, [1, 40, 100]] });
    const shares = softmax(logits);
    const sure = Math.max(...softmax(logits.map((v) => 2 * v))) / (1 + Math.exp(-known[0]));
    root.dataset.seconds = ((performance.now() - began) / 1000).toFixed(3);
    root.result = { samples, logits, sure };
    const top = votes.show(shares);
    said.say(sure < KNOWN ? `None of the ten digits, or not surely one: at best a ${top}, ${percent(sure)} sure.` : `Heard a ${top}, ${percent(sure)} sure.`);
    root.dispatchEvent(new CustomEvent("live-done"));
  }
  function paint(ctx, width, height, { soft, lines }) {
    wave(ctx, Float32Array.from(oneSecond(samples)), 0, width, 42, 38, lines[0]);
    const [top, tall] = [90, height - 110];
    const image = new ImageData(100, 40);
    const dark = colours(view.canvas).dark;
    for (let band = 0; band < 40; band++)
      for (let t = 0; t < 100; t++) {
        const share = Math.min(1, Math.max(0, (x[band * 100 + t] + 1.7) / 4.5)); // from −80 dB to the loudest
        const at = 4 * ((39 - band) * 100 + t);
        const [low, high] = dark ? [[24, 26, 31], [255, 214, 120]] : [[245, 246, 248], [0, 60, 110]];
        low.forEach((v, i) => (image.data[at + i] = v + share * (high[i] - v)));
        image.data[at + 3] = 255;
      }
    const small = document.createElement("canvas");
    Object.assign(small, { width: 100, height: 40 });
    small.getContext("2d").putImageData(image, 0, 0);
    ctx.imageSmoothingEnabled = false;
    ctx.drawImage(small, 0, top, width, tall);
    Object.assign(ctx, { fillStyle: soft, textBaseline: "top", textAlign: "center" });
    ctx.fillText("one second, its loudest; above the pressure, below 40 mel bands from low to high", width / 2, height - 15, width);
  }
  votes.show(softmax(told.logits));
  root.append(
    el("div", { className: "live-controls" }, hiss.root, source.root, button("Play", () => play(samples.map((v) => Math.min(1, Math.max(-1, v))), () => {}))),
    ask.root, view.canvas, votes.root, said.root);
  said.say(`Heard a ${told.heard}, with ${percent(Math.max(...softmax(told.logits)))}.`);
}
