const toWords = new Float64Array(1);
const words = new Int32Array(toWords.buffer);

/**
 * A running 64-bit fingerprint of everything that happens in a run: two 32-bit lanes of multiply–xorshift mixing with
 * the constants of MurmurHash3. Not cryptographic: it tells runs apart, it does not protect them.
 */
export class TraceHash {
  #low = 0x9e3779b9 | 0;
  #high = 0x85ebca6b | 0;
  #count = 0;

  /** Mix in one event. */
  add(timeNs: number, kind: number, a: number, b: number): void {
    toWords[0] = timeNs;
    this.#mix(words[0] ^ Math.imul(kind, 0x01000193), words[1]);
    this.#mix(a, b);
    this.#count++;
  }

  /** Events mixed in so far. */
  get count(): number {
    return this.#count;
  }

  /** 16 hexadecimal digits. */
  digest(): string {
    const hex = (word: number): string => (word >>> 0).toString(16).padStart(8, "0");
    return hex(this.#high) + hex(this.#low);
  }

  #mix(x: number, y: number): void {
    let low = Math.imul(this.#low ^ x, 0xcc9e2d51 | 0);
    low = (low << 15) | (low >>> 17);
    let high = Math.imul(this.#high ^ y ^ low, 0x1b873593 | 0);
    high = (high << 13) | (high >>> 19);
    this.#low = (Math.imul(low, 5) + 0xe6546b64) | 0;
    this.#high = (high ^ (low >>> 16)) | 0;
  }
}
