/** Random numbers that are the same in every browser, and in Python (scripts/live_stories.py). */

/** Mulberry32: numbers in [0, 1) from a whole number. @returns {() => number} */
export function uniforms(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let z = state;
    z = Math.imul(z ^ (z >>> 15), z | 1);
    z ^= z + Math.imul(z ^ (z >>> 7), z | 61);
    return ((z ^ (z >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Standard normal numbers, two from two uniform ones (Box and Muller). @returns {() => number} */
export function normals(seed) {
  const uniform = uniforms(seed);
  let kept = null;
  return () => {
    if (kept !== null) {
      const value = kept;
      kept = null;
      return value;
    }
    const radius = Math.sqrt(-2 * Math.log(1 - uniform()));
    const angle = 2 * Math.PI * uniform();
    kept = radius * Math.sin(angle);
    return radius * Math.cos(angle);
  };
}

/** @returns {Float32Array} `size` standard normal numbers */
export function noise(size, seed) {
  const draw = normals(seed);
  return Float32Array.from({ length: size }, draw);
}
