import { describe, expect, it } from "vitest";
import { ConnectionCache, fastLookup, FlowTable, HitRateMonitor, writeIpv4Key } from "../src/index.ts";
import type { LowHitRate } from "../src/index.ts";

describe("HitRateMonitor", () => {
  const FLOWS = 64;
  const keys = new Int32Array(FLOWS * 10);
  for (let flow = 0; flow < FLOWS; flow++) writeIpv4Key(keys, flow * 10, flow, 1, 2, 3, 6);
  const make = (): { table: FlowTable; cache: ConnectionCache; run: (flows: number) => void } => {
    const table = FlowTable.create({ capacity: FLOWS });
    for (let flow = 0; flow < FLOWS; flow++) table.insert(keys, flow * 10, table.hash(keys, flow * 10), flow);
    const cache = ConnectionCache.create({ entries: 4, maxEntries: 64 });
    const run = (flows: number): void => {
      for (let flow = 0; flow < flows; flow++) fastLookup(cache, table, keys, flow * 10);
    };
    return { table, cache, run };
  };

  it("warns when the rate is low, and lets the cache grow until it is not, or is as large as it may be", () => {
    const { cache, run } = make();
    const reports: LowHitRate[] = [];
    const monitor = new HitRateMonitor(cache, { lookups: 200, grow: true, onLow: (report) => reports.push(report) });
    for (let round = 0; round < 100; round++) {
      run(16);
      const report = monitor.check();
      if (report !== undefined) expect(report).toBe(reports.at(-1));
    }
    expect(reports.length).toBeGreaterThan(1);
    expect(reports[0]).toMatchObject({ threshold: 0.8, lookups: 208, entries: 4, entriesNow: 8 });
    expect(reports[0].hitRate).toBeLessThan(0.8);
    expect(cache.entries).toBeGreaterThan(8);
    // The first judgement still has look-ups of more flows than the sets may have ways for. Four fit whatever the hashes are.
    for (let round = 0; round < 50; round++) run(4);
    monitor.check();
    const quiet = reports.length;
    for (let round = 0; round < 50; round++) run(4);
    expect(monitor.check()).toBe(undefined);
    expect(reports.length).toBe(quiet);
  });

  it("only warns where it shall not grow, judges no handful of look-ups, and starts anew when counts are reset", () => {
    const { cache, run } = make();
    const monitor = new HitRateMonitor(cache, { lookups: 64, threshold: 1 });
    run(63);
    expect(monitor.check()).toBe(undefined);
    run(1);
    expect(monitor.check()).toMatchObject({ lookups: 64, entries: 4, entriesNow: 4 });
    cache.resetStats();
    expect(monitor.check()).toBe(undefined);
    run(64);
    expect(monitor.check()?.lookups).toBe(64);
    const wrong = expect.objectContaining({ code: "PERF_CACHE_INVALID_ARGUMENT" });
    expect(() => new HitRateMonitor(cache, { threshold: 80 })).toThrow(wrong);
    expect(() => new HitRateMonitor(cache, { lookups: 0 })).toThrow(wrong);
  });
});
