import { SmpError } from "../errors.ts";
import { GLOBAL, SPACE_SHIFT, tagOf, TlbArray, VALID } from "./tlb-array.ts";

/**
 * Page sizes of x86-64: 4 KiB, 2 MiB, 1 GiB. Each is 512 times the one before.
 *
 * @public
 */
export const PageSize = { Small: 0, Large: 1, Huge: 2 } as const;

/**
 * A value of {@link (PageSize:variable)}.
 *
 * @public
 */
export type PageSize = (typeof PageSize)[keyof typeof PageSize];

const SIZES = 3;
/** Small pages in a page of each size. */
const UNITS = [1, 512, 512 * 512] as const;
const SPACE_MASK = (-1 << SPACE_SHIFT) | GLOBAL | VALID;
/** Largest tag of an address space: those of x86 have twelve bits. */
const MAX_SPACE = 4095;

/**
 * Entries and ways of one array of a {@link Tlb}, powers of two.
 *
 * @public
 */
export interface TlbGeometry {
  readonly entries: number;
  readonly ways: number;
}

/**
 * What a {@link Tlb} is made of. The defaults are of the order of a server processor of today; `second: undefined` leaves the
 * second level out, `instruction: undefined` lets one first level serve data and instructions.
 *
 * @public
 */
export interface TlbOptions {
  /** First level for data, any page size. Default 64 entries in 4 ways. */
  readonly data?: TlbGeometry;
  /** First level for instructions. Default 64 entries in 8 ways. */
  readonly instruction?: TlbGeometry | undefined;
  /** Second level, for both. Default 2048 entries in 8 ways. */
  readonly second?: TlbGeometry | undefined;
}

/**
 * A CPU's translation lookaside buffer as a model: set-associative levels with tree pseudo-LRU, tagged with address-space ids
 * (PCID, ASID), global pages, pages of three sizes (Intel SDM, volume 3, chapter "Paging", section on caching translations).
 * What is inserted goes into both levels, and each lets go of it by itself. It holds what it is told and knows no page tables.
 *
 * Addresses are page numbers in units of small pages, to 2^53; frames likewise. Spaces are 0 to 4095.
 *
 * Thread-safety: none; it belongs to one CPU. Cost: a look at the ways of one set for each page size in use; nothing is allocated.
 *
 * @public
 */
export class Tlb {
  /** Look-ups that the first level answered, that the second did, and that none did. */
  firstLevelHits = 0;
  secondLevelHits = 0;
  misses = 0;
  readonly #data: TlbArray;
  readonly #instruction: TlbArray;
  readonly #second: TlbArray | undefined;
  readonly #arrays: readonly TlbArray[];
  /** Bit s: pages of size s have been inserted; the others need not be looked for. */
  #sizes = 0;
  #globals = false;

  constructor(options: TlbOptions = {}) {
    const { data = { entries: 64, ways: 4 } } = options;
    const instruction = "instruction" in options ? options.instruction : { entries: 64, ways: 8 };
    const second = "second" in options ? options.second : { entries: 2048, ways: 8 };
    this.#data = new TlbArray(data.entries, data.ways);
    this.#instruction = instruction === undefined ? this.#data : new TlbArray(instruction.entries, instruction.ways);
    this.#second = second === undefined ? undefined : new TlbArray(second.entries, second.ways);
    const all = new Set([this.#data, this.#instruction, ...(this.#second === undefined ? [] : [this.#second])]);
    this.#arrays = [...all];
  }

  /** The frame of a page, or -1 on a miss. What only the second level has is brought into the first. */
  lookup(space: number, page: number, instruction = false): number {
    const first = instruction ? this.#instruction : this.#data;
    for (let size = 0; size < SIZES; size++) {
      if ((this.#sizes & (1 << size)) === 0) continue;
      const number = size === 0 ? page : Math.floor(page / UNITS[size]);
      let tag = tagOf(space, size, false);
      let entry = first.find(number, tag);
      if (entry < 0 && this.#globals) entry = first.find(number, (tag = tagOf(0, size, true)));
      if (entry >= 0) {
        this.firstLevelHits++;
        return first.frame(entry) * UNITS[size] + (page - number * UNITS[size]);
      }
    }
    return this.#second === undefined ? this.#miss() : this.#lookupSecond(first, this.#second, space, page);
  }

  /**
   * Remember a translation, after a page walk. Throws `SMP_INVALID_ARGUMENT` for a space that cannot be.
   *
   * @param page, frame - multiples of the page's size.
   * @param global - for every space.
   */
  insert(
    space: number,
    page: number,
    frame: number,
    size: PageSize = PageSize.Small,
    global = false,
    instruction = false,
  ): void {
    if (!Number.isInteger(space) || space < 0 || space > MAX_SPACE) {
      throw new SmpError("SMP_INVALID_ARGUMENT", `${space} is no address space of a TLB; 0 to ${MAX_SPACE} are`);
    }
    const number = Math.floor(page / UNITS[size]);
    const tag = tagOf(space, size, global);
    this.#sizes |= 1 << size;
    if (global) this.#globals = true;
    for (const array of [instruction ? this.#instruction : this.#data, this.#second]) {
      if (array === undefined) continue;
      array.drop(number, tag);
      array.insert(number, tag, Math.floor(frame / UNITS[size]));
    }
  }

  /** INVLPG: forget the translation of one page, whatever its size, in this space and in all (global). */
  invalidatePage(space: number, page: number): void {
    for (let size = 0; size < SIZES; size++) {
      if ((this.#sizes & (1 << size)) === 0) continue;
      const number = Math.floor(page / UNITS[size]);
      for (const array of this.#arrays) {
        array.drop(number, tagOf(space, size, false));
        if (this.#globals) array.drop(number, tagOf(0, size, true));
      }
    }
  }

  /** Forget a range of pages, `stride` apart: each as {@link Tlb.invalidatePage}. */
  invalidateRange(space: number, page: number, count: number, stride = 1): void {
    for (let at = page; at < page + count; at += stride) this.invalidatePage(space, at);
  }

  /** Forget all of one space but what is global (INVPCID type 1, a write of CR3). */
  invalidateSpace(space: number): void {
    for (const array of this.#arrays) array.dropMatching(SPACE_MASK, (space << SPACE_SHIFT) | VALID);
  }

  /** Forget everything but what is global (INVPCID type 3). */
  invalidateNonGlobal(): void {
    for (const array of this.#arrays) array.dropMatching(GLOBAL | VALID, VALID);
  }

  /** Forget everything (INVPCID type 2). */
  invalidateAll(): void {
    for (const array of this.#arrays) array.dropMatching(VALID, VALID);
    this.#sizes = 0;
    this.#globals = false;
  }

  /** Translations remembered, each counted in every level that has it. */
  count(): number {
    return this.#arrays.reduce((sum, array) => sum + array.count(), 0);
  }

  #lookupSecond(first: TlbArray, second: TlbArray, space: number, page: number): number {
    for (let size = 0; size < SIZES; size++) {
      if ((this.#sizes & (1 << size)) === 0) continue;
      const number = Math.floor(page / UNITS[size]);
      let tag = tagOf(space, size, false);
      let entry = second.find(number, tag);
      if (entry < 0 && this.#globals) entry = second.find(number, (tag = tagOf(0, size, true)));
      if (entry < 0) continue;
      const frame = second.frame(entry);
      first.insert(number, tag, frame);
      this.secondLevelHits++;
      return frame * UNITS[size] + (page - number * UNITS[size]);
    }
    return this.#miss();
  }

  #miss(): number {
    this.misses++;
    return -1;
  }
}
