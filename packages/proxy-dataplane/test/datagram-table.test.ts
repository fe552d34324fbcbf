import * as fc from "fast-check";
import { expect, test } from "vitest";
import { ACCEPTED, DatagramTable, DUPLICATE, REFUSED } from "../src/datagram-table.ts";

/** What a list of octets says of a fragment; the table must agree while there are no more gaps than it keeps. */
function judge(octets: Set<number>, total: number, from: number, to: number, isLast: boolean): number {
  if (total >= 0 && (isLast ? to !== total : to > total)) return REFUSED;
  if (isLast && total < 0 && [...octets].some((octet) => octet >= to)) return REFUSED;
  const known = Array.from({ length: to - from }, (_, i) => octets.has(from + i));
  if (known.every(Boolean)) return DUPLICATE;
  return known.some(Boolean) ? REFUSED : ACCEPTED;
}

test("octets, gaps, overlaps and ends are what a set of octets says, for any fragments", () => {
  const fragment = fc.record({ from: fc.nat(11), length: fc.integer({ min: 1, max: 5 }), isLast: fc.boolean() });
  fc.assert(
    fc.property(fc.array(fragment, { maxLength: 30 }), (fragments) => {
      const table = new DatagramTable(4);
      const id = table.begin(new Int32Array(10), 0, 0);
      const octets = new Set<number>();
      let total = -1;
      for (const { from, length, isLast } of fragments) {
        const to = from + length;
        const expected = judge(octets, total, from, to, isLast);
        expect(table.accept(id, from, to, isLast)).toBe(expected);
        if (expected !== ACCEPTED) continue;
        for (let octet = from; octet < to; octet++) octets.add(octet);
        if (isLast) total = to;
        expect(table.isComplete(id)).toBe(total >= 0 && octets.size === total);
      }
    }),
    { numRuns: 500 },
  );
});

test("datagrams are found by their key, end in any order, and the oldest is known", () => {
  const step = fc.record({ key: fc.nat(9), isEnd: fc.boolean() });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
      const table = new DatagramTable(8);
      const model = new Map<number, number>();
      const keyOf = (key: number): Int32Array => Int32Array.of(key, 0, 0, 0, 0, 0, 0, 0, key * 3, 17);
      for (const { key, isEnd } of steps) {
        const id = table.find(keyOf(key), key & 3);
        expect(id).toBe(model.get(key) ?? 0);
        if (id !== 0 && isEnd) {
          table.end(id);
          model.delete(key);
        } else if (id === 0 && table.count < table.capacity) model.set(key, table.begin(keyOf(key), key & 3, 0));
        expect(table.count).toBe(model.size);
        expect(table.oldest).toBe([...model.values()][0] ?? 0);
      }
    }),
    { numRuns: 300 },
  );
});
