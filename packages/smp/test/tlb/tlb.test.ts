import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { PageSize, Tlb, TlbContexts } from "../../src/index.ts";

const UNITS = [1, 512, 512 * 512];
const error = (code: string): object => expect.objectContaining({ code }) as object;
const range = (count: number): number[] => Array.from({ length: count }, (_, i) => i);

describe("Tlb", () => {
  it("translates what it was told, at any offset in a page of any size, and misses all else", () => {
    const tlb = new Tlb();
    tlb.insert(1, 7, 70);
    tlb.insert(1, 512 * 3, 512 * 9, PageSize.Large);
    tlb.insert(1, 512 * 512 * 2, 512 * 512 * 5, PageSize.Huge);
    expect(tlb.lookup(1, 7)).toBe(70);
    expect(tlb.lookup(1, 512 * 3 + 500)).toBe(512 * 9 + 500);
    expect(tlb.lookup(1, 512 * 512 * 2 + 77_777)).toBe(512 * 512 * 5 + 77_777);
    expect([tlb.lookup(1, 8), tlb.lookup(2, 7)]).toEqual([-1, -1]);
    expect(tlb).toMatchObject({ firstLevelHits: 3, secondLevelHits: 0, misses: 2 });
  });

  it("carries page numbers beyond 32 bits", () => {
    const tlb = new Tlb();
    for (const page of [2 ** 36 - 1, 2 ** 40 + 5, 2 ** 36 - 1 - 2 ** 32]) tlb.insert(3, page, page + 1);
    for (const page of [2 ** 36 - 1, 2 ** 40 + 5, 2 ** 36 - 1 - 2 ** 32]) expect(tlb.lookup(3, page)).toBe(page + 1);
  });

  it("holds a working set of its size, and lets go of what was not used for long", () => {
    const tlb = new Tlb({ data: { entries: 16, ways: 4 }, instruction: undefined, second: undefined });
    for (const page of range(16)) tlb.insert(0, page, page);
    for (let round = 0; round < 3; round++) for (const page of range(16)) expect(tlb.lookup(0, page)).toBe(page);
    expect(tlb.misses).toBe(0);
    // Page 0 is used again and again while others come into its set: a tree over four ways never drops the youngest.
    for (const page of [16, 20, 24, 28, 32, 36]) {
      tlb.lookup(0, 0);
      tlb.insert(0, page, page);
    }
    expect(tlb.lookup(0, 0)).toBe(0);
    // Nor, and there it differs from exact LRU, the other page of the half that is used again and again.
    expect([4, 8, 12].map((page) => tlb.lookup(0, page))).toEqual([4, -1, -1]);
    expect(tlb.count()).toBe(16);
  });

  it("finds in the second level what the first has dropped, and brings it back", () => {
    const tlb = new Tlb({ data: { entries: 4, ways: 4 }, second: { entries: 64, ways: 8 } });
    for (const page of range(32)) tlb.insert(0, page, page);
    expect(tlb.lookup(0, 0)).toBe(0);
    expect(tlb.lookup(0, 0)).toBe(0);
    expect(tlb).toMatchObject({ firstLevelHits: 1, secondLevelHits: 1, misses: 0 });
  });

  it("keeps instructions and data apart in the first level, or not", () => {
    const apart = new Tlb({ second: undefined });
    apart.insert(0, 1, 10, PageSize.Small, false, true);
    expect([apart.lookup(0, 1), apart.lookup(0, 1, true)]).toEqual([-1, 10]);
    const together = new Tlb({ instruction: undefined, second: undefined });
    together.insert(0, 1, 10, PageSize.Small, false, true);
    expect([together.lookup(0, 1), together.lookup(0, 1, true)]).toEqual([10, 10]);
  });

  it("forgets a page of any size and global ones by INVLPG, and spaces with or without global pages", () => {
    const tlb = new Tlb();
    const fill = (): void => {
      tlb.invalidateAll();
      tlb.insert(1, 5, 5);
      tlb.insert(2, 5, 6);
      tlb.insert(1, 512, 512, PageSize.Large);
      tlb.insert(1, 9, 9, PageSize.Small, true);
    };
    const left = (): number[] => [tlb.lookup(1, 5), tlb.lookup(2, 5), tlb.lookup(1, 700), tlb.lookup(2, 9)];
    const after = (invalidate: () => void): number[] => {
      fill();
      expect(left()).toEqual([5, 6, 700, 9]);
      invalidate();
      return left();
    };
    expect(after(() => tlb.invalidatePage(1, 5))).toEqual([-1, 6, 700, 9]);
    expect(after(() => tlb.invalidatePage(1, 1000))).toEqual([5, 6, -1, 9]);
    expect(after(() => tlb.invalidatePage(2, 9))).toEqual([5, 6, 700, -1]);
    expect(after(() => tlb.invalidateRange(1, 4, 6))).toEqual([-1, 6, 700, -1]);
    expect(after(() => tlb.invalidateRange(1, 0, 1024, 512))).toEqual([5, 6, -1, 9]);
    expect(after(() => tlb.invalidateSpace(1))).toEqual([-1, 6, -1, 9]);
    expect(after(() => tlb.invalidateNonGlobal())).toEqual([-1, -1, -1, 9]);
    expect(after(() => tlb.invalidateAll())).toEqual([-1, -1, -1, -1]);
    expect(tlb.count()).toBe(0);
  });

  it("never answers with a translation that was replaced or invalidated, and always with the last one inserted", () => {
    const step = fc.record({
      what: fc.constantFrom("insert", "insert", "insert", "lookup", "lookup", "page", "space", "nonGlobal", "all"),
      space: fc.integer({ min: 0, max: 2 }),
      page: fc.integer({ min: 0, max: 12 }),
      size: fc.integer({ min: 0, max: 2 }),
      global: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 150 }), (steps) => {
        const tlb = new Tlb({ data: { entries: 8, ways: 2 }, second: { entries: 16, ways: 4 } });
        // What may be answered: by size, number and space ("*": global). Numbers of different sizes do not overlap.
        const told = new Map<string, number>();
        const base = (size: number, page: number): number => (size * 100 + page) * UNITS[2] + page * UNITS[size];
        let frame = 0;
        for (const { what, space, page, size, global } of steps) {
          const at = base(size, page);
          const keyOf = (of: number | "*"): string => `${of}:${at}`;
          if (what === "insert") {
            // One page is either global or not; a space's own comes first, as the page walk would find it.
            if (told.has(keyOf(global ? space : "*"))) continue;
            tlb.insert(space, at, (frame += UNITS[2]), size as PageSize, global);
            told.set(keyOf(global ? "*" : space), frame);
            expect(tlb.lookup(space, at)).toBe(told.get(keyOf(space)) ?? frame);
          } else if (what === "lookup") {
            const found = tlb.lookup(space, at);
            if (found !== -1) expect([told.get(keyOf(space)), told.get(keyOf("*"))]).toContain(found);
          } else if (what === "page") {
            tlb.invalidatePage(space, at);
            told.delete(keyOf(space));
            told.delete(keyOf("*"));
            expect(tlb.lookup(space, at)).toBe(-1);
          } else if (what === "space") {
            tlb.invalidateSpace(space);
            for (const key of told.keys()) if (key.startsWith(`${space}:`)) told.delete(key);
          } else if (what === "nonGlobal") {
            tlb.invalidateNonGlobal();
            for (const key of told.keys()) if (!key.startsWith("*")) told.delete(key);
          } else {
            tlb.invalidateAll();
            told.clear();
          }
        }
      }),
    );
  });

  it("refuses sizes that cannot be", () => {
    for (const data of [
      { entries: 3, ways: 1 },
      { entries: 4, ways: 3 },
      { entries: 4, ways: 8 },
      { entries: 64, ways: 64 },
    ]) {
      expect(() => new Tlb({ data })).toThrow(error("SMP_INVALID_ARGUMENT"));
    }
    for (const space of [4096, -1, 0.5])
      expect(() => new Tlb().insert(space, 0, 0)).toThrow(error("SMP_INVALID_ARGUMENT"));
  });
});

describe("TlbContexts", () => {
  it("keeps what a space had in the TLB until others have taken its tag, and never mixes spaces up", () => {
    const contexts = new TlbContexts(new Tlb(), 2);
    const touch = (space: number): boolean => {
      contexts.switchTo(space);
      const frame = contexts.tlb.lookup(contexts.tag, 1);
      if (frame === -1) contexts.tlb.insert(contexts.tag, 1, 100 + space);
      else expect(frame).toBe(100 + space);
      return frame !== -1;
    };
    expect([10, 11, 10, 11].map(touch)).toEqual([false, false, true, true]);
    expect(touch(12)).toBe(false);
    expect([11, 12].map(touch)).toEqual([true, true]);
    expect(touch(10)).toBe(false);
    expect(contexts.reloads).toBe(4);
    expect(contexts.current).toBe(10);
  });

  it("flushes pages or all of one space, also one that is not current, and what is global", () => {
    const contexts = new TlbContexts(new Tlb());
    const { tlb } = contexts;
    contexts.switchTo(3);
    const three = contexts.tag;
    for (const page of [1, 2, 3]) tlb.insert(three, page, page);
    contexts.switchTo(4);
    tlb.insert(contexts.tag, 1, 9);
    tlb.insert(contexts.tag, 8, 8, PageSize.Small, true);
    contexts.flush(3, 2, 1, 1);
    contexts.flush(77, 0, Infinity, 1);
    expect([1, 2, 3].map((page) => tlb.lookup(three, page))).toEqual([1, -1, 3]);
    contexts.flush(3, 0, Infinity, 1);
    expect([1, 3].map((page) => tlb.lookup(three, page))).toEqual([-1, -1]);
    expect(tlb.lookup(contexts.tag, 1)).toBe(9);
    contexts.flush(-1, 8, 1, 1);
    expect([tlb.lookup(contexts.tag, 8), tlb.lookup(contexts.tag, 1)]).toEqual([-1, 9]);
    contexts.flush(-1, 0, Infinity, 1);
    expect(tlb.count()).toBe(0);
  });

  it("gives the tag of a space that is no more to the next, with nothing in it", () => {
    const contexts = new TlbContexts(new Tlb(), 1);
    contexts.switchTo(0);
    contexts.tlb.insert(contexts.tag, 1, 1);
    contexts.forget(0);
    contexts.forget(0);
    expect([contexts.current, contexts.tag]).toEqual([-1, 0]);
    contexts.switchTo(0);
    expect(contexts.tlb.lookup(contexts.tag, 1)).toBe(-1);
    expect(() => new TlbContexts(new Tlb(), 0)).toThrow(error("SMP_INVALID_ARGUMENT"));
  });
});
