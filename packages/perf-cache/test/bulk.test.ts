import * as fc from "fast-check";
import { Rcu } from "@x/rcu";
import { KmemCache } from "@x/slab";
import { describe, expect, it } from "vitest";
import { ConnectionCache, fastCreate, fastLookup, FlowTable, writeIpv4Key } from "../src/index.ts";
import { SwitchingHal } from "./switching-hal.ts";

const FLOWS = 48;
const keys = new Int32Array(FLOWS * 10);
for (let flow = 0; flow < FLOWS; flow++) writeIpv4Key(keys, flow * 10, 0x0a000000 + flow, 1, flow, 80, 6);
/** Crowded: few hashes, so that chains and sets hold flows of one hash. */
const hashes = Int32Array.from({ length: FLOWS }, (_, flow) => Math.imul(flow % 12, 0x9e3779b1));

/** Runs `action` and returns how often it called `Atomics.load`. */
function atomicLoads(action: () => void): number {
  const { load } = Atomics;
  let calls = 0;
  Object.assign(Atomics, {
    load: (words: Int32Array, index: number) => {
      calls++;
      return (load as (words: Int32Array, index: number) => number)(words, index);
    },
  });
  try {
    action();
  } finally {
    Object.assign(Atomics, { load });
  }
  return calls;
}

describe("look-ups in bulk", () => {
  it("answer as a map does on every thread, whoever inserts, deletes, reuses and grows meanwhile", () => {
    const step = fc.tuple(fc.nat(1), fc.nat(9), fc.nat(FLOWS - 1));
    fc.assert(
      fc.property(
        fc.array(step, { maxLength: 200 }),
        fc.constantFrom(1, 2, 4, 16),
        fc.boolean(),
        (steps, ways, isInTable) => {
          const hal = new SwitchingHal(2);
          const rcu = Rcu.create({ hal });
          const first = FlowTable.create({ capacity: 64, buckets: 2, hal, rcu });
          const tables = [first, FlowTable.attach(first.handle, { hal, rcu })];
          const caches = tables.map((table) => ({ table: isInTable ? table : undefined, hal }));
          const mine = ConnectionCache.create({ ...caches[0], entries: 16, maxEntries: 16, ways });
          const views = [mine, ConnectionCache.attach(structuredClone(mine.handle), caches[1])];
          const model = new Map<number, number>();
          const out = new Int32Array(FLOWS);
          const cached = new Int32Array(FLOWS);
          let lookups = 0;
          for (const [turn, [cpu, action, flow]] of steps.entries()) {
            hal.cpu = cpu;
            const table = tables[cpu];
            const cache = views[cpu];
            const present = table.lookup(keys, flow * 10, hashes[flow]);
            if (action < 6 && !model.has(flow)) {
              table.insert(keys, flow * 10, hashes[flow], turn);
              model.set(flow, turn);
            } else if (action < 6 && present !== 0) {
              expect(table.delete(present)).toBe(true);
              model.delete(flow);
            } else if (action < 8) {
              expect(table.lookupBulk(keys, hashes, FLOWS, out)).toBe(model.size);
              expect(cache.lookupBulk(table, keys, hashes, FLOWS, cached)).toBe(model.size);
              expect(cached).toEqual(out);
              lookups += FLOWS;
              const values = Array.from(out, (entry) => (entry === 0 ? undefined : table.value(entry)));
              expect(values).toEqual(Array.from({ length: FLOWS }, (_, each) => model.get(each)));
            } else {
              for (hal.cpu = 0; hal.cpu < 2; hal.cpu++) rcu.quiescent();
            }
            expect(cache.hits() + cache.misses()).toBe(lookups);
          }
        },
      ),
      { numRuns: 100 },
    );
  });

  it("leave out what has an answer already, and what comes before `from`", () => {
    const table = FlowTable.create({ capacity: 64 });
    for (let flow = 0; flow < 40; flow++) table.insert(keys, flow * 10, hashes[flow], flow);
    const out = new Int32Array(40);
    out[0] = -1;
    out[39] = 77;
    expect(table.lookupMissing(keys, hashes, 40, out)).toBe(38);
    expect([out[0], table.value(out[1]), out[39]]).toEqual([-1, 1, 77]);
    out.fill(0);
    expect(table.lookupMissing(keys, hashes, 40, out, 35)).toBe(5);
    expect(out.subarray(0, 35).every((entry) => entry === 0)).toBe(true);
    expect(table.stats().lookups).toBe(43);
  });
});

describe("a hit", () => {
  const make = (webAssembly: boolean): FlowTable => {
    const table = FlowTable.create({ capacity: 64, buckets: 256, webAssembly });
    for (let flow = 0; flow < FLOWS; flow++) table.insert(keys, flow * 10, hashes[flow], flow);
    return table;
  };

  it("takes no Atomics but to learn of entries that are new to the thread, once", () => {
    const other = FlowTable.attach(make(false).handle, {});
    const out = new Int32Array(FLOWS);
    const lookAll = (): void => {
      for (let flow = 0; flow < FLOWS; flow++) expect(other.lookup(keys, flow * 10, hashes[flow])).toBeGreaterThan(0);
    };
    expect(atomicLoads(lookAll)).toBeGreaterThan(0);
    expect(atomicLoads(lookAll)).toBe(0);
    expect(atomicLoads(() => other.lookupBulk(keys, hashes, FLOWS, out))).toBe(0);
  });

  it("takes no Atomics of JavaScript's by WebAssembly, not even in buckets that have no mark yet", () => {
    const growing = FlowTable.create({ capacity: 64, buckets: 32, hash: "jhash" });
    const computed = new Int32Array(FLOWS);
    const out = new Int32Array(FLOWS);
    growing.hashBulk(keys, FLOWS, computed);
    for (let flow = 0; flow < FLOWS && growing.buckets < 128; flow++) {
      growing.insert(keys, flow * 10, computed[flow], flow);
    }
    const { size } = growing;
    expect(size).toBe(33);
    const table = make(true);
    const lookAll = (view: FlowTable, by: Int32Array, count: number): void => {
      for (let flow = 0; flow < count; flow++) expect(view.lookup(keys, flow * 10, by[flow])).toBeGreaterThan(0);
      expect(view.lookupBulk(keys, by, count, out)).toBe(count);
    };
    const views = [FlowTable.attach(table.handle, {}), FlowTable.attach(growing.handle, {})];
    expect(atomicLoads(() => lookAll(views[0], hashes, FLOWS))).toBe(0);
    expect(atomicLoads(() => lookAll(views[1], computed, size))).toBe(0);
    expect(atomicLoads(() => growing.findBulk(keys, size, computed, out))).toBe(0);
    expect(out.subarray(0, size).every((entry, flow) => growing.value(entry) === flow)).toBe(true);
  });

  it("is found when the numbers of publications wrap, and generations stay odd and new", () => {
    const table = FlowTable.create({ capacity: 64, buckets: 256, stripes: 1, webAssembly: false });
    const other = FlowTable.attach(table.handle, {});
    new Int32Array(table.handle.publications)[0] = 0x7fffffff - 20;
    const seen = new Set<number>();
    for (let round = 0; round < 3; round++) {
      for (let flow = 0; flow < FLOWS; flow++) {
        const entry = table.insert(keys, flow * 10, hashes[flow], flow);
        expect(table.generation(entry) & 1).toBe(1);
        seen.add(table.generation(entry));
        expect(other.lookup(keys, flow * 10, hashes[flow])).toBe(entry);
      }
      for (let flow = 0; flow < FLOWS; flow++) {
        const entry = other.lookup(keys, flow * 10, hashes[flow]);
        expect(table.delete(entry)).toBe(true);
        expect(other.lookup(keys, flow * 10, hashes[flow])).toBe(0);
      }
    }
    expect(seen.size).toBe(3 * FLOWS);
  });
});

describe("fastCreate", () => {
  it("makes object, flow and cache entry, which fastLookup then hits", () => {
    const table = FlowTable.create({ capacity: 8 });
    const cache = ConnectionCache.create();
    const pool = KmemCache.create({ name: "connection", objectSize: 32 });
    const words = new Int32Array(pool.buffer);
    expect(fastLookup(cache, table, keys, 0)).toBe(0);
    const entry = fastCreate(cache, table, pool, keys, 0, { initialize: (object) => (words[object >> 2] = 7) });
    expect(table.inserted).toBe(true);
    expect(words[table.value(entry) >> 2]).toBe(7);
    expect(fastLookup(cache, table, keys, 0)).toBe(entry);
    expect([cache.hits(), cache.misses()]).toEqual([1, 1]);
    // The flow is there: the object goes back.
    expect(fastCreate(cache, table, pool, keys, 0)).toBe(entry);
    expect([table.inserted, pool.stats().activeObjects]).toEqual([false, 1]);
  });

  it("changes nothing when table or pool is full", () => {
    const cache = ConnectionCache.create();
    const full = FlowTable.create({ capacity: 1 });
    const pool = KmemCache.create({ name: "connection", objectSize: 2000, memoryLimit: 32768 });
    expect(fastCreate(cache, full, pool, keys, 0)).toBeGreaterThan(0);
    expect(fastCreate(cache, full, pool, keys, 10)).toBe(0);
    expect(pool.stats().activeObjects).toBe(1);
    while (pool.alloc() !== 0);
    const table = FlowTable.create({ capacity: 4 });
    expect(fastCreate(cache, table, pool, keys, 0)).toBe(0);
    expect(table.size).toBe(0);
  });
});
