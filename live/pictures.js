/** A picture of ink, as `data.read_picture` reads it: light ink on black, in [-1, 1], padded to a square and shrunk. */

/** Grey levels in 0 … 1 of an image, what is transparent counting as white. @returns {{grey: Float32Array, width: number, height: number}} */
export function greyLevels(image, width = image.naturalWidth ?? image.width, height = image.naturalHeight ?? image.height) {
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width, height });
  const ctx = canvas.getContext("2d", { willReadFrequently: true });
  ctx.fillStyle = "#fff";
  ctx.fillRect(0, 0, width, height);
  ctx.drawImage(image, 0, 0, width, height);
  const { data } = ctx.getImageData(0, 0, width, height);
  const grey = new Float32Array(width * height);
  for (let i = 0; i < grey.length; i++) grey[i] = ((19595 * data[4 * i] + 38470 * data[4 * i + 1] + 7471 * data[4 * i + 2] + 0x8000) >> 16) / 255; // Pillow's "L"
  return { grey, width, height };
}

/** The median of the frame, on which the picture is drawn. */
function groundLevel({ grey, width, height }) {
  const frame = [];
  for (let x = 0; x < width; x++) frame.push(grey[x], grey[(height - 1) * width + x]);
  for (let y = 0; y < height; y++) frame.push(grey[y * width], grey[y * width + width - 1]);
  return frame.sort((a, b) => a - b)[Math.floor((frame.length - 1) / 2)];
}

/**
 * @param {{grey: Float32Array, width: number, height: number}} levels
 * @param {number} side
 * @returns {Float32Array} side × side
 */
export function readPicture(levels, side) {
  const { grey, width, height } = levels;
  const ground = groundLevel(levels);
  if (width === side && height === side && ground === 0) return grey.map((v) => 2 * v - 1);
  let [lowest, highest] = [Infinity, -Infinity];
  for (const v of grey) (lowest = Math.min(lowest, v)), (highest = Math.max(highest, v));
  const sign = highest - ground >= ground - lowest ? 1 : -1;
  if (Math.max(highest - ground, ground - lowest) < 0.1) throw new Error("nothing stands out from the ground of this picture");
  const full = Math.max(width, height, side);
  const [left, top] = [Math.floor((full - width) / 2), Math.floor((full - height) / 2)];
  const small = new Float32Array(side * side);
  for (let row = 0; row < side; row++)
    for (let column = 0; column < side; column++) {
      const [y0, y1] = [Math.floor((row * full) / side), Math.ceil(((row + 1) * full) / side)];
      const [x0, x1] = [Math.floor((column * full) / side), Math.ceil(((column + 1) * full) / side)];
      let sum = 0;
      for (let y = Math.max(y0 - top, 0); y < Math.min(y1 - top, height); y++)
        for (let x = Math.max(x0 - left, 0); x < Math.min(x1 - left, width); x++) sum += Math.max(0, sign * (grey[y * width + x] - ground));
      small[row * side + column] = sum / ((y1 - y0) * (x1 - x0));
    }
  const most = Math.max(...small);
  return small.map((v) => (2 * v) / most - 1);
}

/** The grey levels of a picture file. @param {Blob} file */
export async function levelsOfFile(file) {
  const image = await createImageBitmap(file, { imageOrientation: "from-image", colorSpaceConversion: "none" });
  return greyLevels(image, image.width, image.height);
}

/** A picture file. @param {Blob} file @returns {Promise<Float32Array>} */
export const readPictureFile = async (file, side) => readPicture(await levelsOfFile(file), side);

/**
 * A black square to draw on, `side` pixels, in white ink. `change(image)` is called after every stroke of the pen.
 * @returns {{canvas: HTMLCanvasElement, image: () => Float32Array, levels: () => Object, clear: () => void, put: (image: Float32Array) => void}}
 * `levels()` are grey levels in 0 … 1 of the paper, finer than what is shown, or of the picture that was put there.
 */
export function pad(shown, side, { pen, change, done = () => {} }) {
  const { canvas } = shown;
  const fine = 8; // times finer paper
  const paper = document.createElement("canvas");
  paper.width = paper.height = side * fine;
  const ink = paper.getContext("2d", { willReadFrequently: true });
  let last = null;
  let fresh = true; // what is shown was put there, not drawn
  let image = new Float32Array(side * side).fill(-1);

  function wipe() {
    ink.fillStyle = "#000";
    ink.fillRect(0, 0, paper.width, paper.width);
    fresh = false;
    read();
  }
  function read() {
    const { data } = ink.getImageData(0, 0, paper.width, paper.width);
    const sums = new Float32Array(side * side);
    for (let y = 0; y < paper.width; y++) for (let x = 0; x < paper.width; x++) sums[Math.floor(y / fine) * side + Math.floor(x / fine)] += data[4 * (y * paper.width + x)];
    image = sums.map((sum) => sum / fine ** 2 / 127.5 - 1);
    shown.show(image);
  }
  const at = (event) => {
    const box = canvas.getBoundingClientRect();
    return [((event.clientX - box.left) / box.width) * paper.width, ((event.clientY - box.top) / box.height) * paper.width];
  };
  function stroke(event) {
    if (!last) return;
    const next = at(event);
    Object.assign(ink, { strokeStyle: "#fff", lineWidth: pen * fine, lineCap: "round" });
    ink.beginPath();
    ink.moveTo(...last);
    ink.lineTo(next[0] + 0.01, next[1]);
    ink.stroke();
    last = next;
    read();
    change?.(image);
  }
  canvas.style.touchAction = "none";
  canvas.addEventListener("pointerdown", (event) => {
    if (fresh) wipe();
    canvas.setPointerCapture(event.pointerId);
    last = at(event);
    stroke(event);
    event.preventDefault();
  });
  canvas.addEventListener("pointermove", stroke);
  for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => last && ((last = null), done(image)));
  return {
    canvas,
    image: () => image,
    levels() {
      if (fresh) return { grey: image.map((v) => Math.min(1, Math.max(0, (v + 1) / 2))), width: side, height: side };
      const { data } = ink.getImageData(0, 0, paper.width, paper.width);
      return { grey: Float32Array.from({ length: paper.width ** 2 }, (_, i) => data[4 * i] / 255), width: paper.width, height: paper.width };
    },
    clear: wipe,
    put(next) {
      image = Float32Array.from(next);
      fresh = true;
      shown.show(image);
    },
  };
}
