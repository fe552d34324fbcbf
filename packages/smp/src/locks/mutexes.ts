import { PADDING_BYTES } from "../layout.ts";
import { soloHal } from "../solo-hal.ts";
import { newLocks, type LockHandle } from "./lock.ts";
import { SleepingLocks, type SleepingLockJoin, type SleepingLockOptions } from "./sleeping-locks.ts";

/**
 * What joins {@link Mutexes} from another thread.
 *
 * @public
 */
export type MutexesHandle = LockHandle<"mutex">;

const STRIDE_WORDS = PADDING_BYTES / 4;

/**
 * An array of mutexes: a waiting CPU spins a little and then sleeps. For sections that are long, or may themselves wait, and where
 * there are more threads than cores. Not fair: who comes while the woken one is on its way may be first.
 *
 * Cost: two compare-exchanges; one notification to unlock if somebody sleeps.
 *
 * @public
 */
export class Mutexes extends SleepingLocks<"mutex"> {
  static create(options: SleepingLockOptions = {}): Mutexes {
    return new Mutexes(newLocks("mutex", PADDING_BYTES, options), { ...options, hal: options.hal ?? soloHal() });
  }

  static attach(handle: MutexesHandle, options: SleepingLockJoin): Mutexes {
    return new Mutexes(handle, options);
  }

  private constructor(handle: MutexesHandle, join: SleepingLockJoin) {
    super(handle, join, STRIDE_WORDS, 1);
  }

  override lock(lock = 0): boolean {
    const mine = this.hal.currentCpu() + 1;
    const at = lock * STRIDE_WORDS;
    if (this.observer === undefined && Atomics.compareExchange(this.words, at, 0, mine) === 0) return false;
    return super.lock(lock);
  }
}
