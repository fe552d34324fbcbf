/**
 * Sampling profiler, performance counters, statistics and exports for JavaScript threads and emulated CPUs.
 *
 * @packageDocumentation
 */
export {};
