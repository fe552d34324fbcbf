// Pages of one node: our buddy system against what one would write instead, every candidate under the same spin lock.
import { AllocHint, PageAllocator } from "@x/numa";
import { SpinLocks } from "@x/smp";

const PAGES = 16384;
const PAGE_BYTES = 4096;

/** A stack of free offsets for each order; nothing is split or merged, each order owns a share of the memory. */
class ArrayFreeLists {
  #locks = SpinLocks.create({ name: "lists" });
  #lists;
  constructor(orders) {
    let next = 1;
    this.#lists = new Map(
      orders.map((order) => {
        const blocks = Math.floor(PAGES / orders.length) >> order;
        return [order, Array.from({ length: blocks }, () => (next += 1 << order) * PAGE_BYTES)];
      }),
    );
  }
  allocPages(order) {
    this.#locks.lock();
    const offset = this.#lists.get(order).pop() ?? 0;
    this.#locks.unlock();
    return offset;
  }
  freePages(offset, order) {
    this.#locks.lock();
    this.#lists.get(order).push(offset);
    this.#locks.unlock();
  }
}

/** One bit per page, first fit from the start, as the physical memory manager of the original did it (for single pages). */
class Bitmap {
  #locks = SpinLocks.create({ name: "bitmap" });
  #words = new Int32Array(new SharedArrayBuffer(PAGES / 8));
  constructor() {
    this.#words[0] = 1;
  }
  allocPages(order) {
    const count = 1 << order;
    const mask = count === 32 ? -1 : (1 << count) - 1;
    this.#locks.lock();
    let offset = 0;
    for (let word = 0; word < this.#words.length && offset === 0; word++) {
      const used = this.#words[word];
      if (used === -1) continue;
      for (let bit = 0; bit < 32; bit += count) {
        if (used & (mask << bit)) continue;
        this.#words[word] = used | (mask << bit);
        offset = (word * 32 + bit) * PAGE_BYTES;
        break;
      }
    }
    this.#locks.unlock();
    return offset;
  }
  freePages(offset, order) {
    const page = offset / PAGE_BYTES;
    const mask = (1 << (1 << order)) - 1;
    this.#locks.lock();
    this.#words[page >> 5] &= ~(mask << (page & 31));
    this.#locks.unlock();
  }
}

const buddy = () => PageAllocator.create({ zones: [{ node: 0, bytes: PAGES * PAGE_BYTES }], pageBytes: PAGE_BYTES });

/** Takes a block and gives it back. */
function pair(pages, order) {
  return () => {
    const offset = pages.allocPages(order);
    pages.freePages(offset, order);
    return offset;
  };
}

/** Replaces one of `live` blocks, chosen by a fixed sequence. */
function replace(pages, live, orders) {
  const orderOf = (i) => orders[i % orders.length];
  const held = Array.from({ length: live }, (_, i) => pages.allocPages(orderOf(i)));
  if (held.includes(0)) throw new Error("too little memory for the live blocks");
  let random = 1;
  return () => {
    random = (Math.imul(random, 1664525) + 1013904223) | 0;
    const i = (random >>> 8) % live;
    pages.freePages(held[i], orderOf(i));
    return (held[i] = pages.allocPages(orderOf(i)));
  };
}

const LISTS = "array free list per order";
const BITMAP = "bitmap, first fit";

export default [
  {
    name: "page alloc + free, nothing else in use",
    unit: "ns/op",
    setup: async () => ({
      ours: pair(buddy(), 0),
      peers: { [LISTS]: pair(new ArrayFreeLists([0]), 0), [BITMAP]: pair(new Bitmap(), 0) },
    }),
  },
  {
    name: "page free + alloc, 8192 of 16384 in use",
    unit: "ns/op",
    setup: async () => ({
      ours: replace(buddy(), 8192, [0]),
      peers: { [LISTS]: replace(new ArrayFreeLists([0]), 8192, [0]), [BITMAP]: replace(new Bitmap(), 8192, [0]) },
    }),
  },
  {
    name: "block free + alloc, orders 0 to 3, 2048 blocks in use",
    unit: "ns/op",
    setup: async () => {
      const orders = [0, 1, 2, 3];
      return {
        ours: replace(buddy(), 2048, orders),
        peers: {
          [LISTS]: replace(new ArrayFreeLists(orders), 2048, orders),
          [BITMAP]: replace(new Bitmap(), 2048, orders),
        },
      };
    },
  },
  {
    name: "alloc + free with a strict hint, two nodes",
    unit: "ns/op",
    setup: async () => {
      const zones = [0, 1].map((node) => ({ node, bytes: (PAGES / 2) * PAGE_BYTES }));
      const pages = PageAllocator.create({ zones });
      const hint = AllocHint.strictNode(1);
      const perNode = [new ArrayFreeLists([0]), new ArrayFreeLists([0])];
      return {
        ours: () => {
          const offset = pages.alloc(PAGE_BYTES, hint);
          pages.free(offset, PAGE_BYTES);
          return offset;
        },
        peers: { "array free list per node": pair(perNode[1], 0) },
      };
    },
  },
];
