/*
 * An interval of a thread begins when one of its CPUs loads CURRENT, say as s. What the thread fetches by Atomics after that stays
 * where it is, and its bytes visible to plain loads, until a grace period later than s has ended: whoever unpublishes it waits for one
 * that begins after that. Such a one waits for every CPU that is a reader, until that announces and finds that CURRENT has moved on;
 * and a CPU that becomes a reader, by coming online or by a section, looks at CURRENT first. Whoever finds it moved begins the next interval.
 *
 * So a word that is loaded plainly and still names what was fetched from it in the same interval is as good as one loaded by Atomics:
 * it cannot have been freed, reused and published again in between. A plain load may show an old value for a while: not beyond the
 * announcement that ends a grace period begun after the new value was published, because that announcement loads by Atomics what
 * the writer has stored after publishing.
 *
 * The end of an interval forgets what was fetched; no load has to ask whether it has ended: loads are many, ends are few.
 */

/** What a word of `fetched` holds while nothing is fetched. No offset. */
export const NOTHING_FETCHED: number = -0x80000000;

const CHUNK_WORDS = 64;
/** Word 0 of a chunk: 1 while something in it may be fetched. */
const USED = 0;
/** So many chunks are held by the interval itself at most; pointers nobody uses any more must not pile up while it lasts. */
const USED_CHUNKS_MAX = 64;

/** One thread's interval: what its pointers have fetched, each in a word of its own. */
export class ReadInterval {
  #chunk = newFetchedWords(CHUNK_WORDS);
  #next = USED + 1;
  readonly #used: Int32Array[] = [];

  /** Room for one more pointer: its word of {@link ReadInterval.fetched}. */
  claim(): number {
    if (this.#next === CHUNK_WORDS) {
      this.#chunk = newFetchedWords(CHUNK_WORDS);
      this.#next = USED + 1;
    }
    return this.#next++;
  }

  /** The words in which the pointer that has claimed last keeps what it fetches. */
  get fetched(): Int32Array {
    return this.#chunk;
  }

  /** `offset` was fetched by Atomics just now. */
  keep(fetched: Int32Array, slot: number, offset: number): void {
    if (fetched[USED] !== 1) {
      if (this.#used.length === USED_CHUNKS_MAX) this.end();
      fetched[USED] = 1;
      this.#used.push(fetched);
    }
    fetched[slot] = offset;
  }

  /** The next interval begins. Cost: a few nanoseconds where nothing was fetched, else a fill for each 63 pointers. */
  end(): void {
    for (const chunk of this.#used) chunk.fill(NOTHING_FETCHED);
    this.#used.length = 0;
  }
}

/** An ArrayBuffer of its own keeps the words at one address: compiled code has it as a constant, where it knows the pointer. */
export function newFetchedWords(count: number): Int32Array {
  return new Int32Array(new ArrayBuffer(count * 4)).fill(NOTHING_FETCHED);
}
