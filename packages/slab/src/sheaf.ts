import { SlabError } from "./errors.ts";
import type { KmemCache } from "./kmem-cache.ts";

/**
 * Objects allocated in advance, from {@link KmemCache.sheaf}: fill it where failing is possible, then allocate in the
 * critical section, where it is not (Linux: `kmem_cache_prefill_sheaf`).
 *
 * Thread-safety: one thread at a time; it does not matter on which CPU. Its objects count as active. Cost of `alloc`: a
 * load and a store, no lock and no call into the cache. When its thread dies its objects stay allocated.
 *
 * @public
 */
export class Sheaf implements Disposable {
  readonly cache: KmemCache;
  /** Most objects it can hold. */
  readonly capacity: number;
  readonly #objects: Int32Array;
  #size = 0;

  /** @internal */
  constructor(cache: KmemCache, capacity: number) {
    if (!Number.isInteger(capacity) || capacity < 1) {
      throw new SlabError("SLAB_INVALID_ARGUMENT", `a sheaf of ${capacity} objects; a positive integer is needed`);
    }
    this.cache = cache;
    this.capacity = capacity;
    this.#objects = new Int32Array(capacity);
  }

  /** Objects that `alloc` can give before the next `prefill`. */
  get size(): number {
    return this.#size;
  }

  /**
   * Make sure that the next `count` calls of `alloc` succeed. False when memory does not suffice: then nothing is taken.
   * Throws `SLAB_INVALID_ARGUMENT` beyond the capacity.
   */
  prefill(count: number = this.capacity): boolean {
    if (!(count <= this.capacity)) {
      throw new SlabError("SLAB_INVALID_ARGUMENT", `${count} objects do not fit a sheaf of ${this.capacity}`);
    }
    const before = this.#size;
    while (this.#size < count) {
      const object = this.cache.alloc();
      if (object === 0) {
        this.#release(before);
        return false;
      }
      this.#objects[this.#size++] = object;
    }
    return true;
  }

  /** One of the objects, its bytes undefined. Throws `SLAB_EXHAUSTED` when there is none: then too few were prefilled. */
  alloc(): number {
    if (this.#size === 0) throw new SlabError("SLAB_EXHAUSTED", `the sheaf of ${this.cache.name} is used up`);
    return this.#objects[--this.#size];
  }

  /** Give what is left back to the cache. */
  [Symbol.dispose](): void {
    this.#release(0);
  }

  #release(keep: number): void {
    while (this.#size > keep) this.cache.free(this.#objects[--this.#size]);
  }
}
