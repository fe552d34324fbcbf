export {
  combineObservers,
  LockAccess,
  type LockArray,
  type LockHandle,
  type LockJoin,
  type LockKind,
  type LockObserver,
  type LockOptions,
} from "./lock.ts";
export { ExclusiveLocks } from "./exclusive-locks.ts";
export { SpinLocks, type SpinLocksHandle } from "./spin-locks.ts";
export { TicketLocks, type TicketLocksHandle } from "./ticket-locks.ts";
export { McsLocks, type McsLocksHandle } from "./mcs-locks.ts";
export { QueueLocks } from "./queue-locks.ts";
export { attachSpinningLocks, createSpinningLocks, type SpinningKind } from "./create-locks.ts";
export { SleepingLocks, type LockCallback, type SleepingLockJoin, type SleepingLockOptions } from "./sleeping-locks.ts";
export { Mutexes, type MutexesHandle } from "./mutexes.ts";
export { RwLocks, type RwLocksHandle } from "./rw-locks.ts";
export { SeqLocks, type SeqLocksHandle } from "./seq-locks.ts";
export { Conditions, type ConditionsHandle } from "./conditions.ts";
export { Barriers, type BarriersHandle } from "./barriers.ts";
export {
  LockStatistics,
  lockStatText,
  type LockClassStatistics,
  type LockStatisticsHandle,
} from "./lock-statistics.ts";
export {
  LockValidator,
  type InterruptContext,
  type LockReport,
  type LockRule,
  type LockValidatorHandle,
  type LockValidatorJoin,
} from "./lock-validator.ts";
export type { SharedNamesHandle } from "./shared-names.ts";
