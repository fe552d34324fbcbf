import { describe, expect, it } from "vitest";
import {
  Preempt,
  Priority,
  Scheduler,
  ThreadAttributes,
  ThreadState,
  type SchedObserver,
  type SchedulerOptions,
} from "../src/index.ts";
import { ManyCpus } from "./many-cpus.ts";

function machine(cpus: number, options: Partial<SchedulerOptions> = {}) {
  const hal = new ManyCpus(cpus);
  const preempt = Preempt.create({ hal });
  const reschedules: number[] = [];
  const ipi = { reschedule: (cpu: number): void => void reschedules.push(cpu) };
  const scheduler = Scheduler.create({
    hal,
    preempt,
    ipi,
    timeSliceNs: 100,
    agingNs: 1000,
    maxThreads: 16,
    ...options,
  });
  const start = (name: string, attributes?: ThreadAttributes): number => {
    const tid = scheduler.spawn(name, attributes);
    scheduler.wake(tid);
    return tid;
  };
  return { hal, preempt, scheduler, reschedules, start };
}

const pinned = (cpu: number): ThreadAttributes => new ThreadAttributes().withCpuAffinity(cpu);

describe("the life of a thread", () => {
  it("goes from new over ready, running and blocked to its end, and its slot is free again", () => {
    const { scheduler } = machine(1);
    const tid = scheduler.spawn("worker");
    expect(tid).toBe(1);
    expect(scheduler.name(tid)).toBe("worker");
    expect(scheduler.state(tid)).toBe(ThreadState.New);
    expect(scheduler.schedule(true)).toBe(0);
    expect(scheduler.wake(tid)).toBe(0);
    expect(scheduler.state(tid)).toBe(ThreadState.Ready);
    expect(scheduler.schedule(false)).toBe(tid);
    expect(scheduler.state(tid)).toBe(ThreadState.Running);
    scheduler.block();
    expect(scheduler.schedule(true)).toBe(0);
    expect(scheduler.state(tid)).toBe(ThreadState.Blocked);
    scheduler.wake(tid);
    scheduler.schedule(false);
    scheduler.exit();
    expect(scheduler.state(tid)).toBe(ThreadState.Exited);
    expect(scheduler.wake(tid)).toBe(-1);
    expect(scheduler.schedule(true)).toBe(0);
    expect(() => scheduler.state(tid)).toThrow(expect.objectContaining({ code: "PREEMPT_NO_SUCH_THREAD" }));
    expect(scheduler.wake(tid)).toBe(-1);
    expect(scheduler.threadCount).toBe(0);
  });

  it("can be had more often than there are slots, and fails by name when all are in use", () => {
    const { scheduler, start } = machine(1);
    for (let i = 0; i < 100; i++) {
      start(`t${i}`);
      scheduler.schedule(false);
      scheduler.exit();
      scheduler.schedule(true);
    }
    for (let i = 0; i < 16; i++) scheduler.spawn("x");
    expect(() => scheduler.spawn("x")).toThrow(expect.objectContaining({ code: "PREEMPT_TOO_MANY_THREADS" }));
    expect(scheduler.threadCount).toBe(16);
  });

  it("loses no wake-up that comes between block and schedule", () => {
    const { scheduler, start } = machine(1);
    const tid = start("waiter");
    scheduler.schedule(false);
    scheduler.block();
    expect(scheduler.wake(tid)).toBe(0);
    expect(scheduler.state(tid)).toBe(ThreadState.Running);
    expect(scheduler.schedule(true)).toBe(tid);
  });

  it("is not queued twice by waking it twice", () => {
    const { scheduler, start } = machine(1);
    const tid = start("once");
    scheduler.wake(tid);
    expect(scheduler.queued(0)).toBe(1);
    scheduler.schedule(false);
    scheduler.wake(tid);
    expect(scheduler.queued(0)).toBe(0);
  });

  it("keeps its name to 32 bytes, cut between characters", () => {
    const { scheduler } = machine(1);
    expect(scheduler.name(scheduler.spawn(`${"a".repeat(31)}ü`))).toBe("a".repeat(31));
    expect(scheduler.name(scheduler.spawn(`${"a".repeat(30)}üx`))).toBe(`${"a".repeat(30)}ü`);
  });
});

describe("choice", () => {
  it("is by level, and first in first out in a level", () => {
    const { scheduler, start } = machine(1);
    const low = start("low", new ThreadAttributes(Priority.Low));
    const first = start("first");
    const second = start("second");
    const critical = start("critical", new ThreadAttributes(Priority.Critical));
    const order = [];
    for (let i = 0; i < 4; i++) {
      order.push(scheduler.schedule(false));
      scheduler.block();
    }
    expect(order).toEqual([critical, first, second, low]);
  });

  it("asks to preempt for a higher level only", () => {
    const { scheduler, preempt, start } = machine(1);
    start("running");
    expect(preempt.needResched()).toBe(true);
    scheduler.schedule(false);
    start("equal");
    expect(preempt.needResched()).toBe(false);
    const high = start("high", new ThreadAttributes(Priority.High));
    expect(preempt.needResched()).toBe(true);
    expect(scheduler.schedule(false)).toBe(high);
    expect(preempt.needResched()).toBe(false);
  });

  it("lets an aged thread have a whole slice before a critical one preempts it", () => {
    const { hal, scheduler, preempt, start } = machine(1);
    const low = start("low", new ThreadAttributes(Priority.Low));
    const critical = start("critical", new ThreadAttributes(Priority.Critical));
    expect(scheduler.schedule(false)).toBe(critical);
    hal.timeNs = 2999;
    expect(scheduler.schedule(false)).toBe(critical);
    hal.timeNs = 3000;
    expect(scheduler.schedule(false)).toBe(low);
    start("another", new ThreadAttributes(Priority.Critical));
    expect(preempt.needResched()).toBe(false);
    scheduler.tick(100);
    expect(preempt.needResched()).toBe(true);
  });

  it("changes with the priority of a waiting thread", () => {
    const { scheduler, start } = machine(1);
    const a = start("a");
    const b = start("b");
    scheduler.setPriority(b, Priority.High);
    expect(scheduler.priority(b)).toBe(Priority.High);
    expect(scheduler.schedule(false)).toBe(b);
    scheduler.setPriority(b, Priority.Low);
    expect(scheduler.schedule(false)).toBe(a);
  });
});

describe("time", () => {
  it("ends a slice at exactly its length, and only when another waits", () => {
    const { scheduler, preempt, start } = machine(1);
    start("a");
    scheduler.schedule(false);
    for (let i = 0; i < 20; i++) scheduler.tick(10);
    expect(preempt.needResched()).toBe(false);
    start("b");
    for (let i = 0; i < 9; i++) scheduler.tick(10);
    expect(preempt.needResched()).toBe(false);
    scheduler.tick(10);
    expect(preempt.needResched()).toBe(true);
  });

  it("is charged to who runs, and waiting to who waits", () => {
    const { hal, scheduler, preempt, start } = machine(1);
    const a = start("a");
    const b = start("b");
    scheduler.schedule(false);
    hal.timeNs = 70;
    scheduler.account(70);
    scheduler.schedule(false);
    scheduler.tick(5);
    scheduler.block();
    scheduler.schedule(true);
    expect(scheduler.threadStats(a)).toMatchObject({
      runtimeNs: 70,
      waitNs: 0,
      switches: 2,
      involuntary: 1,
      voluntary: 0,
    });
    expect(scheduler.threadStats(b)).toMatchObject({
      runtimeNs: 5,
      waitNs: 70,
      switches: 1,
      involuntary: 0,
      voluntary: 1,
    });
    expect(preempt.stats()).toMatchObject({ total: 2, voluntary: 1, involuntary: 1 });
  });

  it("of the idle task is not charged, and the idle task can neither block nor end", () => {
    const { scheduler, preempt } = machine(1);
    scheduler.tick(10);
    expect(preempt.perCpu.idleTicks()).toBe(1);
    for (const act of ["block", "exit", "yieldCpu"] as const) {
      expect(() => scheduler[act]()).toThrow(expect.objectContaining({ code: "PREEMPT_NOT_RUNNING" }));
    }
  });
});

describe("placement", () => {
  it("prefers the last CPU, then an idle one, then the least loaded, always an allowed one", () => {
    const { hal, scheduler, reschedules, start } = machine(3);
    const everywhere = start("a");
    expect(scheduler.threadStats(everywhere).lastCpu).toBe(0);
    scheduler.schedule(false);
    const second = start("b");
    expect(scheduler.threadStats(second).lastCpu).toBe(1);
    hal.on(1, () => scheduler.schedule(false));
    const third = start("c");
    expect(scheduler.threadStats(third).lastCpu).toBe(2);
    expect(reschedules).toEqual([1, 2]);
    hal.on(2, () => scheduler.schedule(false));
    const d = scheduler.spawn("d", pinned(1));
    expect(scheduler.wake(d)).toBe(1);
    expect(scheduler.wake(scheduler.spawn("e", new ThreadAttributes().withAffinityMask(0b110)))).toBe(2);
    expect(scheduler.wake(scheduler.spawn("f"))).toBe(0);
  });

  it("returns a blocked thread to its last CPU if that is idle", () => {
    const { hal, scheduler } = machine(4);
    const tid = scheduler.spawn("t", pinned(3));
    scheduler.wake(tid);
    hal.on(3, () => {
      scheduler.schedule(false);
      scheduler.block();
      scheduler.schedule(true);
    });
    scheduler.setAffinity(tid, new ThreadAttributes());
    expect(scheduler.wake(tid)).toBe(3);
  });

  it("refuses an affinity that allows no CPU of the machine", () => {
    const { scheduler } = machine(2);
    const empty = expect.objectContaining({ code: "PREEMPT_EMPTY_AFFINITY" });
    expect(() => scheduler.spawn("t", pinned(2))).toThrow(empty);
    const tid = scheduler.spawn("t");
    expect(() => scheduler.setAffinity(tid, pinned(2))).toThrow(empty);
    expect(scheduler.canRunOnCpu(tid, 1)).toBe(true);
    expect(scheduler.threadCount).toBe(1);
  });

  it("follows a change of affinity at once while a thread waits, at its next switch while it runs", () => {
    const migrations: number[][] = [];
    const observer: SchedObserver = { onMigrate: (...args) => migrations.push(args) };
    const { hal, scheduler, preempt, start } = machine(2, { observer });
    const running = start("running", pinned(0));
    const waiting = start("waiting", pinned(0));
    scheduler.schedule(false);
    scheduler.setAffinity(waiting, pinned(1));
    expect(scheduler.queued(0)).toBe(0);
    expect(scheduler.queued(1)).toBe(1);
    hal.on(1, () => scheduler.setAffinity(running, pinned(1)));
    expect(preempt.needResched(0)).toBe(true);
    expect(scheduler.current(0)).toBe(running);
    expect(scheduler.schedule(false)).toBe(0);
    expect(scheduler.queued(1)).toBe(2);
    expect(migrations).toEqual([
      [waiting, 0, 1],
      [running, 0, 1],
    ]);
    expect(scheduler.threadStats(running).migrations).toBe(1);
  });

  it("pulls half of the difference to an idle CPU, and only what may run there", () => {
    const { hal, scheduler } = machine(2);
    const tids = Array.from({ length: 6 }, (_, i) => {
      const tid = scheduler.spawn(`t${i}`, pinned(0));
      scheduler.wake(tid);
      return tid;
    });
    scheduler.schedule(false);
    expect(hal.on(1, () => scheduler.balance(1))).toBe(0);
    const open = tids.filter((tid) => tid % 2 === 0);
    for (const tid of open) scheduler.setAffinity(tid, new ThreadAttributes());
    expect(hal.on(1, () => scheduler.balance())).toBe(3);
    expect(scheduler.queued(1)).toBe(3);
    expect(hal.on(1, () => scheduler.schedule(false))).toBe(open[0]);
    expect(hal.on(1, () => scheduler.balance())).toBe(0);
  });
});

describe("CPUs that come and go", () => {
  it("give their threads away, and get back those that can run nowhere else", () => {
    const { hal, scheduler, start } = machine(2);
    const here = start("pinned", pinned(1));
    const free = start("free", new ThreadAttributes().withAffinityMask(0b11));
    hal.on(1, () => scheduler.schedule(false));
    scheduler.setAffinity(free, pinned(1));
    scheduler.setAffinity(free, new ThreadAttributes());
    expect(scheduler.queued(1)).toBe(1);
    scheduler.deactivate(1);
    expect(scheduler.threadStats(free).lastCpu).toBe(0);
    expect(hal.on(1, () => scheduler.schedule(false))).toBe(0);
    expect(scheduler.state(here)).toBe(ThreadState.Ready);
    expect(scheduler.queued(1)).toBe(1);
    scheduler.activate(1);
    expect(hal.on(1, () => scheduler.schedule(false))).toBe(here);
    scheduler.deactivate(0);
    expect(() => scheduler.deactivate(1)).toThrow(expect.objectContaining({ code: "PREEMPT_LAST_CPU" }));
  });

  it("take over, when they come, threads that wait for any of several inactive ones", () => {
    const { scheduler, start } = machine(3, { activeCpus: [0] });
    const tid = start("t", new ThreadAttributes().withAffinityMask(0b110));
    expect(scheduler.threadStats(tid).lastCpu).toBe(1);
    scheduler.activate(2);
    expect(scheduler.threadStats(tid).lastCpu).toBe(2);
    expect(scheduler.queued(2)).toBe(1);
  });
});

describe("attaching", () => {
  it("shares everything", () => {
    const { hal, preempt, scheduler, start } = machine(2);
    const other = Scheduler.attach(scheduler.handle, { hal, preempt: Preempt.attach(preempt.handle, { hal }) });
    const tid = start("shared");
    expect(other.name(tid)).toBe("shared");
    expect(other.schedule(false)).toBe(tid);
    expect(scheduler.current(0)).toBe(tid);
  });
});
