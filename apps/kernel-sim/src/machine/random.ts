/**
 * Pseudo-random numbers: sfc32 (Chris Doty-Humphrey, PractRand), seeded through splitmix32. The only source of
 * randomness in the emulator; every consumer gets a stream of its own by name, so that one more draw in one place does
 * not shift all others.
 */
export class Random {
  #a = 0;
  #b = 0;
  #c = 0;
  #counter = 1;

  constructor(seed: number) {
    let state = seed | 0;
    const next = (): number => {
      state = (state + 0x9e3779b9) | 0;
      let z = state ^ (state >>> 16);
      z = Math.imul(z, 0x21f0aaad);
      z ^= z >>> 15;
      z = Math.imul(z, 0x735a2d97);
      return (z ^ (z >>> 15)) | 0;
    };
    this.#a = next();
    this.#b = next();
    this.#c = next();
    for (let turn = 0; turn < 12; turn++) this.next32();
  }

  /** 32 random bits as an unsigned number. */
  next32(): number {
    const sum = (this.#a + this.#b + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = ((this.#c << 21) | (this.#c >>> 11)) + sum;
    this.#c |= 0;
    return sum >>> 0;
  }

  /** An integer from 0 to `limit - 1`. */
  below(limit: number): number {
    return Math.floor((this.next32() / 4294967296) * limit);
  }

  /** A stream of its own for a consumer. Two names never share a stream of one seed by design of the hash below. */
  static stream(seed: number, name: string): Random {
    let hash = 0x811c9dc5 | 0;
    for (let at = 0; at < name.length; at++) hash = Math.imul(hash ^ name.charCodeAt(at), 0x01000193);
    return new Random((hash ^ Math.imul(seed | 0, 0x85ebca6b)) | 0);
  }
}
