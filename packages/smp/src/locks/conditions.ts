import { waitAsyncOn } from "../block-on.ts";
import type { CpuId, Hal } from "../hal.ts";
import { PADDING_BYTES } from "../layout.ts";
import { soloHal } from "../solo-hal.ts";
import { deadlineOf, newLocks, type LockHandle } from "./lock.ts";
import type { SleepingLocks } from "./sleeping-locks.ts";

/*
 * One word a condition: it counts signals. Who waits reads it while it still holds the mutex, so a signal after the unlock
 * has changed it.
 */
const STRIDE_WORDS = PADDING_BYTES / 4;

/**
 * What joins {@link Conditions} from another thread.
 *
 * @public
 */
export type ConditionsHandle = LockHandle<"condition">;

/**
 * An array of condition variables, to be used with {@link Mutexes} or the exclusive side of {@link RwLocks}. As in POSIX, a wait may
 * end without a signal: wait in a loop that tests what is waited for. A signal without a waiter is lost.
 *
 * They have no owner and tell no observer; the mutex does.
 *
 * @public
 */
export class Conditions {
  readonly handle: ConditionsHandle;
  readonly kind = "condition";
  readonly name: string;
  readonly count: number;
  readonly #hal: Hal;
  readonly #words: Int32Array;

  private constructor(handle: ConditionsHandle, hal: Hal) {
    this.handle = handle;
    this.name = handle.name;
    this.count = handle.count;
    this.#hal = hal;
    this.#words = new Int32Array(handle.memory);
  }

  static create(options: { readonly name?: string; readonly count?: number; readonly hal?: Hal } = {}): Conditions {
    return new Conditions(newLocks("condition", PADDING_BYTES, options), options.hal ?? soloHal());
  }

  static attach(handle: ConditionsHandle, options: { readonly hal: Hal }): Conditions {
    return new Conditions(handle, options.hal);
  }

  /**
   * Free `mutexes[lock]`, sleep until signalled, take it again. Returns what taking it returns: whether an owner died.
   * Throws `SMP_LOCK_NOT_OWNED` unless the calling CPU holds it.
   */
  wait(mutexes: SleepingLocks, lock = 0, condition = 0): boolean {
    this.#sleep(mutexes, lock, condition, Infinity);
    return mutexes.lock(lock);
  }

  /** {@link Conditions.wait} for at most `timeoutNs`, the taking of the mutex not counted. Returns whether it was woken before. */
  waitFor(timeoutNs: number, mutexes: SleepingLocks, lock = 0, condition = 0): boolean {
    const woken = this.#sleep(mutexes, lock, condition, timeoutNs);
    mutexes.lock(lock);
    return woken;
  }

  /** {@link Conditions.wait} without blocking the thread. */
  waitAsync(mutexes: SleepingLocks, lock = 0, condition = 0): Promise<boolean> {
    return new Promise((resolve) => this.waitThen((_woken, ownerDied) => resolve(ownerDied), mutexes, lock, condition));
  }

  /** {@link Conditions.waitFor} without blocking the thread. */
  waitForAsync(timeoutNs: number, mutexes: SleepingLocks, lock = 0, condition = 0): Promise<boolean> {
    return new Promise((resolve) => this.waitThen((woken) => resolve(woken), mutexes, lock, condition, timeoutNs));
  }

  /** What lies beneath the promises: `then` is called when the mutex has been taken again. */
  waitThen(
    then: (woken: boolean, ownerDied: boolean) => void,
    mutexes: SleepingLocks,
    lock = 0,
    condition = 0,
    timeoutNs: number = Infinity,
  ): void {
    const at = condition * STRIDE_WORDS;
    const seen = Atomics.load(this.#words, at);
    const deadlineNs = deadlineOf(this.#hal, timeoutNs);
    mutexes.unlock(lock);
    const leftNs = deadlineNs === Infinity ? Infinity : Math.max(0, deadlineNs - this.#hal.now());
    const again = (woken: boolean): void => mutexes.lockThen((_taken, ownerDied) => then(woken, ownerDied), lock);
    const sleeping = waitAsyncOn(this.#words, at, seen, leftNs);
    if (sleeping === undefined) again(Atomics.load(this.#words, at) !== seen);
    else void sleeping.then((result) => again(result !== "timed-out"));
  }

  /** Wake one CPU that waits, if any. */
  signal(condition = 0): void {
    this.#wake(condition, 1);
  }

  /** Wake all that wait. */
  broadcast(condition = 0): void {
    this.#wake(condition, Infinity);
  }

  /** Wakes all who wait: a signal may have died with its receiver. Returns 0: nobody owns a condition. */
  releaseDeadOwner(_cpu: CpuId): number {
    for (let condition = 0; condition < this.count; condition++) this.broadcast(condition);
    return 0;
  }

  #sleep(mutexes: SleepingLocks, lock: number, condition: number, timeoutNs: number): boolean {
    const at = condition * STRIDE_WORDS;
    const seen = Atomics.load(this.#words, at);
    mutexes.unlock(lock);
    return this.#hal.wait(this.#words, at, seen, timeoutNs) !== "timed-out";
  }

  #wake(condition: number, count: number): void {
    const at = condition * STRIDE_WORDS;
    Atomics.add(this.#words, at, 1);
    this.#hal.wake(this.#words, at, count);
  }
}
