import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import {
  Barriers,
  CpuMask,
  CpuManager,
  CpuState,
  MAX_CPUS,
  PerCpuCounters,
  SpinLocks,
  WorkerHal,
} from "../../src/index.ts";
import { joinAsCpu, pinThread, startCpus, type CpuThreads } from "../../src/node/index.ts";

const fixture = (name: string): URL => new URL(`../fixtures/${name}.mjs`, import.meta.url);
const entry = fixture("cpu");
const failure = (code: string): object => expect.objectContaining({ code }) as object;

async function run(hal: WorkerHal, data: object): Promise<CpuThreads> {
  const threads = await startCpus({ cpus: hal.possibleCpus - 1, entry, data, hal });
  await threads.exited;
  return threads;
}

describe("startCpus", () => {
  it("starts the lowest CPUs beside the caller's and ends when they do", async () => {
    const threads = await startCpus({ cpus: 2, entry, data: { program: "idle" } });
    expect(threads.cpus).toEqual([1, 2]);
    expect(threads.hal.possibleCpus).toBe(3);
    expect(threads.hal.currentCpu()).toBe(0);
    await expect(threads.exited).resolves.toBeUndefined();
  });

  it("starts the CPUs that are named", async () => {
    const hal = WorkerHal.create({ possibleCpus: 8, cpu: 4 });
    const times = new SharedArrayBuffer(8 * 8);
    const before = hal.now();
    const threads = await startCpus({ cpus: [7, 2], entry, data: { program: "clock", times }, hal });
    await threads.exited;
    const after = hal.now();
    expect(threads.cpus).toEqual([7, 2]);
    const seen = new Float64Array(times);
    expect([...seen.keys()].filter((cpu) => seen[cpu] !== 0)).toEqual([2, 7]);
    // The clocks of all threads are one clock: 1 ms is far above its error and far below the time a thread takes to start.
    for (const cpu of [2, 7]) expect(seen[cpu]).toBeGreaterThan(before - 1e6);
    for (const cpu of [2, 7]) expect(seen[cpu]).toBeLessThan(after + 1e6);
  });

  it("rejects with the CPU whose thread fails before it joins, and leaves no thread behind", async () => {
    const ended: number[] = [];
    const start = startCpus({ cpus: 2, entry: fixture("broken"), onExit: (cpu) => ended.push(cpu) });
    await expect(start).rejects.toMatchObject({
      code: "SMP_THREAD_FAILED",
      cause: { message: "planted fault at start" },
    });
    expect(ended.sort((a, b) => a - b)).toEqual([1, 2]);
  });

  it("rejects with the CPU that dies after it has joined, while others have not joined yet", async () => {
    const start = startCpus({ cpus: 3, entry: fixture("one-dies") });
    await expect(start).rejects.toMatchObject({
      code: "SMP_THREAD_FAILED",
      cause: { message: "planted fault after joining" },
    });
  });

  it("rejects when a thread ends without joining", async () => {
    const start = startCpus({ cpus: 1, entry: fixture("never-joins") });
    await expect(start).rejects.toThrow("the thread of CPU 1 ended without joining");
  });

  it("reports a CPU that dies later, by its number and with its error, though others run on", async () => {
    const hal = WorkerHal.create({ possibleCpus: 4 });
    const exits: [number, string | undefined][] = [];
    const onExit = (cpu: number, error: Error | undefined): number => exits.push([cpu, error?.message]);
    const others = await startCpus({ cpus: [1], entry, data: { program: "forever" }, hal, onExit });
    const dying = await startCpus({ cpus: [3], entry, data: { program: "fail" }, hal, onExit });
    await expect(dying.exited).rejects.toMatchObject({
      code: "SMP_THREAD_FAILED",
      cause: { message: "planted fault" },
    });
    await expect(dying.exited).rejects.toThrow("CPU 3");
    await others.terminate();
    await expect(others.exited).resolves.toBeUndefined();
    expect(exits).toEqual([
      [3, "the thread of CPU 3 failed: planted fault"],
      [1, undefined],
    ]);
  });

  it("takes another exit code than 0 as a failure", async () => {
    const threads = await startCpus({ cpus: 1, entry, data: { program: "exit" } });
    await expect(threads.exited).rejects.toThrow("the thread of CPU 1 ended with exit code 3");
  });

  it("refuses CPUs that cannot be started", async () => {
    const hal = WorkerHal.create({ possibleCpus: 2 });
    for (const cpus of [0, 2, -1, 1.5, [], [1, 1]]) {
      await expect(startCpus({ cpus, entry, hal })).rejects.toEqual(failure("SMP_INVALID_ARGUMENT"));
    }
    for (const cpus of [[0], [2], [-1], [0.5]]) {
      await expect(startCpus({ cpus, entry, hal })).rejects.toEqual(failure("SMP_INVALID_CPU"));
    }
  });

  it("lets only threads that it started join, and each once", async () => {
    expect(() => joinAsCpu()).toThrow(failure("SMP_CPU_STATE"));
    // The thread fails at once: whether startCpus has seen it join by then is a matter of luck.
    const ended = startCpus({ cpus: 1, entry, data: { program: "joinTwice" } }).then((threads) => threads.exited);
    await expect(ended).rejects.toMatchObject({ cause: { code: "SMP_CPU_STATE" } });
  });

  it("gives the thread of a CPU that it started, and of no other", async () => {
    const threads = await startCpus({ cpus: 1, entry, data: { program: "forever" } });
    expect(threads.worker(1).threadId).toBeGreaterThan(0);
    expect(() => threads.worker(0)).toThrow(failure("SMP_INVALID_CPU"));
    await threads[Symbol.asyncDispose]();
    await expect(threads.exited).resolves.toBeUndefined();
  });
});

describe.runIf(existsSync("/proc/thread-self"))("pinning to the host's CPUs", () => {
  const allowed = /^Cpus_allowed_list:\s*(.*)$/m.exec(readFileSync("/proc/thread-self/status", "latin1"))?.[1] ?? "";
  const host = CpuMask.parseList(allowed, MAX_CPUS);

  it.runIf(spawnSync("taskset", ["--version"]).status === 0)(
    "gives each thread one in turn, as the host says too",
    async () => {
      const hal = WorkerHal.create({ possibleCpus: 4 });
      const words = new Int32Array(new SharedArrayBuffer(32));
      const threads = await startCpus({
        cpus: 3,
        entry,
        data: { program: "pinned", words: words.buffer },
        hal,
        hostCpus: host,
      });
      await threads.exited;
      const expected = [...host];
      for (const at of [0, 1, 2]) {
        const hostCpu = expected[at % expected.length];
        expect([words[2 + at * 2], words[3 + at * 2]]).toEqual([hostCpu, hostCpu]);
      }
      expect(pinThread(host)).toMatchObject({ pinned: true, reason: "" });
    },
  );

  it("says that it did not where it cannot, and changes nothing", () => {
    const none = host
      .clone()
      .clear()
      .add(MAX_CPUS - 1);
    const result = pinThread(none);
    expect(result.pinned).toBe(false);
    expect(result.reason).not.toBe("");
    expect(result.hostCpus?.toList()).toBe(host.toList());
  });
});

describe("a thread that dies", () => {
  it("leaves its CPU offline and its locks free, and the next owner is told; those that others hold stay", async () => {
    const hal = WorkerHal.create({ possibleCpus: 2 });
    const states: number[][] = [];
    const manager = CpuManager.create({ hal, observer: { onState: (cpu, _from, to) => states.push([cpu, to]) } });
    const locks = SpinLocks.create({ hal, count: 3 });
    const barriers = Barriers.create({ hal });
    for (const apicId of [0, 1]) manager.bringCpuOnline(manager.addCpu(apicId));
    let step = 0;
    manager.addHotplugStep({ name: "test", dead: (cpu) => (step = cpu) }, { invoke: false });
    locks.lock(2);
    const data = { program: "diesWithLock", manager: manager.handle, locks: locks.handle };
    const seen: unknown[] = [];
    const onExit = (): number => seen.push(manager.state(1), locks.owner(1), barriers.members());
    const recovers = [locks, barriers];
    const start = startCpus({ cpus: 1, entry, data, hal, manager, recovers, onExit });
    await expect(start.then((threads) => threads.exited)).rejects.toThrow("planted death");
    expect(seen).toEqual([CpuState.Offline, -1, 1]);
    expect([states.at(-1), step, manager.onlineCount]).toEqual([[1, CpuState.Offline], 1, 1]);
    expect([locks.lock(1), locks.ownerDied(1), locks.owner(2)]).toEqual([true, true, 0]);
  });

  it("before it came online leaves its CPU failed, which can be started again", async () => {
    const hal = WorkerHal.create({ possibleCpus: 2 });
    const manager = CpuManager.create({ hal });
    for (const apicId of [0, 1]) manager.bringCpuOnline(manager.addCpu(apicId));
    await expect(startCpus({ cpus: 1, entry: fixture("broken"), hal, manager })).rejects.toThrow("planted fault");
    expect(manager.state(1)).toBe(CpuState.Failed);
    expect(manager.bringCpuOnline(1)).toBe(CpuState.Initializing);
    const data = { program: "online", manager: manager.handle };
    const threads = await startCpus({ cpus: 1, entry, data, hal });
    await threads.exited;
    expect(manager.state(1)).toBe(CpuState.Online);
  });
});

describe("on real threads", () => {
  it("no increment under a spin lock is lost", async () => {
    const hal = WorkerHal.create({ possibleCpus: 3 });
    const locks = SpinLocks.create({ hal });
    const words = new Int32Array(new SharedArrayBuffer(4));
    await run(hal, { program: "lockedAdds", locks: locks.handle, words: words.buffer, rounds: 20_000 });
    expect(words[0]).toBe(40_000);
    expect(locks.isLocked()).toBe(false);
  });

  it("per-CPU counters sum to what all CPUs counted", async () => {
    const hal = WorkerHal.create({ possibleCpus: 3 });
    const counters = PerCpuCounters.create({ names: ["events"], hal });
    await run(hal, { program: "counts", counters: counters.handle, rounds: 50_000 });
    expect(counters.sum(0)).toBe(100_000);
    expect([0, 1, 2].map((cpu) => counters.read(cpu, 0))).toEqual([0, 50_000, 50_000]);
  });

  it("a started thread brings its CPU online", async () => {
    const hal = WorkerHal.create({ possibleCpus: 2 });
    const manager = CpuManager.create({ hal });
    for (const apicId of [0, 1]) manager.bringCpuOnline(manager.addCpu(apicId));
    const threads = await startCpus({ cpus: 1, entry, data: { program: "online", manager: manager.handle }, hal });
    expect(manager.waitCpuOnline(1)).toBe(CpuState.Online);
    await threads.exited;
    expect(manager.onlineCount).toBe(2);
  });
});
