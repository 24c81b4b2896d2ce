/** Sound as chapters 43, 45 and 46 read it: wav files, resampling, log-mel, and what each frame of a film is told. */

export const RATE = 8000;
const [WINDOW, HOP, MELS, FLOOR] = [256, 80, 40, 1e-8];
export const [SHORTEST, LONGEST] = [0.1, 5]; // seconds

// ---------------------------------------------------------------- files

/**
 * A wav file: the mean of its channels, and its rate. Integers of 8 to 32 bits, or float32.
 * @param {ArrayBuffer} buffer
 * @returns {{samples: Float64Array, rate: number}}
 */
export function readWav(buffer) {
  const view = new DataView(buffer);
  const word = (at) => String.fromCharCode(...new Uint8Array(buffer, at, 4));
  if (buffer.byteLength < 44 || word(0) !== "RIFF" || word(8) !== "WAVE") throw new Error("this is no wav file");
  let [at, how] = [12, null];
  while (at + 8 <= buffer.byteLength) {
    const size = view.getUint32(at + 4, true);
    if (word(at) === "fmt ") {
      let kind = view.getUint16(at + 8, true);
      if (kind === 0xfffe && size >= 40) kind = view.getUint16(at + 32, true); // extensible: the kind stands further back
      how = { kind, channels: view.getUint16(at + 10, true), rate: view.getUint32(at + 12, true), bits: view.getUint16(at + 22, true) };
    }
    if (word(at) === "data" && how) {
      const bytes = how.bits / 8;
      const length = Math.floor(Math.min(size, buffer.byteLength - at - 8) / bytes / how.channels);
      const one = {
        "1,8": (p) => (view.getUint8(p) - 128) / 128,
        "1,16": (p) => view.getInt16(p, true) / 2 ** 15,
        "1,24": (p) => ((view.getUint8(p) | (view.getUint8(p + 1) << 8) | (view.getInt8(p + 2) << 16)) / 2 ** 23),
        "1,32": (p) => view.getInt32(p, true) / 2 ** 31,
        "3,32": (p) => view.getFloat32(p, true),
      }[[how.kind, how.bits]];
      if (!one) throw new Error(`a wav file of kind ${how.kind} with ${how.bits} bits is not read here`);
      const samples = new Float64Array(length);
      for (let i = 0; i < length; i++) for (let c = 0; c < how.channels; c++) samples[i] += one(at + 8 + (i * how.channels + c) * bytes) / how.channels;
      return { samples, rate: how.rate };
    }
    at += 8 + size + (size % 2);
  }
  throw new Error("this wav file holds no sound");
}

/** The modified Bessel function I₀. */
function bessel(x) {
  let [sum, term] = [1, 1];
  for (let k = 1; term > 1e-16 * sum; k++) sum += term *= (x / 2 / k) ** 2;
  return sum;
}

/** Another rate, as scipy.signal.resample_poly does it: a sinc under a Kaiser window. */
export function resample(samples, from, to) {
  const divisor = ((a, b) => { while (b) [a, b] = [b, a % b]; return a; })(from, to);
  const [up, down] = [to / divisor, from / divisor];
  if (up === down) return Float64Array.from(samples);
  const most = Math.max(up, down);
  const half = 10 * most;
  const taps = Float64Array.from({ length: 2 * half + 1 }, (_, i) => {
    const x = (i - half) / most;
    const sinc = x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x);
    return sinc * bessel(5 * Math.sqrt(Math.max(0, 1 - ((i - half) / half) ** 2)));
  });
  const gain = up / taps.reduce((a, b) => a + b);
  return Float64Array.from({ length: Math.ceil((samples.length * up) / down) }, (_, n) => {
    const middle = n * down;
    let sum = 0;
    for (let i = Math.ceil((middle - half) / up); i <= Math.floor((middle + half) / up); i++) if (i >= 0 && i < samples.length) sum += samples[i] * taps[middle - i * up + half];
    return sum * gain;
  });
}

/** What `audio.read_wav` makes of sound at any rate: 8 kHz, no offset, not above full scale. @returns {Float32Array} */
export function asWord({ samples, rate }) {
  const seconds = samples.length / rate;
  if (seconds < SHORTEST) throw new Error(`this lasts ${Math.round(1000 * seconds)} ms; a word needs at least ${1000 * SHORTEST}`);
  if (seconds > LONGEST) throw new Error(`this lasts ${seconds.toFixed(1)} s; at most ${LONGEST} s are taken, cut out the word`);
  const offset = samples.reduce((a, b) => a + b, 0) / samples.length;
  const word = resample(samples.map((v) => v - offset), rate, RATE);
  const peak = word.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
  if (peak < 1e-4) throw new Error("this is silent");
  return Float32Array.from(word, (v) => v / Math.max(peak, 1));
}

/** Any sound file that the browser can read; wav files are read here. @param {Blob} file */
export async function readSound(file) {
  const buffer = await file.arrayBuffer();
  const head = String.fromCharCode(...new Uint8Array(buffer.slice(0, 4)));
  if (head === "RIFF") return asWord(readWav(buffer));
  const sound = await new OfflineAudioContext(1, 1, 48000).decodeAudioData(buffer);
  const samples = new Float64Array(sound.length);
  for (let c = 0; c < sound.numberOfChannels; c++) sound.getChannelData(c).forEach((v, i) => (samples[i] += v / sound.numberOfChannels));
  return asWord({ samples, rate: sound.sampleRate });
}

/** The stretch in which somebody speaks: from 60 ms before the first loud moment to 100 ms after the last. */
export function trimmed(samples) {
  const tick = 80;
  const loud = Array.from({ length: Math.floor(samples.length / tick) }, (_, i) => samples.subarray(i * tick, (i + 1) * tick).reduce((sum, v) => sum + v * v, 0) / tick);
  const top = Math.max(...loud);
  const quiet = [...loud].sort((a, b) => a - b)[Math.floor(loud.length / 5)];
  const above = loud.map((v) => v > Math.max(0.004 * top, 6 * quiet));
  const [first, last] = [above.indexOf(true), above.lastIndexOf(true)];
  if (first < 0) return samples;
  return samples.slice(Math.max(0, (first - 6) * tick), Math.min(samples.length, (last + 11) * tick));
}

// ---------------------------------------------------------------- spectra

const FADE = Float64Array.from({ length: WINDOW }, (_, n) => Math.fround(0.5 - 0.5 * Math.cos((2 * Math.PI * n) / WINDOW)));
const LOUDNESS = WINDOW * FADE.reduce((sum, v) => sum + v * v, 0);

/** Discrete Fourier transform of `WINDOW` real numbers in place, radix two; gives squared magnitudes of bins 0 … WINDOW / 2. */
function squared(re) {
  const n = WINDOW;
  const im = new Float64Array(n);
  for (let i = 1, j = 0; i < n; i++) {
    let bit = n >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) [re[i], re[j]] = [re[j], re[i]];
  }
  for (let size = 2; size <= n; size *= 2)
    for (let k = 0; k < size / 2; k++) {
      const [c, s] = [Math.cos((-2 * Math.PI * k) / size), Math.sin((-2 * Math.PI * k) / size)];
      for (let i = k; i < n; i += size) {
        const j = i + size / 2;
        const [a, b] = [re[j] * c - im[j] * s, re[j] * s + im[j] * c];
        [re[j], im[j]] = [re[i] - a, im[i] - b];
        [re[i], im[i]] = [re[i] + a, im[i] + b];
      }
    }
  return Float64Array.from({ length: n / 2 + 1 }, (_, k) => re[k] ** 2 + im[k] ** 2);
}

const mel = (hertz) => 2595 * Math.log10(1 + hertz / 700);
const hertz = (m) => 700 * (10 ** (m / 2595) - 1);
const CORNERS = Array.from({ length: MELS + 2 }, (_, i) => hertz((mel(RATE / 2) * i) / (MELS + 1)));
const FILTERS = Array.from({ length: MELS }, (_, m) =>
  Float64Array.from({ length: WINDOW / 2 + 1 }, (_, k) => {
    const f = (k * RATE) / WINDOW;
    return Math.max(0, Math.min((f - CORNERS[m]) / (CORNERS[m + 1] - CORNERS[m]), (CORNERS[m + 2] - f) / (CORNERS[m + 2] - CORNERS[m + 1])));
  }),
);

/** Decibels in 40 mel bands, a hundred times a second. @returns {Float64Array[]} one array of frames a band */
export function logMel(samples) {
  const frames = Math.floor(samples.length / HOP);
  const bands = Array.from({ length: MELS }, () => new Float64Array(frames));
  const margin = (WINDOW - HOP) / 2;
  for (let t = 0; t < frames; t++) {
    const piece = Float64Array.from({ length: WINDOW }, (_, n) => (samples[t * HOP - margin + n] ?? 0) * FADE[n]);
    const power = squared(piece).map((v, k) => ((k % (WINDOW / 2) ? 2 : 1) * v) / LOUDNESS);
    FILTERS.forEach((filter, m) => {
      let sum = 0;
      for (let k = 0; k < filter.length; k++) sum += filter[k] * power[k];
      bands[m][t] = 10 * Math.log10(Math.max(sum, FLOOR));
    });
  }
  return bands;
}

const [LOW_CUT, TAPS] = [120, 401]; // Hz, samples
const LOW_PASS = (() => {
  const taps = Float64Array.from({ length: TAPS }, (_, i) => {
    const at = i - (TAPS - 1) / 2;
    const x = (2 * LOW_CUT * at) / RATE;
    return (x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x)) * (0.5 + 0.5 * Math.cos((2 * Math.PI * at) / (TAPS + 1)));
  });
  const sum = taps.reduce((a, b) => a + b);
  return taps.map((v) => v / sum);
})();

/** What of a sound is above 120 Hz: a low-pass of 50 ms is taken off. @returns {Float64Array} */
export function highpass(samples) {
  const half = (TAPS - 1) / 2;
  return Float64Array.from(samples, (v, i) => {
    let low = 0;
    for (let k = Math.max(0, half - i); k < Math.min(TAPS, samples.length + half - i); k++) low += LOW_PASS[k] * samples[i + k - half];
    return v - low;
  });
}

/** The second of a recording that has most energy, above 120 Hz, half of its energy before its middle, at one loudness. */
export function oneSecond(samples) {
  let start = -Math.floor((RATE - samples.length) / 2);
  if (samples.length > RATE) {
    const before = new Float64Array(samples.length + 1);
    samples.forEach((v, i) => (before[i + 1] = before[i] + v * v));
    start = 0;
    for (let i = 1; i <= samples.length - RATE; i++) if (before[i + RATE] - before[i] > before[start + RATE] - before[start]) start = i;
  }
  const wide = highpass(Float64Array.from({ length: 2 * RATE }, (_, i) => samples[start - RATE / 2 + i] ?? 0));
  const heard = new Float64Array(RATE + 1);
  for (let i = 0; i < RATE; i++) heard[i + 1] = heard[i] + wide[RATE / 2 + i] ** 2;
  const middle = heard.subarray(1).filter((v) => v < heard[RATE] / 2).length;
  const second = wide.slice(middle, middle + RATE);
  const loudness = Math.sqrt(second.reduce((sum, v) => sum + v * v, 0) / RATE);
  return second.map((v) => (loudness > 1e-5 ? (0.1 * v) / loudness : 0));
}

/** The listener's input, [40, 100]. @returns {Float32Array} */
export function spectrogram(samples) {
  const bands = logMel(oneSecond(samples));
  return Float32Array.from({ length: MELS * 100 }, (_, i) => (bands[Math.floor(i / 100)][i % 100] + 55) / 15);
}

// ---------------------------------------------------------------- films

export const FRAMES = 16;
/** The share of a recording's energy that has sounded by the end of each frame. @returns {number[]} */
export function energyCurve(samples, frames = FRAMES) {
  const heard = new Float64Array(samples.length + 1);
  samples.forEach((v, i) => (heard[i + 1] = heard[i] + v * v));
  const total = heard[samples.length];
  return Array.from({ length: frames }, (_, f) => (total ? heard[Math.floor((samples.length * (f + 1)) / frames)] / total : (f + 1) / frames));
}

/** What each frame is told: [16, 12]. @returns {Float32Array} */
export function frameFeatures(samples) {
  const ends = energyCurve(samples);
  const longer = new Float64Array(samples.length + HOP);
  longer.set(samples);
  const mels = logMel(longer);
  const ticks = mels[0].length;
  const edge = (f) => Math.floor((f * samples.length) / (FRAMES * HOP));
  const told = Array.from({ length: FRAMES }, (_, f) => {
    const start = Math.min(edge(f), ticks - 1);
    const stop = Math.max(Math.min(edge(f + 1), ticks), start + 1);
    return Array.from({ length: 8 }, (_, b) => {
      let sum = 0;
      for (let m = 5 * b; m < 5 * b + 5; m++) for (let t = start; t < stop; t++) sum += mels[m][t];
      return sum / 5 / (stop - start);
    });
  });
  const top = Math.max(...told.flat());
  return Float32Array.from(told.flatMap((bands, f) => [1, (f + 1) / FRAMES, f ? ends[f - 1] : 0, ends[f], ...bands.map((v) => Math.max((v - top) / 35, -1.5))]));
}
