import { SmpError } from "./errors.ts";
import type { CpuId, Hal } from "./hal.ts";
import { PADDING_BYTES } from "./layout.ts";
import { soloHal } from "./solo-hal.ts";

/*
 * A lock word holds 0 when free, else owner CPU + 1. Locks of one array are a padded line apart, so that two locks
 * never contend for a line.
 */
const STRIDE_WORDS = PADDING_BYTES / 4;

/**
 * What happens to locks. `lock` is the index inside its {@link SpinLocks}.
 *
 * @public
 */
export interface LockObserver {
  /** The calling CPU found `lock` held by `owner` and is about to spin; once for each time it does. */
  onContended?(locks: SpinLocks, lock: number, owner: CpuId): void;
  /** After `lock` was taken by the calling CPU; `spins` is 0 when it was free at once. */
  onAcquired?(locks: SpinLocks, lock: number, spins: number): void;
  /** Before `lock` becomes free. */
  onRelease?(locks: SpinLocks, lock: number): void;
}

/**
 * What joins {@link SpinLocks} from another thread.
 *
 * @public
 */
export interface SpinLocksHandle {
  readonly name: string;
  readonly count: number;
  readonly memory: SharedArrayBuffer;
}

/**
 * An array of spin locks: test-and-test-and-set with backoff through `hal.relax`
 * (Rudolph and Segall 1984; Anderson 1990). Not recursive: taking a lock twice on one CPU throws `SMP_LOCK_RECURSION`.
 *
 * Cost: one compare-exchange to lock, one store to unlock, no allocation.
 *
 * @public
 */
export class SpinLocks {
  readonly handle: SpinLocksHandle;
  readonly name: string;
  readonly count: number;
  readonly #hal: Hal;
  readonly #words: Int32Array;
  readonly #observer: LockObserver | undefined;
  readonly #guards: (Disposable | undefined)[] = [];

  private constructor(handle: SpinLocksHandle, hal: Hal, observer: LockObserver | undefined) {
    this.handle = handle;
    this.name = handle.name;
    this.count = handle.count;
    this.#hal = hal;
    this.#words = new Int32Array(handle.memory);
    this.#observer = observer;
  }

  static create(
    options: {
      readonly name?: string;
      readonly count?: number;
      readonly hal?: Hal;
      readonly observer?: LockObserver | undefined;
    } = {},
  ): SpinLocks {
    const { name = "lock", count = 1, hal = soloHal(), observer } = options;
    if (!Number.isInteger(count) || count < 1) {
      throw new SmpError("SMP_INVALID_ARGUMENT", `a lock array has ${count} locks; at least 1 is needed`);
    }
    return new SpinLocks({ name, count, memory: new SharedArrayBuffer(count * PADDING_BYTES) }, hal, observer);
  }

  static attach(
    handle: SpinLocksHandle,
    options: { readonly hal: Hal; readonly observer?: LockObserver | undefined },
  ): SpinLocks {
    return new SpinLocks(handle, options.hal, options.observer);
  }

  /** Take `lock`, spinning while another CPU holds it. */
  lock(lock = 0): void {
    if (this.#acquire(lock, Infinity)) return;
    throw new SmpError("SMP_LOCK_RECURSION", `CPU ${this.#hal.currentCpu()} holds ${this.name}[${lock}] already`);
  }

  /** Take `lock` if it is free. */
  tryLock(lock = 0): boolean {
    const taken = Atomics.compareExchange(this.#words, lock * STRIDE_WORDS, 0, this.#hal.currentCpu() + 1) === 0;
    if (taken) this.#observer?.onAcquired?.(this, lock, 0);
    return taken;
  }

  /**
   * Take `lock`, spinning at most `timeoutNs` while another CPU holds it. On a machine with more CPUs than cores the holder
   * may not be running: choose milliseconds rather than microseconds.
   *
   * @returns whether it was taken. A lock that the calling CPU holds already is not waited for, as in `tryLock`.
   */
  tryLockFor(timeoutNs: number, lock = 0): boolean {
    return this.#acquire(lock, this.#hal.now() + timeoutNs);
  }

  /** Free `lock`; throws `SMP_LOCK_NOT_OWNED` unless the calling CPU holds it. */
  unlock(lock = 0): void {
    const at = lock * STRIDE_WORDS;
    if (Atomics.load(this.#words, at) !== this.#hal.currentCpu() + 1) {
      throw new SmpError("SMP_LOCK_NOT_OWNED", `CPU ${this.#hal.currentCpu()} does not hold ${this.name}[${lock}]`);
    }
    this.#observer?.onRelease?.(this, lock);
    Atomics.store(this.#words, at, 0);
  }

  /**
   * Free every lock that `cpu` holds, after its thread has died. What they guard may be half changed: check it before use.
   *
   * @returns how many were freed.
   */
  releaseDeadOwner(cpu: CpuId): number {
    let freed = 0;
    for (let lock = 0; lock < this.count; lock++) {
      if (Atomics.compareExchange(this.#words, lock * STRIDE_WORDS, cpu + 1, 0) === cpu + 1) freed++;
    }
    return freed;
  }

  isLocked(lock = 0): boolean {
    return Atomics.load(this.#words, lock * STRIDE_WORDS) !== 0;
  }

  /** The CPU that holds `lock`, or -1. */
  owner(lock = 0): number {
    return Atomics.load(this.#words, lock * STRIDE_WORDS) - 1;
  }

  /** `using guard = locks.guard(i)`: the lock is free again at the end of the block. The guard is made once per lock. */
  guard(lock = 0): Disposable {
    this.lock(lock);
    return (this.#guards[lock] ??= { [Symbol.dispose]: () => this.unlock(lock) });
  }

  /** False: the calling CPU holds it already, or the time is over. */
  #acquire(lock: number, deadlineNs: number): boolean {
    const at = lock * STRIDE_WORDS;
    const mine = this.#hal.currentCpu() + 1;
    let spins = 0;
    for (;;) {
      const owner = Atomics.compareExchange(this.#words, at, 0, mine);
      if (owner === 0) break;
      if (owner === mine) return false;
      if (spins === 0) this.#observer?.onContended?.(this, lock, owner - 1);
      do {
        if (deadlineNs !== Infinity && this.#hal.now() >= deadlineNs) return false;
        this.#hal.relax(++spins);
      } while (Atomics.load(this.#words, at) !== 0);
    }
    this.#observer?.onAcquired?.(this, lock, spins);
    return true;
  }
}
