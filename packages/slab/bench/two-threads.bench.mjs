// 64 × alloc and touch, then 64 × free, 128 bytes, on two threads at once over one pool.
import { pairOf, ROUNDS } from "./lib/two-threads.mjs";
import { BATCH } from "./lib/shapes.mjs";

const end = (pairs) => () => Promise.all(pairs.map((pair) => pair.teardown()));

export default [
  {
    name: "two threads at once, 128 B, all objects",
    unit: "Mop/s",
    ops: ROUNDS * BATCH,
    setup: async () => {
      const [slab, treiber, pages] = ["slab", "treiber", "pages"].map(pairOf);
      return {
        ours: slab.both,
        peers: { "Treiber free list": treiber.both, "locked pages": pages.both },
        teardown: end([slab, treiber, pages]),
      };
    },
  },
  {
    name: "two threads against one thread, 128 B",
    unit: "Mop/s",
    ops: ROUNDS * BATCH,
    setup: async () => {
      const slab = pairOf("slab");
      return { ours: slab.both, peers: { "the same work on one thread": slab.alone }, teardown: end([slab]) };
    },
  },
];
