import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { bootMemoryBytes, findOverlap, rangeEnd, type OwnedRange } from "../../src/topology/memory-ranges.ts";

const range = fc.record({
  node: fc.integer({ min: 0, max: 2 }),
  base: fc.bigInt({ min: 0n, max: 40n }),
  size: fc.bigInt({ min: 1n, max: 12n }),
  hotPluggable: fc.boolean(),
});

const overlap = (a: OwnedRange, b: OwnedRange): boolean => a.base < rangeEnd(b) && b.base < rangeEnd(a);

describe("memory ranges", () => {
  it("overlap exactly when two of them do below the end of boot memory, other nodes' told first", () => {
    fc.assert(
      fc.property(fc.array(range, { maxLength: 6 }), (ranges) => {
        const end = ranges.reduce((most, r) => (!r.hotPluggable && rangeEnd(r) > most ? rangeEnd(r) : most), 0n);
        const pairs = ranges.flatMap((a, i) =>
          ranges
            .slice(i + 1)
            .filter((b) => overlap(a, b) && a.base < end && b.base < end)
            .map((b) => [a, b] as const),
        );
        const found = findOverlap(ranges);
        expect(found !== undefined).toBe(pairs.length > 0);
        const acrossNodes = pairs.some(([a, b]) => a.node !== b.node);
        if (found !== undefined) {
          expect(found.first.node !== found.second.node).toBe(acrossNodes);
          expect(overlap(found.first, found.second)).toBe(true);
        }
      }),
      { numRuns: 500 },
    );
  });

  it("count every byte that is there at boot once", () => {
    fc.assert(
      fc.property(fc.array(range, { maxLength: 8 }), (ranges) => {
        const bytes = new Set<bigint>();
        for (const r of ranges) if (!r.hotPluggable) for (let b = r.base; b < rangeEnd(r); b++) bytes.add(b);
        expect(bootMemoryBytes(ranges)).toBe(bytes.size);
      }),
    );
  });
});
