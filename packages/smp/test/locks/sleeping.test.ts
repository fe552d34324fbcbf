import { describe, expect, it } from "vitest";
import { Barriers, Conditions, Mutexes, RwLocks, SeqLocks, soloHal, WorkerHal } from "../../src/index.ts";
import { SeveralCpus } from "../several-cpus.ts";

const error = (code: string): object => expect.objectContaining({ code }) as object;

describe("Mutexes and RwLocks, asynchronously", () => {
  it("two tasks of one thread take turns", async () => {
    const locks = Mutexes.create();
    const order: string[] = [];
    const task = async (name: string): Promise<void> => {
      await locks.lockAsync();
      order.push(`${name} in`);
      await Promise.resolve();
      order.push(`${name} out`);
      locks.unlock();
    };
    await Promise.all([task("a"), task("b"), task("c")]);
    expect(order).toHaveLength(6);
    for (let i = 0; i < 6; i += 2) expect(order[i].replace("in", "out")).toBe(order[i + 1]);
    expect(locks.isLocked()).toBe(false);
  });

  it("calls back at once when the lock is free, and later when it is not", async () => {
    const locks = Mutexes.create();
    const calls: string[] = [];
    locks.lockThen((taken) => calls.push(`first ${taken}`));
    locks.lockThen((taken) => calls.push(`second ${taken}`));
    expect(calls).toEqual(["first true"]);
    locks.unlock();
    await new Promise((resolve) => setTimeout(resolve, 0));
    expect(calls).toEqual(["first true", "second true"]);
  });

  it("gives up after the time it was given", async () => {
    const locks = Mutexes.create();
    locks.lock();
    await expect(locks.tryLockForAsync(1e6)).resolves.toBe(false);
    locks.unlock();
    await expect(locks.tryLockForAsync(1e6)).resolves.toBe(true);
    const shared = RwLocks.create();
    shared.lock();
    await expect(shared.tryLockSharedForAsync(1e6)).resolves.toBe(false);
    shared.unlock();
    await shared.lockSharedAsync();
    await expect(shared.tryLockForAsync(1e6)).resolves.toBe(false);
    await expect(shared.tryLockSharedForAsync(0)).resolves.toBe(true);
    expect(shared.readers()).toBe(2);
  });

  it("a writer waits for readers, and readers for a writer", async () => {
    const hal = WorkerHal.create({ possibleCpus: 2 });
    const locks = RwLocks.create({ hal });
    const other = RwLocks.attach(locks.handle, { hal: WorkerHal.attach(hal.handle, { cpu: 1 }) });
    locks.lockShared();
    const writer = locks.lockAsync();
    const reader = other.lockSharedAsync();
    locks.unlockShared();
    await expect(writer).resolves.toBe(false);
    expect(locks.readers()).toBe(0);
    locks.unlock();
    await expect(reader).resolves.toBe(false);
    expect(locks.readers()).toBe(1);
  });

  it("are free again at the end of a block that waited for them", async () => {
    const locks = RwLocks.create();
    const inside: string[] = [];
    const task = async (name: string): Promise<void> => {
      using guard = await locks.guardAsync();
      inside.push(name);
      await Promise.resolve(guard);
      inside.push(name);
    };
    await Promise.all([task("a"), task("b")]);
    expect(inside).toEqual(["a", "a", "b", "b"]);
    expect(locks.isLocked()).toBe(false);
    {
      using first = await locks.tryGuardForAsync(1e6);
      using second = await locks.tryGuardForAsync(1e6);
      using reader = await locks.trySharedGuardForAsync(1e6);
      expect([first === undefined, second, reader]).toEqual([false, undefined, undefined]);
      expect([locks.trySharedGuard(), locks.trySharedGuardFor(0)]).toEqual([undefined, undefined]);
    }
    expect(locks.isLocked()).toBe(false);
    {
      using one = locks.trySharedGuard();
      using two = locks.trySharedGuardFor(1e6);
      using three = await locks.sharedGuardAsync();
      expect([locks.readers(), one === two, two === three]).toEqual([3, true, true]);
    }
    expect(locks.readers()).toBe(0);
  });

  it("a lone CPU that would sleep for ever is told", () => {
    const locks = Mutexes.create({ hal: soloHal() });
    locks.lock();
    expect(() => locks.lock()).toThrow(error("SMP_LOCK_RECURSION"));
    expect(() => Conditions.create().wait(locks)).toThrow(error("SMP_WOULD_DEADLOCK"));
    expect(locks.isLocked()).toBe(false);
  });
});

describe("Conditions", () => {
  it("ends a wait by a signal or by the clock, and has the mutex again", async () => {
    const hal = WorkerHal.create({ possibleCpus: 2 });
    const locks = Mutexes.create({ hal });
    const conditions = Conditions.create({ hal, count: 2 });
    locks.lock();
    expect(conditions.waitFor(1e5, locks, 0, 1)).toBe(false);
    expect(locks.owner()).toBe(0);
    const woken = conditions.waitForAsync(1e9, locks, 0, 1);
    expect(locks.isLocked()).toBe(false);
    conditions.signal(0);
    conditions.signal(1);
    await expect(woken).resolves.toBe(true);
    expect(locks.owner()).toBe(0);
    await expect(conditions.waitForAsync(1e6, locks)).resolves.toBe(false);
    locks.unlock();
    expect(() => conditions.wait(locks)).toThrow(error("SMP_LOCK_NOT_OWNED"));
  });

  it("is one array on both sides of an attach", async () => {
    const hal = WorkerHal.create({ possibleCpus: 1 });
    const locks = Mutexes.create({ hal });
    const conditions = Conditions.create({ name: "items", hal });
    const other = Conditions.attach(structuredClone(conditions.handle), { hal });
    locks.lock();
    const woken = conditions.waitAsync(locks);
    other.broadcast();
    await expect(woken).resolves.toBe(false);
    expect([other.name, other.count, other.kind]).toEqual(["items", 1, "condition"]);
  });
});

describe("Barriers", () => {
  it("ends a phase when the last member arrives, again and again", () => {
    const hal = new SeveralCpus(3);
    const barriers = Barriers.create({ hal });
    for (let round = 0; round < 3; round++) {
      const phases = [0, 1].map((cpu) => hal.on(cpu, () => barriers.arrive()));
      expect(phases.map((phase) => barriers.isOver(phase))).toEqual([false, false]);
      expect(() => barriers.arrive()).toThrow(error("SMP_WOULD_DEADLOCK"));
      expect(hal.on(2, () => barriers.wait())).toBe(true);
      expect(phases.map((phase) => barriers.isOver(phase))).toEqual([true, true]);
    }
  });

  it("does not wait for those that are no members, or died, and takes them in again", () => {
    const hal = new SeveralCpus(4);
    const barriers = Barriers.create({ hal, cpus: [0, 2, 3], count: 2 });
    expect([barriers.members(), barriers.members(1)]).toEqual([3, 3]);
    expect(() => hal.on(1, () => barriers.arrive())).toThrow(error("SMP_INVALID_CPU"));
    const phase = barriers.arrive();
    hal.on(2, () => barriers.arrive());
    expect(barriers.releaseDeadOwner(3)).toBe(2);
    expect(barriers.isOver(phase)).toBe(true);
    hal.on(3, () => barriers.join());
    expect([barriers.members(), barriers.members(1)]).toEqual([3, 2]);
    barriers.arrive();
    hal.on(3, () => barriers.arrive());
    expect(hal.on(2, () => barriers.arrive())).toBe(-1);
    expect(() => Barriers.create({ hal, cpus: [4] })).toThrow(error("SMP_INVALID_CPU"));
  });

  it("waits for a time, or without blocking", async () => {
    const hal = WorkerHal.create({ possibleCpus: 2 });
    const barriers = Barriers.create({ hal });
    const other = Barriers.attach(structuredClone(barriers.handle), { hal: WorkerHal.attach(hal.handle, { cpu: 1 }) });
    expect(barriers.waitFor(1e5)).toBe(false);
    expect(other.wait()).toBe(true);
    const waiting = barriers.waitAsync();
    await expect(other.waitAsync()).resolves.toBe(true);
    await expect(waiting).resolves.toBe(false);
    await expect(barriers.waitForAsync(1e6)).resolves.toBe(false);
    expect(other.wait()).toBe(true);
    const over = barriers.waitForAsync(1e9);
    await expect(other.waitForAsync(1e9)).resolves.toBe(true);
    await expect(over).resolves.toBe(true);
  });
});

describe("SeqLocks, to read", () => {
  it("reads what a writer wrote as a whole, and again when one came in between", () => {
    const hal = new SeveralCpus(2);
    const locks = SeqLocks.create({ hal });
    const data = new Int32Array(new SharedArrayBuffer(16));
    const read = new Int32Array(2);
    const sequence = locks.readBegin();
    hal.on(1, () => locks.lock());
    expect(locks.tryReadBegin()).toBe(-1);
    hal.onRelax = () => {
      locks.write(Int32Array.of(7, 8), data, 1);
      hal.on(1, () => locks.unlock());
    };
    locks.read(read, data, 1);
    expect([...read]).toEqual([7, 8]);
    expect(locks.readRetry(sequence)).toBe(true);
    expect(locks.readRetry(locks.readBegin())).toBe(false);
  });

  it("gives readers nothing half changed: after a death they wait for a writer's repair, or throw", () => {
    const hal = new SeveralCpus(3);
    const locks = SeqLocks.create({ hal });
    hal.on(1, () => locks.lock());
    locks.releaseDeadOwner(1);
    expect(() => locks.readBegin()).toThrow(error("SMP_LOCK_OWNER_DIED"));
    expect(locks.tryReadBegin()).toBe(-1);
    expect(hal.on(2, () => locks.lock())).toBe(true);
    hal.on(2, () => locks.markConsistent());
    hal.on(2, () => locks.unlock());
    expect(locks.tryReadBegin()).toBeGreaterThan(0);
  });
});
