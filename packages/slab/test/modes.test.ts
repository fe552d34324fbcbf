import { describe, expect, it } from "vitest";
import { KmemCache, SharedPages, SLAB_FLAGS, slabTop } from "../src/index.ts";
import type { LeakedObject } from "../src/index.ts";
import { SwitchingHal } from "./switching-hal.ts";

const code = (value: string): unknown => expect.objectContaining({ code: value });

describe("debug modes", () => {
  it("are chosen one by one", () => {
    const make = (debug: object): { cache: KmemCache; words: Int32Array } => {
      const cache = KmemCache.create({ name: "t", objectSize: 64, debug });
      return { cache, words: new Int32Array(cache.buffer) };
    };
    const quiet = make({ owner: true });
    const first = quiet.cache.alloc();
    quiet.words[(first >> 2) - 1] = 1;
    quiet.cache.free(first);
    quiet.words[first >> 2] = 1;
    expect(quiet.cache.alloc()).toBe(first);
    const zones = make({ redZones: true });
    const second = zones.cache.alloc();
    zones.words[(second >> 2) - 1] = 1;
    expect(() => zones.cache.free(second)).toThrow(/red zone before/);
    const poison = make({ poison: true });
    const third = poison.cache.alloc();
    poison.cache.free(third);
    poison.words[third >> 2] = 1;
    expect(() => poison.cache.alloc()).toThrow(code("SLAB_CORRUPTED"));
    for (const { cache } of [quiet, zones, poison]) {
      const object = cache.alloc();
      cache.free(object);
      expect(() => cache.free(object)).toThrow(code("SLAB_DOUBLE_FREE"));
    }
  });

  it("name the places in the program that allocated and freed an object, across threads", () => {
    const cache = KmemCache.create({ name: "t", objectSize: 64, debug: { sites: true } });
    const object = cache.alloc();
    const other = KmemCache.attach(structuredClone(cache.handle));
    other.free(object);
    expect(() => cache.free(object)).toThrow(
      /CPU 0 \(allocated at .*modes\.test\.ts:\d+.*, freed at .*modes\.test\.ts:\d+/,
    );
  });

  it("verify finds a stray write into an object that nobody allocates", () => {
    const cache = KmemCache.create({ name: "t", objectSize: 64, debug: true });
    const object = cache.alloc();
    expect(cache.verify()).toBeGreaterThan(0);
    new Int32Array(cache.buffer)[(object + cache.handle.geometry.strideBytes * 2) >> 2] = 0;
    expect(() => cache.verify()).toThrow(code("SLAB_CORRUPTED"));
    expect(KmemCache.create({ name: "t", objectSize: 64 }).verify()).toBe(0);
  });

  it("destroy reports every leaked object, and who allocated it where", () => {
    const hal = new SwitchingHal(2);
    const cache = KmemCache.create({ name: "t", objectSize: 64, hal, debug: { sites: true } });
    hal.cpu = 1;
    const leaked = cache.alloc();
    cache.free(cache.alloc());
    const leaks: LeakedObject[] = [];
    expect(cache.destroy((leak) => leaks.push(leak))).toBe(1);
    expect(leaks).toEqual([{ object: leaked, cpu: 1, site: expect.stringContaining("modes.test.ts") }]);
  });
});

describe("flags", () => {
  const make = (flags: number, more: object = {}): KmemCache =>
    KmemCache.create({ name: "t", objectSize: 40, flags, ...more });

  it("say in Linux's words what align, typeStable and debug say", () => {
    const { CONSISTENCY_CHECKS, HWCACHE_ALIGN, POISON, RED_ZONE, STORE_USER, TYPESAFE_BY_RCU } = SLAB_FLAGS;
    const plain = make(0).handle;
    expect([plain.debug, plain.typeStable, plain.geometry.alignBytes]).toEqual([undefined, false, 8]);
    expect(make(HWCACHE_ALIGN).alloc() % 64).toBe(0);
    expect(make(HWCACHE_ALIGN, { align: 128 }).handle.geometry.alignBytes).toBe(128);
    expect(make(TYPESAFE_BY_RCU).handle.typeStable).toBe(true);
    const none = { poison: false, redZones: false, owner: false, sites: false };
    expect(make(CONSISTENCY_CHECKS).handle.debug).toEqual(none);
    expect(make(POISON | RED_ZONE).handle.debug).toEqual({ ...none, poison: true, redZones: true });
    expect(make(STORE_USER).handle.debug).toEqual({ ...none, owner: true, sites: true });
    expect(make(STORE_USER, { debug: true }).handle.debug).toEqual({
      poison: true,
      redZones: true,
      owner: true,
      sites: true,
    });
    const cache = make(CONSISTENCY_CHECKS);
    const object = cache.alloc();
    cache.free(object);
    expect(() => cache.free(object)).toThrow(code("SLAB_DOUBLE_FREE"));
    expect(() => make(1)).toThrow(code("SLAB_INVALID_ARGUMENT"));
  });
});

describe("a cache with a constructor", () => {
  it("constructs each object once, when its slab is made, and keeps the state through frees", () => {
    let constructed = 0;
    let words = new Int32Array(new SharedArrayBuffer(0));
    const construct = (object: number): void => {
      constructed++;
      words[object >> 2] = 77;
    };
    const pages = SharedPages.create({ bytes: 1 << 16 });
    words = new Int32Array(pages.buffer);
    const cache = KmemCache.create({ name: "t", objectSize: 64, pages, construct });
    for (let round = 0; round < 5; round++) {
      const objects = Array.from({ length: 50 }, () => cache.alloc());
      for (const object of objects) expect(words[object >> 2]).toBe(77);
      for (const object of objects) cache.free(object);
    }
    expect(constructed).toBe(cache.objectsPerSlab);
    expect(() => cache.zalloc()).toThrow(code("SLAB_INVALID_ARGUMENT"));
    expect(() => KmemCache.attach(cache.handle, { pages })).toThrow(code("SLAB_INVALID_ARGUMENT"));
    expect(KmemCache.attach(cache.handle, { pages, construct }).alloc()).toBeGreaterThan(0);
  });
});

describe("a type-stable cache with grace periods", () => {
  const make = (): { pages: SharedPages; cache: KmemCache; end: () => void } => {
    let ended = 0;
    let started = 0;
    const gracePeriods = { startPoll: () => ++started, poll: (cookie: number) => cookie <= ended };
    const pages = SharedPages.create({ bytes: 1 << 16 });
    const options = {
      name: "t",
      objectSize: 64,
      pages,
      typeStable: true,
      gracePeriods,
      magazineSize: 2,
      depotMagazines: 1,
    };
    return { pages, cache: KmemCache.create(options), end: () => (ended = started) };
  };
  const churn = (cache: KmemCache): void => {
    for (const object of Array.from({ length: 300 }, () => cache.alloc())) cache.free(object);
    cache.flushCpu(0);
  };

  it("returns empty slabs when a grace period has passed, not before", () => {
    const { pages, cache, end } = make();
    const before = pages.freePageCount;
    churn(cache);
    expect(cache.shrink()).toBe(0);
    const { slabs, deferredSlabs } = cache.stats();
    expect([slabs, deferredSlabs]).toEqual([5, 5]);
    end();
    expect(cache.shrink()).toBe(5);
    expect(pages.freePageCount).toBe(before);
  });

  it("lets slabs that wait serve again", () => {
    const { cache } = make();
    churn(cache);
    cache.shrink();
    for (let round = 0; round < 20; round++) churn(cache);
    expect(cache.stats().slabs).toBe(5);
    expect(cache.destroy()).toBe(0);
    expect(cache.stats().slabs).toBe(0);
  });

  it("needs its grace periods on every thread", () => {
    const { pages, cache } = make();
    expect(() => KmemCache.attach(cache.handle, { pages })).toThrow(code("SLAB_INVALID_ARGUMENT"));
  });
});

describe("a sheaf", () => {
  it("guarantees as many allocations as were prefilled, whatever others take meanwhile", () => {
    const cache = KmemCache.create({ name: "t", objectSize: 64, memoryLimit: 4096, magazineSize: 4 });
    using sheaf = cache.sheaf(8);
    expect(sheaf.prefill()).toBe(true);
    while (cache.alloc() !== 0);
    const objects = new Set(Array.from({ length: 8 }, () => sheaf.alloc()));
    expect(objects.size).toBe(8);
    expect(objects.has(0)).toBe(false);
    expect(() => sheaf.alloc()).toThrow(code("SLAB_EXHAUSTED"));
    expect(() => cache.allocOrThrow()).toThrow(code("SLAB_EXHAUSTED"));
  });

  it("takes nothing when it cannot be filled, and gives back what is left", () => {
    const cache = KmemCache.create({ name: "t", objectSize: 64, memoryLimit: 4096, magazineSize: 1 });
    const all = cache.stats().totalObjects;
    expect(all).toBe(0);
    const sheaf = cache.sheaf(100);
    expect(sheaf.prefill(10)).toBe(true);
    expect(sheaf.prefill()).toBe(false);
    expect([sheaf.size, cache.stats().activeObjects]).toEqual([10, 10]);
    sheaf[Symbol.dispose]();
    expect(cache.destroy()).toBe(0);
    expect(() => sheaf.prefill(101)).toThrow(code("SLAB_INVALID_ARGUMENT"));
    expect(() => cache.sheaf(0)).toThrow(code("SLAB_INVALID_ARGUMENT"));
  });
});

describe("a growing arena", () => {
  it("doubles when it is used up, up to its limit, and serves attached caches", () => {
    const pages = SharedPages.create({ bytes: 16_384, maxBytes: 1 << 17 });
    const cache = KmemCache.create({ name: "t", objectSize: 1000, pages });
    const other = KmemCache.attach(cache.handle, { pages: SharedPages.attach(pages.handle) });
    const words = new Int32Array(cache.buffer);
    const objects: number[] = [];
    for (let object = other.alloc(); object !== 0; object = cache.alloc()) objects.push(object);
    expect(objects.length).toBeGreaterThan(100);
    expect(Math.max(...objects)).toBeGreaterThan(65_536);
    for (const object of objects) words[object >> 2] = object;
    for (const object of objects) expect(words[object >> 2]).toBe(object);
    for (const object of objects) cache.free(object);
    expect(cache.destroy()).toBe(0);
    expect(pages.freePageCount).toBe(pages.totalPages);
    expect(pages.totalPages).toBe((1 << 17) / 4096 - 1);
  });
});

describe("what the pool of the original promised and did not keep", () => {
  it("recycles for ever: the count of free objects goes down when they are taken", () => {
    const cache = KmemCache.create({ name: "t", objectSize: 64 });
    const objects = Array.from({ length: 5000 }, () => cache.alloc());
    for (const object of objects) cache.free(object);
    const grown = cache.stats();
    for (let round = 0; round < 20_000; round++) cache.free(cache.alloc());
    const { slabs, activeObjects, peak } = cache.stats();
    expect([slabs, activeObjects, peak]).toEqual([grown.slabs, 0, grown.peak]);
  });

  it("accepts no object of another allocator", () => {
    const pages = SharedPages.create({ bytes: 1 << 18 });
    const cache = KmemCache.create({ name: "t", objectSize: 64, pages, debug: {} });
    const block = pages.allocPages(0);
    expect(() => cache.free(block + 64)).toThrow(code("SLAB_FOREIGN_OBJECT"));
    expect(cache.stats().activeObjects).toBe(0);
  });

  it("leaks no entry unseen when it ends before its user", () => {
    const cache = KmemCache.create({ name: "t", objectSize: 64 });
    const object = cache.alloc();
    const leaks: LeakedObject[] = [];
    expect(cache.destroy((leak) => leaks.push(leak))).toBe(1);
    expect(leaks).toEqual([{ object }]);
  });
});

describe("figures", () => {
  it("slabTop prints what slabtop --once prints", () => {
    const conn = KmemCache.create({ name: "conn", objectSize: 128 });
    const idle = KmemCache.create({ name: "idle", objectSize: 2048 });
    for (let i = 0; i < 10; i++) conn.alloc();
    expect(slabTop([idle, conn])).toBe(
      ` Active / Total Objects (% used)    : 10 / 31 (32.3%)
 Active / Total Slabs (% used)      : 1 / 1 (100.0%)
 Active / Total Caches (% used)     : 1 / 2 (50.0%)
 Active / Total Size (% used)       : 1.25K / 3.88K (32.3%)
 Minimum / Average / Maximum Object : 0.13K / 0.13K / 2.00K

  OBJS ACTIVE  USE OBJ SIZE  SLABS OBJ/SLAB CACHE SIZE NAME
    31     10  32%    0.13K      1       31         4K conn
     0      0 100%    2.00K      0       15         0K idle
`,
    );
    expect(slabTop([])).toBe("");
  });

  it("memory overhead of 64-byte objects stays below 5 %, everything counted but the magazines", () => {
    const pages = SharedPages.create({ bytes: 16 << 20 });
    const cache = KmemCache.create({ name: "t", objectSize: 64, pages });
    while (cache.alloc() !== 0);
    const { objectBytes, slabOverheadBytes, mapBytes, controlBytes } = cache.memory();
    const overhead = slabOverheadBytes + mapBytes + controlBytes + pages.handle.control.byteLength;
    expect(overhead / objectBytes).toBeLessThan(0.05);
    expect(overhead / objectBytes).toBeGreaterThan(0.01);
  });
});

describe("onThisCpu", () => {
  it("is the same cache, for the CPU that asked", () => {
    const hal = new SwitchingHal(2);
    const cache = KmemCache.create({ name: "t", objectSize: 64, hal });
    const [first, second] = [0, 1].map((cpu) => {
      hal.cpu = cpu;
      return cache.onThisCpu();
    });
    expect([first.cpu, second.cpu]).toEqual([0, 1]);
    const object = first.alloc();
    second.free(object);
    expect(second.alloc()).toBe(object);
    const list = new Int32Array(200);
    expect(first.allocBulk(list, 200)).toBe(200);
    expect(new Set(list).size).toBe(200);
    second.freeBulk(list, 200);
    second.free(object);
    expect(cache.stats().activeObjects).toBe(0);
    expect(() => second.freeBulk(Int32Array.of(12), 1)).toThrow(code("SLAB_FOREIGN_OBJECT"));
    expect(cache.destroy()).toBe(0);
  });
});
