/** Packets by which it is judged whether the cache is of use. */
const WINDOW = 1024;
/** While it is not, one vector in so many goes by the cache all the same, to see when that ends. */
const SAMPLE = 64;

/**
 * Whether the cache of a CPU is of use. One that holds few of the flows that come costs its own lines and saves none: while most packets
 * miss and most of what is noted pushes out what was there, vectors go to the table at once.
 */
export class CacheUse {
  /** Flows that were noted, and those that were pushed out for them. */
  filled = 0;
  forgotten = 0;
  #probed = 0;
  #missed = 0;
  #isUseless = false;
  #passed = 0;
  #shape = 0;

  /** Whether the next vector goes by the cache. `shape` changes when the cache is emptied or resized: then what it did before says nothing. */
  isDue(shape: number): boolean {
    if (shape !== this.#shape) {
      this.#shape = shape;
      this.#isUseless = false;
      this.#begin();
    }
    return !this.#isUseless || ++this.#passed % SAMPLE === 0;
  }

  /** Of a vector of `count` packets that went by the cache `unknown` were not there. */
  note(count: number, unknown: number): void {
    this.#probed += count;
    this.#missed += unknown;
    // While it is left out, one vector that mostly hits tells that what passes fits again.
    if (this.#isUseless && unknown * 2 <= count) this.#isUseless = false;
    else if (this.#probed < WINDOW) return;
    else this.#isUseless = this.#missed * 2 > this.#probed && this.forgotten * 2 > this.filled;
    this.#begin();
  }

  #begin(): void {
    this.#probed = this.#missed = this.filled = this.forgotten = 0;
  }
}
