import { Rcu } from "@x/rcu";
import { KmemCache, SharedPages } from "@x/slab";
import { expect, it } from "vitest";
import { SwitchingHal } from "./switching-hal.ts";

it("a type-stable KmemCache with an Rcu returns a slab only when the last reader that could see it has gone on", () => {
  const hal = new SwitchingHal(2);
  const rcu = Rcu.create({ hal, stallTimeoutNs: Infinity });
  const pages = SharedPages.create({ bytes: 1 << 18, hal });
  const before = pages.freePageCount;
  const options = { name: "t", objectSize: 64, pages, hal, typeStable: true, gracePeriods: rcu, magazineSize: 2 };
  const cache = KmemCache.create(options);
  const words = new Int32Array(cache.buffer);

  hal.cpu = 1;
  rcu.online();
  hal.cpu = 0;
  const objects = Array.from({ length: 300 }, () => cache.alloc());
  for (const object of objects) words[object >> 2] = 7;
  hal.cpu = 1;
  rcu.readLock();
  const seen = objects[100];
  hal.cpu = 0;
  for (const object of objects) cache.free(object);
  cache.flushCpu(0);
  for (let i = 0; i < 3; i++) expect(cache.shrink()).toBe(0);
  expect(cache.stats().deferredSlabs).toBeGreaterThan(0);
  hal.cpu = 1;
  expect(words[seen >> 2]).toBe(7);
  rcu.readUnlock();
  rcu.offline();
  hal.cpu = 0;
  cache.shrink();
  cache.shrink();
  expect(cache.stats().slabs).toBe(0);
  expect(pages.freePageCount).toBe(before);
});

it("a million objects freed after grace periods take no more memory than the callback ring can hold up", () => {
  const rcu = Rcu.create({ callbackCapacity: 1024 });
  const cache = KmemCache.create({ name: "t", objectSize: 64, memoryLimit: 1 << 18 });
  for (let freed = 0; freed < 1_000_000; freed++) {
    const object = cache.allocOrThrow();
    if (rcu.tryFree(cache, object)) continue;
    rcu.quiescent();
    rcu.free(cache, object);
  }
  rcu.quiescent();
  const { peak, activeObjects, failures } = cache.stats();
  expect([activeObjects, failures, rcu.pendingCallbacks()]).toEqual([0, 0, 0]);
  // Beside those that wait: what rests in magazines of 64, two of the CPU's and those of the depot.
  expect(peak).toBeLessThanOrEqual(1024 + 64 * (2 + cache.handle.layout.depotMagazines));
});
