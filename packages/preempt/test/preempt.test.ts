import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { PerCpuData } from "@x/smp";
import { Preempt, type PreemptOptions } from "../src/index.ts";
import { ManyCpus } from "./many-cpus.ts";

function machine(cpus: number, options: PreemptOptions = {}) {
  const hal = new ManyCpus(cpus);
  const rescheduled: number[] = [];
  const preempt = Preempt.create({ hal, onReschedule: (cpu) => rescheduled.push(cpu), ...options });
  return { hal, preempt, rescheduled };
}

describe("preempt-disabled sections", () => {
  it("nest by CPU and reschedule when the outermost ends", () => {
    const { hal, preempt, rescheduled } = machine(2);
    preempt.disable();
    preempt.disable();
    expect(preempt.count()).toBe(2);
    expect(hal.on(1, () => preempt.count())).toBe(0);
    preempt.setNeedResched();
    expect(preempt.check()).toBe(false);
    expect(preempt.needResched()).toBe(true);
    preempt.enable();
    expect(rescheduled).toEqual([]);
    preempt.enable();
    expect(rescheduled).toEqual([0]);
    expect(preempt.needResched()).toBe(false);
    expect(preempt.preemptible()).toBe(true);
  });

  it("end at the end of a block, also when it throws", () => {
    const { preempt } = machine(1);
    expect(() => {
      using guard = preempt.guard();
      expect(guard).toBeDefined();
      expect(preempt.preemptible()).toBe(false);
      throw new Error("planted");
    }).toThrow("planted");
    expect(preempt.count()).toBe(0);
  });

  it("left more often than entered throw and leave preemption on", () => {
    const { preempt } = machine(1);
    expect(() => preempt.enable()).toThrow(expect.objectContaining({ code: "SMP_PREEMPT_UNDERFLOW" }));
    expect(preempt.preemptible()).toBe(true);
  });

  it("can leave the reschedule to the next check", () => {
    const { preempt, rescheduled } = machine(1);
    preempt.disable();
    preempt.setNeedResched();
    preempt.enableNoResched();
    expect(rescheduled).toEqual([]);
    expect(preempt.shouldReschedule()).toBe(true);
    expect(preempt.check()).toBe(true);
  });

  it("are measured when asked to", () => {
    const sections: [number, number][] = [];
    const observer = { onSection: (cpu: number, ns: number) => sections.push([cpu, ns]) };
    const { hal, preempt } = machine(2, { traceSections: true, observer });
    hal.cpu = 1;
    preempt.disable();
    hal.timeNs = 10;
    preempt.disable();
    hal.timeNs = 30;
    preempt.enable();
    preempt.enable();
    expect(sections).toEqual([[1, 30]]);
    expect(preempt.stats(1).longestSectionNs).toBe(30);
    expect(preempt.stats(0).longestSectionNs).toBe(0);
  });
});

describe("a preemption point", () => {
  it("does nothing in an interrupt, and keeps the request for later", () => {
    const perCpu = PerCpuData.create({ hal: new ManyCpus(1) });
    const { preempt, rescheduled } = machine(1, { perCpu });
    preempt.perCpu.enterHardirq();
    preempt.setNeedResched();
    expect(preempt.check()).toBe(false);
    preempt.disable();
    preempt.enable();
    expect(rescheduled).toEqual([]);
    preempt.perCpu.leaveHardirq();
    expect(preempt.check()).toBe(true);
    expect(rescheduled).toEqual([0]);
  });

  it("of any CPU sees a request made through the same object at once, whatever the interval", () => {
    const cpus = 3;
    const act = fc.record({ kind: fc.constantFrom("set", "check"), cpu: fc.nat(cpus - 1), from: fc.nat(cpus - 1) });
    fc.assert(
      fc.property(fc.array(act, { maxLength: 100 }), fc.integer({ min: 1, max: 50 }), (acts, checkInterval) => {
        const { hal, preempt } = machine(cpus, { checkInterval });
        const asked = new Set<number>();
        for (const { kind, cpu, from } of acts) {
          if (kind === "set") {
            expect(hal.on(from, () => preempt.setNeedResched(cpu))).toBe(!asked.has(cpu));
            asked.add(cpu);
          } else {
            expect(hal.on(cpu, () => preempt.check())).toBe(asked.delete(cpu));
          }
        }
      }),
    );
  });

  it("sees a request from elsewhere within the interval", () => {
    const { hal, preempt, rescheduled } = machine(1, { checkInterval: 8 });
    const elsewhere = Preempt.attach(preempt.handle, { hal });
    preempt.check();
    elsewhere.setNeedResched(0);
    let calls = 1;
    while (!preempt.check()) calls++;
    expect(calls).toBe(8);
    expect(rescheduled).toEqual([0]);
  });

  it("does not reschedule again for one request, nor forget one made while it reschedules", () => {
    const hal = new ManyCpus(1);
    let depth = 0;
    const preempt: Preempt = Preempt.create({
      hal,
      onReschedule: () => {
        depth++;
        preempt.disable();
        preempt.enable();
        if (depth === 1) preempt.setNeedResched();
      },
    });
    preempt.setNeedResched();
    expect(preempt.check()).toBe(true);
    expect(depth).toBe(1);
    expect(preempt.check()).toBe(true);
    expect(preempt.check()).toBe(false);
    expect(depth).toBe(2);
  });
});

describe("asking another CPU", () => {
  it("kicks it once until it has acted", () => {
    const { hal, preempt } = machine(3);
    expect(preempt.setNeedResched(2)).toBe(true);
    expect(preempt.setNeedResched(2)).toBe(false);
    preempt.setNeedResched(0);
    expect(hal.kicked).toEqual([2]);
    hal.on(2, () => preempt.check());
    preempt.setNeedResched(2);
    expect(hal.kicked).toEqual([2, 2]);
  });
});

describe("statistics", () => {
  it("hold the latency of every request and the two kinds of switches, by CPU and summed", () => {
    const slow: [number, number][] = [];
    const observer = { onLatencyLimit: (cpu: number, ns: number) => slow.push([cpu, ns]) };
    const { hal, preempt } = machine(2, { latencyLimitNs: 500, observer });
    hal.timeNs = 1000;
    preempt.setNeedResched(1);
    hal.timeNs = 1100;
    hal.on(1, () => preempt.check());
    preempt.setNeedResched(1);
    hal.timeNs = 1700;
    hal.on(1, () => preempt.check());
    preempt.recordVoluntary();
    hal.on(1, () => preempt.recordInvoluntary());
    expect(preempt.stats(1)).toMatchObject({ total: 1, voluntary: 0, involuntary: 1, latencyCount: 2 });
    expect(preempt.stats(1)).toMatchObject({ maxLatencyNs: 600, meanLatencyNs: 350 });
    expect(preempt.stats(1).latencyHistogram[6]).toBe(1);
    expect(preempt.stats(1).latencyHistogram[9]).toBe(1);
    expect(preempt.stats()).toMatchObject({ total: 2, voluntary: 1, involuntary: 1, latencyCount: 2 });
    expect(slow).toEqual([[1, 600]]);
    preempt.resetStats();
    expect(preempt.stats()).toMatchObject({ total: 0, maxLatencyNs: 0, latencyCount: 0 });
  });

  it("count every latency in exactly one bucket, the one that contains it", () => {
    fc.assert(
      fc.property(fc.double({ min: 0, max: 1e15, noNaN: true }), (latencyNs) => {
        const { preempt } = machine(1);
        preempt.recordLatency(latencyNs);
        const buckets = preempt.stats().latencyHistogram;
        const at = buckets.indexOf(1);
        expect(buckets.reduce((a, b) => a + b)).toBe(1);
        if (at > 0) expect(latencyNs).toBeGreaterThanOrEqual(2 ** at);
        if (at < buckets.length - 1) expect(latencyNs).toBeLessThan(2 ** (at + 1));
      }),
    );
  });

  it("refuse impossible latencies and intervals", () => {
    const invalid = expect.objectContaining({ code: "PREEMPT_INVALID_ARGUMENT" });
    expect(() => machine(1).preempt.recordLatency(-1)).toThrow(invalid);
    expect(() => machine(1, { checkInterval: 0 })).toThrow(invalid);
  });
});
