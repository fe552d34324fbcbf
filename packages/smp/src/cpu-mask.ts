import { SmpError } from "./errors.ts";
import type { CpuId } from "./hal.ts";
import { MAX_CPUS } from "./layout.ts";

const LIST_RANGE = /^(\d+)(?:-(\d+)(?::(\d+)\/(\d+))?)?$/;
const HEX_GROUP = /^[0-9a-f]{1,8}$/i;

/**
 * A set of CPUs of fixed size: one bit per CPU, bit `cpu % 32` of word `cpu / 32`.
 *
 * Everything but the text forms and the iterator works in place and allocates nothing; to walk a mask on a hot path write
 * `for (let cpu = mask.first(); cpu >= 0; cpu = mask.next(cpu))`.
 *
 * Thread-safety: none. A mask belongs to one thread.
 *
 * @public
 */
export class CpuMask implements Iterable<CpuId> {
  /** CPUs the mask has room for: 0 to `size - 1`. */
  readonly size: number;
  /** Signed, so that bit operations stay integers in the engine. Invariant: bits at and above `size` are 0. */
  readonly #words: Int32Array;

  /**
   * An empty mask.
   *
   * @param size - 1 to {@link MAX_CPUS}; else `SMP_INVALID_ARGUMENT`.
   */
  constructor(size: number) {
    if (!Number.isInteger(size) || size < 1 || size > MAX_CPUS) {
      throw new SmpError("SMP_INVALID_ARGUMENT", `a mask of ${size} CPUs is not possible; 1 to ${MAX_CPUS} are`);
    }
    this.size = size;
    this.#words = new Int32Array(Math.ceil(size / 32));
  }

  /** The mask of `cpus`. Throws `SMP_INVALID_CPU` for one outside the mask. */
  static of(size: number, cpus: Iterable<CpuId>): CpuMask {
    const mask = new CpuMask(size);
    for (const cpu of cpus) mask.add(cpu);
    return mask;
  }

  /**
   * Reads the list form, `0-3,8`, with the strides `0-31:1/4` (of each 4 the first 1) that Linux knows too
   * (Documentation/admin-guide/kernel-parameters.rst, "cpu lists"). Blank text is the empty mask.
   * Throws `SMP_INVALID_ARGUMENT` for other text and `SMP_INVALID_CPU` for a CPU outside the mask.
   */
  static parseList(text: string, size: number): CpuMask {
    const mask = new CpuMask(size);
    if (text.trim() === "") return mask;
    for (const part of text.split(",")) mask.#addRange(part.trim());
    return mask;
  }

  /**
   * Reads the form of Linux's cpumask files, groups of 32 bits with the highest first: `ff,ffffffff`.
   * Throws `SMP_INVALID_ARGUMENT` for other text and `SMP_INVALID_CPU` for a CPU outside the mask.
   */
  static parseHex(text: string, size: number): CpuMask {
    const mask = new CpuMask(size);
    const groups = text.trim().split(",");
    groups.forEach((group, index) => {
      if (!HEX_GROUP.test(group)) {
        throw new SmpError(
          "SMP_INVALID_ARGUMENT",
          `"${text.trim()}" is no CPU mask: "${group}" is no group of 32 bits`,
        );
      }
      mask.#setWord(groups.length - 1 - index, Number.parseInt(group, 16));
    });
    return mask;
  }

  /** A copy that can be changed by itself. */
  clone(): CpuMask {
    return new CpuMask(this.size).copy(this);
  }

  /** Throws `SMP_INVALID_CPU` for a CPU outside the mask. */
  add(cpu: CpuId): this {
    this.#check(cpu);
    this.#words[cpu >>> 5] |= 1 << (cpu & 31);
    return this;
  }

  /** Throws `SMP_INVALID_CPU` for a CPU outside the mask. */
  delete(cpu: CpuId): this {
    this.#check(cpu);
    this.#words[cpu >>> 5] &= ~(1 << (cpu & 31));
    return this;
  }

  /** Whether `cpu` is in the set; a CPU outside the mask never is. */
  has(cpu: CpuId): boolean {
    return cpu >= 0 && cpu < this.size && (this.#words[cpu >>> 5] & (1 << (cpu & 31))) !== 0;
  }

  clear(): this {
    this.#words.fill(0);
    return this;
  }

  /** Adds every CPU from 0 to `size - 1`. */
  fill(): this {
    this.#words.fill(-1);
    this.#words[this.#words.length - 1] = this.#lastWordMask();
    return this;
  }

  /** Takes over the set of `from`, which must have the same size (`SMP_INVALID_ARGUMENT`); so for all that follow. */
  copy(from: CpuMask): this {
    this.#checkSize(from);
    this.#words.set(from.#words);
    return this;
  }

  and(other: CpuMask): this {
    this.#checkSize(other);
    for (let i = 0; i < this.#words.length; i++) this.#words[i] &= other.#words[i];
    return this;
  }

  or(other: CpuMask): this {
    this.#checkSize(other);
    for (let i = 0; i < this.#words.length; i++) this.#words[i] |= other.#words[i];
    return this;
  }

  andNot(other: CpuMask): this {
    this.#checkSize(other);
    for (let i = 0; i < this.#words.length; i++) this.#words[i] &= ~other.#words[i];
    return this;
  }

  xor(other: CpuMask): this {
    this.#checkSize(other);
    for (let i = 0; i < this.#words.length; i++) this.#words[i] ^= other.#words[i];
    return this;
  }

  /** Whether the two sets have a CPU in common. */
  intersects(other: CpuMask): boolean {
    this.#checkSize(other);
    for (let i = 0; i < this.#words.length; i++) if ((this.#words[i] & other.#words[i]) !== 0) return true;
    return false;
  }

  /** CPUs in the set. */
  count(): number {
    let count = 0;
    for (let i = 0; i < this.#words.length; i++) count += bitCount(this.#words[i]);
    return count;
  }

  isEmpty(): boolean {
    for (let i = 0; i < this.#words.length; i++) if (this.#words[i] !== 0) return false;
    return true;
  }

  /** Same size and same CPUs. */
  equals(other: CpuMask): boolean {
    if (other.size !== this.size) return false;
    for (let i = 0; i < this.#words.length; i++) if (this.#words[i] !== other.#words[i]) return false;
    return true;
  }

  /** The lowest CPU, or -1. */
  first(): CpuId {
    return this.next(-1);
  }

  /** The lowest CPU above `after`, or -1. */
  next(after: CpuId): CpuId {
    const from = after + 1;
    if (from >= this.size) return -1;
    let index = from >>> 5;
    let word = this.#words[index] & (-1 << (from & 31));
    while (word === 0) {
      if (++index === this.#words.length) return -1;
      word = this.#words[index];
    }
    return index * 32 + 31 - Math.clz32(word & -word);
  }

  /** `0-3,8`; the empty set is the empty text. */
  toList(): string {
    const parts: string[] = [];
    for (let low = this.first(); low >= 0;) {
      let high = low;
      while (this.has(high + 1)) high++;
      parts.push(low === high ? `${low}` : `${low}-${high}`);
      low = this.next(high);
    }
    return parts.join(",");
  }

  /** The form of Linux's cpumask files: groups of 32 bits, highest first, as many digits as the size needs. */
  toHex(): string {
    const groups: string[] = [];
    for (let i = this.#words.length - 1; i >= 0; i--) {
      const bits = Math.min(32, this.size - i * 32);
      groups.push((this.#words[i] >>> 0).toString(16).padStart(Math.ceil(bits / 4), "0"));
    }
    return groups.join(",");
  }

  /** {@link CpuMask.toList}. */
  toString(): string {
    return this.toList();
  }

  *[Symbol.iterator](): Generator<CpuId, void, undefined> {
    for (let cpu = this.first(); cpu >= 0; cpu = this.next(cpu)) yield cpu;
  }

  #addRange(part: string): void {
    const match = LIST_RANGE.exec(part);
    if (!match) throw new SmpError("SMP_INVALID_ARGUMENT", `"${part}" is no CPU and no range of CPUs`);
    const low = Number(match[1]);
    const high = Number(match[2] ?? low);
    const group = Number(match[4] ?? 1);
    const used = Number(match[3] ?? group);
    if (high < low || group < 1 || used > group) {
      throw new SmpError("SMP_INVALID_ARGUMENT", `"${part}" is a range of CPUs that cannot be`);
    }
    this.#check(high);
    for (let cpu = low; cpu <= high; cpu++) if ((cpu - low) % group < used) this.add(cpu);
  }

  #setWord(index: number, value: number): void {
    const allowed =
      index < this.#words.length - 1 ? 0xffffffff : index === this.#words.length - 1 ? this.#lastWordMask() : 0;
    if ((value & ~allowed) !== 0) {
      throw new SmpError("SMP_INVALID_CPU", `the mask names CPUs beyond the ${this.size} it has room for`);
    }
    if (value !== 0) this.#words[index] = value;
  }

  #lastWordMask(): number {
    return 0xffffffff >>> (this.#words.length * 32 - this.size);
  }

  #check(cpu: CpuId): void {
    if (!Number.isInteger(cpu) || cpu < 0 || cpu >= this.size) {
      throw new SmpError("SMP_INVALID_CPU", `CPU ${cpu} is outside the mask's ${this.size} CPUs`);
    }
  }

  #checkSize(other: CpuMask): void {
    if (other.size !== this.size) {
      throw new SmpError("SMP_INVALID_ARGUMENT", `masks of ${this.size} and ${other.size} CPUs do not combine`);
    }
  }
}

/** Bits set in a 32-bit word, by pairwise sums (Warren, Hacker's Delight, section 5-1). */
function bitCount(word: number): number {
  const pairs = word - ((word >>> 1) & 0x55555555);
  const nibbles = (pairs & 0x33333333) + ((pairs >>> 2) & 0x33333333);
  return Math.imul((nibbles + (nibbles >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}
