/** Bytes of a packet that are hashed: every header, with the checksum over the rest. */
const HASHED_BYTES = 128;
/** 2^32 divided by the golden ratio, odd. */
const LENGTH_FACTOR = 0x9e3779b1;

/**
 * A fingerprint of a multiset of packets: the sum of each one's hash, so that the order in which CPUs send them does not
 * matter. Two sums of 32 bits, made with two seeds; each packet's hash is MurmurHash3's (Austin Appleby, x86_32 variant).
 */
export class PacketHash {
  #low = 0;
  #high = 0;

  /** Add the packet at `bytes[at, at + length)`. */
  add(bytes: Uint8Array, at: number, length: number): void {
    const hashed = Math.min(length, HASHED_BYTES);
    // Multiplied, because the hash ends with the length: a bare one would cancel out in packets of zeros.
    const seed = Math.imul(length, LENGTH_FACTOR);
    this.#low = (this.#low + murmur3(bytes, at, hashed, seed)) | 0;
    this.#high = (this.#high + murmur3(bytes, at, hashed, ~seed)) | 0;
  }

  /** The sums as unsigned numbers: those of several threads add up modulo 2^32. */
  get low(): number {
    return this.#low >>> 0;
  }

  get high(): number {
    return this.#high >>> 0;
  }
}

/** 16 hexadecimal digits of two sums. */
export function packetDigest(low: number, high: number): string {
  const hex = (sum: number): string => (sum % 2 ** 32).toString(16).padStart(8, "0");
  return hex(high) + hex(low);
}

function murmur3(bytes: Uint8Array, at: number, length: number, seed: number): number {
  let hash = seed | 0;
  const whole = length & ~3;
  for (let index = at; index < at + whole; index += 4) {
    const word = bytes[index] | (bytes[index + 1] << 8) | (bytes[index + 2] << 16) | (bytes[index + 3] << 24);
    hash ^= scramble(word);
    hash = (hash << 13) | (hash >>> 19);
    hash = (Math.imul(hash, 5) + 0xe6546b64) | 0;
  }
  let rest = 0;
  for (let index = length - 1; index >= whole; index--) rest = (rest << 8) | bytes[at + index];
  if (length !== whole) hash ^= scramble(rest);
  hash ^= length;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return hash ^ (hash >>> 16);
}

function scramble(word: number): number {
  const mixed = Math.imul(word, 0xcc9e2d51);
  return Math.imul((mixed << 15) | (mixed >>> 17), 0x1b873593);
}
