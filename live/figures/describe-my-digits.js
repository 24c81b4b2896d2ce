/** A scene of digits, drawn or photographed, told in a sentence or refused; each word shows where the network looked when it wrote it. */

import { judged, LEAST } from "../captions.js";
import { breathe, button, calm, decimal, el, floats, greys, picture, plot, stamp, story, teller } from "../core.js";
import { softmax } from "../diffusion.js";
import { percent } from "../digits.js";
import { asker } from "../engine.js";
import { levelsOfFile, pad, readPicture } from "../pictures.js";
import { plane } from "../planes.js";
import { asPieces, readScene } from "../reader.js";

const MODELS = ["scene-reader", "scene-writer", "judge"];
const [SIDE, SQUARES, MOST, VERDICTS] = [56, 7, 63, 11]; // pixels, squares a side, words at most, answers of the judge
const [START, END, PAD] = [1, 2, 0];
const PAUSE = 400; // milliseconds without a stroke, after which a drawing is read
const BLANK = new Float32Array(SIDE ** 2).fill(-1);

export async function mount(root) {
  const told = await story("describe-my-digits");
  const book = told.pictures[0];
  let image = book; // what the captioner sees
  let words = told.words.map((word, i) => ({ word, share: told.shares[i], looked: told.looked[i] }));
  let pieces = told.pieces.map((piece) => floats(piece));
  let verdicts = told.verdicts;
  let verdict = { confidence: told.confidence, refusal: null };
  let chosen = words.findIndex(({ word }) => word === told.show);
  let turn = 0;
  let soon = null; // a stroke may be followed by another

  const said = teller();
  const drawing = picture(SIDE, { "aria-label": "your scene; draw one to three digits here", className: "live-picture live-pad live-scene" });
  const sheet = pad(drawing, SIDE, { pen: 2.4, change: () => clearTimeout(soon), done: () => (clearTimeout(soon), (soon = setTimeout(() => take(sheet.levels()), PAUSE))) });
  const glance = plot({ widest: 224, height: (w) => w, draw: paint, "aria-label": "what the captioner sees, and where it looked" });
  const sentence = el("p", { className: "live-sentence", "aria-label": "the sentence; each word is a key" });
  const shown = el("div", { className: "live-pieces" });
  const ask = asker({ names: MODELS, what: "the VQ-VAE of scenes, the captioner and the judge of ink", verb: "Describe", ready: (models) => describe(models, levels) });
  const file = el("input", { type: "file", accept: "image/*", className: "live-file", "aria-label": "a photograph of one to three digits", onchange: () => file.files[0] && photograph(file.files[0]) });
  let levels = { grey: book.map((v) => (v + 1) / 2), width: SIDE, height: SIDE };
  function take(next) {
    levels = next;
    turn++;
    [words, pieces, verdicts, verdict, image] = [[], [], [], null, BLANK];
    tell();
    if (ask.models()) return describe(ask.models(), next);
    said.say("Press Describe: the networks are fetched then.");
  }

  async function photograph(picked) {
    try {
      const read = await levelsOfFile(picked);
      try {
        sheet.put(readPicture(read, SIDE));
      } catch {
        sheet.clear(); // nothing stands out; the reader will say so
      }
      await take(read);
    } catch (problem) {
      said.say(`This picture cannot be read: ${problem.message}.`);
    }
  }

  /** Word by word: the likeliest each time, as the book's captioner does. */
  async function describe(models, { grey, width, height }) {
    const mine = ++turn;
    const began = performance.now();
    said.say("Reading …");
    [words, pieces, verdicts, verdict, image] = [[], [], [], null, BLANK];
    chosen = -1;
    tell();
    await breathe();
    if (mine !== turn) return;
    try {
      ({ image, digits: pieces } = readScene(plane(height, width, grey)));
    } catch (problem) {
      verdict = { confidence: 0, refusal: problem.message };
      return done(began);
    }
    const { logits: judgement } = await models.judge({ x: [asPieces(pieces), [pieces.length, 1, 28, 28]] });
    verdicts = pieces.map((_, i) => softmax(judgement.slice(i * VERDICTS, (i + 1) * VERDICTS)));
    if (mine !== turn) return;
    const all = [];
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
      all.push(shares);
      words.push({ word: told.vocabulary[next], share: shares[next], looked: where(looked, n - 2, n) });
      chosen = words.length - 1;
      tell();
      if (!calm()) await new Promise((paint) => requestAnimationFrame(paint));
    }
    verdict = judged(words.map(({ word }) => word), all, verdicts, told);
    done(began);
  }
  function done(began) {
    root.dataset.seconds = ((performance.now() - began) / 1000).toFixed(3);
    const spoken = { sentence: words.map(({ word }) => word).join(" "), shares: words.map(({ share }) => share), looked: words.map(({ looked }) => looked) };
    root.result = { image, ...spoken, ...verdict, verdicts, pieces: pieces.map((piece) => [...piece]) };
    if (verdict.refusal) [words, chosen] = [[], -1]; // nothing is told
    tell();
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
    if (verdict?.refusal) return said.say(`This is no scene of digits that I can read: ${verdict.refusal}.`);
    if (!words.length) return said.say("");
    const least = words.reduce((a, b) => (b.share < a.share ? b : a));
    const together = words.reduce((product, { share }) => product * share, 1);
    said.say(`“${words.map(({ word }) => word).join(" ")}”. Confidence ${decimal(verdict.confidence)}, and told from ${LEAST} on. Least sure of the word “${least.word}” (${percent(least.share)}); exactly this sentence had a chance of ${percent(together)}, for the same can be said in other words.`);
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
    shown.replaceChildren(
      ...pieces.slice(0, 6).map((piece, i) => {
        const tile = el("canvas", { width: 28, height: 28, className: "live-tile", role: "img", "aria-label": `piece ${i + 1} of the ink` });
        tile.getContext("2d").putImageData(greys(piece.map((v) => 2 * v - 1), 28), 0, 0);
        if (!verdicts[i]) return el("span", {}, tile);
        const top = verdicts[i].indexOf(Math.max(...verdicts[i]));
        return el("span", {}, tile, `${top < 10 ? top : "no digit"}, ${percent(verdicts[i][top])}`);
      }),
    );
    shown.hidden = !pieces.length;
    glance.redraw();
  }

  root.levels = () => levels;
  root.append(
    ask.root,
    el("div", { className: "live-panels live-top-aligned" },
      el("div", { className: "live-panel" }, sheet.canvas, el("span", {}, "one to three digits: draw here"),
        el("div", { className: "live-keys" }, button("Clear", () => (sheet.clear(), take(sheet.levels()))), button("The book's scene", () => (sheet.put(book), take(sheet.levels()))))),
      el("div", { className: "live-panel live-glance" }, glance.canvas, el("span", {}, "what it sees, and where it looks for the chosen word"),
        el("span", {}, "each piece of ink, as the judge takes it:"), shown)),
    el("label", { className: "live-tick" }, "or a photograph, which stays here:", file),
    el("p", { className: "live-note" }, "Paper, light and ink are found as the book's reader finds them; only the decoding of a photograph is the browser's own, and may differ by a grey level."),
    sentence,
    said.root,
  );
  sheet.put(book);
  tell();
  summary();
}
