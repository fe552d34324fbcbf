/*
 * A 4-ary heap on typed arrays. An event is a time, a kind and two integers; equal times leave in the order they came,
 * so that a run is reproducible to the byte.
 *
 *   heap[i]   slot of the event at heap position i; children of i are 4i+1 … 4i+4
 *   times, sequences, kinds, as, bs   indexed by slot; freed slots form a stack in `free`
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
  #heap: Int32Array;
  #free: Int32Array;
  #times: Float64Array;
  #sequences: Float64Array;
  #kinds: Int32Array;
  #as: Int32Array;
  #bs: Int32Array;

  constructor(capacity = 1024) {
    this.#capacity = capacity;
    this.#heap = new Int32Array(capacity);
    this.#free = Int32Array.from({ length: capacity }, (_, slot) => slot);
    this.#times = new Float64Array(capacity);
    this.#sequences = new Float64Array(capacity);
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
    this.#times[slot] = timeNs;
    this.#sequences[slot] = this.#sequence++;
    this.#kinds[slot] = kind;
    this.#as[slot] = a;
    this.#bs[slot] = b;
    this.#siftUp(this.#size++, slot);
  }

  /** Take the earliest event into the public fields; false when there is none. */
  pop(): boolean {
    if (this.#size === 0) return false;
    const slot = this.#heap[0];
    this.timeNs = this.#times[slot];
    this.kind = this.#kinds[slot];
    this.a = this.#as[slot];
    this.b = this.#bs[slot];
    const last = this.#heap[--this.#size];
    this.#free[this.#size] = slot;
    if (this.#size > 0) this.#siftDown(last);
    return true;
  }

  #before(x: number, y: number): boolean {
    const tx = this.#times[x];
    const ty = this.#times[y];
    return tx < ty || (tx === ty && this.#sequences[x] < this.#sequences[y]);
  }

  #siftUp(from: number, slot: number): void {
    let at = from;
    while (at > 0) {
      const parent = (at - 1) >> 2;
      const other = this.#heap[parent];
      if (!this.#before(slot, other)) break;
      this.#heap[at] = other;
      at = parent;
    }
    this.#heap[at] = slot;
  }

  #siftDown(slot: number): void {
    const size = this.#size;
    let at = 0;
    for (;;) {
      const first = at * 4 + 1;
      if (first >= size) break;
      let best = first;
      const end = first + 4 < size ? first + 4 : size;
      for (let child = first + 1; child < end; child++) {
        if (this.#before(this.#heap[child], this.#heap[best])) best = child;
      }
      if (!this.#before(this.#heap[best], slot)) break;
      this.#heap[at] = this.#heap[best];
      at = best;
    }
    this.#heap[at] = slot;
  }

  #grow(): void {
    const capacity = this.#capacity * 2;
    const copy = <T extends Int32Array | Float64Array>(from: T, to: T): T => (to.set(from), to);
    this.#heap = copy(this.#heap, new Int32Array(capacity));
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
