import { EventHeap } from "./event-heap.ts";

/*
 * A timing wheel of three levels over a heap (Varghese and Lauck, "Hashed and Hierarchical Timing Wheels", 1987). An event is a
 * time, a kind and two integers; equal times leave in the order they came, so that a run is reproducible to the byte.
 *
 *   list      what the present slot of level 0 held when it began, as far as that came in order of time, as bursts do
 *   heap      the rest of what is due up to the end of that slot
 *   level 0   1024 slots of 64 ns: the rest of the present slot of level 1
 *   level 1   1024 slots of 65.5 us: the rest of the present slot of level 2
 *   level 2   1024 slots of 67 ms, round and round: all the rest
 *
 * A slot is a list of events in the order they came. When a slot of level 1 or 2 becomes the present one, its events go into the
 * level below. So an event is moved three times at most, and the heap stays small, however many wait. The earliest event is the
 * first of the list or of the heap.
 */
const LEVELS = 3;
const SLOT_BITS = 10;
const SLOTS = 1 << SLOT_BITS;
const SLOT_MASK = SLOTS - 1;
const BITMAP_WORDS = SLOTS / 32;
const SHIFT_0 = 6;
const SHIFT_1 = SHIFT_0 + SLOT_BITS;
/** Nanoseconds of a slot of each level. */
const NS_0 = 2 ** SHIFT_0;
const NS_1 = 2 ** SHIFT_1;
const NS_2 = 2 ** (SHIFT_1 + SLOT_BITS);
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

  /*
   * TypeScript's `private`, not `#`: V8 11 allocates a number for each write of a double to a `#` field. What the constructor sets is only
   * declared, so that it begins with the representation it keeps.
   */
  private count = 0;
  private sequence = 0;
  declare private capacity: number;
  declare private words: Int32Array;
  declare private doubles: Float64Array;
  private free = 0;
  declare private readonly heap: EventHeap;
  /** First of what is due that lies in a list instead of the heap, in order. */
  private sorted = NOTHING;
  private readonly heads = new Int32Array(LEVELS * SLOTS).fill(NOTHING);
  private readonly tails = new Int32Array(LEVELS * SLOTS);
  /** One bit for each slot that has events. */
  private readonly occupied = new Int32Array(LEVELS * BITMAP_WORDS);
  /** The present slot of level 2, counted from time 0. */
  private now2 = 0;
  /** When the present slots of levels 1 and 2 begin. */
  private begin1Ns = 0;
  private begin2Ns = 0;
  /** The end of the present slot of level 0: what is due before it is in the list or the heap. */
  private dueNs = NS_0;
  /** Where in levels 0 and 1 to look for the next slot: behind the present one. */
  private from0 = 1;
  private from1 = 1;

  constructor(capacity = 1024) {
    this.capacity = capacity;
    const memory = new ArrayBuffer(capacity * EVENT_WORDS * 4);
    this.words = new Int32Array(memory);
    this.doubles = new Float64Array(memory);
    this.heap = new EventHeap(capacity);
    this.#freeFrom(0);
  }

  get size(): number {
    return this.count;
  }

  push(timeNs: number, kind: number, a: number, b: number): void {
    if (this.free === NOTHING) this.#grow();
    const event = this.free;
    const words = this.words;
    const at = event * EVENT_WORDS;
    this.free = words[at + NEXT];
    words[at + KIND] = kind;
    words[at + A] = a;
    words[at + B] = b;
    this.doubles[event * EVENT_DOUBLES] = timeNs;
    this.doubles[event * EVENT_DOUBLES + 1] = this.sequence++;
    this.count++;
    this.#place(event);
  }

  /** Take the earliest event into the public fields; false when there is none. */
  pop(): boolean {
    if (this.count === 0) return false;
    const event = this.#earliest();
    const words = this.words;
    const at = event * EVENT_WORDS;
    this.timeNs = this.doubles[event * EVENT_DOUBLES];
    this.kind = words[at + KIND];
    this.a = words[at + A];
    this.b = words[at + B];
    words[at + NEXT] = this.free;
    this.free = event;
    this.count--;
    return true;
  }

  /** Doubles are not passed on the way: each would be put into a box. */
  #place(event: number): void {
    const timeNs = this.doubles[event * EVENT_DOUBLES];
    if (timeNs < this.dueNs) {
      this.heap.push(event, this.doubles, event * EVENT_DOUBLES);
      return;
    }
    const in1Ns = timeNs - this.begin1Ns;
    const in2Ns = timeNs - this.begin2Ns;
    if (in1Ns < NS_1) this.#append(0, in1Ns >> SHIFT_0, event);
    else if (in2Ns < NS_2) this.#append(1, in2Ns >> SHIFT_1, event);
    else this.#append(2, Math.floor(timeNs / NS_2) & SLOT_MASK, event);
  }

  #append(level: number, slot: number, event: number): void {
    const list = (level << SLOT_BITS) + slot;
    const words = this.words;
    words[event * EVENT_WORDS + NEXT] = NOTHING;
    if (this.heads[list] === NOTHING) {
      this.heads[list] = event;
      this.occupied[list >> 5] |= 1 << (list & 31);
    } else words[this.tails[list] * EVENT_WORDS + NEXT] = event;
    this.tails[list] = event;
  }

  /** Takes the earliest event out of where it waits. There is one. */
  #earliest(): number {
    const heap = this.heap;
    if (this.sorted === NOTHING && heap.size === 0) this.#begin0();
    const event = this.sorted;
    if (event === NOTHING) return heap.pop();
    if (heap.size > 0 && heap.isBefore(this.doubles, event * EVENT_DOUBLES)) return heap.pop();
    this.sorted = this.words[event * EVENT_WORDS + NEXT];
    return event;
  }

  /** The next slot that has events becomes the present one of level 0; nothing is due before. */
  #begin0(): void {
    let slot = this.#nextOccupied(0, this.from0);
    while (slot === NOTHING) {
      this.#advance();
      slot = this.#nextOccupied(0, this.from0);
    }
    this.dueNs = this.begin1Ns + (slot + 1) * NS_0;
    this.from0 = slot + 1;
    const first = this.heads[slot];
    if (first !== this.tails[slot]) this.#split(first);
    this.sorted = first;
    this.#empty(slot);
  }

  /** Leaves in the list from `first` on what comes in order of time; the rest goes into the heap. */
  #split(first: number): void {
    const words = this.words;
    const doubles = this.doubles;
    let last = first;
    let lastNs = doubles[first * EVENT_DOUBLES];
    let event = words[first * EVENT_WORDS + NEXT];
    while (event !== NOTHING) {
      const next = words[event * EVENT_WORDS + NEXT];
      const timeNs = doubles[event * EVENT_DOUBLES];
      if (timeNs < lastNs) this.heap.push(event, doubles, event * EVENT_DOUBLES);
      else {
        words[last * EVENT_WORDS + NEXT] = event;
        last = event;
        lastNs = timeNs;
      }
      event = next;
    }
    words[last * EVENT_WORDS + NEXT] = NOTHING;
  }

  /** The next slot that has events becomes the present one of level 1 or 2; level 0 has none. */
  #advance(): void {
    let slot = this.#nextOccupied(1, this.from1);
    if (slot !== NOTHING) {
      this.#begin1(this.now2 * SLOTS + slot);
      this.from1 = slot + 1;
      this.#replace(1, slot);
      return;
    }
    // Once around from the slot behind the present one to itself: what is there is due a whole turn later.
    const from = (this.now2 + 1) & SLOT_MASK;
    slot = this.#nextOccupied(2, from);
    if (slot === NOTHING) slot = this.#nextOccupied(2, 0);
    this.now2 += ((slot - from) & SLOT_MASK) + 1;
    this.begin2Ns = this.now2 * NS_2;
    // The last slot before: the first one of this level has not begun.
    this.#begin1(this.now2 * SLOTS - 1);
    this.from1 = 0;
    this.#replace(2, slot);
  }

  /** A slot of level 1 becomes the present one; none of level 0 has begun in it. */
  #begin1(slot: number): void {
    this.begin1Ns = this.dueNs = slot * NS_1;
    this.from0 = 0;
  }

  /** The events of a slot find their places anew. */
  #replace(level: number, slot: number): void {
    const list = (level << SLOT_BITS) + slot;
    let event = this.heads[list];
    this.#empty(list);
    while (event !== NOTHING) {
      const next = this.words[event * EVENT_WORDS + NEXT];
      this.#place(event);
      event = next;
    }
  }

  #empty(list: number): void {
    this.heads[list] = NOTHING;
    this.occupied[list >> 5] &= ~(1 << (list & 31));
  }

  /** The first slot of a level, `from` or later, that has events. */
  #nextOccupied(level: number, from: number): number {
    if (from >= SLOTS) return NOTHING;
    const first = level * BITMAP_WORDS;
    let word = from >> 5;
    let bits = this.occupied[first + word] & (-1 << (from & 31));
    while (bits === 0) {
      if (++word === BITMAP_WORDS) return NOTHING;
      bits = this.occupied[first + word];
    }
    return (word << 5) + 31 - Math.clz32(bits & -bits);
  }

  #grow(): void {
    const from = this.capacity;
    this.capacity = from * 2;
    const memory = new ArrayBuffer(this.capacity * EVENT_WORDS * 4);
    const words = new Int32Array(memory);
    words.set(this.words);
    this.words = words;
    this.doubles = new Float64Array(memory);
    this.#freeFrom(from);
  }

  #freeFrom(first: number): void {
    for (let event = first; event < this.capacity; event++) {
      this.words[event * EVENT_WORDS + NEXT] = event + 1 < this.capacity ? event + 1 : NOTHING;
    }
    this.free = first;
  }
}
