import { soloHal, SpinLocks } from "@x/smp";
import type { Hal, LockObserver, SpinLocksHandle } from "@x/smp";
import { SlabError } from "./errors.ts";
import type { PageSource } from "./page-source.ts";

/*
 * A binary buddy allocator (Knowlton 1965; Knuth, TAOCP 1, 2.5). Control memory, Int32 words, all under lock 0:
 *
 *   word 0             free pages
 *   words 1..31        head of the free list of each order (page number, 0 = empty)
 *   word 32            pages of the arena now
 *   word 33            1: the last holder of the lock died; whoever has the lock repairs the lists first
 *   from MAP_WORD      per page that the arena can have: state, next, previous
 *
 * state of the first page of a block: order + 1 when free, -(order + 1) when given out; 0 for every other page. The
 * blocks given out are the truth, from which everything else can be made anew after a death.
 * Page 0 is never free, so that offset 0 can mean «none» and 0 can end a list.
 */
const FREE_PAGES_WORD = 0;
const HEADS_WORD = 1;
const MAX_ORDER = 30;
const PAGES_WORD = 32;
const BROKEN_WORD = 33;
const MAP_WORD = 64;
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
  /**
   * Bytes to which the arena may grow, by doubling, when it is used up. Views without a length follow it. Where
   * `SharedArrayBuffer` cannot grow, the arena has this size from the start. Default: `bytes`.
   */
  readonly maxBytes?: number;
  /**
   * The memory to give out instead of memory of its own: the buffer of a shared `WebAssembly.Memory`, for example. It has `bytes`, whole pages,
   * and does not grow.
   */
  readonly buffer?: SharedArrayBuffer;
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
  readonly #words: Int32Array;
  readonly #lock: SpinLocks;

  private constructor(handle: SharedPagesHandle, hal: Hal, lockObserver: LockObserver | undefined) {
    this.handle = handle;
    this.buffer = handle.buffer;
    this.pageBytes = handle.pageBytes;
    this.#words = new Int32Array(handle.control);
    this.#lock = SpinLocks.attach(handle.lock, { hal, observer: lockObserver });
  }

  static create(options: SharedPagesOptions): SharedPages {
    const { bytes, pageBytes = 4096, hal = soloHal(), lockObserver } = options;
    if (!Number.isInteger(pageBytes) || pageBytes < MIN_PAGE_BYTES || (pageBytes & (pageBytes - 1)) !== 0) {
      throw new SlabError("SLAB_INVALID_ARGUMENT", `a page of ${pageBytes} bytes; a power of two from 256 is needed`);
    }
    const maxBytes = options.maxBytes ?? bytes;
    if (!(bytes >= 2 * pageBytes && bytes <= maxBytes && maxBytes <= MAX_BYTES)) {
      const range = `${2 * pageBytes} to ${MAX_BYTES}`;
      throw new SlabError("SLAB_INVALID_ARGUMENT", `an arena of ${bytes} to ${maxBytes} bytes; ${range} fit`);
    }
    const maxPages = Math.floor(maxBytes / pageBytes);
    if (options.buffer !== undefined && !isOfPages(options.buffer, bytes, maxBytes, pageBytes)) {
      const reason = `a buffer of ${limitOf(options.buffer)} bytes for an arena of ${bytes} to ${maxBytes}`;
      throw new SlabError("SLAB_INVALID_ARGUMENT", reason);
    }
    const buffer = options.buffer ?? reserve(Math.floor(bytes / pageBytes) * pageBytes, maxPages * pageBytes);
    const control = new SharedArrayBuffer((MAP_WORD + maxPages * WORDS_PER_PAGE) * 4);
    const lock = SpinLocks.create({ name: "shared-pages", hal }).handle;
    const arena = new SharedPages({ buffer, control, pageBytes, lock }, hal, lockObserver);
    arena.#words[PAGES_WORD] = buffer.byteLength / pageBytes;
    arena.#add(1, arena.#words[PAGES_WORD]);
    return arena;
  }

  static attach(
    handle: SharedPagesHandle,
    options: { readonly hal?: Hal; readonly lockObserver?: LockObserver | undefined } = {},
  ): SharedPages {
    return new SharedPages(handle, options.hal ?? soloHal(), options.lockObserver);
  }

  /** Pages the arena can give out when nothing is taken, at its present size. */
  get totalPages(): number {
    return Atomics.load(this.#words, PAGES_WORD) - 1;
  }

  /** Pages that are free now. */
  get freePageCount(): number {
    return Atomics.load(this.#words, FREE_PAGES_WORD);
  }

  allocPages(order: number, _node?: number): number {
    if (!(order >= 0 && order <= MAX_ORDER)) throw new SlabError("SLAB_INVALID_ARGUMENT", `order ${order} of 0 to 30`);
    this.#acquire();
    let page = this.#take(order);
    while (page === 0 && this.#grow()) page = this.#take(order);
    this.#lock.unlock(0);
    return page * this.pageBytes;
  }

  freePages(offset: number, order: number): void {
    const page = offset / this.pageBytes;
    this.#acquire();
    const state =
      Number.isInteger(page) && page > 0 && page < this.#words[PAGES_WORD] ? this.#words[this.#at(page)] : 0;
    if (state === -(order + 1)) this.#give(page, order);
    this.#lock.unlock(0);
    if (state === -(order + 1)) return;
    if (state > 0) throw new SlabError("SLAB_DOUBLE_FREE", `the block at ${offset} is free already`);
    throw new SlabError("SLAB_FOREIGN_OBJECT", `no block of order ${order} was given out at ${offset}`);
  }

  /** The thread of `cpu` has died: free the lock if it held it. A block that was on its way to it or from it may be lost. */
  reportDead(cpu: number): void {
    if (this.#lock.owner(0) !== cpu) return;
    Atomics.store(this.#words, BROKEN_WORD, 1);
    this.#lock.releaseDeadOwner(cpu);
  }

  #acquire(): void {
    this.#lock.lock(0);
    if (Atomics.load(this.#words, BROKEN_WORD) !== 0) this.#repair();
  }

  /** Make the lists anew from the blocks that are given out. */
  #repair(): void {
    const words = this.#words;
    const pages = words[PAGES_WORD];
    words.fill(0, HEADS_WORD, HEADS_WORD + MAX_ORDER + 1);
    Atomics.store(words, FREE_PAGES_WORD, 0);
    let free = 1;
    for (let page = 1; page < pages;) {
      const state = words[this.#at(page)];
      if (state >= 0) {
        words[this.#at(page++)] = 0;
        continue;
      }
      this.#add(free, page);
      page += 2 ** (-state - 1);
      free = page;
    }
    this.#add(free, pages);
    Atomics.store(words, BROKEN_WORD, 0);
  }

  #at(page: number): number {
    return MAP_WORD + page * WORDS_PER_PAGE;
  }

  /** Add the pages from `from` to `to - 1` to the free ones, in the largest aligned blocks. */
  #add(from: number, to: number): void {
    for (let page = from; page < to;) {
      let order = 31 - Math.clz32(page & -page);
      while (page + 2 ** order > to) order--;
      this.#give(page, order);
      page += 2 ** order;
    }
  }

  /** Double the arena; false when it has its full size. A buffer that grows by other means does so for other uses. */
  #grow(): boolean {
    const buffer = growable(this.buffer);
    if (buffer === undefined) return false;
    const before = this.#words[PAGES_WORD];
    const after = Math.min(before * 2, Math.floor(buffer.maxByteLength / this.pageBytes));
    if (after === before) return false;
    buffer.grow(after * this.pageBytes);
    Atomics.store(this.#words, PAGES_WORD, after);
    this.#add(before, after);
    return true;
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
      if (buddy === 0 || buddy >= this.#words[PAGES_WORD] || this.#words[this.#at(buddy)] !== order + 1) break;
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

/** What ES2024 adds to `SharedArrayBuffer`. */
interface GrowableBuffer {
  readonly growable: boolean;
  readonly maxByteLength: number;
  grow(bytes: number): void;
}

/** The buffer as a growable one; undefined where the engine has none or this one cannot grow. */
function growable(buffer: SharedArrayBuffer): GrowableBuffer | undefined {
  const candidate = buffer as SharedArrayBuffer & Partial<GrowableBuffer>;
  return candidate.growable === true ? (candidate as GrowableBuffer & SharedArrayBuffer) : undefined;
}

/** Bytes that `buffer` has or can grow to. */
export function limitOf(buffer: SharedArrayBuffer): number {
  return growable(buffer)?.maxByteLength ?? buffer.byteLength;
}

/** Whether a buffer that is to be the arena has all its pages and no others. */
function isOfPages(buffer: SharedArrayBuffer, bytes: number, maxBytes: number, pageBytes: number): boolean {
  const pages = Math.floor(bytes / pageBytes);
  return limitOf(buffer) === pages * pageBytes && Math.floor(maxBytes / pageBytes) === pages;
}

function reserve(bytes: number, maxBytes: number): SharedArrayBuffer {
  if (bytes === maxBytes) return new SharedArrayBuffer(bytes);
  const Growable = SharedArrayBuffer as new (bytes: number, options: { maxByteLength: number }) => SharedArrayBuffer;
  const buffer = new Growable(bytes, { maxByteLength: maxBytes });
  return growable(buffer) === undefined ? new SharedArrayBuffer(maxBytes) : buffer;
}

/**
 * Short for {@link SharedPages.create}.
 *
 * @public
 */
export function sharedPages(options: SharedPagesOptions): SharedPages {
  return SharedPages.create(options);
}
