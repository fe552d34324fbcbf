import { SmpError } from "../errors.ts";
import type { CpuId, Hal } from "../hal.ts";
import {
  deadlineOf,
  LockAccess,
  type LockArray,
  type LockHandle,
  type LockJoin,
  type LockKind,
  type LockObserver,
} from "./lock.ts";

/** How an attempt to take a lock ended. */
export const Outcome = { Taken: 0, OwnerDied: 1, TimedOut: 2, Recursive: 3 } as const;
/** @internal */
export type Outcome = (typeof Outcome)[keyof typeof Outcome];

/**
 * What all arrays of locks with one owner share: {@link SpinLocks}, {@link TicketLocks}, {@link McsLocks},
 * {@link Mutexes}, {@link RwLocks} and {@link SeqLocks} (their writers). Not recursive: taking a lock twice on one CPU throws
 * `SMP_LOCK_RECURSION`. Hot paths allocate nothing.
 *
 * The owner is a CPU. Code that a thread runs in turns (promises, callbacks) is one owner.
 *
 * @public
 */
export abstract class ExclusiveLocks<Kind extends LockKind = LockKind> implements LockArray {
  readonly handle: LockHandle<Kind>;
  readonly kind: Kind;
  readonly name: string;
  readonly count: number;
  /** @internal */
  protected readonly hal: Hal;
  /** @internal */
  protected readonly words: Int32Array;
  /** @internal */
  protected readonly observer: LockObserver | undefined;
  /** Turns of the last waiting of this thread. @internal */
  protected spins = 0;
  readonly #guards: (Disposable | undefined)[] = [];

  /** @internal */
  protected constructor(handle: LockHandle<Kind>, { hal, observer }: LockJoin) {
    this.handle = handle;
    this.kind = handle.kind;
    this.name = handle.name;
    this.count = handle.count;
    this.hal = hal;
    this.words = new Int32Array(handle.memory);
    this.observer = observer;
  }

  /**
   * Take `lock`, waiting while another CPU holds it.
   *
   * @returns true when a previous owner died holding it (EOWNERDEAD of POSIX): what it guards may be half changed. Every
   * owner is told until one has called {@link ExclusiveLocks.markConsistent}.
   */
  lock(lock = 0): boolean {
    const outcome = this.request(lock, Infinity);
    if (outcome === Outcome.Recursive) throw this.recursion(lock);
    return outcome === Outcome.OwnerDied;
  }

  /** Take `lock` if it is free. {@link ExclusiveLocks.ownerDied} tells whether a previous owner died. */
  tryLock(lock = 0): boolean {
    const outcome = this.attempt(lock);
    if (outcome > Outcome.OwnerDied) return false;
    this.spins = 0;
    if (this.observer !== undefined) this.tellAcquired(lock, outcome, LockAccess.Exclusive);
    return true;
  }

  /**
   * Take `lock`, waiting at most `timeoutNs` while another CPU holds it. On a machine with more CPUs than cores the holder
   * may not be running: choose milliseconds rather than microseconds.
   *
   * @returns whether it was taken. A lock that the calling CPU holds already is not waited for, as in `tryLock`.
   */
  tryLockFor(timeoutNs: number, lock = 0): boolean {
    return this.request(lock, deadlineOf(this.hal, timeoutNs)) <= Outcome.OwnerDied;
  }

  /** Free `lock`; throws `SMP_LOCK_NOT_OWNED` unless the calling CPU holds it. */
  unlock(lock = 0): void {
    if (this.owner(lock) !== this.hal.currentCpu()) throw this.notOwned(lock);
    this.observer?.onRelease?.(this, lock, LockAccess.Exclusive);
    this.release(lock);
  }

  /** `using guard = locks.guard(i)`: the lock is free again at the end of the block. The guard is made once per lock. */
  guard(lock = 0): Disposable {
    this.lock(lock);
    return this.guardOf(lock);
  }

  /** `using guard = locks.tryGuard(i)`: as {@link ExclusiveLocks.tryLock}; `undefined`, which `using` takes too, if it is not free. */
  tryGuard(lock = 0): Disposable | undefined {
    return this.tryLock(lock) ? this.guardOf(lock) : undefined;
  }

  /** {@link ExclusiveLocks.tryGuard} as {@link ExclusiveLocks.tryLockFor}. */
  tryGuardFor(timeoutNs: number, lock = 0): Disposable | undefined {
    return this.tryLockFor(timeoutNs, lock) ? this.guardOf(lock) : undefined;
  }

  isLocked(lock = 0): boolean {
    return this.owner(lock) >= 0;
  }

  /** The CPU that holds `lock`, or -1; of a lock in motion the answer may be old. */
  abstract owner(lock?: number): number;
  /** Whether an owner of `lock` died holding it and nobody has repaired since. */
  abstract ownerDied(lock?: number): boolean;
  /** By the owner, after repair: what `lock` guards is whole again. */
  abstract markConsistent(lock?: number): void;
  abstract releaseDeadOwner(cpu: CpuId): number;

  /** What frees `lock`, which the calling CPU holds. @internal */
  protected guardOf(lock: number): Disposable {
    return (this.#guards[lock] ??= this.#newGuard(lock));
  }

  /** Take it at once or not at all. @internal */
  protected abstract attempt(lock: number): Outcome;
  /** Wait for it; counts turns in `spins`. @internal */
  protected abstract acquire(lock: number, deadlineNs: number): Outcome;
  /** The caller holds it. @internal */
  protected abstract release(lock: number): void;

  /** A function of its own: one that makes closures makes a context for them each time, whether it makes any or not. */
  #newGuard(lock: number): Disposable {
    return { [Symbol.dispose]: () => this.unlock(lock) };
  }

  /** {@link ExclusiveLocks.acquire} with the observer told. @internal */
  protected request(lock: number, deadlineNs: number): Outcome {
    this.spins = 0;
    if (this.observer === undefined) return this.acquire(lock, deadlineNs);
    this.observer.onRequest?.(this, lock, LockAccess.Exclusive);
    const outcome = this.acquire(lock, deadlineNs);
    if (outcome <= Outcome.OwnerDied) this.tellAcquired(lock, outcome, LockAccess.Exclusive);
    else this.observer.onGaveUp?.(this, lock, LockAccess.Exclusive);
    return outcome;
  }

  /** @internal */
  protected tellAcquired(lock: number, outcome: Outcome, access: LockAccess): void {
    if (outcome === Outcome.OwnerDied) this.observer?.onOwnerDied?.(this, lock);
    this.observer?.onAcquired?.(this, lock, this.spins, access);
  }

  /** @internal */
  protected recursion(lock: number): SmpError {
    return new SmpError("SMP_LOCK_RECURSION", `CPU ${this.hal.currentCpu()} holds ${this.name}[${lock}] already`);
  }

  /** @internal */
  protected notOwned(lock: number): SmpError {
    return new SmpError("SMP_LOCK_NOT_OWNED", `CPU ${this.hal.currentCpu()} does not hold ${this.name}[${lock}]`);
  }
}
