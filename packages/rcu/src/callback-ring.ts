/**
 * What runs after a grace period. A function reference and one number, so that queueing allocates nothing: keep the
 * function for ever and pass the offset or id it works on.
 *
 * @public
 */
export type RcuCallback = (argument: number) => void;

const idle: RcuCallback = () => undefined;

/*
 * Bounded first-in first-out ring of (callback, argument, sequence), of one CPU and one thread:
 *
 *      head                 head + count
 *       v                      v
 *   ....[oldest ... ... newest]....      sequences never decrease from head to tail
 *
 * All three arrays are made at creation and hold every slot, so queueing and running allocate nothing.
 */
export class CallbackRing {
  readonly #callbacks: RcuCallback[];
  readonly #arguments: Float64Array;
  readonly #sequences: Int32Array;
  readonly #mask: number;
  #head = 0;
  count = 0;
  /** Set while callbacks of this ring run: they must not run callbacks themselves. */
  running = false;

  constructor(capacity: number) {
    this.#callbacks = Array.from({ length: capacity }, () => idle);
    this.#arguments = new Float64Array(capacity);
    this.#sequences = new Int32Array(capacity);
    this.#mask = capacity - 1;
  }

  get full(): boolean {
    return this.count > this.#mask;
  }

  push(callback: RcuCallback, argument: number, sequence: number): void {
    const slot = (this.#head + this.count) & this.#mask;
    this.#callbacks[slot] = callback;
    this.#arguments[slot] = argument;
    this.#sequences[slot] = sequence;
    this.count++;
  }

  /** The sequence the oldest callback waits for; only while `count` is not 0. */
  oldest(): number {
    return this.#sequences[this.#head];
  }

  /** Remove the oldest callback and run it. It is gone even if it throws. */
  runOldest(): void {
    const slot = this.#head;
    const callback = this.#callbacks[slot];
    this.#callbacks[slot] = idle;
    this.#head = (slot + 1) & this.#mask;
    this.count--;
    callback(this.#arguments[slot]);
  }
}
