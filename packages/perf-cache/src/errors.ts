import { CodedError } from "@x/smp";

/**
 * Codes of {@link PerfCacheError}.
 *
 * - `PERF_CACHE_INVALID_ARGUMENT`: an option or argument is out of its range.
 * - `PERF_CACHE_NO_MEMORY`: the page source cannot hold the bucket array.
 * - `PERF_CACHE_NEEDS_RCU`: a table of several CPUs was given nothing to wait for readers with.
 *
 * @public
 */
export type PerfCacheErrorCode = "PERF_CACHE_INVALID_ARGUMENT" | "PERF_CACHE_NO_MEMORY" | "PERF_CACHE_NEEDS_RCU";

/**
 * Errors of `@x/perf-cache`.
 *
 * @public
 */
export class PerfCacheError extends CodedError<PerfCacheErrorCode> {}
