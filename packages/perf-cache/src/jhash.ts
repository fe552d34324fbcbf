/*
 * The Jenkins hash in the form of Linux (include/linux/jhash.h), which is lookup3's hashlittle (Bob Jenkins, 2006, public
 * domain): `mix` and `final` work on three words. They are written out in each function, because three results cannot be
 * returned without an allocation.
 */
const INITIAL = 0xdeadbeef | 0;

/** Last step: every bit of a, b and c reaches every bit of the result. */
function final(a0: number, b0: number, c0: number): number {
  let a = a0;
  let b = b0;
  let c = c0;
  c = ((c ^ b) - ((b << 14) | (b >>> 18))) | 0;
  a = ((a ^ c) - ((c << 11) | (c >>> 21))) | 0;
  b = ((b ^ a) - ((a << 25) | (a >>> 7))) | 0;
  c = ((c ^ b) - ((b << 16) | (b >>> 16))) | 0;
  a = ((a ^ c) - ((c << 4) | (c >>> 28))) | 0;
  b = ((b ^ a) - ((a << 14) | (a >>> 18))) | 0;
  return ((c ^ b) - ((b << 24) | (b >>> 8))) | 0;
}

/**
 * `jhash_3words` of Linux.
 *
 * @returns a signed 32-bit integer; `>>> 0` makes it unsigned.
 *
 * @public
 */
export function jhash3Words(a: number, b: number, c: number, init: number): number {
  const start = (init + INITIAL + 12) | 0;
  return final((a + start) | 0, (b + start) | 0, (c + start) | 0);
}

/**
 * `jhash_2words` of Linux.
 *
 * @returns a signed 32-bit integer; `>>> 0` makes it unsigned.
 *
 * @public
 */
export function jhash2Words(a: number, b: number, init: number): number {
  const start = (init + INITIAL + 8) | 0;
  return final((a + start) | 0, (b + start) | 0, start);
}

/**
 * `jhash2` of Linux: the hash of `count` words from `offset`.
 *
 * @returns a signed 32-bit integer; `>>> 0` makes it unsigned.
 *
 * @public
 */
export function jhashWords(words: Int32Array, offset: number, count: number, init: number): number {
  let a = (INITIAL + (count << 2) + init) | 0;
  let b = a;
  let c = a;
  let at = offset;
  let left = count;
  for (; left > 3; left -= 3, at += 3) {
    a = (a + words[at]) | 0;
    b = (b + words[at + 1]) | 0;
    c = (c + words[at + 2]) | 0;
    a = ((a - c) ^ ((c << 4) | (c >>> 28))) | 0;
    c = (c + b) | 0;
    b = ((b - a) ^ ((a << 6) | (a >>> 26))) | 0;
    a = (a + c) | 0;
    c = ((c - b) ^ ((b << 8) | (b >>> 24))) | 0;
    b = (b + a) | 0;
    a = ((a - c) ^ ((c << 16) | (c >>> 16))) | 0;
    c = (c + b) | 0;
    b = ((b - a) ^ ((a << 19) | (a >>> 13))) | 0;
    a = (a + c) | 0;
    c = ((c - b) ^ ((b << 4) | (b >>> 28))) | 0;
    b = (b + a) | 0;
  }
  if (left === 0) return c;
  a = (a + words[at]) | 0;
  if (left > 1) b = (b + words[at + 1]) | 0;
  if (left > 2) c = (c + words[at + 2]) | 0;
  return final(a, b, c);
}

function littleEndian(bytes: Uint8Array, at: number, end: number): number {
  let word = 0;
  for (let i = Math.min(at + 4, end) - 1; i >= at; i--) word = (word << 8) | bytes[i];
  return word;
}

/**
 * `jhash` of Linux, lookup3's `hashlittle`: the hash of a string of bytes.
 *
 * @returns a signed 32-bit integer; `>>> 0` makes it unsigned.
 *
 * @public
 */
export function jhashBytes(bytes: Uint8Array, init: number): number {
  const wordCount = Math.ceil(bytes.length / 4);
  const words = new Int32Array(wordCount);
  for (let i = 0; i < wordCount; i++) words[i] = littleEndian(bytes, i * 4, bytes.length);
  // The word form starts from four times the number of words, the byte form from the number of bytes.
  return jhashWords(words, 0, wordCount, (init + bytes.length - wordCount * 4) | 0);
}
