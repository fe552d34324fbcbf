import * as fc from "fast-check";
import { afterEach, describe, expect, it, vi } from "vitest";
import { POISON_BYTE, Rcu, RcuCell, RcuHashList, RcuList, jsonCodec } from "../src/index.ts";
import { SpinLocks } from "@x/smp";
import { ManyCpus } from "./many-cpus.ts";

const CAPACITY = 8;

afterEach(() => vi.restoreAllMocks());

function listed(list: RcuHashList, hash: number): number[] {
  const words = new Int32Array(list.buffer);
  const found: number[] = [];
  for (let offset = list.first(hash); offset !== 0; offset = list.next(offset)) found.push(words[offset / 4]);
  return found;
}

describe("an RCU hash list", () => {
  it("behaves as lists by hash under any insertions and removals through two objects, and loses no node", () => {
    const act = fc.record({
      kind: fc.constantFrom("insert", "insert", "remove", "quiescent"),
      hash: fc.integer(),
      at: fc.nat(CAPACITY),
      object: fc.nat(1),
    });
    fc.assert(
      fc.property(fc.array(act, { maxLength: 80 }), (acts) => {
        const rcu = Rcu.create();
        const tables = [RcuHashList.create({ rcu, buckets: 4, capacity: CAPACITY, payloadBytes: 16 })];
        tables.push(RcuHashList.attach(structuredCloneOf(tables[0]), { rcu }));
        const model: { offset: number; value: number; bucket: number }[] = [];
        let value = 0;
        for (const { kind, hash, at, object } of acts) {
          const table = tables[object];
          if (kind === "quiescent") rcu.quiescent();
          else if (kind === "remove" && model.length > 0) {
            expect(table.remove(model.splice(at % model.length, 1)[0].offset)).toBe(true);
          } else if (kind === "insert") {
            const offset = table.allocate();
            if (offset === 0) continue;
            new Int32Array(table.buffer)[offset / 4] = ++value;
            table.insert(offset, hash);
            model.unshift({ offset, value, bucket: hash & 3 });
          }
          for (const bucket of [0, 1, 2, 3]) {
            expect(listed(table, bucket)).toEqual(model.filter((m) => m.bucket === bucket).map((m) => m.value));
          }
          expect(table.size).toBe(model.length);
        }
        rcu.quiescent();
        rcu.quiescent();
        let spare = 0;
        while (tables[0].allocate() !== 0) spare++;
        expect(spare + model.length).toBe(CAPACITY);
      }),
    );
  });

  it("refuses a number of buckets that is no power of two, and abandons what was not inserted", () => {
    const rcu = Rcu.create();
    for (const buckets of [0, 3, -4, 1.5, 2 ** 21]) {
      expect(() => RcuHashList.create({ rcu, buckets, capacity: 1, payloadBytes: 8 })).toThrow(
        expect.objectContaining({ code: "RCU_INVALID_ARGUMENT" }),
      );
    }
    const table = RcuHashList.create({ rcu, buckets: 2, capacity: 1, payloadBytes: 8 });
    const only = table.allocate();
    expect(table.allocate()).toBe(0);
    table.abandon(only);
    expect(table.allocate()).toBe(only);
  });
});

/** A handle as another thread gets it: plain data around the same memory. */
function structuredCloneOf(table: RcuHashList): RcuHashList["handle"] {
  return { ...table.handle, writers: { ...table.handle.writers } };
}

describe("debug mode", () => {
  it("finds a reader that holds a node beyond its grace period, and poisons the node before it is used again", () => {
    const rcu = Rcu.create({ debug: true });
    const list = RcuList.create({ rcu, capacity: 1, payloadBytes: 8 });
    const node = list.allocate();
    list.insertFirst(node);
    list.remove(node);
    expect(list.next(node)).toBe(0);
    rcu.quiescent();
    expect(list.allocate()).toBe(node);
    expect(() => list.next(node)).toThrow(expect.objectContaining({ code: "RCU_USE_AFTER_FREE" }));
    expect([...new Uint8Array(list.buffer, node, 8)]).toEqual(Array.from({ length: 8 }, () => POISON_BYTE));
  });

  it("poisons an old version of a cell after its grace period, not before, and never the latest", () => {
    const hal = new ManyCpus(2);
    const rcu = Rcu.create({ hal, debug: true });
    [0, 1].forEach((cpu) => hal.on(cpu, () => rcu.online()));
    const cell = RcuCell.create({ rcu, codec: jsonCodec, initial: "first", maxBytes: 16, slots: 2 });
    const holds = (text: string): boolean => Buffer.from(new Uint8Array(cell.handle.memory)).includes(text);
    cell.update("second");
    rcu.quiescent();
    expect(holds("first")).toBe(true);
    hal.on(1, () => rcu.quiescent());
    rcu.quiescent();
    expect(holds("first")).toBe(false);
    expect(holds("second") && cell.read() === "second").toBe(true);
    expect(cell.update("third")).toBe(3);
    expect(cell.read()).toBe("third");
  });
});

/** The memory at every atomic step of `act`: what others find if the thread dies there. */
function deaths(buffers: SharedArrayBuffer[], act: () => void): ArrayBuffer[][] {
  const states: ArrayBuffer[][] = [];
  const take = (): void => void states.push(buffers.map((buffer) => new Uint8Array(buffer).slice().buffer));
  for (const name of ["store", "add", "sub", "compareExchange"] as const) {
    const original = Atomics[name] as (...parameters: unknown[]) => number;
    vi.spyOn(Atomics, name).mockImplementation(((...parameters: unknown[]): number => {
      take();
      const result = original(...parameters);
      take();
      return result;
    }) as never);
  }
  act();
  vi.restoreAllMocks();
  return states;
}

function restore(buffers: SharedArrayBuffer[], state: ArrayBuffer[]): void {
  buffers.forEach((buffer, index) => new Uint8Array(buffer).set(new Uint8Array(state[index])));
}

describe("a writer that dies at any atomic step", () => {
  const acts: [string, (list: RcuList, node: number) => void][] = [
    ["allocating", (list) => void list.allocate()],
    ["inserting", (list) => list.insertFirst(list.allocate())],
    ["inserting after", (list, node) => list.insertAfter(node, list.allocate())],
    ["removing", (list, node) => void list.remove(node)],
    ["abandoning", (list) => list.abandon(list.allocate())],
  ];

  it.each(acts)("of a list, %s, leaves a whole list, and no node is lost", (_name, act) => {
    const hal = new ManyCpus(2);
    const rcu = Rcu.create({ hal });
    const list = RcuList.create({ rcu, capacity: CAPACITY, payloadBytes: 8 });
    const inserted = [1, 2, 3].map(() => {
      const node = list.allocate();
      list.insertFirst(node);
      return node;
    });
    list.remove(inserted[0]);
    const locks = lockMemories(list.handle.writers);
    const buffers = [list.handle.memory, rcu.handle.memory, ...locks];
    const states = hal.on(1, () => deaths(buffers, () => act(list, inserted[1])));
    expect(states.length).toBeGreaterThan(2);
    for (const state of states) {
      restore(buffers, state);
      rcu.reportDead(1);
      list.reportDead(1);
      let linked = 0;
      for (let node = list.first(); node !== 0 && linked <= CAPACITY; node = list.next(node)) linked++;
      expect(list.size).toBe(linked);
      expect(linked).toBeGreaterThanOrEqual(1);
      let spare = 0;
      for (let turn = 0; turn < CAPACITY; turn++) while (list.allocate() !== 0) spare++;
      expect(spare + linked).toBe(CAPACITY);
    }
  });

  it("does not hold up the report of another death, whose nodes the next writer frees", () => {
    const hal = new ManyCpus(3);
    const rcu = Rcu.create({ hal });
    const list = RcuList.create({ rcu, capacity: CAPACITY, payloadBytes: 8 });
    hal.on(2, () => expect(list.allocate()).toBeGreaterThan(0));
    hal.on(1, () => SpinLocks.attach(list.handle.writers, { hal }).lock());
    list.reportDead(2);
    list.reportDead(1);
    let spare = 0;
    while (list.allocate() !== 0) spare++;
    expect(spare).toBe(CAPACITY);
  });

  it("of a cell leaves the old version or the new one, and the next writer goes on", () => {
    const hal = new ManyCpus(2);
    const rcu = Rcu.create({ hal });
    rcu.online();
    const cell = RcuCell.create<string>({ rcu, codec: jsonCodec, initial: "a", slots: 2, maxBytes: 8 });
    const buffers = [cell.handle.memory, rcu.handle.memory, ...lockMemories(cell.handle.writers)];
    const states = hal.on(1, () => deaths(buffers, () => void cell.update("b")));
    for (const state of states) {
      restore(buffers, state);
      rcu.reportDead(1);
      cell.reportDead(1);
      const { version } = cell;
      const other = RcuCell.attach<string>(cell.handle, { rcu, codec: jsonCodec });
      expect(other.read()).toBe(version === 1 ? "a" : "b");
      // A reader may still hold the version before: its slot is not used again before a grace period.
      if (version === 2) expect(other.tryUpdate("c")).toBe(0);
      rcu.quiescent();
      expect(other.tryUpdate("c")).toBe(version + 1);
      expect(other.read()).toBe("c");
    }
  });
});

function lockMemories(handle: object): SharedArrayBuffer[] {
  return Object.values(handle).filter((value): value is SharedArrayBuffer => value instanceof SharedArrayBuffer);
}
