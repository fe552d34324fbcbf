import { Rcu } from "@x/rcu";
import { SharedPages } from "@x/slab";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { FlowTable, hashTuple, writeIpv4Key } from "../src/index.ts";
import { SwitchingHal } from "./switching-hal.ts";

const flowKey = (flow: number): Int32Array => {
  const key = new Int32Array(10);
  writeIpv4Key(key, 0, 0x0a000000 + flow, 0x08080808, 1024 + flow, 443, 6);
  return key;
};
const keys = Array.from({ length: 4096 }, (_, flow) => flowKey(flow));
const insert = (table: FlowTable, flow: number, value = flow): number =>
  table.insert(keys[flow], 0, hashTuple(keys[flow], 0), value);
const lookup = (table: FlowTable, flow: number): number => table.lookup(keys[flow], 0, hashTuple(keys[flow], 0));

describe("FlowTable", () => {
  it("behaves as a map of keys to values, whichever CPU does what", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(3), fc.nat(9), fc.nat(39)), { maxLength: 300 }),
        fc.constantFrom(1, 4, 64),
        (steps, buckets) => {
          const hal = new SwitchingHal(4);
          const rcu = Rcu.create({ hal, callbackCapacity: 8 });
          const table = FlowTable.create({ capacity: 32, buckets, maxBuckets: 64, hal, rcu });
          for (hal.cpu = 0; hal.cpu < 4; hal.cpu++) rcu.online();
          const model = new Map<number, number>();
          for (const [cpu, action, flow] of steps) {
            hal.cpu = cpu;
            const present = lookup(table, flow);
            expect(present === 0 ? undefined : table.value(present)).toBe(model.get(flow));
            if (action < 5) {
              const entry = insert(table, flow, action);
              expect(table.inserted).toBe(!model.has(flow) && model.size < 32);
              if (table.inserted) model.set(flow, action);
              expect(entry !== 0).toBe(model.has(flow));
            } else if (action < 8 && present !== 0) {
              expect(table.delete(present)).toBe(true);
              expect(table.delete(present)).toBe(false);
              model.delete(flow);
            } else if (action === 8 && present !== 0) {
              table.setValue(present, ~flow);
              model.set(flow, ~flow);
            } else if (action === 9) for (hal.cpu = 0; hal.cpu < 4; hal.cpu++) rcu.quiescent();
            expect(table.size).toBe(model.size);
          }
          const values: number[] = [];
          table.forEach((entry) => values.push(table.value(entry)));
          const ascending = (a: number, b: number): number => a - b;
          expect(values.sort(ascending)).toEqual([...model.values()].sort(ascending));
        },
      ),
      { numRuns: 150 },
    );
  });

  it("does not confuse keys that share a hash", () => {
    const table = FlowTable.create({ capacity: 16 });
    const first = table.insert(keys[1], 0, 7, 100);
    const second = table.insert(keys[2], 0, 7, 200);
    expect(first).not.toBe(second);
    expect(table.lookup(keys[1], 0, 7)).toBe(first);
    expect(table.lookup(keys[2], 0, 7)).toBe(second);
    expect(table.lookup(keys[3], 0, 7)).toBe(0);
    expect(table.matches(first, keys[2], 0)).toBe(false);
  });

  it("takes hashes signed or unsigned", () => {
    const table = FlowTable.create({ capacity: 16 });
    const entry = table.insert(keys[1], 0, 0xfffffff0, 1);
    expect(table.lookup(keys[1], 0, -16)).toBe(entry);
    expect(table.hashOf(entry)).toBe(-16);
  });

  it("is full at its capacity, counts it, and has room again after a delete", () => {
    const table = FlowTable.create({ capacity: 100 });
    const entries = Array.from({ length: 100 }, (_, flow) => insert(table, flow));
    expect(entries).not.toContain(0);
    expect(insert(table, 100)).toBe(0);
    expect(table.inserted).toBe(false);
    expect(insert(table, 5)).toBe(entries[5]);
    expect(table.stats().full).toBe(1);
    table.delete(entries[5]);
    expect(insert(table, 100)).toBeGreaterThan(0);
  });

  it("does not reuse an entry before every CPU has passed a quiescent state", () => {
    const hal = new SwitchingHal(2);
    const rcu = Rcu.create({ hal });
    const table = FlowTable.create({ capacity: 1, hal, rcu });
    for (hal.cpu = 0; hal.cpu < 2; hal.cpu++) rcu.online();
    hal.cpu = 0;
    const old = insert(table, 1, 11);
    const generation = table.generation(old);
    table.delete(old);
    expect(table.generation(old)).not.toBe(generation);
    for (let round = 0; round < 3; round++) rcu.quiescent();
    const fresh = insert(table, 2, 22);
    expect(fresh).not.toBe(old);
    expect(table.value(old)).toBe(11);
    expect(table.matches(old, keys[1], 0)).toBe(true);
    expect(rcu.pendingCallbacks()).toBe(1);
    for (let round = 0; round < 3; round++) for (hal.cpu = 0; hal.cpu < 2; hal.cpu++) rcu.quiescent();
    hal.cpu = 0;
    expect(rcu.pendingCallbacks()).toBe(0);
  });

  it("loses no entry when the callback ring is full", async () => {
    const hal = new SwitchingHal(2);
    const rcu = Rcu.create({ hal, callbackCapacity: 4 });
    const pages = SharedPages.create({ bytes: 1 << 20, hal });
    const before = pages.freePageCount;
    const table = FlowTable.create({ capacity: 64, hal, rcu, pages });
    for (hal.cpu = 0; hal.cpu < 2; hal.cpu++) rcu.online();
    hal.cpu = 0;
    for (let flow = 0; flow < 40; flow++) insert(table, flow);
    for (let flow = 0; flow < 40; flow++) table.delete(lookup(table, flow));
    expect(table.size).toBe(0);
    table.resetStats(); // of counts only
    const quiesce = (): void => {
      for (let round = 0; round < 3; round++) for (hal.cpu = 0; hal.cpu < 2; hal.cpu++) rcu.quiescent();
      hal.cpu = 0;
    };
    quiesce();
    table.delete(insert(table, 1));
    quiesce();
    expect(table.destroy()).toBe(0);
    expect(pages.freePageCount).toBe(before);
  });

  it("gets its memory back when all of it waited for room in the callback ring, and nothing is left to delete", () => {
    const hal = new SwitchingHal(2);
    const rcu = Rcu.create({ hal, callbackCapacity: 4 });
    const pages = SharedPages.create({ bytes: 1 << 16, hal });
    const table = FlowTable.create({ capacity: 64, hal, rcu, pages });
    for (hal.cpu = 0; hal.cpu < 2; hal.cpu++) rcu.online();
    hal.cpu = 0;
    let deleted = 0;
    for (let entry = insert(table, 1); entry !== 0; entry = insert(table, 1), deleted++) table.delete(entry);
    expect(deleted).toBeGreaterThan(100);
    expect(table.size).toBe(0);
    let inserted = 0;
    for (let round = 0; round < 4 * deleted && inserted < 64; round++) {
      for (hal.cpu = 0; hal.cpu < 2; hal.cpu++) rcu.quiescent();
      hal.cpu = 0;
      if (insert(table, inserted) !== 0) inserted++;
    }
    expect(inserted).toBe(64);
  });

  it("deletes only the generation that is meant", () => {
    const table = FlowTable.create({ capacity: 4 });
    const entry = insert(table, 1);
    const generation = table.generation(entry);
    expect(generation & 1).toBe(1);
    table.delete(entry);
    expect(table.generation(entry) & 1).toBe(0);
    const again = insert(table, 2);
    expect(again).toBe(entry);
    expect(table.delete(entry, generation)).toBe(false);
    expect(lookup(table, 2)).toBe(entry);
    expect(table.delete(entry, table.generation(entry))).toBe(true);
  });

  it("lets forEach delete what it visits", () => {
    const table = FlowTable.create({ capacity: 256, buckets: 8 });
    for (let flow = 0; flow < 200; flow++) insert(table, flow);
    table.forEach((entry) => {
      if (table.value(entry) % 2 === 0) table.delete(entry);
    });
    expect(table.size).toBe(100);
    for (let flow = 0; flow < 200; flow++) expect(lookup(table, flow) !== 0).toBe(flow % 2 === 1);
  });

  it("reports the true mean and maximum of its chains", () => {
    const table = FlowTable.create({ capacity: 64, buckets: 4, maxBuckets: 4 });
    // Hashes choose the buckets: three entries in bucket 0, one in bucket 2.
    for (const [flow, hash] of [[1, 0], [2, 4], [3, 8], [4, 2]]) table.insert(keys[flow], 0, hash, 0); // prettier-ignore
    expect(table.stats()).toMatchObject({
      size: 4,
      bucketUsage: 2,
      maxChainLength: 3,
      averageChainLength: 2,
      lookups: 0,
    });
    table.lookup(keys[1], 0, 0); // first in its chain
    table.lookup(keys[2], 0, 4); // third
    table.lookup(keys[9], 0, 1); // empty bucket
    table.lookup(keys[9], 0, 2); // passes one entry
    expect(table.stats()).toMatchObject({ lookups: 4, hits: 2, misses: 2, collisions: 1, averageProbes: 5 / 4 });
    table.resetStats();
    expect(table.stats()).toMatchObject({ lookups: 0, averageProbes: 0, bucketUsage: 2, averageChainLength: 2 });
  });

  it("finds in bulk what it finds one by one, and counts the same", () => {
    const table = FlowTable.create({ capacity: 256, buckets: 32 });
    for (let flow = 0; flow < 200; flow += 2) insert(table, flow);
    const many = new Int32Array(200 * 10);
    for (let flow = 0; flow < 200; flow++) many.set(keys[flow], flow * 10);
    const hashes = Int32Array.from({ length: 200 }, (_, flow) => hashTuple(keys[flow], 0));
    const out = new Int32Array(200);
    expect(table.lookupBulk(many, hashes, 200, out)).toBe(100);
    const bulk = { ...table.stats(), inserts: 0 };
    table.resetStats();
    expect([...out]).toEqual(Array.from({ length: 200 }, (_, flow) => lookup(table, flow)));
    expect(table.stats()).toEqual(bulk);
  });

  it("tells the observer which memory a look-up reads", () => {
    const seen: string[] = [];
    let heads = -1;
    const table = FlowTable.create({
      capacity: 4,
      buckets: 4,
      maxBuckets: 4,
      observer: {
        onBucket: (offset) => {
          // The first look-up of the test is of bucket 2.
          if (heads < 0) heads = offset - 8;
          seen.push(`bucket ${(offset - heads) / 4}`);
        },
        onProbe: (entry) => seen.push(`entry ${table.value(entry)}`),
        onInsert: (entry) => seen.push(`insert ${table.value(entry)}`),
        onDelete: (entry) => seen.push(`delete ${table.value(entry)}`),
      },
    });
    const entry = table.insert(keys[1], 0, 2, 5);
    table.insert(keys[2], 0, 6, 7);
    expect(seen.splice(0)).toEqual(["insert 5", "insert 7"]);
    table.lookup(keys[2], 0, 6);
    expect(seen.splice(0)).toEqual(["bucket 2", "entry 5", "entry 7"]);
    table.delete(entry);
    expect(seen).toEqual(["delete 5"]);
  });

  it("serves an attached instance, and keys of other lengths", () => {
    const table = FlowTable.create({ capacity: 8, keyWords: 3 });
    const key = Int32Array.of(1, 2, 3, 4);
    const entry = table.insert(key, 1, 99, 5);
    const other = FlowTable.attach(table.handle, {});
    expect(other.lookup(key, 1, 99)).toBe(entry);
    expect(other.lookup(key, 0, 99)).toBe(0);
    const read = new Int32Array(3);
    other.readKey(entry, read);
    expect([...read]).toEqual([2, 3, 4]);
    expect(other.delete(entry)).toBe(true);
    expect(table.size).toBe(0);
  });

  it("gives every page back at destroy", () => {
    const pages = SharedPages.create({ bytes: 1 << 20 });
    const before = pages.freePageCount;
    const table = FlowTable.create({ capacity: 1000, pages });
    for (let flow = 0; flow < 1000; flow++) insert(table, flow);
    for (let flow = 0; flow < 1000; flow += 3) table.delete(lookup(table, flow));
    expect(table.destroy()).toBe(0);
    expect(pages.freePageCount).toBe(before);
  });

  it("refuses impossible options", () => {
    const code = (options: object): string => {
      try {
        FlowTable.create({ capacity: 16, ...options });
      } catch (error) {
        return (error as { code: string }).code;
      }
      return "nothing";
    };
    expect(code({ capacity: 0 })).toBe("PERF_CACHE_INVALID_ARGUMENT");
    expect(code({ keyWords: 0 })).toBe("PERF_CACHE_INVALID_ARGUMENT");
    expect(code({ stripes: 1e6 })).toBe("PERF_CACHE_INVALID_ARGUMENT");
    expect(code({ hal: new SwitchingHal(2) })).toBe("PERF_CACHE_NEEDS_RCU");
    expect(code({ buckets: 65536, pages: SharedPages.create({ bytes: 65536 }) })).toBe("PERF_CACHE_NO_MEMORY");
  });
});
