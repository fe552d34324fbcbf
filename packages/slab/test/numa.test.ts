import { PageAllocator } from "@x/numa";
import { describe, expect, it } from "vitest";
import { KmemCache } from "../src/index.ts";
import type { PageSource } from "../src/index.ts";
import { SwitchingHal } from "./switching-hal.ts";

describe("KmemCache over the pages of two nodes", () => {
  const make = (): { hal: SwitchingHal; allocator: PageAllocator; cache: KmemCache } => {
    const hal = new SwitchingHal(4);
    const zones = [0, 1].map((node) => ({ node, bytes: 1 << 18 }));
    const allocator = PageAllocator.create({ zones, hal, nodeOfCpu: [0, 0, 1, 1], maxOrder: 4 });
    const pages: PageSource = allocator;
    return { hal, allocator, cache: KmemCache.create({ name: "t", objectSize: 100, hal, pages, magazineSize: 8 }) };
  };
  const free = (allocator: PageAllocator): number[] => [0, 1].map((node) => allocator.freeBytes(node));

  it("gives every CPU objects of its own node", () => {
    const { hal, allocator, cache } = make();
    for (hal.cpu = 0; hal.cpu < 4; hal.cpu++) {
      for (let i = 0; i < 100; i++) expect(allocator.nodeOf(cache.alloc())).toBe(hal.cpu >> 1);
    }
  });

  it("keeps it so after objects were freed on the other node", () => {
    const { hal, allocator, cache } = make();
    hal.cpu = 0;
    const objects = Array.from({ length: 200 }, () => cache.alloc());
    hal.cpu = 3;
    for (const object of objects) cache.free(object);
    expect(cache.stats().remoteFrees).toBe(200);
    for (let i = 0; i < 100; i++) expect(allocator.nodeOf(cache.alloc())).toBe(1);
  });

  it("takes memory of the other node when its own is used up, and gives every page back at the end", () => {
    const { hal, allocator, cache } = make();
    const before = free(allocator);
    hal.cpu = 0;
    const objects: number[] = [];
    for (let object = cache.alloc(); object !== 0; object = cache.alloc()) objects.push(object);
    expect(new Set(objects).size).toBe(objects.length);
    expect(objects.filter((object) => allocator.nodeOf(object) === 1).length).toBeGreaterThan(1000);
    hal.cpu = 2;
    for (const object of objects) cache.free(object);
    expect(cache.destroy()).toBe(0);
    expect(free(allocator)).toEqual(before);
  });
});
