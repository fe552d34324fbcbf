/**
 * Where bad input is wrong.
 *
 * @public
 */
export interface ErrorLocation {
  /** File or table the input came from. */
  readonly file?: string;
  /** Byte offset from the start of that file. */
  readonly offset?: number;
  /** JSON pointer inside a structured document. */
  readonly path?: string;
}

/**
 * An error with a stable, documented `code`. Every package derives one class from it (`SmpError`, `RcuError` …), so that
 * callers test `error.code` and never the text.
 *
 * @public
 */
export class CodedError<Code extends string = string> extends Error {
  /** Stable identifier, upper snake case. */
  readonly code: Code;
  /** Place in the input, for input errors. */
  readonly location: ErrorLocation;

  constructor(code: Code, message: string, location: ErrorLocation = {}, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
    this.code = code;
    this.location = location;
  }
}

/**
 * Codes of {@link SmpError}.
 *
 * @public
 */
export type SmpErrorCode =
  | "SMP_INVALID_ARGUMENT"
  | "SMP_INVALID_CPU"
  | "SMP_CPU_STATE"
  | "SMP_TOO_MANY_CPUS"
  | "SMP_HOTPLUG_FAILED"
  | "SMP_CANNOT_BLOCK"
  | "SMP_WOULD_DEADLOCK"
  | "SMP_LOCK_RECURSION"
  | "SMP_LOCK_NOT_OWNED"
  | "SMP_LOCK_OWNER_DIED"
  | "SMP_LOCK_RULE"
  | "SMP_GENERAL_PROTECTION"
  | "SMP_PREEMPT_OVERFLOW"
  | "SMP_PREEMPT_UNDERFLOW"
  | "SMP_THREAD_FAILED"
  | "SMP_CALL_FAILED"
  | "SMP_CPU_OFFLINE"
  | "SMP_CPU_DIED"
  | "ACPI_TRUNCATED"
  | "ACPI_BAD_SIGNATURE"
  | "ACPI_MALFORMED"
  | "ACPI_NOT_FOUND"
  | "ACPI_UNREADABLE";

/**
 * Errors of `@x/smp`.
 *
 * @public
 */
export class SmpError extends CodedError<SmpErrorCode> {}
