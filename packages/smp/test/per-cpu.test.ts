import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { PADDING_BYTES, PerCpuCounters, PerCpuData } from "../src/index.ts";
import { SeveralCpus } from "./several-cpus.ts";

const error = (code: string): object => expect.objectContaining({ code }) as object;

describe("PerCpuData", () => {
  it("keeps one nesting count per CPU and kind, as a model of counts does", () => {
    const kinds = [
      ["preempt", 255, "preemptDisable", "preemptEnable"],
      ["softirq", 255, "enterSoftirq", "leaveSoftirq"],
      ["hardirq", 15, "enterHardirq", "leaveHardirq"],
      ["nmi", 15, "enterNmi", "leaveNmi"],
    ] as const;
    const step = fc.record({
      cpu: fc.integer({ min: 0, max: 1 }),
      kind: fc.integer({ min: 0, max: 3 }),
      enter: fc.boolean(),
      times: fc.constantFrom(1, 1, 1, 20, 300),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
        const hal = new SeveralCpus(2);
        const data = PerCpuData.create({ hal });
        const depth = [
          [0, 0, 0, 0],
          [0, 0, 0, 0],
        ];
        for (const { cpu, kind, enter, times } of steps) {
          const [, limit, enterName, leaveName] = kinds[kind];
          for (let time = 0; time < times; time++) {
            const blocked = depth[cpu][kind] === (enter ? limit : 0);
            const act = (): unknown => hal.on(cpu, () => data[enter ? enterName : leaveName]());
            if (blocked) expect(act).toThrow(error(enter ? "SMP_PREEMPT_OVERFLOW" : "SMP_PREEMPT_UNDERFLOW"));
            else act();
            if (!blocked) depth[cpu][kind] += enter ? 1 : -1;
          }
          for (const [each, [preempt, softirq, hardirq, nmi]] of depth.entries()) {
            expect(data.preemptCount(each)).toBe(preempt);
            expect(data.inInterrupt(each)).toBe(softirq + hardirq + nmi > 0);
            expect(data.preemptible(each)).toBe(preempt + softirq + hardirq + nmi === 0);
          }
        }
      }),
      { numRuns: 50 },
    );
  });

  it("says when the CPU became preemptible", () => {
    const data = PerCpuData.create();
    data.preemptDisable();
    data.preemptDisable();
    expect(data.preemptEnable()).not.toBe(0);
    data.enterHardirq();
    expect(data.preemptEnable()).not.toBe(0);
    expect(data.leaveHardirq()).toBe(0);
    expect(data.preemptWord()).toBe(0);
  });

  it("takes requests to reschedule from any CPU and reports only the first", () => {
    const hal = new SeveralCpus(2);
    const data = PerCpuData.create({ hal });
    expect(data.setNeedResched(1)).toBe(true);
    expect(data.setNeedResched(1)).toBe(false);
    expect([data.needResched(0), data.needResched(1)]).toEqual([false, true]);
    data.clearNeedResched();
    expect(data.needResched(1)).toBe(true);
    hal.on(1, () => data.clearNeedResched());
    expect(data.needResched(1)).toBe(false);
  });

  it("keeps the task and the ticks of each CPU", () => {
    const hal = new SeveralCpus(2);
    const data = PerCpuData.create({ hal });
    const other = PerCpuData.attach(structuredClone(data.handle), { hal });
    hal.on(1, () => {
      data.setCurrentTask(42);
      data.tick(true);
      data.tick(false);
    });
    expect([other.currentTask(0), other.currentTask(1)]).toEqual([0, 42]);
    expect([other.totalTicks(1), other.idleTicks(1), other.totalTicks(0)]).toEqual([2, 1, 0]);
  });
});

describe("PerCpuCounters", () => {
  it("sums what each CPU counted, beyond 2^32", () => {
    const hal = new SeveralCpus(3);
    const counters = PerCpuCounters.create({ names: ["packets", "bytes"], hal });
    const bytes = counters.slot("bytes");
    hal.on(1, () => counters.add(bytes, 2 ** 40));
    hal.on(2, () => counters.add(bytes, 1));
    counters.addOn(0, bytes, 5);
    expect(counters.sum(bytes)).toBe(2 ** 40 + 6);
    expect(counters.read(1, bytes)).toBe(2 ** 40);
    expect(counters.snapshot()).toEqual({ packets: 0, bytes: 2 ** 40 + 6 });
    expect(counters.snapshot(2)).toEqual({ packets: 0, bytes: 1 });
    counters.reset();
    expect(counters.sum(bytes)).toBe(0);
  });

  it("keeps the sets of two CPUs apart by the padding, however many names there are", () => {
    const hal = new SeveralCpus(2);
    for (const count of [1, 16, 17]) {
      const names = Array.from({ length: count }, (_, index) => `counter${index}`);
      const { memory } = PerCpuCounters.create({ names, hal }).handle;
      expect(memory.byteLength).toBe(2 * PADDING_BYTES * Math.ceil((count * 8) / PADDING_BYTES));
    }
  });

  it("is one set on both sides of an attach", () => {
    const hal = new SeveralCpus(2);
    const counters = PerCpuCounters.create({ names: ["a", "b"], hal });
    const other = PerCpuCounters.attach(structuredClone(counters.handle), { hal });
    other.add(other.slot("b"), 3);
    expect(counters.snapshot()).toEqual({ a: 0, b: 3 });
    expect(other.names).toEqual(["a", "b"]);
  });

  it("refuses no names, equal names and names it does not have", () => {
    expect(() => PerCpuCounters.create({ names: [] })).toThrow(error("SMP_INVALID_ARGUMENT"));
    expect(() => PerCpuCounters.create({ names: ["a", "a"] })).toThrow(error("SMP_INVALID_ARGUMENT"));
    const counters = PerCpuCounters.create({ names: ["a"] });
    expect(() => counters.slot("b" as "a")).toThrow(error("SMP_INVALID_ARGUMENT"));
  });
});
