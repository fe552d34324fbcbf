/*
 * A 4-ary heap on typed arrays. An event is a time, a kind and two integers; equal times leave in the order they came,
 * so that a run is reproducible to the byte.
 *
 *   slots, times, sequences   by heap position; children of position i are 4i+1 … 4i+4. What is compared lies in the heap
 *                             itself, so that sifting reads neighbours
 *   kinds, as, bs             by slot; free slots form a stack in `free`
 */

/** Events in time order. One owner; nothing is allocated after the first growth to the peak size. */
export class EventQueue {
  /** Fields of the event {@link EventQueue.pop} took out last. */
  timeNs = 0;
  kind = 0;
  a = 0;
  b = 0;

  #capacity: number;
  #size = 0;
  #sequence = 0;
  #slots: Int32Array;
  #times: Float64Array;
  #sequences: Float64Array;
  #free: Int32Array;
  #kinds: Int32Array;
  #as: Int32Array;
  #bs: Int32Array;

  constructor(capacity = 1024) {
    this.#capacity = capacity;
    this.#slots = new Int32Array(capacity);
    this.#times = new Float64Array(capacity);
    this.#sequences = new Float64Array(capacity);
    this.#free = Int32Array.from({ length: capacity }, (_, slot) => slot);
    this.#kinds = new Int32Array(capacity);
    this.#as = new Int32Array(capacity);
    this.#bs = new Int32Array(capacity);
  }

  get size(): number {
    return this.#size;
  }

  push(timeNs: number, kind: number, a: number, b: number): void {
    if (this.#size === this.#capacity) this.#grow();
    const slot = this.#free[this.#size];
    this.#kinds[slot] = kind;
    this.#as[slot] = a;
    this.#bs[slot] = b;
    this.#siftUp(this.#size++, slot, timeNs, this.#sequence++);
  }

  /** Take the earliest event into the public fields; false when there is none. */
  pop(): boolean {
    if (this.#size === 0) return false;
    const slot = this.#slots[0];
    this.timeNs = this.#times[0];
    this.kind = this.#kinds[slot];
    this.a = this.#as[slot];
    this.b = this.#bs[slot];
    const last = --this.#size;
    this.#free[last] = slot;
    if (last > 0) this.#siftDown(this.#slots[last], this.#times[last], this.#sequences[last]);
    return true;
  }

  /** A new event has the highest sequence number, so only an earlier time moves it up. */
  #siftUp(from: number, slot: number, timeNs: number, sequence: number): void {
    const times = this.#times;
    let at = from;
    while (at > 0) {
      const parent = (at - 1) >> 2;
      if (timeNs >= times[parent]) break;
      this.#move(parent, at);
      at = parent;
    }
    this.#put(at, slot, timeNs, sequence);
  }

  #siftDown(slot: number, timeNs: number, sequence: number): void {
    const size = this.#size;
    const times = this.#times;
    const sequences = this.#sequences;
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
    this.#put(at, slot, timeNs, sequence);
  }

  #move(from: number, to: number): void {
    this.#slots[to] = this.#slots[from];
    this.#times[to] = this.#times[from];
    this.#sequences[to] = this.#sequences[from];
  }

  #put(at: number, slot: number, timeNs: number, sequence: number): void {
    this.#slots[at] = slot;
    this.#times[at] = timeNs;
    this.#sequences[at] = sequence;
  }

  #grow(): void {
    const capacity = this.#capacity * 2;
    const copy = <T extends Int32Array | Float64Array>(from: T, to: T): T => (to.set(from), to);
    this.#slots = copy(this.#slots, new Int32Array(capacity));
    this.#times = copy(this.#times, new Float64Array(capacity));
    this.#sequences = copy(this.#sequences, new Float64Array(capacity));
    this.#kinds = copy(this.#kinds, new Int32Array(capacity));
    this.#as = copy(this.#as, new Int32Array(capacity));
    this.#bs = copy(this.#bs, new Int32Array(capacity));
    const free = copy(this.#free, new Int32Array(capacity));
    for (let slot = this.#capacity; slot < capacity; slot++) free[slot] = slot;
    this.#free = free;
    this.#capacity = capacity;
  }
}
