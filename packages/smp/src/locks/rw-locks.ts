import { waitAsyncOn } from "../block-on.ts";
import type { CpuId } from "../hal.ts";
import { PADDING_BYTES } from "../layout.ts";
import { soloHal } from "../solo-hal.ts";
import { Outcome } from "./exclusive-locks.ts";
import { assertRoom, deadlineOf, LockAccess, newLocks, OWNER_DIED, OWNER_MASK, type LockHandle } from "./lock.ts";
import { SleepingLocks, type LockCallback, type SleepingLockJoin, type SleepingLockOptions } from "./sleeping-locks.ts";

/*
 * A line for the writer, a line for leaving readers, a line for each CPU:
 *
 *   line 0      the writer's word (lock.ts); readers who must wait sleep on it
 *   line 1      DRAIN: changed by every reader that leaves while there is a writer, who sleeps on it
 *   line 2+cpu  how often this CPU reads; its CPU alone writes it
 *
 * A reader stores its count and then looks at the writer's word; a writer takes its word and then looks at the counts. One of
 * the two sees the other, and the reader gives way. So readers never write a common line, a waiting writer keeps new readers
 * out, and what a dead reader held is known.
 */
const WORDS_PER_LINE = PADDING_BYTES / 4;
const DRAIN = WORDS_PER_LINE;
const READERS: number = 2 * WORDS_PER_LINE;

/**
 * What joins {@link RwLocks} from another thread.
 *
 * @public
 */
export type RwLocksHandle = LockHandle<"rwlock">;

/**
 * An array of reader-writer locks, fair to writers: a writer that waits keeps new readers out. A CPU that reads already may read
 * again without waiting. The exclusive side is `lock`, `tryLock`, `unlock` and so on; readers have `lockShared` and `unlockShared`.
 * Waiting CPUs spin a little and then sleep. There is no way from reader to writer; `downgrade` is the way back.
 *
 * Readers of different CPUs share no line that they write (Hsieh and Weihl 1992, and the Linux kernel's brlock). Cost: three
 * atomic stores or loads to read; a look at every CPU's line to write. Memory: a padded line per CPU and lock.
 *
 * @public
 */
export class RwLocks extends SleepingLocks<"rwlock"> {
  readonly #stride: number;
  readonly #sharedGuards: (Disposable | undefined)[] = [];

  static create(options: SleepingLockOptions = {}): RwLocks {
    const { hal = soloHal() } = options;
    const handle = newLocks("rwlock", (2 + hal.possibleCpus) * PADDING_BYTES, options);
    return new RwLocks(handle, { ...options, hal });
  }

  static attach(handle: RwLocksHandle, options: SleepingLockJoin): RwLocks {
    return new RwLocks(handle, options);
  }

  private constructor(handle: RwLocksHandle, join: SleepingLockJoin) {
    const stride = (2 + handle.possibleCpus) * WORDS_PER_LINE;
    super(handle, join, stride, Infinity);
    assertRoom(handle, join.hal);
    this.#stride = stride;
  }

  /** Begin to read, waiting while a writer has or wants `lock`. Returns what {@link ExclusiveLocks.lock} does. */
  lockShared(lock = 0): boolean {
    const outcome = this.#requestShared(lock, Infinity);
    if (outcome === Outcome.Recursive) throw this.recursion(lock);
    return outcome === Outcome.OwnerDied;
  }

  tryLockShared(lock = 0): boolean {
    this.spins = 0;
    const outcome = this.#enter(lock);
    if (outcome > Outcome.OwnerDied) return false;
    this.tellAcquired(lock, outcome, LockAccess.Shared);
    return true;
  }

  /** As {@link ExclusiveLocks.tryLockFor}, to read. */
  tryLockSharedFor(timeoutNs: number, lock = 0): boolean {
    return this.#requestShared(lock, deadlineOf(this.hal, timeoutNs)) <= Outcome.OwnerDied;
  }

  lockSharedAsync(lock = 0): Promise<boolean> {
    return new Promise((resolve) => this.lockSharedThen((_taken, ownerDied) => resolve(ownerDied), lock));
  }

  tryLockSharedForAsync(timeoutNs: number, lock = 0): Promise<boolean> {
    return new Promise((resolve) => this.lockSharedThen((taken) => resolve(taken), lock, timeoutNs));
  }

  /** {@link SleepingLocks.lockThen}, to read. */
  lockSharedThen(then: LockCallback, lock = 0, timeoutNs: number = Infinity): void {
    this.observer?.onRequest?.(this, lock, LockAccess.Shared);
    this.#enterThen(then, lock, deadlineOf(this.hal, timeoutNs), true);
  }

  /** End reading; throws `SMP_LOCK_NOT_OWNED` if the calling CPU does not read. */
  unlockShared(lock = 0): void {
    if (this.words[this.#own(lock)] === 0) throw this.notOwned(lock);
    this.observer?.onRelease?.(this, lock, LockAccess.Shared);
    this.#leave(lock);
  }

  /** `using guard = locks.sharedGuard(i)`, and with the other forms below as without `shared`. */
  sharedGuard(lock = 0): Disposable {
    this.lockShared(lock);
    return this.#sharedGuardOf(lock);
  }

  trySharedGuard(lock = 0): Disposable | undefined {
    return this.tryLockShared(lock) ? this.#sharedGuardOf(lock) : undefined;
  }

  trySharedGuardFor(timeoutNs: number, lock = 0): Disposable | undefined {
    return this.tryLockSharedFor(timeoutNs, lock) ? this.#sharedGuardOf(lock) : undefined;
  }

  async sharedGuardAsync(lock = 0): Promise<Disposable> {
    await this.lockSharedAsync(lock);
    return this.#sharedGuardOf(lock);
  }

  async trySharedGuardForAsync(timeoutNs: number, lock = 0): Promise<Disposable | undefined> {
    return (await this.tryLockSharedForAsync(timeoutNs, lock)) ? this.#sharedGuardOf(lock) : undefined;
  }

  /** The calling CPU writes; let it go on as a reader, with no other writer in between. */
  downgrade(lock = 0): void {
    if (this.owner(lock) !== this.hal.currentCpu()) throw this.notOwned(lock);
    this.observer?.onRelease?.(this, lock, LockAccess.Exclusive);
    Atomics.store(this.words, this.#own(lock), 1);
    this.release(lock);
    this.spins = 0;
    this.tellAcquired(lock, Outcome.Taken, LockAccess.Shared);
  }

  /** How many read sections are open, of all CPUs. */
  readers(lock = 0): number {
    const first = lock * this.#stride + READERS;
    let sum = 0;
    for (let cpu = 0; cpu < this.handle.possibleCpus; cpu++)
      sum += Atomics.load(this.words, first + cpu * WORDS_PER_LINE);
    return sum;
  }

  /** {@inheritDoc SleepingLocks.releaseDeadOwner} A dead reader leaves nothing half changed. */
  override releaseDeadOwner(cpu: CpuId): number {
    let freed = 0;
    for (let lock = 0; lock < this.count; lock++) {
      const base = lock * this.#stride;
      if (Atomics.exchange(this.words, base + READERS + cpu * WORDS_PER_LINE, 0) !== 0) freed++;
      this.#drained(base);
    }
    return freed + super.releaseDeadOwner(cpu);
  }

  /** @internal */
  protected override attempt(lock: number): Outcome {
    const outcome = this.takeWord(lock, 0);
    if (outcome > Outcome.OwnerDied || !this.#anyReader(lock)) return outcome;
    this.release(lock);
    return Outcome.TimedOut;
  }

  /** @internal */
  protected override acquire(lock: number, deadlineNs: number): Outcome {
    if (this.words[this.#own(lock)] !== 0) return Outcome.Recursive;
    const outcome = super.acquire(lock, deadlineNs);
    if (outcome > Outcome.OwnerDied || this.#drain(lock, deadlineNs)) return outcome;
    this.release(lock);
    return Outcome.TimedOut;
  }

  /** @internal */
  protected override settleThen(then: LockCallback, lock: number, deadlineNs: number, outcome: Outcome): void {
    const at = lock * this.#stride + DRAIN;
    for (;;) {
      const seen = Atomics.load(this.words, at);
      if (!this.#anyReader(lock)) break;
      const leftNs = deadlineNs === Infinity ? Infinity : deadlineNs - this.hal.now();
      if (leftNs <= 0) {
        this.release(lock);
        this.gaveUpThen(then, lock, LockAccess.Exclusive);
        return;
      }
      const woken = waitAsyncOn(this.words, at, seen, leftNs);
      if (woken === undefined) continue;
      void woken.then(() => this.settleThen(then, lock, deadlineNs, outcome));
      return;
    }
    super.settleThen(then, lock, deadlineNs, outcome);
  }

  #sharedGuardOf(lock: number): Disposable {
    return (this.#sharedGuards[lock] ??= this.#newSharedGuard(lock));
  }

  // By itself, as in ExclusiveLocks.
  #newSharedGuard(lock: number): Disposable {
    return { [Symbol.dispose]: () => this.unlockShared(lock) };
  }

  #own(lock: number): number {
    return lock * this.#stride + READERS + this.hal.currentCpu() * WORDS_PER_LINE;
  }

  #requestShared(lock: number, deadlineNs: number): Outcome {
    this.spins = 0;
    this.observer?.onRequest?.(this, lock, LockAccess.Shared);
    let outcome = this.#enter(lock);
    if (outcome === Outcome.TimedOut) outcome = this.#waitForWriter(lock, deadlineNs);
    if (this.observer === undefined) return outcome;
    if (outcome <= Outcome.OwnerDied) this.tellAcquired(lock, outcome, LockAccess.Shared);
    else this.observer.onGaveUp?.(this, lock, LockAccess.Shared);
    return outcome;
  }

  /** Count the calling CPU in, unless there is a writer. */
  #enter(lock: number): Outcome {
    const own = this.#own(lock);
    const nested = this.words[own];
    Atomics.store(this.words, own, nested + 1);
    const word = Atomics.load(this.words, lock * this.#stride);
    if ((word & OWNER_MASK) === 0 || nested > 0) return (word & OWNER_DIED) === 0 ? Outcome.Taken : Outcome.OwnerDied;
    this.#leave(lock);
    return (word & OWNER_MASK) === this.hal.currentCpu() + 1 ? Outcome.Recursive : Outcome.TimedOut;
  }

  #leave(lock: number): void {
    const own = this.#own(lock);
    const base = lock * this.#stride;
    const left = this.words[own] - 1;
    Atomics.store(this.words, own, left);
    if (left === 0 && (Atomics.load(this.words, base) & OWNER_MASK) !== 0) this.#drained(base);
  }

  #drained(base: number): void {
    Atomics.add(this.words, base + DRAIN, 1);
    this.hal.wake(this.words, base + DRAIN, Infinity);
  }

  #waitForWriter(lock: number, deadlineNs: number): Outcome {
    const at = lock * this.#stride;
    this.observer?.onContended?.(this, lock, this.owner(lock));
    for (;;) {
      this.spins++;
      if (this.spins <= this.spinLimit) {
        if (deadlineNs !== Infinity && this.hal.now() >= deadlineNs) return Outcome.TimedOut;
        this.hal.relax(this.spins);
      } else {
        const word = this.announce(at);
        const leftNs = deadlineNs === Infinity ? Infinity : deadlineNs - this.hal.now();
        if (word !== 0 && leftNs <= 0) return Outcome.TimedOut;
        if (word !== 0) this.hal.wait(this.words, at, word, leftNs);
      }
      // A look before the count: a reader in doubt would disturb the writer's wait for others.
      if ((Atomics.load(this.words, at) & OWNER_MASK) !== 0) continue;
      const outcome = this.#enter(lock);
      if (outcome !== Outcome.TimedOut) return outcome;
    }
  }

  #enterThen(then: LockCallback, lock: number, deadlineNs: number, first: boolean): void {
    const at = lock * this.#stride;
    for (;;) {
      const outcome = this.#enter(lock);
      if (outcome <= Outcome.OwnerDied) {
        this.spins = first ? 0 : 1;
        this.tellAcquired(lock, outcome, LockAccess.Shared);
        then(true, outcome === Outcome.OwnerDied);
        return;
      }
      if (first) this.observer?.onContended?.(this, lock, this.owner(lock));
      first = false;
      const word = this.announce(at);
      if (word === 0) continue;
      const leftNs = deadlineNs === Infinity ? Infinity : deadlineNs - this.hal.now();
      if (leftNs <= 0) {
        this.gaveUpThen(then, lock, LockAccess.Shared);
        return;
      }
      const woken = waitAsyncOn(this.words, at, word, leftNs);
      if (woken === undefined) continue;
      void woken.then(() => this.#enterThen(then, lock, deadlineNs, false));
      return;
    }
  }

  #anyReader(lock: number): boolean {
    const first = lock * this.#stride + READERS;
    const end = first + this.handle.possibleCpus * WORDS_PER_LINE;
    for (let at = first; at < end; at += WORDS_PER_LINE) if (Atomics.load(this.words, at) !== 0) return true;
    return false;
  }

  /** Wait until the readers that came before are gone; new ones give way. */
  #drain(lock: number, deadlineNs: number): boolean {
    const at = lock * this.#stride + DRAIN;
    if (!this.#anyReader(lock)) return true;
    for (;;) {
      const seen = Atomics.load(this.words, at);
      if (!this.#anyReader(lock)) return true;
      if (this.spins === 0) this.observer?.onContended?.(this, lock, -1);
      this.spins++;
      const leftNs = deadlineNs === Infinity ? Infinity : deadlineNs - this.hal.now();
      if (leftNs <= 0) return false;
      if (this.spins <= this.spinLimit) this.hal.relax(this.spins);
      else this.hal.wait(this.words, at, seen, leftNs);
    }
  }
}
