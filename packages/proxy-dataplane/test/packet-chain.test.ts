import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Dataplane, PacketPool, PacketRing, proxyConfigCell } from "@x/proxy-dataplane";
import { Rcu } from "@x/rcu";
import { tcp4 } from "./frames.ts";
import { configOf, server, testHal } from "./machine.ts";
import { ends } from "./traffic.ts";

const code = (name: string): object => expect.objectContaining({ code: name });

function pieces(pool: PacketPool, lengths: readonly number[]): number {
  let next = 0;
  const made = lengths.map((length) => {
    const id = pool.alloc();
    pool.write(
      id,
      Uint8Array.from({ length }, () => next++ & 255),
      0,
      length,
    );
    return id;
  });
  for (const id of made.slice(1)) pool.append(made[0], id);
  return made[0];
}

const read = (pool: PacketPool, id: number): number[] => [
  ...pool.bytes.subarray(pool.columns.offsets[id], pool.columns.offsets[id] + pool.columns.lengths[id]),
];

describe("a packet in several buffers", () => {
  test("is linearized into one, in order; it, its clones and copies leave nothing behind, for any pieces", () => {
    const lengths = fc.array(fc.integer({ min: 0, max: 20 }), { minLength: 1, maxLength: 8 });
    fc.assert(
      fc.property(lengths, fc.boolean(), (parts, isSharedFirst) => {
        const pool = PacketPool.create({ buffers: 16, clones: 8, bufferBytes: 160 });
        const total = parts.reduce((sum, length) => sum + length, 0);
        const expected = Array.from({ length: total }, (_, i) => i & 255);
        const head = pieces(pool, parts);
        expect(pool.inUse).toBe(parts.length);
        expect([pool.lengthOf(head), pool.linearizeNeeded(head)]).toEqual([total, parts.length > 1]);
        const clone = isSharedFirst ? pool.clone(head) : 0;
        if (clone !== 0) expect(pool.lengthOf(clone)).toBe(total);
        const linear = pool.linearize(head);
        expect(read(pool, linear)).toEqual(expected);
        expect(pool.linearizeNeeded(linear)).toBe(false);
        if (clone !== 0) {
          const copy = pool.copy(clone);
          expect(read(pool, copy)).toEqual(expected);
          pool.free(copy);
          pool.free(clone);
        }
        expect(pool.inUse).toBe(1);
        pool.free(linear);
        expect(pool.inUse).toBe(0);
      }),
      { numRuns: 100 },
    );
  });

  test("stays as it is when it does not fit a buffer, when there is none, or no clones for all pieces", () => {
    const pool = PacketPool.create({ buffers: 4, clones: 2, bufferBytes: 64 });
    const head = pieces(pool, [40, 40]);
    expect([pool.linearize(head), pool.copy(head)]).toEqual([0, 0]);
    const others = pieces(pool, [10, 10]);
    expect(pool.linearize(others)).toBe(0);
    const clone = pool.clone(head);
    expect(clone).toBeGreaterThan(0);
    expect(pool.clone(others)).toBe(0);
    expect([pool.lengthOf(head), pool.lengthOf(others), pool.inUse]).toEqual([80, 20, 6]);
    for (const id of [clone, head, others]) pool.free(id);
    expect(pool.inUse).toBe(0);
  });

  test("cannot be a piece of itself, nor have more than 64 pieces", () => {
    const pool = PacketPool.create({ buffers: 80, bufferBytes: 64 });
    const head = pieces(pool, [1, 1]);
    expect(() => pool.append(head, head)).toThrow(code("DATAPLANE_INVALID_PACKET"));
    expect(() => pool.append(head, pool.columns.nexts[head])).toThrow(code("DATAPLANE_INVALID_PACKET"));
    for (let i = 2; i < 64; i++) pool.append(head, pool.alloc());
    expect(() => pool.append(head, pool.alloc())).toThrow(code("DATAPLANE_INVALID_PACKET"));
    pool.free(head);
    expect(pool.inUse).toBe(1);
  });

  test("is translated by its head, where its headers are", () => {
    const hal = testHal();
    const rcu = Rcu.create({ hal });
    rcu.online();
    const pool = PacketPool.create({ buffers: 16, hal });
    const config = proxyConfigCell({ rcu, initial: configOf([server("192.0.2.1")]) });
    const dataplane = Dataplane.create({ hal, rcu, pool, config });
    const frame = tcp4();
    const [head, tail] = [pool.alloc(), pool.alloc()];
    pool.write(head, frame, 0, 54, frame.length);
    pool.write(tail, frame, 54, frame.length - 54);
    pool.append(head, tail);
    const out = new Int32Array(1);
    expect(dataplane.process(Int32Array.of(head), 1, out)).toBe(1);
    const linear = pool.linearize(out[0]);
    expect(ends(Uint8Array.from(read(pool, linear)))).toBe("10.0.0.1 1000 > 192.0.2.1 1080");
    expect(read(pool, linear).slice(54)).toEqual([...frame.subarray(54)]);
    pool.free(linear);
    expect(pool.inUse).toBe(0);
  });
});

describe("a checked pool", () => {
  test("lets nobody but its holder use a packet until that hands it over", () => {
    const hal = testHal(2);
    const pool = PacketPool.create({ buffers: 8, hal, checked: true });
    const id = pool.alloc();
    expect(pool.holderOf(id)).toBe(0);
    hal.cpu = 1;
    const wrong = code("DATAPLANE_WRONG_OWNER");
    const uses = [
      () => pool.free(id),
      () => pool.clone(id),
      () => pool.copy(id),
      () => pool.write(id, new Uint8Array(1), 0, 1),
      () => pool.markOwned(id),
      () => pool.handOver(id),
      () => pool.append(pool.alloc(), id),
      () => pool.requireOwned(id),
    ];
    for (const use of uses) expect(use).toThrow(wrong);
    hal.cpu = 0;
    const ring = PacketRing.create({ capacity: 4 });
    pool.handOver(id);
    expect(ring.push(id)).toBe(true);
    hal.cpu = 1;
    const out = new Int32Array(4);
    expect(ring.take(out, 4)).toBe(1);
    pool.markOwned(out[0]);
    hal.cpu = 0;
    expect(() => pool.free(id)).toThrow(wrong);
    hal.cpu = 1;
    pool.free(id);
  });

  test("stops a data path that is given another CPU's packet, before anything has happened to it", () => {
    const hal = testHal(2);
    const rcu = Rcu.create({ hal });
    for (hal.cpu = 0; hal.cpu < 2; hal.cpu++) rcu.online();
    hal.cpu = 0;
    const pool = PacketPool.create({ buffers: 16, hal, checked: true });
    const config = proxyConfigCell({ rcu, initial: configOf([server("192.0.2.1")]) });
    const dataplane = Dataplane.create({ hal, rcu, pool, config });
    const id = pool.alloc();
    const frame = tcp4();
    pool.write(id, frame, 0, frame.length);
    hal.cpu = 1;
    expect(() => dataplane.process(Int32Array.of(id), 1, new Int32Array(1))).toThrow(code("DATAPLANE_WRONG_OWNER"));
    hal.cpu = 0;
    expect(dataplane.process(Int32Array.of(id), 1, new Int32Array(1))).toBe(1);
    pool.free(id);
    expect(pool.inUse).toBe(0);
  });

  test("marks are kept without checks too, for reports", () => {
    const hal = testHal(3);
    const pool = PacketPool.create({ buffers: 4, hal });
    const id = pool.alloc();
    expect(pool.holderOf(id)).toBe(-1);
    hal.cpu = 2;
    pool.markOwned(id);
    expect(pool.holderOf(id)).toBe(2);
    hal.cpu = 0;
    pool.free(id);
  });
});
