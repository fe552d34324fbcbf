import { CounterType } from "@x/profiling";
import { describe, expect, test } from "vitest";
import { bootMachine, emulate } from "../src/experiment/emulation.ts";
import { defaultScenarioFile, loadScenario, validateScenario, type Scenario } from "../src/experiment/scenario.ts";

const base = loadScenario(defaultScenarioFile);

/** The default scenario, short, with these threads alone. */
function withThreads(threads: readonly object[]): Scenario {
  const { threads: checked } = validateScenario({ threads });
  return { ...base, traffic: { ...base.traffic, repeat: 10 }, events: [], threads: checked };
}

const worker = { name: "worker", count: 6, steps: [{ computeUs: 50 }, { remapPages: 4 }, { sleepUs: 30 }] };

describe("address spaces of the emulated machine", () => {
  test("every shootdown is answered by all it told, idle CPUs are left alone, and all of it takes time", async () => {
    const { report } = await emulate(withThreads([worker]));
    const { translation, ipis } = report;
    expect(translation.shootdowns).toBeGreaterThan(100);
    expect(translation.requests).toBe(ipis["TlbFlush"]);
    expect(translation.skippedLazy).toBeGreaterThan(0);
    expect(translation.flushes).toBeGreaterThan(translation.shootdowns);
    expect(translation.fullFlushes).toBeLessThan(translation.flushes);
    // At least the interrupt there and back to where its sender looks again; at most what interrupts that are off can delay it.
    expect(translation.maxLatencyNs).toBeGreaterThan(900);
    expect(translation.meanLatencyNs).toBeLessThan(100_000);
    expect(report.profile.samples).toBeGreaterThan(0);
  });

  test("a process alone on its CPU tells nobody", async () => {
    const { report } = await emulate(withThreads([{ ...worker, count: 1, cpus: "3" }]));
    expect(report.translation).toMatchObject({ requests: 0, skippedLazy: 0 });
    expect(report.translation.shootdowns).toBeGreaterThan(10);
    expect(report.ipis["TlbFlush"]).toBe(0);
  });

  test("more pages than the ceiling are one flush of the whole space", async () => {
    const { report } = await emulate(
      withThreads([{ ...worker, steps: [{ computeUs: 50 }, { remapPages: 34 }, { sleepUs: 30 }] }]),
    );
    expect(report.translation.fullFlushes).toBe(report.translation.flushes);
  });

  test("pages that were remapped miss the TLB again, others do not, and more than it holds always do", async () => {
    const alone = { name: "alone", cpus: "3", steps: [{ computeUs: 50 }, { sleepUs: 30 }] };
    const misses = async (thread: object): Promise<number> => {
      const { report } = await emulate(withThreads([{ ...alone, ...thread }]));
      return report.translation.tlbMisses;
    };
    const kept = await misses({ pages: 64 });
    const remapped = await misses({ pages: 64, steps: [{ computeUs: 50 }, { remapPages: 8 }, { sleepUs: 30 }] });
    const tooMany = await misses({ pages: 4096 });
    expect(kept).toBeLessThan(200);
    expect(remapped).toBeGreaterThan(kept * 2);
    expect(tooMany).toBeGreaterThan(remapped * 10);
  });

  test("the performance counter of TLB misses counts what the model's TLBs missed", () => {
    const { kernel } = bootMachine(base);
    kernel.pmu.enable(CounterType.TlbMisses);
    const before = kernel.translation.misses(0);
    kernel.machine.current = 0;
    kernel.translation.switchTo(0);
    const ns = kernel.translation.work(9, 10);
    expect(kernel.translation.misses(0) - before).toBe(10);
    expect(kernel.pmu.read(CounterType.TlbMisses, 0)).toBe(10);
    expect(ns).toBe(10 * kernel.machine.costs.pageWalkNs);
    expect(kernel.translation.work(9, 10)).toBe(0);
  });

  test("the direct map of memory is translated once on each CPU, until it is flushed everywhere", () => {
    const { kernel, machine } = bootMachine(base);
    machine.current = 0;
    const before = kernel.translation.misses(0);
    machine.touch(64, false);
    machine.touch(4096 * 1000, false);
    expect(kernel.translation.misses(0) - before).toBe(0);
    const ticket = kernel.translation.shootdown.startGlobal();
    while (!kernel.translation.shootdown.poll(ticket)) machine.step();
    kernel.translation.shootdown.finish(ticket);
    machine.current = 0;
    machine.touch(64, false);
    expect(kernel.translation.misses(0) - before).toBeGreaterThan(0);
  });

  test("CPUs that were never started are told nothing", () => {
    const { kernel, machine } = bootMachine({ ...base, cpus: 2 });
    machine.current = 0;
    const { shootdown } = kernel.translation;
    const ticket = shootdown.startGlobal();
    while (!shootdown.poll(ticket)) machine.step();
    expect(shootdown.statistics(0).requests).toBe(1);
  });
});
