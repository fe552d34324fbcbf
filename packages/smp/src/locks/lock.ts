import { SmpError } from "../errors.ts";
import type { CpuId, Hal } from "../hal.ts";
import { soloHal } from "../solo-hal.ts";

/**
 * Kinds of locks. `spin`, `ticket`, `mcs` and `seqlock` spin and may be taken in interrupt context; the others sleep.
 *
 * @public
 */
export type LockKind = "spin" | "ticket" | "mcs" | "rwlock" | "seqlock" | "mutex" | "condition" | "barrier";

/**
 * How a lock is held: alone, or together with other readers.
 *
 * @public
 */
export const LockAccess = { Exclusive: 0, Shared: 1 } as const;
/** @public */
export type LockAccess = (typeof LockAccess)[keyof typeof LockAccess];

/**
 * What joins an array of locks from another thread.
 *
 * @public
 */
export interface LockHandle<Kind extends LockKind = LockKind> {
  readonly kind: Kind;
  readonly name: string;
  readonly count: number;
  /** CPUs that it has room for. */
  readonly possibleCpus: number;
  readonly memory: SharedArrayBuffer;
}

/**
 * An array of locks of any kind, as observers see it. All locks of one array are one class: same name, same rules.
 *
 * @public
 */
export interface LockArray {
  readonly kind: LockKind;
  readonly name: string;
  readonly count: number;
  readonly handle: LockHandle;
  /** The CPU that holds `lock` exclusively, or -1. */
  owner(lock?: number): number;
  /**
   * After the thread of `cpu` has died: free what it held and take it out of the queues it waited in.
   * Call it from one thread for one CPU at a time, after the thread's end is known; others may use the locks meanwhile.
   *
   * @returns how many locks it held.
   */
  releaseDeadOwner(cpu: CpuId): number;
}

/**
 * What happens to locks, all on the calling CPU. `lock` is the index inside its array; `access` tells readers from owners.
 * {@link LockStatistics} and {@link LockValidator} are observers; {@link combineObservers} joins several.
 *
 * @public
 */
export interface LockObserver {
  /** About to take `lock`, waiting if need be. Not for `try` forms, which never wait. What this throws keeps the lock untaken. */
  onRequest?(locks: LockArray, lock: number, access: LockAccess): void;
  /** It is held by `owner` (-1: by readers, or unknown), and the waiting begins; once for each time it does. */
  onContended?(locks: LockArray, lock: number, owner: number): void;
  /** `lock` was taken; `spins` counts the turns of waiting and is 0 when it was free at once. */
  onAcquired?(locks: LockArray, lock: number, spins: number, access: LockAccess): void;
  /** A request ended without the lock: its time was over, or it would have been recursive. */
  onGaveUp?(locks: LockArray, lock: number, access: LockAccess): void;
  /** Before `lock` becomes free. */
  onRelease?(locks: LockArray, lock: number, access: LockAccess): void;
  /** `lock` was taken after a previous owner had died holding it; comes before `onAcquired`. */
  onOwnerDied?(locks: LockArray, lock: number): void;
}

/**
 * Options of every `create`.
 *
 * @public
 */
export interface LockOptions {
  /** Name of the class, for statistics and reports. */
  readonly name?: string;
  /** Locks in the array, default 1. */
  readonly count?: number;
  readonly hal?: Hal;
  readonly observer?: LockObserver | undefined;
}

/**
 * Options of every `attach`.
 *
 * @public
 */
export interface LockJoin {
  readonly hal: Hal;
  readonly observer?: LockObserver | undefined;
}

/*
 * The word of a lock that knows its owner, in the manner of Linux's robust futexes:
 *
 *   bits 0-12   owner CPU + 1, 0 when free
 *   bit 28      a previous owner died; kept until `markConsistent`
 *   bit 29      somebody may sleep on the word
 */
export const OWNER_MASK = 0x1fff;
export const OWNER_DIED: number = 1 << 28;
export const WAITERS: number = 1 << 29;

/** Memory and handle of a new array with `bytesPerLock` for each lock. */
export function newLocks<Kind extends LockKind>(
  kind: Kind,
  bytesPerLock: number,
  options: LockOptions,
): LockHandle<Kind> {
  const { name = kind, count = 1, hal = soloHal() } = options;
  if (!Number.isInteger(count) || count < 1) {
    throw new SmpError("SMP_INVALID_ARGUMENT", `a lock array has ${count} locks; at least 1 is needed`);
  }
  const memory = new SharedArrayBuffer(count * bytesPerLock);
  return { kind, name, count, possibleCpus: hal.possibleCpus, memory };
}

/** For kinds with a line for each CPU. */
export function assertRoom({ name, possibleCpus }: LockHandle, hal: Hal): void {
  if (hal.possibleCpus <= possibleCpus) return;
  const message = `${name} has room for ${possibleCpus} CPUs, the machine has ${hal.possibleCpus}`;
  throw new SmpError("SMP_INVALID_ARGUMENT", message);
}

/** The sooner of for ever and `timeoutNs` from now. */
export function deadlineOf(hal: Hal, timeoutNs: number): number {
  return timeoutNs === Infinity ? Infinity : hal.now() + timeoutNs;
}

/**
 * One observer that tells all of `observers`, in order.
 *
 * @public
 */
export function combineObservers(...observers: readonly (LockObserver | undefined)[]): LockObserver {
  const all = observers.filter((observer) => observer !== undefined);
  return {
    onRequest: (locks, lock, access) => {
      for (const observer of all) observer.onRequest?.(locks, lock, access);
    },
    onContended: (locks, lock, owner) => {
      for (const observer of all) observer.onContended?.(locks, lock, owner);
    },
    onAcquired: (locks, lock, spins, access) => {
      for (const observer of all) observer.onAcquired?.(locks, lock, spins, access);
    },
    onGaveUp: (locks, lock, access) => {
      for (const observer of all) observer.onGaveUp?.(locks, lock, access);
    },
    onRelease: (locks, lock, access) => {
      for (const observer of all) observer.onRelease?.(locks, lock, access);
    },
    onOwnerDied: (locks, lock) => {
      for (const observer of all) observer.onOwnerDied?.(locks, lock);
    },
  };
}
