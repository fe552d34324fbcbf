import { soloHal, SpinLocks } from "@x/smp";
import type { Hal, LockObserver, SpinLocksHandle } from "@x/smp";
import { SlabError } from "./errors.ts";
import type { PageSource } from "./page-source.ts";

/*
 * A binary buddy allocator (Knowlton 1965; Knuth, TAOCP 1, 2.5). Control memory, Int32 words, all under lock 0:
 *
 *   word 0             free pages
 *   words 1..31        head of the free list of each order (page number, 0 = empty)
 *   from MAP_WORD      per page: state, next, previous
 *
 * state of the first page of a block: order + 1 when free, -(order + 1) when given out; 0 for every other page.
 * Page 0 is never free, so that offset 0 can mean «none» and 0 can end a list.
 */
const FREE_PAGES_WORD = 0;
const HEADS_WORD = 1;
const MAX_ORDER = 30;
const MAP_WORD = 32;
const WORDS_PER_PAGE = 3;
const NEXT = 1;
const PREVIOUS = 2;

const MIN_PAGE_BYTES = 256;
/** Offsets are Int32. */
const MAX_BYTES = 2 ** 31 - 1;

/**
 * What joins {@link SharedPages} from another thread.
 *
 * @public
 */
export interface SharedPagesHandle {
  readonly buffer: SharedArrayBuffer;
  readonly control: SharedArrayBuffer;
  readonly pageBytes: number;
  readonly lock: SpinLocksHandle;
}

/**
 * Options of {@link SharedPages.create}.
 *
 * @public
 */
export interface SharedPagesOptions {
  /** Bytes of the arena, below 2^31; rounded down to whole pages. The first page is reserved. */
  readonly bytes: number;
  /** Bytes of a page, a power of two of at least 256. Default 4096. */
  readonly pageBytes?: number;
  readonly hal?: Hal;
  readonly lockObserver?: LockObserver | undefined;
}

/**
 * The default {@link PageSource}: a binary buddy allocator over one plain `SharedArrayBuffer`.
 *
 * Thread-safety: any CPU, under one spin lock. Cost: O(log of the arena's pages).
 *
 * @public
 */
export class SharedPages implements PageSource {
  readonly handle: SharedPagesHandle;
  readonly buffer: SharedArrayBuffer;
  readonly pageBytes: number;
  readonly #pages: number;
  readonly #words: Int32Array;
  readonly #lock: SpinLocks;

  private constructor(handle: SharedPagesHandle, hal: Hal, lockObserver: LockObserver | undefined) {
    this.handle = handle;
    this.buffer = handle.buffer;
    this.pageBytes = handle.pageBytes;
    this.#pages = Math.floor(handle.buffer.byteLength / handle.pageBytes);
    this.#words = new Int32Array(handle.control);
    this.#lock = SpinLocks.attach(handle.lock, { hal, observer: lockObserver });
  }

  static create(options: SharedPagesOptions): SharedPages {
    const { bytes, pageBytes = 4096, hal = soloHal(), lockObserver } = options;
    if (!Number.isInteger(pageBytes) || pageBytes < MIN_PAGE_BYTES || (pageBytes & (pageBytes - 1)) !== 0) {
      throw new SlabError("SLAB_INVALID_ARGUMENT", `a page of ${pageBytes} bytes; a power of two from 256 is needed`);
    }
    if (!(bytes >= 2 * pageBytes && bytes <= MAX_BYTES)) {
      throw new SlabError("SLAB_INVALID_ARGUMENT", `an arena of ${bytes} bytes; ${2 * pageBytes} to ${MAX_BYTES} fit`);
    }
    const pages = Math.floor(bytes / pageBytes);
    const buffer = new SharedArrayBuffer(pages * pageBytes);
    const control = new SharedArrayBuffer((MAP_WORD + pages * WORDS_PER_PAGE) * 4);
    const lock = SpinLocks.create({ name: "shared-pages", hal }).handle;
    const arena = new SharedPages({ buffer, control, pageBytes, lock }, hal, lockObserver);
    arena.#seed();
    return arena;
  }

  static attach(
    handle: SharedPagesHandle,
    options: { readonly hal?: Hal; readonly lockObserver?: LockObserver | undefined } = {},
  ): SharedPages {
    return new SharedPages(handle, options.hal ?? soloHal(), options.lockObserver);
  }

  /** Pages the arena can give out when nothing is taken. */
  get totalPages(): number {
    return this.#pages - 1;
  }

  /** Pages that are free now. */
  get freePageCount(): number {
    return Atomics.load(this.#words, FREE_PAGES_WORD);
  }

  allocPages(order: number, _node?: number): number {
    if (!(order >= 0 && order <= MAX_ORDER)) throw new SlabError("SLAB_INVALID_ARGUMENT", `order ${order} of 0 to 30`);
    this.#lock.lock(0);
    const page = this.#take(order);
    this.#lock.unlock(0);
    return page * this.pageBytes;
  }

  freePages(offset: number, order: number): void {
    const page = offset / this.pageBytes;
    this.#lock.lock(0);
    const state = Number.isInteger(page) && page > 0 && page < this.#pages ? this.#words[this.#at(page)] : 0;
    if (state === -(order + 1)) this.#give(page, order);
    this.#lock.unlock(0);
    if (state === -(order + 1)) return;
    if (state > 0) throw new SlabError("SLAB_DOUBLE_FREE", `the block at ${offset} is free already`);
    throw new SlabError("SLAB_FOREIGN_OBJECT", `no block of order ${order} was given out at ${offset}`);
  }

  #at(page: number): number {
    return MAP_WORD + page * WORDS_PER_PAGE;
  }

  /** Split [1, pages) into the largest aligned blocks. */
  #seed(): void {
    let page = 1;
    while (page < this.#pages) {
      let order = 31 - Math.clz32(page & -page);
      while (page + 2 ** order > this.#pages) order--;
      this.#push(page, order);
      page += 2 ** order;
    }
    this.#words[FREE_PAGES_WORD] = this.#pages - 1;
  }

  #take(order: number): number {
    let from = order;
    while (from <= MAX_ORDER && this.#words[HEADS_WORD + from] === 0) from++;
    if (from > MAX_ORDER) return 0;
    const page = this.#words[HEADS_WORD + from];
    this.#unlink(page, from);
    while (from > order) {
      from--;
      this.#push(page + 2 ** from, from);
    }
    this.#words[this.#at(page)] = -(order + 1);
    Atomics.sub(this.#words, FREE_PAGES_WORD, 2 ** order);
    return page;
  }

  #give(first: number, firstOrder: number): void {
    let page = first;
    let order = firstOrder;
    Atomics.add(this.#words, FREE_PAGES_WORD, 2 ** order);
    this.#words[this.#at(page)] = 0;
    for (; order < MAX_ORDER; order++) {
      const buddy = page ^ (2 ** order);
      if (buddy === 0 || buddy >= this.#pages || this.#words[this.#at(buddy)] !== order + 1) break;
      this.#unlink(buddy, order);
      page = Math.min(page, buddy);
    }
    this.#push(page, order);
  }

  #push(page: number, order: number): void {
    const words = this.#words;
    const at = this.#at(page);
    const head = words[HEADS_WORD + order];
    words[at] = order + 1;
    words[at + NEXT] = head;
    words[at + PREVIOUS] = 0;
    if (head !== 0) words[this.#at(head) + PREVIOUS] = page;
    words[HEADS_WORD + order] = page;
  }

  #unlink(page: number, order: number): void {
    const words = this.#words;
    const at = this.#at(page);
    const next = words[at + NEXT];
    const previous = words[at + PREVIOUS];
    words[at] = 0;
    if (previous === 0) words[HEADS_WORD + order] = next;
    else words[this.#at(previous) + NEXT] = next;
    if (next !== 0) words[this.#at(next) + PREVIOUS] = previous;
  }
}

/**
 * Short for {@link SharedPages.create}.
 *
 * @public
 */
export function sharedPages(options: SharedPagesOptions): SharedPages {
  return SharedPages.create(options);
}
