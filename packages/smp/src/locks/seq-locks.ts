import { SmpError } from "../errors.ts";
import type { CpuId } from "../hal.ts";
import { PADDING_BYTES } from "../layout.ts";
import { soloHal } from "../solo-hal.ts";
import { ExclusiveLocks, Outcome } from "./exclusive-locks.ts";
import {
  LockAccess,
  newLocks,
  OWNER_DIED,
  OWNER_MASK,
  type LockHandle,
  type LockJoin,
  type LockOptions,
} from "./lock.ts";

/*
 *   word 0  the writer (lock.ts)
 *   word 1  sequence, 31 bits: odd while the data is being changed; stored by the writer
 *
 * A writer that dies leaves the sequence odd if it had begun, and recovery leaves it so: readers must not see what is half
 * changed. The next writer begins with an odd sequence and ends it.
 */
const STRIDE_WORDS = PADDING_BYTES / 4;
const SEQUENCE = 1;
const SEQUENCE_MASK = 0x7fffffff;

/**
 * What joins {@link SeqLocks} from another thread.
 *
 * @public
 */
export type SeqLocksHandle = LockHandle<"seqlock">;

/**
 * An array of sequence locks: readers take nothing and write nothing, and read again when a writer came in between
 * (Lameter 2005; Boehm, "Can seqlocks get along with programming language memory models?", 2012). The exclusive side is
 * the writer's. For small data that is read much more often than written.
 *
 * Inside, both sides must access the data by `Atomics`, as {@link SeqLocks.read} and {@link SeqLocks.write} do: plain accesses
 * could move out of the section on machines with weak memory.
 *
 * @public
 */
export class SeqLocks extends ExclusiveLocks<"seqlock"> {
  static create(options: LockOptions = {}): SeqLocks {
    const { hal = soloHal(), observer } = options;
    return new SeqLocks(newLocks("seqlock", PADDING_BYTES, options), { hal, observer });
  }

  static attach(handle: SeqLocksHandle, options: LockJoin): SeqLocks {
    return new SeqLocks(handle, options);
  }

  // A plain read of the own word, as in SpinLocks.
  override unlock(lock = 0): void {
    if ((this.words[lock * STRIDE_WORDS] & OWNER_MASK) !== this.hal.currentCpu() + 1) throw this.notOwned(lock);
    if (this.observer !== undefined) this.observer.onRelease?.(this, lock, LockAccess.Exclusive);
    this.release(lock);
  }

  /**
   * The sequence to give to {@link SeqLocks.readRetry}, once nobody writes. Throws `SMP_LOCK_OWNER_DIED` if a writer died in the
   * middle: there is nothing to read until another has repaired it.
   */
  readBegin(lock = 0): number {
    for (let spins = 1; ; spins++) {
      const sequence = this.tryReadBegin(lock);
      if (sequence >= 0) return sequence;
      if (Atomics.load(this.words, lock * STRIDE_WORDS) === OWNER_DIED) {
        throw new SmpError("SMP_LOCK_OWNER_DIED", `the writer of ${this.name}[${lock}] died in the middle of writing`);
      }
      this.hal.relax(spins);
    }
  }

  /** {@link SeqLocks.readBegin} without waiting: -1 while somebody writes. */
  tryReadBegin(lock = 0): number {
    const sequence = Atomics.load(this.words, lock * STRIDE_WORDS + SEQUENCE);
    return (sequence & 1) === 0 ? sequence : -1;
  }

  /** Whether what was read since `readBegin` gave `sequence` may be mixed up and must be read again. */
  readRetry(sequence: number, lock = 0): boolean {
    return Atomics.load(this.words, lock * STRIDE_WORDS + SEQUENCE) !== sequence;
  }

  /** Copy `into.length` words of `from`, from `offset` on, as they were at one moment. */
  read(into: Int32Array, from: Int32Array, offset = 0, lock = 0): void {
    let sequence: number;
    do {
      sequence = this.readBegin(lock);
      for (let i = 0; i < into.length; i++) into[i] = Atomics.load(from, offset + i);
    } while (this.readRetry(sequence, lock));
  }

  /** As the writer that holds `lock`: copy `values` to `to`, from `offset` on. */
  write(values: Int32Array, to: Int32Array, offset = 0): void {
    for (let i = 0; i < values.length; i++) Atomics.store(to, offset + i, values[i]);
  }

  owner(lock = 0): number {
    return (Atomics.load(this.words, lock * STRIDE_WORDS) & OWNER_MASK) - 1;
  }

  ownerDied(lock = 0): boolean {
    return (Atomics.load(this.words, lock * STRIDE_WORDS) & OWNER_DIED) !== 0;
  }

  markConsistent(lock = 0): void {
    if (this.owner(lock) !== this.hal.currentCpu()) throw this.notOwned(lock);
    Atomics.and(this.words, lock * STRIDE_WORDS, ~OWNER_DIED);
  }

  /** Frees every lock that `cpu` writes; the next writer is told if the data may be half changed. */
  releaseDeadOwner(cpu: CpuId): number {
    let freed = 0;
    for (let lock = 0; lock < this.count; lock++) {
      const at = lock * STRIDE_WORDS;
      const word = Atomics.load(this.words, at);
      if ((word & OWNER_MASK) !== cpu + 1) continue;
      const begun = (Atomics.load(this.words, at + SEQUENCE) & 1) !== 0;
      Atomics.store(this.words, at, begun ? OWNER_DIED : word & OWNER_DIED);
      freed++;
    }
    return freed;
  }

  /** @internal */
  protected attempt(lock: number): Outcome {
    const at = lock * STRIDE_WORDS;
    const mine = this.hal.currentCpu() + 1;
    const word = Atomics.compareExchange(this.words, at, 0, mine);
    if ((word & OWNER_MASK) === mine) return Outcome.Recursive;
    if ((word & OWNER_MASK) !== 0) return Outcome.TimedOut;
    // What is left is the flag of a death, which stays.
    if (word !== 0 && Atomics.compareExchange(this.words, at, word, word | mine) !== word) return Outcome.TimedOut;
    Atomics.store(this.words, at + SEQUENCE, this.words[at + SEQUENCE] | 1);
    return word === 0 ? Outcome.Taken : Outcome.OwnerDied;
  }

  /** @internal */
  protected acquire(lock: number, deadlineNs: number): Outcome {
    for (;;) {
      const outcome = this.attempt(lock);
      if (outcome !== Outcome.TimedOut) return outcome;
      if (this.spins === 0) this.observer?.onContended?.(this, lock, this.owner(lock));
      if (deadlineNs !== Infinity && this.hal.now() >= deadlineNs) return Outcome.TimedOut;
      this.hal.relax(++this.spins);
    }
  }

  /** @internal */
  protected release(lock: number): void {
    const at = lock * STRIDE_WORDS;
    Atomics.store(this.words, at + SEQUENCE, ((this.words[at + SEQUENCE] | 1) + 1) & SEQUENCE_MASK);
    Atomics.store(this.words, at, this.words[at] & OWNER_DIED);
  }
}
