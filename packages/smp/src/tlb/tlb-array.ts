import { SmpError } from "../errors.ts";

/*
 * A set-associative array of translations:
 *
 *   pages[entry]    number of the page, in units of its own size          frames[entry]   what it translates to, the same units
 *   tags[entry]     address space << 4 | size << 2 | global << 1 | valid
 *   trees[set]      pseudo-LRU: a bit for each inner node of a binary tree over the ways, 1: the right half is older
 *
 * Page and frame numbers are doubles, exact to 2^53. A page of size s lies in set `page mod sets` by its number in units of s.
 */
export const VALID = 1;
export const GLOBAL = 2;
export const SIZE_SHIFT = 2;
export const SPACE_SHIFT = 4;
const MAX_WAYS = 32;

/** A tag without its space, for pages that all spaces share, or with it. */
export function tagOf(space: number, size: number, global: boolean): number {
  return (global ? GLOBAL : space << SPACE_SHIFT) | (size << SIZE_SHIFT) | VALID;
}

export class TlbArray {
  readonly entries: number;
  readonly #ways: number;
  readonly #setMask: number;
  readonly #pages: Float64Array;
  readonly #frames: Float64Array;
  readonly #tags: Int32Array;
  readonly #trees: Int32Array;

  /** @param entries, ways - powers of two, `ways` 1 to 32. Throws `SMP_INVALID_ARGUMENT`. */
  constructor(entries: number, ways: number) {
    const power = (value: number): boolean => Number.isInteger(value) && value > 0 && (value & (value - 1)) === 0;
    if (!power(entries) || !power(ways) || ways > entries || ways > MAX_WAYS) {
      const message = `a TLB of ${entries} entries in ${ways} ways is not possible: powers of two, at most ${MAX_WAYS} ways`;
      throw new SmpError("SMP_INVALID_ARGUMENT", message);
    }
    this.entries = entries;
    this.#ways = ways;
    this.#setMask = entries / ways - 1;
    this.#pages = new Float64Array(entries);
    this.#frames = new Float64Array(entries);
    this.#tags = new Int32Array(entries);
    this.#trees = new Int32Array(entries / ways);
  }

  /** The entry of a page with exactly this tag, or -1. It is now the youngest of its set. */
  find(page: number, tag: number): number {
    const set = page & this.#setMask;
    const first = set * this.#ways;
    for (let way = 0; way < this.#ways; way++) {
      if (this.#tags[first + way] !== tag || this.#pages[first + way] !== page) continue;
      this.#touch(set, way);
      return first + way;
    }
    return -1;
  }

  frame(entry: number): number {
    return this.#frames[entry];
  }

  /** Put a translation where there is room, or in place of an old one of its set. It must not be there already. */
  insert(page: number, tag: number, frame: number): void {
    const set = page & this.#setMask;
    const first = set * this.#ways;
    let way = 0;
    while (way < this.#ways && this.#tags[first + way] !== 0) way++;
    if (way === this.#ways) way = this.#oldest(set);
    this.#pages[first + way] = page;
    this.#tags[first + way] = tag;
    this.#frames[first + way] = frame;
    this.#touch(set, way);
  }

  /** Drop the translation of a page with this tag; returns whether there was one. */
  drop(page: number, tag: number): boolean {
    const entry = this.find(page, tag);
    if (entry >= 0) this.#tags[entry] = 0;
    return entry >= 0;
  }

  /** Drop all whose tag, under a mask, is `value`. */
  dropMatching(mask: number, value: number): void {
    for (let entry = 0; entry < this.entries; entry++) {
      if ((this.#tags[entry] & mask) === value) this.#tags[entry] = 0;
    }
  }

  /** Translations there are. */
  count(): number {
    return this.#tags.reduce((sum, tag) => sum + (tag & VALID), 0);
  }

  /** Every node on the way to `way` points away from it. */
  #touch(set: number, way: number): void {
    let tree = this.#trees[set];
    for (let node = 1, half = this.#ways >> 1; half > 0; half >>= 1) {
      const right = (way & half) !== 0 ? 1 : 0;
      tree = right === 1 ? tree & ~(1 << node) : tree | (1 << node);
      node = node * 2 + right;
    }
    this.#trees[set] = tree;
  }

  #oldest(set: number): number {
    const tree = this.#trees[set];
    let way = 0;
    for (let node = 1, half = this.#ways >> 1; half > 0; half >>= 1) {
      const right = (tree >>> node) & 1;
      way += right * half;
      node = node * 2 + right;
    }
    return way;
  }
}
