/*
 * A 4-ary heap on typed arrays. Children of position i are 4i+1 … 4i+4; what is compared lies in the heap itself, so that
 * sifting reads neighbours.
 */

/** Integers in the order of their times, equal times in the order of their sequence numbers. */
export class EventHeap {
  #capacity: number;
  #size = 0;
  #events: Int32Array;
  #times: Float64Array;
  #sequences: Float64Array;

  constructor(capacity: number) {
    this.#capacity = capacity;
    this.#events = new Int32Array(capacity);
    this.#times = new Float64Array(capacity);
    this.#sequences = new Float64Array(capacity);
  }

  get size(): number {
    return this.#size;
  }

  /** `keys[at]` is the event's time, `keys[at + 1]` its sequence number. */
  push(event: number, keys: Float64Array, at: number): void {
    if (this.#size === this.#capacity) this.#grow();
    const timeNs = keys[at];
    const sequence = keys[at + 1];
    const times = this.#times;
    let place = this.#size++;
    while (place > 0) {
      const parent = (place - 1) >> 2;
      if (timeNs > times[parent] || (timeNs === times[parent] && sequence > this.#sequences[parent])) break;
      this.#move(parent, place);
      place = parent;
    }
    this.#put(place, event, timeNs, sequence);
  }

  /** Whether the first one comes before the time and sequence number at `keys[at]`. There must be one. */
  isBefore(keys: Float64Array, at: number): boolean {
    const firstNs = this.#times[0];
    return firstNs < keys[at] || (firstNs === keys[at] && this.#sequences[0] < keys[at + 1]);
  }

  /** Take the first one out. There must be one. */
  pop(): number {
    const first = this.#events[0];
    const last = --this.#size;
    if (last > 0) this.#siftDown(last);
    return first;
  }

  /** What lies behind the end, at `from`, finds its place from the top down. */
  #siftDown(from: number): void {
    const size = this.#size;
    const times = this.#times;
    const sequences = this.#sequences;
    const timeNs = times[from];
    const sequence = sequences[from];
    let at = 0;
    for (let first = 1; first < size; first = at * 4 + 1) {
      let best = first;
      const end = first + 4 < size ? first + 4 : size;
      for (let child = first + 1; child < end; child++) {
        const earlier =
          times[child] < times[best] || (times[child] === times[best] && sequences[child] < sequences[best]);
        if (earlier) best = child;
      }
      if (timeNs < times[best] || (timeNs === times[best] && sequence < sequences[best])) break;
      this.#move(best, at);
      at = best;
    }
    this.#move(from, at);
  }

  #move(from: number, to: number): void {
    this.#events[to] = this.#events[from];
    this.#times[to] = this.#times[from];
    this.#sequences[to] = this.#sequences[from];
  }

  #put(at: number, event: number, timeNs: number, sequence: number): void {
    this.#events[at] = event;
    this.#times[at] = timeNs;
    this.#sequences[at] = sequence;
  }

  #grow(): void {
    const capacity = this.#capacity * 2;
    const copy = <T extends Int32Array | Float64Array>(from: T, to: T): T => (to.set(from), to);
    this.#events = copy(this.#events, new Int32Array(capacity));
    this.#times = copy(this.#times, new Float64Array(capacity));
    this.#sequences = copy(this.#sequences, new Float64Array(capacity));
    this.#capacity = capacity;
  }
}
