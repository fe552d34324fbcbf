import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import {
  CallError,
  CrossCalls,
  IpiMailbox,
  IpiType,
  SpinLocks,
  TlbShootdown,
  WorkerHal,
  type CrossFunction,
} from "../../src/index.ts";
import { startCpus, type CpuThreads } from "../../src/node/index.ts";

/* Longer: SMP_IPI_SECONDS=60 npx vitest run --config ../../vitest.config.ts test/node/ipi-threads.test.ts */
const seconds = Number(process.env["SMP_IPI_SECONDS"] ?? 0.3);
const entry = new URL("../fixtures/ipi-cpu.mjs", import.meta.url);
const ADD = 0;
const EXPLODE = 1;
const BACK = 2;
const FOREVER = 3;

function machine(cpus: number, depth?: number) {
  const hal = WorkerHal.create({ possibleCpus: cpus });
  const mailbox = IpiMailbox.create({ hal, ...(depth === undefined ? {} : { depth }) });
  const functions: CrossFunction[] = [
    (from, a, b, c) => a + 10 * b + 100 * c + 10000 * from,
    () => undefined,
    (from, depth_) => (depth_ === 0 ? 0 : 1 + calls.call(from, BACK, depth_ - 1)),
    () => undefined,
  ];
  const calls: CrossCalls = CrossCalls.create({ hal, mailbox, functions });
  const shootdown = TlbShootdown.create({ hal, mailbox, flush: () => undefined });
  const handles = { mailbox: mailbox.handle, calls: calls.handle, shootdown: shootdown.handle };
  const start = (program: string, data: object = {}): Promise<CpuThreads> =>
    startCpus({ cpus: cpus - 1, entry, data: { program, ...handles, ...data }, hal });
  const halt = async (threads: CpuThreads): Promise<void> => {
    mailbox.send("all-except-self", IpiType.Halt);
    await threads.exited;
  };
  return { hal, mailbox, calls, shootdown, start, halt };
}

describe("interrupts between threads", () => {
  it("arrive once and in each sender's order, however few slots there are", async () => {
    const { hal, mailbox, start } = machine(3, 16);
    const rounds = 20_000;
    const threads = await start("sends", { rounds });
    const next = [0, 0, 0];
    let outOfOrder = 0;
    while (next[1] + next[2] < 2 * rounds) {
      const seen = hal.kicks();
      const taken = mailbox.receive((type, payload, from) => {
        if (type === IpiType.Generic && payload !== next[from]++) outOfOrder++;
      });
      if (taken === 0) expect(await hal.waitForKickAsync(seen, 5e9)).not.toBe("timed-out");
    }
    await threads.exited;
    expect(outOfOrder).toBe(0);
    expect(next).toEqual([0, rounds, rounds]);
    mailbox.receive(() => undefined);
    expect(mailbox.pending()).toBe(false);
    expect([1, 2].map((cpu) => mailbox.sent(cpu, IpiType.Generic))).toEqual([rounds, rounds]);
    const reschedules = mailbox.received(0, IpiType.Reschedule);
    expect(reschedules).toBe(mailbox.sent(1, IpiType.Reschedule) + mailbox.sent(2, IpiType.Reschedule));
    expect(reschedules).toBeLessThanOrEqual(2 * rounds);
  });

  it("wake a sleeping CPU each time, and it answers", async () => {
    const { mailbox, start, halt } = machine(2);
    const threads = await start("echoes");
    const answers: number[] = [];
    mailbox.on(IpiType.Generic, (_type, payload) => answers.push(payload));
    for (let round = 0; round < 300; round++) {
      mailbox.send(1, IpiType.Generic, round);
      while (answers.length <= round) mailbox.wait(5e9);
    }
    expect(answers).toEqual(Array.from({ length: 300 }, (_, round) => round + 1));
    await halt(threads);
  });

  it("are served where a thread waits for a lock and where it blocks", async () => {
    const { hal, mailbox, calls, start } = machine(2);
    const locks = SpinLocks.create({ hal });
    const word = new Int32Array(new SharedArrayBuffer(4));
    locks.lock();
    const threads = await start("waitsForLock", { locks: locks.handle, word: word.buffer });
    expect(calls.call(1, ADD, 1)).toBe(1001);
    locks.unlock();
    // The thread gets the lock and blocks on the word.
    for (let round = 0; round < 20; round++) {
      expect(calls.call(1, ADD, round)).toBe(1000 + round);
      await sleep(1);
    }
    Atomics.store(word, 0, 1);
    hal.wake(word, 0, 1);
    mailbox.send(1, IpiType.Halt);
    await threads.exited;
  });
});

describe("calls between threads", () => {
  it("bring results back, from threads that sleep and from threads with an idle event loop", async () => {
    for (const program of ["serves", "listens"]) {
      const { calls, start, halt } = machine(3);
      const threads = await start(program);
      for (let round = 0; round < 200; round++) {
        const cpu = 1 + (round % 2);
        expect(calls.call(cpu, ADD, round, 1, 2)).toBe(round + 210 + 1000 * cpu);
      }
      expect(await Promise.all([1, 2].map((cpu) => calls.callAsync(cpu, ADD, cpu)))).toEqual([1001, 2002]);
      const results: number[] = [];
      calls.callBulk(
        2,
        ADD,
        Int32Array.from({ length: 1000 }, (_, i) => i),
        results,
      );
      expect(results).toEqual(Array.from({ length: 1000 }, (_, i) => 2000 + i));
      await halt(threads);
    }
  });

  it("tell what was thrown on another thread, and where", async () => {
    const { calls, start, halt } = machine(2);
    const threads = await start("serves");
    const message = /function 1.* threw on CPU 1: RangeError: planted 7 \(at explode \(.*ipi-cpu\.mjs:\d+/;
    expect(() => calls.call(1, EXPLODE, 7)).toThrow(message);
    await expect(calls.callAsync(1, EXPLODE, 7)).rejects.toThrow(message);
    await halt(threads);
  });

  it("go to and fro between two threads, inside each other", async () => {
    const { calls, start, halt } = machine(2);
    const threads = await start("serves");
    expect(calls.call(1, BACK, 20)).toBe(20);
    await halt(threads);
  });

  it("end when everybody calls everybody at once", async () => {
    const cpus = 4;
    const { mailbox, start, halt } = machine(cpus, 32);
    const done = new Set<number>();
    mailbox.on(IpiType.Generic, (_type, cpu) => done.add(cpu));
    const rounds = Math.round(seconds * 3000);
    const threads = await start("callsAll", { rounds, others: cpus - 1 });
    while (done.size < cpus - 1) {
      mailbox.wait(5e9);
      // An error of a thread shows here.
      await Promise.race([threads.exited, sleep(0)]);
    }
    await halt(threads);
    expect([...done].sort((x, y) => x - y)).toEqual([1, 2, 3]);
  });

  it("end with an error when the thread that is called dies, and its CPU can be started again", async () => {
    const { hal, mailbox, calls, start, halt } = machine(2, 8);
    for (let life = 0; life < 3; life++) {
      mailbox.online(1);
      const threads = await start("serves");
      const tickets = [calls.start(1, ADD, 1), calls.start(1, FOREVER), calls.start(1, ADD, 2)];
      expect(calls.wait(tickets[0])).toBe(true);
      expect(calls.finish(tickets[0])).toBe(1001);
      expect(calls.wait(tickets[2], 1e6)).toBe(false);
      const third = calls.finishAsync(tickets[2]);
      await threads.terminate();
      mailbox.reportDead(1);
      await expect(third).rejects.toMatchObject({ code: "SMP_CPU_DIED", cpu: 1 });
      expect(() => calls.finish(tickets[1])).toThrow(CallError);
      expect(() => calls.call(1, ADD)).toThrow("CPU 1 is offline");
    }
    mailbox.online(1);
    const threads = await start("serves");
    expect(calls.call(1, ADD, 5)).toBe(1005);
    await halt(threads);
    expect(hal.currentCpu()).toBe(0);
  });

  it("end by themselves where startCpus knows the mailbox", async () => {
    const { hal, mailbox, calls } = machine(2, 8);
    const handles = { mailbox: mailbox.handle, calls: calls.handle };
    for (let life = 0; life < 2; life++) {
      const threads = await startCpus({ cpus: 1, entry, data: { program: "serves", ...handles }, hal, mailbox });
      expect(mailbox.isOnline(1)).toBe(true);
      expect(calls.call(1, ADD, life)).toBe(1000 + life);
      const answer = calls.callAsync(1, FOREVER);
      answer.catch(() => undefined);
      await threads.terminate();
      await expect(answer).rejects.toMatchObject({ code: "SMP_CPU_DIED", cpu: 1 });
      expect(mailbox.isOnline(1)).toBe(false);
    }
  });

  it("lose nothing but what the dead threads had, when threads are killed at any moment", async () => {
    const { mailbox, calls, start, halt } = machine(3, 16);
    const kills = Math.max(3, Math.round(seconds * 10));
    for (let kill = 0; kill < kills; kill++) {
      const threads = await start("callsAll", { rounds: 1e9, others: 2 });
      threads.exited.catch(() => undefined);
      const answers = [1, 2].map((cpu) => calls.callAsync(cpu, ADD, 1).catch((error: CallError) => error.code));
      await sleep(1 + (kill % 5));
      await threads.terminate();
      for (const cpu of [1, 2]) mailbox.reportDead(cpu);
      expect(["SMP_CPU_DIED", "SMP_CPU_OFFLINE", 1001, 2001]).toEqual(
        expect.arrayContaining(await Promise.all(answers)),
      );
      for (const cpu of [1, 2]) mailbox.online(cpu);
    }
    const threads = await start("serves");
    for (let round = 0; round < 100; round++) expect(calls.callMany("all-except-self", ADD)).toBe(2);
    await halt(threads);
  });
});

describe("shootdown between threads", () => {
  it("leaves no thread with what was invalidated before it returned", async () => {
    const { hal, shootdown, start, halt } = machine(4);
    const words = (count: number): Int32Array<SharedArrayBuffer> => new Int32Array(new SharedArrayBuffer(count * 4));
    const [table, published, stale] = [words(4), words(4), words(2)];
    const data = { table: table.buffer, published: published.buffer, stale: stale.buffer };
    const threads = await start("reads", data);
    const endNs = hal.now() + seconds * 1e9;
    for (let value = 1; hal.now() < endNs; value++) {
      const key = value % 4;
      Atomics.store(table, key, value);
      if (value % 5 === 0) await shootdown.invalidateAsync(0, key, 1);
      else shootdown.invalidate(0, key, value % 7 === 0 ? Infinity : 1);
      Atomics.store(published, key, value);
    }
    await halt(threads);
    expect(stale[0]).toBe(0);
    expect(stale[1]).toBeGreaterThan(0);
    expect(shootdown.statistics().flushes).toBeGreaterThan(0);
  });
});
