/** A scene of digits, drawn or photographed, told in a sentence; each word shows where the network looked when it wrote it. */

import { button, calm, el, picture, plot, stamp, story, teller } from "../core.js";
import { softmax } from "../diffusion.js";
import { percent } from "../digits.js";
import { asker } from "../engine.js";
import { pad, readPictureFile } from "../pictures.js";

const MODELS = ["scene-reader", "scene-writer"];
const [SIDE, SQUARES, MOST] = [56, 7, 63]; // pixels, squares a side, words at most
const [START, END, PAD] = [1, 2, 0];

export async function mount(root) {
  const told = await story("describe-my-digits");
  const book = told.pictures[0];
  let image = book;
  let words = told.words.map((word, i) => ({ word, share: told.shares[i], looked: told.looked[i] }));
  let chosen = words.findIndex(({ word }) => word === told.show);
  let turn = 0;

  const said = teller();
  const drawing = picture(SIDE, { "aria-label": "your scene; draw one to three digits here", className: "live-picture live-pad live-scene" });
  const sheet = pad(drawing, SIDE, { pen: 2.4, change: (next) => (image = next), done: () => (ask.models() ? describe(ask.models()) : said.say("Press Describe: the networks are fetched then.")) });
  const glance = plot({ widest: 224, height: (w) => w, draw: paint, "aria-label": "where the network looked" });
  const sentence = el("p", { className: "live-sentence", "aria-label": "the sentence; each word is a key" });
  const ask = asker({ names: MODELS, what: "the VQ-VAE of scenes and the captioner", verb: "Describe", ready: describe });
  const file = el("input", { type: "file", accept: "image/*", className: "live-file", "aria-label": "a photograph of one to three digits", onchange: () => file.files[0] && photograph(file.files[0]) });
  const take = (next) => {
    image = next;
    words = [];
    tell();
    if (ask.models()) return describe(ask.models());
    said.say("Press Describe: the networks are fetched then.");
  };

  async function photograph(picked) {
    try {
      const read = await readPictureFile(picked, SIDE);
      sheet.put(read);
      await take(read);
    } catch (problem) {
      said.say(`This picture cannot be read: ${problem.message}.`);
    }
  }

  /** Word by word: the likeliest each time, as the book's captioner does. */
  async function describe(models) {
    const mine = ++turn;
    const began = performance.now();
    said.say("");
    words = [];
    chosen = -1;
    const { context } = await models["scene-reader"]({ x: [Float32Array.from(image), [1, 1, SIDE, SIDE]] });
    const tokens = [START];
    while (tokens.length <= MOST) {
      const n = tokens.length + 1; // one to spare, since the network was exported for two or more
      const { logits, looked } = await models["scene-writer"]({ tokens: [Int32Array.from([...tokens, PAD]), [1, n]], context: [Float32Array.from(context), [1, SQUARES ** 2, context.length / SQUARES ** 2]] });
      if (mine !== turn) return;
      const size = logits.length / n;
      const shares = softmax(logits.slice((n - 2) * size, (n - 1) * size));
      const next = shares.indexOf(Math.max(...shares));
      if (next === END) break;
      tokens.push(next);
      words.push({ word: told.vocabulary[next], share: shares[next], looked: where(looked, n - 2, n) });
      chosen = words.length - 1;
      tell();
      if (!calm()) await new Promise((paint) => requestAnimationFrame(paint));
    }
    root.dataset.seconds = ((performance.now() - began) / 1000).toFixed(3);
    root.result = { image, sentence: words.map(({ word }) => word).join(" "), shares: words.map(({ share }) => share), looked: words.map(({ looked }) => looked) };
    summary();
    root.dispatchEvent(new CustomEvent("live-done"));
  }
  /** Attention of the first block for the word after token `at`, mean over heads. `looked`: [block, head, n, 49]. */
  function where(looked, at, n) {
    const heads = looked.length / told.blocks / n / SQUARES ** 2;
    return Array.from({ length: SQUARES ** 2 }, (_, square) => {
      let sum = 0;
      for (let head = 0; head < heads; head++) sum += looked[(head * n + at) * SQUARES ** 2 + square];
      return sum / heads;
    });
  }

  const summary = () => {
    if (!words.length) return said.say("");
    const least = words.reduce((a, b) => (b.share < a.share ? b : a));
    const together = words.reduce((product, { share }) => product * share, 1);
    said.say(`“${words.map(({ word }) => word).join(" ")}”. Least sure of the word “${least.word}” (${percent(least.share)}); exactly this sentence had a chance of ${percent(together)}, for the same can be said in other words.`);
  };
  function paint(ctx, width) {
    stamp(ctx, Float32Array.from(image, (v) => 0.35 * (v + 1) - 1), SIDE, 0, 0, width);
    const word = words[chosen];
    if (!word) return;
    const top = Math.max(...word.looked);
    const cell = width / SQUARES;
    word.looked.forEach((share, i) => {
      ctx.fillStyle = `rgba(230, 159, 0, ${(0.75 * share) / top})`;
      ctx.fillRect((i % SQUARES) * cell, Math.floor(i / SQUARES) * cell, cell, cell);
    });
  }
  function choose(i) {
    chosen = i;
    [...sentence.children].forEach((key, k) => key.setAttribute("aria-pressed", String(k === i)));
    glance.redraw();
  }
  function tell() {
    sentence.replaceChildren(
      ...words.map(({ word, share }, i) => {
        const key = button(word, () => choose(i), { "aria-pressed": String(i === chosen), title: percent(share), onmouseenter: () => choose(i), onfocus: () => choose(i) });
        key.append(el("small", {}, percent(share)));
        return key;
      }),
    );
    glance.redraw();
  }

  root.append(
    ask.root,
    el("div", { className: "live-panels live-top-aligned" },
      el("div", { className: "live-panel" }, sheet.canvas, el("span", {}, "one to three digits: draw here"),
        el("div", { className: "live-keys" }, button("Clear", () => (sheet.clear(), take(sheet.image()))), button("The book's scene", () => (sheet.put(book), take(book))))),
      el("div", { className: "live-panel live-glance" }, glance.canvas, el("span", {}, "where it looks for the chosen word"))),
    el("label", { className: "live-tick" }, "or a photograph, which stays here:", file),
    sentence,
    said.root,
  );
  sheet.put(book);
  tell();
  summary();
}
