/**
 * Read-copy-update for JavaScript threads: grace periods, callbacks and RCU-protected cells and lists.
 *
 * @packageDocumentation
 */
export { RcuError, type RcuErrorCode } from "./errors.ts";
export type { RcuObserver } from "./observer.ts";
export type { RcuCallback } from "./callback-ring.ts";
export { Rcu, type RcuFlavour, type RcuHandle, type RcuOptions, type RcuStats } from "./rcu.ts";
export { rcuAssign, rcuDereference } from "./pointer.ts";
export { jsonCodec, type Codec } from "./codec.ts";
export { RcuCell, type RcuCellHandle, type RcuCellJoin, type RcuCellOptions } from "./rcu-cell.ts";
export { RcuList, type RcuListHandle, type RcuListOptions } from "./rcu-list.ts";
export { expediteGracePeriod, quiescentOnSwitch } from "./preemption.ts";
