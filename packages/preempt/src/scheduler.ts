import { attachSpinningLocks, createSpinningLocks, soloHal, type CpuId, type ExclusiveLocks, type Hal } from "@x/smp";
import { PreemptError } from "./errors.ts";
import type { Preempt } from "./preempt.ts";
import { Placement } from "./placement.ts";
import { RunQueues } from "./run-queues.ts";
import type { SchedObserver } from "./sched-observer.ts";
import type { SchedulerHandle, SchedulerJoin, SchedulerOptions } from "./scheduler-options.ts";
import { assertPriority, ThreadAttributes, type Priority } from "./thread-attributes.ts";
import { FREE, MOVING, ThreadState, ThreadTable, type ThreadId, type ThreadStats } from "./thread-table.ts";

const DEFAULT_MAX_THREADS = 1024;
const MAX_THREADS = 1 << 20;
const DEFAULT_TIME_SLICE_NS = 10e6;
/** Waiting this many slices raises a thread by one level. */
const SLICES_PER_AGING_STEP = 10;

/**
 * Threads on CPUs: a thread table and one run queue per CPU, in shared memory. It decides who runs where; running is the
 * caller's business.
 *
 * Four priority levels with aging, first in first out in a level, choice in constant time. A thread waits and runs only on
 * CPUs its affinity allows; if none of them is active it waits until one is.
 *
 * Locks: one per run queue, taken in ascending order of CPUs, and the table lock after them. A thread's record is guarded
 * by the lock of the CPU it names. Invariant: a ready thread is in exactly one queue, that of the CPU its record names.
 *
 * @public
 */
export class Scheduler {
  /** What another thread attaches with: plain data and shared memory. */
  readonly handle: SchedulerHandle;
  readonly #hal: Hal;
  readonly #preempt: Preempt;
  readonly #observer: SchedObserver | undefined;
  readonly #threads: ThreadTable;
  readonly #queues: RunQueues;
  readonly #locks: ExclusiveLocks;
  readonly #cpus: number;
  readonly #placement: Placement;

  private constructor(handle: SchedulerHandle, hal: Hal, join: SchedulerJoin) {
    this.handle = handle;
    this.#hal = hal;
    this.#preempt = join.preempt;
    this.#observer = join.observer;
    this.#cpus = handle.possibleCpus;
    this.#threads = new ThreadTable(handle.table, handle.possibleCpus, handle.maxThreads);
    this.#queues = new RunQueues(handle.queues, this.#threads, handle.agingNs);
    this.#locks = attachSpinningLocks(handle.locks, { hal, observer: join.lockObserver });
    this.#placement = new Placement({
      hal,
      preempt: join.preempt,
      ipi: join.ipi,
      observer: join.observer,
      threads: this.#threads,
      queues: this.#queues,
      locks: this.#locks,
      cpus: this.#cpus,
    });
  }

  /** Make the shared part. Throws `PREEMPT_INVALID_ARGUMENT` for options out of range. */
  static create(options: SchedulerOptions): Scheduler {
    const { hal = soloHal(), maxThreads = DEFAULT_MAX_THREADS, timeSliceNs = DEFAULT_TIME_SLICE_NS } = options;
    const { agingNs = timeSliceNs * SLICES_PER_AGING_STEP, activeCpus } = options;
    if (!Number.isInteger(maxThreads) || maxThreads < 1 || maxThreads > MAX_THREADS) {
      throw new PreemptError(
        "PREEMPT_INVALID_ARGUMENT",
        `maxThreads is ${maxThreads}; 1 to ${MAX_THREADS} are possible`,
      );
    }
    if (!(timeSliceNs > 0))
      throw new PreemptError("PREEMPT_INVALID_ARGUMENT", `timeSliceNs is ${timeSliceNs}, not above 0`);
    if (!(agingNs > 0)) throw new PreemptError("PREEMPT_INVALID_ARGUMENT", `agingNs is ${agingNs}, not above 0`);
    const { possibleCpus } = hal;
    const table = new SharedArrayBuffer(ThreadTable.bytes(possibleCpus, maxThreads));
    const queues = new SharedArrayBuffer(RunQueues.bytes(possibleCpus));
    const lockOptions = { name: "runqueue", count: possibleCpus + 1, hal };
    const locks = createSpinningLocks(options.lockKind ?? "spin", lockOptions).handle;
    const handle = { possibleCpus, maxThreads, timeSliceNs, agingNs, table, queues, locks };
    const scheduler = new Scheduler(handle, hal, options);
    scheduler.#threads.initialise();
    for (const cpu of activeCpus ?? Array.from({ length: possibleCpus }, (_, index) => index)) {
      scheduler.#assertCpu(cpu);
      scheduler.#queues.setActive(cpu, true);
    }
    return scheduler;
  }

  /** Join from another thread. */
  static attach(handle: SchedulerHandle, options: SchedulerJoin & { readonly hal: Hal }): Scheduler {
    return new Scheduler(handle, options.hal, options);
  }

  /** Living threads, the idle tasks not counted. */
  get threadCount(): number {
    return this.#threads.count;
  }

  /**
   * Make a thread; it is New until {@link Scheduler.wake}. Names keep 32 bytes of UTF-8.
   * Throws `PREEMPT_TOO_MANY_THREADS`, or `PREEMPT_EMPTY_AFFINITY` if no CPU of this machine is allowed.
   */
  spawn(name: string, attributes: ThreadAttributes = new ThreadAttributes()): ThreadId {
    const home = this.#placement.firstAllowed(attributes);
    return this.#threads.add(this.#locks, this.#cpus, name, attributes, home);
  }

  /** The name it was made with. Throws `PREEMPT_NO_SUCH_THREAD`, as all that take a thread but `wake`. */
  name(tid: ThreadId): string {
    this.#threads.assertThread(tid);
    return this.#threads.name(tid);
  }

  /** Throws `PREEMPT_NO_SUCH_THREAD` once the thread has left its CPU for good. */
  state(tid: ThreadId): ThreadState {
    this.#threads.assertThread(tid);
    const state = this.#threads.rawState(tid);
    return state === MOVING ? ThreadState.Ready : (state as ThreadState);
  }

  /** Its level without aging. */
  priority(tid: ThreadId): Priority {
    this.#threads.assertThread(tid);
    return this.#threads.priority(tid) as Priority;
  }

  /** Whether its affinity allows `cpu`. */
  canRunOnCpu(tid: ThreadId, cpu: CpuId): boolean {
    this.#threads.assertThread(tid);
    return cpu >= 0 && cpu < this.#cpus && this.#threads.allowed(tid, cpu);
  }

  /** Its numbers, until it has left its CPU for good; those of a running one may be a moment old. */
  threadStats(tid: ThreadId): ThreadStats {
    this.#threads.assertThread(tid);
    return this.#threads.stats(tid);
  }

  /** Calls `visit` with every living thread, by ascending id. */
  forEachThread(visit: (tid: ThreadId) => void): void {
    for (let tid = 1; tid <= this.handle.maxThreads; tid++) if (this.#threads.rawState(tid) !== FREE) visit(tid);
  }

  /** The thread that runs on `cpu` (default: the calling one); 0 is idle. */
  current(cpu: CpuId = this.#hal.currentCpu()): ThreadId {
    return this.#queues.pollCurrent(cpu);
  }

  /** Threads that wait on `cpu`. */
  queued(cpu: CpuId): number {
    return this.#queues.pollQueued(cpu);
  }

  /**
   * A new or blocked thread becomes ready, on its last CPU if that is idle, else on an idle one, else on the least loaded,
   * always an allowed one; asks that CPU to reschedule if it idles or runs a lower level. Returns the CPU. A thread that is
   * ready or runs stays as it is; one that has blocked but not yet left its CPU runs on. Returns -1 for an ended thread.
   */
  wake(tid: ThreadId): CpuId {
    this.#threads.assertId(tid);
    const home = this.#placement.lockHome(tid);
    const state = this.#threads.rawState(tid);
    const sleeps = state === ThreadState.New || state === ThreadState.Blocked;
    if (!sleeps || this.#queues.current(home) === tid) {
      if (sleeps) this.#threads.setState(tid, ThreadState.Running);
      this.#locks.unlock(home);
      return state === FREE || state === ThreadState.Exited ? -1 : home;
    }
    const cpu = this.#enqueueWoken(tid, home, state === ThreadState.New);
    this.#observer?.onWake?.(tid, cpu, this.#hal.currentCpu());
    return cpu;
  }

  /**
   * On the calling CPU: put the running thread back if it is still runnable, and choose the next; 0 is idle. Clears
   * `need_resched` and counts the switch, if it is one. `voluntary`: the running thread asked for it.
   */
  schedule(voluntary: boolean): ThreadId {
    const cpu = this.#hal.currentCpu();
    const now = this.#hal.now();
    this.#locks.lock(cpu);
    this.#preempt.clearNeedResched();
    const previous = this.#queues.current(cpu);
    const left = previous === 0 ? ThreadState.Running : this.#threads.rawState(previous);
    const displaced = previous !== 0 && this.#putBack(previous, cpu, now);
    const next = this.#queues.isActive(cpu) ? this.#queues.takeBest(cpu, now) : 0;
    const asked = voluntary || left !== ThreadState.Running;
    this.#switchTo(cpu, previous, next, now, asked);
    if (left === ThreadState.Exited) this.#threads.remove(this.#locks, this.#cpus, previous);
    this.#locks.unlock(cpu);
    if (displaced) this.#placement.moveOn(previous);
    if (next !== previous) this.#observer?.onSwitch?.(cpu, previous, next, asked);
    return next;
  }

  /**
   * The running thread is blocked from now on; call {@link Scheduler.schedule} next. A {@link Scheduler.wake} in between
   * undoes it, so that testing a condition after `block` loses no wake-up.
   */
  block(): void {
    this.#leave(ThreadState.Blocked);
  }

  /** The running thread has ended; its id is free after the next {@link Scheduler.schedule}. */
  exit(): void {
    this.#leave(ThreadState.Exited);
  }

  /** The running thread gives up the rest of its slice; call {@link Scheduler.schedule} next. */
  yieldCpu(): void {
    this.#threads.setSliceLeft(this.#running(), 0);
  }

  /** Charge the running thread. For callers who measure; {@link Scheduler.tick} charges too. */
  account(elapsedNs: number): void {
    const tid = this.current();
    if (tid !== 0) this.#threads.charge(tid, elapsedNs);
  }

  /** A timer tick: charges the running thread; when its slice is used up and another waits, asks to reschedule. */
  tick(elapsedNs: number): void {
    const cpu = this.#hal.currentCpu();
    const tid = this.current(cpu);
    this.#preempt.perCpu.tick(tid === 0);
    this.account(elapsedNs);
    const slicedOut = tid === 0 || this.#threads.sliceLeft(tid) <= 0;
    if (!slicedOut) return;
    if (this.queued(cpu) > 0) this.#preempt.setNeedResched(cpu);
    else if (tid !== 0) this.#threads.setSliceLeft(tid, this.handle.timeSliceNs);
  }

  /**
   * Give a thread the affinity (not the priority) of `attributes`, and move it at once if it waits where it must not run; if
   * it runs there, that CPU is asked to reschedule and moves it then. Throws `PREEMPT_EMPTY_AFFINITY`.
   */
  setAffinity(tid: ThreadId, attributes: ThreadAttributes): void {
    this.#threads.assertThread(tid);
    this.#placement.firstAllowed(attributes);
    const home = this.#placement.lockHome(tid);
    this.#threads.setAffinity(tid, attributes);
    const state = this.#threads.rawState(tid);
    const stays = this.#placement.mayStay(tid, home);
    const moves = state === ThreadState.Ready && !stays;
    if (moves) {
      this.#queues.dequeue(home, tid);
      this.#threads.setState(tid, MOVING);
    }
    const evict = state === ThreadState.Running && !stays && this.#preempt.markNeedResched(home);
    this.#locks.unlock(home);
    if (evict) this.#placement.tell(home);
    if (moves) this.#placement.moveOn(tid);
  }

  /** Change the priority; a waiting thread goes to the end of its new level. */
  setPriority(tid: ThreadId, priority: Priority): void {
    this.#threads.assertThread(tid);
    assertPriority(priority);
    const home = this.#placement.lockHome(tid);
    const waits = this.#threads.rawState(tid) === ThreadState.Ready;
    if (waits) this.#queues.dequeue(home, tid);
    this.#threads.setPriority(tid, priority);
    if (waits) this.#queues.enqueue(home, tid, this.#hal.now());
    const runs = this.current(home) === tid;
    if (runs) this.#queues.setCurrent(home, tid, priority);
    const asked = waits
      ? this.#placement.askIfBetter(tid, home)
      : runs && this.queued(home) > 0 && this.#preempt.markNeedResched(home);
    this.#locks.unlock(home);
    if (asked) this.#placement.tell(home);
  }

  /**
   * Pull waiting threads that may run on `cpu` from the CPU with the most threads, as many as make the two equal. Called by
   * an idle CPU for itself. Returns how many came; 0 when no CPU has two threads more.
   */
  balance(cpu: CpuId = this.#hal.currentCpu()): number {
    this.#assertCpu(cpu);
    return this.#placement.balance(cpu);
  }

  /** `cpu` takes threads from now on, at once those that wait on inactive CPUs and are allowed here. */
  activate(cpu: CpuId): void {
    this.#assertCpu(cpu);
    this.#locks.lock(cpu);
    this.#queues.setActive(cpu, true);
    const asked = this.queued(cpu) > 0 && this.#preempt.markNeedResched(cpu);
    this.#locks.unlock(cpu);
    if (asked) this.#placement.tell(cpu);
    for (let other = 0; other < this.#cpus; other++) {
      if (!this.#queues.isActive(other)) this.#placement.evacuate(other);
    }
  }

  /**
   * `cpu` takes no more threads; those that wait there and may run elsewhere are moved, the running one at its next
   * {@link Scheduler.schedule}. Throws `PREEMPT_LAST_CPU` for the only active one.
   */
  deactivate(cpu: CpuId): void {
    this.#assertCpu(cpu);
    this.#locks.lock(cpu);
    this.#locks.lock(this.#cpus);
    const last = !this.#otherActive(cpu);
    if (!last) this.#queues.setActive(cpu, false);
    this.#locks.unlock(this.#cpus);
    if (last) {
      this.#locks.unlock(cpu);
      throw new PreemptError("PREEMPT_LAST_CPU", `CPU ${cpu} is the only active one`);
    }
    const evict = this.current(cpu) !== 0 && this.#preempt.markNeedResched(cpu);
    this.#locks.unlock(cpu);
    if (evict) this.#placement.tell(cpu);
    this.#placement.evacuate(cpu);
  }

  /** Whether `cpu` takes threads. */
  isActive(cpu: CpuId): boolean {
    this.#assertCpu(cpu);
    return this.#queues.isActive(cpu);
  }

  /** With `home` locked, which this unlocks: queue a sleeping thread there or elsewhere. */
  #enqueueWoken(tid: ThreadId, home: CpuId, isNew: boolean): CpuId {
    const now = this.#hal.now();
    this.#threads.startWaiting(tid, now);
    if (!this.#placement.placeHere(tid, home, now)) {
      this.#threads.setState(tid, MOVING);
      this.#locks.unlock(home);
      return this.#placement.place(tid, isNew, now);
    }
    const { asked } = this.#placement;
    this.#locks.unlock(home);
    if (asked) this.#placement.tell(home);
    return home;
  }

  /** Queue `tid`, which leaves the locked `cpu`, if it can go on there. Returns true if it must be moved elsewhere. */
  #putBack(tid: ThreadId, cpu: CpuId, now: number): boolean {
    if (this.#threads.rawState(tid) !== ThreadState.Running) return false;
    this.#threads.startWaiting(tid, now);
    const stays = this.#placement.mayStay(tid, cpu);
    if (stays) this.#queues.enqueue(cpu, tid, now);
    this.#threads.setState(tid, stays ? ThreadState.Ready : MOVING);
    return !stays;
  }

  /** `next` takes the locked CPU over from `previous`, which may be the same; 0 is idle. */
  #switchTo(cpu: CpuId, previous: ThreadId, next: ThreadId, now: number, voluntary: boolean): void {
    this.#queues.setCurrent(cpu, next, next === 0 ? 0 : this.#queues.takenLevel);
    this.#preempt.perCpu.setCurrentTask(next);
    if (next !== 0) {
      this.#threads.setState(next, ThreadState.Running);
      this.#threads.startRunning(next, now, this.handle.timeSliceNs);
    }
    if (next === previous) return;
    if (next !== 0) this.#threads.countSwitchIn(next);
    if (previous === 0) return;
    this.#threads.countSwitchOut(previous, voluntary);
    if (voluntary) this.#preempt.recordVoluntary();
    else this.#preempt.recordInvoluntary();
  }

  #leave(state: ThreadState): void {
    const tid = this.#running();
    const cpu = this.#hal.currentCpu();
    this.#locks.lock(cpu);
    this.#threads.setState(tid, state);
    this.#locks.unlock(cpu);
  }

  #running(): ThreadId {
    const tid = this.current();
    if (tid === 0)
      throw new PreemptError("PREEMPT_NOT_RUNNING", `CPU ${this.#hal.currentCpu()} idles: no thread to act on`);
    return tid;
  }

  #otherActive(cpu: CpuId): boolean {
    for (let other = 0; other < this.#cpus; other++) if (other !== cpu && this.#queues.isActive(other)) return true;
    return false;
  }

  #assertCpu(cpu: CpuId): void {
    if (Number.isInteger(cpu) && cpu >= 0 && cpu < this.#cpus) return;
    throw new PreemptError("PREEMPT_INVALID_ARGUMENT", `CPU ${cpu} is not one of the ${this.#cpus} possible CPUs`);
  }
}
