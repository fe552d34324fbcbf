// The allocators that are compared, under one interface: `alloc` gives a byte offset or an object, `free` takes it back,
// `touch` writes its first word. Those with a `handle` can be joined by another thread.
import { MemPool } from "@thi.ng/malloc";
import { KmemCache, SharedPages } from "@x/slab";

export const BYTES = 128;
const POOL_BYTES = 8 << 20;
const OBJECTS = 1 << 15;

const overWords = (buffer, more) => {
  const words = new Int32Array(buffer);
  return { touch: (object, value) => (words[object >> 2] = value), ...more };
};

/** The cache as its CPU sees it. */
export function slab({ hal, handle } = {}) {
  const cache = slabCache(hal, handle);
  const cpu = cache.onThisCpu();
  return overWords(cache.buffer, {
    handle: cache.handle,
    alloc: () => cpu.alloc(),
    free: (object) => cpu.free(object),
  });
}

/** The cache that asks the hal for the CPU each time. */
export function slabAsking() {
  const cache = slabCache();
  return overWords(cache.buffer, { alloc: () => cache.alloc(), free: (object) => cache.free(object) });
}

const slabCache = (hal, handle) =>
  handle ? KmemCache.attach(handle, { hal }) : KmemCache.create({ name: "bench", objectSize: BYTES, hal });

/** A free list as a stack (Treiber 1986), head = tag and index in 32 bits against ABA. */
export function treiber({ handle } = {}) {
  const memory = handle ?? {
    links: new SharedArrayBuffer((OBJECTS + 32) * 4),
    objects: new SharedArrayBuffer(OBJECTS * BYTES),
  };
  const links = new Int32Array(memory.links); // word 0: head; from 32: next of each object
  if (!handle) for (let i = 1; i < OBJECTS; i++) links[32 + i - 1] = i;
  if (!handle) Atomics.store(links, 0, 1);
  return overWords(memory.objects, {
    handle: memory,
    alloc: () => {
      for (;;) {
        const head = Atomics.load(links, 0);
        const index = head & 0xffff;
        if (index === 0) return 0;
        const next = (((head >>> 16) + 1) << 16) | Atomics.load(links, 32 + index);
        if (Atomics.compareExchange(links, 0, head, next) === head) return index * BYTES;
      }
    },
    free: (object) => {
      const index = object / BYTES;
      for (;;) {
        const head = Atomics.load(links, 0);
        Atomics.store(links, 32 + index, head & 0xffff);
        if (Atomics.compareExchange(links, 0, head, (((head >>> 16) + 1) << 16) | index) === head) return;
      }
    },
  });
}

/** What serves when there is no cache: the page allocator under its lock, blocks of the next power of two. */
export function pages({ hal, handle } = {}) {
  const arena = handle
    ? SharedPages.attach(handle, { hal })
    : SharedPages.create({ bytes: 8 << 20, pageBytes: 256, ...(hal ? { hal } : {}) });
  return overWords(arena.buffer, {
    handle: arena.handle,
    alloc: () => arena.allocPages(0),
    free: (object) => arena.freePages(object, 0),
  });
}

export function memPool() {
  const pool = new MemPool({ buf: new SharedArrayBuffer(POOL_BYTES) });
  return overWords(pool.buf, { alloc: () => pool.malloc(BYTES), free: (object) => pool.free(object) });
}

export function lockedMemPool() {
  const pool = memPool();
  const lock = new Int32Array(new SharedArrayBuffer(4));
  const locked = (action) => {
    while (Atomics.compareExchange(lock, 0, 0, 1) !== 0);
    const result = action();
    Atomics.store(lock, 0, 0);
    return result;
  };
  return { ...pool, alloc: () => locked(pool.alloc), free: (object) => locked(() => pool.free(object)) };
}

export const buffers = () => ({
  alloc: () => Buffer.allocUnsafe(BYTES),
  free: () => undefined,
  touch: (object, value) => (object[0] = value),
});

export const sharedArrays = () => ({
  alloc: () => new Int32Array(new SharedArrayBuffer(BYTES)),
  free: () => undefined,
  touch: (object, value) => (object[0] = value),
});

const plain = () => ({ state: 0, bytes: 0, source: 0, target: 0, next: undefined });

export const freshObjects = () => ({
  alloc: plain,
  free: () => undefined,
  touch: (object, value) => (object.state = value),
});

export function pooledObjects() {
  const pool = [];
  return {
    alloc: () => pool.pop() ?? plain(),
    free: (object) => pool.push(object),
    touch: (object, value) => (object.state = value),
  };
}

/** Those that two threads can share. */
export const byKind = { slab, treiber, pages };
