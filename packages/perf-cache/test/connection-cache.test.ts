import * as fc from "fast-check";
import { Rcu } from "@x/rcu";
import { describe, expect, it } from "vitest";
import { ConnectionCache, fastLookup, FLOW_KEY_IPV6, FlowTable, hashTuple, writeIpv4Key } from "../src/index.ts";
import type { ConnectionCacheOptions } from "../src/index.ts";
import { pseudoLru } from "../src/pseudo-lru.ts";
import { SwitchingHal } from "./switching-hal.ts";

const keys = Array.from({ length: 512 }, (_, flow) => {
  const key = new Int32Array(10);
  writeIpv4Key(key, 0, 0x0a000000 + flow, 0x08080808, 1024 + flow, 443, 6);
  return key;
});
const insert = (table: FlowTable, flow: number): number => table.insert(keys[flow], 0, hashTuple(keys[flow], 0), flow);

describe.each([
  ["memory of its own", false],
  ["the memory of its table", true],
])("a ConnectionCache in %s", (_where, isInTable) => {
  const create = (table: FlowTable, options: ConnectionCacheOptions = {}): ConnectionCache => {
    const cache = ConnectionCache.create({ ...options, table: isInTable ? table : undefined });
    expect(cache.handle.at > 0).toBe(isInTable && cache.ways === 4);
    return cache;
  };

  it("never answers with anything but the table's entry of that key, however flows come and go", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(1), fc.nat(9), fc.nat(23)), { maxLength: 300 }),
        fc.constantFrom(1, 2, 4, 8),
        (steps, ways) => {
          const hal = new SwitchingHal(2);
          const rcu = Rcu.create({ hal });
          const table = FlowTable.create({ hash: "jhash", capacity: 16, hal, rcu });
          const cache = create(table, { hal, entries: 16, ways });
          let lookups = 0;
          for (const [cpu, action, flow] of steps) {
            hal.cpu = cpu;
            if (action < 5) {
              const entry = fastLookup(cache, table, keys[flow], 0);
              expect(entry).toBe(table.lookup(keys[flow], 0, hashTuple(keys[flow], 0)));
              lookups++;
            } else if (action < 7) insert(table, flow);
            else if (action === 7) {
              const entry = table.lookup(keys[flow], 0, hashTuple(keys[flow], 0));
              if (entry !== 0) table.delete(entry);
            } else if (action === 8) cache.flush();
            else if (flow < 12) cache.flushAll();
            else cache.resize(flow < 18 ? 8 : 32);
            rcu.quiescent();
            expect(cache.hits() + cache.misses()).toBe(lookups);
          }
        },
      ),
      { numRuns: 200 },
    );
  });

  it("counts a hit or a miss once", () => {
    const table = FlowTable.create({ hash: "jhash", capacity: 16 });
    const cache = create(table);
    insert(table, 1);
    for (let i = 0; i < 4; i++) fastLookup(cache, table, keys[1], 0);
    fastLookup(cache, table, keys[2], 0);
    expect(cache.stats()).toMatchObject({ hits: 3, misses: 2, hitRate: 0.6, insertions: 1, evictions: 0, stale: 0 });
    expect(table.stats().lookups).toBe(2);
    cache.resetStats();
    expect(cache.hitRate()).toBe(0);
    expect(cache.lookup(table, keys[1], 0, hashTuple(keys[1], 0))).toBeGreaterThan(0);
  });

  it("fills every way of a set before one makes room, whether hashes are the same or not, and takes that of a flow that is gone", () => {
    for (const ways of [1, 2, 4, 8, 16]) {
      for (const hashOf of [(flow: number) => flow * 0x01234567, () => 5]) {
        const table = FlowTable.create({ capacity: 32 });
        const cache = create(table, { entries: ways, maxEntries: ways, ways });
        const look = (flow: number): number => cache.lookupThrough(table, keys[flow], 0, hashOf(flow));
        for (let flow = 0; flow <= ways; flow++) table.insert(keys[flow], 0, hashOf(flow), flow);
        for (let round = 0; round < 2; round++) {
          for (let flow = 0; flow < ways; flow++) expect(table.value(look(flow))).toBe(flow);
        }
        expect(cache.stats()).toMatchObject({ hits: ways, misses: ways, insertions: ways, evictions: 0 });
        table.delete(look(ways - 1));
        expect(look(ways - 1)).toBe(0);
        expect(table.value(look(ways))).toBe(ways);
        expect(cache.stats()).toMatchObject({ stale: 1, insertions: ways + 1, evictions: 0 });
        for (let flow = 0; flow <= ways; flow++) if (flow !== ways - 1) look(flow);
        expect(cache.stats()).toMatchObject({ hits: 2 * ways + 1, misses: ways + 2, evictions: 0 });
      }
    }
  });

  it("takes no tag for a key: among hundreds of flows in one set some have the same", () => {
    const table = FlowTable.create({ hash: "jhash", capacity: 512 });
    const cache = create(table, { entries: 4, maxEntries: 4 });
    for (let flow = 0; flow < keys.length; flow++) insert(table, flow);
    for (const kept of [0, 1]) {
      const entry = fastLookup(cache, table, keys[kept], 0);
      for (let flow = 2; flow < keys.length; flow++) {
        expect(cache.lookup(table, keys[flow], 0, hashTuple(keys[flow], 0))).toBe(0);
      }
      expect(cache.lookup(table, keys[kept], 0, hashTuple(keys[kept], 0))).toBe(entry);
    }
  });

  it("has each entry once, and lets the one go that was neither used nor remembered for longest", () => {
    const table = FlowTable.create({ hash: "jhash", capacity: 16 });
    const cache = create(table, { entries: 4, maxEntries: 4 });
    const entries = Array.from({ length: 6 }, (_, flow) => insert(table, flow));
    const remember = (flow: number): void =>
      cache.insert(hashTuple(keys[flow], 0), entries[flow], table.generation(entries[flow]));
    const known = (): number[] =>
      entries.flatMap((entry, flow) =>
        cache.lookup(table, keys[flow], 0, hashTuple(keys[flow], 0)) === entry ? [flow] : [],
      );
    for (let flow = 0; flow < 4; flow++) for (let turn = 0; turn < 3; turn++) remember(flow);
    expect([known(), cache.stats().evictions]).toEqual([[0, 1, 2, 3], 0]);
    remember(4); // for 0, used longest ago
    remember(5); // not for 4: it is the newest
    expect([known(), cache.stats().evictions]).toEqual([[1, 3, 4, 5], 2]);
  });

  it("compares the whole key, not the hash", () => {
    const table = FlowTable.create({ hash: "jhash", capacity: 16 });
    const cache = create(table);
    const entry = table.insert(keys[1], 0, 77, 1);
    cache.insert(77, entry, table.generation(entry));
    expect(cache.lookup(table, keys[1], 0, 77)).toBe(entry);
    expect(cache.lookup(table, keys[2], 0, 77)).toBe(0);
  });

  it("does not serve a deleted entry, not even when its memory serves another flow of the same key", () => {
    const table = FlowTable.create({ hash: "jhash", capacity: 16 });
    const cache = create(table);
    const hash = hashTuple(keys[1], 0);
    const entry = insert(table, 1);
    cache.insert(hash, entry, table.generation(entry));
    table.delete(entry);
    expect(cache.lookup(table, keys[1], 0, hash)).toBe(0);
    expect(cache.stats().stale).toBe(1);
    cache.insert(hash, entry, table.generation(entry)); // even: the entry has left the table
    expect(cache.lookup(table, keys[1], 0, hash)).toBe(0);
    expect(insert(table, 1)).toBe(entry);
    expect(cache.lookup(table, keys[1], 0, hash)).toBe(0);
  });

  it("holds many entries a CPU and evicts only in full sets", () => {
    const table = FlowTable.create({ hash: "jhash", capacity: 512 });
    const cache = create(table, { entries: 512, ways: 4 });
    for (let flow = 0; flow < 256; flow++) insert(table, flow);
    for (let round = 0; round < 2; round++) {
      for (let flow = 0; flow < 256; flow++) fastLookup(cache, table, keys[flow], 0);
    }
    // 256 flows in 128 sets of 4: a Poisson set of mean 2 overflows in 5 % of cases.
    expect(cache.hitRate()).toBeGreaterThan(0.4);
    expect(cache.stats().insertions).toBe(cache.misses());
  });

  it("hits nearly as often as an exact least-recently-used cache of the same size", () => {
    const flows = keys.length;
    const table = FlowTable.create({ hash: "jhash", capacity: flows });
    for (let flow = 0; flow < flows; flow++) insert(table, flow);
    const rate = (ways: number): number => {
      const cache = create(table, { entries: flows / 4, ways });
      for (const flow of sequence) fastLookup(cache, table, keys[flow], 0);
      return cache.hitRate();
    };
    let seed = 1;
    const sequence = Array.from({ length: 50_000 }, () => {
      seed = (Math.imul(seed, 1664525) + 1013904223) | 0;
      return Math.floor(flows ** ((seed >>> 0) / 2 ** 32)) - 1; // about Zipf: the chance of a rank is as 1 / rank
    });
    const exact = new Map<number, true>();
    let hits = 0;
    for (const flow of sequence) {
      if (exact.delete(flow)) hits++;
      exact.set(flow, true);
      if (exact.size > flows / 4) exact.delete(exact.keys().next().value!);
    }
    const best = hits / sequence.length;
    expect(best).toBeGreaterThan(0.6);
    expect(rate(4)).toBeGreaterThan(best - 0.04);
    expect(rate(8)).toBeGreaterThan(best - 0.03);
    expect(rate(1)).toBeLessThan(rate(4));
  });

  it("keeps the caches of the CPUs apart, and flushes one or all", () => {
    const hal = new SwitchingHal(2);
    const rcu = Rcu.create({ hal });
    const table = FlowTable.create({ hash: "jhash", capacity: 16, hal, rcu });
    const cache = create(table, { hal });
    insert(table, 1);
    const both = (): number[] =>
      [0, 1].map((cpu) => {
        hal.cpu = cpu;
        return cache.lookup(table, keys[1], 0, hashTuple(keys[1], 0));
      });
    hal.cpu = 0;
    const entry = fastLookup(cache, table, keys[1], 0);
    expect(both()).toEqual([entry, 0]);
    hal.cpu = 1;
    fastLookup(cache, table, keys[1], 0);
    expect(both()).toEqual([entry, entry]);
    hal.cpu = 0;
    cache.flush();
    expect(both()).toEqual([0, entry]);
    cache.flushAll();
    expect(both()).toEqual([0, 0]);
    expect([cache.hits(0), cache.hits(1), cache.misses(0), cache.misses(1)]).toEqual([2, 2, 3, 3]);
  });

  it("sees the same caches from an attached instance and tells the observer the sets it reads", () => {
    const table = FlowTable.create({ hash: "jhash", capacity: 16 });
    const cache = create(table, { entries: 64 });
    insert(table, 1);
    const entry = fastLookup(cache, table, keys[1], 0);
    const probes: number[] = [];
    const shared = isInTable ? { table } : {};
    const other = ConnectionCache.attach(structuredClone(cache.handle), shared);
    const watching = ConnectionCache.attach(cache.handle, {
      ...shared,
      observer: { onProbe: (_cpu, offset) => probes.push(offset) },
    });
    expect(fastLookup(other, table, keys[1], 0)).toBe(entry);
    expect(cache.hits()).toBe(1);
    // Who watches looks into another set of a cache in the table's memory.
    for (let turn = 0; turn < 2; turn++) expect(fastLookup(watching, table, keys[1], 0)).toBe(entry);
    expect(cache.hits()).toBe(isInTable ? 2 : 3);
    expect(probes).toEqual([probes[0], probes[0]]);
    expect(new Int32Array(cache.buffer, probes[0], 16)).toContain(entry);
  });

  it("knows flows of IPv6, in bulk too", () => {
    const table = FlowTable.create({ capacity: 64 });
    const cache = create(table);
    const mixed = new Int32Array(400);
    const hashes = new Int32Array(40);
    const out = new Int32Array(40);
    for (let flow = 0; flow < 40; flow++) {
      mixed.set(keys[flow], flow * 10);
      if (flow % 2 === 1) mixed.set([flow, 2, 3, FLOW_KEY_IPV6 | 17], flow * 10 + 6);
      hashes[flow] = table.hash(mixed, flow * 10);
      if (flow < 30) table.insert(mixed, flow * 10, hashes[flow], flow);
    }
    for (const hits of [0, 30, 60]) {
      if (hits === 60) for (let flow = 0; flow < 40; flow++) out[flow] = fastLookup(cache, table, mixed, flow * 10);
      else expect(cache.lookupBulk(table, mixed, hashes, 40, out)).toBe(30);
      expect(Array.from(out.subarray(0, 30), (entry) => table.value(entry))).toEqual([...Array(30).keys()]);
      expect(out.subarray(30)).toEqual(new Int32Array(10));
      expect(cache.stats()).toMatchObject({ hits, insertions: 30, evictions: 0 });
    }
    cache.flush();
    for (let flow = 0; flow < 30; flow++) {
      const entry = table.find(mixed, flow * 10);
      cache.insert(hashes[flow], entry, table.generation(entry));
      expect(cache.lookup(table, mixed, flow * 10, hashes[flow])).toBe(entry);
    }
  });
});

describe("ConnectionCache", () => {
  it("stands in front of no other table than the one it was made for", () => {
    const [table, other] = [0, 1].map(() => FlowTable.create({ capacity: 16 }));
    const cache = ConnectionCache.create({ table });
    const code = expect.objectContaining({ code: "PERF_CACHE_INVALID_ARGUMENT" });
    expect(() => cache.lookup(other, keys[0], 0, 7)).toThrow(code);
    expect(() => fastLookup(cache, other, keys[0], 0)).toThrow(code);
    expect(() => cache.lookupBulk(other, keys[0], new Int32Array(1), 1, new Int32Array(1))).toThrow(code);
  });

  it("has memory of its own when that of the table may grow no more, or is JavaScript's", () => {
    const table = FlowTable.create({ capacity: 16 });
    const large = ConnectionCache.create({ table, maxEntries: 2 ** 20 });
    expect(ConnectionCache.create({ table, maxEntries: 2 ** 20 }).handle.at).toBeGreaterThan(large.handle.at);
    const hal = new SwitchingHal(8);
    const many = FlowTable.create({ capacity: 16, hal, rcu: Rcu.create({ hal }) });
    expect(ConnectionCache.create({ table: many, hal, maxEntries: 2 ** 20 }).handle.at).toBe(0);
    expect(ConnectionCache.create({ table, hal }).handle.at).toBe(0); // The table is for one CPU.
    const slow = FlowTable.create({ capacity: 16, webAssembly: false });
    const cache = ConnectionCache.create({ table: slow });
    expect(cache.handle.at).toBe(0);
    const entry = slow.insert(keys[1], 0, slow.hash(keys[1], 0), 1);
    expect(fastLookup(cache, slow, keys[1], 0)).toBe(entry);
    expect(fastLookup(cache, slow, keys[1], 0)).toBe(entry);
    expect(cache.hits()).toBe(1);
  });

  it("refuses impossible sizes", () => {
    const code = expect.objectContaining({ code: "PERF_CACHE_INVALID_ARGUMENT" });
    expect(() => ConnectionCache.create({ entries: 1000 })).toThrow(code);
    expect(() => ConnectionCache.create({ ways: 3 })).toThrow(code);
    expect(() => ConnectionCache.create({ entries: 2 })).toThrow(code);
    expect(() => ConnectionCache.create().resize(1 << 16)).toThrow(code);
    expect(ConnectionCache.create().entries).toBe(1024);
  });
});

describe("pseudo-LRU", () => {
  it("never names the way used last, and names every way when each victim is used", () => {
    for (const ways of [2, 4, 8, 16]) {
      const { keep, set, victim } = pseudoLru(ways);
      let state = 0;
      const order: number[] = [];
      for (let i = 0; i < ways; i++) {
        const way = victim[state];
        order.push(way);
        state = (state & keep[way]) | set[way];
        expect(victim[state]).not.toBe(way);
      }
      expect(order.sort((a, b) => a - b)).toEqual(Array.from({ length: ways }, (_, way) => way));
    }
  });

  it("has one way to name when there is one", () => {
    expect(pseudoLru(1).victim[0]).toBe(0);
  });
});
