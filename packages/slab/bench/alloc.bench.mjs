// Allocate, touch, free. Every peer returns something whose first word can be written; only ours and the locked pool may be
// used by several threads at once.
import { MemPool } from "@thi.ng/malloc";
import { KmemCache } from "@x/slab";

const BYTES = 128;
const BATCH = 64;
const LIVE = 4096;
const POOL_BYTES = 8 << 20;

/** The allocators under one interface: `alloc` gives a byte offset or an object, `touch` writes its first word. */
function slab() {
  const cache = KmemCache.create({ name: "bench", objectSize: BYTES });
  const words = new Int32Array(cache.buffer);
  return {
    alloc: () => cache.alloc(),
    free: (object) => cache.free(object),
    touch: (object, value) => (words[object >> 2] = value),
  };
}

function memPool() {
  const pool = new MemPool({ buf: new SharedArrayBuffer(POOL_BYTES) });
  const words = new Int32Array(pool.buf);
  return {
    alloc: () => pool.malloc(BYTES),
    free: (object) => pool.free(object),
    touch: (object, value) => (words[object >> 2] = value),
  };
}

function lockedMemPool() {
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

const buffers = () => ({
  alloc: () => Buffer.allocUnsafe(BYTES),
  free: () => undefined,
  touch: (object, value) => (object[0] = value),
});

const sharedArrays = () => ({
  alloc: () => new Int32Array(new SharedArrayBuffer(BYTES)),
  free: () => undefined,
  touch: (object, value) => (object[0] = value),
});

function pairs({ alloc, free, touch }) {
  return () => {
    let last = 0;
    for (let i = 0; i < BATCH; i++) {
      const object = alloc();
      last = touch(object, i);
      free(object);
    }
    return last;
  };
}

function batches({ alloc, free, touch }) {
  const list = Array.from({ length: BATCH }, () => 0);
  return () => {
    for (let i = 0; i < BATCH; i++) touch((list[i] = alloc()), i);
    for (let i = 0; i < BATCH; i++) free(list[i]);
    return list[0];
  };
}

function replacements({ alloc, free, touch }) {
  const live = Array.from({ length: LIVE }, alloc);
  let seed = 1;
  return () => {
    for (let i = 0; i < BATCH; i++) {
      seed = (Math.imul(seed, 1664525) + 1013904223) | 0;
      const slot = (seed >>> 8) % LIVE;
      free(live[slot]);
      touch((live[slot] = alloc()), i);
    }
    return live[0];
  };
}

const makers = {
  "@thi.ng/malloc (one thread)": memPool,
  "@thi.ng/malloc and a lock": lockedMemPool,
  "Buffer.allocUnsafe (not shared)": buffers,
  "new SharedArrayBuffer": sharedArrays,
};

const compare = (name, shape) => ({
  name,
  unit: "ns/op",
  ops: BATCH,
  setup: async () => ({
    ours: shape(slab()),
    peers: Object.fromEntries(Object.entries(makers).map(([peer, make]) => [peer, shape(make())])),
  }),
});

export default [
  compare("alloc + touch + free, 128 B", pairs),
  compare("64 x alloc, then 64 x free, 128 B", batches),
  compare("replace a random one of 4096 live, 128 B", replacements),
];
