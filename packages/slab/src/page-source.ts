/**
 * Where slabs come from: blocks of `pageBytes << order` bytes inside one shared buffer.
 *
 * A block must start at a multiple of its own size (as buddy allocators give it), because the slab of an object is found
 * by masking the object's offset. Offset 0 is never given out; it means «none».
 *
 * Thread-safety: `allocPages` and `freePages` may be called by any CPU; no lock of a cache is held during the call.
 *
 * @public
 */
export interface PageSource {
  readonly buffer: SharedArrayBuffer;
  /** Bytes of one page, a power of two. */
  readonly pageBytes: number;
  /** Byte offset of a block of `2 ** order` pages, or 0. `node` is the preferred memory node, -1 or absent: any. */
  allocPages(order: number, node?: number): number;
  freePages(offset: number, order: number): void;
  /** The memory node that holds `offset`. Absent: all memory is equally near. */
  nodeOf?(offset: number): number;
  /** The memory node of a CPU. Absent: see `nodeOfCpu` of the cache. */
  nodeOfCpu?(cpu: number): number;
  /** The thread of `cpu` has died: take over what it held. Called by `KmemCache.reportDead` before it uses the source. */
  reportDead?(cpu: number): void;
}

/**
 * How to know that every reader that could see an object has gone on; `Rcu` of `@x/rcu` is one.
 *
 * Thread-safety: called by any CPU, with a spin lock of the cache held: it must neither block nor use the cache.
 *
 * @public
 */
export interface GracePeriods {
  /** A cookie for the grace period that begins now. */
  startPoll(): number;
  /** Whether the grace period of `cookie` is over. */
  poll(cookie: number): boolean;
}
