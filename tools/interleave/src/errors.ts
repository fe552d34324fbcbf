import type { Failure, Report } from "./report.ts";

/**
 * Codes of {@link InterleaveError}.
 *
 * @public
 */
export type InterleaveErrorCode =
  | "INTERLEAVE_INVALID_ARGUMENT"
  | "INTERLEAVE_INVALID_SCENARIO"
  | "INTERLEAVE_INVALID_SCHEDULE"
  | "INTERLEAVE_NONDETERMINISTIC"
  | "INTERLEAVE_NO_PROGRESS"
  | "INTERLEAVE_THREAD_DIED"
  | "INTERLEAVE_FAILURE";

/**
 * Errors of this tool; test `code`, not the text.
 *
 * @public
 */
export class InterleaveError extends Error {
  /** Stable identifier. */
  readonly code: InterleaveErrorCode;

  constructor(code: InterleaveErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
    this.code = code;
  }
}

/**
 * What `explore` throws when an interleaving breaks the scenario. The message holds the schedule, the trace and the
 * command that replays it.
 *
 * @public
 */
export class InterleavingFailure extends InterleaveError {
  /** What was found. */
  readonly failure: Failure;
  /** What was covered until then. */
  readonly report: Report;

  constructor(failure: Failure, report: Report) {
    super("INTERLEAVE_FAILURE", failure.text);
    this.failure = failure;
    this.report = report;
  }
}
