import { Worker } from "node:worker_threads";
import { describe, expect, it } from "vitest";
import { WorkerHal } from "@x/smp";
import { Preempt, Scheduler, ThreadAttributes, ThreadState } from "../src/index.ts";

const THREADS = 24;
const MAIN_CPU = 2;

interface Counts {
  readonly switches: number;
  readonly idle: number;
  readonly twice: number;
  readonly outside: number;
  readonly checks: number;
}

function run(workerData: Record<string, unknown>): Promise<Counts> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL("fixtures/cpu.mjs", import.meta.url), { workerData });
    worker.once("message", resolve);
    worker.once("error", reject);
  });
}

describe("two worker threads as CPUs of one scheduler", () => {
  it("run no thread twice at once nor where it is not allowed, and lose none", async () => {
    const hal = WorkerHal.create({ possibleCpus: 3, cpu: MAIN_CPU });
    const preempt = Preempt.create({ hal });
    const scheduler = Scheduler.create({ hal, preempt, maxThreads: THREADS, activeCpus: [0, 1], timeSliceNs: 5000 });
    for (let i = 1; i <= THREADS; i++) {
      const tid = scheduler.spawn(`t${i}`, new ThreadAttributes().withAffinityMask([0b01, 0b10, 0b11][i % 3]));
      expect(tid).toBe(i);
      scheduler.wake(tid);
    }
    const common = {
      halHandle: hal.handle,
      preemptHandle: preempt.handle,
      schedulerHandle: scheduler.handle,
      memory: new SharedArrayBuffer((THREADS + 1) * 4),
      threads: THREADS,
      durationMs: 400,
    };
    const results = await Promise.all([run({ ...common, cpu: 0 }), run({ ...common, cpu: 1 })]);
    for (const counts of results) {
      expect(counts.twice).toBe(0);
      expect(counts.outside).toBe(0);
      expect(counts.switches).toBeGreaterThan(100);
    }
    let ready = 0;
    const running: number[] = [];
    scheduler.forEachThread((tid) => {
      if (scheduler.state(tid) === ThreadState.Ready) ready++;
      if (scheduler.current(scheduler.threadStats(tid).lastCpu) === tid) running.push(tid);
    });
    expect(scheduler.threadCount).toBe(THREADS);
    expect(scheduler.queued(0) + scheduler.queued(1) + scheduler.queued(2)).toBe(ready);
    expect(running.length).toBe([0, 1].filter((cpu) => scheduler.current(cpu) !== 0).length);
    drain(hal, scheduler);
    expect(scheduler.threadCount).toBe(0);
  });

  /** Bring every thread to the one CPU this thread can act as, and end it there. */
  function drain(hal: WorkerHal, scheduler: Scheduler): void {
    expect(hal.currentCpu()).toBe(MAIN_CPU);
    const others = [0, 1].map((cpu) => {
      const own = WorkerHal.attach(hal.handle, { cpu });
      return Scheduler.attach(scheduler.handle, { hal: own, preempt: Preempt.create({ hal: own }) });
    });
    for (const own of others.filter((other) => other.current() !== 0)) {
      own.exit();
      own.schedule(true);
    }
    scheduler.activate(MAIN_CPU);
    scheduler.forEachThread((tid) => {
      scheduler.setAffinity(tid, new ThreadAttributes().withCpuAffinity(MAIN_CPU));
      scheduler.wake(tid);
    });
    for (const own of others) own.schedule(false);
    while (scheduler.schedule(true) !== 0) scheduler.exit();
  }
});
