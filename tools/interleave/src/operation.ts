/*
 * What a thread does to shared memory. A *step* is an operation before which the scheduler chooses who goes next;
 * plain accesses are steps only inside regions declared racy, because elsewhere a conflicting one is reported as a
 * data race, and accesses that do not conflict commute with everything.
 */
export const Operation = {
  /** First turn of a thread. */
  Start: 0,
  /** `Atomics.load`. */
  Load: 1,
  /** `Atomics.store`. */
  Store: 2,
  /** `Atomics.add`, `compareExchange` and the other read-modify-writes. */
  Update: 3,
  /** Plain read. */
  Read: 4,
  /** Plain write. */
  Write: 5,
  /** `Atomics.wait` / `waitAsync`: compare the word and join the list of waiters, in one step. */
  Wait: 6,
  /** `Atomics.notify`. */
  Notify: 7,
  /** A thread that was blocked goes on. */
  Resume: 8,
  /** Memory becomes valid. */
  Allocate: 9,
  /** Memory becomes invalid. */
  Free: 10,
  /** Not an access: a location that a {@link Operation.Resume} depends on. */
  Depends: 11,
} as const;
export type Operation = (typeof Operation)[keyof typeof Operation];

/** Bits that qualify an operation in the log. */
export const Flag = {
  /** It was a step of its own. */
  Step: 1,
  /** It changed the value it wrote over. */
  Changed: 2,
  /** An update that wrote nothing (a compare-exchange that failed). */
  ReadOnly: 4,
  /** It could happen because nobody else could run: it comes after everything before it. */
  Idle: 8,
  /** A plain access in a region declared racy: no data race is reported for it. */
  Racy: 16,
  /** The allocator's own access: may touch freed memory. */
  Exempt: 32,
  /** A wait that ended by notification. */
  Notified: 64,
} as const;

const NAMES = ["start", "load", "store", "update", "read", "write", "wait", "notify", "resume", "allocate", "free", ""];

/** Name of `operation` in a trace. */
export function operationName(operation: number): string {
  return NAMES[operation];
}

/** Whether the operation, as executed, wrote. */
export function isWrite(operation: number, flags: number): boolean {
  if (operation === Operation.Update) return (flags & Flag.ReadOnly) === 0;
  return operation === Operation.Store || operation === Operation.Write;
}

/** Whether the operation reads. */
export function isRead(operation: number): boolean {
  return (
    operation === Operation.Load ||
    operation === Operation.Update ||
    operation === Operation.Read ||
    operation === Operation.Wait
  );
}

/** Plain in the sense of the memory model: it orders nothing, and unordered conflicts with it are data races. */
export function isPlain(operation: number): boolean {
  return operation === Operation.Read || operation === Operation.Write;
}
