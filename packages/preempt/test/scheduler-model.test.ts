import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Preempt, Scheduler, ThreadAttributes, ThreadState, type Priority } from "../src/index.ts";
import { ManyCpus } from "./many-cpus.ts";

const CPUS = 3;
const MAX_THREADS = 8;
const AGING_NS = 1000;
const SLICE_NS = 100;

interface Waiting {
  readonly tid: number;
  readonly sinceNs: number;
}

/** The scheduler in plain arrays: what runs, what waits where since when, and who may run where. */
class Model {
  readonly running: number[] = Array.from({ length: CPUS }, () => 0);
  readonly waiting: Waiting[][] = Array.from({ length: CPUS }, () => []);
  readonly active: boolean[] = Array.from({ length: CPUS }, () => true);
  readonly priority = new Map<number, number>();
  readonly allowed = new Map<number, readonly number[]>();
  readonly state = new Map<number, ThreadState>();

  add(tid: number, priority: number, allowed: readonly number[]): void {
    expect(this.state.has(tid)).toBe(false);
    this.priority.set(tid, priority);
    this.allowed.set(tid, allowed);
    this.state.set(tid, ThreadState.New);
  }

  remove(tid: number): void {
    for (const map of [this.priority, this.allowed, this.state]) map.delete(tid);
  }

  enqueue(tid: number, cpu: number, nowNs: number): void {
    this.waiting[cpu].push({ tid, sinceNs: nowNs });
    this.state.set(tid, ThreadState.Ready);
  }

  take(tid: number, cpu: number): void {
    const at = this.waiting[cpu].findIndex((entry) => entry.tid === tid);
    expect(at).toBeGreaterThanOrEqual(0);
    this.waiting[cpu].splice(at, 1);
  }

  mayStay(tid: number, cpu: number): boolean {
    const allowed = this.allowed.get(tid) ?? [];
    return allowed.includes(cpu) && (this.active[cpu] || !allowed.some((other) => this.active[other]));
  }

  /** Highest level with aging; then who waits longest; then the higher plain level. */
  best(cpu: number, nowNs: number): number {
    const level = ({ tid, sinceNs }: Waiting): number =>
      Math.min(3, (this.priority.get(tid) ?? 0) + Math.floor((nowNs - sinceNs) / AGING_NS));
    const [best] = [...this.waiting[cpu]].sort(
      (a, b) =>
        level(b) - level(a) ||
        a.sinceNs - b.sinceNs ||
        (this.priority.get(b.tid) ?? 0) - (this.priority.get(a.tid) ?? 0),
    );
    return best?.tid ?? 0;
  }

  load(cpu: number): number {
    return this.waiting[cpu].length + (this.running[cpu] === 0 ? 0 : 1);
  }
}

class Pair {
  readonly hal = new ManyCpus(CPUS);
  readonly model = new Model();
  readonly preempt = Preempt.create({ hal: this.hal });
  readonly scheduler: Scheduler = Scheduler.create({
    hal: this.hal,
    preempt: this.preempt,
    maxThreads: MAX_THREADS,
    timeSliceNs: SLICE_NS,
    agingNs: AGING_NS,
    observer: { onMigrate: (tid, from, to) => this.migrated(tid, from, to) },
  });
  /** Set while a thread leaves a CPU where it ran: it is in no queue when it is moved. */
  displaced = 0;

  migrated(tid: number, from: number, to: number): void {
    expect(from).not.toBe(to);
    expect(this.model.mayStay(tid, to)).toBe(true);
    if (tid !== this.displaced) this.model.take(tid, from);
    this.model.enqueue(tid, to, this.hal.timeNs);
  }

  spawn(priority: number, allowed: readonly number[]): void {
    if (this.model.state.size === MAX_THREADS) return;
    const attributes = new ThreadAttributes(priority as Priority, allowed);
    this.model.add(this.scheduler.spawn(`t${this.model.state.size}`, attributes), priority, allowed);
  }

  wake(tid: number): void {
    const { model, scheduler, hal } = this;
    const state = model.state.get(tid);
    const runsOn = model.running.indexOf(tid);
    const cpu = scheduler.wake(tid);
    if (state === undefined || state === ThreadState.Exited) return expect(cpu).toBe(-1);
    if (state === ThreadState.Ready || state === ThreadState.Running) return;
    if (runsOn >= 0) {
      model.state.set(tid, ThreadState.Running);
      return expect(cpu).toBe(runsOn);
    }
    expect(model.mayStay(tid, cpu)).toBe(true);
    const idle = (model.allowed.get(tid) ?? []).filter((other) => model.active[other] && model.load(other) === 0);
    if (idle.length > 0) expect(idle).toContain(cpu);
    if (model.active[cpu] && this.beats(tid, cpu)) expect(this.preempt.needResched(cpu)).toBe(true);
    model.enqueue(tid, cpu, hal.timeNs);
  }

  beats(tid: number, cpu: number): boolean {
    return this.model.running[cpu] === 0 || (this.model.priority.get(tid) === 3 && this.plainLevel(cpu) < 3);
  }

  /** Level of the running thread if it was chosen without aging; 3 if it may have aged. */
  plainLevel(cpu: number): number {
    return this.aged[cpu] ? 3 : (this.model.priority.get(this.model.running[cpu]) ?? 0);
  }
  readonly aged: boolean[] = Array.from({ length: CPUS }, () => false);

  schedule(cpu: number, voluntary: boolean): void {
    const { model, scheduler, hal } = this;
    const previous = model.running[cpu];
    const state = model.state.get(previous);
    const runnable = previous !== 0 && state === ThreadState.Running;
    const stays = runnable && model.mayStay(previous, cpu);
    if (stays) model.enqueue(previous, cpu, hal.timeNs);
    const expected = model.active[cpu] ? model.best(cpu, hal.timeNs) : 0;
    this.displaced = runnable && !stays ? previous : 0;
    if (expected !== 0) {
      const since = model.waiting[cpu].find(({ tid }) => tid === expected)?.sinceNs ?? 0;
      this.aged[cpu] = hal.timeNs - since >= AGING_NS;
      model.take(expected, cpu);
      model.state.set(expected, ThreadState.Running);
    }
    model.running[cpu] = expected;
    if (state === ThreadState.Exited) model.remove(previous);
    expect(hal.on(cpu, () => scheduler.schedule(voluntary))).toBe(expected);
    expect(this.preempt.needResched(cpu) && this.displaced === 0).toBe(false);
    this.displaced = 0;
  }

  leave(cpu: number, state: ThreadState): void {
    const tid = this.model.running[cpu];
    if (tid === 0 || this.model.state.get(tid) === ThreadState.Exited) return;
    this.hal.on(cpu, () => (state === ThreadState.Blocked ? this.scheduler.block() : this.scheduler.exit()));
    this.model.state.set(tid, state);
  }

  setAffinity(tid: number, allowed: readonly number[]): void {
    if (!this.model.state.has(tid)) return;
    this.model.allowed.set(tid, allowed);
    this.scheduler.setAffinity(tid, new ThreadAttributes().withAffinityMask(allowed));
  }

  toggle(cpu: number): void {
    const others = this.model.active.filter((active, other) => active && other !== cpu).length;
    if (this.model.active[cpu] && others === 0) return;
    this.model.active[cpu] = !this.model.active[cpu];
    if (this.model.active[cpu]) this.scheduler.activate(cpu);
    else this.scheduler.deactivate(cpu);
  }

  balance(cpu: number): void {
    const before = this.model.load(cpu);
    const count = this.hal.on(cpu, () => this.scheduler.balance(cpu));
    expect(this.model.load(cpu)).toBe(before + count);
  }

  /** Every ready thread is in exactly one queue, every running one on exactly one CPU, and the two agree. */
  check(): void {
    const { model, scheduler } = this;
    const places = [
      ...model.waiting.flatMap((queue) => queue.map(({ tid }) => tid)),
      ...model.running.filter((t) => t !== 0),
    ];
    expect(new Set(places).size).toBe(places.length);
    for (let cpu = 0; cpu < CPUS; cpu++) {
      expect(scheduler.queued(cpu)).toBe(model.waiting[cpu].length);
      expect(scheduler.current(cpu)).toBe(model.running[cpu]);
      for (const { tid } of model.waiting[cpu]) expect(model.mayStay(tid, cpu)).toBe(true);
    }
    for (const [tid, state] of model.state) {
      expect(scheduler.state(tid)).toBe(state);
      if (state === ThreadState.Ready) expect(places).toContain(tid);
    }
    expect(scheduler.threadCount).toBe(model.state.size);
  }
}

const cpu = fc.nat(CPUS - 1);
const tid = fc.integer({ min: 1, max: MAX_THREADS });
const allowed = fc.uniqueArray(cpu, { minLength: 1 });
const act = fc.oneof(
  fc.tuple(fc.constant("spawn" as const), fc.nat(3), allowed),
  fc.tuple(fc.constant("wake" as const), tid, cpu),
  fc.tuple(fc.constant("schedule" as const), cpu, fc.boolean()),
  fc.tuple(fc.constant("block" as const), cpu),
  fc.tuple(fc.constant("exit" as const), cpu),
  fc.tuple(fc.constant("affinity" as const), tid, allowed),
  fc.tuple(fc.constant("toggle" as const), cpu),
  fc.tuple(fc.constant("balance" as const), cpu),
  fc.tuple(fc.constant("time" as const), fc.constantFrom(1, 500, 1000, 1500, 3000)),
);

function apply(pair: Pair, step: typeof act extends fc.Arbitrary<infer Step> ? Step : never): void {
  if (step[0] === "spawn") pair.spawn(step[1], step[2]);
  else if (step[0] === "wake") pair.hal.on(step[2], () => pair.wake(step[1]));
  else if (step[0] === "schedule") pair.schedule(step[1], step[2]);
  else if (step[0] === "block") pair.leave(step[1], ThreadState.Blocked);
  else if (step[0] === "exit") pair.leave(step[1], ThreadState.Exited);
  else if (step[0] === "affinity") pair.setAffinity(step[1], step[2]);
  else if (step[0] === "toggle") pair.toggle(step[1]);
  else if (step[0] === "balance") pair.balance(step[1]);
  else pair.hal.timeNs += step[1];
}

describe("the scheduler under any history", () => {
  it("agrees with plain arrays about who runs, who waits where, and never breaks an affinity", () => {
    fc.assert(
      fc.property(fc.array(act, { minLength: 20, maxLength: 150 }), (steps) => {
        const pair = new Pair();
        for (const step of steps) {
          apply(pair, step);
          pair.check();
        }
      }),
      { numRuns: 200 },
    );
  });

  it("lets no thread wait longer than aging to the top plus one slice for each thread there is", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(3), { minLength: 2, maxLength: MAX_THREADS }), (priorities) => {
        const pair = new Pair();
        const lastRan = new Map<number, number>();
        for (const priority of priorities) {
          pair.spawn(priority, [0]);
          pair.wake(pair.model.state.size);
          lastRan.set(pair.model.state.size, 0);
        }
        const boundNs = 3 * AGING_NS + (priorities.length + 1) * SLICE_NS;
        for (let turn = 0; turn < 300; turn++) {
          const running = pair.scheduler.schedule(false);
          expect(pair.hal.timeNs - (lastRan.get(running) ?? 0)).toBeLessThanOrEqual(boundNs);
          pair.hal.timeNs += SLICE_NS;
          pair.scheduler.tick(SLICE_NS);
          lastRan.set(running, pair.hal.timeNs);
        }
        for (const last of lastRan.values()) expect(pair.hal.timeNs - last).toBeLessThanOrEqual(boundNs);
      }),
      { numRuns: 50 },
    );
  });
});
