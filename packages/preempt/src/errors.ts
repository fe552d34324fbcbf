import { CodedError } from "@x/smp";

/**
 * Codes of {@link PreemptError}.
 *
 * - `PREEMPT_INVALID_ARGUMENT`: an option or argument is out of its range.
 * - `PREEMPT_EMPTY_AFFINITY`: an affinity that allows no CPU of the machine.
 * - `PREEMPT_TOO_MANY_THREADS`: the thread table is full.
 * - `PREEMPT_NO_SUCH_THREAD`: no thread has this id (any more).
 * - `PREEMPT_NOT_RUNNING`: the idle task was asked to block, exit or yield.
 * - `PREEMPT_LAST_CPU`: the only active CPU was to be deactivated.
 *
 * Leaving a preempt-disabled section that was not entered throws `SMP_PREEMPT_UNDERFLOW` of `@x/smp`.
 *
 * @public
 */
export type PreemptErrorCode =
  | "PREEMPT_INVALID_ARGUMENT"
  | "PREEMPT_EMPTY_AFFINITY"
  | "PREEMPT_TOO_MANY_THREADS"
  | "PREEMPT_NO_SUCH_THREAD"
  | "PREEMPT_NOT_RUNNING"
  | "PREEMPT_LAST_CPU";

/**
 * Errors of `@x/preempt`.
 *
 * @public
 */
export class PreemptError extends CodedError<PreemptErrorCode> {}
