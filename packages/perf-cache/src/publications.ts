import { CACHE_LINE_BYTES } from "@x/smp";

/*
 * How readers get by without `Atomics` on a hit.
 *
 * Every entry gets, as its generation, the next number of its stripe, which is stored with Atomics after the entry's words and
 * before the link to it. A reader keeps the last number it has loaded with Atomics of each stripe: an entry whose generation is
 * not after it was written before that load, so its words, and the links up to it, may be read plainly. A newer entry costs one
 * Atomics.load, once.
 *
 * A reader cannot take the generation of an earlier life for the present one. Its memory was reused only after a grace period,
 * in which the reader passed a quiescent state: since then it sees the even number of the deletion, or a later one.
 *
 * Numbers wrap at 2^32. An entry that stays while 2^30 others come into its stripe is taken for a new one and read with
 * Atomics, which is slower and as right. A thread that does nothing while 2^30 others come could take a new entry for one it
 * knows; but it has been asleep, and waking takes Atomics.
 */

/** Each stripe's newest generation is on a line of its own: written under the lock of the stripe, read by all. */
const STRIDE = CACHE_LINE_BYTES / 4;

/** The shared memory of {@link Publications}. */
export const createPublications = (stripes: number): SharedArrayBuffer =>
  new SharedArrayBuffer(stripes * CACHE_LINE_BYTES);

/** One thread's view of what has been published in each stripe of a table. */
export class Publications {
  readonly #newest: Int32Array;
  /** Of each stripe: the last number that this thread has seen. */
  readonly known: Int32Array;

  constructor(memory: SharedArrayBuffer) {
    this.#newest = new Int32Array(memory);
    this.known = new Int32Array(this.#newest.length / STRIDE);
  }

  /**
   * The generation of an entry that is about to be linked: odd, after all others of its stripe and after those that its memory had
   * before, of which `last` is the latest. Under the lock of the stripe, before {@link Publications.publish}.
   */
  next(stripe: number, last: number): number {
    const newest = this.#newest[stripe * STRIDE];
    // Memory that was never linked has 0, which says nothing.
    return (last !== 0 && ((last - newest) | 0) > 0 ? last + 1 : newest + 1) | 1;
  }

  /** The words of the entry of `generation` are written: let readers know. Under the lock of the stripe. */
  publish(stripe: number, generation: number): void {
    Atomics.store(this.#newest, stripe * STRIDE, generation);
  }

  /** The newest number of `stripe`, which the calling thread has seen from now on. */
  learn(stripe: number): number {
    const newest = Atomics.load(this.#newest, stripe * STRIDE);
    this.known[stripe] = newest;
    return newest;
  }
}
