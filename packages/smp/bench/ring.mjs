// The least there can be between two threads: two rings of 32-bit words with one writer and one reader each, that knows neither
// functions nor errors nor who is who. It spins before it sleeps, as ours does, and notifies only who sleeps.
const SIZE = 256;
const TAIL = 0;
const SLEEPS = 32;
const SLOTS = 64;
export const RING_WORDS = SLOTS + SIZE;
/** A call: which function, and three arguments; or a result. */
const RECORD = 4;
export const CALL_RING_BYTES = SLOTS * 4 + SIZE * RECORD * 8;

export class Ring {
  #words;
  #doubles;
  #head = 0;
  #tail = 0;
  #spins;

  /** @param spins - looks before it sleeps. */
  constructor(memory, offsetWords, spins) {
    this.#spins = spins;
    this.#words = new Int32Array(memory, offsetWords * 4, RING_WORDS);
    this.#doubles = new Float64Array(memory, (offsetWords + SLOTS) * 4);
  }

  /** At most `SIZE` may be under way; nobody checks. */
  put(value) {
    this.#words[SLOTS + (this.#tail & (SIZE - 1))] = value;
    this.#tail = (this.#tail + 1) | 0;
  }

  /** Instead of {@link Ring.put}, in a ring of calls: what a call carries. */
  putCall(index, a, b, c) {
    const at = (this.#tail & (SIZE - 1)) * RECORD;
    this.#doubles[at] = index;
    this.#doubles[at + 1] = a;
    this.#doubles[at + 2] = b;
    this.#doubles[at + 3] = c;
    this.#tail = (this.#tail + 1) | 0;
  }

  publish() {
    Atomics.store(this.#words, TAIL, this.#tail);
    if (Atomics.load(this.#words, SLEEPS) !== 0) Atomics.notify(this.#words, TAIL);
  }

  /** How many can be taken; waits for one. */
  wait() {
    for (let spins = 0; ; spins++) {
      const tail = Atomics.load(this.#words, TAIL);
      if (tail !== this.#head) return (tail - this.#head) | 0;
      if (spins < this.#spins) continue;
      Atomics.store(this.#words, SLEEPS, 1);
      Atomics.wait(this.#words, TAIL, tail);
      Atomics.store(this.#words, SLEEPS, 0);
    }
  }

  /** One of the four numbers of the next call. */
  peek(index) {
    return this.#doubles[(this.#head & (SIZE - 1)) * RECORD + index];
  }

  skip() {
    this.#head = (this.#head + 1) | 0;
  }

  take() {
    const value = this.#words[SLOTS + (this.#head & (SIZE - 1))];
    this.#head = (this.#head + 1) | 0;
    return value;
  }
}
