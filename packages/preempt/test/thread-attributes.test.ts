import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { CpuMask } from "@x/smp";
import { Priority, ThreadAttributes } from "../src/index.ts";

describe("thread attributes", () => {
  it("allow every CPU, of any machine, by default", () => {
    const attributes = new ThreadAttributes();
    expect(attributes.priority).toBe(Priority.Normal);
    for (const cpu of [0, 63, 64, 255, 4095]) expect(attributes.canRunOnCpu(cpu)).toBe(true);
    expect(attributes.canRunOnCpu(-1)).toBe(false);
    expect(attributes.canRunOnCpu(0.5)).toBe(false);
  });

  it("are never changed, only replaced", () => {
    const before = new ThreadAttributes();
    const after = before.withCpuAffinity(70).withPriority(Priority.High);
    expect(before.cpus).toBeUndefined();
    expect(before.priority).toBe(Priority.Normal);
    expect(after.cpus).toEqual([70]);
    expect(after.canRunOnCpu(70)).toBe(true);
    expect(after.canRunOnCpu(6)).toBe(false);
    expect(after.withoutAffinity().canRunOnCpu(6)).toBe(true);
    expect(after.withoutAffinity().priority).toBe(Priority.High);
  });

  it("take the latest affinity, whichever form it has", () => {
    const one = new ThreadAttributes().withAffinityMask(0b1010).withCpuAffinity(2);
    expect(one.cpus).toEqual([2]);
    expect(one.withAffinityMask(0b1010).cpus).toEqual([1, 3]);
    expect(one.withAffinityMask(0x80000000).cpus).toEqual([31]);
    expect(one.withAffinityMask(1n << 200n).cpus).toEqual([200]);
    expect(one.withAffinityMask(CpuMask.parseList("5,7-8", 16)).cpus).toEqual([5, 7, 8]);
  });

  it("agree with a plain set for any CPUs", () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.nat(4095), { minLength: 1 }), fc.nat(4200), (cpus, probe) => {
        const attributes = new ThreadAttributes().withAffinityMask(cpus);
        expect(attributes.canRunOnCpu(probe)).toBe(cpus.includes(probe));
        expect(attributes.cpus).toEqual([...cpus].sort((a, b) => a - b));
      }),
    );
  });

  it("refuse an affinity of nothing, and CPUs that cannot exist", () => {
    const base = new ThreadAttributes();
    const empty = expect.objectContaining({ code: "PREEMPT_EMPTY_AFFINITY" });
    const invalid = expect.objectContaining({ code: "PREEMPT_INVALID_ARGUMENT" });
    expect(() => base.withAffinityMask(0)).toThrow(empty);
    expect(() => base.withAffinityMask([])).toThrow(empty);
    expect(() => base.withCpuAffinity(4096)).toThrow(invalid);
    expect(() => base.withCpuAffinity(-1)).toThrow(invalid);
    expect(() => base.withAffinityMask(-1)).toThrow(invalid);
    expect(() => base.withAffinityMask(-1n)).toThrow(invalid);
    expect(() => base.withAffinityMask(1.5)).toThrow(invalid);
    expect(() => base.withPriority(4 as 3)).toThrow(invalid);
  });
});
