import type { CpuMask } from "../cpu-mask.ts";
import type { CpuId } from "../hal.ts";

/**
 * What an inter-processor interrupt asks for.
 *
 * `Generic`, `TlbFlush` and `FunctionCall` carry a payload, and each one arrives. `Reschedule` and `Halt` carry none: however
 * many are sent before the target looks, it sees one.
 *
 * @public
 */
export const IpiType = { Generic: 0, Reschedule: 1, TlbFlush: 2, FunctionCall: 3, Halt: 4 } as const;

/**
 * A value of {@link (IpiType:variable)}.
 *
 * @public
 */
export type IpiType = (typeof IpiType)[keyof typeof IpiType];

export const IPI_TYPES = 5;

/**
 * Whom an inter-processor interrupt is for: one CPU, those of a mask, all that are online, or all that are online but the
 * calling one.
 *
 * @public
 */
export type IpiTarget = CpuId | CpuMask | "all" | "all-except-self";

/**
 * Takes what has arrived.
 *
 * @param payload - what was sent; 0 for `Reschedule` and `Halt`.
 * @param from - the sender; -1 for `Reschedule` and `Halt`, of which several may have become one.
 *
 * @public
 */
export type IpiHandler = (type: IpiType, payload: number, from: CpuId) => void;

/**
 * What happens to inter-processor interrupts.
 *
 * @public
 */
export interface IpiObserver {
  /** After something was put into the mailbox of `to`, before `to` is kicked. */
  onSend?(from: CpuId, to: CpuId, type: IpiType): void;
  /** A `Reschedule` or `Halt` was not sent because `to` has one in its mailbox. */
  onCoalesced?(from: CpuId, to: CpuId, type: IpiType): void;
  /** After `cpu` took something, before its handler runs. `from` is -1 for `Reschedule` and `Halt`. */
  onReceive?(cpu: CpuId, from: CpuId, type: IpiType): void;
  /** Refused: all slots of `from` are in use, or `to` is offline. */
  onRefused?(from: CpuId, to: CpuId, type: IpiType): void;
}
