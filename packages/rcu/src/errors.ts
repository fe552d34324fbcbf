import { CodedError } from "@x/smp";

/**
 * Codes of {@link RcuError}.
 *
 * - `RCU_IN_SECTION`: a quiescent state, or a wait for one, inside a read section.
 * - `RCU_NOT_IN_SECTION`: more `readUnlock` than `readLock`.
 * - `RCU_OFFLINE`: a read section on a CPU that grace periods do not wait for.
 * - `RCU_CALLBACKS_FULL`: the callback ring is full and no grace period could be ended to drain it.
 * - `RCU_CALLBACK_THREW`: a callback threw; what it threw is the `cause`, the message says which, with what, on which CPU.
 * - `RCU_USE_AFTER_FREE`: debug mode: a reader holds what it must not, because its grace period has ended.
 * - `RCU_CELL_BUSY`: every slot of a cell still waits for its grace period.
 * - `RCU_CELL_TOO_LARGE`: an encoded value exceeds the cell's `maxBytes`.
 * - `RCU_INVALID_ARGUMENT`: an option or argument is out of its range.
 *
 * @public
 */
export type RcuErrorCode =
  | "RCU_IN_SECTION"
  | "RCU_NOT_IN_SECTION"
  | "RCU_OFFLINE"
  | "RCU_CALLBACKS_FULL"
  | "RCU_CALLBACK_THREW"
  | "RCU_USE_AFTER_FREE"
  | "RCU_CELL_BUSY"
  | "RCU_CELL_TOO_LARGE"
  | "RCU_INVALID_ARGUMENT";

/**
 * Errors of `@x/rcu`.
 *
 * @public
 */
export class RcuError extends CodedError<RcuErrorCode> {}
