import { SmpError } from "./errors.ts";
import type { CpuId } from "./hal.ts";
import { MAX_CPUS } from "./layout.ts";

/** One CPU, or a range or `all` with or without a stride; `N` is the last CPU. */
const LIST_REGION = /^(?:(?:([aA][lL]{2})|(\d+|N)-(\d+|N))(?::(\d+|N)(?:\/(\d+|N))?)?|(\d+|N))$/;
const LIST_SEPARATORS = /[\s,]+/;
const HEX_GROUP = /^[0-9a-f]{1,8}$/i;
const HEX_UNGROUPED = /^0x([0-9a-f]+)$|^([0-9a-f]{9,})$/i;
/** No CPU that {@link CpuMask.next} could be asked to go on from. */
const NOWHERE: CpuId = -(2 ** 30);

/**
 * A set of CPUs of fixed size: one bit per CPU, bit `cpu % 32` of word `cpu / 32`.
 *
 * Everything but the text forms and the iterator works in place and allocates nothing; to walk a mask on a hot path write
 * `for (let cpu = mask.first(); cpu >= 0; cpu = mask.next(cpu))`, or give a function made once to {@link CpuMask.forEach}.
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
  /*
   * Where `next` stands: it gave `#at` last, and `#rest` is what it has not given yet of word `#index`. Without it each step
   * would wait for the load and the bit scan of the one before. Whatever changes the set forgets it.
   */
  #at: CpuId = NOWHERE;
  #rest = 0;
  #index = 0;

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
   * Reads the list form, `0-3,8`, as Linux does (lib/bitmap.c, `bitmap_parselist`; kernel-parameters.rst, "cpu lists"): regions
   * apart by commas or blanks; `all`, and `N` for the last CPU; strides `0-31:1/4`, of each 4 the first 1. `0-31:4` is the same, as
   * `taskset` has it. Blank text is the empty mask.
   * Throws `SMP_INVALID_ARGUMENT` for other text and `SMP_INVALID_CPU` for a CPU outside the mask.
   */
  static parseList(text: string, size: number): CpuMask {
    const mask = new CpuMask(size);
    for (const region of text.split(LIST_SEPARATORS)) if (region !== "") mask.#addRegion(region);
    return mask;
  }

  /**
   * Reads the form of Linux's cpumask files, groups of 32 bits with the highest first: `ff,ffffffff`; or one number of as many
   * digits as there are, with or without `0x`, as `taskset` prints it. Blank text is the empty mask.
   * Throws `SMP_INVALID_ARGUMENT` for other text and `SMP_INVALID_CPU` for a CPU outside the mask.
   */
  static parseHex(text: string, size: number): CpuMask {
    const mask = new CpuMask(size);
    const trimmed = text.trim();
    const groups = trimmed === "" ? [] : hexGroups(trimmed);
    groups.forEach((group, index) => {
      if (!HEX_GROUP.test(group)) {
        throw new SmpError("SMP_INVALID_ARGUMENT", `"${trimmed}" is no CPU mask: "${group}" is no group of 32 bits`);
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
    this.#at = NOWHERE;
    this.#words[cpu >>> 5] |= 1 << (cpu & 31);
    return this;
  }

  /** Throws `SMP_INVALID_CPU` for a CPU outside the mask. */
  delete(cpu: CpuId): this {
    this.#check(cpu);
    this.#at = NOWHERE;
    this.#words[cpu >>> 5] &= ~(1 << (cpu & 31));
    return this;
  }

  /** Whether `cpu` is in the set; a CPU outside the mask never is. */
  has(cpu: CpuId): boolean {
    return cpu >= 0 && cpu < this.size && (this.#words[cpu >>> 5] & (1 << (cpu & 31))) !== 0;
  }

  clear(): this {
    this.#at = NOWHERE;
    this.#words.fill(0);
    return this;
  }

  /** Adds every CPU from 0 to `size - 1`. */
  fill(): this {
    this.#at = NOWHERE;
    this.#words.fill(-1);
    this.#words[this.#words.length - 1] = this.#lastWordMask();
    return this;
  }

  /** Takes over the set of `from`, which must have the same size (`SMP_INVALID_ARGUMENT`); so for all that follow. */
  copy(from: CpuMask): this {
    this.#checkSize(from);
    this.#at = NOWHERE;
    this.#words.set(from.#words);
    return this;
  }

  and(other: CpuMask): this {
    this.#checkSize(other);
    this.#at = NOWHERE;
    for (let i = 0; i < this.#words.length; i++) this.#words[i] &= other.#words[i];
    return this;
  }

  or(other: CpuMask): this {
    this.#checkSize(other);
    this.#at = NOWHERE;
    for (let i = 0; i < this.#words.length; i++) this.#words[i] |= other.#words[i];
    return this;
  }

  andNot(other: CpuMask): this {
    this.#checkSize(other);
    this.#at = NOWHERE;
    for (let i = 0; i < this.#words.length; i++) this.#words[i] &= ~other.#words[i];
    return this;
  }

  xor(other: CpuMask): this {
    this.#checkSize(other);
    this.#at = NOWHERE;
    for (let i = 0; i < this.#words.length; i++) this.#words[i] ^= other.#words[i];
    return this;
  }

  /** Turns the set into its complement. */
  not(): this {
    this.#at = NOWHERE;
    for (let i = 0; i < this.#words.length; i++) this.#words[i] = ~this.#words[i];
    this.#words[this.#words.length - 1] &= this.#lastWordMask();
    return this;
  }

  /** Whether every CPU of this set is in `other`. */
  isSubsetOf(other: CpuMask): boolean {
    this.#checkSize(other);
    for (let i = 0; i < this.#words.length; i++) if ((this.#words[i] & ~other.#words[i]) !== 0) return false;
    return true;
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

  /** The highest CPU, or -1. */
  last(): CpuId {
    for (let i = this.#words.length - 1; i >= 0; i--) {
      if (this.#words[i] !== 0) return (i << 5) + 31 - Math.clz32(this.#words[i]);
    }
    return -1;
  }

  /** The lowest CPU above `after`, which is -1 or more; or -1. The set may be changed between two calls. */
  next(after: CpuId): CpuId {
    const words = this.#words;
    let rest = this.#rest;
    let index = this.#index;
    if (after !== this.#at) {
      index = (after + 1) >>> 5;
      if (index >= words.length) return -1;
      rest = (words[index] >> (after + 1)) << (after + 1);
    }
    while (rest === 0) {
      if (++index >= words.length) return -1;
      rest = words[index];
    }
    this.#rest = rest & (rest - 1);
    this.#index = index;
    return (this.#at = (index << 5) + 31 - Math.clz32(rest & -rest));
  }

  /** Calls `visit` with each CPU in order. What it adds or deletes counts from the next 32 CPUs on. */
  forEach(visit: (cpu: CpuId) => void): void {
    const words = this.#words;
    for (let index = 0; index < words.length; index++) {
      for (let rest = words[index]; rest !== 0; rest &= rest - 1) visit((index << 5) + 31 - Math.clz32(rest & -rest));
    }
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

  #addRegion(region: string): void {
    const match = LIST_REGION.exec(region);
    if (!match) throw new SmpError("SMP_INVALID_ARGUMENT", `"${region}" is no CPU and no range of CPUs`);
    const [, all, from, to, used, group, single] = match;
    if (single !== undefined) {
      this.add(this.#number(single));
      return;
    }
    const low = all === undefined ? this.#number(from) : 0;
    const high = all === undefined ? this.#number(to) : this.size - 1;
    // `:used/group` of the kernel, `:group` of taskset, or neither.
    const length = used === undefined ? 1 : this.#number(group ?? used);
    const taken = group === undefined ? 1 : this.#number(used);
    if (high < low || length < 1 || taken > length) {
      throw new SmpError("SMP_INVALID_ARGUMENT", `"${region}" is a range of CPUs that cannot be`);
    }
    this.#check(high);
    for (let cpu = low; cpu <= high; cpu++) if ((cpu - low) % length < taken) this.add(cpu);
  }

  #number(text: string): number {
    return text === "N" ? this.size - 1 : Number(text);
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
    // Signed: a number above 2^31 would be allocated.
    return (0xffffffff >>> (this.#words.length * 32 - this.size)) | 0;
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

/** Groups of 32 bits, highest first. */
function hexGroups(text: string): string[] {
  const match = HEX_UNGROUPED.exec(text);
  if (!match) return text.split(",");
  const digits = match[1] ?? match[2];
  const padded = digits.padStart(Math.ceil(digits.length / 8) * 8, "0");
  return Array.from({ length: padded.length / 8 }, (_, index) => padded.slice(index * 8, index * 8 + 8));
}

/** Bits set in a 32-bit word, by pairwise sums (Warren, Hacker's Delight, section 5-1). */
function bitCount(word: number): number {
  const pairs = word - ((word >>> 1) & 0x55555555);
  const nibbles = (pairs & 0x33333333) + ((pairs >>> 2) & 0x33333333);
  return Math.imul((nibbles + (nibbles >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}
