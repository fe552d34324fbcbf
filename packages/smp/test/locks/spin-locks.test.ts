import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { SpinLocks } from "../../src/index.ts";
import { SeveralCpus } from "../several-cpus.ts";

const error = (code: string): object => expect.objectContaining({ code }) as object;
const machine = (count = 2) => {
  const hal = new SeveralCpus(3);
  return { hal, locks: SpinLocks.create({ name: "test", count, hal }) };
};

describe("SpinLocks", () => {
  it("agrees with a table of owners under any sequence of tries and releases", () => {
    const step = fc.record({
      cpu: fc.integer({ min: 0, max: 2 }),
      lock: fc.integer({ min: 0, max: 1 }),
      take: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const { hal, locks } = machine();
        const owners = [-1, -1];
        for (const { cpu, lock, take } of steps) {
          if (take) {
            expect(hal.on(cpu, () => locks.tryLock(lock))).toBe(owners[lock] === -1);
            if (owners[lock] === -1) owners[lock] = cpu;
          } else if (owners[lock] === cpu) {
            hal.on(cpu, () => locks.unlock(lock));
            owners[lock] = -1;
          } else {
            expect(() => hal.on(cpu, () => locks.unlock(lock))).toThrow(error("SMP_LOCK_NOT_OWNED"));
          }
          expect([0, 1].map((each) => locks.owner(each))).toEqual(owners);
          expect([0, 1].map((each) => locks.isLocked(each))).toEqual(owners.map((owner) => owner !== -1));
        }
      }),
    );
  });

  it("spins until the holder lets go and tells how often", () => {
    const acquired: number[][] = [];
    const released: number[] = [];
    const contended: number[][] = [];
    const hal = new SeveralCpus(2);
    const locks = SpinLocks.create({
      hal,
      observer: {
        onAcquired: (_locks, lock, spins) => acquired.push([lock, spins]),
        onRelease: (_locks, lock) => released.push(lock),
        onContended: (_locks, lock, owner) => contended.push([lock, owner]),
      },
    });
    hal.on(1, () => locks.lock());
    hal.onRelax = () => {
      if (hal.relaxed === 3) hal.on(1, () => locks.unlock());
    };
    locks.lock();
    expect(locks.owner()).toBe(0);
    expect(acquired).toEqual([
      [0, 0],
      [0, 3],
    ]);
    expect(released).toEqual([0]);
    expect(contended).toEqual([[0, 1]]);
    hal.onRelax = () => undefined;
    hal.on(1, () => {
      expect(locks.tryLock()).toBe(false);
      expect(locks.tryLockFor(0)).toBe(false);
    });
    expect(contended.slice(1)).toEqual([[0, 0]]);
  });

  it("throws at the second lock of one CPU instead of spinning for ever", () => {
    const { locks } = machine();
    locks.lock(1);
    expect(() => locks.lock(1)).toThrow(error("SMP_LOCK_RECURSION"));
    expect(locks.tryLock(1)).toBe(false);
    expect(locks.tryLockFor(Infinity, 1)).toBe(false);
    locks.unlock(1);
    expect(locks.isLocked(1)).toBe(false);
  });

  it("is free again at the end of a block, also when the block throws, and its guard is made once", () => {
    const { locks } = machine();
    const first = locks.guard(1);
    first[Symbol.dispose]();
    const failing = (): void => {
      using guard = locks.guard(1);
      expect(guard).toBe(first);
      expect(locks.owner(1)).toBe(0);
      throw new Error("in the block");
    };
    expect(failing).toThrow("in the block");
    expect(locks.isLocked(1)).toBe(false);
    expect(() => first[Symbol.dispose]()).toThrow(error("SMP_LOCK_NOT_OWNED"));
  });

  it("gives up after the time it was given", () => {
    const { hal, locks } = machine();
    hal.on(1, () => locks.lock());
    hal.onRelax = () => {
      hal.timeNs += 10;
    };
    expect(locks.tryLockFor(95)).toBe(false);
    expect(hal.timeNs).toBe(100);
    hal.onRelax = () => hal.on(1, () => locks.unlock());
    expect(locks.tryLockFor(95)).toBe(true);
    expect(locks.owner()).toBe(0);
  });

  it("frees what a dead CPU held and nothing else", () => {
    const { hal, locks } = machine(4);
    hal.on(1, () => locks.lock(0));
    hal.on(2, () => locks.lock(1));
    hal.on(1, () => locks.lock(3));
    expect(locks.releaseDeadOwner(1)).toBe(2);
    expect([0, 1, 2, 3].map((lock) => locks.owner(lock))).toEqual([-1, 2, -1, -1]);
    expect(locks.releaseDeadOwner(1)).toBe(0);
  });

  it("is one array on both sides of an attach", () => {
    const { hal, locks } = machine();
    const other = SpinLocks.attach(structuredClone(locks.handle), { hal });
    locks.lock(1);
    expect(other.owner(1)).toBe(0);
    expect([other.name, other.count]).toEqual(["test", 2]);
  });

  it("has at least one lock", () => {
    for (const count of [0, -1, 1.5]) {
      expect(() => SpinLocks.create({ count })).toThrow(error("SMP_INVALID_ARGUMENT"));
    }
  });
});
