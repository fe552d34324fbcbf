import fc from "fast-check";
import { expect, test } from "vitest";
import { EventQueue } from "../src/machine/event-queue.ts";

function drain(queue: EventQueue): [number, number, number, number][] {
  const events: [number, number, number, number][] = [];
  while (queue.pop()) events.push([queue.timeNs, queue.kind, queue.a, queue.b]);
  return events;
}

test("events leave in time order, equal times in the order they came", () => {
  const events = fc.array(fc.tuple(fc.integer({ min: 0, max: 20 }), fc.nat(7)), { maxLength: 400 });
  fc.assert(
    fc.property(events, (list) => {
      const queue = new EventQueue(4);
      list.forEach(([timeNs, kind], index) => queue.push(timeNs, kind, index, -index));
      const expected = list
        .map(([timeNs, kind], index) => [timeNs, kind, index, -index])
        .sort((x, y) => x[0] - y[0] || x[2] - y[2]);
      expect(drain(queue).map(([timeNs, kind, a, b]) => [timeNs, kind, a, b + 0])).toEqual(
        expected.map(([timeNs, kind, a, b]) => [timeNs, kind, a, b + 0]),
      );
    }),
  );
});

test("events that are scheduled from the present on, as a machine does, leave in order over many turns of the wheel", () => {
  const delays = fc.array(fc.oneof(fc.nat(200), fc.nat(1 << 20), fc.nat(2 ** 30), fc.nat(2 ** 38)), {
    minLength: 1,
    maxLength: 50,
  });
  fc.assert(
    fc.property(delays, (list) => {
      const queue = new EventQueue(2);
      let [count, lastNs, last] = [0, 0, -1];
      for (const delay of list) queue.push(delay, 0, count++, 0);
      for (let popped = 0; queue.pop(); popped++) {
        expect(queue.timeNs > lastNs || (queue.timeNs === lastNs && queue.a > last)).toBe(true);
        [lastNs, last] = [queue.timeNs, queue.a];
        if (popped < 500) queue.push(queue.timeNs + list[popped % list.length], 0, count++, 0);
      }
      expect(queue.size).toBe(0);
      expect(lastNs).toBeGreaterThanOrEqual(Math.max(...list));
    }),
  );
});

test("pushes and pops in any mixture agree with a sorted list", () => {
  // Times near and far: of one slot of the wheel, of one level, of all levels, and beyond a turn of the last.
  const timeNs = fc.oneof(
    fc.integer({ min: 0, max: 100 }),
    fc.integer({ min: 0, max: 1 << 17 }),
    fc.integer({ min: 0, max: 2 ** 28 }),
    fc.integer({ min: 0, max: 2 ** 42 }).map((ns) => ns / 8),
  );
  const commands = fc.array(fc.option(timeNs, { freq: 3 }), { maxLength: 500 });
  fc.assert(
    fc.property(commands, (list) => {
      const queue = new EventQueue(2);
      const model: { timeNs: number; sequence: number }[] = [];
      list.forEach((timeNs, sequence) => {
        if (timeNs !== null) {
          queue.push(timeNs, 0, sequence, 0);
          model.push({ timeNs, sequence });
          return;
        }
        model.sort((x, y) => x.timeNs - y.timeNs || x.sequence - y.sequence);
        const first = model.shift();
        expect(queue.pop()).toBe(first !== undefined);
        if (first !== undefined) expect([queue.timeNs, queue.a]).toEqual([first.timeNs, first.sequence]);
      });
      expect(queue.size).toBe(model.length);
    }),
  );
});
