/** Four generators of digits on one clock: what each holds, what it makes of it, and when each place of the picture was settled. */

import { breathe, button, choice, el, floats, player, plot, slider, stamp, story, teller } from "../core.js";
import { prediction, sample, timesteps } from "../diffusion.js";
import { HIDDEN, LENGTH, revealCodes, writeCodes } from "../codes.js";
import { COSINE, guided, INTERVAL, opinions, percent, PIXELS } from "../digits.js";
import { asker } from "../engine.js";
import { noise, uniforms } from "../noise.js";

const MODELS = ["generator", "latent-generator", "latent-codes", "next-code", "hidden-codes", "digit-decoder", "classifier"];
const [CELLS, LATENT, NONE, SCALE] = [7, 588, 10, 1.5];
const SETTLED = 0.2; // a tenth of the scale from black to white
const NAMES = { pixels: "diffusion of pixels", latents: "diffusion of latents", prior: "codes, one by one", maskgit: "codes, many at once" };
const TIMES = timesteps(1000, 20);
/** How often a network is asked in a step: twice where it is guided. */
const CALLS = { pixels: (k) => (INTERVAL[0] <= TIMES[k] && TIMES[k] < INTERVAL[1] ? 2 : 1), latents: () => 2, prior: () => 2, maskgit: () => 1 };

/** Root mean square difference of two pictures in each of the 49 places. */
function apart(a, b) {
  const sums = new Float64Array(LENGTH);
  for (let i = 0; i < PIXELS; i++) sums[CELLS * Math.floor(i / 112) + Math.floor((i % 28) / 4)] += (a[i] - b[i]) ** 2 / 16;
  return sums.map(Math.sqrt);
}

/** For each place the step from which on it looks as it does in the end; of codes, the step in which the code was written. */
export function settledAt({ pictures, codes }) {
  const steps = pictures.length;
  if (codes) return Array.from({ length: LENGTH }, (_, i) => codes.findIndex((row) => row[i] !== HIDDEN) + 1);
  const off = pictures.map((picture) => apart(picture, pictures[steps - 1]));
  return Array.from({ length: LENGTH }, (_, i) => {
    let first = steps;
    while (first > 1 && off[first - 2][i] < SETTLED) first--;
    return first;
  });
}

/** Sums of calls after 0, 1, … steps. */
const added = (each) => each.reduce((sums, value) => [...sums, sums[sums.length - 1] + value], [0]);

export async function mount(root) {
  const told = await story("one-clock");
  const { pictures: patches } = await story("draw-a-digit");
  const book = floats((await story("four")).noise);
  const blank = told.blank; // the commonest code, which stands for what is hidden
  let seed = told.seed;
  let turn = 0;
  let run = bookRun();

  /** The stored run: pictures one after the other, of each generator those after each step. */
  function bookRun() {
    const next = told.pictures.values();
    const take = (number) => Array.from({ length: number }, () => next.next().value);
    const rows = {};
    for (const key of Object.keys(NAMES)) {
      const { steps, read, codes } = told[key];
      rows[key] = { steps, read, codes, ms: null };
      if (key === "pixels") rows[key].states = take(steps + 1);
      if (key === "latents") rows[key].states = told.latents.states;
      rows[key].pictures = take(steps);
    }
    return finished(rows, told.label);
  }
  function finished(rows, asked) {
    for (const [key, row] of Object.entries(rows)) {
      row.settled = settledAt(row);
      row.calls = added(Array.from({ length: row.steps }, (_, k) => CALLS[key](k)));
    }
    return { rows, label: asked };
  }

  const label = choice({ label: "Digit asked for", options: Array.from({ length: 10 }, (_, d) => [d, String(d)]), value: told.label, onchange: again });
  const fresh = button("Other chances", () => ((seed += 1), again()), { title: "other noise, and other draws of codes" });
  const old = button("The book's", () => ((seed = told.seed), again()));
  const clock = choice({ label: "The clock counts", options: [["share", "share of the work"], ["calls", "calls of a network"], ["ms", "milliseconds"]], value: "share", onchange: () => show(place) });
  const [byTime] = [...clock.root.querySelectorAll("input")].slice(-1);
  byTime.disabled = true;
  let place = 35;
  const when = slider({ label: "Time", min: 0, max: 100, value: place, format: tellTime, oninput: show });
  const columns = (width) => (width < 560 ? 2 : 4);
  const cellOf = (width) => (width - 14 * (columns(width) - 1)) / columns(width);
  const tall = (wide) => 20 + wide + 6 + (wide - 6) / 2 + 52;
  const view = plot({ widest: 820, height: (w) => (4 / columns(w)) * tall(cellOf(w)) + (4 / columns(w) - 1) * 12, draw: paint, "aria-label": "four generators side by side" });
  const said = teller();
  const play = player(() => {
    show(place >= 100 ? 0 : place + 1);
    when.set(place);
    return place < 100;
  }, 90);
  const ask = asker({ names: MODELS, what: "four generators, the decoder and the classifier", verb: "Draw with all four", ready: draw });

  // ---- the clock

  const most = () => Math.max(...Object.values(run.rows).map((row) => (clock.value === "calls" ? row.calls : row.ms ?? [1])[row.steps]));
  function tellTime(value) {
    if (!clock || clock.value === "share") return `${value} % of the work`;
    return clock.value === "calls" ? `${Math.floor((value / 100) * most())} calls` : `${Math.round((value / 100) * most())} ms`;
  }
  /** How many steps a generator has taken by now. */
  function step(row) {
    if (clock.value === "share") return Math.floor((place / 100) * row.steps + 1e-9);
    const passed = clock.value === "calls" ? row.calls : row.ms;
    const now = (place / 100) * most() + 1e-6;
    return passed.filter((value) => value <= now).length - 1;
  }
  function show(value) {
    place = value;
    when.set(place);
    view.redraw();
    tell();
  }
  function tell() {
    const parts = Object.entries(run.rows).map(([key, row]) => {
      const k = step(row);
      const settled = row.settled.filter((at) => at <= k).length;
      return `${NAMES[key]}: ${k < row.steps ? `${settled} of 49 places settled` : `done, read as a ${top(row.read)}`}`;
    });
    said.say(`Asked for: ${run.label}. ${parts.join("; ")}.`);
    view.canvas.setAttribute("aria-label", `four generators side by side. ${said.root.textContent}`);
  }
  const top = (shares) => shares.indexOf(Math.max(...shares));

  // ---- the pictures

  function paint(ctx, width, height, colours) {
    const wide = cellOf(width);
    Object.entries(run.rows).forEach(([key, row], i) => {
      const [column, line] = [i % columns(width), Math.floor(i / columns(width))];
      panel(ctx, key, row, column * (wide + 14), line * (tall(wide) + 12), wide, colours);
    });
  }
  /** A place of which nothing is known yet. */
  function hatch(ctx, x, y, size) {
    ctx.save();
    ctx.beginPath();
    ctx.rect(x, y, size, size);
    ctx.clip();
    Object.assign(ctx, { fillStyle: "#7d8794", strokeStyle: "#5c6672", lineWidth: 1 });
    ctx.fillRect(x, y, size, size);
    ctx.beginPath();
    for (let at = -size; at < size; at += 5) {
      ctx.moveTo(x + at, y + size);
      ctx.lineTo(x + at + size, y);
    }
    ctx.stroke();
    ctx.restore();
  }
  function panel(ctx, key, row, left, up, wide, colours) {
    const k = step(row);
    const { ink, soft, lines } = colours;
    const small = (wide - 6) / 2;
    Object.assign(ctx, { textAlign: "left", textBaseline: "alphabetic", fillStyle: ink });
    ctx.fillText(NAMES[key], left, up + 13, wide);
    up += 20;
    const each = (size, x, y, draw) => {
      for (let i = 0; i < LENGTH; i++) draw(i, x + (i % CELLS) * (size / CELLS), y + Math.floor(i / CELLS) * (size / CELLS), size / CELLS);
    };
    if (k) stamp(ctx, row.pictures[k - 1], 28, left, up, wide);
    else hatch(ctx, left, up, wide);
    const open = (i) => !k || row.codes[k - 1][i] === HIDDEN;
    if (row.codes) each(wide, left, up, (i, x, y, size) => open(i) && hatch(ctx, x, y, size));
    up += wide + 6;
    if (key === "pixels") stamp(ctx, row.states[k], 28, left, up, small);
    else if (key === "latents") stamp(ctx, row.states[k].map((v) => v / 3), CELLS, left, up, small);
    else each(small, left, up, (i, x, y, size) => (open(i) ? hatch(ctx, x, y, size) : stamp(ctx, patches[row.codes[k - 1][i]], 4, x, y, size)));
    each(small, left + small + 6, up, (i, x, y, size) => {
      if (row.settled[i] > k) return hatch(ctx, x, y, size);
      ctx.fillStyle = shade(row.settled[i] / row.steps);
      ctx.fillRect(x, y, size - 0.5, size - 0.5);
    });
    up += small + 13;
    Object.assign(ctx, { fillStyle: soft, textAlign: "center" });
    ctx.fillText("holds", left + small / 2, up, small);
    ctx.fillText("settled", left + 1.5 * small + 6, up, small);
    ctx.textAlign = "left";
    const time = row.ms ? `, ${Math.round(row.ms[k])} ms` : "";
    ctx.fillText(`step ${k} of ${row.steps}, ${row.calls[k]} call${row.calls[k] === 1 ? "" : "s"}${time}`, left, up + 17, wide);
    if (k < row.steps) return;
    const digit = top(row.read);
    ctx.fillStyle = digit === run.label ? ink : lines[1];
    ctx.fillText(`read as ${digit}, ${percent(row.read[digit])}`, left, up + 33, wide);
  }
  /** Early is light, late is dark blue. */
  const shade = (share) => `hsl(${48 + 175 * share} ${80 - 10 * share}% ${84 - 54 * share}%)`;

  // ---- the networks

  function again() {
    if (ask.models()) draw(ask.models());
    else said.say("Press Draw with all four: the networks are fetched then.");
  }

  /** Each generator in its turn, alone, so that its milliseconds are its own. */
  async function draw(models) {
    const mine = ++turn;
    play.stop();
    const asked = label.value;
    const began = performance.now();
    const rows = {};
    /** Start a row; `seen` is called after each step, and what the page does between steps is not counted. */
    const start = (key) => {
      const row = (rows[key] = { ms: [0], states: [], pictures: [] });
      let since = performance.now();
      return [row, async (keep) => {
        row.ms.push(row.ms[row.ms.length - 1] + performance.now() - since);
        keep();
        said.say(`${NAMES[key]}, step ${row.ms.length - 1} …`);
        await breathe();
        since = performance.now();
        return mine === turn;
      }];
    };
    /** The last picture belongs to the work: one pass of the decoder, or none. */
    const decode = async (codes) => (await models["digit-decoder"]({ codes: [Int32Array.from(codes), [codes.length / LENGTH, CELLS, CELLS]] })).x;
    const closing = async (row, codes) => {
      const since = performance.now();
      await decode(await codes());
      row.ms[row.ms.length - 1] += performance.now() - since;
    };
    const filled = (codes) => codes.map((code) => (code === HIDDEN ? blank : code));
    const cut = (x) => Array.from({ length: x.length / PIXELS }, (_, i) => x.slice(i * PIXELS, (i + 1) * PIXELS));

    const result = {};
    {
      const [row, step] = start("pixels");
      const x = seed === told.seed ? book : noise(PIXELS, seed);
      row.states.push(x);
      const denoise = guided(models.generator, { labels: [asked], interval: INTERVAL });
      result.pixels = await sample(COSINE, denoise, x, { steps: 20, seen: (s) => step(() => (row.states.push(s.x), row.pictures.push(s.x0))) });
      if (mine !== turn) return;
    }
    const codesOf = async (z) => (await models["latent-codes"]({ z: [z, [z.length / LATENT, 12, CELLS, CELLS]] })).codes;
    {
      const [row, step] = start("latents");
      const z = noise(LATENT, seed + 1000);
      row.states.push(z.slice(0, LENGTH));
      const believed = [];
      const denoise = async (z, t) => {
        const twice = Float32Array.from([...z, ...z]);
        const { v } = await models["latent-generator"]({ z: [twice, [2, 12, CELLS, CELLS]], t: [new Float32Array(2).fill(t), [2]], label: [Int32Array.of(asked, NONE), [2]] });
        return prediction(COSINE.alphaBar(t), z, Float32Array.from({ length: LATENT }, (_, i) => v[LATENT + i] + SCALE * (v[i] - v[LATENT + i])), null);
      };
      result.latents = await sample(COSINE, denoise, z, { steps: 20, seen: (s) => step(() => (row.states.push(s.x.slice(0, LENGTH)), believed.push(...s.x0))) });
      if (mine !== turn) return;
      await closing(row, () => codesOf(result.latents));
      row.pictures = cut(await decode(await codesOf(Float32Array.from(believed))));
    }
    for (const [key, write] of [["prior", (how) => writeCodes(models["next-code"], how)], ["maskgit", (how) => revealCodes(models["hidden-codes"], how)]]) {
      const [row, step] = start(key);
      row.codes = [];
      result[key] = await write({ label: asked, draw: uniforms(seed + (key === "prior" ? 2000 : 3000)), seen: ({ codes }) => step(() => row.codes.push(codes)) });
      if (mine !== turn) return;
      await closing(row, () => result[key]);
      row.pictures = cut(await decode(row.codes.flatMap((codes) => [...filled(codes)])));
    }
    const last = Object.values(rows).map((row) => row.pictures[row.pictures.length - 1]);
    const read = await opinions(models.classifier, Float32Array.from(last.flatMap((picture) => [...picture])));
    if (mine !== turn) return;
    Object.values(rows).forEach((row, i) => Object.assign(row, { steps: row.pictures.length, read: read[i] }));
    run = finished(rows, asked);
    byTime.disabled = false;
    root.dataset.seconds = ((performance.now() - began) / 1000).toFixed(3);
    const ms = Object.fromEntries(Object.entries(rows).map(([key, row]) => [key, row.ms[row.steps]]));
    root.result = { ...result, last: last.map((picture) => [...picture]), read, ms, settled: Object.values(rows).map((row) => row.settled), codes: [...rows.maskgit.codes.map((codes) => [...codes])] };
    show(place);
    root.dispatchEvent(new CustomEvent("live-done"));
  }

  root.append(
    el("div", { className: "live-controls" }, label.root, el("div", { className: "live-keys" }, fresh, old)),
    ask.root,
    el("div", { className: "live-controls" }, clock.root),
    el("div", { className: "live-time" }, play.root, when.root),
    view.canvas,
    said.root,
  );
  show(place);
}
