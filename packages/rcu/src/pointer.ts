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
 * Thread-safety: any number of writers; each replaced offset is returned to exactly one of them.
 *
 * @public
 */
export class RcuPointer {
  readonly #words: Int32Array;
  readonly #index: number;

  /** The word `index` of `words`, which may lie in any shared memory, inside an object for example. */
  constructor(words: Int32Array, index: number) {
    this.#words = words;
    this.#index = index;
  }

  /** The offset to read from; inside a read section. */
  load(): number {
    return Atomics.load(this.#words, this.#index);
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
}
