/** The models, and ONNX Runtime that runs them: fetched when someone asks, from beside the page and from nowhere else. */

import { MANIFEST } from "./manifest.js";
import { button, breathe, el } from "./core.js";

const HERE = new URL("./engine/", import.meta.url).href;
const sessions = new Map();
let engine = null;

/** Bytes of a file, decompressed if the server has not done so; `heard(bytes)` is told of each piece that comes. */
async function bytes(file, heard) {
  const answer = await fetch(HERE + file);
  if (!answer.ok) throw new Error(`${file}: ${answer.status}`);
  const reader = answer.body.getReader();
  const pieces = [];
  for (let piece; !(piece = await reader.read()).done; ) {
    pieces.push(piece.value);
    heard(piece.value.length);
  }
  const whole = new Uint8Array(await new Blob(pieces).arrayBuffer());
  if (whole[0] !== 0x1f || whole[1] !== 0x8b) return whole;
  return new Uint8Array(await new Response(new Blob([whole]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer());
}

/** ONNX Runtime, one thread, once a page. */
async function start(heard) {
  const ort = await import(HERE + MANIFEST.engine.module);
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmPaths = { mjs: HERE + MANIFEST.engine.glue };
  ort.env.wasm.wasmBinary = await bytes(MANIFEST.engine.wasm, heard);
  return ort;
}

/** A model by its name, once a page. */
async function open(name, heard) {
  const file = await bytes(MANIFEST.models[name].file, heard);
  const ort = await engine;
  const session = await ort.InferenceSession.create(file, { executionProviders: ["wasm"], graphOptimizationLevel: "all", logSeverityLevel: 3 });
  return async (inputs) => {
    const feeds = Object.fromEntries(
      Object.entries(inputs).map(([key, [data, shape]]) => [key, new ort.Tensor(data instanceof Int32Array ? "int32" : "float32", data, shape)]),
    );
    const outputs = await session.run(feeds);
    return Object.fromEntries(Object.entries(outputs).map(([key, tensor]) => [key, tensor.data]));
  };
}

const missing = (names) => names.filter((name) => !sessions.has(name));
/** How much must be fetched for these models, in bytes. */
export const toFetch = (names) =>
  (engine ? 0 : MANIFEST.engine.bytes) + missing(names).reduce((sum, name) => sum + MANIFEST.models[name].bytes, 0);
/** Are these models beside the page? */
export const available = (names) => Boolean(MANIFEST.engine) && names.every((name) => MANIFEST.models[name]);
const megabytes = (size) => `${(size / 1e6).toFixed(1)} MB`;

/**
 * Models by name, each a function from inputs `{name: [data, shape]}` to outputs `{name: data}`.
 * @returns {Promise<Object<string, (inputs: Object) => Promise<Object>>>}
 */
export async function load(names, progress = () => {}) {
  const total = toFetch(names);
  let come = 0;
  const heard = (size) => progress(Math.min(1, (come += size) / Math.max(total, 1)));
  engine ??= start(heard).catch((problem) => ((engine = null), Promise.reject(problem)));
  for (const name of missing(names)) sessions.set(name, open(name, heard));
  try {
    const ready = await Promise.all(names.map((name) => sessions.get(name)));
    return Object.fromEntries(names.map((name, i) => [name, ready[i]]));
  } catch (problem) {
    names.forEach((name) => sessions.delete(name));
    throw problem;
  }
}

/**
 * The key that asks for a figure's models, and says which they are and how large. `models()` gives them, and null as long as nobody asked.
 * @param {{names: string[], what: string, verb: string, ready: (models) => void}} how
 */
export function asker({ names, what, verb, ready }) {
  const line = el("p", { className: "live-note" });
  let models = null;
  const key = button("", ask, { className: "live-ask" });
  const root = el("div", { className: "live-asker" }, key, line);
  async function ask() {
    if (models) return ready(models);
    key.disabled = true;
    try {
      const got = await load(names, (share) => (line.textContent = `fetching: ${Math.round(100 * share)} %`));
      await breathe();
      models = got;
      line.textContent = `Runs in this page, and nothing leaves it: ${what}.`;
      key.textContent = verb;
      await ready(models);
    } catch (problem) {
      line.textContent = `This did not work: ${problem.message}`;
      console.warn(problem);
    }
    key.disabled = false;
  }
  if (available(names)) {
    key.textContent = `${verb} (fetches ${megabytes(toFetch(names))})`;
    line.textContent = `Runs here: ${what}, ${megabytes(names.reduce((sum, name) => sum + MANIFEST.models[name].bytes, 0))}, on ONNX Runtime, ${megabytes(MANIFEST.engine.bytes)} once for all figures. Nothing is fetched before you press, and nothing leaves this page.`;
  } else {
    key.hidden = true;
    line.textContent = `${what[0].toUpperCase()}${what.slice(1)} would run here, but it is not beside this page: it was made where npm could not be reached. What you see is stored.`;
  }
  return { root, ask, models: () => models };
}
