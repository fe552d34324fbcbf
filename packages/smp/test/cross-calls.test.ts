import { describe, expect, it } from "vitest";
import { CpuMask, CrossCalls, IpiMailbox, IpiType, type CrossFunction } from "../src/index.ts";
import { SeveralCpus } from "./several-cpus.ts";

const DOUBLE = 0;
const RECORD = 1;
const FAIL = 2;
const error = (code: string): object => expect.objectContaining({ code }) as object;

function machine(cpus: number, depth = 8) {
  const hal = new SeveralCpus(cpus);
  const calls: [on: number, argument: number, from: number][] = [];
  const functions: CrossFunction[] = [
    (argument) => argument * 2,
    (argument, from) => void calls.push([hal.currentCpu(), argument, from]),
    () => {
      throw new Error("in the function");
    },
  ];
  const mailbox = IpiMailbox.create({ hal, depth });
  const cross = CrossCalls.create({ hal, mailbox, functions });
  const serve = (cpu: number): number =>
    hal.on(cpu, () =>
      mailbox.receive((type, payload) => {
        if (type === IpiType.FunctionCall) cross.serve(payload);
      }),
    );
  return { hal, calls, functions, mailbox, cross, serve, all: new CpuMask(cpus).fill() };
}

describe("CrossCalls", () => {
  it("returns what the function returned on the CPU that was called", () => {
    const { hal, cross, serve } = machine(2);
    hal.onRelax = () => serve(1);
    expect(cross.callOn(1, DOUBLE, 2 ** 40 + 0.5, () => undefined)).toBe(2 ** 41 + 1);
    expect(cross.callOn(0, DOUBLE, 21, () => undefined)).toBe(42);
    expect(cross.callOn(1, RECORD, 1, () => undefined)).toBeNaN();
  });

  it("runs the function once on each target, on the calling CPU at once, and is over with the last", () => {
    const { calls, cross, serve, all } = machine(3);
    cross.begin(all, RECORD, 7);
    expect(calls).toEqual([[0, 7, 0]]);
    serve(2);
    expect(cross.poll()).toBe(false);
    serve(1);
    expect(cross.poll()).toBe(true);
    expect(calls).toEqual([
      [0, 7, 0],
      [2, 7, 0],
      [1, 7, 0],
    ]);
    expect(cross.result()).toBeNaN();
  });

  it("tells a target whose mailbox was full later", () => {
    const { calls, mailbox, cross, serve } = machine(2, 2);
    while (mailbox.send(1, IpiType.Generic, 0));
    cross.begin(CpuMask.of(2, [1]), RECORD, 1);
    serve(1);
    expect(calls).toEqual([]);
    expect(cross.poll()).toBe(false);
    serve(1);
    expect(calls).toEqual([[1, 1, 0]]);
    expect(cross.poll()).toBe(true);
  });

  it("does not hang when two CPUs call each other", () => {
    const { hal, calls, cross, serve } = machine(2);
    hal.on(1, () => cross.begin(CpuMask.of(2, [0]), RECORD, 10));
    hal.onRelax = () => serve(1);
    cross.run(CpuMask.of(2, [1]), RECORD, 20, () => serve(0));
    expect(hal.on(1, () => cross.poll())).toBe(true);
    expect(calls.sort(([a], [b]) => a - b)).toEqual([
      [0, 10, 1],
      [1, 20, 0],
    ]);
  });

  it("is over also when the function throws, which shows on the CPU that was called", () => {
    const { cross, serve } = machine(2);
    cross.begin(CpuMask.of(2, [1]), FAIL, 0);
    expect(() => serve(1)).toThrow("in the function");
    expect(cross.poll()).toBe(true);
    expect(cross.result()).toBeNaN();
  });

  it("refuses a second call of a CPU while one is under way, functions it does not have, and other machines' CPUs", () => {
    const { hal, cross, all } = machine(2);
    cross.begin(all, RECORD, 0);
    expect(() => cross.begin(all, RECORD, 0)).toThrow(error("SMP_CPU_STATE"));
    for (const index of [-1, 3, 0.5]) {
      expect(() => hal.on(1, () => cross.begin(all, index, 0))).toThrow(error("SMP_INVALID_ARGUMENT"));
    }
    expect(() => hal.on(1, () => cross.callOn(2, DOUBLE, 0, () => undefined))).toThrow(error("SMP_INVALID_CPU"));
    expect(() => hal.on(1, () => cross.begin(new CpuMask(3), DOUBLE, 0))).toThrow(error("SMP_INVALID_ARGUMENT"));
    hal.on(1, () => cross.begin(new CpuMask(2), DOUBLE, 0));
    expect(hal.on(1, () => cross.poll())).toBe(true);
  });

  it("is one on both sides of an attach", () => {
    const { hal, cross, mailbox, functions, calls } = machine(2);
    const other = CrossCalls.attach(structuredClone(cross.handle), { hal, mailbox, functions });
    cross.begin(CpuMask.of(2, [1]), RECORD, 3);
    hal.on(1, () => mailbox.receive((_type, initiator) => other.serve(initiator)));
    expect(calls).toEqual([[1, 3, 0]]);
    expect(cross.poll()).toBe(true);
  });
});
