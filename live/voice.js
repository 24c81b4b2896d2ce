/** Where a voice comes from: the book's recording, a file, or the microphone. Nothing of it leaves the page. */

import { asWord, RATE, readSound, trimmed } from "./audio.js";
import { button, el } from "./core.js";

const SECONDS = 2;

/** Little-endian int16 from base64, as samples in [-1, 1]. */
export function samplesOf(base64) {
  const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
  return Float32Array.from(new Int16Array(bytes.buffer), (v) => v / 2 ** 15);
}

/**
 * Keys to take a recording.
 * @param {{book: Float32Array, taken: (samples: Float32Array, from: string) => void, say: (text: string) => void}} how
 */
export function voice({ book, taken, say }) {
  const file = el("input", { type: "file", accept: "audio/*", className: "live-file", "aria-label": "a recording of one spoken digit", onchange: () => file.files[0] && read(file.files[0], "your file") });
  const listen = button(`Record ${SECONDS} seconds`, record);
  async function read(blob, from, cut = false) {
    try {
      const samples = await readSound(blob);
      taken(cut ? asWord({ samples: Float64Array.from(trimmed(samples)), rate: RATE }) : samples, from);
    } catch (problem) {
      say(`This recording cannot be used: ${problem.message}.`);
    }
  }
  async function record() {
    let stream;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ audio: { channelCount: 1 } });
    } catch (problem) {
      return say(`The microphone cannot be used: ${problem.message}.`);
    }
    listen.disabled = true;
    say("Say a digit, in English, now.");
    const recorder = new MediaRecorder(stream);
    const pieces = [];
    recorder.ondataavailable = (event) => pieces.push(event.data);
    recorder.onstop = async () => {
      stream.getTracks().forEach((track) => track.stop());
      listen.disabled = false;
      say("");
      await read(new Blob(pieces, { type: recorder.mimeType }), "your voice", true);
    };
    recorder.start();
    setTimeout(() => recorder.stop(), 1000 * SECONDS);
  }
  const root = el("div", { className: "live-keys" }, listen, el("label", { className: "live-tick" }, "or a file:", file), button("The book's voice", () => taken(book, "the book's recording")));
  if (!navigator.mediaDevices?.getUserMedia) listen.hidden = true;
  return { root };
}

let context = null;
/**
 * Play samples, and tell how far it is, in shares of their length, until the end.
 * @param {Float32Array} samples
 * @param {(share: number) => void} at
 */
export function play(samples, at) {
  context ??= new AudioContext();
  context.resume();
  const sound = context.createBuffer(1, samples.length, RATE);
  sound.copyToChannel(samples, 0);
  const source = context.createBufferSource();
  source.buffer = sound;
  source.connect(context.destination);
  const seconds = samples.length / RATE;
  const [began, clock] = [context.currentTime + 0.05, performance.now()];
  source.start(began);
  const tick = () => {
    const now = context.state === "running" ? context.currentTime - began : (performance.now() - clock) / 1000; // without a loudspeaker the picture moves all the same
    at(Math.min(1, Math.max(0, now / seconds)));
    if (now < seconds) requestAnimationFrame(tick);
  };
  tick();
}

/** Draw samples as a wave between two heights. */
export function wave(ctx, samples, left, width, middle, height, colour) {
  const top = samples.reduce((a, b) => Math.max(a, Math.abs(b)), 1e-6);
  ctx.fillStyle = colour;
  for (let x = 0; x < width; x++) {
    const piece = samples.subarray(Math.floor((x / width) * samples.length), Math.max(Math.floor(((x + 1) / width) * samples.length), Math.floor((x / width) * samples.length) + 1));
    let [low, high] = [0, 0];
    for (const v of piece) (low = Math.min(low, v)), (high = Math.max(high, v));
    ctx.fillRect(left + x, middle - (high / top) * height, 1, Math.max(1, ((high - low) / top) * height));
  }
}
