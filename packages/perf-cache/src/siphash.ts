import { PerfCacheError } from "./errors.ts";

/*
 * SipHash (Aumasson & Bernstein, «SipHash: a fast short-input PRF», 2012) with c rounds a block and d at the end, and its
 * 32-bit form HalfSipHash (reference implementation of the same authors).
 *
 * A 64-bit lane is two Int32 numbers, low and high. There is a carry out of a sum `s = a + b` where `s < b`, unsigned; engines
 * compile that without a branch. The state lives in local variables: nothing is allocated.
 */

/**
 * Words of a SipHash key: 128 bits, least significant word first.
 *
 * @public
 */
export const SIPHASH_KEY_WORDS = 4;

/** The key of a table whose keys an outsider picks: four words nobody can guess. */
export function randomHashKey(): readonly number[] {
  return Array.from(globalThis.crypto.getRandomValues(new Int32Array(SIPHASH_KEY_WORDS)));
}

/** What the last call of {@link sipWords} computed above its low word. */
let high = 0;

/**
 * SipHash-c-d of `count` words from `offset`, then of `tailBytes` (0 to 3) bytes in `tail`, first byte lowest. Returns the low word; the
 * high one is in `high`.
 */
function sipWords(
  c: number,
  d: number,
  key: ArrayLike<number>,
  words: Int32Array,
  offset: number,
  count: number,
  tail: number,
  tailBytes: number,
): number {
  let v0l = key[0] ^ 0x70736575;
  let v0h = key[1] ^ 0x736f6d65;
  let v1l = key[2] ^ 0x6e646f6d;
  let v1h = key[3] ^ 0x646f7261;
  let v2l = key[0] ^ 0x6e657261;
  let v2h = key[1] ^ 0x6c796765;
  let v3l = key[2] ^ 0x79746573;
  let v3h = key[3] ^ 0x74656462;
  const odd = count & 1;
  const full = count >> 1;
  // The last block: what is left over, and the length in bytes in its top byte.
  const length = (count * 4 + tailBytes) << 24;
  const lastLow = odd === 0 ? tail : words[offset + count - 1];
  const lastHigh = odd === 0 ? length : length | tail;
  for (let block = 0; block <= full + 1; block++) {
    let rounds = c;
    let ml = 0;
    let mh = 0;
    if (block < full) {
      ml = words[offset + block * 2];
      mh = words[offset + block * 2 + 1];
    } else if (block === full) {
      ml = lastLow;
      mh = lastHigh;
    } else {
      rounds = d;
      v2l ^= 0xff;
    }
    v3l ^= ml;
    v3h ^= mh;
    for (let round = 0; round < rounds; round++) {
      let s = (v0l + v1l) | 0;
      v0h = (v0h + v1h + Number(s >>> 0 < v1l >>> 0)) | 0;
      v0l = s;
      s = (v2l + v3l) | 0;
      v2h = (v2h + v3h + Number(s >>> 0 < v3l >>> 0)) | 0;
      v2l = s;
      let t = ((v1l << 13) | (v1h >>> 19)) ^ v0l;
      v1h = ((v1h << 13) | (v1l >>> 19)) ^ v0h;
      v1l = t;
      t = ((v3l << 16) | (v3h >>> 16)) ^ v2l;
      v3h = ((v3h << 16) | (v3l >>> 16)) ^ v2h;
      v3l = t;
      // v0 is rotated by 32: its halves change places.
      s = (v0h + v3l) | 0;
      t = (v0l + v3h + Number(s >>> 0 < v3l >>> 0)) | 0;
      v0l = s;
      v0h = t;
      s = (v2l + v1l) | 0;
      v2h = (v2h + v1h + Number(s >>> 0 < v1l >>> 0)) | 0;
      v2l = s;
      t = ((v3l << 21) | (v3h >>> 11)) ^ v0l;
      v3h = ((v3h << 21) | (v3l >>> 11)) ^ v0h;
      v3l = t;
      t = ((v1l << 17) | (v1h >>> 15)) ^ v2l;
      v1h = ((v1h << 17) | (v1l >>> 15)) ^ v2h;
      v1l = t;
      t = v2l;
      v2l = v2h;
      v2h = t;
    }
    v0l ^= ml;
    v0h ^= mh;
  }
  high = v0h ^ v1h ^ v2h ^ v3h;
  return v0l ^ v1l ^ v2l ^ v3l;
}

/**
 * The low word of SipHash-1-3 of the words `words[offset .. offset + count - 1]`, taken as little-endian bytes. `key` has
 * {@link SIPHASH_KEY_WORDS} words. A keyed hash: without the key nobody can choose inputs that collide.
 *
 * Thread-safety: pure. Cost: allocates nothing; two to three times `jhashWords`. Tables compute it faster, by WebAssembly.
 *
 * @returns a signed 32-bit integer; `>>> 0` makes it unsigned.
 *
 * @public
 */
export function sipHash13Words(key: ArrayLike<number>, words: Int32Array, offset: number, count: number): number {
  return sipWords(1, 3, key, words, offset, count, 0, 0);
}

/**
 * SipHash of a string of bytes with `rounds` of compression and of finalisation (`[2, 4]` is the original, `[1, 3]` what hash
 * tables use) under a key of 16 bytes. Writes the low word to `out[0]` and the high word to `out[1]`.
 *
 * Throws `PERF_CACHE_INVALID_ARGUMENT` when the key has not 16 bytes.
 *
 * @public
 */
export function sipHashBytes(
  rounds: readonly [number, number],
  key: Uint8Array,
  bytes: Uint8Array,
  out: Int32Array,
): void {
  const words = wordsOf(bytes, bytes.length >> 2);
  const tail = tailOf(bytes);
  out[0] = sipWords(rounds[0], rounds[1], keyWords(key, 4), words, 0, words.length, tail, bytes.length & 3);
  out[1] = high;
}

/**
 * HalfSipHash-1-3 of a string of bytes under a key of 8 bytes: 32-bit lanes throughout, weaker than SipHash, for tables whose keys are short-lived.
 *
 * Throws `PERF_CACHE_INVALID_ARGUMENT` when the key has not 8 bytes.
 *
 * @returns a signed 32-bit integer; `>>> 0` makes it unsigned.
 *
 * @public
 */
export function halfSipHash13(key: Uint8Array, bytes: Uint8Array): number {
  const [k0, k1] = keyWords(key, 2);
  const words = wordsOf(bytes, bytes.length >> 2);
  const last = (bytes.length << 24) | tailOf(bytes);
  let v0 = k0;
  let v1 = k1;
  let v2 = k0 ^ 0x6c796765;
  let v3 = k1 ^ 0x74656462;
  for (let block = 0; block <= words.length + 3; block++) {
    const m = block < words.length ? words[block] : block === words.length ? last : 0;
    if (block === words.length + 1) v2 ^= 0xff;
    v3 ^= m;
    v0 = (v0 + v1) | 0;
    v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
    v0 = (v0 << 16) | (v0 >>> 16);
    v2 = (v2 + v3) | 0;
    v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
    v0 = (v0 + v3) | 0;
    v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
    v2 = (v2 + v1) | 0;
    v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
    v2 = (v2 << 16) | (v2 >>> 16);
    v0 ^= m;
  }
  return v1 ^ v3;
}

function keyWords(key: Uint8Array, count: number): Int32Array {
  if (key.length === count * 4) return wordsOf(key, count);
  throw new PerfCacheError("PERF_CACHE_INVALID_ARGUMENT", `the key has ${key.length} bytes, not ${count * 4}`);
}

/** `count` little-endian words. */
function wordsOf(bytes: Uint8Array, count: number): Int32Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Int32Array.from({ length: count }, (_, i) => view.getInt32(i * 4, true));
}

/** The bytes after the last whole word, first byte lowest. */
function tailOf(bytes: Uint8Array): number {
  let tail = 0;
  for (let at = bytes.length - 1; at >= (bytes.length & ~3); at--) tail = (tail << 8) | bytes[at];
  return tail;
}
