import { Worker } from "node:worker_threads";
import { WorkerHal } from "@x/smp";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { AllocHint, NumaError, NumaMemoryPolicy, PageAllocator, type NumaErrorCode } from "../../src/index.ts";
import { Machine } from "../machine.ts";

const PAGE = 4096;

function expectCode(code: NumaErrorCode, action: () => unknown): void {
  let thrown: unknown;
  try {
    action();
  } catch (error) {
    thrown = error;
  }
  expect(thrown).toBeInstanceOf(NumaError);
  expect((thrown as NumaError).code).toBe(code);
}

function twoNodes(pages = 8, hal = new Machine(4)): { pages: PageAllocator; hal: Machine } {
  const zones = [0, 1].map((node) => ({ node, bytes: pages * PAGE }));
  return { hal, pages: PageAllocator.create({ zones, hal, maxOrder: 3, nodeOfCpu: [0, 0, 1, 1] }) };
}

describe("blocks", () => {
  it("never hands out offset 0", () => {
    const pages = PageAllocator.create({ zones: [{ node: 0, bytes: 4 * PAGE }] });
    const got = Array.from({ length: 5 }, () => pages.allocPages(0));
    expect(got.filter((offset) => offset !== 0)).toHaveLength(4);
    expect(got[4]).toBe(0);
  });

  it("aligns a block to its own size, in every zone", () => {
    const zones = [
      { node: 0, bytes: 5 * PAGE },
      { node: 1, bytes: 37 * PAGE },
      { node: 2, bytes: 64 * PAGE },
    ];
    const pages = PageAllocator.create({ zones, maxOrder: 6 });
    for (let order = 0; order <= 5; order++) {
      for (const node of [0, 1, 2]) expect(pages.allocPages(order, node) % (PAGE << order)).toBe(0);
    }
  });

  it("serves a block as large as a zone whose size is a power of two", () => {
    const { pages } = twoNodes();
    const offset = pages.alloc(8 * PAGE, AllocHint.strictNode(1));
    expect(pages.nodeOf(offset)).toBe(1);
    expect(pages.freeBytes(1)).toBe(0);
    pages.free(offset, 8 * PAGE);
    expect(pages.freeBytes(1)).toBe(8 * PAGE);
  });

  it("takes the smallest block that fits and splits it", () => {
    const { pages } = twoNodes();
    expect(pages.buddyInfo(0)).toEqual([0, 0, 0, 1]);
    const offset = pages.allocPages(0, 0);
    expect(pages.buddyInfo(0)).toEqual([1, 1, 1, 0]);
    pages.freePages(offset, 0);
    expect(pages.buddyInfo(0)).toEqual([0, 0, 0, 1]);
  });

  it("keeps the bytes of two blocks apart", () => {
    const { pages } = twoNodes();
    const bytes = new Uint8Array(pages.buffer);
    const a = pages.allocPages(1);
    const b = pages.allocPages(1);
    bytes.fill(1, a, a + 2 * PAGE);
    bytes.fill(2, b, b + 2 * PAGE);
    expect(bytes.subarray(a, a + 2 * PAGE).every((byte) => byte === 1)).toBe(true);
  });
});

describe("wrong calls", () => {
  it("tells a double free, also after the block has been merged", () => {
    const { pages } = twoNodes();
    const a = pages.allocPages(0, 0);
    const b = pages.allocPages(0, 0);
    pages.freePages(a, 0);
    expectCode("NUMA_DOUBLE_FREE", () => pages.freePages(a, 0));
    pages.freePages(b, 0);
    expectCode("NUMA_DOUBLE_FREE", () => pages.freePages(b, 0));
    expect(pages.buddyInfo(0)).toEqual([0, 0, 0, 1]);
    expect(pages.verify()).toEqual([]);
  });

  it("tells a wrong order and leaves the block allocated", () => {
    const { pages } = twoNodes();
    const offset = pages.allocPages(2, 0);
    expectCode("NUMA_WRONG_ORDER", () => pages.freePages(offset, 1));
    expectCode("NUMA_WRONG_ORDER", () => pages.freePages(offset, 3));
    expectCode("NUMA_BAD_OFFSET", () => pages.freePages(offset + PAGE, 0));
    pages.freePages(offset, 2);
    expect(pages.freeBytes(0)).toBe(8 * PAGE);
  });

  it("refuses offsets that are no page, sizes that cannot be and nodes that are not", () => {
    const { pages } = twoNodes();
    for (const offset of [0, 1, PAGE + 8, -PAGE, 2 ** 40, Number.NaN]) {
      expectCode("NUMA_BAD_OFFSET", () => pages.freePages(offset, 0));
    }
    for (const order of [-1, 4, 0.5, Number.NaN]) expectCode("NUMA_INVALID_ARGUMENT", () => pages.allocPages(order));
    for (const bytes of [0, -1, 9 * PAGE, Number.NaN]) expectCode("NUMA_INVALID_ARGUMENT", () => pages.alloc(bytes));
    expectCode("NUMA_INVALID_NODE", () => pages.allocPages(0, 2));
    expectCode("NUMA_INVALID_NODE", () => pages.stats(7));
    expectCode("NUMA_BAD_OFFSET", () => pages.nodeOf(0));
    expectCode("NUMA_INVALID_ARGUMENT", () => PageAllocator.create({ zones: [] }));
    expectCode("NUMA_INVALID_ARGUMENT", () => PageAllocator.create({ zones: [{ node: 0, bytes: 100 }] }));
    expectCode("NUMA_INVALID_ARGUMENT", () =>
      PageAllocator.create({ zones: [{ node: 0, bytes: PAGE }], pageBytes: 96 }),
    );
  });

  it("refuses hints and zones for ids that are none", () => {
    expectCode("NUMA_INVALID_ARGUMENT", () => AllocHint.preferNode(-1));
    expectCode("NUMA_INVALID_ARGUMENT", () => AllocHint.strictNode(1.5));
    expectCode("NUMA_INVALID_ARGUMENT", () => PageAllocator.create({ zones: [{ node: -1, bytes: PAGE }] }));
    expectCode("NUMA_INVALID_ARGUMENT", () =>
      PageAllocator.create({ zones: [{ node: 0, bytes: PAGE }], maxOrder: 21 }),
    );
    expectCode("NUMA_INVALID_ARGUMENT", () => PageAllocator.create({ zones: [{ node: 0, bytes: 2 ** 62 }] }));
    expect(AllocHint.preferNode(4)).toBe(AllocHint.preferNode(4));
  });

  it("leaves the lock free when it throws", () => {
    const { pages } = twoNodes();
    const offset = pages.allocPages(0, 0);
    expectCode("NUMA_WRONG_ORDER", () => pages.freePages(offset, 1));
    pages.freePages(offset, 0);
  });
});

describe("verify", () => {
  /** Two zones, one block of every kind: allocated, free, recently freed. */
  function used(): { pages: PageAllocator; words: Int32Array; states: Uint8Array } {
    const { pages } = twoNodes();
    const blocks = [0, 1, 0].map((order) => pages.allocPages(order, 0));
    pages.freePages(blocks[2], 0);
    const arenaPages = pages.buffer.byteLength / PAGE;
    const { records } = pages.handle;
    const states = new Uint8Array(records, records.byteLength - arenaPages, arenaPages);
    return { pages, words: new Int32Array(records), states };
  }

  it("finds every changed bit of the state of a page", () => {
    const { pages, states } = used();
    for (const { firstPage, pageCount } of pages.handle.zones) {
      for (let page = firstPage; page < firstPage + pageCount; page++) {
        for (let bit = 0; bit < 8; bit++) {
          states[page] ^= 1 << bit;
          expect(pages.verify(), `bit ${bit} of page ${page}`).not.toEqual([]);
          states[page] ^= 1 << bit;
        }
      }
    }
    expect(pages.verify()).toEqual([]);
  });

  it("finds every changed word of a zone's counts, heads and bits", () => {
    const { pages, words } = used();
    const before = words.slice();
    // Free pages, order bits, and for the orders 0 to 3 heads, counts, recent heads and recent counts (buddy-zones.ts).
    const perOrder = [2, 23, 44, 48].flatMap((first) => [0, 1, 2, 3].map((order) => first + order));
    const recordWords = [0, 1, ...perOrder];
    for (const word of recordWords) {
      words[word] ^= 2;
      expect(pages.verify(), `word ${word}`).not.toEqual([]);
      words[word] = before[word];
    }
    expect(pages.verify()).toEqual([]);
  });

  it("is what stops an allocation from a broken list", () => {
    const { pages, states } = used();
    const next = pages.allocPages(0, 0) / PAGE;
    pages.freePages(next * PAGE, 0);
    states[next] = 0;
    expectCode("NUMA_CORRUPT", () => pages.allocPages(0, 0));
  });
});

describe("statistics, as numastat defines them", () => {
  const counts = (pages: PageAllocator, node: number): number[] => Object.values(pages.stats(node));

  it("counts hit and local for memory of the CPU's own node", () => {
    const { pages, hal } = twoNodes();
    hal.cpu = 2;
    pages.allocPages(0);
    expect(counts(pages, 1)).toEqual([1, 0, 0, 0, 1, 0]);
    expect(counts(pages, 0)).toEqual([0, 0, 0, 0, 0, 0]);
  });

  it("counts hit and other for memory wanted on another node", () => {
    const { pages, hal } = twoNodes();
    hal.cpu = 0;
    pages.allocPages(0, 1);
    expect(counts(pages, 1)).toEqual([1, 0, 0, 0, 0, 1]);
  });

  it("counts miss where it came from and foreign where it was wanted", () => {
    const { pages, hal } = twoNodes();
    hal.cpu = 0;
    pages.allocPages(3);
    const offset = pages.allocPages(0);
    expect(pages.nodeOf(offset)).toBe(1);
    expect(counts(pages, 1)).toEqual([0, 1, 0, 0, 0, 1]);
    expect(counts(pages, 0)).toEqual([1, 0, 1, 0, 1, 0]);
  });

  it("never misses a node that has no memory", () => {
    const hal = new Machine(2);
    const fallback = { 0: [1], 1: [1] };
    const pages = PageAllocator.create({ zones: [{ node: 1, bytes: 4 * PAGE }], hal, fallback, nodeOfCpu: [0, 1] });
    pages.allocPages(0);
    expect(counts(pages, 1)).toEqual([1, 0, 0, 0, 0, 1]);
    expect(counts(pages, 0)).toEqual([0, 0, 0, 0, 0, 0]);
    expect(pages.alloc(PAGE, AllocHint.strictNode(0))).toBe(0);
  });

  it("counts interleave hits only for the node whose turn it was", () => {
    const { pages } = twoNodes();
    const policy = NumaMemoryPolicy.interleave([0, 1]);
    pages.alloc(8 * PAGE, AllocHint.strictNode(1));
    const nodes = Array.from({ length: 4 }, () => pages.nodeOf(pages.allocWithPolicy(PAGE, policy)));
    expect(nodes).toEqual([0, 0, 0, 0]);
    expect(pages.stats(0).interleaveHit).toBe(2);
    expect(pages.stats(1).interleaveHit).toBe(0);
  });
});

describe("hints and policies", () => {
  it("falls back for prefer and not for strict", () => {
    const { pages } = twoNodes();
    expect(pages.nodeOf(pages.alloc(8 * PAGE, AllocHint.preferNode(1)))).toBe(1);
    expect(pages.alloc(PAGE, AllocHint.strictNode(1))).toBe(0);
    expect(pages.nodeOf(pages.alloc(PAGE, AllocHint.preferNode(1)))).toBe(0);
  });

  it("starts at the calling CPU's node for any and local", () => {
    const { pages, hal } = twoNodes();
    for (const [cpu, node] of [
      [0, 0],
      [3, 1],
    ]) {
      hal.cpu = cpu;
      expect(pages.nodeOf(pages.alloc(PAGE))).toBe(node);
      expect(pages.nodeOf(pages.alloc(PAGE, AllocHint.any))).toBe(node);
      expect(pages.nodeOf(pages.alloc(PAGE, AllocHint.local))).toBe(node);
    }
  });

  it("walks the fallback list it was given", () => {
    const zones = [0, 1, 2].map((node) => ({ node, bytes: PAGE }));
    const pages = PageAllocator.create({ zones, fallback: { 0: [0, 2, 1] } });
    expect([0, 0, 0].map(() => pages.nodeOf(pages.allocPages(0, 0)))).toEqual([0, 2, 1]);
    expect(pages.allocPages(0, 0)).toBe(0);
  });

  it("keeps bind inside its nodes, nearest first", () => {
    const zones = [0, 1, 2].map((node) => ({ node, bytes: PAGE }));
    const pages = PageAllocator.create({ zones, fallback: { 0: [0, 2, 1] } });
    const policy = NumaMemoryPolicy.bind([1, 2]);
    expect([0, 0].map(() => pages.nodeOf(pages.allocWithPolicy(PAGE, policy)))).toEqual([2, 1]);
    expect(pages.allocWithPolicy(PAGE, policy)).toBe(0);
    expect(pages.freeBytes(0)).toBe(PAGE);
  });

  it("interleaves over nodes of any id and passes over those without memory", () => {
    const zones = [
      { node: 3, bytes: 4 * PAGE },
      { node: 200, bytes: 4 * PAGE },
    ];
    const pages = PageAllocator.create({ zones });
    const policy = NumaMemoryPolicy.interleave([200, 70, 3]);
    expect([0, 0, 0, 0].map(() => pages.nodeOf(pages.allocWithPolicy(PAGE, policy)))).toEqual([3, 200, 3, 200]);
    expect(pages.nodeOf(pages.allocWithPolicy(PAGE, NumaMemoryPolicy.preferred(200)))).toBe(200);
    expect(pages.nodeOf(pages.allocWithPolicy(PAGE, NumaMemoryPolicy.default()))).toBe(3);
  });
});

describe("model", () => {
  const command = fc.record({
    free: fc.boolean(),
    order: fc.integer({ min: 0, max: 4 }),
    node: fc.integer({ min: -1, max: 2 }),
    strict: fc.boolean(),
    pick: fc.nat(),
    cpu: fc.integer({ min: 0, max: 3 }),
  });

  it("overlaps nothing, stays in its node, and is whole again when everything is returned", () => {
    const sizes = fc.tuple(...[0, 1, 2].map(() => fc.integer({ min: 1, max: 40 })));
    fc.assert(
      fc.property(sizes, fc.array(command, { maxLength: 120 }), (pagesOf, commands) => {
        const hal = new Machine(4);
        const zones = pagesOf.map((pages, node) => ({ node, bytes: pages * PAGE }));
        const pages = PageAllocator.create({ zones, hal, maxOrder: 4, nodeOfCpu: (cpu) => cpu % 3 });
        const atStart = [0, 1, 2].map((node) => pages.buddyInfo(node));
        const live = new Map<number, number>();
        const used = new Set<number>();
        for (const { free, order, node, strict, pick, cpu } of commands) {
          hal.cpu = cpu;
          if (free) {
            const offset = [...live.keys()][pick % Math.max(1, live.size)];
            if (offset === undefined) continue;
            pages.freePages(offset, live.get(offset)!);
            for (let page = 0; page < 2 ** live.get(offset)!; page++) used.delete(offset / PAGE + page);
            live.delete(offset);
          } else {
            const wanted = node < 0 ? cpu % 3 : node;
            const offset =
              strict && node >= 0
                ? pages.alloc(PAGE << order, AllocHint.strictNode(node))
                : pages.allocPages(order, node);
            if (offset === 0) continue;
            expect(offset % (PAGE << order)).toBe(0);
            if (strict && node >= 0) expect(pages.nodeOf(offset)).toBe(wanted);
            expect(pages.nodeOf(offset + (PAGE << order) - 1)).toBe(pages.nodeOf(offset));
            for (let page = 0; page < 2 ** order; page++) {
              expect(used.has(offset / PAGE + page)).toBe(false);
              used.add(offset / PAGE + page);
            }
            live.set(offset, order);
          }
          const total = [0, 1, 2].reduce((sum, id) => sum + pages.freeBytes(id), 0);
          expect(total).toBe(pages.totalBytes - used.size * PAGE);
        }
        expect(pages.verify()).toEqual([]);
        for (const [offset, order] of live) pages.freePages(offset, order);
        expect([0, 1, 2].map((node) => pages.buddyInfo(node))).toEqual(atStart);
        expect(pages.verify()).toEqual([]);
        const sums = [0, 1, 2].map((node) => pages.stats(node));
        const sum = (name: keyof (typeof sums)[0]): number => sums.reduce((total, stats) => total + stats[name], 0);
        expect(sum("numaMiss")).toBe(sum("numaForeign"));
        expect(sum("numaHit") + sum("numaMiss")).toBe(sum("localNode") + sum("otherNode"));
      }),
      { numRuns: 60 },
    );
  });

  it("finds a free block whenever there is one of the order", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 4 }), { maxLength: 60 }), (orders) => {
        const pages = PageAllocator.create({ zones: [{ node: 0, bytes: 48 * PAGE }], maxOrder: 4 });
        for (const order of orders) {
          const possible = pages.buddyInfo(0).some((count, size) => count > 0 && size >= order);
          expect(pages.allocPages(order) !== 0).toBe(possible);
        }
      }),
    );
  });
});

describe("merging", () => {
  it("happens when a request cannot be served otherwise", () => {
    const { pages } = twoNodes();
    const all = Array.from({ length: 8 }, () => pages.allocPages(0, 0));
    for (const offset of all) pages.freePages(offset, 0);
    expect(pages.alloc(8 * PAGE, AllocHint.strictNode(0))).not.toBe(0);
  });

  it("gives small blocks out again before it cuts a large one", () => {
    const { pages } = twoNodes();
    const first = pages.allocPages(1, 0);
    pages.freePages(first, 1);
    expect(pages.allocPages(1, 0)).toBe(first);
  });

  it("serves a request exactly when a model with eager merging can", () => {
    const step = fc.record({ order: fc.integer({ min: 0, max: 4 }), free: fc.boolean(), pick: fc.nat() });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 150 }), (steps) => {
        const pages = PageAllocator.create({ zones: [{ node: 0, bytes: 32 * PAGE }], maxOrder: 4 });
        const used = new Set<number>();
        const live: [number, number][] = [];
        for (const { order, free, pick } of steps) {
          if (free && live.length > 0) {
            const [offset, size] = live.splice(pick % live.length, 1)[0];
            pages.freePages(offset, size);
            for (let page = 0; page < 2 ** size; page++) used.delete(offset / PAGE + page);
            continue;
          }
          // With everything merged there is a free block wherever an aligned run of pages is unused.
          const possible = [...Array(32 >> order).keys()].some((block) =>
            [...Array(1 << order).keys()].every((page) => !used.has(16 + (block << order) + page)),
          );
          const offset = pages.allocPages(order);
          expect(offset !== 0).toBe(possible);
          if (offset === 0) continue;
          live.push([offset, order]);
          for (let page = 0; page < 2 ** order; page++) used.add(offset / PAGE + page);
        }
        expect(pages.verify()).toEqual([]);
      }),
      { numRuns: 80 },
    );
  });
});

describe("observer", () => {
  it("is told every block with the node it came from and the one that was wanted", () => {
    const seen: string[] = [];
    const pages = PageAllocator.create({
      zones: [0, 1].map((node) => ({ node, bytes: PAGE })),
      observer: {
        onAlloc: (offset, order, node, wanted) => seen.push(`alloc ${offset} ${order} ${node} ${wanted}`),
        onFree: (offset, order, node) => seen.push(`free ${offset} ${order} ${node}`),
      },
    });
    pages.allocPages(0, 0);
    const second = pages.allocPages(0, 0);
    pages.freePages(second, 0);
    expect(seen).toEqual([`alloc ${PAGE} 0 0 0`, `alloc ${2 * PAGE} 0 1 0`, `free ${2 * PAGE} 0 1`]);
  });
});

describe("threads", () => {
  it("share one arena without handing a page out twice", async () => {
    const hal = WorkerHal.create({ possibleCpus: 3 });
    const zones = [0, 1].map((node) => ({ node, bytes: 64 * PAGE }));
    const pages = PageAllocator.create({ zones, hal, maxOrder: 5, nodeOfCpu: [0, 0, 1] });
    const atStart = [0, 1].map((node) => pages.buddyInfo(node));
    const entry = new URL("../fixtures/alloc-loop.mjs", import.meta.url);
    const results = await Promise.all(
      [1, 2].map(
        (cpu) =>
          new Promise<{ allocated: number; clashes: number }>((resolve, reject) => {
            const worker = new Worker(entry, {
              workerData: { hal: hal.handle, pages: pages.handle, cpu, rounds: 4000 },
              execArgv: [],
            });
            worker.once("message", resolve);
            worker.once("error", reject);
          }),
      ),
    );
    expect(results.map((result) => result.clashes)).toEqual([0, 0]);
    expect(pages.verify()).toEqual([]);
    expect([0, 1].map((node) => pages.buddyInfo(node))).toEqual(atStart);
    const served = [0, 1].map((node) => pages.stats(node)).reduce((sum, s) => sum + s.numaHit + s.numaMiss, 0);
    expect(served).toBe(results[0].allocated + results[1].allocated);
  });
});
