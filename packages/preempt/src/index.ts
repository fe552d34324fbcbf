/**
 * Preemption counts, need_resched, guards, threads and per-CPU run queues for JavaScript threads.
 *
 * @packageDocumentation
 */
export {};
