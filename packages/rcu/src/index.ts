/**
 * Read-copy-update for JavaScript threads: grace periods, callbacks and RCU-protected cells and lists.
 *
 * @packageDocumentation
 */
export { RcuError, type RcuErrorCode } from "./errors.ts";
export type { RcuObserver } from "./observer.ts";
export type { RcuCallback, RcuFreeTarget } from "./callback-ring.ts";
export { Rcu } from "./rcu.ts";
export type { RcuFlavour, RcuHandle, RcuOptions, RcuStats } from "./rcu-options.ts";
export { TurnAnnouncer, type TurnAnnouncerOptions } from "./turn-announcer.ts";
export { quiescentWhileBlocked } from "./blocking.ts";
export { askByCall, quiescentCall } from "./expedited.ts";
export { POISON_BYTE, poisonFreed } from "./poison.ts";
export { rcuAssign, rcuDereference, RcuPointer } from "./pointer.ts";
export { jsonCodec, type Codec } from "./codec.ts";
export {
  structCodec,
  type StructField,
  type StructLayout,
  type StructNumber,
  type StructValue,
} from "./struct-codec.ts";
export { RcuCell } from "./rcu-cell.ts";
export type { RcuCellHandle, RcuCellJoin, RcuCellOptions } from "./rcu-cell-options.ts";
export type { RcuCellSubscription, RcuCellSubscriptionOptions } from "./cell-subscription.ts";
export { RcuHashList, type RcuHashListHandle, type RcuHashListOptions } from "./rcu-hash-list.ts";
export { RcuList, type RcuListHandle, type RcuListOptions } from "./rcu-list.ts";
export { askToReschedule, expediteGracePeriod, quiescentOnSwitch } from "./preemption.ts";
