import type { CpuId, Hal, ExclusiveLocks } from "@x/smp";
import { PreemptError } from "./errors.ts";
import type { Preempt } from "./preempt.ts";
import type { RunQueues } from "./run-queues.ts";
import type { SchedObserver } from "./sched-observer.ts";
import type { ThreadAttributes } from "./thread-attributes.ts";
import { MOVING, ThreadState, type ThreadId, type ThreadTable } from "./thread-table.ts";

/** Threads one `balance` looks at in one queue, and moves at most: it holds two locks meanwhile. */
const SCAN_LIMIT = 64;
const MOVE_LIMIT = 32;
const TOP_LEVEL = 3;

/** What {@link Placement} works on. */
export interface PlacementParts {
  readonly hal: Hal;
  readonly preempt: Preempt;
  readonly ipi: { reschedule(cpu: CpuId): void } | undefined;
  readonly observer: SchedObserver | undefined;
  readonly threads: ThreadTable;
  readonly queues: RunQueues;
  readonly locks: ExclusiveLocks;
  readonly cpus: number;
}

/**
 * On which CPU a thread waits, and how it gets from one queue to another.
 *
 * A thread on its way is MOVING: in no queue, and only whoever set that state, under the lock of the thread's CPU, may
 * put it into one.
 */
export class Placement {
  readonly #parts: PlacementParts;
  readonly #threads: ThreadTable;
  readonly #queues: RunQueues;
  readonly #locks: ExclusiveLocks;
  readonly #cpus: number;
  readonly #moved: Int32Array = new Int32Array(MOVE_LIMIT);
  readonly #tried: Uint8Array;
  /** Whether the last `placeHere` has asked the CPU to reschedule. */
  asked = false;

  constructor(parts: PlacementParts) {
    this.#parts = parts;
    this.#threads = parts.threads;
    this.#queues = parts.queues;
    this.#locks = parts.locks;
    this.#cpus = parts.cpus;
    this.#tried = new Uint8Array(parts.cpus);
  }

  /** Lock the run queue that guards `tid`; returns its CPU. */
  lockHome(tid: ThreadId): CpuId {
    for (;;) {
      const home = this.#threads.cpu(tid);
      this.#locks.lock(home);
      if (this.#threads.cpu(tid) === home) return home;
      this.#locks.unlock(home);
    }
  }

  /** The thread may wait on `cpu`: it is allowed there, and the CPU is active or no allowed one is. */
  mayStay(tid: ThreadId, cpu: CpuId): boolean {
    return this.#threads.allowed(tid, cpu) && (this.#queues.isActive(cpu) || !this.#anyActive(tid));
  }

  /**
   * With the queue of its CPU `home` locked, a thread in no queue: queue it here if this is where it should wait.
   * Returns whether it is queued; `tell` then is the caller's part if {@link Placement.asked} is set.
   */
  placeHere(tid: ThreadId, home: CpuId, now: number): boolean {
    if (this.#select(tid, home) !== home || !this.mayStay(tid, home)) return false;
    this.#enter(tid, home, now);
    return true;
  }

  /** Queue a MOVING thread where it should wait; returns that CPU. */
  place(tid: ThreadId, isNew: boolean, now: number): CpuId {
    for (;;) {
      const home = this.#threads.cpu(tid);
      const target = this.#select(tid, home);
      if (target < 0) continue;
      this.#lockPair(home, target);
      if (!this.mayStay(tid, target)) {
        this.#unlockPair(home, target);
        continue;
      }
      if (target !== home && isNew) this.#threads.setCpu(tid, target);
      else if (target !== home) this.#threads.moveTo(tid, target);
      this.#enter(tid, target, now);
      const { asked } = this;
      this.#unlockPair(home, target);
      if (asked) this.tell(target);
      return target;
    }
  }

  /** {@link Placement.place} for a thread that waited or ran elsewhere before. */
  moveOn(tid: ThreadId): void {
    const from = this.#threads.cpu(tid);
    const to = this.place(tid, false, this.#parts.hal.now());
    if (to !== from) this.#parts.observer?.onMigrate?.(tid, from, to);
  }

  /** With the queue of `cpu` locked: ask it to reschedule if `tid` should run instead. Returns whether to tell it. */
  askIfBetter(tid: ThreadId, cpu: CpuId): boolean {
    if (!this.#queues.isActive(cpu)) return false;
    const idle = this.#queues.current(cpu) === 0;
    if (!idle && this.#threads.priority(tid) <= this.#queues.currentLevel(cpu)) return false;
    return this.#parts.preempt.markNeedResched(cpu);
  }

  /** Make another CPU look at the request it has been marked with. */
  tell(cpu: CpuId): void {
    if (cpu === this.#parts.hal.currentCpu()) return;
    if (this.#parts.ipi === undefined) this.#parts.hal.kick(cpu);
    else this.#parts.ipi.reschedule(cpu);
  }

  /** The calling CPU if it is allowed, else the first allowed one. Throws `PREEMPT_EMPTY_AFFINITY`. */
  firstAllowed(attributes: ThreadAttributes): CpuId {
    const here = this.#parts.hal.currentCpu();
    if (attributes.canRunOnCpu(here)) return here;
    for (let cpu = 0; cpu < this.#cpus; cpu++) if (attributes.canRunOnCpu(cpu)) return cpu;
    throw new PreemptError("PREEMPT_EMPTY_AFFINITY", `the affinity allows none of the machine's ${this.#cpus} CPUs`);
  }

  /** Pull threads to `cpu` from the busiest CPU that has some for it; returns how many. */
  balance(cpu: CpuId): number {
    if (!this.#queues.isActive(cpu)) return 0;
    this.#tried.fill(0);
    this.#tried[cpu] = 1;
    for (let from = this.#busiest(cpu); from >= 0; from = this.#busiest(cpu)) {
      this.#tried[from] = 1;
      const count = this.#pull(from, cpu);
      if (count > 0) return count;
    }
    return 0;
  }

  /** Place every thread that waits on the inactive `cpu` and may wait elsewhere. */
  evacuate(cpu: CpuId): void {
    for (let tid = this.#takeMovable(cpu); tid !== 0; tid = this.#takeMovable(cpu)) this.moveOn(tid);
  }

  #enter(tid: ThreadId, cpu: CpuId, now: number): void {
    this.#queues.enqueue(cpu, tid, now);
    this.#threads.setState(tid, ThreadState.Ready);
    this.asked = this.askIfBetter(tid, cpu);
  }

  /**
   * The last CPU if idle, else an idle one, else the least loaded; inactive only if no allowed one is active. Without the
   * lock the affinity may change meanwhile: the answer may be wrong then, or -1.
   */
  #select(tid: ThreadId, home: CpuId): CpuId {
    const homeGood = this.#threads.allowed(tid, home) && this.#queues.isActive(home);
    let bestLoad = homeGood ? this.#queues.load(home) : Infinity;
    let best = this.#threads.allowed(tid, home) ? home : -1;
    if (bestLoad === 0) return home;
    for (let step = 1; step < this.#cpus; step++) {
      const cpu = (home + step) % this.#cpus;
      if (!this.#threads.allowed(tid, cpu)) continue;
      if (best < 0) best = cpu;
      if (!this.#queues.isActive(cpu)) continue;
      const load = this.#queues.load(cpu);
      if (load === 0) return cpu;
      if (load >= bestLoad) continue;
      bestLoad = load;
      best = cpu;
    }
    return best;
  }

  #anyActive(tid: ThreadId): boolean {
    for (let cpu = 0; cpu < this.#cpus; cpu++) {
      if (this.#queues.isActive(cpu) && this.#threads.allowed(tid, cpu)) return true;
    }
    return false;
  }

  /** The untried CPU with most threads, at least two more than `cpu`; -1 = none. */
  #busiest(cpu: CpuId): CpuId {
    let most = this.#queues.load(cpu) + 1;
    let busiest = -1;
    for (let other = 0; other < this.#cpus; other++) {
      const load = this.#queues.load(other);
      if (load <= most || this.#tried[other] === 1) continue;
      most = load;
      busiest = other;
    }
    return busiest;
  }

  #pull(from: CpuId, to: CpuId): number {
    this.#lockPair(from, to);
    const wanted = Math.min(MOVE_LIMIT, (this.#queues.load(from) - this.#queues.load(to)) >> 1);
    const count = this.#takeAllowed(from, to, wanted);
    let asked = false;
    for (let i = 0; i < count; i++) {
      const tid = this.#moved[i];
      this.#threads.moveTo(tid, to);
      this.#queues.enqueue(to, tid, this.#parts.hal.now());
      if (this.askIfBetter(tid, to)) asked = true;
    }
    this.#unlockPair(from, to);
    if (asked) this.tell(to);
    for (let i = 0; i < count; i++) this.#parts.observer?.onMigrate?.(this.#moved[i], from, to);
    return count;
  }

  /** Dequeue up to `wanted` threads that are allowed on `to`, best level first, into `#moved`. */
  #takeAllowed(from: CpuId, to: CpuId, wanted: number): number {
    let count = 0;
    let looked = 0;
    for (let level = TOP_LEVEL; level >= 0; level--) {
      let tid = this.#queues.head(from, level);
      while (tid !== 0 && count < wanted && looked++ < SCAN_LIMIT) {
        const next = this.#threads.next(tid);
        if (this.#threads.allowed(tid, to)) {
          this.#queues.dequeue(from, tid);
          this.#moved[count++] = tid;
        }
        tid = next;
      }
    }
    return count;
  }

  /** Take a thread out of the queue of `cpu` that may wait on an active CPU; it is MOVING then. 0 = none. */
  #takeMovable(cpu: CpuId): ThreadId {
    this.#locks.lock(cpu);
    let found = 0;
    for (let level = TOP_LEVEL; level >= 0 && found === 0; level--) {
      found = this.#queues.head(cpu, level);
      while (found !== 0 && this.mayStay(found, cpu)) found = this.#threads.next(found);
    }
    if (found !== 0) {
      this.#queues.dequeue(cpu, found);
      this.#threads.setState(found, MOVING);
    }
    this.#locks.unlock(cpu);
    return found;
  }

  #lockPair(a: CpuId, b: CpuId): void {
    this.#locks.lock(Math.min(a, b));
    if (a !== b) this.#locks.lock(Math.max(a, b));
  }

  #unlockPair(a: CpuId, b: CpuId): void {
    if (a !== b) this.#locks.unlock(Math.max(a, b));
    this.#locks.unlock(Math.min(a, b));
  }
}
