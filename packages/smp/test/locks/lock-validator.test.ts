import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { LockValidator, Mutexes, PerCpuData, RwLocks, SpinLocks, type InterruptContext } from "../../src/index.ts";
import { SeveralCpus } from "../several-cpus.ts";

const setUp = (context?: InterruptContext) => {
  const hal = new SeveralCpus(4);
  const validator = LockValidator.create({ hal, context, onReport: () => undefined });
  const spin = (name: string, count = 1) => SpinLocks.create({ name, count, hal, observer: validator });
  return { hal, validator, spin };
};
const rules = (validator: LockValidator): string[] => validator.reports.map(({ rule }) => rule);
const nested = (...locks: readonly SpinLocks[]): void => {
  for (const each of locks) each.lock();
  for (let i = locks.length - 1; i >= 0; i--) locks[i].unlock();
};

describe("LockValidator", () => {
  it("finds two orders of two locks on different CPUs that never met, and names both sites", () => {
    const { hal, validator, spin } = setUp();
    const [inode, page] = [spin("inode"), spin("page")];
    const oneWay = (): void => nested(inode, page);
    function theOtherWay(): void {
      page.lock();
      inode.lock();
    }
    hal.on(1, oneWay);
    expect(validator.reports).toEqual([]);
    hal.on(2, theOtherWay);
    expect(rules(validator)).toEqual(["order"]);
    const [report] = validator.reports;
    expect(report).toMatchObject({ cpu: 2, classes: ["inode", "page"] });
    for (const site of report.sites) expect(site).toMatch(/theOtherWay .*lock-validator\.test\.ts:\d+:\d+/);
    expect(report.sites[0]).not.toBe(report.sites[1]);
    expect(report.text).toMatch(/possible circular locking dependency/);
    expect(report.text).toMatch(/page was taken while inode was held\n    inode at .*nested .*test\.ts/);
    expect(validator.orders()).toEqual(["inode -> page", "page -> inode"]);
  });

  it("throws by default, before the lock is taken", () => {
    const hal = new SeveralCpus(2);
    const observer = LockValidator.create({ hal });
    const [a, b] = ["a", "b"].map((name) => SpinLocks.create({ name, hal, observer }));
    nested(a, b);
    b.lock();
    expect(() => a.lock()).toThrow(expect.objectContaining({ code: "SMP_LOCK_RULE" }) as object);
    expect(a.isLocked()).toBe(false);
    expect(observer.held()).toEqual([expect.stringMatching(/^b\[0\] taken at /)]);
    b.unlock();
    expect(observer.held()).toEqual([]);
  });

  it("finds an order exactly when the orders seen have a cycle, as a search through all of them does", () => {
    const pair = fc.tuple(fc.integer({ min: 0, max: 5 }), fc.integer({ min: 0, max: 5 })).filter(([a, b]) => a !== b);
    fc.assert(
      fc.property(fc.array(pair, { maxLength: 12 }), (pairs) => {
        const { validator, spin } = setUp();
        const locks = Array.from({ length: 6 }, (_, index) => spin(`class ${index}`));
        const edges: (readonly [number, number])[] = [];
        const reaches = (from: number, to: number): boolean => {
          const seen = new Set([from]);
          for (const node of seen) for (const [a, b] of edges) if (a === node) seen.add(b);
          return seen.has(to);
        };
        let cycle = false;
        for (const [held, wanted] of pairs) {
          cycle ||= reaches(wanted, held);
          edges.push([held, wanted]);
          nested(locks[held], locks[wanted]);
          expect(rules(validator).includes("order")).toBe(cycle);
        }
      }),
    );
  });

  it("shares what was seen with the validators of other threads", () => {
    const { hal, validator, spin } = setUp();
    const other = LockValidator.attach(structuredClone(validator.handle), { hal, onReport: () => undefined });
    const [a, b] = [spin("a"), spin("b")];
    nested(a, b);
    const [a2, b2] = [a, b].map(({ handle }) => SpinLocks.attach(structuredClone(handle), { hal, observer: other }));
    nested(b2, a2);
    expect(rules(other)).toEqual(["order"]);
    expect(other.reports[0].text).toContain("lock-validator.test.ts");
    expect(validator.reports).toEqual([]);
  });

  it("lets locks of one array nest with rising index, and reports others of a name, and recursion", () => {
    const { validator, spin } = setUp();
    const queues = spin("runqueue", 3);
    const same = spin("runqueue");
    queues.lock(0);
    queues.lock(2);
    expect(validator.reports).toEqual([]);
    queues.lock(1);
    expect(rules(validator)).toEqual(["nesting"]);
    same.lock();
    expect(rules(validator)).toEqual(["nesting"]);
    expect(queues.tryLockFor(0, 1)).toBe(false);
    expect(rules(validator)).toEqual(["nesting", "recursion"]);
  });

  it("a try makes no order, but what is asked for while it is held does", () => {
    const { validator, spin } = setUp();
    const [a, b] = [spin("a"), spin("b")];
    nested(a, b);
    b.lock();
    expect(a.tryLock()).toBe(true);
    a.unlock();
    b.unlock();
    expect(validator.reports).toEqual([]);
    b.tryLock();
    a.lock();
    expect(rules(validator)).toEqual(["order"]);
  });

  it("counts readers only of locks that have writers", () => {
    const { hal, validator } = setUp();
    const [a, b] = ["a", "b"].map((name) => RwLocks.create({ name, hal, observer: validator }));
    const read = (first: RwLocks, second: RwLocks): void => {
      first.lockShared();
      first.lockShared();
      second.lockShared();
      second.unlockShared();
      first.unlockShared();
      first.unlockShared();
    };
    read(a, b);
    read(b, a);
    expect(validator.reports).toEqual([]);
    a.lock();
    a.unlock();
    expect(validator.reports).toEqual([]);
    b.lock();
    expect(rules(validator)).toEqual(["order"]);
  });

  it("finds a lock taken in an interrupt and elsewhere with interrupts on, unless both only read", () => {
    const hal = new SeveralCpus(2);
    const perCpu = PerCpuData.create({ hal });
    let enabled = true;
    const context = {
      inInterrupt: () => perCpu.inInterrupt(),
      interruptsEnabled: () => enabled && !perCpu.inInterrupt(),
    };
    const validator = LockValidator.create({ hal, context, onReport: () => undefined });
    const device = SpinLocks.create({ name: "device", hal, observer: validator });
    const tree = RwLocks.create({ name: "tree", hal, observer: validator });
    enabled = false;
    nested(device);
    hal.on(1, () => {
      perCpu.enterHardirq();
      nested(device);
      expect(tree.tryLockShared()).toBe(true);
      tree.unlockShared();
      perCpu.leaveHardirq();
    });
    enabled = true;
    tree.lockShared();
    tree.unlockShared();
    expect(validator.reports).toEqual([]);
    nested(device);
    expect(rules(validator)).toEqual(["interrupt"]);
    for (const site of validator.reports[0].sites) expect(site).toMatch(/nested /);
    tree.lock();
    expect(rules(validator)).toEqual(["interrupt", "interrupt"]);
  });

  it("finds a lock that interrupts take held over one that they may interrupt", () => {
    const perCpu = PerCpuData.create();
    let enabled = true;
    const context = {
      inInterrupt: () => perCpu.inInterrupt(),
      interruptsEnabled: () => enabled && !perCpu.inInterrupt(),
    };
    const { validator, spin } = setUp(context);
    const [queue, middle, plain] = [spin("queue"), spin("middle"), spin("plain")];
    nested(plain);
    perCpu.enterHardirq();
    nested(queue);
    perCpu.leaveHardirq();
    enabled = false;
    nested(middle, plain);
    expect(validator.reports).toEqual([]);
    nested(queue, middle);
    expect(rules(validator)).toEqual(["interrupt-order"]);
    expect(validator.reports[0].classes).toEqual(["queue", "middle", "plain"]);
  });

  it("finds sleeping locks in interrupts and under spinning ones", () => {
    const perCpu = PerCpuData.create();
    const { hal, validator, spin } = setUp(perCpu);
    const mutex = Mutexes.create({ name: "mutex", hal, observer: validator });
    const lock = spin("lock");
    mutex.lock();
    lock.lock();
    lock.unlock();
    mutex.unlock();
    expect(validator.reports).toEqual([]);
    lock.lock();
    mutex.lock();
    expect(rules(validator)).toContain("sleep");
  });
});
