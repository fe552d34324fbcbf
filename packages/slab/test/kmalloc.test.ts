import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Kmalloc, SharedPages, slabInfo } from "../src/index.ts";

const code = (value: string): unknown => expect.objectContaining({ code: value });

describe("Kmalloc", () => {
  it("never lets two allocations overlap, keeps their bytes through krealloc, and ends with every page back", () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.tuple(
            fc.nat(3),
            fc.nat(999),
            fc.oneof(fc.integer({ min: 1, max: 300 }), fc.integer({ min: 1, max: 60_000 })),
          ),
          {
            maxLength: 60,
          },
        ),
        (steps) => {
          const pages = SharedPages.create({ bytes: 4 << 20 });
          const before = pages.freePageCount;
          const memory = Kmalloc.create({ pages, debug: steps.length % 2 === 0 });
          const bytes = new Uint8Array(memory.buffer);
          const live: { offset: number; size: number; stamp: number }[] = [];
          const check = ({ offset, size, stamp }: (typeof live)[0]): void => {
            expect([bytes[offset], bytes[offset + size - 1]]).toEqual([stamp, stamp]);
          };
          for (const [index, [action, pick, size]] of steps.entries()) {
            const stamp = (index % 255) + 1;
            const item = live[pick % Math.max(1, live.length)];
            if (action < 2 || item === undefined) {
              const offset = memory.kmalloc(size);
              expect(offset % (size % 64 === 0 ? 64 : 8)).toBe(0);
              expect(memory.usableSize(offset)).toBeGreaterThanOrEqual(size);
              bytes.fill(stamp, offset, offset + size);
              live.push({ offset, size, stamp });
            } else if (action === 2) {
              const kept = Math.min(size, item.size);
              item.offset = memory.krealloc(item.offset, size);
              for (let i = 0; i < kept; i += 7) expect(bytes[item.offset + i]).toBe(item.stamp);
              bytes.fill(item.stamp, item.offset, item.offset + size);
              item.size = size;
            } else {
              memory.kfree(item.offset);
              live.splice(live.indexOf(item), 1);
            }
            live.forEach(check);
          }
          for (const { offset } of live) memory.kfree(offset);
          expect(memory.destroy()).toBe(0);
          expect(pages.freePageCount).toBe(before);
        },
      ),
      { numRuns: 60 },
    );
  });

  it("with red zones finds the byte behind those that were asked for, at the free and when told to look, through every resize", () => {
    const memory = Kmalloc.create({ debug: { redZones: true } });
    const bytes = new Uint8Array(memory.buffer);
    const object = memory.kmalloc(18);
    expect(memory.usableSize(object)).toBe(18);
    bytes.fill(1, object, object + 18);
    bytes[object + 18] = 0;
    const wrong = "byte 18 was overwritten; 18 bytes are its user's";
    expect(() => memory.caches.map((cache) => cache.verify())).toThrow(wrong);
    expect(() => memory.kfree(object)).toThrow(wrong);
    expect(() => Kmalloc.attach(structuredClone(memory.handle)).kfree(object)).toThrow(code("SLAB_CORRUPTED"));
    bytes[object + 18] = 0xcc;
    expect(memory.krealloc(object, 13)).toBe(object);
    expect([...bytes.subarray(object + 12, object + 18)]).toEqual([1, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc]);
    expect(memory.krealloc(object, 32)).toBe(object);
    bytes.fill(2, object, object + 31);
    const moved = memory.krealloc(object, 33);
    expect(moved).not.toBe(object);
    expect([...bytes.subarray(moved + 29, moved + 36)]).toEqual([
      2,
      2,
      expect.anything(),
      expect.anything(),
      0xcc,
      0xcc,
      0xcc,
    ]);
    memory.kfree(moved);
    expect(memory.destroy()).toBe(0);
  });

  it("joins from a handle, and frees there what was allocated here", () => {
    const memory = Kmalloc.create();
    const other = Kmalloc.attach(structuredClone(memory.handle));
    const sizes = [1, 100, 4096, 16_320, 16_321, 100_000];
    const offsets = sizes.map((size) => memory.kmalloc(size));
    expect(memory.largeBlocks).toBe(2);
    for (const offset of offsets) other.kfree(offset);
    expect(memory.destroy()).toBe(0);
  });

  it("returns 0 when nothing is left, and krealloc then keeps what there was", () => {
    const memory = Kmalloc.create({ pages: SharedPages.create({ bytes: 128 * 1024 }) });
    const small = memory.kmalloc(100);
    expect(memory.kmalloc(1 << 20)).toBe(0);
    expect(memory.krealloc(small, 1 << 20)).toBe(0);
    expect(memory.usableSize(small)).toBe(128);
    expect(memory.krealloc(small, 0)).toBe(0);
    expect(memory.destroy()).toBe(0);
  });

  it("refuses what it did not give out, and sizes that are none", () => {
    const memory = Kmalloc.create();
    const large = memory.kmalloc(50_000);
    for (const wrong of [-8, 12, 1 << 30, large + 64]) {
      expect(() => memory.kfree(wrong)).toThrow(code("SLAB_FOREIGN_OBJECT"));
    }
    memory.kfree(0);
    memory.kfree(large);
    expect(() => memory.kfree(large)).toThrow(code("SLAB_FOREIGN_OBJECT"));
    for (const size of [0, -1, Number.NaN, 2 ** 31]) {
      expect(() => memory.kmalloc(size)).toThrow(code("SLAB_INVALID_ARGUMENT"));
    }
  });

  it("lists its classes as caches", () => {
    const memory = Kmalloc.create();
    memory.kmalloc(90);
    expect(slabInfo(memory.caches)).toMatch(/^kmalloc-96 +1 /m);
    expect(memory.shrink()).toBe(0);
  });
});
