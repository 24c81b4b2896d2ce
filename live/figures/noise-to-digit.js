/** From noise to a digit: every step of the walk, what the network predicts there, and what the classifier makes of the prediction. */

import { choice, el, floats, picture, placeOn, player, plot, slider, stamp, story, teller, tick, breathe, button } from "../core.js";
import { bars, COSINE, guided, INTERVAL, opinions, percent, PIXELS } from "../digits.js";
import { METHODS, sample, timesteps } from "../diffusion.js";
import { asker } from "../engine.js";
import { noise, normals } from "../noise.js";

const MODELS = ["generator", "classifier"];
const wide = (width) => (width < 480 ? 7 : 12); // pictures in the film strip

export async function mount(root) {
  const told = await story("noise-to-digit");
  const start = floats(told.noise);
  const half = told.atlas.number / 2;
  let run = { times: timesteps(1000, 20), xs: told.pictures.slice(0, half), x0s: told.pictures.slice(half), opinions: told.opinions, label: told.label };
  let seed = null; // null: the book's own noise
  let turn = 0;
  let place = 12;

  const label = choice({ label: "Digit asked for", options: Array.from({ length: 10 }, (_, d) => [d, String(d)]), value: told.label, onchange: again });
  const method = choice({ label: "Sampler", options: Object.keys(METHODS).map((name) => [name, name]), value: "DDIM", onchange: again });
  const steps = choice({ label: "Steps", options: [5, 10, 20, 50].map((n) => [n, String(n)]), value: 20, onchange: again });
  const scale = slider({ label: "Guidance", min: 0, max: 4, step: 0.1, value: 1.5, format: (s) => (s === 1 ? "1.0 (none)" : s.toFixed(1)), oninput: again });
  const inside = tick({ label: `only at steps ${INTERVAL[0]} to ${INTERVAL[1]}, as the model's card says`, value: true, onchange: again });
  const fresh = button("Another noise", () => ((seed = (seed ?? 0) + 1), again()));
  const old = button("The book's noise", () => ((seed = null), again()));

  const noisy = picture(28, { "aria-label": "the picture on its way" });
  const clean = picture(28, { "aria-label": "what the network predicts" });
  const votes = bars("the classifier reads the prediction as");
  const said = teller();
  const when = slider({ label: "Time", min: 0, max: 20, value: place, format: (k) => (k < run.times.length ? `t = ${run.times[k]}` : "done"), oninput: show });
  const film = plot({ height: (width) => (2 * width) / wide(width) + 38, draw: drawFilm, "aria-label": "the walk from noise to a digit: above the picture, below the prediction" });
  film.canvas.addEventListener("click", (event) => {
    const width = film.size()[0];
    go(shown(width)[Math.floor(placeOn(film.canvas, event)[0] / (width / wide(width)))] ?? run.times.length);
  });
  const play = player(() => {
    go(place >= run.times.length ? 0 : place + 1);
    return place < run.times.length;
  });
  const ask = asker({ names: MODELS, what: "the digit generator and the classifier", verb: "Draw", ready: draw });

  /** Which places of the walk the strip shows: evenly, the last always. */
  function shown(width) {
    const n = run.times.length;
    const columns = Math.min(wide(width), n + 1);
    return Array.from({ length: columns }, (_, i) => Math.round((i * n) / (columns - 1)));
  }

  function drawFilm(ctx, width, height, { ink, soft, lines }) {
    const cell = width / wide(width);
    const places = shown(width);
    const nearest = places.reduce((best, k) => (Math.abs(k - place) < Math.abs(best - place) ? k : best));
    ctx.textAlign = "center";
    places.forEach((k, i) => {
      const belief = run.x0s[Math.min(k, run.times.length - 1)];
      if (run.xs[k]) stamp(ctx, run.xs[k], 28, i * cell + 2, 2, cell - 4);
      if (belief) stamp(ctx, belief, 28, i * cell + 2, cell + 2, cell - 4);
      ctx.fillStyle = k === nearest ? ink : soft;
      ctx.fillText(k < run.times.length ? run.times[k] : "done", i * cell + cell / 2, 2 * cell + 15);
      if (k !== nearest) return;
      ctx.strokeStyle = lines[1];
      ctx.lineWidth = 3;
      ctx.strokeRect(i * cell + 1.5, 1.5, cell - 3, 2 * cell - 1);
    });
    ctx.fillStyle = soft;
    ctx.fillText("t, the step of noise", width / 2, 2 * cell + 33);
  }

  function show(k) {
    place = k;
    const last = run.times.length - 1;
    noisy.show(run.xs[Math.min(k, run.xs.length - 1)] ?? start);
    const p = Math.min(k, last, run.x0s.length - 1);
    if (p >= 0) {
      clean.show(run.x0s[p]);
      const top = votes.show(run.opinions[p]);
      const where = k > last ? "Done" : `Step ${k + 1} of ${last + 1}, t = ${run.times[k]}`;
      said.say(`${where}: the prediction reads as a ${top} (${percent(run.opinions[p][top])}); asked for: ${run.label}.`);
    }
    film.redraw();
  }
  function go(k) {
    when.set(k);
    show(k);
  }

  /** A control was moved: draw again, if the models are here. */
  function again() {
    if (ask.models()) draw(ask.models());
    else said.say("Press Draw: the models are fetched then.");
  }

  /** Let the network walk, and show each step as it is taken. */
  async function draw({ generator, classifier }) {
    const mine = ++turn;
    play.stop();
    const x = seed === null ? start : noise(PIXELS, seed);
    run = { times: timesteps(1000, steps.value), xs: [x], x0s: [], opinions: [], label: label.value };
    when.limit(run.times.length);
    const denoise = guided(generator, { labels: [label.value], scale: scale.value, interval: inside.value ? INTERVAL : null });
    const began = performance.now();
    const seen = async ({ k, x: next, x0 }) => {
      const [opinion] = await opinions(classifier, x0);
      if (mine !== turn) return false;
      run.xs.push(next);
      run.x0s.push(x0);
      run.opinions.push(opinion);
      go(k);
      await breathe();
    };
    const done = await sample(COSINE, denoise, x, { method: method.value, steps: steps.value, normal: normals((seed ?? 0) + 1e6), seen });
    if (!done || mine !== turn) return;
    go(run.times.length);
    root.dataset.seconds = ((performance.now() - began) / 1000).toFixed(3);
    root.result = { x: done, opinions: run.opinions };
    root.dispatchEvent(new CustomEvent("live-done"));
  }

  root.append(
    el("div", { className: "live-controls" }, label.root, steps.root, method.root, scale.root, inside.root, el("div", { className: "live-keys" }, fresh, old)),
    ask.root,
    el("div", { className: "live-panels" },
      el("div", { className: "live-panel" }, noisy.canvas, el("span", {}, "the picture, x", el("sub", {}, "t"))),
      el("div", { className: "live-panel" }, clean.canvas, el("span", {}, "the prediction of x", el("sub", {}, "0"))),
      el("div", { className: "live-panel live-wide" }, votes.root, el("span", {}, "what the classifier reads in it"))),
    el("div", { className: "live-time" }, play.root, when.root),
    film.canvas,
    said.root,
  );
  go(place);
}
