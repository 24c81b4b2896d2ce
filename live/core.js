/** What all live figures share: elements, controls, canvases, colours of the page, pictures of digits. */

/**
 * An element with attributes, listeners (functions under their event's name, `onclick`) and children.
 * @param {string} tag
 * @param {Object<string, any>} attributes
 * @param {...(Node|string|null)} children
 */
export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "className" || name === "textContent") element[name] = value;
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child != null));
  return element;
}

let counter = 0;
/** A name that no other element of the page has. */
export const unique = (stem) => `live-${stem}-${++counter}`;

/** @param {string} text @param {() => void} onclick */
export function button(text, onclick, attributes = {}) {
  return el("button", { type: "button", onclick, ...attributes }, text);
}

/**
 * A labelled slider; `format` says its value in words, which are shown and told to a screen reader.
 * @returns {{root: HTMLElement, value: number, set: (value: number, silent?: boolean) => void, limit: (max: number) => void}}
 */
export function slider({ label, min, max, step = 1, value, format = String, oninput }) {
  const id = unique("slider");
  const shown = el("output", { for: id });
  const input = el("input", { type: "range", id, min, max, step, value });
  const tell = () => {
    shown.textContent = format(Number(input.value));
    input.setAttribute("aria-valuetext", shown.textContent);
  };
  input.addEventListener("input", () => (tell(), oninput?.(Number(input.value))));
  tell();
  return {
    root: el("div", { className: "live-slider" }, el("label", { for: id }, label), input, shown),
    input,
    get value() {
      return Number(input.value);
    },
    set(next, silent = true) {
      input.value = next;
      tell();
      if (!silent) oninput?.(Number(input.value));
    },
    limit(next) {
      input.max = next;
      tell();
    },
  };
}

/**
 * One of several, as a row of radio buttons that look like keys; arrows move among them.
 * @param {{label: string, options: [any, string][], value: any, onchange: (value: any) => void}} how
 */
export function choice({ label, options, value, onchange }) {
  const name = unique("choice");
  let chosen = value;
  const inputs = options.map(([key]) =>
    el("input", { type: "radio", name, checked: key === value, onchange: () => ((chosen = key), onchange?.(key)) }),
  );
  const keys = options.map(([, text], i) => el("label", {}, inputs[i], el("span", {}, text)));
  return {
    root: el("fieldset", { className: "live-choice" }, el("legend", {}, label), ...keys),
    get value() {
      return chosen;
    },
    set(next) {
      chosen = next;
      options.forEach(([key], i) => (inputs[i].checked = key === next));
    },
  };
}

/** A box to tick. */
export function tick({ label, value, onchange }) {
  const input = el("input", { type: "checkbox", checked: value, onchange: () => onchange?.(input.checked) });
  return {
    root: el("label", { className: "live-tick" }, input, el("span", {}, label)),
    get value() {
      return input.checked;
    },
  };
}

/** A line that is read out when it changes. */
export function teller() {
  const line = el("p", { className: "live-said", role: "status", "aria-live": "polite" });
  return { root: line, say: (text) => line.textContent !== text && (line.textContent = text) };
}

// ---------------------------------------------------------------- canvases

/**
 * A canvas as wide as the figure, `widest` CSS pixels at most, and `height(width)` high, sharp on any screen. `draw(ctx, width, height, colours)`,
 * in CSS pixels, is called when it comes onto the page, and when its size or the page's colours change; `redraw()` asks for it.
 */
export function plot({ widest = 800, height, draw, ...attributes }) {
  const canvas = el("canvas", { className: "live-plot", role: "img", ...attributes });
  canvas.style.maxWidth = `${widest}px`;
  let size = [widest, height(widest)];
  const redraw = () => {
    const width = Math.min(widest, canvas.parentElement?.clientWidth ?? 0);
    if (!canvas.isConnected || !width) return;
    size = [width, height(width)];
    const scale = window.devicePixelRatio || 1;
    canvas.style.height = `${size[1]}px`;
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(size[1] * scale);
    const ctx = canvas.getContext("2d");
    ctx.scale(scale, scale);
    ctx.font = FONT;
    draw(ctx, ...size, colours(canvas));
  };
  new ResizeObserver(redraw).observe(canvas);
  onTheme(redraw);
  return { canvas, redraw, size: () => size };
}

/** Where on a canvas a pointer is, in CSS pixels. */
export function placeOn(canvas, event) {
  const box = canvas.getBoundingClientRect();
  return [event.clientX - box.left, event.clientY - box.top];
}

/** A canvas that shows `side` × `side` pixels, enlarged by the page. */
export function picture(side, attributes = {}) {
  const canvas = el("canvas", { className: "live-picture", width: side, height: side, role: "img", ...attributes });
  return { canvas, show: (data) => canvas.getContext("2d").putImageData(greys(data, side), 0, 0) };
}

/** Numbers in [-1, 1] as grey pixels. @param {ArrayLike<number>} data @param {number} side */
export function greys(data, side, height = side) {
  const image = new ImageData(side, height);
  for (let i = 0; i < side * height; i++) {
    image.data.fill(Math.round((Math.min(1, Math.max(-1, data[i])) + 1) * 127.5), 4 * i, 4 * i + 3);
    image.data[4 * i + 3] = 255;
  }
  return image;
}

const scratch = document.createElement("canvas");
/** Draw `side` × `side` numbers in [-1, 1] at a place of a canvas, `size` units wide, without smoothing. */
export function stamp(ctx, data, side, x, y, size) {
  scratch.width = scratch.height = side;
  scratch.getContext("2d").putImageData(greys(data, side), 0, 0);
  ctx.imageSmoothingEnabled = false;
  ctx.drawImage(scratch, x, y, size, size);
}

/**
 * A stored picture of many small ones, row after row, as numbers in [-1, 1].
 * @returns {Promise<Float32Array[]>}
 */
export async function atlas(url, side, number) {
  const image = new Image();
  image.src = url;
  await image.decode();
  const canvas = document.createElement("canvas");
  canvas.width = image.naturalWidth;
  canvas.height = image.naturalHeight;
  const ctx = canvas.getContext("2d", { willReadFrequently: true });
  ctx.drawImage(image, 0, 0);
  const columns = image.naturalWidth / side;
  return Array.from({ length: number }, (_, i) => {
    const { data } = ctx.getImageData((i % columns) * side, Math.floor(i / columns) * side, side, side);
    return Float32Array.from({ length: side * side }, (_, k) => data[4 * k] / 127.5 - 1);
  });
}

/** What is stored of a figure, `stories/NAME.json`, and its pictures, `stories/NAME.png`. */
export async function story(name) {
  const at = new URL(`./stories/${name}`, import.meta.url).href;
  const told = await (await fetch(`${at}.json`)).json();
  return { ...told, pictures: told.atlas ? await atlas(`${at}.png`, told.atlas.side, told.atlas.number) : [] };
}

/** Little-endian float32 from base64. */
export function floats(base64) {
  return new Float32Array(Uint8Array.from(atob(base64), (c) => c.charCodeAt(0)).buffer);
}

// ---------------------------------------------------------------- colours

const listeners = new Set();
/** Call back when the page turns dark or light. */
export function onTheme(callback) {
  listeners.add(callback);
}
const changed = () => requestAnimationFrame(() => listeners.forEach((callback) => callback()));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", changed);
for (const node of [document.documentElement, document.body])
  new MutationObserver(changed).observe(node, { attributes: true, attributeFilter: ["class", "data-theme", "data-bs-theme", "style"] });

/** The page's ink, and paler shades of it; lines in colours that differ to every eye, on light and on dark. */
export function colours(node) {
  const style = getComputedStyle(node);
  const [r, g, b] = style.color.match(/[\d.]+/g).map(Number);
  const ink = (share) => `rgba(${r}, ${g}, ${b}, ${share})`;
  const dark = r + g + b > 384; // light ink
  const lines = dark ? ["#56B4E9", "#F0803C", "#2FC79B", "#E39BC4", "#E6B83C"] : ["#0072B2", "#C85200", "#00795A", "#AA4A82", "#8A6100"];
  return { ink: ink(1), soft: ink(0.72), line: ink(0.3), faint: ink(0.1), lines, dark };
}

/** A number with `places` decimals and a true minus; never "−0.0". */
export const decimal = (value, places = 2) => (Math.abs(value) < 0.5 * 10 ** -places ? 0 : value).toFixed(places).replace("-", "−");

export const FONT = "12px system-ui, sans-serif";

/** Whether someone asked for less movement. */
export const calm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

/** The next moment in which the page may be painted. */
export const breathe = () => new Promise((go) => setTimeout(go, 0));

/** A key that plays: `step()` is called every `interval` milliseconds until it returns false. */
export function player(step, interval = 160) {
  let timer = null;
  const key = button("Play", () => (timer ? stop() : start()));
  const stop = () => {
    clearInterval(timer);
    timer = null;
    key.textContent = "Play";
  };
  const start = () => {
    key.textContent = "Pause";
    timer = setInterval(() => step() === false && stop(), interval);
  };
  return { root: key, stop, start };
}
