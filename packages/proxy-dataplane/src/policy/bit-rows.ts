/*
 * Rows of bits, one bit for each rule, in one array of words. A row begins with its summary: bit w of the summary is set
 * when word w of the bits is not 0. Rules that hold for a flow are the AND of one row for each kind of condition; the
 * summaries say which words of it are worth looking at (Baboescu and Varghese, "Scalable Packet Classification", SIGCOMM
 * 2001: aggregated bit vectors).
 *
 *     row:   summary[0 .. summaryWords)   bits[0 .. bitWords)
 */
const WORD_BITS = 32;

/** Rows as they are made, equal ones once. */
export class BitRowsBuilder {
  readonly bits: number;
  readonly bitWords: number;
  readonly summaryWords: number;
  readonly #rows: Int32Array[] = [];
  readonly #known = new Map<string, number>();

  constructor(bits: number) {
    this.bits = bits;
    this.bitWords = Math.max(1, Math.ceil(bits / WORD_BITS));
    this.summaryWords = Math.ceil(this.bitWords / WORD_BITS);
  }

  /** Words that hold the bits without the summary, all 0. */
  blank(): Int32Array {
    return new Int32Array(this.bitWords);
  }

  /** The offset of a row with these bits. */
  intern(bits: Int32Array): number {
    const key = bits.join();
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const at = this.reserve();
    this.#rows[this.#rows.length - 1].set(bits, this.summaryWords);
    summarize(this.#rows[this.#rows.length - 1], 0, this.summaryWords, this.bitWords);
    this.#known.set(key, at);
    return at;
  }

  /** The offset of a row of its own, to be written at run time. */
  reserve(): number {
    this.#rows.push(new Int32Array(this.summaryWords + this.bitWords));
    return (this.#rows.length - 1) * (this.summaryWords + this.bitWords);
  }

  finish(): BitRows {
    const stride = this.summaryWords + this.bitWords;
    const words = new Int32Array(this.#rows.length * stride);
    this.#rows.forEach((row, index) => words.set(row, index * stride));
    return new BitRows(words, this.summaryWords, this.bitWords);
  }
}

/** Rows, ready to be used. */
export class BitRows {
  readonly words: Int32Array;
  readonly #summaryWords: number;
  readonly #bitWords: number;

  constructor(words: Int32Array, summaryWords: number, bitWords: number) {
    this.words = words;
    this.#summaryWords = summaryWords;
    this.#bitWords = bitWords;
  }

  /** The lowest bit set in all rows at `offsets[0, count)`, or -1. No rows: -1. */
  firstCommon(offsets: Int32Array, count: number): number {
    const { words } = this;
    const summaryWords = this.#summaryWords;
    if (count === 0) return -1;
    for (let s = 0; s < summaryWords; s++) {
      let summary = words[offsets[0] + s];
      for (let i = 1; i < count && summary !== 0; i++) summary &= words[offsets[i] + s];
      for (; summary !== 0; summary &= summary - 1) {
        const word = s * WORD_BITS + lowestBit(summary);
        let bits = words[offsets[0] + summaryWords + word];
        for (let i = 1; i < count && bits !== 0; i++) bits &= words[offsets[i] + summaryWords + word];
        if (bits !== 0) return word * WORD_BITS + lowestBit(bits);
      }
    }
    return -1;
  }

  /** Row `to` becomes a copy of row `from`. */
  copy(to: number, from: number): void {
    const stride = this.#summaryWords + this.#bitWords;
    for (let i = 0; i < stride; i++) this.words[to + i] = this.words[from + i];
  }

  /** The bits of row `from` are set in row `to` as well. The summary of an OR is the OR of the summaries. */
  merge(to: number, from: number): void {
    const stride = this.#summaryWords + this.#bitWords;
    for (let i = 0; i < stride; i++) this.words[to + i] |= this.words[from + i];
  }
}

export function setBit(bits: Int32Array, bit: number): void {
  bits[bit >> 5] |= 1 << (bit & 31);
}

export function clearBit(bits: Int32Array, bit: number): void {
  bits[bit >> 5] &= ~(1 << (bit & 31));
}

function lowestBit(word: number): number {
  return 31 - Math.clz32(word & -word);
}

function summarize(row: Int32Array, at: number, summaryWords: number, bitWords: number): void {
  for (let word = 0; word < bitWords; word++) {
    if (row[at + summaryWords + word] !== 0) row[at + (word >> 5)] |= 1 << (word & 31);
  }
}
