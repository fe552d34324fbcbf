import { PADDING_BYTES } from "@x/smp";
import { NumaError } from "../errors.ts";
import { MAX_PAGE_ORDER } from "../limits.ts";

/*
 * The records of the binary buddy system (Knowlton 1965; Knuth, The Art of Computer Programming vol. 1, 2.5), in one
 * SharedArrayBuffer. Pages are numbered from the start of the arena; page 0 belongs to no zone, so 0 ends every list.
 *
 *   zone record 0 | zone record 1 | … | next[page] | previous[page] | state[page]
 *
 *   zone record, padded:   word 0        free pages
 *                          word 1        bit n set: there are free blocks of order n
 *                          word 2 + n    first free block of order n
 *                          word 23 + n   number of free blocks of order n
 *                          word 44 + n   last recently freed block of order n, n under RECENT_ORDERS
 *                          word 48 + n   number of them
 *
 *   state[page], a byte:   0             inside of a block
 *                          0x20 | order  first page of a recently freed block
 *                          0x40 | order  first page of a free block
 *                          0x80 | order  first page of an allocated block
 *
 * A block of order n starts at a page number that is a multiple of 2^n; its buddy differs in bit n alone.
 *
 * Merging is lazy (Barkley and Lee 1989): small blocks that are freed wait on a short stack per order, and are handed out
 * again from there. A full stack, a request nothing else can serve, and every question about free blocks merge them.
 *
 * Who writes: everything that concerns a zone, the pages' entries included, is read and written only by who holds the
 * zone's lock, with plain loads and stores; the lock's atomics order them.
 */
const FREE_PAGES = 0;
const ORDER_MASK = 1;
const HEADS = 2;
const COUNTS = HEADS + MAX_PAGE_ORDER + 1;
/** Orders with a stack of recently freed blocks: those Linux caches per CPU (`PAGE_ALLOC_COSTLY_ORDER`, mmzone.h). */
const RECENT_ORDERS = 4;
const RECENT_LIMIT = 16;
const RECENT_HEADS = COUNTS + MAX_PAGE_ORDER + 1;
const RECENT_COUNTS = RECENT_HEADS + RECENT_ORDERS;
const ZONE_WORDS = Math.ceil(((RECENT_COUNTS + RECENT_ORDERS) * 4) / PADDING_BYTES) * (PADDING_BYTES / 4);

const RECENT = 0x20;
const FREE = 0x40;
const ALLOCATED = 0x80;
const STATE_ORDER = 0x1f;
/** States, without the order, of a first page. */
const STARTS_BLOCK: ReadonlySet<number> = new Set([RECENT, FREE, ALLOCATED]);

/** Where a zone's pages are. */
export interface ZoneExtent {
  readonly firstPage: number;
  readonly pageCount: number;
}

/** Free lists of several zones. The caller holds the lock of the zone it names. */
export class BuddyZones {
  readonly memory: SharedArrayBuffer;
  readonly #extents: readonly ZoneExtent[];
  readonly #maxOrder: number;
  readonly #zones: Int32Array;
  readonly #next: Int32Array;
  readonly #previous: Int32Array;
  readonly #state: Uint8Array;

  private constructor(extents: readonly ZoneExtent[], maxOrder: number, memory: SharedArrayBuffer, arenaPages: number) {
    this.memory = memory;
    this.#extents = extents;
    this.#maxOrder = maxOrder;
    const zoneWords = extents.length * ZONE_WORDS;
    this.#zones = new Int32Array(memory, 0, zoneWords);
    this.#next = new Int32Array(memory, zoneWords * 4, arenaPages);
    this.#previous = new Int32Array(memory, (zoneWords + arenaPages) * 4, arenaPages);
    this.#state = new Uint8Array(memory, (zoneWords + 2 * arenaPages) * 4, arenaPages);
  }

  /** Records in which every page of every zone is free. */
  static create(extents: readonly ZoneExtent[], maxOrder: number, arenaPages: number): BuddyZones {
    const memory = new SharedArrayBuffer(extents.length * ZONE_WORDS * 4 + arenaPages * 9);
    const zones = new BuddyZones(extents, maxOrder, memory, arenaPages);
    for (const [zone, extent] of extents.entries()) zones.#seed(zone, extent);
    return zones;
  }

  static attach(
    extents: readonly ZoneExtent[],
    maxOrder: number,
    memory: SharedArrayBuffer,
    arenaPages: number,
  ): BuddyZones {
    return new BuddyZones(extents, maxOrder, memory, arenaPages);
  }

  /** First page of a block that is now allocated; 0 when the zone has none large enough. */
  take(zone: number, order: number): number {
    const base = zone * ZONE_WORDS;
    let page = order < RECENT_ORDERS ? this.#popRecent(base, order) : 0;
    if (page === 0) page = this.#split(base, order);
    if (page === 0 && this.#mergeAllRecent(zone)) page = this.#split(base, order);
    if (page === 0) return 0;
    this.#state[page] = ALLOCATED | order;
    this.#zones[base + FREE_PAGES] -= 1 << order;
    return page;
  }

  /** Gives a block back. Cost: at most `RECENT_LIMIT` blocks are merged with their buddies, each at most `maxOrder` times. */
  put(zone: number, page: number, order: number): void {
    if (this.#state[page] !== (ALLOCATED | order)) this.#refuse(page, order);
    const base = zone * ZONE_WORDS;
    this.#zones[base + FREE_PAGES] += 1 << order;
    if (order >= RECENT_ORDERS) {
      this.#merge(zone, page, order);
      return;
    }
    this.#next[page] = this.#zones[base + RECENT_HEADS + order];
    this.#zones[base + RECENT_HEADS + order] = page;
    this.#state[page] = RECENT | order;
    if (++this.#zones[base + RECENT_COUNTS + order] > RECENT_LIMIT) this.#mergeRecent(zone, order);
  }

  /** Order of the allocated block that starts at `page`, or -1. */
  orderOf(page: number): number {
    const state = this.#state[page];
    return (state & ALLOCATED) === 0 ? -1 : state & STATE_ORDER;
  }

  freePages(zone: number): number {
    return this.#zones[zone * ZONE_WORDS + FREE_PAGES];
  }

  /** Free blocks of an order, once all that can be merged is. */
  freeBlocks(zone: number, order: number): number {
    this.#mergeAllRecent(zone);
    return this.#zones[zone * ZONE_WORDS + COUNTS + order];
  }

  /** What contradicts itself in the records of a zone; empty when nothing does. Cost: all its pages. */
  faults(zone: number): string[] {
    const { firstPage, pageCount } = this.#extents[zone];
    const end = firstPage + pageCount;
    const faults: string[] = [];
    const listed = this.#listedBlocks(zone, faults);
    this.#listRecent(zone, listed, faults);
    let free = 0;
    for (let page = firstPage; page < end;) {
      const state = this.#state[page];
      const order = state & STATE_ORDER;
      const size = 2 ** order;
      if (!STARTS_BLOCK.has(state & ~STATE_ORDER) || order > this.#maxOrder || page + size > end || page % size !== 0) {
        faults.push(`page ${page} should start a block; its state is ${state}`);
        return faults;
      }
      for (let inside = page + 1; inside < page + size; inside++) {
        if (this.#state[inside] !== 0)
          faults.push(`page ${inside} is inside of the block at ${page} and starts one too`);
      }
      if ((state & (FREE | RECENT)) !== 0) {
        free += size;
        if (!listed.delete(page)) faults.push(`block ${page} is free and in no list`);
        if ((state & FREE) !== 0 && this.#hasFreeBuddy(page, order, firstPage, end))
          faults.push(`block ${page} and its buddy are both free`);
      }
      page += size;
    }
    for (const page of listed) faults.push(`page ${page} is in a free list and starts no free block`);
    if (free !== this.freePages(zone)) faults.push(`${free} pages are free; the count says ${this.freePages(zone)}`);
    return faults;
  }

  /** First pages of the blocks in the free lists; each must be free, of the list's order, and in one list once. */
  #listedBlocks(zone: number, faults: string[]): Set<number> {
    const base = zone * ZONE_WORDS;
    const listed = new Set<number>();
    for (let order = 0; order <= this.#maxOrder; order++) {
      let count = 0;
      let previous = 0;
      for (let page = this.#zones[base + HEADS + order]; page !== 0; page = this.#next[page]) {
        if (this.#state[page] !== (FREE | order) || this.#previous[page] !== previous || listed.has(page)) {
          faults.push(`page ${page} does not belong where it is in the free list of order ${order}`);
          break;
        }
        listed.add(page);
        previous = page;
        count++;
      }
      if (count !== this.#zones[base + COUNTS + order])
        faults.push(`the count of free blocks of order ${order} is wrong`);
      const bit = (this.#zones[base + ORDER_MASK] >>> order) & 1;
      if (bit !== (count > 0 ? 1 : 0)) faults.push(`the bit of order ${order} is wrong`);
    }
    return listed;
  }

  /** Adds the recently freed blocks to `listed`. */
  #listRecent(zone: number, listed: Set<number>, faults: string[]): void {
    const base = zone * ZONE_WORDS;
    for (let order = 0; order < RECENT_ORDERS; order++) {
      let count = 0;
      for (let page = this.#zones[base + RECENT_HEADS + order]; page !== 0; page = this.#next[page]) {
        if (this.#state[page] !== (RECENT | order) || listed.has(page)) {
          faults.push(`page ${page} does not belong among the recently freed blocks of order ${order}`);
          break;
        }
        listed.add(page);
        count++;
      }
      if (count !== this.#zones[base + RECENT_COUNTS + order]) {
        faults.push(`the count of recently freed blocks of order ${order} is wrong`);
      }
    }
  }

  #hasFreeBuddy(page: number, order: number, first: number, end: number): boolean {
    const buddy = page ^ (1 << order);
    if (order >= this.#maxOrder || buddy < first || buddy + (1 << order) > end) return false;
    return this.#state[buddy] === (FREE | order);
  }

  /** Cut a zone into the largest aligned blocks; pushed from the end, so that allocation starts at low addresses. */
  #seed(zone: number, { firstPage, pageCount }: ZoneExtent): void {
    const blocks: [number, number][] = [];
    const end = firstPage + pageCount;
    for (let page = firstPage; page < end;) {
      let order = 0;
      while (order < this.#maxOrder && page % 2 ** (order + 1) === 0 && page + 2 ** (order + 1) <= end) order++;
      blocks.push([page, order]);
      page += 2 ** order;
    }
    const base = zone * ZONE_WORDS;
    for (let i = blocks.length - 1; i >= 0; i--) this.#push(base, blocks[i][0], blocks[i][1]);
    this.#zones[base + FREE_PAGES] = pageCount;
  }

  #popRecent(base: number, order: number): number {
    const page = this.#zones[base + RECENT_HEADS + order];
    if (page === 0) return 0;
    if (this.#state[page] !== (RECENT | order)) this.#contradiction(page, order);
    this.#zones[base + RECENT_HEADS + order] = this.#next[page];
    this.#zones[base + RECENT_COUNTS + order]--;
    return page;
  }

  /** A block of the order from the free lists, cut from a larger one where there is none; 0 when there is nothing. */
  #split(base: number, order: number): number {
    const usable = this.#zones[base + ORDER_MASK] >>> order;
    if (usable === 0) return 0;
    let found = order + 31 - Math.clz32(usable & -usable);
    const page = this.#zones[base + HEADS + found];
    if (this.#state[page] !== (FREE | found)) this.#contradiction(page, found);
    this.#unlink(base, page, found);
    while (found > order) {
      found--;
      this.#push(base, page + (1 << found), found);
    }
    return page;
  }

  /** Puts a block into the free lists, merged with its buddy for as long as that is free. */
  #merge(zone: number, page: number, order: number): void {
    const base = zone * ZONE_WORDS;
    const { firstPage, pageCount } = this.#extents[zone];
    const end = firstPage + pageCount;
    let head = page;
    let size = order;
    while (size < this.#maxOrder) {
      const buddy = head ^ (1 << size);
      if (buddy < firstPage || buddy + (1 << size) > end || this.#state[buddy] !== (FREE | size)) break;
      this.#unlink(base, buddy, size);
      this.#state[head] = 0;
      this.#state[buddy] = 0;
      head &= ~(1 << size);
      size++;
    }
    this.#push(base, head, size);
  }

  #mergeRecent(zone: number, order: number): boolean {
    const base = zone * ZONE_WORDS;
    let page = this.#popRecent(base, order);
    const any = page !== 0;
    for (; page !== 0; page = this.#popRecent(base, order)) this.#merge(zone, page, order);
    return any;
  }

  /** Whether there was anything to merge. */
  #mergeAllRecent(zone: number): boolean {
    let any = false;
    for (let order = 0; order < RECENT_ORDERS; order++) if (this.#mergeRecent(zone, order)) any = true;
    return any;
  }

  #push(base: number, page: number, order: number): void {
    const first = this.#zones[base + HEADS + order];
    this.#next[page] = first;
    this.#previous[page] = 0;
    if (first !== 0) this.#previous[first] = page;
    this.#zones[base + HEADS + order] = page;
    this.#zones[base + COUNTS + order]++;
    this.#zones[base + ORDER_MASK] |= 1 << order;
    this.#state[page] = FREE | order;
  }

  #unlink(base: number, page: number, order: number): void {
    const next = this.#next[page];
    const previous = this.#previous[page];
    if (next !== 0) this.#previous[next] = previous;
    if (previous !== 0) this.#next[previous] = next;
    else this.#zones[base + HEADS + order] = next;
    if (--this.#zones[base + COUNTS + order] === 0) this.#zones[base + ORDER_MASK] &= ~(1 << order);
  }

  #contradiction(page: number, order: number): never {
    throw new NumaError("NUMA_CORRUPT", `page ${page} is in a free list of order ${order} but is not free`);
  }

  /** Says why `page` cannot be freed as a block of `order`. */
  #refuse(page: number, order: number): never {
    for (let size = 0; size <= this.#maxOrder; size++) {
      const head = page & ~((1 << size) - 1);
      const state = this.#state[head];
      if (!STARTS_BLOCK.has(state & ~STATE_ORDER) || head + 2 ** (state & STATE_ORDER) <= page) continue;
      if ((state & ALLOCATED) === 0) throw new NumaError("NUMA_DOUBLE_FREE", `page ${page} is free already`);
      if (head !== page) {
        throw new NumaError("NUMA_BAD_OFFSET", `page ${page} is inside of the block that starts at page ${head}`);
      }
      const message = `page ${page} was allocated with order ${state & STATE_ORDER}; it is freed with ${order}`;
      throw new NumaError("NUMA_WRONG_ORDER", message);
    }
    throw new NumaError("NUMA_CORRUPT", `page ${page} is in no block`);
  }
}
