import { PADDING_BYTES } from "@x/smp";

/*
 * A ring with one producer and one consumer, Int32 words in shared memory:
 *
 *   padded line 0   tail     entries ever pushed, modulo 2^32     written by the producer, Atomics
 *   padded line 1   head     entries ever taken, modulo 2^32      written by the consumer, Atomics
 *   slots           value    `capacity` of them, a power of two   written by the producer, plain
 *
 * Order: the producer writes a slot and then stores `tail`; the consumer loads `tail` and then reads the slots below it, so
 * the plain values (and whatever they name, packets and their columns) happen before their reading. The consumer stores
 * `head` when it has read; the producer loads `head` before it writes the slot again. Each side keeps the other's count as
 * it saw it last and looks again only when that is not enough.
 */
const LINE_WORDS = PADDING_BYTES / 4;
const TAIL = 0;
const HEAD = LINE_WORDS;
const SLOTS = 2 * LINE_WORDS;

/** What joins a {@link SpscRing} from another thread. */
export interface SpscRingHandle {
  readonly memory: SharedArrayBuffer;
}

/** A bounded queue of integers from one thread to one other. No operation blocks or allocates. */
export class SpscRing {
  readonly handle: SpscRingHandle;
  readonly capacity: number;
  readonly #words: Int32Array;
  readonly #mask: number;
  /** The other side's count when this side looked last. */
  #seenHead: number;
  #seenTail: number;

  private constructor(handle: SpscRingHandle) {
    this.handle = handle;
    this.#words = new Int32Array(handle.memory);
    this.capacity = this.#words.length - SLOTS;
    this.#mask = this.capacity - 1;
    this.#seenHead = Atomics.load(this.#words, HEAD);
    this.#seenTail = Atomics.load(this.#words, TAIL);
  }

  /** A ring for at least `capacity` entries. */
  static create(capacity: number): SpscRing {
    const slots = 2 ** Math.ceil(Math.log2(Math.max(2, capacity)));
    return new SpscRing({ memory: new SharedArrayBuffer((SLOTS + slots) * 4) });
  }

  static attach(handle: SpscRingHandle): SpscRing {
    return new SpscRing(handle);
  }

  /** Producer: whether another entry fits. */
  get hasRoom(): boolean {
    const tail = this.#words[TAIL];
    if (((tail - this.#seenHead) | 0) < this.capacity) return true;
    this.#seenHead = Atomics.load(this.#words, HEAD);
    return ((tail - this.#seenHead) | 0) < this.capacity;
  }

  /** Producer: append; false when the ring is full. */
  push(value: number): boolean {
    if (!this.hasRoom) return false;
    const tail = this.#words[TAIL];
    this.#words[SLOTS + (tail & this.#mask)] = value;
    Atomics.store(this.#words, TAIL, (tail + 1) | 0);
    return true;
  }

  /** Consumer: move up to `limit` entries to `out`; returns how many. */
  take(out: Int32Array, limit: number): number {
    const head = this.#words[HEAD];
    if (((this.#seenTail - head) | 0) < limit) this.#seenTail = Atomics.load(this.#words, TAIL);
    const count = Math.min(limit, (this.#seenTail - head) | 0);
    for (let index = 0; index < count; index++) out[index] = this.#words[SLOTS + ((head + index) & this.#mask)];
    if (count > 0) Atomics.store(this.#words, HEAD, (head + count) | 0);
    return count;
  }

  /** Consumer: nothing waits. */
  get isEmpty(): boolean {
    const head = this.#words[HEAD];
    if (this.#seenTail !== head) return false;
    this.#seenTail = Atomics.load(this.#words, TAIL);
    return this.#seenTail === head;
  }
}
