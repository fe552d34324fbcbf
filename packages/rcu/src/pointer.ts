import type { RcuFreeTarget } from "./callback-ring.ts";
import type { Rcu } from "./rcu.ts";
import { newFetchedWords } from "./read-interval.ts";

/** Of pointers without an `rcu`, which keep nothing. */
const NEVER_FETCHED = newFetchedWords(1);

/**
 * Publish: what was written before is visible to whoever finds `value` by {@link rcuDereference}.
 *
 * @public
 */
export function rcuAssign(words: Int32Array, index: number, value: number): void {
  Atomics.store(words, index, value);
}

/**
 * Fetch a published offset. A plain load would carry no ordering in JavaScript's memory model; this one does.
 *
 * @public
 */
export function rcuDereference(words: Int32Array, index: number): number {
  return Atomics.load(words, index);
}

/**
 * One word of shared memory that holds an offset, 0 for none (and never −2^31), which readers follow and writers replace.
 *
 * Thread-safety: any number of writers; each replaced offset is returned to exactly one of them. An object belongs to its thread.
 *
 * @public
 */
export class RcuPointer {
  /*
   * Declared, not private names: those come into being as undefined and are then written once more, which hides from the engine that
   * they never change. As it is, a load through a pointer that is itself a constant is a load from a constant address and a comparison.
   */
  declare private readonly words: Int32Array;
  declare private readonly index: number;
  declare private readonly interval: Rcu["interval"] | undefined;
  /** What was fetched by Atomics in this interval, in the word `slot`; see read-interval.ts. */
  declare private readonly fetched: Int32Array;
  declare private readonly slot: number;

  /**
   * The word `index` of `words`, which may lie in any shared memory, inside an object for example. With `rcu`, the one that the
   * calling thread reads under, most loads do without Atomics, which makes them several times as fast.
   */
  constructor(words: Int32Array, index: number, rcu?: Rcu) {
    const interval = rcu?.interval;
    this.words = words;
    this.index = index;
    this.interval = interval;
    this.slot = interval === undefined ? 0 : interval.claim();
    this.fetched = interval === undefined ? NEVER_FETCHED : interval.fetched;
  }

  /**
   * The offset to read from; inside a read section. Cost: one `Atomics.load`; with `rcu` a plain load and a comparison, and
   * `Atomics.load` only when another offset was published, and for the first load after a grace period has begun.
   */
  load(): number {
    const offset = this.words[this.index];
    // An integer either way, so that compiled code need not make an object of it first.
    return offset === this.fetched[this.slot] ? offset : this.fetch() | 0;
  }

  /** Publish `next`; returns what was published before, which may be freed after a grace period. */
  exchange(next: number): number {
    return Atomics.exchange(this.words, this.index, next);
  }

  /** Publish `next` if `expected` is still published: for changed copies, so that no other writer's change is lost. */
  compareExchange(expected: number, next: number): boolean {
    return Atomics.compareExchange(this.words, this.index, expected, next) === expected;
  }

  /** Publish `next` and give what was published before to `target` after a grace period. Throws as {@link Rcu.free}, having published. */
  replace(next: number, rcu: Rcu, target: RcuFreeTarget): void {
    const before = this.exchange(next);
    if (before !== 0) rcu.free(target, before);
  }

  private fetch(): number {
    const offset = Atomics.load(this.words, this.index);
    this.interval?.keep(this.fetched, this.slot, offset);
    return offset;
  }
}
