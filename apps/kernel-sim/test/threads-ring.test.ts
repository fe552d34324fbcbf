import { Worker } from "node:worker_threads";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { SpscRing } from "../src/substrate/spsc-ring.ts";

const WORDS_PER_LINE = 32;

describe("SpscRing", () => {
  it("behaves like a bounded queue, also where its counts wrap around", () => {
    const steps = fc.array(fc.oneof(fc.constant("push" as const), fc.integer({ min: 0, max: 9 })), { maxLength: 200 });
    fc.assert(
      fc.property(
        steps,
        fc.integer({ min: 1, max: 16 }),
        fc.constantFrom(0, 2 ** 31 - 3, -2),
        (all, capacity, count) => {
          const made = SpscRing.create(capacity);
          new Int32Array(made.handle.memory).fill(count, 0, 1).fill(count, WORDS_PER_LINE, WORDS_PER_LINE + 1);
          const producer = SpscRing.attach(made.handle);
          const consumer = SpscRing.attach(made.handle);
          const model: number[] = [];
          const out = new Int32Array(16);
          for (const [value, step] of all.entries()) {
            if (step === "push") {
              const room = model.length < made.capacity;
              expect(producer.hasRoom).toBe(room);
              expect(producer.push(value)).toBe(room);
              if (room) model.push(value);
            } else {
              const taken = consumer.take(out, step);
              expect([...out.subarray(0, taken)]).toEqual(model.splice(0, step));
            }
            expect(consumer.isEmpty).toBe(model.length === 0);
          }
        },
      ),
    );
  });

  it("has room for what was asked for", () => {
    for (const [asked, capacity] of [
      [1, 2],
      [2, 2],
      [3, 4],
      [256, 256],
      [257, 512],
    ]) {
      expect(SpscRing.create(asked).capacity).toBe(capacity);
    }
  });

  it("hands everything over in order between two threads", async () => {
    const count = 100_000;
    const ring = SpscRing.create(64);
    const entry = new URL("fixtures/threads-ring-producer.mjs", import.meta.url);
    const producer = new Worker(entry, { workerData: { ring: ring.handle, count } });
    const ended = new Promise<number>((resolve) => producer.once("exit", resolve));
    const out = new Int32Array(32);
    let last = 0;
    while (last < count) {
      const taken = ring.take(out, out.length);
      for (let index = 0; index < taken; index++) {
        if (out[index] !== last + 1) throw new Error(`${out[index]} after ${last}`);
        last++;
      }
      if (taken === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    expect(await ended).toBe(0);
    expect(ring.isEmpty).toBe(true);
  });
});
