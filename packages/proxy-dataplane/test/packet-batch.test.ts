import * as fc from "fast-check";
import { expect, test } from "vitest";
import type { PacketBatch } from "@x/proxy-dataplane";
import { udp4 } from "./frames.ts";
import { machine, type Machine } from "./machine.ts";

function batchOf(m: Machine, adaptive = false): PacketBatch {
  const batch = m.dataplane.allocBatch({ adaptive });
  if (batch === undefined) throw new Error("batching is off");
  return batch;
}

test("add stores every packet and says when the batch is full, whatever its size becomes meanwhile", () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 256 }), { minLength: 1, maxLength: 12 }), (sizes) => {
      const m = machine({ buffers: 4096 });
      const batch = batchOf(m);
      const out = new Int32Array(256);
      let waiting = 0;
      let sent = 0;
      let added = 0;
      for (const size of sizes) {
        m.dataplane.setParameter("perf_batch_size", size);
        for (let i = 0; i < 40; i++) {
          const isFull = batch.add(m.packet(udp4()));
          added++;
          expect(batch.count).toBe(++waiting);
          expect(isFull).toBe(waiting >= size);
          if (!isFull) continue;
          const count = batch.process(out);
          m.pool.freeMany(out, count);
          sent += count;
          waiting = 0;
        }
      }
      const rest = batch.flush(out);
      m.pool.freeMany(out, rest);
      expect(sent + rest).toBe(added);
      expect(m.pool.inUse).toBe(0);
    }),
    { numRuns: 20 },
  );
});

test("free gives waiting packets back, and there is no batch while batching is off", () => {
  const m = machine();
  const batch = batchOf(m);
  for (let i = 0; i < 5; i++) batch.add(m.packet(udp4()));
  expect(m.pool.inUse).toBe(5);
  batch.free();
  expect([m.pool.inUse, batch.count, batch.flush(new Int32Array(1))]).toEqual([0, 0, 0]);
  m.dataplane.setParameter("perf_enable_batching", false);
  expect(m.dataplane.allocBatch()).toBeUndefined();
  expect(batch.size).toBe(1);
});

test("an adaptive batch grows while it fills in time, and shrinks when its time comes first", () => {
  const m = machine({ params: { perf_batch_size: 16 } });
  const batch = batchOf(m, true);
  const out = new Int32Array(256);
  const sizes: number[] = [];
  for (let i = 0; i < 64; i++) {
    if (!batch.add(m.packet(udp4()))) continue;
    sizes.push(batch.count);
    m.pool.freeMany(out, batch.process(out));
  }
  expect(sizes).toEqual([1, 2, 4, 8, 16, 16, 16]);
  m.pool.freeMany(out, batch.flush(out));
  for (const size of [8, 4, 2, 1, 1]) {
    if (batch.size > 1) batch.add(m.packet(udp4()));
    m.hal.nowNs += 2000;
    expect(batch.flushOlderThan(3000, out)).toBe(0);
    m.hal.nowNs += 2000;
    m.pool.freeMany(out, batch.flushOlderThan(3000, out));
    expect(batch.size).toBe(size);
  }
  m.dataplane.setParameter("perf_batch_size", 1);
  expect(batch.size).toBe(1);
  expect(m.pool.inUse).toBe(0);
});
