import { Piscina } from "piscina";
import { describe, expect, it } from "vitest";
import { CpuManager, CpuState, IpiMailbox, PerCpuCounters, SpinLocks, WorkerHal } from "../../src/index.ts";
import { attachAsCpu, CpuSeats } from "../../src/node/index.ts";

const filename = new URL("../fixtures/seat-task.mjs", import.meta.url).href;
const error = (code: string): object => expect.objectContaining({ code }) as object;

describe("CpuSeats", () => {
  it("make CPUs of the threads of a pool, and free what one held when it dies", async () => {
    const hal = WorkerHal.create({ possibleCpus: 3 });
    const counters = PerCpuCounters.create({ names: ["tasks"], hal });
    const locks = SpinLocks.create({ hal });
    const mailbox = IpiMailbox.create({ hal });
    const manager = CpuManager.create({ hal });
    for (const apicId of [0, 1, 2]) manager.bringCpuOnline(manager.addCpu(apicId));
    for (const cpu of [1, 2]) manager.markOnline(cpu);
    const ended: number[] = [];
    const seats = new CpuSeats({ hal, mailbox, manager, recovers: [locks], onExit: (cpu) => ended.push(cpu) });
    const pool = new Piscina({ filename, minThreads: 2, maxThreads: 2, concurrentTasksPerWorker: 1 });
    const data = { seats: seats.handle, counters: counters.handle, locks: locks.handle };
    for (const worker of pool.threads) seats.watch(worker);
    const used = await Promise.all(Array.from({ length: 30 }, () => pool.run({ ...data }) as Promise<number>));
    expect([...new Set(used)].every((cpu) => cpu === 1 || cpu === 2)).toBe(true);
    expect(counters.sum(0)).toBe(30);
    expect(counters.read(used[0], 0)).toBeGreaterThan(0);
    for (const worker of pool.threads) seats.watch(worker);
    const before = seats.free.length;
    await expect(pool.run({ ...data, die: true })).rejects.toThrow();
    while (ended.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    const [dead] = ended;
    expect([locks.isLocked(), mailbox.isOnline(dead), manager.state(dead)]).toEqual([false, false, CpuState.Offline]);
    expect(seats.free).toContain(dead);
    expect(seats.free.length).toBeGreaterThanOrEqual(before);
    expect(locks.lock()).toBe(true);
    locks.markConsistent();
    locks.unlock();
    for (const worker of pool.threads) seats.watch(worker);
    await pool.run({ ...data });
    await pool.destroy();
    while (seats.free.length < 2) await new Promise((resolve) => setTimeout(resolve, 5));
    expect(seats.free).toEqual([1, 2]);
  });

  it("give a thread the same CPU again, until it gives it back, and no more than there are", () => {
    const hal = WorkerHal.create({ possibleCpus: 4, cpu: 3 });
    const seats = new CpuSeats({ hal, cpus: [2] });
    {
      using first = attachAsCpu(seats.handle);
      const again = attachAsCpu(structuredClone(seats.handle));
      expect([first.cpu, again.cpu, again.hal.currentCpu(), seats.free]).toEqual([2, 2, 2, []]);
      Atomics.store(new Int32Array(seats.handle.memory), 0, 999);
      expect(() => attachAsCpu(seats.handle)).toThrow(error("SMP_TOO_MANY_CPUS"));
      Atomics.store(new Int32Array(seats.handle.memory), 0, 1);
    }
    expect(new CpuSeats({ hal }).free).toEqual([0, 1, 2]);
    for (const cpus of [[], [4], [1, 1]])
      expect(() => new CpuSeats({ hal, cpus })).toThrow(error("SMP_INVALID_ARGUMENT"));
  });
});
