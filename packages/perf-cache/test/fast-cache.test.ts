import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { FastCache, hashText, TextCache } from "../src/index.ts";

const refused = expect.objectContaining({ code: "PERF_CACHE_INVALID_ARGUMENT" });

describe("FastCache", () => {
  it("answers with the last value of the key, or nothing, and nothing but what it dropped is missing", () => {
    const step = fc.tuple(fc.nat(9), fc.oneof(fc.nat(40), fc.constantFrom(-1, 2 ** 31, 2 ** 32 - 1)), fc.nat(5));
    fc.assert(
      fc.property(fc.array(step, { maxLength: 300 }), fc.boolean(), (steps, withTtl) => {
        let nowMs = 0;
        const ttl = withTtl ? { ttlMs: 3, now: () => nowMs } : {};
        const cache = FastCache.create<number>({ entries: 32, ...ttl });
        const model = new Map<number, { value: number; setMs: number }>();
        let misses = 0;
        for (const [turn, [action, key, ms]] of steps.entries()) {
          const known = model.get(key >>> 0);
          const live = known !== undefined && (!withTtl || nowMs < known.setMs + 3);
          if (action < 4) {
            const value = cache.get(key);
            if (value === undefined) misses++;
            else expect([live, value]).toEqual([true, known?.value]);
          } else if (action < 8) {
            cache.set(key, turn);
            model.set(key >>> 0, { value: turn, setMs: nowMs });
            expect(cache.get(key)).toBe(turn);
          } else if (action === 8) {
            const was = cache.delete(key);
            if (was) expect(known).toBeDefined();
            model.delete(key >>> 0);
            expect(cache.delete(key)).toBe(false);
          } else nowMs += ms;
          expect(cache.stats().misses).toBe(misses);
          expect(cache.size).toBeLessThanOrEqual(32);
        }
        const { evictions, expired, size } = cache.stats();
        if (evictions === 0 && expired === 0) expect(size).toBe(model.size);
      }),
      { numRuns: 200 },
    );
  });

  it("drops one of four when a set is full, not the one used last, and counts it", () => {
    const cache = FastCache.create<number>({ entries: 8 });
    for (let key = 0; key < 100; key++) {
      cache.set(key, key);
      expect(cache.get(key)).toBe(key);
    }
    expect(cache.stats()).toMatchObject({ size: 8, evictions: 92, hits: 100, misses: 0, hitRate: 1 });
    cache.clear();
    expect([cache.size, cache.get(99)]).toEqual([0, undefined]);
    cache.resetStats();
    expect(cache.stats().hitRate).toBe(0);
  });

  it("lets single entries live for a time of their own", () => {
    let nowMs = 0;
    let asked = 0;
    const cache = FastCache.create<string>({ entries: 8, now: () => (asked++, nowMs) });
    cache.set(1, "stays");
    cache.get(1);
    expect(asked).toBe(0);
    cache.set(2, "goes", 10);
    nowMs = 9;
    expect([cache.get(1), cache.get(2)]).toEqual(["stays", "goes"]);
    nowMs = 10;
    expect([cache.get(1), cache.get(2)]).toEqual(["stays", undefined]);
    expect(cache.stats()).toMatchObject({ size: 1, expired: 1, misses: 1, hits: 4 });
    cache.set(1, "goes too", 5);
    nowMs = 15;
    expect(cache.get(1)).toBe(undefined);
  });

  it("hits nearly as often as an exact least-recently-used cache of the same size", () => {
    const cache = FastCache.create<boolean>({ entries: 1024 });
    const exact = new Map<number, boolean>();
    let exactHits = 0;
    let state = 3;
    const next = (): number => ((state = (Math.imul(state, 1664525) + 1013904223) | 0) >>> 0) / 2 ** 32;
    const cumulative = new Float64Array(8192);
    for (let key = 0, sum = 0; key < 8192; key++) cumulative[key] = sum += 1 / (key + 1);
    for (let i = 0; i < 200_000; i++) {
      const wanted = next() * cumulative[8191];
      let [key, end] = [0, 8191];
      while (key < end) {
        const middle = (key + end) >> 1;
        if (cumulative[middle] < wanted) key = middle + 1;
        else end = middle;
      }
      const hashed = Math.imul(key + 1, 0x85ebca6b);
      if (cache.get(hashed) === undefined) cache.set(hashed, true);
      if (exact.delete(hashed)) exactHits++;
      exact.set(hashed, true);
      if (exact.size > 1024) exact.delete(exact.keys().next().value!);
    }
    expect(cache.stats().hitRate).toBeGreaterThan(exactHits / 200_000 - 0.02);
  });

  it("refuses impossible options", () => {
    for (const entries of [0, 4, 100, 2 ** 25]) expect(() => FastCache.create({ entries })).toThrow(refused);
    expect(() => FastCache.create({ entries: 8, ttlMs: 0 })).toThrow(refused);
    expect(() => FastCache.create<number>({ entries: 8 }).set(1, 1, -1)).toThrow(refused);
  });
});

describe("TextCache", () => {
  it("tells strings of one hash apart", () => {
    // Found by search; if the hash changes, they are only two strings.
    const [a, b] = ["costarring", "liquid"];
    expect(hashText(a)).toBe(hashText(b));
    const cache = TextCache.create<number>({ entries: 8 });
    cache.set(a, 1);
    expect([cache.get(a), cache.get(b)]).toEqual([1, undefined]);
    expect(cache.delete(b)).toBe(false);
    cache.set(b, 2);
    expect([cache.get(a), cache.get(b), cache.size]).toEqual([undefined, 2, 1]);
    expect(cache.delete(b)).toBe(true);
    cache.set(a, 3);
    cache.clear();
    expect([cache.get(a), cache.stats().size]).toEqual([undefined, 0]);
  });
});
