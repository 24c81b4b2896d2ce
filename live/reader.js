/**
 * A scene read from a picture, as `caption.read_scene` reads it: find the paper, its light, the ink; put the pieces of ink on a canvas.
 * Pictures are planes of grey levels in 0 … 1. The functions have the names of the package's, in which their reasons are told.
 */

import { blurred, crop, dilated, distances, eroded, filled, labelled, mapped, median, padded, plane, quantile, resized, round, share, sorted, stepped } from "./planes.js";

export const [WORKING, CANVAS, GAP] = [448, 56, 2];
const [SMALL, LARGE] = [14, 22];
const [FAINT, BOLD] = [0.45, 1];

/** The picture with its longer side brought to `WORKING` pixels. */
function atWork(grey) {
  const longest = Math.max(grey.h, grey.w);
  return resized(grey, ...[grey.h, grey.w].map((side) => Math.max(8, round((side * WORKING) / longest))));
}

/** Of many numbers, more than a call may have arguments. */
const highestOf = (values) => values.reduce((a, b) => Math.max(a, b), -Infinity);
const lowerMedian = (values) => sorted(values)[(values.length - 1) >> 1];
const spaced = (n) => Float64Array.from({ length: n }, (_, i) => -1 + (2 * i) / (n - 1));

function lightOnDark(grey) {
  const { h, w, data } = grey;
  const [down, across] = [spaced(h), spaced(w)];
  let [fall, drift, downs, acrosses] = [0, 0, 0, 0];
  for (let y = 0; y < h; y++)
    for (let x = 0; x < w; x++) {
      fall += down[y] * data[y * w + x];
      drift += across[x] * data[y * w + x];
      downs += down[y] ** 2;
      acrosses += across[x] ** 2;
    }
  const flat = plane(h, w);
  for (let y = 0; y < h; y++) for (let x = 0; x < w; x++) flat.data[y * w + x] = data[y * w + x] - (fall / downs) * down[y] - (drift / acrosses) * across[x];
  const ordered = sorted(flat.data);
  const half = (share(ordered, 0.001) + share(ordered, 0.999)) / 2;
  const [top, left] = [Math.floor(h / 5), Math.floor(w / 5)];
  return ordered[(ordered.length - 1) >> 1] < half && lowerMedian(crop(flat, top, h - top, left, w - left).data) < half;
}

/** Where a light sheet lies on something darker, or null if it is everywhere. */
function sheetOfPaper(levels) {
  const { h, w, data } = levels;
  let [lowest, highest] = [Infinity, -Infinity];
  for (const v of data) (lowest = Math.min(lowest, v)), (highest = Math.max(highest, v));
  if (highest - lowest < 0.1) return null;
  const values = [];
  for (let y = 0; y < h; y += 4) for (let x = 0; x < w; x += 4) values.push(data[y * w + x]);
  values.sort((a, b) => a - b);
  const count = values.length;
  const total = values.reduce((a, b) => a + b);
  const mean = total / count;
  const variance = values.reduce((sum, v) => sum + (v - mean) ** 2, 0) / count;
  let [best, low, high, sum] = [-1, 0, 0, 0];
  for (let n = 1; n < count; n++) {
    sum += values[n - 1];
    const [below, above] = [sum / n, (total - sum) / (count - n)];
    const between = (n * (count - n) * (below - above) ** 2) / count ** 2;
    if (between > best) [best, low, high] = [between, below, above];
  }
  const pieces = labelled(mapped(levels, (v) => (v > (low + high) / 2 ? 1 : 0)));
  const areas = new Float64Array(pieces.number + 1);
  for (const label of pieces.data) areas[label]++;
  areas[0] = -1;
  const largest = areas.indexOf(highestOf(areas));
  const sheet = filled(mapped(pieces, (label) => (label === largest ? 1 : 0)));
  let frame = 0;
  for (let x = 0; x < w; x++) frame += sheet.data[x] + sheet.data[(h - 1) * w + x];
  for (let y = 0; y < h; y++) frame += sheet.data[y * w] + sheet.data[y * w + w - 1];
  const [third, beside] = [Math.floor(h / 3), Math.floor(w / 3)];
  const middle = crop(sheet, third, h - third, beside, w - beside).data;
  const parted = best > 0.7 * variance && low < 0.8 * high;
  return parted && frame / (2 * (h + w)) < 0.35 && middle.reduce((a, b) => a + b, 0) / middle.length > 0.8 && sheet.data.includes(0) ? sheet : null;
}

function withoutDesk(grey) {
  const levels = blurred(atWork(grey));
  const whole = sheetOfPaper(levels);
  if (!whole) return grey;
  const sheet = stepped(whole, 0, 5);
  const { nearest } = distances(mapped(sheet, (v) => 1 - v));
  const paper = resized(plane(levels.h, levels.w, Float32Array.from(nearest, (at) => levels.data[at])), grey.h, grey.w, false);
  const onIt = resized(sheet, grey.h, grey.w, false);
  return plane(grey.h, grey.w, grey.data.map((v, i) => (onIt.data[i] > 0.5 ? v : paper.data[i])));
}

/** Reflected at the ends of a line so that a slope goes on: twice the end less what stands before it. */
function slopeOn(a, size, lowest, highest) {
  const at = (y, x) => {
    const [inY, inX] = [Math.min(a.h - 1, Math.max(0, y)), Math.min(a.w - 1, Math.max(0, x))];
    if (y !== inY) return 2 * at(inY, x) - at(Math.min(a.h - 1, Math.max(0, 2 * inY - y)), x);
    if (x !== inX) return 2 * a.data[y * a.w + inX] - a.data[y * a.w + Math.min(a.w - 1, Math.max(0, 2 * inX - x))];
    return a.data[y * a.w + x];
  };
  return mapped(padded(a, size, at), (v) => Math.min(highest, Math.max(lowest, v)));
}

function inkOnPaper(grey) {
  const levels = blurred(atWork(grey));
  const half = round(0.12 * WORKING);
  const wide = slopeOn(levels, half, 0.02, highestOf(levels.data));
  const paper = crop(eroded(dilated(wide, 2 * half + 1), 2 * half + 1), half, half + levels.h, half, half + levels.w);
  const ink = mapped(levels, (v, i) => 1 - v / Math.max(paper.data[i], 0.02));
  const ground = median(ink.data);
  return mapped(ink, (v) => Math.min(1, Math.max(0, v - ground)));
}

/** The box of each label: [top, bottom, left, right], ends left out. @returns {Map<number, number[]>} */
export function boxesOf(labels) {
  const found = new Map();
  for (let y = 0; y < labels.h; y++)
    for (let x = 0; x < labels.w; x++) {
      const label = labels.data[y * labels.w + x];
      if (!label) continue;
      const box = found.get(label);
      if (!box) found.set(label, [y, y + 1, x, x + 1]);
      else (box[1] = y + 1), (box[2] = Math.min(box[2], x)), (box[3] = Math.max(box[3], x + 1));
    }
  return new Map([...found].sort(([a], [b]) => a - b));
}
const longestSide = ([top, bottom, left, right]) => Math.max(bottom - top, right - left);
const inside = (values, mask) => values.filter((_, i) => mask.data[i]);
const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;

function strokesOnly(mask) {
  const labels = labelled(mask, true);
  const { h, w, data } = labels;
  const most = Math.max(h, w);
  const boxes = boxesOf(labels);
  const sides = [new Set(), new Set(), new Set(), new Set()];
  for (let y = 0; y < h; y++)
    for (let x = 0; x < w; x++) {
      const label = data[y * w + x];
      if (!label) continue;
      [y < 2, y >= h - 2, x < 2, x >= w - 2].forEach((near, side) => near && sides[side].add(label));
    }
  for (const label of new Set(sides.flatMap((side) => [...side]))) {
    const [top, bottom, left, right] = boxes.get(label);
    const own = mapped(crop(labels, top, bottom, left, right), (v) => (v === label ? 1 : 0));
    const at = sides.map((side) => side.has(label));
    const rim = padded(own, 1);
    const width = 4 * mean(inside(distances(rim).far, rim));
    const [longer, shorter] = [Math.max(own.h, own.w), Math.min(own.h, own.w)];
    const across = (at[0] && at[1]) || (at[2] && at[3]);
    if (across || width > 0.4 * longer || longer > 0.7 * most || (shorter < 0.03 * most && at.filter(Boolean).length > 1)) data.forEach((v, i) => v === label && (data[i] = 0));
  }
  return labels;
}

function withoutLines(ink, least) {
  const { h, w, data } = ink;
  const rows = [4, h - 5].map((y) => Array.from(data.subarray(y * w, (y + 1) * w)));
  const columns = [4, w - 5].map((x) => Array.from({ length: h }, (_, y) => data[y * w + x]));
  const widths = [];
  for (const edge of [...rows, ...columns]) {
    let run = 0;
    for (const v of [...edge, 0]) {
      if (v > least) run++;
      else if (run) (widths.push(run), (run = 0));
    }
  }
  const thin = widths.filter((width) => width <= 0.02 * WORKING);
  if (thin.length < 6 || thin.length < 0.5 * widths.length) return ink;
  const size = Math.trunc(quantile(thin, 0.9)) + 2;
  return dilated(eroded(ink, size), size);
}

function findStrokes(raw) {
  const middle = median(raw.data);
  const least = Math.max(0.07, 5 * 1.4826 * median(raw.data.map((v) => Math.abs(v - middle))));
  const ink = withoutLines(raw, least);
  let labels = strokesOnly(mapped(ink, (v) => (v > least ? 1 : 0)));
  const marked = inside(ink.data, labels);
  const full = marked.length ? quantile(marked, 0.95) : 0;
  labels = strokesOnly(mapped(ink, (v) => (v > Math.max(least, 0.25 * full) ? 1 : 0)));
  if (full < 0.1 || !labels.data.some(Boolean)) throw new Error("nothing stands out from the paper");
  return { ink, labels };
}

function groupStrokes(labels) {
  let boxes = boxesOf(labels);
  const area = new Map();
  for (const label of labels.data) if (label) area.set(label, (area.get(label) ?? 0) + 1);
  const most = Math.max(...area.values());
  let longest = Math.max(...[...boxes.values()].map(longestSide));
  const real = new Set([...boxes.keys()].filter((i) => area.get(i) > Math.max(5, 0.008 * most) && longestSide(boxes.get(i)) >= 0.06 * longest));
  const mask = mapped(labels, (label) => (real.has(label) ? 1 : 0));
  const { far } = distances(mapped(mask, (v) => 1 - v));
  const near = mapped(mask, (_, i) => (far[i] <= Math.max(1, round(0.035 * longest)) / 2 ? 1 : 0));
  const groups = mapped(labelled(near, true), (label, i) => (mask.data[i] ? label : 0));
  boxes = boxesOf(groups);
  longest = Math.max(...[...boxes.values()].map(longestSide));
  const little = [...boxes.keys()].filter((i) => longestSide(boxes.get(i)) < 0.45 * longest).sort((a, b) => longestSide(boxes.get(a)) - longestSide(boxes.get(b)));
  for (const i of little) {
    const away = distances(mapped(groups, (label) => (label === i ? 0 : 1))).far;
    let [distance, nearest] = [Infinity, 0];
    groups.data.forEach((label, at) => {
      if (label && label !== i && (away[at] < distance || (away[at] === distance && label < nearest))) [distance, nearest] = [away[at], label];
    });
    const next = distance < 0.18 * longest ? nearest : longestSide(boxes.get(i)) < 0.25 * longest ? 0 : i;
    if (next !== i) groups.data.forEach((label, at) => label === i && (groups.data[at] = next));
  }
  return groups;
}

function evenPen(stroke, side) {
  const solid = mapped(stroke, (v) => (v > 0.5 ? 1 : 0));
  const width = solid.data.some(Boolean) ? (4 * mean(inside(distances(solid).far, solid)) * 20) / side : 2;
  const [grow, shrink] = [(((2.2 - width) / 2) * side) / 20, (((width - 3.4) / 2) * side) / 20];
  if (width < 1.8) {
    const size = 2 * Math.ceil(grow) + 1;
    return dilated(padded(stroke, size), size);
  }
  const size = 2 * Math.floor(shrink) + 1;
  return width > 4.2 && size > 1 ? eroded(stroke, size) : stroke;
}

/** The rows and columns that hold something: [top, bottom, left, right]. */
const extent = (a, least) => boxesOf(mapped(a, (v) => (v > least ? 1 : 0))).get(1);

function asDigit(ink, own) {
  const box = boxesOf(own).get(1);
  const edge = 4 + round(0.12 * longestSide(box));
  const window = [Math.max(0, box[0] - edge), Math.min(own.h, box[1] + edge), Math.max(0, box[2] - edge), Math.min(own.w, box[3] + edge)];
  const [mine, part] = [crop(own, ...window), crop(ink, ...window)];
  const dark = quantile(inside(part.data, mine), 0.8);
  const around = stepped(mine, 1, 2);
  let stroke = evenPen(mapped(part, (v, i) => Math.min(1, Math.max(0, v / dark)) * around.data[i]), longestSide(box));
  stroke = crop(stroke, ...extent(stroke, Math.min(0.3, 0.9 * highestOf(stroke.data))));
  const longest = Math.max(stroke.h, stroke.w);
  const size = [stroke.h, stroke.w].map((side) => Math.max(1, round((20 * side) / longest)));
  const small = resized(stroke, ...size);
  const most = Math.max(1e-3, quantile(small.data, 0.97));
  const [top, left] = size.map((side) => Math.floor((28 - side) / 2));
  const digit = plane(28, 28);
  for (let y = 0; y < size[0]; y++) for (let x = 0; x < size[1]; x++) digit.data[(y + top) * 28 + x + left] = round(255 * Math.min(1, Math.max(0, small.data[y * size[1] + x] / most))) / 255;
  return { digit, dark };
}

function findPieces(grey) {
  const { ink, labels } = findStrokes(inkOnPaper(grey));
  const groups = groupStrokes(labels);
  const boxes = boxesOf(groups);
  if (boxes.size > 12) throw new Error(`there are ${boxes.size} pieces of ink; a scene has one to three`);
  const pieces = [...boxes].map(([i, box]) => ({
    ...asDigit(ink, mapped(groups, (label) => (label === i ? 1 : 0))),
    middle: [(box[0] + box[1]) / 2, (box[2] + box[3]) / 2],
    longest: longestSide(box),
  }));
  const all = [...boxes.values()];
  const ends = [0, 1, 2, 3].map((side) => all.map((box) => box[side]).reduce((a, b) => (side % 2 ? Math.max(a, b) : Math.min(a, b))));
  return { pieces, window: ends };
}

function compare(pieces, part) {
  const [longest, darkest] = ["longest", "dark"].map((name) => Math.max(...pieces.map((piece) => piece[name])));
  let large = pieces.map((piece) => piece.longest > 0.8 * longest);
  if (pieces.length === 3) large = large.map((is) => is && large.filter(Boolean).length === 1);
  else if (large.every(Boolean)) large = large.map(() => part > (SMALL + LARGE) / 2 / CANVAS);
  return { large, bold: pieces.map((piece) => piece.dark > 0.7 * darkest) };
}

function mainAxis(middles) {
  const range = [0, 1].map((axis) => Math.max(...middles.map((m) => m[axis])) - Math.min(...middles.map((m) => m[axis])));
  return range[1] > range[0] ? 1 : 0;
}

/** `scenes.fit_ink`: the ink brought to `side` pixels on its longer side, centred, its darkest pixel made 1. */
export function fitInk(image, side) {
  const most = highestOf(image.data);
  const [top, bottom, left, right] = extent(image, 0.125 * most) ?? [0, image.h, 0, image.w];
  const longest = Math.max(bottom - top, right - left);
  const at = (low, high, i) => (low + high + longest * ((i + 0.5) / side - 1)) / 2 - 0.5;
  const read = (y, x) => (y >= 0 && y < image.h && x >= 0 && x < image.w ? image.data[y * image.w + x] : 0);
  const out = plane(side, side);
  for (let row = 0; row < 2 * side; row++)
    for (let column = 0; column < 2 * side; column++) {
      const [y, x] = [at(top, bottom, row), at(left, right, column)];
      const [y0, x0] = [Math.floor(y), Math.floor(x)];
      const [v, u] = [y - y0, x - x0];
      out.data[(row >> 1) * side + (column >> 1)] += ((1 - v) * ((1 - u) * read(y0, x0) + u * read(y0, x0 + 1)) + v * ((1 - u) * read(y0 + 1, x0) + u * read(y0 + 1, x0 + 1))) / 4;
    }
  const darkest = Math.max(1e-9, ...out.data);
  return mapped(out, (v) => v / darkest);
}

function arrange(pieces, frame, part) {
  const { large, bold } = compare(pieces, part);
  const side = large.map((is) => (is ? LARGE : SMALL));
  const middles = pieces.map((piece) => piece.middle);
  const axis = mainAxis(middles);
  const pixel = mean(side.map((s, i) => s / pieces[i].longest));
  const [along, across] = [axis, 1 - axis].map((a) => middles.map((m) => pixel * m[a]));
  const last = pieces.length - 1;
  const sum = (values) => values.reduce((a, b) => a + b, 0);
  const free = CANVAS - sum(side) - GAP * last;
  let extra = Array.from({ length: last }, (_, i) => Math.max(0, along[i + 1] - along[i] - (side[i + 1] + side[i]) / 2 - GAP));
  const fits = Math.min(1, free / Math.max(1e-6, sum(extra)));
  extra = extra.map((v) => v * fits);
  const [before, after] = [Math.max(0, along[0] - side[0] / 2), Math.max(0, pixel * frame[axis] - along[last] - side[last] / 2)];
  const lead = ((free - sum(extra)) * before) / Math.max(1e-6, before + after);
  const middle = mean(across);
  const widest = Math.max(...side);
  const common = (middle / (pixel * frame[1 - axis])) * (CANVAS - widest) + widest / 2;
  const canvas = new Float32Array(CANVAS ** 2);
  pieces.forEach((piece, i) => {
    const start = Math.floor(lead + sum(side.slice(0, i)) + GAP * i + sum(extra.slice(0, i)));
    const beside = Math.min(CANVAS - side[i], Math.max(0, round(common + Math.min(3, Math.max(-3, across[i] - middle)) - side[i] / 2)));
    const [top, left] = axis === 0 ? [start, beside] : [beside, start];
    const ink = fitInk(piece.digit, side[i]);
    for (let y = 0; y < side[i]; y++) for (let x = 0; x < side[i]; x++) canvas[(y + top) * CANVAS + x + left] = (bold[i] ? BOLD : FAINT) * ink.data[y * side[i] + x];
  });
  return canvas.map((v) => round(255 * v) / 127.5 - 1);
}

function lookCloser(grey, [top, bottom, left, right], room) {
  const scale = Math.max(grey.h, grey.w) / WORKING;
  const first = (v) => Math.max(0, Math.trunc(scale * (v - room)));
  const end = (v, most) => Math.min(most, Math.ceil(scale * (v + room)));
  const part = crop(grey, first(top), end(bottom, grey.h), first(left), end(right, grey.w));
  return Math.max(part.h, part.w) < 0.75 * Math.max(grey.h, grey.w) ? part : grey;
}

/** The median of the frame of what is 56 × 56 is black: such a picture stays as it is. */
function takenAsItIs({ data, h, w }) {
  if (h !== CANVAS || w !== CANVAS) return false;
  const frame = Array.from(data).filter((_, i) => i < w || i >= w * (h - 1) || i % w === 0 || i % w === w - 1);
  return lowerMedian(frame) === 0;
}

/**
 * @param {import("./planes.js").Plane} grey levels in 0 … 1
 * @returns {{image: Float32Array, digits: Float32Array[]}} a canvas in [-1, 1], and its pieces of ink [28 × 28] in 0 … 1. Throws where there is no ink.
 */
export function readScene(grey) {
  const paper = withoutDesk(lightOnDark(atWork(grey)) ? mapped(grey, (v) => 1 - v) : grey);
  let { pieces, window } = findPieces(paper);
  const largest = Math.max(...pieces.map((piece) => piece.longest));
  const near = lookCloser(paper, window, 0.6 * largest);
  const work = atWork(near);
  if (near !== paper) ({ pieces } = findPieces(near));
  pieces = pieces.sort((a, b) => b.longest - a.longest);
  const axis = mainAxis(pieces.slice(0, 3).map((piece) => piece.middle));
  const first = pieces.slice(0, 3).sort((a, b) => a.middle[axis] - b.middle[axis]);
  const image = takenAsItIs(grey) ? grey.data.map((v) => round(255 * v) / 127.5 - 1) : arrange(first, [work.h, work.w], largest / WORKING);
  return { image, digits: [...first, ...pieces.slice(3)].map((piece) => piece.digit.data) };
}

/** `caption.as_pieces`: pieces [28 × 28] in 0 … 1 as the judge is shown them, one after the other. */
export function asPieces(digits) {
  const shown = new Float32Array(784 * digits.length).fill(-1);
  digits.forEach((digit, n) => {
    const fit = fitInk(plane(28, 28, digit.map((v) => v + 1e-6)), 20);
    for (let y = 0; y < 20; y++) for (let x = 0; x < 20; x++) shown[784 * n + (y + 4) * 28 + x + 4] = 2 * fit.data[y * 20 + x] - 1;
  });
  return shown;
}
