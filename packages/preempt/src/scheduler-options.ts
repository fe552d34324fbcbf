import type { CpuId, Hal, LockHandle, LockObserver, SpinningKind } from "@x/smp";
import type { Preempt } from "./preempt.ts";
import type { SchedObserver } from "./sched-observer.ts";

/**
 * What every thread that joins a `Scheduler` passes.
 *
 * @public
 */
export interface SchedulerJoin {
  readonly preempt: Preempt;
  /** How another CPU is told to reschedule; `hal.kick` when left out. */
  readonly ipi?: { reschedule(cpu: CpuId): void } | undefined;
  readonly observer?: SchedObserver | undefined;
  readonly lockObserver?: LockObserver | undefined;
}

/**
 * Options of `Scheduler.create`.
 *
 * @public
 */
export interface SchedulerOptions extends SchedulerJoin {
  readonly hal?: Hal;
  /** 1 to 2^20, default 1024. */
  readonly maxThreads?: number;
  /** How long a thread runs while others of its level wait. Default 10e6. */
  readonly timeSliceNs?: number;
  /** Waiting that raises a thread by one level. Default ten slices; `Infinity` makes the levels strict, and starvation possible. */
  readonly agingNs?: number;
  /** CPUs that take threads from the start. Default all; the others are for `Scheduler.activate`. */
  readonly activeCpus?: Iterable<CpuId>;
  /** Kind of the run queues' locks, default `spin`; the others are first come, first served. */
  readonly lockKind?: SpinningKind | undefined;
}

/**
 * What joins a `Scheduler` from another thread.
 *
 * @public
 */
export interface SchedulerHandle {
  readonly possibleCpus: number;
  readonly maxThreads: number;
  readonly timeSliceNs: number;
  readonly agingNs: number;
  readonly table: SharedArrayBuffer;
  readonly queues: SharedArrayBuffer;
  readonly locks: LockHandle<SpinningKind>;
}
