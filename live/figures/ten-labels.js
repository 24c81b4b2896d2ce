/** One noise and ten wishes: what the network predicts for each label, from pure noise to the end. */

import { breathe, button, el, floats, player, plot, slider, stamp, story, teller } from "../core.js";
import { sample, timesteps } from "../diffusion.js";
import { COSINE, guided, INTERVAL, opinions, PIXELS } from "../digits.js";
import { asker } from "../engine.js";
import { noise } from "../noise.js";

const STEPS = 20;
const LABELS = Array.from({ length: 10 }, (_, digit) => digit);

export async function mount(root) {
  const told = await story("ten-labels");
  const book = floats((await story("four")).noise);
  const times = timesteps(1000, STEPS);
  /** What is shown at a place of the walk: ten predictions, or at the end ten digits. */
  let shown = new Map(told.places.map((k, i) => [k, told.pictures.slice(10 * i, 10 * i + 10)]));
  let start = book;
  let read = told.read;
  let seed = 0;
  let turn = 0;
  let place = 6;

  const said = teller();
  const scale = slider({ label: "Guidance, at steps 400 to 900", min: 1, max: 4, step: 0.1, value: 1.5, format: (s) => (s === 1 ? "1.0 (none)" : s.toFixed(1)), oninput: () => again() });
  const when = slider({ label: "Time", min: 0, max: STEPS, value: place, format: (k) => (k < STEPS ? `t = ${times[k]}` : "done"), oninput: (k) => ((place = k), view.redraw(), tell()) });
  const columns = (width) => (width < 480 ? 5 : 10);
  const view = plot({ widest: 800, height: (w) => (w / columns(w) + 22) * (10 / columns(w)), draw: paint, "aria-label": "ten predictions from one noise, for the labels 0 to 9" });
  const play = player(() => {
    place = place >= STEPS ? 0 : place + 1;
    when.set(place);
    view.redraw();
    return place < STEPS;
  });
  const ask = asker({ names: ["generator", "classifier"], what: "the digit generator and the classifier", verb: "Draw all ten", ready: draw });

  /** The place nearest to the chosen one of which something is known. */
  const known = () => [...shown.keys()].reduce((best, k) => (Math.abs(k - place) < Math.abs(best - place) ? k : best));
  function paint(ctx, width, height, { ink, soft, lines }) {
    if (!shown.size) return;
    const cell = width / columns(width);
    shown.get(known()).forEach((digit, label) => {
      const [x, y] = [(label % columns(width)) * cell, Math.floor(label / columns(width)) * (cell + 22)];
      stamp(ctx, digit, 28, x + 2, y + 2, cell - 4);
      const right = !read.length || read[label] === label;
      Object.assign(ctx, { textAlign: "center", textBaseline: "top", fillStyle: right ? soft : lines[1] });
      ctx.fillText(right ? label : `${label}, read as ${read[label]}`, x + cell / 2, y + cell + 3);
    });
  }
  const tell = () => {
    if (!read.length) return;
    const right = read.filter((digit, label) => digit === label).length;
    said.say(`${place < STEPS ? `Predictions at t = ${times[known()] ?? times[STEPS - 1]}` : "The ten digits"}. In the end the classifier reads ${right} of 10 as they were asked for.`);
  };
  function again() {
    if (ask.models()) draw(ask.models());
    else said.say("Press Draw all ten: the networks are fetched then.");
  }
  async function draw({ generator, classifier }) {
    const mine = ++turn;
    const began = performance.now();
    [shown, read] = [new Map(), []];
    const denoise = guided(generator, { labels: LABELS, scale: scale.value, interval: INTERVAL });
    const x = new Float32Array(10 * PIXELS);
    LABELS.forEach((label) => x.set(start, label * PIXELS));
    const split = (all) => LABELS.map((label) => all.slice(label * PIXELS, (label + 1) * PIXELS));
    const seen = async ({ k, x0 }) => {
      if (mine !== turn) return false;
      shown.set(k, split(x0));
      when.set((place = k));
      view.redraw();
      said.say(`Step ${k + 1} of ${STEPS} …`);
      await breathe();
    };
    const done = await sample(COSINE, denoise, x, { steps: STEPS, seen });
    if (!done || mine !== turn) return;
    shown.set(STEPS, split(done));
    read = (await opinions(classifier, done)).map((shares) => shares.indexOf(Math.max(...shares)));
    when.set((place = STEPS));
    view.redraw();
    tell();
    root.dataset.seconds = ((performance.now() - began) / 1000).toFixed(3);
    root.result = { x: done, read };
    root.dispatchEvent(new CustomEvent("live-done"));
  }
  const fresh = button("Another noise", () => ((start = noise(PIXELS, ++seed)), again()));
  const old = button("The book's noise", () => ((start = book), again()));
  root.append(el("div", { className: "live-controls" }, scale.root, el("div", { className: "live-keys" }, fresh, old)), ask.root, el("div", { className: "live-time" }, play.root, when.root), view.canvas, said.root);
  tell();
}
