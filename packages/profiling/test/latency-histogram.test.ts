import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { LatencyHistogram } from "../src/index.ts";
import { TestHal } from "./virtual-hal.ts";

const anyValue = fc.oneof(
  fc.integer({ min: 0, max: 300 }),
  fc.maxSafeNat(),
  fc.integer({ min: 0, max: 53 }).map((exponent) => 2 ** exponent),
  fc.integer({ min: 1, max: 53 }).map((exponent) => 2 ** exponent - 1),
);

/** The nearest-rank percentile of the values themselves. */
function exactPercentile(values: readonly number[], percent: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(1, Math.ceil((percent / 100) * sorted.length)) - 1];
}

describe("LatencyHistogram", () => {
  it("answers zeros while nothing is recorded", () => {
    const summary = LatencyHistogram.create().summary();
    expect(Object.values(summary).every((figure) => figure === 0)).toBe(true);
  });

  it("gives percentiles at most one bucket above the exact ones, for every sub-bucket width", () => {
    fc.assert(
      fc.property(
        fc.array(anyValue, { minLength: 1, maxLength: 60 }),
        fc.double({ min: 0, max: 100, noNaN: true }),
        fc.integer({ min: 6, max: 10 }),
        (values, percent, subBucketBits) => {
          const histogram = LatencyHistogram.create({ subBucketBits });
          for (const value of values) histogram.record(value);
          const exact = exactPercentile(values, percent);
          const answered = histogram.percentile(percent);
          expect(answered).toBeGreaterThanOrEqual(exact);
          expect(answered - exact).toBeLessThanOrEqual(exact / 2 ** subBucketBits);
          expect(histogram.percentile(100)).toBe(Math.max(...values));
        },
      ),
    );
  });

  it("keeps count, least, largest and mean exactly", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 2 ** 40 }), { minLength: 1, maxLength: 50 }), (values) => {
        const histogram = LatencyHistogram.create();
        for (const value of values) histogram.record(value);
        const sum = values.reduce((total, value) => total + value, 0);
        expect(histogram.count()).toBe(values.length);
        expect(histogram.min()).toBe(Math.min(...values));
        expect(histogram.max()).toBe(Math.max(...values));
        expect(histogram.sum()).toBe(sum);
        expect(histogram.mean()).toBe(sum / values.length);
      }),
    );
  });

  it("cuts the whole range into buckets that touch, none wider than 1/64 of its values", () => {
    const histogram = LatencyHistogram.create();
    for (let value = 0; value <= 4096; value++) histogram.record(value);
    for (let exponent = 12; exponent <= 53; exponent++) {
      for (let sub = 0; sub < (exponent < 53 ? 64 : 1); sub++) histogram.record(2 ** exponent * (1 + sub / 64));
    }
    let next = 0;
    let last = 0;
    histogram.forEachBucket((from, to) => {
      expect(from).toBe(next);
      last = to;
      expect(to - from + 1).toBeLessThanOrEqual(Math.max(1, from / 64));
      next = to + 1;
    });
    expect(last).toBe(2 ** 53);
    expect(histogram.max()).toBe(2 ** 53);
    expect(histogram.clamped()).toBe(0);
  });

  it("cuts fractions off before anything is computed", () => {
    const histogram = LatencyHistogram.create();
    histogram.record(1.9);
    histogram.record(2 ** 40 + 0.5);
    expect([histogram.min(), histogram.max(), histogram.sum()]).toEqual([1, 2 ** 40, 2 ** 40 + 1]);
  });

  it("counts what lies outside its range instead of hiding it", () => {
    const histogram = LatencyHistogram.create();
    for (const value of [-1, Number.NaN, -Infinity, Infinity, 2 ** 60]) histogram.record(value);
    expect(histogram.clamped()).toBe(5);
    expect(histogram.count()).toBe(5);
    expect(histogram.min()).toBe(0);
    expect(histogram.max()).toBe(2 ** 53);
  });

  it("keeps CPUs apart and merges them on reading", () => {
    const hal = new TestHal(3);
    const histogram = LatencyHistogram.create({ hal });
    histogram.record(10);
    hal.cpu = 2;
    histogram.record(1000);
    histogram.recordOn(2, 2000);
    expect([0, 1, 2].map((cpu) => histogram.count(cpu))).toEqual([1, 0, 2]);
    expect(histogram.min(2)).toBe(1000);
    expect(histogram.min()).toBe(10);
    expect(histogram.count()).toBe(3);
    expect(() => histogram.count(3)).toThrowError(expect.objectContaining({ code: "PROFILING_INVALID_ARGUMENT" }));
  });

  it("merges another histogram as if its values had been recorded here", () => {
    fc.assert(
      fc.property(fc.array(anyValue), fc.array(anyValue), (first, second) => {
        const [a, b, both] = [LatencyHistogram.create(), LatencyHistogram.create(), LatencyHistogram.create()];
        for (const value of first) a.record(value);
        for (const value of second) b.record(value);
        for (const value of [...first, ...second]) both.record(value);
        a.merge(b);
        expect({ ...a.summary(), meanNs: 0 }).toEqual({ ...both.summary(), meanNs: 0 });
      }),
    );
  });

  it("refuses to merge histograms of different width", () => {
    const narrow = LatencyHistogram.create({ subBucketBits: 8 });
    expect(() => LatencyHistogram.create().merge(narrow)).toThrowError(/64 and 256/);
  });

  it("is the same histogram when attached", () => {
    const hal = new TestHal(2);
    const histogram = LatencyHistogram.create({ hal });
    const other = LatencyHistogram.attach(histogram.handle, { hal });
    other.record(5);
    expect(histogram.max()).toBe(5);
    histogram.reset();
    expect(other.count()).toBe(0);
    expect(other.min()).toBe(0);
  });
});
