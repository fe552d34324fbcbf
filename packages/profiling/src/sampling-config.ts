import { requireInteger } from "./errors.ts";

/**
 * What a profiler samples and how often.
 *
 * @public
 */
export interface SamplingConfig {
  /** Time between two samples of one CPU, in nanoseconds: 1 to 2^53 - 1. Default 1 000 000 (1 kHz). */
  readonly intervalNs: number;
  /** Samples kept in one run, over all CPUs: 1 to 2^24. Later ones are counted as lost. Default 10 000. */
  readonly maxSamples: number;
  /** Keep samples taken in kernel mode. Default true. */
  readonly includeKernel: boolean;
  /** Keep samples taken in user mode. Default true. */
  readonly includeUser: boolean;
}

/**
 * The configuration a profiler has when nothing else is asked for.
 *
 * @public
 */
export const DEFAULT_SAMPLING_CONFIG: SamplingConfig = {
  intervalNs: 1_000_000,
  maxSamples: 10_000,
  includeKernel: true,
  includeUser: true,
};

/** Largest `maxSamples`. */
export const MAX_SAMPLES_LIMIT: number = 1 << 24;

/** Throws `PROFILING_INVALID_ARGUMENT` for a member out of range; `capacity` bounds `maxSamples`. */
export function requireConfig(config: SamplingConfig, capacity: number): void {
  requireInteger("intervalNs", config.intervalNs, 1, Number.MAX_SAFE_INTEGER);
  requireInteger("maxSamples", config.maxSamples, 1, capacity);
}
