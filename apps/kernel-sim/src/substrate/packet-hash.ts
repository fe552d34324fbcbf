/** Bytes of a packet that are hashed: every header, with the checksum over the rest. */
const HASHED_BYTES = 128;
/** 2^32 divided by the golden ratio, odd. */
const LENGTH_FACTOR = 0x9e3779b1;

/**
 * A fingerprint of a multiset of packets: the sum of each one's hash, so that the order in which CPUs send them does not
 * matter. Two sums of 32 bits, made with two seeds; each packet's hash is MurmurHash3's (Austin Appleby, x86_32 variant).
 */
export class PacketHash {
  readonly #bytes: Uint8Array;
  readonly #words: Int32Array;
  #low = 0;
  #high = 0;

  /** Of packets in this memory. */
  constructor(memory: ArrayBufferLike) {
    this.#bytes = new Uint8Array(memory);
    this.#words = new Int32Array(memory, 0, memory.byteLength >> 2);
  }

  /** Add the packet of `length` bytes at `at`. */
  add(at: number, length: number): void {
    const hashed = Math.min(length, HASHED_BYTES);
    // Multiplied, because the hash ends with the length: a bare one would cancel out in packets of zeros.
    const seed = Math.imul(length, LENGTH_FACTOR);
    this.#low = (this.#low + this.#murmur3(at, hashed, seed)) | 0;
    this.#high = (this.#high + this.#murmur3(at, hashed, ~seed)) | 0;
  }

  /** The sums as unsigned numbers: those of several threads add up modulo 2^32. */
  get low(): number {
    return this.#low >>> 0;
  }

  get high(): number {
    return this.#high >>> 0;
  }

  #murmur3(at: number, length: number, seed: number): number {
    const words = this.#words;
    const count = length >> 2;
    // Packets begin where the address behind their Ethernet header is aligned, in the middle of a word.
    const shift = (at & 3) * 8;
    let hash = seed | 0;
    for (let word = at >> 2, i = 0; i < count; word++, i++) {
      hash ^= scramble(shift === 0 ? words[word] : (words[word] >>> shift) | (words[word + 1] << (32 - shift)));
      hash = (hash << 13) | (hash >>> 19);
      hash = (Math.imul(hash, 5) + 0xe6546b64) | 0;
    }
    if ((length & 3) !== 0) {
      let rest = 0;
      for (let byte = at + length - 1; byte >= at + count * 4; byte--) rest = (rest << 8) | this.#bytes[byte];
      hash ^= scramble(rest);
    }
    hash ^= length;
    hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
    hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
    return hash ^ (hash >>> 16);
  }
}

/** 16 hexadecimal digits of two sums. */
export function packetDigest(low: number, high: number): string {
  const hex = (sum: number): string => (sum % 2 ** 32).toString(16).padStart(8, "0");
  return hex(high) + hex(low);
}

function scramble(word: number): number {
  const mixed = Math.imul(word, 0xcc9e2d51);
  return Math.imul((mixed << 15) | (mixed >>> 17), 0x1b873593);
}
