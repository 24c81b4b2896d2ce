/** The grammar of captions, and whether a caption may be told: as `scenes.parse` and the rules of `caption.PictureCaptioner` have it. */

export const LEAST = 0.55; // `caption.LEAST_CONFIDENCE`
const OTHER = 10; // the judge's verdict that a piece is no digit
const isDigit = (fact) => typeof fact === "number";
const KINDS = { small: "size", large: "size", faint: "ink", bold: "ink" };

/**
 * What a caption says, or null if it is no sentence of the grammar.
 * @param {string} caption
 * @param {{meaning: Object<string, string|number>, sentences: Object<string, [string|null, number[]]>}} grammar
 * @returns {{digit: number, size: string, ink: string}[] | null} the things in the order of the scene
 */
export function parse(caption, { meaning, sentences }) {
  const words = caption.split(" ");
  const [things, pattern] = [[], []];
  for (let i = 0; i < words.length; i++) {
    if (words[i] !== "a") {
      pattern.push(words[i]);
      continue;
    }
    const thing = {};
    pattern.push("_");
    while (meaning[words[i + 1]] !== undefined && thing.digit === undefined) {
      const fact = meaning[words[++i]];
      const kind = isDigit(fact) ? "digit" : KINDS[fact];
      if (thing[kind] !== undefined) return null;
      thing[kind] = fact;
    }
    if (Object.keys(thing).length < 3) return null;
    things.push(thing);
  }
  const found = sentences[pattern.join(" ")];
  if (!found) return null;
  const scene = things.map((_, i) => things[found[1].indexOf(i)]);
  const number = (t) => 4 * t.digit + 2 * (t.size === "large") + (t.ink === "bold");
  return scene.length === 3 && number(scene[0]) > number(scene[2]) ? scene.reverse() : scene;
}

/**
 * For each digit word the probability that it names a digit that is still to be named (`caption.digit_chances`).
 * @param {string[]} words @param {number[][]} shares  of each word of the vocabulary, where each of `words` was written
 */
export function digitChances(words, shares, { meaning, vocabulary }) {
  const said = words.map((word) => meaning[word]);
  const places = said.flatMap((fact, i) => (isDigit(fact) ? [i] : []));
  const kinds = places.map((i) => [said[i - 2], said[i - 1]].sort().join());
  return places.map((i, k) => {
    const rivals = new Set(places.filter((_, j) => j >= k && kinds[j] === kinds[k]).map((j) => said[j]));
    return Math.min(1, vocabulary.reduce((sum, word, token) => sum + (isDigit(meaning[word]) && rivals.has(meaning[word]) ? shares[i][token] : 0), 0));
  });
}

const impossible = (things) => things.length === 3 && things.filter((thing) => thing.size === "large").length > 1;

/** How sure, 0 … 1 (`caption.agreement`). @param {number[][]} verdicts  of each piece of ink: ten digits, and none */
export function agreement(things, chances, verdicts) {
  if (impossible(things) || verdicts.length !== things.length) return 0;
  const digits = things.map((thing) => thing.digit);
  const orders = digits.length === 3 ? [digits, [...digits].reverse()] : [digits];
  const byPiece = orders.map((order) => Math.min(...order.map((digit, i) => verdicts[i][digit])));
  return Math.sqrt(Math.min(...chances) * Math.max(...byPiece));
}

/** Why a caption should not be told, or null (`caption.reason_to_refuse`). */
export function reasonToRefuse(things, verdicts, confidence, least = LEAST) {
  if (impossible(things)) return "the captioner tells of three digits of which two are large, and no such scene fits on its canvas";
  if (verdicts.length !== things.length) return `there are ${verdicts.length} pieces of ink, and the captioner tells of ${things.length} digits`;
  if (confidence >= least) return null;
  return Math.max(...verdicts.map((verdict) => verdict[OTHER])) > 0.5 ? "there is ink that is no digit" : `the captioner is not sure (confidence ${confidence.toFixed(2)})`;
}

/**
 * What is told of a picture that has been read (`PictureCaptioner.tell`).
 * @returns {{confidence: number, refusal: string|null}}
 */
export function judged(words, shares, verdicts, grammar) {
  const caption = words.join(" ");
  const things = parse(caption, grammar);
  if (!things) return { confidence: 0, refusal: `this cannot be told as one to three digits: the captioner stammers “${caption.slice(0, 60)}”` };
  const confidence = agreement(things, digitChances(words, shares, grammar), verdicts);
  return { confidence, refusal: reasonToRefuse(things, verdicts, confidence) };
}
