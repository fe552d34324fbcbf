import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { WorkerHal } from "@x/smp";
import { describe, expect, it } from "vitest";
import { LatencyHistogram, Profiler, ShadowStack } from "../src/index.ts";

const CPUS = 3;
const SYMBOLS = 100;

interface Report {
  readonly kept: number;
  readonly calls: number;
  readonly ids: readonly number[];
  readonly balanced: boolean;
}

/** Starts the CPUs 1 and up, runs `control` as CPU 0, then stops them; returns what they say they did. */
async function withThreads(
  { maxSamples, records = true }: { maxSamples: number; records?: boolean },
  control: (profiler: Profiler, shadow: ShadowStack) => void,
) {
  const hal = WorkerHal.create({ possibleCpus: CPUS + 1 });
  const profiler = Profiler.create({ hal, config: { maxSamples } });
  const histogram = LatencyHistogram.create({ hal });
  const shadow = ShadowStack.create({ hal, profiler });
  const stop = new SharedArrayBuffer(4);
  const handles = {
    hal: hal.handle,
    profiler: profiler.handle,
    histogram: histogram.handle,
    shadow: shadow.handle,
  };
  profiler.start();
  const workers = Array.from(
    { length: CPUS },
    (_, index) =>
      new Worker(new URL("./fixtures/profiled-cpu.mjs", import.meta.url), {
        workerData: { cpu: index + 1, handles, stop, symbols: SYMBOLS, records },
      }),
  );
  await Promise.all(workers.map((worker) => once(worker, "message")));
  const answers = workers.map((worker) => once(worker, "message"));
  try {
    control(profiler, shadow);
  } finally {
    Atomics.store(new Int32Array(stop), 0, 1);
  }
  const reports = (await Promise.all(answers)).map(([report]) => report as Report);
  await Promise.all(workers.map((worker) => worker.terminate()));
  return { profiler, histogram, reports };
}

function sleep(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

describe("on real threads", () => {
  it("keeps every sample whole, as many as it accepted and none beyond the limit", async () => {
    const { profiler, histogram, reports } = await withThreads({ maxSamples: 5000 }, () => sleep(100));
    profiler.stop();
    const kept = reports.reduce((sum, report) => sum + report.kept, 0);
    const calls = reports.reduce((sum, report) => sum + report.calls, 0);
    const stats = profiler.stats();
    expect(stats.records).toBe(kept);
    expect(kept).toBe(Math.min(5000, calls));
    expect(kept + stats.lostSamples).toBe(calls);
    for (const { timeNs, taskId, kernelMode, stack } of profiler.samples()) {
      expect([taskId, kernelMode, ...new Set(stack)]).toEqual([timeNs, timeNs % 2 === 0, timeNs]);
    }
    expect(histogram.count()).toBe(calls);
    expect(reports.every(({ balanced }) => balanced)).toBe(true);
  });

  it("gives the same name the same id on every thread", async () => {
    const { profiler, reports } = await withThreads({ maxSamples: 10 }, () => undefined);
    expect(profiler.symbols.count).toBe(SYMBOLS + 1);
    for (const { ids } of reports) {
      expect(ids).toEqual(reports[0].ids);
      ids.forEach((id, at) => expect(profiler.symbols.name(id)).toBe(`function ${at}`));
    }
  });

  it("changes nothing any more once stop has returned, however busy the CPUs are", async () => {
    await withThreads({ maxSamples: 2048 }, (profiler) => {
      for (let round = 0; round < 10; round++) {
        sleep(2);
        profiler.stop();
        const records = profiler.stats().records;
        sleep(1);
        expect(profiler.stats().records).toBe(records);
        profiler.start();
      }
    });
  });

  it("samples running threads from outside, every function one that they were in", async () => {
    const { profiler } = await withThreads({ maxSamples: 6000, records: false }, (running, shadow) => {
      // A busy host may keep the other threads from running for a while.
      for (let turn = 0, kept = 0; kept < 100 && turn < 10_000; turn++) {
        kept += shadow.sampleCpus(turn);
        if (turn % 8 === 0) sleep(0.1);
      }
      running.stop();
    });
    const seen = [...profiler.samples()];
    expect(seen.length).toBeGreaterThan(0);
    for (const { stack } of seen) {
      expect(stack.length).toBeLessThanOrEqual(2);
      expect([1, 2, 3]).toContain(stack[0]);
      if (stack.length === 2) expect([1, 2, 3, 4]).toContain(stack[1]);
    }
  });
});
