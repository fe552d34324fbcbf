/*
 * A set of the 256 interrupt vectors, as an APIC keeps requests and service in eight registers of 32 bits each.
 *
 *   words     bit `vector % 32` of word `vector / 32`
 *   occupied  bit w: words[w] is not 0; so the highest vector is found without a loop
 */
export class VectorSet {
  readonly #words: Int32Array = new Int32Array(8);
  #occupied = 0;

  /** One of the eight words, unsigned. */
  word(index: number): number {
    return this.#words[index] >>> 0;
  }

  add(vector: number): void {
    const word = vector >>> 5;
    this.#words[word] |= 1 << (vector & 31);
    this.#occupied |= 1 << word;
  }

  delete(vector: number): void {
    const word = vector >>> 5;
    const left = this.#words[word] & ~(1 << (vector & 31));
    this.#words[word] = left;
    if (left === 0) this.#occupied &= ~(1 << word);
  }

  has(vector: number): boolean {
    return (this.#words[vector >>> 5] & (1 << (vector & 31))) !== 0;
  }

  /** The highest vector, or -1. */
  highest(): number {
    if (this.#occupied === 0) return -1;
    const word = 31 - Math.clz32(this.#occupied);
    return (word << 5) | (31 - Math.clz32(this.#words[word]));
  }

  clear(): void {
    this.#words.fill(0);
    this.#occupied = 0;
  }
}
