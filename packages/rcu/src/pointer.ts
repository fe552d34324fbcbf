import type { RcuFreeTarget } from "./callback-ring.ts";
import type { Rcu } from "./rcu.ts";

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
 * One word of shared memory that holds an offset, 0 for none, which readers follow and writers replace.
 *
 * Thread-safety: any number of writers; each replaced offset is returned to exactly one of them. An object belongs to its thread.
 *
 * @public
 */
export class RcuPointer {
  readonly #words: Int32Array;
  readonly #index: number;
  /** See read-interval.ts. */
  readonly #interval: { readonly current: number } | undefined;
  /** What was fetched by Atomics in the interval `#fetchedIn`. */
  #fetched = 0;
  #fetchedIn = -1;

  /**
   * The word `index` of `words`, which may lie in any shared memory, inside an object for example. With `rcu`, the one that the
   * calling thread reads under, most loads do without Atomics, which makes them several times as fast.
   */
  constructor(words: Int32Array, index: number, rcu?: Rcu) {
    this.#words = words;
    this.#index = index;
    this.#interval = rcu?.interval;
  }

  /**
   * The offset to read from; inside a read section. Cost: one `Atomics.load`; with `rcu` a plain load, and `Atomics.load` only when
   * another offset was published, and for the first load after a quiescent state that a grace period waited for, or in a section.
   */
  load(): number {
    const offset = this.#words[this.#index];
    const interval = this.#interval;
    return interval !== undefined && offset === this.#fetched && interval.current === this.#fetchedIn
      ? offset
      : this.#fetch();
  }

  /** Publish `next`; returns what was published before, which may be freed after a grace period. */
  exchange(next: number): number {
    return Atomics.exchange(this.#words, this.#index, next);
  }

  /** Publish `next` if `expected` is still published: for changed copies, so that no other writer's change is lost. */
  compareExchange(expected: number, next: number): boolean {
    return Atomics.compareExchange(this.#words, this.#index, expected, next) === expected;
  }

  /** Publish `next` and give what was published before to `target` after a grace period. Throws as {@link Rcu.free}, having published. */
  replace(next: number, rcu: Rcu, target: RcuFreeTarget): void {
    const before = this.exchange(next);
    if (before !== 0) rcu.free(target, before);
  }

  #fetch(): number {
    if (this.#interval !== undefined) this.#fetchedIn = this.#interval.current;
    return (this.#fetched = Atomics.load(this.#words, this.#index));
  }
}
