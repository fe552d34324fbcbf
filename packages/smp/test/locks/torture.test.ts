import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { describe, expect, it } from "vitest";
import {
  Barriers,
  Conditions,
  McsLocks,
  Mutexes,
  RwLocks,
  SeqLocks,
  SpinLocks,
  TicketLocks,
  WorkerHal,
} from "../../src/index.ts";

/*
 * Real threads take the locks in every way, and are terminated in the middle. SMP_TORTURE_SECONDS=60 makes it a minute for each
 * test instead of a few deaths.
 */
const SECONDS = Number(process.env["SMP_TORTURE_SECONDS"] ?? 0);
const DEATHS = 8;
const CPUS = 3;
const STOP = 0;
const FAULTS = 1;
const entry = new URL("../fixtures/lock-torture.mjs", import.meta.url);
const kinds = [SpinLocks, TicketLocks, McsLocks, Mutexes, RwLocks, SeqLocks] as const;
const kindOf = {
  SpinLocks: "spin",
  TicketLocks: "ticket",
  McsLocks: "mcs",
  Mutexes: "mutex",
  RwLocks: "rwlock",
  SeqLocks: "seqlock",
};

class Torture {
  readonly hal: WorkerHal = WorkerHal.create({ possibleCpus: CPUS });
  readonly words: Int32Array = new Int32Array(new SharedArrayBuffer(16));
  readonly state: Int32Array = new Int32Array(new SharedArrayBuffer(64));
  readonly #workers: (Worker | undefined)[] = [];
  readonly #exits: Promise<unknown>[] = [];
  deaths = 0;

  /** Start `cpu` and wait until it works. */
  async start(cpu: number, kind: string, shared: object, program: string): Promise<void> {
    const data = { ...shared, words: this.words.buffer, state: this.state.buffer };
    const worker = new Worker(entry, { workerData: { cpu, kind, program, hal: this.hal.handle, shared: data } });
    this.#workers[cpu] = worker;
    this.#exits.push(new Promise((resolve) => worker.once("exit", resolve)));
    await once(worker, "message");
  }

  async kill(cpu: number): Promise<void> {
    await this.#workers[cpu]?.terminate();
    this.#workers[cpu] = undefined;
    this.deaths++;
  }

  /** Until enough have died: `once` each time. */
  async during(step: () => Promise<void>): Promise<void> {
    const endNs = this.hal.now() + SECONDS * 1e9;
    while (this.deaths < DEATHS || this.hal.now() < endNs) await step();
  }

  /** Every thread ends by itself, in reasonable time: nobody waits for ever. */
  async stop(wakeUp: () => void): Promise<void> {
    Atomics.store(this.state, STOP, 1);
    const timer = setInterval(wakeUp, 5);
    await Promise.all(this.#exits);
    clearInterval(timer);
  }
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const TIMEOUT_MS = 60_000 + SECONDS * 1000;

describe.each(kinds.map((Locks) => [Locks.name as keyof typeof kindOf, Locks] as const))("%s", (name, Locks) => {
  it(
    "excludes, and tells of every death in the middle, while threads die at any moment",
    { timeout: TIMEOUT_MS },
    async () => {
      const torture = new Torture();
      const locks = Locks.create({ hal: torture.hal });
      const shared = { lock: locks.handle };
      for (const cpu of [1, 2]) await torture.start(cpu, kindOf[name], shared, "sync");
      await torture.during(async () => {
        const victim = 1 + (torture.deaths % 2);
        await pause(torture.deaths % 4);
        await torture.kill(victim);
        locks.releaseDeadOwner(victim);
        await torture.start(victim, kindOf[name], shared, "sync");
      });
      await torture.stop(() => undefined);
      expect(torture.state[FAULTS]).toBe(0);
      expect(locks.isLocked()).toBe(false);
      expect(locks.lock() || torture.words[0] === torture.words[1]).toBe(true);
      locks.unlock();
      expect(torture.words[0]).toBeGreaterThan(0);
    },
  );
});

it(
  "Mutexes are taken asynchronously and synchronously at once, and survive deaths",
  { timeout: TIMEOUT_MS },
  async () => {
    const torture = new Torture();
    const locks = Mutexes.create({ hal: torture.hal });
    const shared = { lock: locks.handle };
    await torture.start(1, "mutex", shared, "sync");
    await torture.start(2, "mutex", shared, "async");
    await torture.during(async () => {
      for (let i = 0; i < 20; i++) {
        const died = await locks.lockAsync();
        if (died) Atomics.store(torture.words, 1, Atomics.load(torture.words, 0));
        if (died) locks.markConsistent();
        locks.unlock();
      }
      await torture.kill(2);
      locks.releaseDeadOwner(2);
      await torture.start(2, "mutex", shared, "async");
    });
    await torture.stop(() => undefined);
    expect(torture.state[FAULTS]).toBe(0);
    expect(locks.isLocked()).toBe(false);
  },
);

it("a thread that has nothing to do but wait for a lock lives until it gets it", { timeout: TIMEOUT_MS }, async () => {
  const torture = new Torture();
  const locks = Mutexes.create({ hal: torture.hal });
  locks.lock();
  await torture.start(1, "mutex", { lock: locks.handle }, "async");
  // Long enough that the event loop of the thread has come to rest.
  await pause(50);
  locks.unlock();
  while (Atomics.load(torture.words, 0) === 0) await pause(1);
  await torture.stop(() => undefined);
  expect(locks.isLocked()).toBe(false);
});

it("Conditions hand a token to and fro between threads that die", { timeout: TIMEOUT_MS }, async () => {
  const torture = new Torture();
  const locks = Mutexes.create({ hal: torture.hal });
  const conditions = Conditions.create({ hal: torture.hal });
  const shared = { lock: locks.handle, conditions: conditions.handle };
  torture.words[3] = 1;
  for (const cpu of [1, 2]) await torture.start(cpu, "mutex", shared, "condition");
  await torture.during(async () => {
    const before = Atomics.load(torture.words, 0);
    await torture.kill(1 + (torture.deaths % 2));
    const victim = 2 - (torture.deaths % 2);
    locks.releaseDeadOwner(victim);
    conditions.releaseDeadOwner(victim);
    await torture.start(victim, "mutex", shared, "condition");
    while (Atomics.load(torture.words, 0) < before + 10) await pause(0);
  });
  await torture.stop(() => conditions.broadcast());
  expect(torture.state[FAULTS]).toBe(0);
});

it("Barriers go on without the dead and take new members in", { timeout: TIMEOUT_MS }, async () => {
  const torture = new Torture();
  const barriers = Barriers.create({ hal: torture.hal, cpus: [1, 2] });
  const shared = { lock: barriers.handle };
  const phase = (): number => Atomics.load(new Int32Array(barriers.handle.memory), 0);
  for (const cpu of [1, 2]) await torture.start(cpu, "barrier", shared, "sync");
  await torture.during(async () => {
    const victim = 1 + (torture.deaths % 2);
    await torture.kill(victim);
    barriers.releaseDeadOwner(victim);
    const before = phase();
    while (phase() < before + 3) await pause(0);
    await torture.start(victim, "barrier", shared, "sync");
    while (phase() < before + 6) await pause(0);
  });
  Atomics.store(torture.state, STOP, 1);
  await torture.kill(1);
  barriers.releaseDeadOwner(1);
  await torture.stop(() => undefined);
  expect(barriers.members()).toBeGreaterThanOrEqual(1);
});
