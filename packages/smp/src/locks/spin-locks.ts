import type { CpuId } from "../hal.ts";
import { PADDING_BYTES } from "../layout.ts";
import { soloHal } from "../solo-hal.ts";
import { ExclusiveLocks, Outcome } from "./exclusive-locks.ts";
import { newLocks, OWNER_DIED, OWNER_MASK, type LockHandle, type LockJoin, type LockOptions } from "./lock.ts";

/*
 * One owner word (lock.ts) a lock, a padded line apart, so that two locks never contend for a line.
 *
 * Why `unlock` may read the word plainly: `owner CPU + 1` is written by that CPU alone, and it overwrites it itself when it
 * unlocks. So a CPU that holds the lock reads its own last store, and one that does not cannot read itself: its last own
 * value has been overwritten before, in its own order.
 */
/** A lock's word is at `lock << LINE_SHIFT`; shifting a variable by a literal is what engines do fastest. */
const LINE_SHIFT = 5;
if (4 << LINE_SHIFT !== PADDING_BYTES) throw new Error("LINE_SHIFT does not fit PADDING_BYTES");

/**
 * What joins {@link SpinLocks} from another thread.
 *
 * @public
 */
export type SpinLocksHandle = LockHandle<"spin">;

/**
 * An array of spin locks: test-and-test-and-set with backoff through `hal.relax`
 * (Rudolph and Segall 1984; Anderson 1990). The cheapest lock where there is no contention, and unfair where there is.
 *
 * Cost: one compare-exchange to lock, one store to unlock, no allocation.
 *
 * @public
 */
export class SpinLocks extends ExclusiveLocks<"spin"> {
  static create(options: LockOptions = {}): SpinLocks {
    const { hal = soloHal(), observer } = options;
    return new SpinLocks(newLocks("spin", PADDING_BYTES, options), { hal, observer });
  }

  static attach(handle: SpinLocksHandle, options: LockJoin): SpinLocks {
    return new SpinLocks(handle, options);
  }

  override lock(lock = 0): boolean {
    const mine = this.hal.currentCpu() + 1;
    if (this.observer === undefined && Atomics.compareExchange(this.words, lock << LINE_SHIFT, 0, mine) === 0)
      return false;
    return super.lock(lock);
  }

  override unlock(lock = 0): void {
    const { words } = this;
    const at = lock << LINE_SHIFT;
    if (this.observer === undefined && words[at] === this.hal.currentCpu() + 1) Atomics.store(words, at, 0);
    else super.unlock(lock);
  }

  owner(lock = 0): number {
    return (Atomics.load(this.words, lock << LINE_SHIFT) & OWNER_MASK) - 1;
  }

  ownerDied(lock = 0): boolean {
    return (Atomics.load(this.words, lock << LINE_SHIFT) & OWNER_DIED) !== 0;
  }

  markConsistent(lock = 0): void {
    const mine = this.hal.currentCpu() + 1;
    if (this.owner(lock) + 1 !== mine) throw this.notOwned(lock);
    Atomics.store(this.words, lock << LINE_SHIFT, mine);
  }

  /** Frees every lock that `cpu` holds; the next owner is told. */
  releaseDeadOwner(cpu: CpuId): number {
    let freed = 0;
    for (let lock = 0; lock < this.count; lock++) {
      const at = lock << LINE_SHIFT;
      if ((Atomics.load(this.words, at) & OWNER_MASK) !== cpu + 1) continue;
      Atomics.store(this.words, at, OWNER_DIED);
      freed++;
    }
    return freed;
  }

  /** @internal */
  protected attempt(lock: number): Outcome {
    const at = lock << LINE_SHIFT;
    const mine = this.hal.currentCpu() + 1;
    const word = Atomics.compareExchange(this.words, at, 0, mine);
    if (word === 0) return Outcome.Taken;
    if (word === OWNER_DIED && Atomics.compareExchange(this.words, at, word, word | mine) === word)
      return Outcome.OwnerDied;
    return (word & OWNER_MASK) === mine ? Outcome.Recursive : Outcome.TimedOut;
  }

  /** @internal */
  protected acquire(lock: number, deadlineNs: number): Outcome {
    const at = lock << LINE_SHIFT;
    for (;;) {
      const outcome = this.attempt(lock);
      if (outcome !== Outcome.TimedOut) return outcome;
      if (this.spins === 0) this.observer?.onContended?.(this, lock, this.owner(lock));
      do {
        if (deadlineNs !== Infinity && this.hal.now() >= deadlineNs) return Outcome.TimedOut;
        this.hal.relax(++this.spins);
      } while ((Atomics.load(this.words, at) & OWNER_MASK) !== 0);
    }
  }

  /** @internal */
  protected release(lock: number): void {
    const at = lock << LINE_SHIFT;
    Atomics.store(this.words, at, this.words[at] & OWNER_DIED);
  }
}
