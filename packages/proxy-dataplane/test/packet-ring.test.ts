import { Worker } from "node:worker_threads";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { PacketPool, PacketRing } from "@x/proxy-dataplane";
import { WorkerHal } from "@x/smp";

const PACKETS = 4000;

test("a ring holds what its capacity says, refuses more, and gives it in order, for any history", () => {
  const step = fc.record({ what: fc.constantFrom("push", "many", "take"), count: fc.integer({ min: 0, max: 11 }) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const ring = PacketRing.create({ capacity: 6 });
      expect(ring.capacity).toBe(8);
      const model: number[] = [];
      const out = new Int32Array(16);
      let next = 1;
      for (const { what, count } of steps) {
        if (what === "push") {
          const isRoom = model.length < 8;
          expect(ring.push(next)).toBe(isRoom);
          if (isRoom) model.push(next++);
        } else if (what === "many") {
          const packets = Int32Array.from({ length: count + 1 }, (_, i) => next + i - 1);
          const pushed = ring.pushMany(packets, count, 1);
          expect(pushed).toBe(Math.min(count, 8 - model.length));
          for (let i = 0; i < pushed; i++) model.push(next++);
        } else expect([...out.subarray(0, ring.take(out, count))]).toEqual(model.splice(0, count));
        expect(ring.length).toBe(model.length);
      }
    }),
    { numRuns: 300 },
  );
});

test("sizes that are none are refused", () => {
  for (const capacity of [0, 1, 1.5, 2 ** 21]) {
    expect(() => PacketRing.create({ capacity })).toThrow(
      expect.objectContaining({ code: "DATAPLANE_INVALID_ARGUMENT" }),
    );
  }
});

test("two threads hand packets to a third: none is lost or torn, each thread's come in order, and all buffers come back", async () => {
  const hal = WorkerHal.create({ possibleCpus: 3 });
  const pool = PacketPool.create({ buffers: 256, bufferBytes: 64, hal, checked: true });
  const ring = PacketRing.create({ capacity: 64 });
  const handles = { hal: hal.handle, pool: pool.handle, ring: ring.handle };
  const workers = [1, 2].map(
    (cpu) =>
      new Worker(new URL("fixtures/packet-producer.mjs", import.meta.url), {
        workerData: { cpu, handles, packets: PACKETS },
      }),
  );
  const ended = workers.map((worker) => new Promise((done, fail) => worker.once("message", done).once("error", fail)));
  const expected = [0, 0, 0];
  const out = new Int32Array(32);
  const failures: unknown[] = [];
  for (const end of ended) end.catch((error: unknown) => failures.push(error));
  for (let taken = 0; taken < 2 * PACKETS && failures.length === 0;) {
    const count = ring.take(out, 32);
    for (let i = 0; i < count; i++) {
      const id = out[i];
      pool.markOwned(id);
      const at = pool.columns.offsets[id];
      const [cpu, low, high] = pool.bytes.subarray(at, at + 3);
      expect([pool.columns.marks[id], low | (high << 8)]).toEqual([expected[cpu], expected[cpu] & 0xffff]);
      expected[cpu]++;
      pool.free(id);
    }
    taken += count;
    if (count === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  expect(failures).toEqual([]);
  expect(await Promise.all(ended)).toEqual([PACKETS, PACKETS]);
  expect(expected).toEqual([0, PACKETS, PACKETS]);
  expect(pool.inUse).toBe(0);
}, 60_000);
