import { expect, test } from "vitest";
import { Random } from "../src/machine/random.ts";
import { TraceHash } from "../src/machine/trace-hash.ts";

test("equal events give equal hashes, and any change of any field another one", () => {
  const hash = (...events: [number, number, number, number][]): string => {
    const trace = new TraceHash();
    for (const event of events) trace.add(...event);
    return trace.digest();
  };
  const base = hash([1.5, 2, 3, 4], [7, 1, 0, 0]);
  expect(base).toMatch(/^[0-9a-f]{16}$/);
  expect(hash([1.5, 2, 3, 4], [7, 1, 0, 0])).toBe(base);
  const others = [
    hash([1.6, 2, 3, 4], [7, 1, 0, 0]),
    hash([1.5, 3, 3, 4], [7, 1, 0, 0]),
    hash([1.5, 2, 4, 4], [7, 1, 0, 0]),
    hash([1.5, 2, 3, 5], [7, 1, 0, 0]),
    hash([7, 1, 0, 0], [1.5, 2, 3, 4]),
    hash([1.5, 2, 3, 4]),
  ];
  expect(new Set([base, ...others]).size).toBe(7);
});

test("a hundred thousand different events leave no two equal prefixes", () => {
  const trace = new TraceHash();
  const seen = new Set<string>();
  for (let at = 0; at < 100_000; at++) {
    trace.add(at, 1, at & 7, 0);
    seen.add(trace.digest());
  }
  expect(seen.size).toBe(100_000);
});

test("random streams of one seed differ by name, and repeat by seed", () => {
  const draw = (random: Random): number[] => Array.from({ length: 8 }, () => random.below(1000));
  expect(draw(Random.stream(1, "nic"))).toEqual(draw(Random.stream(1, "nic")));
  expect(draw(Random.stream(1, "nic"))).not.toEqual(draw(Random.stream(1, "threads")));
  expect(draw(Random.stream(1, "nic"))).not.toEqual(draw(Random.stream(2, "nic")));
});
