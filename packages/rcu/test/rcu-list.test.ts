import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Rcu, RcuList } from "../src/index.ts";
import { ManyCpus } from "./many-cpus.ts";

const CAPACITY = 6;

function values(list: RcuList): number[] {
  const words = new Int32Array(list.buffer);
  const found: number[] = [];
  for (let offset = list.first(); offset !== 0; offset = list.next(offset)) found.push(words[offset / 4]);
  return found;
}

function insert(list: RcuList, value: number, previous = 0): number {
  const offset = list.allocate();
  if (offset === 0) return 0;
  new Int32Array(list.buffer)[offset / 4] = value;
  if (previous === 0) list.insertFirst(offset);
  else list.insertAfter(previous, offset);
  return offset;
}

describe("an RCU list", () => {
  it("lets a reader on a removed node find its way on", () => {
    const rcu = Rcu.create();
    const list = RcuList.create({ rcu, capacity: CAPACITY, payloadBytes: 8 });
    const [, b, a] = [insert(list, 3), insert(list, 2), insert(list, 1)];
    expect(list.remove(b)).toBe(true);
    expect(values(list)).toEqual([1, 3]);
    expect(new Int32Array(list.buffer)[b / 4]).toBe(2);
    expect(new Int32Array(list.buffer)[list.next(b) / 4]).toBe(3);
    expect(list.remove(b)).toBe(false);
    expect(list.remove(a)).toBe(true);
    expect(list.size).toBe(1);
  });

  it("uses a removed node again only after a grace period", () => {
    const hal = new ManyCpus(2);
    const rcu = Rcu.create({ hal });
    hal.on(0, () => rcu.online());
    hal.on(1, () => rcu.online());
    const list = RcuList.create({ rcu, capacity: 1, payloadBytes: 8 });
    const only = insert(list, 1);
    list.remove(only);
    hal.on(0, () => rcu.quiescent());
    expect(list.allocate()).toBe(0);
    hal.on(1, () => rcu.quiescent());
    expect(list.allocate()).toBe(only);
    list.abandon(only);
    expect(list.allocate()).toBe(only);
  });

  it("refuses offsets that are no nodes and nodes in the wrong state", () => {
    const list = RcuList.create({ rcu: Rcu.create(), capacity: 2, payloadBytes: 16 });
    const node = insert(list, 1);
    const invalid = expect.objectContaining({ code: "RCU_INVALID_ARGUMENT" });
    for (const bad of [0, -8, node + 8, node + 4, 1e9, Number.NaN]) expect(() => list.remove(bad)).toThrow(invalid);
    expect(() => list.insertFirst(node)).toThrow(invalid);
    expect(() => list.abandon(node)).toThrow(invalid);
    const taken = list.allocate();
    expect(() => list.insertAfter(taken, taken)).toThrow(invalid);
    for (const options of [
      { capacity: 0, payloadBytes: 8 },
      { capacity: 1, payloadBytes: 12 },
    ]) {
      expect(() => RcuList.create({ rcu: Rcu.create(), ...options })).toThrow(invalid);
    }
  });

  it("behaves as an array under any insertions and removals through two objects, and loses no node", () => {
    const act = fc.record({
      kind: fc.constantFrom("first", "after", "remove", "quiescent"),
      at: fc.nat(CAPACITY),
      object: fc.nat(1),
    });
    fc.assert(
      fc.property(fc.array(act, { maxLength: 80 }), (acts) => {
        const rcu = Rcu.create();
        const lists = [RcuList.create({ rcu, capacity: CAPACITY, payloadBytes: 8 })];
        lists.push(RcuList.attach(lists[0].handle, { rcu }));
        const model: { offset: number; value: number }[] = [];
        let value = 0;
        for (const { kind, at, object } of acts) {
          const list = lists[object];
          const index = model.length === 0 ? -1 : at % model.length;
          if (kind === "quiescent") rcu.quiescent();
          else if (kind === "remove" && index >= 0) expect(list.remove(model.splice(index, 1)[0].offset)).toBe(true);
          else if (kind === "first" || (kind === "after" && index >= 0)) {
            const offset = insert(list, ++value, kind === "first" ? 0 : model[index].offset);
            if (offset !== 0) model.splice(kind === "first" ? 0 : index + 1, 0, { offset, value });
          }
          expect(values(list)).toEqual(model.map((node) => node.value));
          expect(list.size).toBe(model.length);
        }
        for (const { offset } of model) lists[0].remove(offset);
        rcu.quiescent();
        const again = new Set(Array.from({ length: CAPACITY }, () => lists[0].allocate()));
        expect(again.has(0)).toBe(false);
        expect(again.size).toBe(CAPACITY);
      }),
    );
  });
});
