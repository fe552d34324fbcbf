import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { formatPprof, Profiler } from "../src/index.ts";
import { TestHal } from "./virtual-hal.ts";

type Field = { readonly field: number; readonly value: number; readonly bytes: Uint8Array };

/** The fields of a message, in order: numbers of varints, bytes of everything else. */
function decode(bytes: Uint8Array): Field[] {
  let at = 0;
  const varint = () => {
    let value = 0;
    for (let factor = 1; ; factor *= 128) {
      const byte = bytes[at++];
      value += (byte & 127) * factor;
      if (byte < 128) return value;
    }
  };
  const fields: Field[] = [];
  while (at < bytes.length) {
    const tag = varint();
    const value = varint();
    const isDelimited = (tag & 7) === 2;
    expect([0, 2]).toContain(tag & 7);
    fields.push({ field: tag >> 3, value, bytes: isDelimited ? bytes.subarray(at, at + value) : new Uint8Array() });
    if (isDelimited) at += value;
  }
  expect(at).toBe(bytes.length);
  return fields;
}

const all = (fields: Field[], field: number) => fields.filter((each) => each.field === field);
const number = (fields: Field[], field: number) => all(fields, field)[0]?.value ?? 0;

function packed(bytes: Uint8Array): number[] {
  const values: number[] = [];
  let value = 0;
  let factor = 1;
  for (const byte of bytes) {
    value += (byte & 127) * factor;
    factor *= 128;
    if (byte < 128) {
      values.push(value);
      value = 0;
      factor = 1;
    }
  }
  return values;
}

/** What a reader of pprof makes of the bytes. */
function readPprof(bytes: Uint8Array) {
  const profile = decode(bytes);
  const strings = all(profile, 6).map((each) => new TextDecoder().decode(each.bytes));
  const named = (field: number) =>
    new Map(all(profile, field).map((each) => [number(decode(each.bytes), 1), decode(each.bytes)]));
  const functions = named(5);
  const locations = named(4);
  const nameOf = (location: number) => {
    const line = decode(all(locations.get(location) ?? [], 4)[0].bytes);
    return strings[number(functions.get(number(line, 1)) ?? [], 2)];
  };
  const samples = all(profile, 2).map((each) => {
    const sample = decode(each.bytes);
    const labels = all(sample, 3).map((label) => decode(label.bytes));
    return {
      stack: all(sample, 1).flatMap((ids) => packed(ids.bytes).map(nameOf)),
      values: packed(all(sample, 2)[0].bytes),
      labels: Object.fromEntries(labels.map((label) => [strings[number(label, 1)], strings[number(label, 2)]])),
    };
  });
  const types = all(profile, 1).map(({ bytes: type }) => [1, 2].map((field) => strings[number(decode(type), field)]));
  return { strings, samples, types, period: number(profile, 12), durationNs: number(profile, 10) };
}

describe("formatPprof", () => {
  it("says what the profile says: stacks innermost first, two values, labels", () => {
    const sample = fc.record({
      task: fc.integer({ min: 0, max: 2 }),
      kernel: fc.boolean(),
      weight: fc.integer({ min: 1, max: 2 ** 30 }),
      stack: fc.array(fc.integer({ min: 1, max: 4 }), { maxLength: 40 }),
    });
    fc.assert(
      fc.property(fc.array(sample, { maxLength: 30 }), (samples) => {
        const hal = new TestHal(1);
        const profiler = Profiler.create({ hal, config: { intervalNs: 1000 } });
        for (const name of ["main", "größe", "", "a;b"]) profiler.symbols.intern(name);
        profiler.start();
        for (const { task, kernel, weight, stack } of samples) {
          profiler.record(0, 0, task, kernel, Int32Array.from(stack), stack.length, weight);
        }
        hal.nowNs = 123_456_789_012;
        profiler.stop();
        const read = readPprof(formatPprof(profiler, { taskName: (id) => `task ${id}` }));
        expect(read.strings[0]).toBe("");
        expect(read.types).toEqual([
          ["samples", "count"],
          ["cpu", "nanoseconds"],
        ]);
        expect([read.period, read.durationNs]).toEqual([1000, 123_456_789_012]);
        expect(read.samples).toEqual(
          profiler.stats().stacks.map(({ taskId, kernelMode, names, samples: count }) => ({
            stack: names.toReversed(),
            values: [count, count * 1000],
            labels: { task: `task ${taskId}`, mode: kernelMode ? "kernel" : "user" },
          })),
        );
      }),
    );
  });

  it("writes equal bytes for equal profiles", () => {
    const make = () => {
      const profiler = Profiler.create({ hal: new TestHal(1) });
      profiler.start();
      profiler.record(5, 0, 1, false, Int32Array.of(profiler.symbols.intern("f")), 1);
      return formatPprof(profiler.stats());
    };
    expect(make()).toEqual(make());
  });
});
