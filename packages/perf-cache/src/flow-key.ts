import { jhash2Words, jhash3Words, jhashWords } from "./jhash.ts";

/*
 * A flow key, Int32 words:
 *
 *   0-3  source address         IPv4: word 0, words 1 to 3 are 0
 *   4-7  destination address    IPv4: word 4, words 5 to 7 are 0
 *   8    source port << 16 | destination port
 *   9    protocol | IS_IPV6
 *
 * An address word is the number its four bytes make in network order: 10.0.0.1 is 0x0a000001.
 */

/**
 * Words of a flow key.
 *
 * @public
 */
export const FLOW_KEY_WORDS = 10;

/**
 * The bit of a key's last word that tells IPv6 from IPv4.
 *
 * @public
 */
export const FLOW_KEY_IPV6 = 0x100;

/** Seed of the tuple hash: 2^32 divided by the golden ratio. */
const SEED = 0x9e3779b9 | 0;

// Constants of this module, so that the engine makes them part of the code; see flow-reader.ts.
const IPV6 = FLOW_KEY_IPV6;
const hash2 = jhash2Words;
const hash3 = jhash3Words;

/** The bytes of a word in reverse order: each of them is in its place after a rotation by 8 to the one or the other side. */
const swap32 = (word: number): number =>
  (((word << 8) | (word >>> 24)) & 0x00ff00ff) | (((word << 24) | (word >>> 8)) & 0xff00ff00);

/** The 4-word hash of an address, whose bytes are taken as little-endian words. */
function hashAddress6(key: Int32Array, at: number, init: number): number {
  scratch[0] = swap32(key[at]);
  scratch[1] = swap32(key[at + 1]);
  scratch[2] = swap32(key[at + 2]);
  scratch[3] = swap32(key[at + 3]);
  return jhashWords(scratch, 0, 4, init);
}
const scratch = new Int32Array(4);

/**
 * The hash of a flow key: Linux's jhash over the bytes as they are on the wire, taken as little-endian words.
 *
 * IPv4: `jhash_2words(source, destination, seed)`; IPv6: `jhash2` of the source with the seed, then of the destination with
 * that result; both then `jhash_3words(source port, destination port, protocol, result)`. The seed is 0x9e3779b9.
 *
 * @returns a signed 32-bit integer; `>>> 0` makes it unsigned.
 *
 * @public
 */
export function hashTuple(key: Int32Array, offset: number): number {
  const last = key[offset + 9];
  /** Destination port << 16 | source port, both as they are on the wire. */
  const ports = swap32(key[offset + 8]);
  let hash: number;
  if ((last & IPV6) === 0) hash = hash2(swap32(key[offset]), swap32(key[offset + 4]), SEED);
  else hash = hashAddress6(key, offset + 4, hashAddress6(key, offset, SEED));
  return hash3(ports & 0xffff, ports >>> 16, last & 0xff, hash);
}

/**
 * Two hashes made one; the order matters.
 *
 * @returns a signed 32-bit integer; `>>> 0` makes it unsigned.
 *
 * @public
 */
export function hashCombine(a: number, b: number): number {
  return hash2(a, b, SEED);
}

/**
 * Write the key of an IPv4 flow to `key[offset ..]`. Addresses are 32-bit numbers in network order (10.0.0.1 is
 * 0x0a000001), ports and protocol plain numbers.
 *
 * @public
 */
export function writeIpv4Key(
  key: Int32Array,
  offset: number,
  source: number,
  destination: number,
  sourcePort: number,
  destinationPort: number,
  protocol: number,
): void {
  key.fill(0, offset, offset + 8);
  key[offset] = source;
  key[offset + 4] = destination;
  key[offset + 8] = (sourcePort << 16) | destinationPort;
  key[offset + 9] = protocol;
}

/**
 * Write the key of an IPv6 flow to `key[offset ..]`. `addresses` holds the 16 bytes of the source at `from` and those of
 * the destination behind them, as an IPv6 header does.
 *
 * @public
 */
export function writeIpv6Key(
  key: Int32Array,
  offset: number,
  addresses: Uint8Array,
  from: number,
  sourcePort: number,
  destinationPort: number,
  protocol: number,
): void {
  for (let word = 0; word < 8; word++) {
    const at = from + word * 4;
    key[offset + word] =
      (addresses[at] << 24) | (addresses[at + 1] << 16) | (addresses[at + 2] << 8) | addresses[at + 3];
  }
  key[offset + 8] = (sourcePort << 16) | destinationPort;
  key[offset + 9] = protocol | FLOW_KEY_IPV6;
}
