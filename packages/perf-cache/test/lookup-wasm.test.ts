import * as fc from "fast-check";
import { Rcu } from "@x/rcu";
import { SharedPages } from "@x/slab";
import { afterEach, describe, expect, it, vi } from "vitest";
import { FLOW_KEY_IPV6, FlowTable, hashTuple, writeIpv4Key } from "../src/index.ts";
import type { FlowTableOptions } from "../src/index.ts";
import { SwitchingHal } from "./switching-hal.ts";

const FLOWS = 200;
const hashKey = [1, 2, 3, 4];
const keys = new Int32Array(FLOWS * 10);
/** Flows of IPv4, which bulk look-ups by WebAssembly are for; the others are of IPv6. */
const IPV4 = 150;
for (let flow = 0; flow < FLOWS; flow++) {
  writeIpv4Key(keys, flow * 10, 0x0a000000 + flow, 0xfffffffe - (flow >> 3), flow, 443, 6);
  if (flow >= IPV4) for (let word = 1; word < 10; word++) keys[flow * 10 + word] ^= Math.imul(flow, 0x9e3779b1);
  if (flow >= IPV4) keys[flow * 10 + 9] = FLOW_KEY_IPV6 | 17;
}
const key = (flow: number): Int32Array => keys.subarray(flow * 10, flow * 10 + 10);

afterEach(() => {
  vi.unstubAllGlobals();
});

describe("look-ups by WebAssembly", () => {
  const step = fc.tuple(fc.nat(1), fc.nat(9), fc.nat(FLOWS - 1));
  const runs = fc.tuple(
    fc.array(step, { maxLength: 300 }),
    fc.constantFrom("jhash", "siphash-1-3"),
    fc.constantFrom(1, 4, 64),
    fc.constantFrom(1, 20, Infinity),
  );

  it("answer and count as those of JavaScript do, on every thread, while flows come and go and buckets are added", () => {
    fc.assert(
      fc.property(runs, ([steps, hash, buckets, crowd]) => {
        const hal = new SwitchingHal(2);
        const tables = [true, false].map((webAssembly) => {
          const rcu = Rcu.create({ hal });
          const keyed = hash === "jhash" ? { hash } : { hash, hashKey };
          const table = FlowTable.create({
            ...keyed,
            capacity: FLOWS,
            buckets,
            hal,
            rcu,
            webAssembly,
          });
          expect(table.handle.lookups !== undefined).toBe(webAssembly);
          return { rcu, views: [table, FlowTable.attach(structuredClone(table.handle), { hal, rcu })] };
        });
        const out = tables.map(() => new Int32Array(FLOWS));
        const computed = new Int32Array(FLOWS);
        // Few hashes where `crowd` is small: long chains.
        const hashes = Int32Array.from({ length: FLOWS }, (_, flow) =>
          crowd === Infinity ? tables[0].views[0].hash(keys, flow * 10) : hashTuple(keys, flow * 10) % crowd,
        );
        for (const [turn, [cpu, action, flow]] of steps.entries()) {
          hal.cpu = cpu;
          const [ours, theirs] = tables.map(({ views, rcu }, which) => {
            const table = views[cpu];
            const own = hashes[flow];
            const entry = table.lookup(keys, flow * 10, own);
            const answers: unknown[] = [entry === 0 ? -1 : table.value(entry)];
            if (action < 7) {
              if (entry === 0) table.insert(keys, flow * 10, own, turn);
              else answers.push(table.delete(entry));
            } else if (action === 7) {
              const count = 1 + flow;
              answers.push(table.lookupBulk(keys, hashes, count, out[which]));
              for (let i = 0; i < count; i++) answers.push(out[which][i] === 0 ? -1 : table.value(out[which][i]));
            } else if (action === 8 && crowd === Infinity) {
              const found = table.find(keys, flow * 10);
              answers.push(found === 0 ? -1 : table.value(found));
              answers.push(table.findBulk(keys, 1 + flow, computed, out[which]));
              for (let i = 0; i <= flow; i++) {
                expect(computed[i]).toBe(table.hash(keys, i * 10));
                answers.push(out[which][i] === 0 ? -1 : table.value(out[which][i]));
              }
            } else for (hal.cpu = 0; hal.cpu < 2; hal.cpu++) rcu.quiescent();
            hal.cpu = cpu;
            return { answers, stats: table.stats() };
          });
          expect(ours).toEqual(theirs);
        }
      }),
      { numRuns: 60 },
    );
  });

  it("leave nothing of a batch to the next one, and do not need a full one", () => {
    const table = FlowTable.create({ capacity: FLOWS, hashKey });
    for (let flow = 0; flow < IPV4; flow++) table.insert(key(flow), 0, table.hash(key(flow), 0), flow);
    const hashes = new Int32Array(IPV4);
    const out = new Int32Array(IPV4).fill(-1);
    for (const count of [0, 1, 31, 32, 33, 64, IPV4]) {
      expect(table.findBulk(keys, count, hashes, out)).toBe(count);
      expect(Array.from(out.subarray(0, count), (entry) => table.value(entry))).toEqual(
        Array.from({ length: count }, (_, flow) => flow),
      );
      expect(table.lookupBulk(keys, hashes, count, out)).toBe(count);
      expect(out.subarray(count).every((entry) => count === IPV4 || entry === -1 || entry > 0)).toBe(true);
    }
    for (let flow = 0; flow < IPV4; flow++) table.delete(table.find(key(flow), 0));
    expect(table.findBulk(keys, IPV4, hashes, out)).toBe(0);
    expect(out.every((entry) => entry === 0)).toBe(true);
  });

  it("find and count what is behind many others", () => {
    const table = FlowTable.create({ capacity: FLOWS, buckets: 1, maxBuckets: 1 });
    for (let flow = 0; flow < FLOWS; flow++) table.insert(keys, flow * 10, 7, flow);
    for (let flow = 0; flow < FLOWS; flow++) expect(table.value(table.lookup(keys, flow * 10, 7))).toBe(flow);
    expect(table.stats()).toMatchObject({ averageProbes: (FLOWS + 1) / 2, collisions: FLOWS - 1, lookups: FLOWS });
    table.resetStats();
    expect(table.stats()).toMatchObject({ averageProbes: 0, collisions: 0, lookups: 0 });
  });

  it("take the key and the hash as they are: one word of either makes another flow", () => {
    for (const flow of [0, FLOWS - 1]) {
      const table = FlowTable.create({ capacity: 4, hashKey });
      const other = key(flow).slice();
      const hash = table.hash(other, 0);
      table.insert(other, 0, hash, 1);
      expect(table.lookup(other, 0, hash)).not.toBe(0);
      expect(table.lookup(other, 0, hash ^ 0x40000000)).toBe(0);
      for (const word of flow === 0 ? [0, 4, 8, 9] : [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]) {
        other[word] ^= 1;
        expect(table.lookup(other, 0, hash)).toBe(0);
        other[word] ^= 1;
      }
    }
  });

  it("take no memory for an entry that is none: the unused line at 0 looks like a flow of zeros", () => {
    const zeros = new Int32Array(10);
    const out = new Int32Array(1).fill(-1);
    const table = FlowTable.create({ capacity: 4, buckets: 1, maxBuckets: 1, hash: "jhash" });
    for (const others of [0, 1, 2]) {
      if (others > 0) table.insert(keys, others * 10, others, others);
      expect(table.lookup(zeros, 0, 0)).toBe(0);
      expect(table.lookupBulk(zeros, Int32Array.of(0), 1, out)).toBe(0);
      expect(out[0]).toBe(0);
    }
  });

  it("go by the hash also behind the first entry of a chain", () => {
    const table = FlowTable.create({ capacity: 4, buckets: 1, maxBuckets: 1, hash: "jhash" });
    const out = new Int32Array(1);
    for (const flow of [0, FLOWS - 1]) {
      table.insert(keys, flow * 10, 2, flow);
      for (const others of [1, 2]) {
        table.insert(keys, others * 10, 4 * others, others);
        expect(table.lookup(keys, flow * 10, 6)).toBe(0);
        expect(table.lookupBulk(key(flow), Int32Array.of(6), 1, out)).toBe(0);
      }
      for (const each of [flow, 1, 2]) table.delete(table.lookup(keys, each * 10, each === flow ? 2 : 4 * each));
    }
  });
});

describe("a table without WebAssembly", () => {
  const hashed = Int32Array.of(7);
  const works = (table: FlowTable): void => {
    const entry = table.insert(keys, 0, 7, 5);
    expect(table.lookup(keys, 0, 7)).toBe(entry);
    expect(table.lookupBulk(keys, hashed, 1, new Int32Array(1))).toBe(1);
    table.delete(entry);
    expect(table.lookup(keys, 0, 7)).toBe(0);
  };

  it("is one where there is none, where it is forbidden, where memory is the caller's or somebody watches", () => {
    const without = (options: Partial<FlowTableOptions>): void => {
      const table = FlowTable.create({ capacity: 8, ...options });
      expect(table.handle.lookups).toBeUndefined();
      works(table);
    };
    without({ webAssembly: false });
    without({ pages: SharedPages.create({ bytes: 1 << 20 }) });
    without({ observer: {} });
    without({ keyWords: 10 });
    vi.stubGlobal("WebAssembly", undefined);
    without({});
    vi.stubGlobal("WebAssembly", {});
    without({});
  });

  it("can be a view of one that has it, in a thread where it is forbidden or somebody watches", () => {
    const table = FlowTable.create({ capacity: 8, hashKey });
    expect(table.handle.lookups).toBeDefined();
    const watching = FlowTable.attach(table.handle, { observer: {} });
    vi.stubGlobal("WebAssembly", {});
    const without = FlowTable.attach(table.handle, {});
    vi.unstubAllGlobals();
    for (const view of [table, watching, without]) {
      const entry = view.insert(keys, 0, view.hash(keys, 0), 5);
      for (const each of [table, watching, without]) expect(each.find(keys, 0)).toBe(entry);
      works(view);
      view.delete(entry);
    }
  });

  it("gives back what it had for look-ups", () => {
    const table = FlowTable.create({ capacity: 8 });
    const pages = SharedPages.attach(table.handle.pages!);
    table.insert(keys, 0, 7, 5);
    expect(table.destroy()).toBe(0);
    expect(pages.freePageCount).toBe(pages.totalPages);
  });
});
