/** Four samplers from one noise, in few steps and in more, and what the classifier reads in the results. */

import { breathe, button, choice, el, floats, plot, stamp, story, teller, tick } from "../core.js";
import { METHODS, sample } from "../diffusion.js";
import { COSINE, guided, INTERVAL, opinions, PIXELS } from "../digits.js";
import { asker } from "../engine.js";
import { noise, normals } from "../noise.js";

const NAMES = Object.keys(METHODS);
const STEPS = [3, 5, 10, 20];

export async function mount(root) {
  const told = await story("four-samplers");
  const book = floats((await story("four")).noise);
  let start = book;
  let seed = 0;
  let turn = 0;
  let cells = told.pictures.map((digit, i) => ({ digit, read: told.read[i] })); // row after row
  const said = teller();
  const label = choice({ label: "Digit asked for", options: Array.from({ length: 10 }, (_, d) => [d, String(d)]), value: told.label, onchange: again });
  const guidance = tick({ label: "guided: 1.5 at steps 400 to 900", value: false, onchange: again });
  const side = 100;
  const left = (width) => (width < 480 ? 0 : 104);
  const cellOf = (width) => Math.min(side, (width - left(width)) / STEPS.length);
  const view = plot({ widest: 104 + 4 * side, height: (w) => NAMES.length * (cellOf(w) + (w < 480 ? 34 : 18)) + 24, draw: paint, "aria-label": "a table of digits: a row for each sampler, a column for each number of steps" });
  const ask = asker({ names: ["generator", "classifier"], what: "the digit generator and the classifier", verb: "Race", ready: race });

  function paint(ctx, width, height, { ink, soft, lines }) {
    const cell = cellOf(width);
    const row = cell + (width < 480 ? 34 : 18);
    Object.assign(ctx, { textBaseline: "top", fillStyle: soft });
    ctx.textAlign = "center";
    STEPS.forEach((steps, j) => ctx.fillText(`${steps} steps`, left(width) + (j + 0.5) * cell, 2));
    NAMES.forEach((name, i) => {
      const top = 22 + i * row + (width < 480 ? 16 : 0);
      Object.assign(ctx, { textAlign: "left", fillStyle: ink, textBaseline: width < 480 ? "bottom" : "middle" });
      ctx.fillText(name === "Heun" ? "Heun (2 calls)" : name, 0, width < 480 ? top : top + cell / 2);
      STEPS.forEach((_, j) => {
        const found = cells[i * STEPS.length + j];
        if (!found) return;
        stamp(ctx, found.digit, 28, left(width) + j * cell + 2, top + 1, cell - 4);
        const right = found.read === label.value;
        Object.assign(ctx, { textAlign: "center", textBaseline: "top", fillStyle: right ? soft : lines[1] });
        ctx.fillText(`read as ${found.read}`, left(width) + (j + 0.5) * cell, top + cell - 1);
      });
    });
  }
  const tell = () => said.say(`The classifier reads ${cells.filter(({ read }) => read === label.value).length} of ${cells.length} as a ${label.value}. DDPM draws noise of its own in every step; the others do not.`);
  function again() {
    if (ask.models()) race(ask.models());
    else said.say("Press Race: the networks are fetched then.");
  }
  async function race({ generator, classifier }) {
    const mine = ++turn;
    const began = performance.now();
    cells = [];
    const denoise = guided(generator, { labels: [label.value], scale: guidance.value ? 1.5 : 1, interval: INTERVAL });
    for (const method of NAMES)
      for (const steps of STEPS) {
        const seen = async () => (await breathe(), mine === turn);
        const digit = await sample(COSINE, denoise, start, { method, steps, normal: normals(1000), seen });
        if (!digit || mine !== turn) return;
        const [shares] = await opinions(classifier, digit);
        cells.push({ digit, read: shares.indexOf(Math.max(...shares)) });
        view.redraw();
        said.say(`${method}, ${steps} steps …`);
      }
    tell();
    root.dataset.seconds = ((performance.now() - began) / 1000).toFixed(3);
    root.result = { x: Float32Array.from(cells.flatMap(({ digit }) => [...digit])), read: cells.map(({ read }) => read) };
    root.dispatchEvent(new CustomEvent("live-done"));
  }
  const fresh = button("Another noise", () => ((start = noise(PIXELS, ++seed)), again()));
  const old = button("The book's noise", () => ((start = book), again()));
  root.append(el("div", { className: "live-controls" }, label.root, guidance.root, el("div", { className: "live-keys" }, fresh, old)), ask.root, view.canvas, said.root);
  tell();
}
