import { CodedError } from "@x/smp";

/**
 * Codes of {@link ProfilingError}.
 *
 * - `PROFILING_INVALID_ARGUMENT`: a number out of its range; the message names it.
 * - `PROFILING_STATE`: the profiler cannot do this in its state (start while running, resume while not paused …).
 * - `PROFILING_STACK_UNDERFLOW`: a shadow stack was left more often than entered.
 * - `PROFILING_CPU_STUCK`: a CPU died inside `record`; see `Profiler.releaseCpu`.
 * - `PROFILING_MALFORMED_INPUT`: text that is no `perf script` output; `location.offset` says where.
 *
 * @public
 */
export type ProfilingErrorCode =
  | "PROFILING_INVALID_ARGUMENT"
  | "PROFILING_STATE"
  | "PROFILING_STACK_UNDERFLOW"
  | "PROFILING_CPU_STUCK"
  | "PROFILING_MALFORMED_INPUT";

/**
 * Errors of `@x/profiling`.
 *
 * @public
 */
export class ProfilingError extends CodedError<ProfilingErrorCode> {}

/** Throws `PROFILING_INVALID_ARGUMENT` unless `value` is an integer from `least` to `most`. */
export function requireInteger(what: string, value: number, least: number, most: number): void {
  if (Number.isInteger(value) && value >= least && value <= most) return;
  throw new ProfilingError(
    "PROFILING_INVALID_ARGUMENT",
    `${what} is ${value}; an integer from ${least} to ${most} is needed`,
  );
}
