import { Rcu } from "@x/rcu";
import { SharedPages } from "@x/slab";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { FlowTable, hashTuple, PerfCacheError, writeIpv4Key } from "../src/index.ts";
import { reverseBits } from "../src/bucket-index.ts";
import { SwitchingHal } from "./switching-hal.ts";

const key = (flow: number): Int32Array => {
  const words = new Int32Array(10);
  writeIpv4Key(words, 0, 0x0a000000 + flow, 0x08080808, 1024 + (flow & 0x7fff), 443, 6);
  return words;
};
const insert = (table: FlowTable, flow: number, state = 0, nowMs = 0): number =>
  table.insert(key(flow), 0, table.hash(key(flow), 0), flow, state, nowMs);
const lookup = (table: FlowTable, flow: number): number => table.lookup(key(flow), 0, table.hash(key(flow), 0));
const HASH_KEY = [1, 2, 3, 4];

describe("a table that grows", () => {
  it("reverses bits", () => {
    expect(reverseBits(1)).toBe(0x80000000);
    expect(reverseBits(0x12345678)).toBe(0x1e6a2c48);
    expect(reverseBits(-1)).toBe(0xffffffff);
  });

  it("finds every flow at every size, and visits each once", () => {
    const table = FlowTable.create({ capacity: 5000, buckets: 1, hashKey: HASH_KEY });
    for (let flow = 0; flow < 5000; flow++) {
      insert(table, flow);
      if (flow % 97 === 0) for (let old = 0; old <= flow; old += 13) expect(table.value(lookup(table, old))).toBe(old);
    }
    expect(table.buckets).toBe(16384);
    const seen = new Set<number>();
    table.forEach((entry) => seen.add(table.value(entry)));
    expect(seen.size).toBe(5000);
    for (let flow = 0; flow < 5000; flow++) expect(table.value(lookup(table, flow))).toBe(flow);
    for (let flow = 5000; flow < 6000; flow++) expect(lookup(table, flow)).toBe(0);
    expect(table.stats().maxChainLength).toBeLessThan(12);
  });

  it("behaves as a map for hashes that crowd, through instances that learn of growth late", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(2), fc.nat(3), fc.nat(59)), { maxLength: 400 }), (steps) => {
        const hal = new SwitchingHal(3);
        const rcu = Rcu.create({ hal });
        const first = FlowTable.create({ capacity: 64, buckets: 1, hal, rcu, hash: "jhash" });
        const tables = [first, ...[1, 2].map(() => FlowTable.attach(first.handle, { hal, rcu }))];
        for (hal.cpu = 0; hal.cpu < 3; hal.cpu++) rcu.online();
        const model = new Map<number, number>();
        // Few distinct low bits, so that some chains are long and some hashes are equal.
        const hash = (flow: number): number => Math.imul(flow >> 2, 0x10000001) ^ ((flow & 1) << 31);
        for (const [cpu, action, flow] of steps) {
          hal.cpu = cpu;
          const table = tables[cpu];
          const present = table.lookup(key(flow), 0, hash(flow));
          expect(present === 0 ? undefined : table.value(present)).toBe(model.get(flow));
          if (action < 2) {
            table.insert(key(flow), 0, hash(flow), flow);
            model.set(flow, flow);
          } else if (action === 2 && present !== 0) {
            expect(table.delete(present)).toBe(true);
            model.delete(flow);
          } else for (hal.cpu = 0; hal.cpu < 3; hal.cpu++) rcu.quiescent();
        }
        const seen: number[] = [];
        first.forEach((entry) => seen.push(first.value(entry)));
        expect(seen.length).toBe(model.size);
        expect(new Set(seen)).toEqual(new Set(model.keys()));
      }),
      { numRuns: 150 },
    );
  });

  it("visits what stays exactly once while the visit makes it grow", () => {
    const table = FlowTable.create({ capacity: 4096, buckets: 2 });
    for (let flow = 0; flow < 100; flow++) insert(table, flow);
    const visits = new Map<number, number>();
    let next = 1000;
    table.forEach((entry) => {
      visits.set(table.value(entry), (visits.get(table.value(entry)) ?? 0) + 1);
      for (let i = 0; i < 20 && next < 3000; i++) insert(table, next++);
    });
    for (let flow = 0; flow < 100; flow++) expect(visits.get(flow)).toBe(1);
    expect(Math.max(...visits.values())).toBe(1);
  });

  it("stays as it is when there is no memory for more buckets, and gives all pages back", () => {
    const pages = SharedPages.create({ bytes: 1 << 20 });
    const before = pages.freePageCount;
    const table = FlowTable.create({ capacity: 20000, buckets: 1, pages });
    let flow = 0;
    while (insert(table, flow) !== 0) flow++;
    expect(flow).toBeGreaterThan(5000);
    for (let each = 0; each < flow; each += 7) expect(table.value(lookup(table, each))).toBe(each);
    expect(table.destroy()).toBe(0);
    expect(pages.freePageCount).toBe(before);
  });
});

describe("hostile keys", () => {
  /** Flows that an attacker who knows jhash sends: all in one bucket of 2^13. */
  function attack(): Int32Array[] {
    const flows: Int32Array[] = [];
    for (let flow = 0; flows.length < 500; flow++) if ((hashTuple(key(flow), 0) & 0x1fff) === 0) flows.push(key(flow));
    return flows;
  }

  it("make one long chain under jhash, and none to speak of under the default, whose key nobody knows", () => {
    const flows = attack();
    const longest = (options: { hash?: "jhash" }): number => {
      const table = FlowTable.create({ capacity: 4096, buckets: 8192, ...options });
      for (const flow of flows) table.insert(flow, 0, table.hash(flow, 0), 1);
      return table.stats().maxChainLength;
    };
    expect(longest({ hash: "jhash" })).toBe(500);
    // 500 balls in 8192 bins: a chain of nine has a probability below 10^-9.
    expect(longest({})).toBeLessThan(9);
  });

  it("get a different hash in every table, and the same one where a key is given", () => {
    const hashes = [1, 2, 3, 4].map(() => FlowTable.create({ capacity: 1 }).hash(key(1), 0));
    expect(new Set(hashes).size).toBeGreaterThan(2);
    const fixed = [1, 2].map(() => FlowTable.create({ capacity: 1, hashKey: HASH_KEY }));
    expect(fixed[0].hash(key(1), 0)).toBe(fixed[1].hash(key(1), 0));
    expect(FlowTable.attach(fixed[0].handle, {}).hash(key(1), 0)).toBe(fixed[0].hash(key(1), 0));
  });
});

describe("expiry", () => {
  const TIMEOUTS = { timeoutsMs: [10_000, 600_000, 0], unrepliedStates: [0], tickMs: 1000 };

  it("expires by the timeout of the state, at most two ticks late, a round when the timeout was shortened, and never early", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(2), fc.nat(19), fc.nat(1), fc.nat(20_000)), { maxLength: 120 }),
        fc.constantFrom(0, 2 ** 28 * 1000 - 90_000),
        (steps, startMs) => {
          const table = FlowTable.create({ capacity: 32, expiry: { ...TIMEOUTS, startMs } });
          const model = new Map<number, number>();
          const shortened = new Set<number>();
          let now = startMs;
          for (const [action, flow, state, wait] of steps) {
            const due = now + TIMEOUTS.timeoutsMs[state];
            if (action === 0) {
              if (!model.has(flow)) {
                expect(insert(table, flow, state, now)).toBeGreaterThan(0);
                model.set(flow, due);
                shortened.delete(flow);
              }
            } else if (action === 1 && model.has(flow)) {
              table.touch(lookup(table, flow), state, now);
              if (due < model.get(flow)!) shortened.add(flow);
              model.set(flow, due);
            } else {
              now += wait;
              const before = table.size;
              const expired = table.expire(now);
              expect(table.size + expired).toBe(before);
              for (const [each, deadline] of model) {
                if (lookup(table, each) === 0) {
                  expect(deadline).toBeLessThanOrEqual(now);
                  model.delete(each);
                } else expect(deadline).toBeGreaterThan(now - (shortened.has(each) ? 66_000 : 2000));
              }
            }
            expect(table.size).toBe(model.size);
          }
          expect(table.destroy()).toBe(0);
        },
      ),
      { numRuns: 200 },
    );
  });

  it("lets a full table drop the oldest flow without an answer, or refuses when all have one", () => {
    const table = FlowTable.create({ capacity: 3, expiry: TIMEOUTS, whenFull: "drop-oldest-unreplied" });
    insert(table, 1, 1, 0);
    insert(table, 2, 0, 0);
    insert(table, 3, 0, 3000);
    expect(insert(table, 4, 1, 4000)).toBeGreaterThan(0);
    expect([1, 2, 3, 4].map((flow) => lookup(table, flow) !== 0)).toEqual([true, false, true, true]);
    table.touch(lookup(table, 3), 1, 5000);
    expect(table.state(lookup(table, 3))).toBe(1);
    expect(insert(table, 5, 0, 6000)).toBe(0);
    expect(table.stats()).toMatchObject({ size: 3, dropped: 1, full: 1 });
    expect(table.destroy()).toBe(0);
  });

  it("uses the memory of deleted flows again although they are still on the wheel", () => {
    const pages = SharedPages.create({ bytes: 1 << 18 });
    const before = pages.freePageCount;
    const table = FlowTable.create({ capacity: 1000, expiry: TIMEOUTS, pages });
    for (let flow = 0; flow < 20_000; flow++) {
      expect(insert(table, flow, 1, 0)).toBeGreaterThan(0);
      table.delete(lookup(table, flow));
    }
    expect(table.size).toBe(0);
    expect(table.destroy()).toBe(0);
    expect(pages.freePageCount).toBe(before);
  });

  it("refuses what cannot be", () => {
    const wrong: object[] = [
      { expiry: { timeoutsMs: [] } },
      { expiry: { timeoutsMs: [-1] } },
      { whenFull: "drop-oldest-unreplied" },
      { hashKey: [1] },
      { hash: "jhash", keyWords: 3 },
    ];
    for (const options of wrong) {
      expect(() => FlowTable.create({ capacity: 4, ...options })).toThrow(PerfCacheError);
    }
    expect(() => FlowTable.create({ capacity: 4 }).touch(64, 0, 0)).toThrow("no expiry");
  });
});
