import { soloHal } from "@x/smp";
import type { Hal, LockObserver } from "@x/smp";
import type { DebugModes } from "./debug.ts";
import { SlabError } from "./errors.ts";
import { HEADER_BYTES } from "./geometry.ts";
import { KmemCache } from "./kmem-cache.ts";
import type { KmemCacheHandle, LeakedObject, SlabObserver } from "./options.ts";
import type { PageSource } from "./page-source.ts";
import { limitOf, SharedPages } from "./shared-pages.ts";
import type { SharedPagesHandle } from "./shared-pages.ts";
import { HOME_WORD, TAG_SHIFT } from "./slab-layer.ts";

/*
 * All slabs of all classes have SLAB_BYTES and are aligned to it, so that the header of the slab, and in it the class, is
 * found by masking an offset. What fits no class has blocks of its own, at least as large, with a header of its own:
 *
 *   | magic, order, bytes, -, tag 0 | … HEADER_BYTES | … LARGE_OFFSET | the user's bytes … |
 */
const SLAB_BYTES = 32 * 1024;
/** Powers of two and what lies between, then whatever fits a slab 5, 3 or 2 times; from 64 on multiples of 64, and so are their objects. */
const CLASSES = [
  8, 16, 32, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096, 6528, 10_880, 16_320,
] as const;
const LARGEST_CLASS = CLASSES[CLASSES.length - 1];
const CLASS_STEP = 8;

const LARGE_MAGIC = 0x4c415247;
const LARGE_ORDER = 1;
const LARGE_BYTES = 2;
const LARGE_OFFSET = 64;
const MAX_BYTES = 2 ** 30;

/** Words of the shared memory of a {@link Kmalloc}. */
const LARGE_COUNT_WORD = 0;

if (LARGE_OFFSET < HEADER_BYTES) throw new Error("the header of a large block overlaps the user's bytes");

/**
 * Options of {@link Kmalloc.create}.
 *
 * @public
 */
export interface KmallocOptions {
  /** Where slabs and large blocks come from; pages of at most 32 KiB. Default: {@link SharedPages} of 16 MiB. */
  readonly pages?: PageSource;
  readonly hal?: Hal;
  /**
   * See {@link KmemCacheOptions.debug}; with red zones the bytes of a class that were not asked for are zone as well. Large blocks have no
   * debug words.
   */
  readonly debug?: boolean | Partial<DebugModes>;
  readonly observer?: SlabObserver | undefined;
  readonly lockObserver?: LockObserver | undefined;
}

/**
 * What joins a {@link Kmalloc} from another thread.
 *
 * @public
 */
export interface KmallocHandle {
  readonly caches: readonly KmemCacheHandle[];
  readonly memory: SharedArrayBuffer;
  readonly pages?: SharedPagesHandle;
}

/**
 * Memory of any size in one shared buffer: a {@link KmemCache} for each of 19 size classes up to 16 320 bytes, blocks of
 * the page source beyond. Sizes that are multiples of 64 start at multiples of 64, all others at multiples of 8.
 *
 * Thread-safety: one instance per thread. Cost: that of the cache, and one look at a table.
 *
 * @public
 */
export class Kmalloc {
  readonly handle: KmallocHandle;
  readonly buffer: SharedArrayBuffer;
  /** The caches of the size classes, smallest first: for `slabInfo` and `slabTop`. */
  readonly caches: readonly KmemCache[];
  readonly #pages: PageSource;
  readonly #words: Int32Array;
  readonly #memory: Int32Array;
  /** Class of `(size + 7) >> 3`. */
  readonly #classOf: Uint8Array;
  /** Red zones begin behind the bytes that were asked for. */
  readonly #redZones: boolean;

  private constructor(handle: KmallocHandle, pages: PageSource, caches: readonly KmemCache[]) {
    const { buffer } = pages;
    this.handle = handle;
    this.buffer = buffer;
    this.caches = caches;
    this.#pages = pages;
    this.#words =
      limitOf(buffer) > buffer.byteLength ? new Int32Array(buffer) : new Int32Array(buffer, 0, buffer.byteLength >> 2);
    this.#memory = new Int32Array(handle.memory);
    this.#redZones = handle.caches[0].debug?.redZones === true;
    this.#classOf = Uint8Array.from({ length: LARGEST_CLASS / CLASS_STEP + 1 }, (_, i) =>
      CLASSES.findIndex((bytes) => bytes >= i * CLASS_STEP),
    );
  }

  /** Throws `SLAB_INVALID_ARGUMENT` for pages above 32 KiB. */
  static create(options: KmallocOptions = {}): Kmalloc {
    const { hal = soloHal(), debug = false, observer, lockObserver } = options;
    const own =
      options.pages === undefined ? SharedPages.create({ bytes: 16 * 2 ** 20, hal, lockObserver }) : undefined;
    const pages = options.pages ?? own!;
    const slabOrder = Math.log2(SLAB_BYTES / pages.pageBytes);
    if (!(slabOrder >= 0)) {
      throw new SlabError("SLAB_INVALID_ARGUMENT", `pages of ${pages.pageBytes} bytes; ${SLAB_BYTES} is the most`);
    }
    const caches = CLASSES.map((objectSize, index) => {
      const align = objectSize % 64 === 0 ? 64 : 8;
      const name = `kmalloc-${objectSize}`;
      const shared = { hal, pages, debug, observer, lockObserver };
      return KmemCache.createTagged({ name, objectSize, align, slabOrder, ...shared }, index + 1);
    });
    const handle: KmallocHandle = {
      caches: caches.map((cache) => cache.handle),
      memory: new SharedArrayBuffer(64),
      ...(own === undefined ? {} : { pages: own.handle }),
    };
    return new Kmalloc(handle, pages, caches);
  }

  /** Join from another thread. `pages` is needed unless they were made by {@link Kmalloc.create}. */
  static attach(handle: KmallocHandle, options: Omit<KmallocOptions, "debug"> = {}): Kmalloc {
    const { hal = soloHal(), observer, lockObserver } = options;
    const pages = options.pages ?? (handle.pages === undefined ? undefined : SharedPages.attach(handle.pages, { hal }));
    if (pages === undefined) throw new SlabError("SLAB_PAGE_SOURCE", "Kmalloc needs its page source to attach");
    const shared = { hal, pages, observer, lockObserver };
    return new Kmalloc(
      handle,
      pages,
      handle.caches.map((cache) => KmemCache.attach(cache, shared)),
    );
  }

  /** Blocks beyond the size classes that are out. */
  get largeBlocks(): number {
    return Atomics.load(this.#memory, LARGE_COUNT_WORD);
  }

  /** Offset of at least `bytes` bytes, undefined in content; 0 when nothing is left. Throws `SLAB_INVALID_ARGUMENT`. */
  kmalloc(bytes: number): number {
    if (!(bytes > 0 && bytes <= MAX_BYTES)) {
      throw new SlabError("SLAB_INVALID_ARGUMENT", `${bytes} bytes; 1 to ${MAX_BYTES} are possible`);
    }
    if (bytes > LARGEST_CLASS) return this.#allocLarge(bytes);
    const cache = this.caches[this.#classOf[Math.ceil(bytes / CLASS_STEP)]];
    const offset = cache.alloc();
    if (this.#redZones && offset !== 0) cache.narrow(offset, bytes);
    return offset;
  }

  /** Take back what `kmalloc` or `krealloc` gave; 0 is ignored. Throws what {@link KmemCache.free} throws. */
  kfree(offset: number): void {
    if (offset === 0) return;
    const cache = this.#cacheOf(offset);
    if (cache === undefined) this.#freeLarge(offset);
    else cache.free(offset);
  }

  /**
   * Memory of `bytes` bytes with the content of `offset`, which is freed, as far as it fits. The same offset when there is
   * room for it there. 0 when nothing is left: then `offset` stays as it was. `offset` 0 allocates; `bytes` 0 frees.
   */
  krealloc(offset: number, bytes: number): number {
    if (offset === 0) return this.kmalloc(bytes);
    if (bytes === 0) {
      this.kfree(offset);
      return 0;
    }
    const cache = this.#cacheOf(offset);
    const room = this.usableSize(offset);
    if (bytes <= (cache?.objectSize ?? room)) {
      cache?.narrow(offset, bytes);
      return offset;
    }
    const larger = this.kmalloc(bytes);
    if (larger === 0) return 0;
    this.#words.copyWithin(larger >> 2, offset >> 2, (offset + room + 3) >> 2);
    this.kfree(offset);
    return larger;
  }

  /** Bytes that may be used at `offset`: at least as many as were asked for, with red zones just those. Throws `SLAB_FOREIGN_OBJECT`. */
  usableSize(offset: number): number {
    return this.#cacheOf(offset)?.usableSize(offset) ?? this.#words[this.#largeHeader(offset) + LARGE_BYTES];
  }

  /** Return empty slabs of every class to the page source; returns how many. */
  shrink(): number {
    return this.caches.reduce((returned, cache) => returned + cache.shrink(), 0);
  }

  /** {@link KmemCache.reportDead} of every class. */
  reportDead(cpu: number): number {
    return this.caches.reduce((objects, cache) => objects + cache.reportDead(cpu), 0);
  }

  /** {@link KmemCache.destroy} of every class. Returns how many objects and large blocks leaked. */
  destroy(report?: (leak: LeakedObject) => void): number {
    return this.caches.reduce((leaks, cache) => leaks + cache.destroy(report), 0) + this.largeBlocks;
  }

  /** Undefined: not of a class. */
  #cacheOf(offset: number): KmemCache | undefined {
    if (!(offset > 0 && offset < this.buffer.byteLength)) this.#foreign(offset);
    const tag = this.#words[((offset & -SLAB_BYTES) >> 2) + HOME_WORD] >>> TAG_SHIFT;
    if (tag > this.caches.length) this.#foreign(offset);
    return tag === 0 ? undefined : this.caches[tag - 1];
  }

  #allocLarge(bytes: number): number {
    const smallest = Math.log2(SLAB_BYTES / this.#pages.pageBytes);
    const order = Math.max(smallest, Math.ceil(Math.log2((bytes + LARGE_OFFSET) / this.#pages.pageBytes)));
    const block = this.#pages.allocPages(order, -1);
    if (block === 0) return 0;
    const at = block >> 2;
    this.#words[at] = LARGE_MAGIC ^ at;
    this.#words[at + LARGE_ORDER] = order;
    this.#words[at + LARGE_BYTES] = this.#pages.pageBytes * 2 ** order - LARGE_OFFSET;
    this.#words[at + HOME_WORD] = 0;
    Atomics.add(this.#memory, LARGE_COUNT_WORD, 1);
    return block + LARGE_OFFSET;
  }

  #freeLarge(offset: number): void {
    const at = this.#largeHeader(offset);
    this.#words[at] = 0;
    Atomics.sub(this.#memory, LARGE_COUNT_WORD, 1);
    this.#pages.freePages(at * 4, this.#words[at + LARGE_ORDER]);
  }

  #largeHeader(offset: number): number {
    const at = (offset - LARGE_OFFSET) >> 2;
    if (offset % SLAB_BYTES !== LARGE_OFFSET || this.#words[at] !== (LARGE_MAGIC ^ at)) this.#foreign(offset);
    return at;
  }

  #foreign(offset: number): never {
    throw new SlabError("SLAB_FOREIGN_OBJECT", `nothing was given out at ${offset}`);
  }
}
