/** A drawn digit as forty-nine integers and back; any integer can be exchanged. */

import { button, el, floats, greys, picture, placeOn, plot, stamp, story, teller } from "../core.js";
import { asker } from "../engine.js";
import { pad } from "../pictures.js";

const MODELS = ["digit-encoder", "digit-decoder"];
const [CELLS, CODES, PEN] = [7, 512, 2.3]; // pen: its width in pixels of 28
const ALTERNATIVES = 15;

export async function mount(root) {
  const told = await story("draw-a-digit");
  const patches = told.pictures; // the mean patch of each code
  const used = told.counts.reduce((a, b) => a + b);
  /** Bits of a code for someone who knows how often each is used; one more of each, so that none is impossible. */
  const bits = (code) => -Math.log2((told.counts[code] + 1) / (used + CODES));

  const book = floats(told.image);
  let image = book.slice();
  let codes = Int32Array.from(told.codes);
  let own = codes.slice(); // as the encoder gave them
  let nearest = told.nearest; // of each cell, the codes by distance
  let again = floats(told.again);
  let untouched = again;
  let cell = 30;
  let turn = 0;

  // ---- the parts

  const drawing = picture(28, { "aria-label": "your digit; draw here with mouse, finger or pen", className: "live-picture live-pad" });
  const result = picture(28, { "aria-label": "the digit that the decoder makes of the codes" });
  const moved = picture(28, { "aria-label": "which pixels an exchanged code has moved", "data-may-be-blank": true });
  const grid = plot({ widest: 260, height: (w) => w, draw: drawGrid, tabindex: 0, role: "application", "aria-label": "the codes; arrows choose a cell" });
  const others = el("div", { className: "live-others", role: "group", "aria-label": "other codes for this cell" });
  const figures = el("p", { className: "live-note" });
  const said = teller();
  const ask = asker({ names: MODELS, what: "the encoder and decoder of the digits' VQ-VAE", verb: "Encode", ready: encode });
  const any = el("input", { type: "number", min: 0, max: CODES - 1, "aria-label": "any code from 0 to 511", onchange: () => exchange(Math.round(any.value)) });

  // ---- drawing

  const sheet = pad(drawing, 28, {
    pen: PEN,
    change: (next) => ((image = next), ask.models() && encode(ask.models())),
    done: () => ask.models() || said.say("Press Encode: the two networks are fetched then."),
  });
  const take = (next) => {
    image = next;
    if (ask.models()) encode(ask.models());
  };
  const wipe = button("Clear", () => (sheet.clear(), take(sheet.image())));
  const four = button("The book's 4", () => (sheet.put(book), take(book.slice())));

  // ---- codes

  function drawGrid(ctx, width, height, { lines }) {
    const size = width / CELLS;
    ctx.textAlign = "center";
    ctx.textBaseline = "middle";
    ctx.font = `${size > 30 ? 12 : 10}px system-ui, sans-serif`;
    codes.forEach((code, i) => {
      const [x, y] = [(i % CELLS) * size, Math.floor(i / CELLS) * size];
      stamp(ctx, patches[code], 4, x + 0.5, y + 0.5, size - 1);
      const bright = patches[code].reduce((a, b) => a + b) / 16 > -0.1;
      Object.assign(ctx, { fillStyle: bright ? "#000" : "#fff", strokeStyle: bright ? "#fff" : "#000", lineWidth: 2.5, lineJoin: "round" });
      ctx.strokeText(code, x + size / 2, y + size / 2 + 1);
      ctx.fillText(code, x + size / 2, y + size / 2 + 1);
    });
    ctx.lineWidth = 3;
    ctx.strokeStyle = "#e69f00";
    ctx.strokeRect((cell % CELLS) * size + 1, Math.floor(cell / CELLS) * size + 1, size - 2, size - 2);
    codes.forEach((code, i) => {
      if (code === own[i]) return;
      ctx.fillStyle = "#e69f00";
      ctx.beginPath();
      ctx.arc((i % CELLS) * size + size - 6, Math.floor(i / CELLS) * size + 6, 4, 0, 7);
      ctx.fill();
    });
  }
  function choose(next) {
    cell = Math.min(CELLS ** 2 - 1, Math.max(0, next));
    offer();
    grid.redraw();
    said.say(`Row ${Math.floor(cell / CELLS) + 1}, column ${(cell % CELLS) + 1}: code ${codes[cell]}, ${bits(codes[cell]).toFixed(1)} bits.`);
  }
  grid.canvas.addEventListener("click", (event) => {
    const size = grid.size()[0] / CELLS;
    const [x, y] = placeOn(grid.canvas, event);
    choose(Math.floor(y / size) * CELLS + Math.floor(x / size));
  });
  grid.canvas.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -CELLS, ArrowDown: CELLS }[event.key];
    if (by) (choose(cell + by), event.preventDefault());
    if (event.key === "Enter") (others.querySelector("button")?.focus(), event.preventDefault());
  });

  /** The codes that lie nearest to what the encoder said in this cell. */
  function offer() {
    any.value = codes[cell];
    others.replaceChildren(
      ...nearest[cell].map((code) => {
        const tile = el("canvas", { width: 4, height: 4, className: "live-tile" });
        tile.getContext("2d").putImageData(greys(patches[code], 4), 0, 0);
        const key = button("", () => exchange(code), { className: "live-code", "aria-pressed": String(code === codes[cell]), "aria-label": `code ${code}` });
        key.append(tile, String(code));
        return key;
      }),
    );
  }

  async function exchange(code) {
    if (!(code >= 0 && code < CODES)) return;
    if (!ask.models()) return said.say("Press Encode first: the decoder is fetched then.");
    codes[cell] = code;
    await decode(ask.models());
    const n = again.reduce((sum, value, i) => sum + (Math.abs(value - untouched[i]) > 0.1), 0);
    said.say(`Code ${code} in row ${Math.floor(cell / CELLS) + 1}, column ${(cell % CELLS) + 1}: ${n} of 784 pixels have moved by more than a twentieth of the scale.`);
  }

  // ---- the networks

  async function encode(models) {
    const mine = ++turn;
    const began = performance.now();
    const answer = await models["digit-encoder"]({ x: [image.slice(), [1, 1, 28, 28]] });
    if (mine !== turn) return;
    codes = Int32Array.from(answer.codes);
    own = codes.slice();
    nearest = Array.from(codes, (_, i) => {
      const row = answer.distances.subarray(i * CODES, (i + 1) * CODES);
      return Array.from({ length: CODES }, (_, k) => k).sort((a, b) => row[a] - row[b]).slice(0, ALTERNATIVES);
    });
    await decode(models, true);
    if (mine !== turn) return;
    root.dataset.seconds = ((performance.now() - began) / 1000).toFixed(3);
    root.dispatchEvent(new CustomEvent("live-done"));
  }
  async function decode(models, first = false) {
    const { x } = await models["digit-decoder"]({ codes: [codes.slice(), [1, CELLS, CELLS]] });
    again = Float32Array.from(x);
    if (first) untouched = again;
    show();
  }

  function show() {
    result.show(again);
    moved.show(again.map((value, i) => Math.abs(value - untouched[i]) - 1));
    const clipped = again.map((v) => Math.min(1, Math.max(-1, v)));
    const error = clipped.reduce((sum, v, i) => sum + (v - image[i]) ** 2, 0) / 784 / 4;
    const cheap = codes.reduce((sum, code) => sum + bits(code), 0);
    figures.textContent =
      `${new Set(codes).size} different codes among 49. 784 bytes are 6,272 bits; 49 codes of 9 bits are 441; for someone who knows how often ` +
      `each code occurs, ${Math.round(cheap)}. Mean squared error ${error.toFixed(5)} on a scale from 0 to 1.`;
    root.result = { image, codes, again };
    grid.redraw();
    offer();
  }

  root.append(
    ask.root,
    el("div", { className: "live-panels live-top-aligned live-coded" },
      el("div", { className: "live-panel" }, sheet.canvas, el("span", {}, "784 pixels: draw here"), el("div", { className: "live-keys" }, wipe, four)),
      el("div", { className: "live-panel live-grid" }, grid.canvas, el("span", {}, "49 integers, each on its mean patch: choose one")),
      el("div", { className: "live-panel" }, result.canvas, el("span", {}, "and back"), moved.canvas, el("span", {}, "what an exchange moved"))),
    el("div", { className: "live-exchange" }, el("span", {}, "Instead, in this cell, nearest first:"), others, el("label", { className: "live-tick" }, "or any:", any)),
    figures,
    said.root,
  );
  sheet.put(book);
  show();
}
