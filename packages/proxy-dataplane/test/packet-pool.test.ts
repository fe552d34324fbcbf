import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Hal } from "@x/smp";
import { soloHal } from "@x/smp";
import { PacketInfo, PacketPool, parsePacket } from "@x/proxy-dataplane";
import { tcp4 } from "./frames.ts";

function cpus(possibleCpus: number): Hal & { cpu: number } {
  const hal = Object.create(soloHal()) as Hal & { cpu: number; possibleCpus: number };
  Object.defineProperty(hal, "possibleCpus", { value: possibleCpus });
  hal.cpu = 0;
  hal.currentCpu = () => hal.cpu;
  return hal;
}

const code = (name: string): object => expect.objectContaining({ code: name });

describe("PacketPool", () => {
  test("a packet that was written is parsed from the pool", () => {
    const pool = PacketPool.create({ buffers: 4 });
    const id = pool.alloc();
    const frame = tcp4();
    pool.write(id, frame, 0, frame.length);
    const info = new PacketInfo();
    expect(parsePacket(pool, id, info)).toBe(0);
    expect(info).toMatchObject({ protocol: 6, sourcePort: 1000 });
    expect(info.transportOffset).toBe(pool.columns.offsets[id] + 34);
  });

  test("gives each buffer to one owner, then 0, and all again after they were freed", () => {
    const pool = PacketPool.create({ buffers: 100, bufferBytes: 64 });
    const ids = Array.from({ length: 100 }, () => pool.alloc());
    expect(new Set(ids).size).toBe(100);
    expect(new Set(ids.map((id) => pool.columns.offsets[id])).size).toBe(100);
    expect(pool.alloc()).toBe(0);
    expect(pool.stats()).toMatchObject({ allocated: 100, exhausted: 1 });
    for (const id of ids) pool.free(id);
    expect(pool.inUse).toBe(0);
    expect(Array.from({ length: 100 }, () => pool.alloc())).not.toContain(0);
  });

  test("a clone shares bytes; the buffer is free when the last that uses it is, in any order", () => {
    const pool = PacketPool.create({ buffers: 1 });
    const id = pool.alloc();
    pool.write(id, new Uint8Array([1, 2, 3]), 0, 3);
    const clone = pool.clone(id);
    expect(pool.columns.offsets[clone]).toBe(pool.columns.offsets[id]);
    expect(pool.isShared(id)).toBe(true);
    pool.free(id);
    expect(pool.alloc()).toBe(0);
    expect(pool.isShared(clone)).toBe(false);
    expect(pool.bytes[pool.columns.offsets[clone] + 2]).toBe(3);
    pool.free(clone);
    expect(pool.alloc()).toBe(id);
  });

  test("unshare gives a packet bytes of its own, and nothing where there is no buffer", () => {
    const pool = PacketPool.create({ buffers: 2 });
    const id = pool.alloc();
    pool.write(id, new Uint8Array([7, 8]), 0, 2);
    expect(pool.unshare(id)).toBe(id);
    const clone = pool.clone(id);
    const own = pool.unshare(clone);
    pool.bytes[pool.columns.offsets[own]] = 9;
    expect(pool.bytes[pool.columns.offsets[id]]).toBe(7);
    expect(pool.columns.lengths[own]).toBe(2);
    const again = pool.clone(id);
    expect(pool.unshare(again)).toBe(0);
    expect(pool.isShared(id)).toBe(true);
  });

  test("double free, foreign ids, writing what does not fit and writing shared bytes are errors", () => {
    const pool = PacketPool.create({ buffers: 2, bufferBytes: 64 });
    const id = pool.alloc();
    expect(() => pool.write(id, new Uint8Array(65), 0, 65)).toThrow(code("DATAPLANE_INVALID_ARGUMENT"));
    expect(() => pool.write(id, new Uint8Array(8), 4, 5)).toThrow(code("DATAPLANE_INVALID_ARGUMENT"));
    pool.clone(id);
    expect(() => pool.write(id, new Uint8Array(8), 0, 8)).toThrow(code("DATAPLANE_INVALID_PACKET"));
    pool.free(id);
    expect(() => pool.free(id)).toThrow(code("DATAPLANE_INVALID_PACKET"));
    expect(() => pool.free(99)).toThrow(code("DATAPLANE_INVALID_PACKET"));
    expect(() => PacketPool.create({ buffers: 0 })).toThrow(code("DATAPLANE_INVALID_ARGUMENT"));
  });

  test("observers hear of every packet and every copied byte", () => {
    const heard: string[] = [];
    const pool = PacketPool.create({
      buffers: 2,
      bufferBytes: 64,
      observer: {
        onAlloc: (id) => heard.push(`alloc ${id}`),
        onFree: (id) => heard.push(`free ${id}`),
        onClone: (id, clone) => heard.push(`clone ${id} ${clone}`),
        onCopy: (from, _to, length) => heard.push(`copy ${from < 0 ? "in" : "inside"} ${length}`),
      },
    });
    const id = pool.alloc();
    pool.write(id, new Uint8Array(10), 0, 10);
    pool.free(pool.clone(id));
    pool.free(pool.copy(id));
    pool.free(id);
    expect(heard).toEqual([
      "alloc 1",
      "copy in 10",
      "clone 1 3",
      "free 3",
      "alloc 2",
      "copy inside 10",
      "free 2",
      "free 1",
    ]);
  });

  test("keeps bytes, sharing and counts right for any history on several CPUs", () => {
    const step = fc.record({
      what: fc.constantFrom("alloc", "clone", "copy", "free", "unshare"),
      which: fc.nat(),
      cpu: fc.nat(3),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const hal = cpus(4);
        const pool = PacketPool.create({ buffers: 24, clones: 12, bufferBytes: 64, hal });
        const model = new Map<number, { value: number; group: object }>();
        let next = 1;
        for (const { what, which, cpu } of steps) {
          hal.cpu = cpu;
          const ids = [...model.keys()];
          const id = ids[which % Math.max(1, ids.length)] ?? 0;
          if (what === "alloc") {
            const fresh = pool.alloc();
            if (fresh !== 0) {
              expect(model.has(fresh)).toBe(false);
              pool.write(fresh, new Uint8Array([next]), 0, 1);
              model.set(fresh, { value: next++ & 255, group: {} });
            }
          } else if (id === 0) continue;
          else if (what === "free") {
            pool.free(id);
            model.delete(id);
          } else {
            const made = what === "clone" ? pool.clone(id) : what === "copy" ? pool.copy(id) : pool.unshare(id);
            const from = model.get(id) ?? { value: -1, group: {} };
            if (made !== 0 && what === "unshare") model.delete(id);
            if (made !== 0 && (what !== "unshare" || made !== id)) {
              model.set(made, what === "clone" ? from : { value: from.value, group: {} });
            } else if (made !== 0) model.set(made, from);
          }
          expect(pool.inUse).toBe(model.size);
          for (const [packet, { value, group }] of model) {
            expect(pool.bytes[pool.columns.offsets[packet]]).toBe(value);
            const sharers = [...model.values()].filter((other) => other.group === group).length;
            expect(pool.isShared(packet)).toBe(sharers > 1);
          }
        }
        for (const id of model.keys()) pool.free(id);
        for (let cpu = 0; cpu < 4; cpu++) pool.flushCpu(cpu);
        hal.cpu = 0;
        expect(Array.from({ length: 24 }, () => pool.alloc())).not.toContain(0);
      }),
      { numRuns: 100 },
    );
  });
});
