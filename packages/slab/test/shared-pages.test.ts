import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { SharedPages, sharedPages } from "../src/index.ts";

/** What this file uses of the global object of that name. */
declare const WebAssembly: {
  readonly Memory: new (limits: { initial: number; maximum: number; shared: true }) => {
    readonly buffer: SharedArrayBuffer;
    grow(pages: number): number;
  };
};

describe("SharedPages", () => {
  it("gives out blocks that are aligned to their size, never overlap, and come back whole", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 2, max: 200 }),
        fc.array(fc.tuple(fc.boolean(), fc.nat(4), fc.nat(999)), { maxLength: 200 }),
        (pageCount, steps) => {
          const pages = SharedPages.create({ bytes: pageCount * 256 + 17, pageBytes: 256 });
          expect(pages.totalPages).toBe(pageCount - 1);
          const owner = new Map<number, number>();
          const blocks: [number, number][] = [];
          for (const [take, order, pick] of steps) {
            if (take) {
              const offset = pages.allocPages(order);
              if (offset === 0) continue;
              expect(offset % (256 * 2 ** order)).toBe(0);
              for (let page = offset / 256; page < offset / 256 + 2 ** order; page++) {
                expect(owner.has(page)).toBe(false);
                expect(page).toBeLessThan(pageCount);
                owner.set(page, offset);
              }
              blocks.push([offset, order]);
            } else if (blocks.length > 0) {
              const [offset, order] = blocks.splice(pick % blocks.length, 1)[0];
              pages.freePages(offset, order);
              for (let page = offset / 256; page < offset / 256 + 2 ** order; page++) owner.delete(page);
            }
            expect(pages.freePageCount).toBe(pageCount - 1 - owner.size);
          }
          for (const [offset, order] of blocks) pages.freePages(offset, order);
          let single = 0;
          while (pages.allocPages(0) !== 0) single++;
          expect(single).toBe(pageCount - 1);
        },
      ),
    );
  });

  it("joins buddies again, so that the largest block can be taken after every page was out", () => {
    const pages = sharedPages({ bytes: 64 * 4096 });
    const offsets: number[] = [];
    for (let offset = pages.allocPages(0); offset !== 0; offset = pages.allocPages(0)) offsets.push(offset);
    expect(offsets.length).toBe(63);
    for (const offset of offsets) pages.freePages(offset, 0);
    expect(pages.allocPages(5)).toBe(32 * 4096);
    expect(pages.allocPages(6)).toBe(0);
  });

  it("refuses blocks that are free or were never given out", () => {
    const pages = sharedPages({ bytes: 64 * 4096 });
    const offset = pages.allocPages(1);
    expect(() => pages.freePages(offset, 0)).toThrow(expect.objectContaining({ code: "SLAB_FOREIGN_OBJECT" }));
    expect(() => pages.freePages(offset + 4096, 0)).toThrow(expect.objectContaining({ code: "SLAB_FOREIGN_OBJECT" }));
    expect(() => pages.freePages(3, 0)).toThrow(expect.objectContaining({ code: "SLAB_FOREIGN_OBJECT" }));
    pages.freePages(offset, 1);
    expect(() => pages.freePages(1 << 17, 1)).toThrow(expect.objectContaining({ code: "SLAB_DOUBLE_FREE" }));
  });

  it("sees the same arena from an attached instance", () => {
    const pages = sharedPages({ bytes: 64 * 4096 });
    const other = SharedPages.attach(pages.handle);
    const offset = other.allocPages(2);
    expect(pages.freePageCount).toBe(59);
    pages.freePages(offset, 2);
    expect(other.freePageCount).toBe(63);
  });

  it("gives out memory of the caller, such as that of WebAssembly, and no other", () => {
    const buffer = new SharedArrayBuffer(16 * 4096);
    const pages = sharedPages({ bytes: 16 * 4096 + 17, buffer });
    expect([pages.buffer, pages.totalPages]).toEqual([buffer, 15]);
    expect(SharedPages.attach(pages.handle).allocPages(3)).toBe(8 * 4096);
    for (const bytes of [15 * 4096, 17 * 4096]) {
      expect(() => sharedPages({ bytes, buffer })).toThrow(expect.objectContaining({ code: "SLAB_INVALID_ARGUMENT" }));
    }
    expect(() => sharedPages({ bytes: 16 * 4096, maxBytes: 32 * 4096, buffer })).toThrow("a buffer of 65536 bytes");
  });

  it("leaves alone what is added to its buffer behind its back, which a thread that joins later sees", () => {
    const memory = new WebAssembly.Memory({ initial: 1, maximum: 2, shared: true });
    const pages = sharedPages({ bytes: 16 * 4096, buffer: memory.buffer });
    memory.grow(1);
    const joined = SharedPages.attach(structuredClone(pages.handle));
    expect(joined.buffer.byteLength).toBe(2 * 65536);
    let taken = 0;
    while (joined.allocPages(0) !== 0) taken++;
    expect([taken, joined.totalPages, pages.freePageCount]).toEqual([15, 15, 0]);
  });

  it("refuses impossible arenas", () => {
    for (const options of [{ bytes: 0 }, { bytes: 2 ** 31 }, { bytes: 65536, pageBytes: 1000 }, { bytes: NaN }]) {
      expect(() => sharedPages(options)).toThrow(expect.objectContaining({ code: "SLAB_INVALID_ARGUMENT" }));
    }
  });
});
