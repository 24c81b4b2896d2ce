/** Planes of numbers, row after row, and what scipy.ndimage does to them, as far as live/reader.js needs it. */

/** @typedef {{data: Float32Array, h: number, w: number}} Plane  a mask or labels are planes too */

/** @returns {Plane} */
export const plane = (h, w, data = new Float32Array(h * w)) => ({ data, h, w });
export const mapped = (a, f) => plane(a.h, a.w, a.data.map(f));

/** Part of a plane; its ends may not leave it. */
export function crop(a, top, bottom, left, right) {
  const out = plane(bottom - top, right - left);
  for (let y = top; y < bottom; y++) out.data.set(a.data.subarray(y * a.w + left, y * a.w + right), (y - top) * out.w);
  return out;
}

/** A rim of `size` on all sides; `value(y, x)` says what stands there. */
export function padded(a, size, value = () => 0) {
  const out = plane(a.h + 2 * size, a.w + 2 * size);
  for (let y = -size; y < a.h + size; y++)
    for (let x = -size; x < a.w + size; x++) out.data[(y + size) * out.w + x + size] = y >= 0 && y < a.h && x >= 0 && x < a.w ? a.data[y * a.w + x] : value(y, x);
  return out;
}

/** Apply `line(input, output)` to all columns, then to all rows. */
function separable(a, line) {
  let out = plane(a.h, a.w);
  const column = { from: new Float32Array(a.h), to: new Float32Array(a.h) };
  for (let x = 0; x < a.w; x++) {
    for (let y = 0; y < a.h; y++) column.from[y] = a.data[y * a.w + x];
    line(column.from, column.to);
    for (let y = 0; y < a.h; y++) out.data[y * a.w + x] = column.to[y];
  }
  const row = new Float32Array(a.w);
  for (let y = 0; y < a.h; y++) {
    const part = out.data.subarray(y * a.w, (y + 1) * a.w);
    row.set(part);
    line(row, part);
  }
  return out;
}

/** An index beyond the ends, reflected: … 1 0 | 0 1 2 … */
function mirror(i, n) {
  const at = ((i % (2 * n)) + 2 * n) % (2 * n);
  return at < n ? at : 2 * n - 1 - at;
}

/** Gaussian blur of deviation 1. */
export function blurred(a) {
  const kernel = Array.from({ length: 9 }, (_, i) => Math.exp(-0.5 * (i - 4) ** 2));
  const sum = kernel.reduce((x, y) => x + y);
  return separable(a, (from, to) => {
    const n = from.length;
    for (let i = 0; i < n; i++) {
      let total = 0;
      for (let k = 0; k < 9; k++) total += kernel[k] * from[i >= 4 && i < n - 4 ? i + k - 4 : mirror(i + k - 4, n)];
      to[i] = total / sum;
    }
  });
}

/** The largest (`sign` 1) or smallest (-1) value in a square of `size` around each point; of an even size it reaches farther back, or with `late` ahead. */
function extreme(a, size, sign, late = false) {
  const back = (size >> 1) - (late && size % 2 === 0 ? 1 : 0);
  const longest = Math.max(a.h, a.w) + size;
  const [queue, reached] = [new Int32Array(longest), new Float32Array(longest)]; // places whose values fall; the line and its reflections
  return separable(a, (from, to) => {
    const n = from.length;
    const whole = n + size - 1;
    for (let i = 0; i < whole; i++) reached[i] = sign * from[i >= back && i < n + back ? i - back : mirror(i - back, n)];
    let [head, tail] = [0, 0];
    for (let i = 0; i < whole; i++) {
      const value = reached[i];
      while (tail > head && reached[queue[tail - 1]] <= value) tail--;
      queue[tail++] = i;
      if (queue[head] <= i - size) head++;
      if (i >= size - 1) to[i - size + 1] = sign * reached[queue[head]];
    }
  });
}
export const dilated = (a, size) => extreme(a, size, 1, true);
export const eroded = (a, size) => extreme(a, size, -1);

/**
 * Connected pieces of what is above 0, numbered in the order of reading; with `diagonals` corners connect.
 * @returns {Plane & {number: number}}
 */
export function labelled(mask, diagonals = false) {
  const out = { ...plane(mask.h, mask.w), number: 0 };
  const stack = [];
  for (let start = 0; start < mask.data.length; start++) {
    if (!mask.data[start] || out.data[start]) continue;
    out.data[start] = ++out.number;
    stack.push(start);
    while (stack.length) {
      const at = stack.pop();
      const [y, x] = [Math.floor(at / mask.w), at % mask.w];
      for (let dy = -1; dy <= 1; dy++)
        for (let dx = -1; dx <= 1; dx++) {
          if ((!diagonals && dy && dx) || y + dy < 0 || y + dy >= mask.h || x + dx < 0 || x + dx >= mask.w) continue;
          const next = at + dy * mask.w + dx;
          if (mask.data[next] && !out.data[next]) {
            out.data[next] = out.number;
            stack.push(next);
          }
        }
    }
  }
  return out;
}

/** The mask, with everything in it that is shut off from the rim. */
export function filled(mask) {
  const outside = labelled(mapped(mask, (v) => (v ? 0 : 1)));
  const open = new Set();
  for (let y = 0; y < mask.h; y++) for (let x = 0; x < mask.w; x++) if (y === 0 || x === 0 || y === mask.h - 1 || x === mask.w - 1) open.add(outside.data[y * mask.w + x]);
  open.delete(0);
  return mapped(outside, (label) => (label && open.has(label) ? 0 : 1));
}

/** A mask grown (`to` 1) or shrunk (0) by a cross, some times over; beyond the rim there is nothing. */
export function stepped(mask, to, times) {
  let now = mask;
  for (let time = 0; time < times; time++) {
    const next = plane(mask.h, mask.w, now.data.slice());
    for (let y = 0; y < mask.h; y++)
      for (let x = 0; x < mask.w; x++) {
        const near = [y ? now.data[(y - 1) * mask.w + x] : 0, y < mask.h - 1 ? now.data[(y + 1) * mask.w + x] : 0, x ? now.data[y * mask.w + x - 1] : 0, x < mask.w - 1 ? now.data[y * mask.w + x + 1] : 0];
        if (near.some((v) => Boolean(v) === Boolean(to))) next.data[y * mask.w + x] = to;
      }
    now = next;
  }
  return now;
}

/**
 * For each point the distance to the nearest point at which `mask` is 0, and where that is (Felzenszwalb and Huttenlocher 2012).
 * @returns {{far: Float32Array, nearest: Int32Array}}
 */
export function distances(mask) {
  const { h, w } = mask;
  const FAR = 1e12;
  const square = Float64Array.from(mask.data, (v) => (v ? FAR : 0));
  const from = new Int32Array(h * w);
  const longest = Math.max(h, w);
  const [feet, borders] = [new Int32Array(longest), new Float64Array(longest + 1)];
  const [value, row] = [new Float64Array(longest), new Int32Array(longest)];
  /** The lower envelope of parabolas along a line of `n` points. */
  function line(n, at, source) {
    for (let i = 0; i < n; i++) value[i] = square[at(i)];
    let k = 0;
    feet[0] = 0;
    [borders[0], borders[1]] = [-Infinity, Infinity];
    for (let i = 1; i < n; i++) {
      let cut;
      for (;;) {
        const foot = feet[k];
        cut = (value[i] + i * i - value[foot] - foot * foot) / (2 * i - 2 * foot);
        if (cut > borders[k] || k === 0) break;
        k--;
      }
      if (cut <= borders[k]) k = -1;
      feet[++k] = i;
      borders[k] = k ? cut : -Infinity;
      borders[k + 1] = Infinity;
    }
    for (let i = 0, j = 0; i < n; i++) {
      while (borders[j + 1] < i) j++;
      row[i] = source(feet[j]);
      square[at(i)] = value[feet[j]] + (i - feet[j]) ** 2;
    }
    for (let i = 0; i < n; i++) from[at(i)] = row[i];
  }
  for (let x = 0; x < w; x++) line(h, (y) => y * w + x, (y) => y * w + x);
  const before = new Int32Array(w);
  for (let y = 0; y < h; y++) {
    before.set(from.subarray(y * w, (y + 1) * w));
    line(w, (x) => y * w + x, (x) => before[x]);
  }
  return { far: Float32Array.from(square, Math.sqrt), nearest: from };
}

/** Bilinear, corners not aligned, as torch does it; shrinking averages (antialias). */
export function resized(a, h, w, antialias = true) {
  const along = (from, size, rows, read) => {
    const scale = from / size;
    const wide = antialias ? Math.max(scale, 1) : 1;
    const out = new Float32Array(rows * size);
    for (let i = 0; i < size; i++) {
      const weights = [];
      let [first, sum] = [0, 0];
      if (antialias) {
        const centre = scale * (i + 0.5);
        first = Math.max(Math.trunc(centre - wide + 0.5), 0);
        const end = Math.min(Math.trunc(centre + wide + 0.5), from);
        for (let j = first; j < end; j++) weights.push(Math.max(0, 1 - Math.abs((j - centre + 0.5) / wide)));
      } else {
        const at = Math.max(0, scale * (i + 0.5) - 0.5);
        first = Math.min(Math.floor(at), from - 1);
        weights.push(1 - (at - first));
        if (first + 1 < from) weights.push(at - first);
      }
      for (const weight of weights) sum += weight;
      for (let row = 0; row < rows; row++) {
        let total = 0;
        for (let k = 0; k < weights.length; k++) total += weights[k] * read(row, first + k);
        out[row * size + i] = total / sum;
      }
    }
    return out;
  };
  if (h === a.h && w === a.w) return a;
  const wide = along(a.w, w, a.h, (y, x) => a.data[y * a.w + x]); // [h, new w]
  const tall = along(a.h, h, w, (x, y) => wide[y * w + x]); // [new w, new h]
  const out = plane(h, w);
  for (let x = 0; x < w; x++) for (let y = 0; y < h; y++) out.data[y * w + x] = tall[x * h + y];
  return out;
}

/** Half to even. */
export const round = (v) => (Math.abs(v % 1) === 0.5 ? 2 * Math.round(v / 2) : Math.round(v));

/** Numbers in order. @param {ArrayLike<number>} values @returns {Float32Array} */
export const sorted = (values) => Float32Array.from(values).sort();

/** The value below which a share of the numbers lies, linear between neighbours. @param {Float32Array} ordered */
export function share(ordered, part) {
  const at = part * (ordered.length - 1);
  const low = Math.floor(at);
  return ordered[low] + (at - low) * ((ordered[low + 1] ?? ordered[low]) - ordered[low]);
}
export const quantile = (values, part) => share(sorted(values), part);
export const median = (values) => quantile(values, 0.5);
