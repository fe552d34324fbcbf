import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  createSpinningLocks,
  attachSpinningLocks,
  McsLocks,
  Mutexes,
  RwLocks,
  SeqLocks,
  SpinLocks,
  TicketLocks,
} from "../../src/index.ts";
import { SeveralCpus } from "../several-cpus.ts";

const error = (code: string): object => expect.objectContaining({ code }) as object;
/** CPUs of one thread cannot sleep: the sleeping kinds spin as long as it takes. */
const spinLimit = Infinity;
const kinds = [SpinLocks, TicketLocks, McsLocks, Mutexes, RwLocks, SeqLocks] as const;

describe.each(kinds.map((Locks) => [Locks.name, Locks] as const))("%s", (_name, Locks) => {
  const machine = (count = 2) => {
    const hal = new SeveralCpus(3);
    return { hal, locks: Locks.create({ name: "test", count, hal, spinLimit }) };
  };

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
    let gaveUp = 0;
    const hal = new SeveralCpus(2);
    const locks = Locks.create({
      hal,
      spinLimit,
      observer: {
        onAcquired: (_locks, lock, spins) => acquired.push([lock, spins]),
        onRelease: (_locks, lock) => released.push(lock),
        onContended: (_locks, lock, owner) => contended.push([lock, owner]),
        onGaveUp: () => gaveUp++,
      },
    });
    hal.on(1, () => locks.lock());
    hal.onRelax = () => {
      if (hal.relaxed === 3) hal.on(1, () => locks.unlock());
    };
    locks.lock();
    expect(locks.owner()).toBe(0);
    expect(acquired[0]).toEqual([0, 0]);
    expect(acquired[1][1]).toBeGreaterThanOrEqual(3);
    expect(released).toEqual([0]);
    expect(contended).toEqual([[0, 1]]);
    hal.onRelax = () => undefined;
    hal.on(1, () => {
      expect(locks.tryLock()).toBe(false);
      expect(locks.tryLockFor(0)).toBe(false);
    });
    expect(contended.slice(1)).toEqual([[0, 0]]);
    expect(gaveUp).toBe(1);
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
    const { hal, locks } = machine();
    const first = locks.guard(1);
    first[Symbol.dispose]();
    const failing = (): void => {
      using guard = locks.guard(1);
      expect(guard).toBe(first);
      using none = hal.on(2, () => locks.tryGuard(1));
      expect([none, hal.on(2, () => locks.tryGuardFor(0, 1))]).toEqual([undefined, undefined]);
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
    expect(hal.timeNs).toBeGreaterThanOrEqual(95);
    hal.onRelax = () => hal.on(1, () => locks.unlock());
    expect(locks.tryLockFor(95)).toBe(true);
    expect(locks.owner()).toBe(0);
  });

  it("frees what a dead CPU held and nothing else, and tells the next owners until one has repaired", () => {
    const { hal, locks } = machine(4);
    let told = 0;
    const observer = { onOwnerDied: () => told++ };
    const watched = Locks.attach(locks.handle as never, { hal, observer });
    hal.on(1, () => locks.lock(0));
    hal.on(2, () => locks.lock(1));
    hal.on(1, () => locks.lock(3));
    expect(locks.releaseDeadOwner(1)).toBe(2);
    expect([0, 1, 2, 3].map((lock) => locks.owner(lock))).toEqual([-1, 2, -1, -1]);
    expect(locks.releaseDeadOwner(1)).toBe(0);
    expect([0, 1, 2, 3].map((lock) => locks.ownerDied(lock))).toEqual([true, false, false, true]);
    expect(locks.tryLock(0)).toBe(true);
    locks.unlock(0);
    expect(watched.lock(0)).toBe(true);
    expect(told).toBe(1);
    expect(() => hal.on(2, () => locks.markConsistent(0))).toThrow(error("SMP_LOCK_NOT_OWNED"));
    locks.markConsistent(0);
    locks.unlock(0);
    expect(hal.on(2, () => watched.lock(0))).toBe(false);
    expect(told).toBe(1);
    expect([locks.lock(2), locks.lock(3)]).toEqual([false, true]);
  });

  it("is not harmed by the death of a CPU that gave up waiting, and that CPU may come back", () => {
    const { hal, locks } = machine();
    locks.lock();
    expect(hal.on(1, () => locks.tryLockFor(0))).toBe(false);
    expect(locks.releaseDeadOwner(1)).toBe(0);
    expect(hal.on(1, () => locks.tryLockFor(0))).toBe(false);
    locks.unlock();
    expect(locks.ownerDied()).toBe(false);
    expect(hal.on(2, () => locks.tryLock())).toBe(true);
    hal.on(2, () => locks.unlock());
    expect(hal.on(1, () => locks.tryLock())).toBe(true);
  });

  it("is one array on both sides of an attach", () => {
    const { hal, locks } = machine();
    const other = Locks.attach(structuredClone(locks.handle) as never, { hal });
    locks.lock(1);
    expect(other.owner(1)).toBe(0);
    expect([other.name, other.count]).toEqual(["test", 2]);
  });

  it("has at least one lock", () => {
    for (const count of [0, -1, 1.5]) {
      expect(() => Locks.create({ count })).toThrow(error("SMP_INVALID_ARGUMENT"));
    }
  });
});

describe.each([TicketLocks, McsLocks].map((Locks) => [Locks.name, Locks] as const))("queue of %s", (_name, Locks) => {
  it("serves in the order of asking, passes over who left, and gives back the place of who comes again", () => {
    const hal = new SeveralCpus(4);
    const locks = Locks.create({ hal });
    locks.lock();
    for (const cpu of [1, 2, 3]) expect(hal.on(cpu, () => locks.tryLockFor(0))).toBe(false);
    expect(locks.queue()).toEqual([0]);
    // CPU 2 is back and keeps its place before 3; 1 stays away.
    hal.onRelax = () => {
      expect(locks.queue()).toEqual([0, 2]);
      hal.onRelax = () => undefined;
      hal.on(0, () => locks.unlock());
      expect(locks.owner()).toBe(2);
    };
    expect(hal.on(2, () => locks.tryLockFor(1))).toBe(true);
    // It is CPU 3's turn behind 2, before 0 that asks later.
    expect(locks.tryLockFor(0)).toBe(false);
    hal.onRelax = () => {
      hal.onRelax = () => undefined;
      expect(locks.queue()).toEqual([2, 3]);
      hal.on(2, () => locks.unlock());
    };
    hal.on(3, () => locks.lock());
    expect(locks.owner()).toBe(3);
    hal.on(3, () => locks.unlock());
    expect(locks.isLocked()).toBe(false);
  });

  it("keeps its numbers right when tickets wrap round", () => {
    const hal = new SeveralCpus(2);
    const locks = Locks.create({ hal });
    const words = new Int32Array(locks.handle.memory);
    words[0] = (0xffffe << 12) | 1;
    words[1] = 0xfffffff;
    for (let i = 0; i < 8; i++) {
      hal.on(i & 1, () => locks.lock());
      expect(locks.owner()).toBe(i & 1);
      expect(hal.on(1 - (i & 1), () => locks.tryLockFor(0))).toBe(false);
      hal.on(i & 1, () => locks.unlock());
      expect(locks.isLocked()).toBe(false);
    }
    expect(words[1]).toBeLessThan(100);
  });
});

it("the kind of a spin lock can be chosen", () => {
  for (const kind of ["spin", "ticket", "mcs"] as const) {
    const hal = new SeveralCpus(2);
    const locks = createSpinningLocks(kind, { name: "chosen", hal });
    const other = attachSpinningLocks(structuredClone(locks.handle), { hal });
    locks.lock();
    expect([other.kind, other.name, other.owner()]).toEqual([kind, "chosen", 0]);
  }
});

it("a machine with more CPUs than the locks have room for is refused", () => {
  const { handle } = McsLocks.create({ hal: new SeveralCpus(2) });
  expect(() => McsLocks.attach(handle, { hal: new SeveralCpus(3) })).toThrow(error("SMP_INVALID_ARGUMENT"));
});
