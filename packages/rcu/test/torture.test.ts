import { Worker } from "node:worker_threads";
import { describe, expect, it } from "vitest";
import { WorkerHal } from "@x/smp";
import { jsonCodec, Rcu, RcuCell, type RcuFlavour } from "../src/index.ts";

const MAIN_CPU = 2;
const BLOCKS = 64;
const BLOCK_WORDS = 16;
const DURATION_MS = 400;

function run<Result>(entry: string, workerData: Record<string, unknown>): Promise<Result> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL(`fixtures/${entry}`, import.meta.url), { workerData });
    worker.once("message", resolve);
    worker.once("error", reject);
  });
}

interface TortureResult {
  readonly ages: readonly number[];
  readonly torn: number;
  readonly sections: number;
  readonly updates: number;
  readonly retired: number;
  readonly free: number;
}

/** Two threads read, one of them writes; a removed block is poisoned when `release` says that nobody reads it. */
async function torture(flavour: RcuFlavour, waitForGracePeriod: boolean) {
  const hal = WorkerHal.create({ possibleCpus: 3, cpu: MAIN_CPU });
  const rcu = Rcu.create({ hal, flavour });
  const memory = new SharedArrayBuffer((1 + BLOCKS * BLOCK_WORDS) * 4);
  const common = {
    halHandle: hal.handle,
    rcuHandle: rcu.handle,
    memory,
    blocks: BLOCKS,
    blockWords: BLOCK_WORDS,
    durationMs: DURATION_MS,
    waitForGracePeriod,
  };
  const [reader, writer] = await Promise.all([
    run<TortureResult>("torture.mjs", { ...common, cpu: 0, writer: false }),
    run<TortureResult>("torture.mjs", { ...common, cpu: 1, writer: true }),
  ]);
  const ages = reader.ages.map((count, age) => count + writer.ages[age]);
  return { ages, torn: reader.torn + writer.torn, reader, writer, stats: rcu.stats() };
}

describe.each(["qsbr", "memory-barrier"] as const)("torture of flavour %s on two threads", (flavour) => {
  it("shows readers nothing older than one grace period and nothing poisoned, and leaks no block", async () => {
    const { ages, torn, reader, writer, stats } = await torture(flavour, true);
    expect(torn).toBe(0);
    expect(ages[0]).toBeGreaterThan(0);
    expect(ages.slice(2)).toEqual([0, 0]);
    expect(reader.sections).toBeGreaterThan(100);
    expect(writer.updates).toBeGreaterThan(10);
    expect(writer.free).toBe(BLOCKS - 1);
    expect(stats.callbacksQueued).toBe(writer.retired);
    expect(stats.callbacksInvoked).toBe(writer.retired);
    expect(stats.gracePeriods).toBeGreaterThan(10);
  });
});

describe("the torture itself", () => {
  it("finds a writer that does not wait", async () => {
    let found = 0;
    for (let round = 0; round < 20 && found === 0; round++) {
      const { ages, torn } = await torture("qsbr", false);
      found = ages[2] + ages[3] + torn;
    }
    expect(found).toBeGreaterThan(0);
  });
});

describe("an RCU cell on two threads", () => {
  it("shows whole versions, in order, to a reader that never waits", async () => {
    const hal = WorkerHal.create({ possibleCpus: 3, cpu: MAIN_CPU });
    const rcu = Rcu.create({ hal });
    const cell = RcuCell.create({ rcu, codec: jsonCodec, initial: { n: 0, text: "", again: 0 }, maxBytes: 256 });
    const common = { halHandle: hal.handle, rcuHandle: rcu.handle, cellHandle: cell.handle, durationMs: DURATION_MS };
    const [reader, writer] = await Promise.all([
      run<{ reads: number; bad: number }>("cell.mjs", { ...common, cpu: 0, writer: false }),
      run<{ updates: number; bad: number; last: number }>("cell.mjs", { ...common, cpu: 1, writer: true }),
    ]);
    expect(reader.bad + writer.bad).toBe(0);
    expect(reader.reads).toBeGreaterThan(100);
    expect(writer.updates).toBeGreaterThan(10);
    expect(cell.version).toBe(writer.updates + 1);
  });
});

describe("a blocking wait on another thread's CPU", () => {
  it("ends when that CPU has passed, and the asynchronous one too", async () => {
    const hal = WorkerHal.create({ possibleCpus: 3, cpu: MAIN_CPU });
    const rcu = Rcu.create({ hal });
    const memory = new SharedArrayBuffer((1 + BLOCKS * BLOCK_WORDS) * 4);
    const common = { halHandle: hal.handle, rcuHandle: rcu.handle, memory, blocks: BLOCKS, blockWords: BLOCK_WORDS };
    const reader = run("torture.mjs", { ...common, durationMs: 200, waitForGracePeriod: true, cpu: 0, writer: false });
    while (!rcu.isOnline(0)) await new Promise((resolve) => setTimeout(resolve, 1));
    rcu.online();
    rcu.synchronizeBlocking();
    await rcu.synchronize();
    await rcu.barrier();
    expect(rcu.stats().gracePeriods).toBeGreaterThanOrEqual(2);
    rcu.offline();
    await reader;
  });
});
