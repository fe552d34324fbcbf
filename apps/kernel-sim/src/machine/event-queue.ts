import { EventHeap } from "./event-heap.ts";

/*
 * A timing wheel of three levels over a heap (Varghese and Lauck, "Hashed and Hierarchical Timing Wheels", 1987). An event is a
 * time, a kind and two integers; equal times leave in the order they came, so that a run is reproducible to the byte.
 *
 *   heap      what is due up to the end of the present slot of level 0: mostly one event, or a burst
 *   level 0   1024 slots of 64 ns: the rest of the present slot of level 1
 *   level 1   1024 slots of 65.5 us: the rest of the present slot of level 2
 *   level 2   1024 slots of 67 ms, round and round: all the rest
 *
 * A slot is a list of events in the order they came. When a slot becomes the present one, its events go down: those of level 0
 * into the heap, which alone compares times; those of other levels into the level below. So an event is moved three times at most,
 * and the heap stays small, however many wait.
 */
const LEVELS = 3;
const SLOT_BITS = 10;
const SLOTS = 1 << SLOT_BITS;
const SLOT_MASK = SLOTS - 1;
const BITMAP_WORDS = SLOTS / 32;
const NS_PER_SLOT = 64;
const NOTHING = -1;

/* Words of an event: the last is the next one of its list, or of the free ones. In front of them, as doubles: time and sequence. */
const EVENT_WORDS = 8;
const EVENT_DOUBLES = EVENT_WORDS / 2;
const KIND = 4;
const A = 5;
const B = 6;
const NEXT = 7;

/** Events in time order. One owner; nothing is allocated after the first growth to the peak size. Times are at least 0. */
export class EventQueue {
  /** Fields of the event {@link EventQueue.pop} took out last. */
  timeNs = 0;
  kind = 0;
  a = 0;
  b = 0;

  #size = 0;
  #sequence = 0;
  #capacity: number;
  #words: Int32Array;
  #doubles: Float64Array;
  #free = 0;
  readonly #heap: EventHeap;
  readonly #heads = new Int32Array(LEVELS * SLOTS).fill(NOTHING);
  readonly #tails = new Int32Array(LEVELS * SLOTS);
  /** One bit for each slot that has events. */
  readonly #occupied = new Int32Array(LEVELS * BITMAP_WORDS);
  /** The present slot of each level, counted from time 0; what is due up to the end of `now0` is in the heap. */
  #now0 = 0;
  #now1 = 0;
  #now2 = 0;
  /** Where in levels 0 and 1 to look for the next slot: behind the present one. */
  #from0 = 1;
  #from1 = 1;

  constructor(capacity = 1024) {
    this.#capacity = capacity;
    const memory = new ArrayBuffer(capacity * EVENT_WORDS * 4);
    this.#words = new Int32Array(memory);
    this.#doubles = new Float64Array(memory);
    this.#heap = new EventHeap(capacity);
    this.#freeFrom(0);
  }

  get size(): number {
    return this.#size;
  }

  push(timeNs: number, kind: number, a: number, b: number): void {
    if (this.#free === NOTHING) this.#grow();
    const event = this.#free;
    const words = this.#words;
    const at = event * EVENT_WORDS;
    this.#free = words[at + NEXT];
    words[at + KIND] = kind;
    words[at + A] = a;
    words[at + B] = b;
    this.#doubles[event * EVENT_DOUBLES] = timeNs;
    this.#doubles[event * EVENT_DOUBLES + 1] = this.#sequence++;
    this.#size++;
    this.#place(event);
  }

  /** Take the earliest event into the public fields; false when there is none. */
  pop(): boolean {
    if (this.#size === 0) return false;
    while (this.#heap.size === 0) this.#advance();
    const event = this.#heap.pop();
    const words = this.#words;
    const at = event * EVENT_WORDS;
    this.timeNs = this.#doubles[event * EVENT_DOUBLES];
    this.kind = words[at + KIND];
    this.a = words[at + A];
    this.b = words[at + B];
    words[at + NEXT] = this.#free;
    this.#free = event;
    this.#size--;
    return true;
  }

  #place(event: number): void {
    const timeNs = this.#doubles[event * EVENT_DOUBLES];
    const slot0 = Math.floor(timeNs / NS_PER_SLOT);
    if (slot0 <= this.#now0) {
      this.#heap.push(event, timeNs, this.#doubles[event * EVENT_DOUBLES + 1]);
      return;
    }
    const slot1 = Math.floor(slot0 / SLOTS);
    const slot2 = Math.floor(slot1 / SLOTS);
    if (slot1 === this.#now1) this.#append(0, slot0 & SLOT_MASK, event);
    else if (slot2 === this.#now2) this.#append(1, slot1 & SLOT_MASK, event);
    else this.#append(2, slot2 & SLOT_MASK, event);
  }

  #append(level: number, slot: number, event: number): void {
    const list = (level << SLOT_BITS) + slot;
    const words = this.#words;
    words[event * EVENT_WORDS + NEXT] = NOTHING;
    if (this.#heads[list] === NOTHING) {
      this.#heads[list] = event;
      this.#occupied[list >> 5] |= 1 << (list & 31);
    } else words[this.#tails[list] * EVENT_WORDS + NEXT] = event;
    this.#tails[list] = event;
  }

  /** The next slot that has events becomes the present one, of one level. There is one. */
  #advance(): void {
    let slot = this.#nextOccupied(0, this.#from0);
    if (slot !== NOTHING) {
      this.#now0 = this.#now1 * SLOTS + slot;
      this.#from0 = slot + 1;
      this.#replace(0, slot);
      return;
    }
    slot = this.#nextOccupied(1, this.#from1);
    if (slot !== NOTHING) {
      this.#now1 = this.#now2 * SLOTS + slot;
      this.#from1 = slot + 1;
      this.#beginLevel0();
      this.#replace(1, slot);
      return;
    }
    // Once around from the slot behind the present one to itself: what is there is due a whole turn later.
    const from = (this.#now2 + 1) & SLOT_MASK;
    slot = this.#nextOccupied(2, from);
    if (slot === NOTHING) slot = this.#nextOccupied(2, 0);
    this.#now2 += ((slot - from) & SLOT_MASK) + 1;
    // The last slot before: the first one of this level has not begun.
    this.#now1 = this.#now2 * SLOTS - 1;
    this.#from1 = 0;
    this.#beginLevel0();
    this.#replace(2, slot);
  }

  /** No slot of level 0 has begun of the present slot of level 1, or of the one behind it. */
  #beginLevel0(): void {
    this.#now0 = this.#now1 * SLOTS - 1;
    this.#from0 = 0;
  }

  /** The events of a slot find their places anew. */
  #replace(level: number, slot: number): void {
    const list = (level << SLOT_BITS) + slot;
    let event = this.#heads[list];
    this.#heads[list] = NOTHING;
    this.#occupied[list >> 5] &= ~(1 << (list & 31));
    while (event !== NOTHING) {
      const next = this.#words[event * EVENT_WORDS + NEXT];
      this.#place(event);
      event = next;
    }
  }

  /** The first slot of a level, `from` or later, that has events. */
  #nextOccupied(level: number, from: number): number {
    if (from >= SLOTS) return NOTHING;
    const first = level * BITMAP_WORDS;
    let word = from >> 5;
    let bits = this.#occupied[first + word] & (-1 << (from & 31));
    while (bits === 0) {
      if (++word === BITMAP_WORDS) return NOTHING;
      bits = this.#occupied[first + word];
    }
    return (word << 5) + 31 - Math.clz32(bits & -bits);
  }

  #grow(): void {
    const from = this.#capacity;
    this.#capacity = from * 2;
    const memory = new ArrayBuffer(this.#capacity * EVENT_WORDS * 4);
    const words = new Int32Array(memory);
    words.set(this.#words);
    this.#words = words;
    this.#doubles = new Float64Array(memory);
    this.#freeFrom(from);
  }

  #freeFrom(first: number): void {
    for (let event = first; event < this.#capacity; event++) {
      this.#words[event * EVENT_WORDS + NEXT] = event + 1 < this.#capacity ? event + 1 : NOTHING;
    }
    this.#free = first;
  }
}
