import { expect, it } from "vitest";
import {
  combineObservers,
  LockStatistics,
  lockStatText,
  McsLocks,
  Mutexes,
  RwLocks,
  SpinLocks,
} from "../../src/index.ts";
import { SeveralCpus } from "../several-cpus.ts";

const setUp = (options: object = {}) => {
  const hal = new SeveralCpus(2);
  const statistics = LockStatistics.create({ hal, ...options });
  return { hal, statistics };
};

it("counts and times what happened, by class, over CPUs and threads", () => {
  const { hal, statistics } = setUp();
  const other = LockStatistics.attach(structuredClone(statistics.handle), { hal });
  const locks = SpinLocks.create({ name: "table", count: 2, hal, observer: statistics });
  const attached = SpinLocks.attach(locks.handle, { hal, observer: other });
  locks.lock(1);
  hal.timeNs += 1000;
  hal.onRelax = () => {
    hal.timeNs += 500;
    hal.onRelax = () => undefined;
    hal.on(0, () => locks.unlock(1));
  };
  hal.on(1, () => attached.lock(1));
  hal.timeNs += 100;
  hal.on(1, () => attached.unlock(1));
  expect(hal.on(1, () => attached.tryLock(0))).toBe(true);
  expect(locks.tryLockFor(0)).toBe(false);
  const [table, ...rest] = statistics.snapshot();
  expect(rest).toEqual([]);
  expect(table).toMatchObject({
    name: "table",
    access: "exclusive",
    acquisitions: 3,
    contentions: 2,
    gaveUp: 1,
    ownersDied: 0,
    waitNsMin: 1,
    waitNsMax: 500,
    holdNsMin: 100,
    holdNsMax: 1500,
    holdNsTotal: 1600,
  });
  // 500 ns lie in (256, 512], bucket 9; 1500 in (1024, 2048], bucket 11; 100 in (64, 128], bucket 7.
  expect([table.waitHistogram[9], table.holdHistogram[11], table.holdHistogram[7]]).toEqual([1, 1, 1]);
  statistics.reset();
  expect(other.snapshot()).toEqual([]);
});

it("tells readers from writers, and locks of one array if asked to", () => {
  const { hal, statistics } = setUp({ perLock: true });
  const locks = RwLocks.create({ name: "tree", count: 2, hal, observer: statistics });
  locks.lockShared(1);
  locks.lockShared(1);
  locks.unlockShared(1);
  locks.lock(0);
  hal.on(1, () => locks.releaseDeadOwner(0));
  hal.on(1, () => locks.lock(0));
  expect(
    statistics.snapshot().map(({ name, access, acquisitions, ownersDied }) => [name, access, acquisitions, ownersDied]),
  ).toEqual([
    ["tree[1]", "shared", 2, 0],
    ["tree[0]", "exclusive", 2, 1],
  ]);
});

it("counts classes beyond its room as the last one, and every kind of lock alike", () => {
  const { hal, statistics } = setUp({ maxClasses: 2 });
  const seen: string[] = [];
  const observer = combineObservers(statistics, undefined, { onRelease: ({ kind }) => seen.push(kind) });
  for (const [index, Locks] of [SpinLocks, McsLocks, Mutexes].entries()) {
    const locks = Locks.create({ name: `class ${index}`, hal, observer });
    locks.lock();
    locks.unlock();
  }
  expect(statistics.snapshot().map(({ name, acquisitions }) => [name, acquisitions])).toEqual([
    ["class 1", 2],
    ["class 0", 1],
  ]);
  expect(seen).toEqual(["spin", "mcs", "mutex"]);
});

it("prints the form of /proc/lock_stat", () => {
  const { hal, statistics } = setUp();
  const locks = RwLocks.create({ name: "tree", hal, observer: statistics });
  locks.lock();
  hal.timeNs += 1500;
  locks.unlock();
  locks.lockShared();
  const [version, rule, head, , first, second] = lockStatText(statistics.snapshot()).split("\n");
  expect(version).toBe("lock_stat version 0.4");
  expect(rule).toMatch(/^-+$/);
  expect(head.trim().split(/\s{2,}/)).toEqual([
    "class name",
    "contentions",
    "waittime-min",
    "waittime-max",
    "waittime-total",
    "waittime-avg",
    "acquisitions",
    "holdtime-min",
    "holdtime-max",
    "holdtime-total",
    "holdtime-avg",
  ]);
  expect([first, second].map((line) => line.trim().split(/\s+/))).toEqual([
    ["tree-W", "0", "0.00", "0.00", "0.00", "0.00", "1", "1.50", "1.50", "1.50", "1.50"],
    ["tree-R", "0", "0.00", "0.00", "0.00", "0.00", "1", "0.00", "0.00", "0.00", "0.00"],
  ]);
});
