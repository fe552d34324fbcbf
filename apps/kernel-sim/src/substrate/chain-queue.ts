/** A bounded first-in first-out queue of chains, private to one thread. */
export class ChainQueue {
  readonly #chains: Int32Array;
  #head = 0;
  #count = 0;

  constructor(capacity: number) {
    this.#chains = new Int32Array(capacity);
  }

  get isEmpty(): boolean {
    return this.#count === 0;
  }

  /** The caller sees to it that there is room: a chain is in one queue at most, and once. */
  put(chain: number): void {
    this.#chains[(this.#head + this.#count++) % this.#chains.length] = chain;
  }

  /** The first one; only while there is one. */
  take(): number {
    const chain = this.#chains[this.#head];
    this.#head = (this.#head + 1) % this.#chains.length;
    this.#count--;
    return chain;
  }
}
