/**
 * Preemption counts, need_resched, guards, threads and per-CPU run queues for JavaScript threads.
 *
 * @packageDocumentation
 */
export { PreemptError, type PreemptErrorCode } from "./errors.ts";
export { Preempt, type PreemptHandle, type PreemptJoin, type PreemptObserver, type PreemptOptions } from "./preempt.ts";
export type { PreemptStats } from "./preempt-stats.ts";
export { Priority, ThreadAttributes } from "./thread-attributes.ts";
export { ThreadState, type ThreadId, type ThreadStats } from "./thread-table.ts";
export type { SchedObserver } from "./sched-observer.ts";
export type { SchedulerHandle, SchedulerJoin, SchedulerOptions } from "./scheduler-options.ts";
export { Scheduler } from "./scheduler.ts";
