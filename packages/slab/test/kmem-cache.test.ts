import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { KmemCache, SharedPages } from "../src/index.ts";
import { SwitchingHal } from "./switching-hal.ts";

function caught(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    return (error as { code: string }).code;
  }
  return "nothing";
}

describe("KmemCache on one CPU", () => {
  it("gives out distinct, aligned, non-zero offsets inside the buffer", () => {
    const cache = KmemCache.create({ name: "t", objectSize: 100, align: 64 });
    const seen = new Set<number>();
    for (let i = 0; i < 1000; i++) {
      const object = cache.alloc();
      expect(object % 64).toBe(0);
      expect(object).toBeGreaterThan(0);
      expect(object + cache.objectSize).toBeLessThanOrEqual(cache.buffer.byteLength);
      for (const other of [object, object + cache.objectSize - 8]) expect(seen.has(other)).toBe(false);
      seen.add(object);
    }
    expect(seen.size).toBe(1000);
  });

  it("keeps what is written into each object until it is freed", () => {
    const cache = KmemCache.create({ name: "t", objectSize: 24, memoryLimit: 1 << 20 });
    const words = new Int32Array(cache.buffer);
    const objects = Array.from({ length: 5000 }, () => cache.alloc());
    objects.forEach((object, i) => words.fill(i, object >> 2, (object >> 2) + 6));
    objects.forEach((object, i) => {
      for (let word = 0; word < 6; word++) expect(words[(object >> 2) + word]).toBe(i);
    });
  });

  it("returns 0 at its memory limit, counts the failure, and serves again after a free", () => {
    const cache = KmemCache.create({ name: "t", objectSize: 64, memoryLimit: 8192, magazineSize: 4 });
    const objects: number[] = [];
    for (let object = cache.alloc(); object !== 0; object = cache.alloc()) objects.push(object);
    expect(objects.length).toBe(cache.stats().totalObjects);
    expect(cache.stats().failures).toBe(1);
    cache.free(objects[7]);
    expect(cache.alloc()).toBe(objects[7]);
  });

  it("clears objects of zalloc, small and large", () => {
    for (const objectSize of [16, 512]) {
      const cache = KmemCache.create({ name: "t", objectSize });
      const words = new Int32Array(cache.buffer);
      const dirty = cache.alloc();
      words.fill(-1, dirty >> 2, (dirty + objectSize) >> 2);
      cache.free(dirty);
      const clean = cache.zalloc();
      expect(clean).toBe(dirty);
      expect(words.subarray(clean >> 2, (clean + objectSize) >> 2).every((word) => word === 0)).toBe(true);
    }
  });

  it("gives every page back when everything is freed and the cache destroyed", () => {
    const pages = SharedPages.create({ bytes: 1 << 20 });
    const before = pages.freePageCount;
    const cache = KmemCache.create({ name: "t", objectSize: 200, pages });
    const objects = Array.from({ length: 3000 }, () => cache.alloc());
    expect(pages.freePageCount).toBeLessThan(before);
    for (const object of objects) cache.free(object);
    expect(cache.destroy()).toBe(0);
    expect(pages.freePageCount).toBe(before);
    expect(caught(() => cache.alloc())).toBe("SLAB_DESTROYED");
  });

  it("returns empty slabs to the page source while it lives, and the rest on shrink", () => {
    const pages = SharedPages.create({ bytes: 1 << 20 });
    const before = pages.freePageCount;
    const cache = KmemCache.create({ name: "t", objectSize: 64, pages, magazineSize: 8, depotMagazines: 2 });
    const objects = Array.from({ length: 4000 }, () => cache.alloc());
    const slabs = cache.stats().slabs;
    for (const object of objects) cache.free(object);
    expect(cache.stats().slabs).toBeLessThan(slabs / 2);
    cache.flushCpu(0);
    cache.shrink();
    expect(cache.stats()).toMatchObject({ slabs: 0, activeObjects: 0, cachedObjects: 0 });
    expect(pages.freePageCount).toBe(before);
  });

  it("counts leaked objects at destroy and leaves their slabs alone", () => {
    const pages = SharedPages.create({ bytes: 1 << 20 });
    const before = pages.freePageCount;
    const cache = KmemCache.create({ name: "t", objectSize: 64, pages });
    const objects = Array.from({ length: 300 }, () => cache.alloc());
    for (const object of objects.slice(3)) cache.free(object);
    cache.flushCpu(0);
    cache.shrink();
    const outstanding: number[] = [];
    cache.forEachOutstanding((object) => outstanding.push(object));
    expect(outstanding.sort((a, b) => a - b)).toEqual(objects.slice(0, 3).sort((a, b) => a - b));
    expect(cache.destroy()).toBe(3);
    expect(pages.freePageCount).toBeLessThan(before);
  });

  it("refuses offsets it did not give out", () => {
    const cache = KmemCache.create({ name: "t", objectSize: 64, magazineSize: 1, depotMagazines: 0 });
    const other = KmemCache.create({ name: "other", objectSize: 64 });
    expect(caught(() => cache.free(0))).toBe("SLAB_FOREIGN_OBJECT");
    expect(caught(() => cache.free(-8))).toBe("SLAB_FOREIGN_OBJECT");
    expect(caught(() => cache.free(12))).toBe("SLAB_FOREIGN_OBJECT");
    const object = other.alloc();
    expect(
      caught(() => {
        for (let i = 0; i < 4; i++) cache.free(object);
      }),
    ).toBe("SLAB_FOREIGN_OBJECT");
  });

  it("finds a double free at the latest when the object reaches its slab", () => {
    const cache = KmemCache.create({ name: "t", objectSize: 64, magazineSize: 1, depotMagazines: 0 });
    const object = cache.alloc();
    const keep = cache.alloc();
    expect(keep).not.toBe(object);
    expect(
      caught(() => {
        for (let i = 0; i < 4; i++) cache.free(object);
      }),
    ).toBe("SLAB_DOUBLE_FREE");
  });

  it("refuses impossible options", () => {
    const create = (options: object): string =>
      caught(() => KmemCache.create({ name: "t", objectSize: 64, ...options }));
    expect(create({ objectSize: 0 })).toBe("SLAB_INVALID_ARGUMENT");
    expect(create({ objectSize: 2 ** 40 })).toBe("SLAB_INVALID_ARGUMENT");
    expect(create({ align: 24 })).toBe("SLAB_INVALID_ARGUMENT");
    expect(create({ magazineSize: 0 })).toBe("SLAB_INVALID_ARGUMENT");
    expect(create({ hal: new SwitchingHal(2), nodeOfCpu: [0] })).toBe("SLAB_INVALID_ARGUMENT");
    expect(create({ nodeOfCpu: [-1] })).toBe("SLAB_INVALID_ARGUMENT");
    expect(create({ memoryLimit: 100 })).toBe("SLAB_INVALID_ARGUMENT");
    const pages = { buffer: new SharedArrayBuffer(65536), pageBytes: 4096, allocPages: () => 100, freePages: () => {} };
    expect(caught(() => KmemCache.create({ name: "t", objectSize: 64, pages }).alloc())).toBe("SLAB_PAGE_SOURCE");
  });

  it("moves objects in bulk", () => {
    const cache = KmemCache.create({ name: "t", objectSize: 64, memoryLimit: 16384 });
    const out = new Int32Array(1000);
    const got = cache.allocBulk(out, 1000);
    expect(got).toBe(cache.stats().totalObjects);
    expect(new Set(out.subarray(0, got)).size).toBe(got);
    cache.freeBulk(out, got);
    expect(cache.stats().activeObjects).toBe(0);
  });
});

describe("KmemCache on several CPUs", () => {
  it("never has an object in two hands, whatever CPUs allocate, free, flush and shrink", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(3), fc.nat(9), fc.nat(999)), { maxLength: 400 }),
        fc.constantFrom(1, 2, 5),
        fc.constantFrom(undefined, [0, 0, 1, 1]),
        fc.boolean(),
        (steps, magazineSize, nodeOfCpu, debug) => {
          const hal = new SwitchingHal(4);
          const pages = SharedPages.create({ bytes: 1 << 18, pageBytes: 512, hal });
          const before = pages.freePageCount;
          const nodes = nodeOfCpu === undefined ? {} : { nodeOfCpu };
          const options = { name: "t", objectSize: 40, pages, hal, magazineSize, depotMagazines: 2, debug, ...nodes };
          const cache = KmemCache.create(options);
          const live: number[] = [];
          let allocations = 0;
          let frees = 0;
          for (const [cpu, action, pick] of steps) {
            hal.cpu = cpu;
            if (action < 5) {
              const object = cache.alloc();
              expect(object).toBeGreaterThan(0);
              expect(live).not.toContain(object);
              live.push(object);
              allocations++;
            } else if (action < 8 && live.length > 0) {
              cache.free(live.splice(pick % live.length, 1)[0]);
              frees++;
            } else if (action === 8) cache.flushCpu(pick % 4);
            else cache.shrink();
            const { activeObjects, allocFast, allocSlow, freeFast, freeSlow } = cache.stats();
            expect([activeObjects, allocFast + allocSlow, freeFast + freeSlow]).toEqual([
              live.length,
              allocations,
              frees,
            ]);
            expect(cache.stats().peak).toBeGreaterThanOrEqual(live.length);
          }
          for (const object of live) cache.free(object);
          expect(cache.destroy()).toBe(0);
          expect(pages.freePageCount).toBe(before);
        },
      ),
      { numRuns: 150 },
    );
  });

  it("takes no lock in at least a magazine's worth of operations", () => {
    const hal = new SwitchingHal(2);
    let locks = 0;
    const cache = KmemCache.create({
      name: "t",
      objectSize: 64,
      hal,
      magazineSize: 32,
      lockObserver: { onAcquired: () => locks++ },
    });
    const objects = Array.from({ length: 64 }, () => cache.alloc());
    for (const object of objects) cache.free(object);
    locks = 0;
    for (let round = 0; round < 100; round++) {
      const pair = [cache.alloc(), cache.alloc(), cache.alloc()];
      for (const object of pair) cache.free(object);
    }
    expect(locks).toBe(0);
  });

  it("sends an object freed on another node home to its slab and counts it", () => {
    const hal = new SwitchingHal(2);
    const pages = SharedPages.create({ bytes: 1 << 18, hal });
    const cache = KmemCache.create({ name: "t", objectSize: 64, hal, pages, nodeOfCpu: [0, 1], magazineSize: 4 });
    const objects = Array.from({ length: 8 }, () => cache.alloc());
    hal.cpu = 1;
    for (const object of objects) cache.free(object);
    expect(cache.stats().remoteFrees).toBe(8);
    for (let i = 0; i < 8; i++) expect(objects).not.toContain(cache.alloc());
    hal.cpu = 0;
    const again = Array.from({ length: 8 }, () => cache.alloc());
    expect(again.some((object) => objects.includes(object))).toBe(true);
  });

  it("lets another node's memory serve when its own is used up", () => {
    const hal = new SwitchingHal(2);
    const cache = KmemCache.create({
      name: "t",
      objectSize: 64,
      hal,
      nodeOfCpu: [0, 1],
      magazineSize: 2,
      memoryLimit: 4096,
    });
    const objects = Array.from({ length: 10 }, () => cache.alloc());
    for (const object of objects) cache.free(object);
    cache.flushCpu(0);
    hal.cpu = 1;
    expect(cache.alloc()).toBeGreaterThan(0);
  });
});

describe("KmemCache in debug mode", () => {
  const make = (): { cache: KmemCache; words: Int32Array } => {
    const cache = KmemCache.create({ name: "t", objectSize: 64, debug: true });
    return { cache, words: new Int32Array(cache.buffer) };
  };

  it("finds a double free at once", () => {
    const { cache } = make();
    const object = cache.alloc();
    cache.free(object);
    expect(caught(() => cache.free(object))).toBe("SLAB_DOUBLE_FREE");
  });

  it("finds a write after free at the next allocation", () => {
    const { cache, words } = make();
    const object = cache.alloc();
    cache.free(object);
    words[(object >> 2) + 5] = 1;
    expect(caught(() => cache.alloc())).toBe("SLAB_CORRUPTED");
  });

  it("finds a write past the end at the free", () => {
    const { cache, words } = make();
    const object = cache.alloc();
    words[(object + cache.objectSize) >> 2] = 0;
    expect(caught(() => cache.free(object))).toBe("SLAB_CORRUPTED");
  });

  it("finds the offset of another cache, or of the middle of an object, at once", () => {
    const pages = SharedPages.create({ bytes: 1 << 18 });
    const cache = KmemCache.create({ name: "t", objectSize: 64, pages, debug: true });
    const other = KmemCache.create({ name: "other", objectSize: 64, pages });
    const object = cache.alloc();
    expect(caught(() => cache.free(other.alloc()))).toBe("SLAB_FOREIGN_OBJECT");
    expect(caught(() => cache.free(object + 8))).toBe("SLAB_FOREIGN_OBJECT");
    cache.free(object);
  });
});

describe("a type-stable KmemCache", () => {
  it("keeps the bytes of free objects and its slabs until it is destroyed", () => {
    const pages = SharedPages.create({ bytes: 1 << 18 });
    const before = pages.freePageCount;
    const cache = KmemCache.create({ name: "t", objectSize: 64, pages, typeStable: true, debug: true });
    const words = new Int32Array(cache.buffer);
    const objects = Array.from({ length: 500 }, () => cache.alloc());
    for (const object of objects) words[object >> 2] = object;
    for (const object of objects) cache.free(object);
    cache.flushCpu(0);
    cache.shrink();
    expect(objects.every((object) => words[object >> 2] === object)).toBe(true);
    expect(cache.stats().slabs).toBeGreaterThan(0);
    expect(cache.destroy()).toBe(0);
    expect(pages.freePageCount).toBe(before);
  });
});
