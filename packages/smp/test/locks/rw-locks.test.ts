import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { RwLocks } from "../../src/index.ts";
import { SeveralCpus } from "../several-cpus.ts";

const error = (code: string): object => expect.objectContaining({ code }) as object;
const machine = () => {
  const hal = new SeveralCpus(3);
  return { hal, locks: RwLocks.create({ hal, spinLimit: Infinity }) };
};

describe("RwLocks", () => {
  it("agrees with a table of readers and one writer under any sequence of tries, ends and deaths", () => {
    const step = fc.record({
      cpu: fc.integer({ min: 0, max: 2 }),
      action: fc.constantFrom("read", "endRead", "write", "endWrite", "downgrade", "die"),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const { hal, locks } = machine();
        const reads = [0, 0, 0];
        let writer = -1;
        for (const { cpu, action } of steps) {
          hal.cpu = cpu;
          if (action === "read") {
            expect(locks.tryLockShared()).toBe(writer < 0);
            if (writer < 0) reads[cpu]++;
          } else if (action === "endRead" && reads[cpu] === 0) {
            expect(() => locks.unlockShared()).toThrow(error("SMP_LOCK_NOT_OWNED"));
          } else if (action === "endRead") {
            locks.unlockShared();
            reads[cpu]--;
          } else if (action === "write") {
            const free = writer < 0 && reads.every((count) => count === 0);
            expect(locks.tryLock()).toBe(free);
            if (free) writer = cpu;
          } else if (action === "endWrite" && writer === cpu) {
            locks.unlock();
            writer = -1;
          } else if (action === "downgrade" && writer === cpu) {
            locks.downgrade();
            writer = -1;
            reads[cpu] = 1;
          } else if (action === "die") {
            expect(locks.releaseDeadOwner(cpu)).toBe((writer === cpu ? 1 : 0) + (reads[cpu] > 0 ? 1 : 0));
            if (writer === cpu) expect(locks.ownerDied()).toBe(true);
            if (writer === cpu) writer = -1;
            reads[cpu] = 0;
          }
          expect([locks.owner(), locks.readers()]).toEqual([writer, reads[0] + reads[1] + reads[2]]);
        }
      }),
    );
  });

  it("keeps new readers out while a writer waits, but lets a CPU read again what it reads", () => {
    const { hal, locks } = machine();
    locks.lockShared();
    const seen: boolean[] = [];
    hal.onRelax = () => {
      hal.onRelax = () => undefined;
      seen.push(hal.on(2, () => locks.tryLockShared()));
      seen.push(hal.on(0, () => locks.tryLockShared()));
      hal.on(0, () => locks.unlockShared());
      hal.on(0, () => locks.unlockShared());
    };
    hal.on(1, () => locks.lock());
    expect(seen).toEqual([false, true]);
    expect(locks.owner()).toBe(1);
  });

  it("gives up after the time it was given, and keeps nobody out then", () => {
    const { hal, locks } = machine();
    hal.onRelax = () => {
      hal.timeNs += 10;
    };
    locks.lockShared();
    expect(hal.on(1, () => locks.tryLockFor(50))).toBe(false);
    expect(hal.on(2, () => locks.tryLockShared())).toBe(true);
    hal.on(2, () => locks.unlockShared());
    locks.unlockShared();
    hal.on(1, () => locks.lock());
    expect(locks.tryLockSharedFor(50)).toBe(false);
  });

  it("throws at what would wait for ever: to write what it reads, to read what it writes", () => {
    const { locks } = machine();
    locks.lockShared();
    expect(() => locks.lock()).toThrow(error("SMP_LOCK_RECURSION"));
    locks.unlockShared();
    locks.lock();
    expect(() => locks.lockShared()).toThrow(error("SMP_LOCK_RECURSION"));
    expect(() => locks.guard(0)).toThrow(error("SMP_LOCK_RECURSION"));
    locks.unlock();
    {
      using guard = locks.sharedGuard();
      expect([guard, locks.readers()]).toEqual([guard, 1]);
    }
    expect(locks.readers()).toBe(0);
  });

  it("tells readers too that a writer died", () => {
    const { hal, locks } = machine();
    hal.on(1, () => locks.lock());
    locks.releaseDeadOwner(1);
    expect(locks.lockShared()).toBe(true);
    expect(locks.readers()).toBe(1);
  });
});
