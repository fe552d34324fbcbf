import { waitAsyncOn } from "../block-on.ts";
import type { CpuId } from "../hal.ts";
import { ExclusiveLocks, Outcome } from "./exclusive-locks.ts";
import {
  deadlineOf,
  LockAccess,
  OWNER_DIED,
  OWNER_MASK,
  WAITERS,
  type LockHandle,
  type LockJoin,
  type LockKind,
  type LockOptions,
} from "./lock.ts";

/**
 * Options of sleeping locks.
 *
 * @public
 */
export interface SleepingLockOptions extends LockOptions {
  /** Turns to spin before a CPU sleeps, default 64: longer spinning hurts where there are more threads than cores. */
  readonly spinLimit?: number;
}

/** @public */
export interface SleepingLockJoin extends LockJoin {
  /** As in the options of `create`; each thread has its own. */
  readonly spinLimit?: number;
}

const DEFAULT_SPIN_LIMIT = 64;

/** Called when a lock was taken (`ownerDied` as `lock` returns it), or with false when the time was over. @public */
export type LockCallback = (taken: boolean, ownerDied: boolean) => void;

/*
 * The word of lock.ts, used as Drepper uses it ("Futexes are tricky", 2011, mutex 2): who is about to sleep sets WAITERS, who
 * unlocks clears it and wakes; who has slept sets it again with its own ownership, because others may still sleep.
 * Whoever has slept sets it before it gives up, so no wake-up is lost with it.
 */

/** Exclusive locks whose waiting CPUs sleep. @public */
export abstract class SleepingLocks<Kind extends LockKind = LockKind> extends ExclusiveLocks<Kind> {
  /** @internal */
  protected readonly spinLimit: number;
  readonly #stride: number;
  /** How many an unlock wakes. */
  readonly #wakes: number;

  /** @internal */
  protected constructor(handle: LockHandle<Kind>, join: SleepingLockJoin, strideWords: number, wakes: number) {
    super(handle, join);
    this.spinLimit = join.spinLimit ?? DEFAULT_SPIN_LIMIT;
    this.#stride = strideWords;
    this.#wakes = wakes;
  }

  override unlock(lock = 0): void {
    const mine = this.hal.currentCpu() + 1;
    const at = lock * this.#stride;
    if (this.observer === undefined && Atomics.compareExchange(this.words, at, mine, 0) === mine) return;
    super.unlock(lock);
  }

  owner(lock = 0): number {
    return (Atomics.load(this.words, lock * this.#stride) & OWNER_MASK) - 1;
  }

  ownerDied(lock = 0): boolean {
    return (Atomics.load(this.words, lock * this.#stride) & OWNER_DIED) !== 0;
  }

  markConsistent(lock = 0): void {
    if (this.owner(lock) !== this.hal.currentCpu()) throw this.notOwned(lock);
    Atomics.and(this.words, lock * this.#stride, ~OWNER_DIED);
  }

  /**
   * As `lock`, without blocking the thread: the promise settles when `lock` was taken. A lock that the calling CPU holds is waited
   * for: some other task of the thread will free it. Rejects with `SMP_CANNOT_BLOCK` where it would have to wait and the engine has
   * no `Atomics.waitAsync`.
   */
  lockAsync(lock = 0): Promise<boolean> {
    return new Promise((resolve) => this.lockThen((_taken, ownerDied) => resolve(ownerDied), lock));
  }

  /** As `tryLockFor`, without blocking the thread; see {@link SleepingLocks.lockAsync}. */
  tryLockForAsync(timeoutNs: number, lock = 0): Promise<boolean> {
    return new Promise((resolve) => this.lockThen((taken) => resolve(taken), lock, timeoutNs));
  }

  /** `using guard = await locks.guardAsync(i)`: {@link SleepingLocks.lockAsync}, and free again at the end of the block. */
  async guardAsync(lock = 0): Promise<Disposable> {
    await this.lockAsync(lock);
    return this.guardOf(lock);
  }

  /** {@link SleepingLocks.guardAsync} for at most `timeoutNs`: `undefined`, which `using` takes too, if it was not taken. */
  async tryGuardForAsync(timeoutNs: number, lock = 0): Promise<Disposable | undefined> {
    return (await this.tryLockForAsync(timeoutNs, lock)) ? this.guardOf(lock) : undefined;
  }

  /** What lies beneath the promises: `then` is called at once if `lock` is free, else later from the event loop. */
  lockThen(then: LockCallback, lock = 0, timeoutNs: number = Infinity): void {
    this.observer?.onRequest?.(this, lock, LockAccess.Exclusive);
    this.#takeThen(then, lock, deadlineOf(this.hal, timeoutNs), 0);
  }

  /** Frees what `cpu` holds, and wakes all who sleep: a wake-up may have died with it. */
  releaseDeadOwner(cpu: CpuId): number {
    let freed = 0;
    for (let lock = 0; lock < this.count; lock++) {
      const at = lock * this.#stride;
      if ((Atomics.load(this.words, at) & OWNER_MASK) === cpu + 1) {
        Atomics.store(this.words, at, OWNER_DIED);
        freed++;
      }
      this.hal.wake(this.words, at, Infinity);
    }
    return freed;
  }

  /** @internal */
  protected attempt(lock: number): Outcome {
    return this.takeWord(lock, 0);
  }

  /** Take the word if it has no owner; `mark`: WAITERS for one who has slept. @internal */
  protected takeWord(lock: number, mark: number): Outcome {
    const at = lock * this.#stride;
    const mine = this.hal.currentCpu() + 1;
    let word = Atomics.compareExchange(this.words, at, 0, mine | mark);
    if (word === 0) return Outcome.Taken;
    while ((word & OWNER_MASK) === 0) {
      const seen = Atomics.compareExchange(this.words, at, word, word | mine | mark);
      if (seen === word) return (word & OWNER_DIED) === 0 ? Outcome.Taken : Outcome.OwnerDied;
      word = seen;
    }
    return (word & OWNER_MASK) === mine ? Outcome.Recursive : Outcome.TimedOut;
  }

  /** @internal */
  protected acquire(lock: number, deadlineNs: number): Outcome {
    const at = lock * this.#stride;
    let mark = 0;
    for (;;) {
      const outcome = this.takeWord(lock, mark);
      if (outcome !== Outcome.TimedOut) return outcome;
      if (this.spins === 0) this.observer?.onContended?.(this, lock, this.owner(lock));
      this.spins++;
      if (this.spins <= this.spinLimit) {
        if (deadlineNs !== Infinity && this.hal.now() >= deadlineNs) return Outcome.TimedOut;
        this.hal.relax(this.spins);
        continue;
      }
      const word = this.announce(at);
      if (word === 0) continue;
      const leftNs = deadlineNs === Infinity ? Infinity : deadlineNs - this.hal.now();
      if (leftNs <= 0) return Outcome.TimedOut;
      this.hal.wait(this.words, at, word, leftNs);
      mark = WAITERS;
    }
  }

  /** @internal */
  protected release(lock: number): void {
    const at = lock * this.#stride;
    const mine = this.hal.currentCpu() + 1;
    let word = Atomics.compareExchange(this.words, at, mine, 0);
    if (word === mine) return;
    for (;;) {
      const seen = Atomics.compareExchange(this.words, at, word, word & OWNER_DIED);
      if (seen === word) break;
      word = seen;
    }
    if ((word & WAITERS) !== 0) this.hal.wake(this.words, at, this.#wakes);
  }

  /** Set WAITERS in an owned word; returns the word to sleep on, 0 if it is to be tried again. @internal */
  protected announce(at: number): number {
    const word = Atomics.load(this.words, at);
    if ((word & OWNER_MASK) === 0) return 0;
    if ((word & WAITERS) !== 0) return word;
    return Atomics.compareExchange(this.words, at, word, word | WAITERS) === word ? word | WAITERS : 0;
  }

  /** The word is the caller's: what else there is to wait for. @internal */
  protected settleThen(then: LockCallback, lock: number, _deadlineNs: number, outcome: Outcome): void {
    this.spins = 1;
    this.tellAcquired(lock, outcome, LockAccess.Exclusive);
    then(true, outcome === Outcome.OwnerDied);
  }

  /** @internal */
  protected gaveUpThen(then: LockCallback, lock: number, access: LockAccess): void {
    this.observer?.onGaveUp?.(this, lock, access);
    then(false, false);
  }

  #takeThen(then: LockCallback, lock: number, deadlineNs: number, mark: number): void {
    const at = lock * this.#stride;
    for (;;) {
      const outcome = this.takeWord(lock, mark);
      if (outcome <= Outcome.OwnerDied) {
        this.settleThen(then, lock, deadlineNs, outcome);
        return;
      }
      if (mark === 0) this.observer?.onContended?.(this, lock, this.owner(lock));
      mark = WAITERS;
      const word = this.announce(at);
      if (word === 0) continue;
      const leftNs = deadlineNs === Infinity ? Infinity : deadlineNs - this.hal.now();
      if (leftNs <= 0) {
        this.gaveUpThen(then, lock, LockAccess.Exclusive);
        return;
      }
      const woken = waitAsyncOn(this.words, at, word, leftNs);
      if (woken === undefined) continue;
      void woken.then(() => this.#takeThen(then, lock, deadlineNs, WAITERS));
      return;
    }
  }
}
