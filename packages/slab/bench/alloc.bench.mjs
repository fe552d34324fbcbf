// Allocate, touch, free on one thread. Only ours, the free list, the locked pages and the locked pool may be used by several
// threads at once.
import * as allocators from "./lib/allocators.mjs";
import { BATCH, batches, pairs, replacements } from "./lib/shapes.mjs";

const shared = {
  "Treiber free list": allocators.treiber,
  "@thi.ng/malloc (one thread)": allocators.memPool,
  "@thi.ng/malloc and a lock": allocators.lockedMemPool,
  "Buffer.allocUnsafe (not shared)": allocators.buffers,
  "new SharedArrayBuffer": allocators.sharedArrays,
};
const general = { "locked pages, no cache": allocators.pages };
const plain = {
  "pooled JS objects (not shared)": allocators.pooledObjects,
  "fresh JS objects (not shared)": allocators.freshObjects,
};

const compare = (name, shape, makers, ours = allocators.slab) => ({
  name,
  unit: "ns/op",
  ops: BATCH,
  setup: async () => ({
    ours: shape(ours()),
    peers: Object.fromEntries(Object.entries(makers).map(([peer, make]) => [peer, shape(make())])),
  }),
});

const PAIR = "alloc + touch + free, 128 B";
const MANY = "64 x alloc, then 64 x free, 128 B";
const REPLACE = "replace a random one of 4096 live, 128 B";

export default [
  compare(PAIR, pairs, shared),
  compare(`${PAIR}, asking for the CPU`, pairs, shared, allocators.slabAsking),
  compare(MANY, batches, shared),
  compare(REPLACE, replacements, shared),
  compare(`${PAIR}: the general path`, pairs, general),
  compare(`${MANY}: the general path`, batches, general),
  compare(`${PAIR}: where plain objects win`, pairs, plain),
  compare(`${MANY}: where plain objects win`, batches, plain),
  compare(`${REPLACE}: where plain objects win`, replacements, plain),
];
