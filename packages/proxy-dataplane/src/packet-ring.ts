import { PADDING_BYTES } from "@x/smp";
import { DataplaneError } from "./errors.ts";
import type { PacketId } from "./packet-pool-types.ts";

/*
 * A ring for one consumer and any number of producers (Vyukov's bounded queue, 1024cores.net), Int32 words in shared memory:
 *
 *   padded line 0   tail       places ever claimed, modulo 2^32     Atomics, by producers
 *   padded line 1   head       packets ever taken, modulo 2^32      Atomics, by the consumer
 *   slots           turn       of slot s: s, s + 1, s + capacity …  Atomics
 *                   packet                                          plain, between the two stores of its turn
 *
 *   turn = place                 free for the producer who claims that place
 *   turn = place + 1             holds the packet of that place; the consumer stores place + capacity when it has read it
 *
 * A producer claims places by one compare-exchange of the tail, after it has seen that the last of them is free: the consumer frees
 * them in order, so all before it are. It writes the packet, then stores the turn, so what it wrote of the packet, its bytes and
 * columns, happens before the consumer reads it. A producer that stops between the two keeps what comes behind it waiting, and no one
 * else: nothing is lost.
 */
const LINE_WORDS = PADDING_BYTES / 4;
const TAIL = 0;
const HEAD = LINE_WORDS;
const SLOTS = 2 * LINE_WORDS;
const MAX_CAPACITY = 1 << 20;

/**
 * What joins a {@link PacketRing} from another thread.
 *
 * @public
 */
export interface PacketRingHandle {
  readonly memory: SharedArrayBuffer;
}

/**
 * Hands packets of a pool from threads to a thread, by id: a bounded queue in shared memory. What was written of a packet before it was
 * pushed is seen by who takes it.
 *
 * Thread-safety: any thread pushes, one thread takes. Nothing blocks; a full ring says so, and the packet stays with the caller.
 * Cost: two atomic operations and one for each packet, no allocation. Each producer's packets keep their order.
 *
 * @public
 */
export class PacketRing {
  readonly handle: PacketRingHandle;
  /** Packets it holds at most. */
  readonly capacity: number;
  readonly #words: Int32Array;
  readonly #mask: number;

  private constructor(handle: PacketRingHandle) {
    this.handle = handle;
    this.#words = new Int32Array(handle.memory);
    this.capacity = (this.#words.length - SLOTS) >> 1;
    this.#mask = this.capacity - 1;
  }

  /** A ring for at least `capacity` packets, 2 to 2^20. Throws `DATAPLANE_INVALID_ARGUMENT`. */
  static create(options: { readonly capacity: number }): PacketRing {
    const { capacity } = options;
    if (!Number.isInteger(capacity) || capacity < 2 || capacity > MAX_CAPACITY) {
      const message = `capacity is ${capacity}; 2 to ${MAX_CAPACITY} are possible`;
      throw new DataplaneError("DATAPLANE_INVALID_ARGUMENT", message);
    }
    const slots = 2 ** Math.ceil(Math.log2(capacity));
    const ring = new PacketRing({ memory: new SharedArrayBuffer((SLOTS + 2 * slots) * 4) });
    for (let slot = 0; slot < slots; slot++) ring.#words[SLOTS + slot * 2] = slot;
    return ring;
  }

  /** Join from another thread. */
  static attach(handle: PacketRingHandle): PacketRing {
    return new PacketRing(handle);
  }

  /** Hands one packet over; false when the ring is full. */
  push(packet: PacketId): boolean {
    const place = this.#claim(1);
    if (place < 0) return false;
    this.#put(place, packet);
    return true;
  }

  /** Hands `packets[from, from + count)` over, as many as there is room for right now; returns how many. */
  pushMany(packets: Int32Array, count: number, from = 0): number {
    const words = this.#words;
    let wanted = Math.min(count, this.capacity);
    if (wanted <= 0) return 0;
    let first = this.#claim(wanted);
    while (first < 0 && wanted > 0) {
      const room = this.capacity - ((Atomics.load(words, TAIL) - Atomics.load(words, HEAD)) | 0);
      wanted = Math.min(wanted - 1, Math.max(0, room));
      if (wanted > 0) first = this.#claim(wanted);
    }
    for (let i = 0; i < wanted; i++) this.#put(first + i, packets[from + i]);
    return wanted;
  }

  /** The consumer: moves up to `limit` packets to `out`, in order; returns how many. */
  take(out: Int32Array, limit: number): number {
    const words = this.#words;
    const head = words[HEAD];
    const most = Math.min(limit, out.length, this.capacity);
    let taken = 0;
    for (; taken < most; taken++) {
      const place = head + taken;
      const slot = SLOTS + (place & this.#mask) * 2;
      if (((Atomics.load(words, slot) - place) | 0) !== 1) break;
      out[taken] = words[slot + 1];
      Atomics.store(words, slot, (place + this.capacity) | 0);
    }
    if (taken > 0) Atomics.store(words, HEAD, (head + taken) | 0);
    return taken;
  }

  /** Packets that are there or about to be, at this moment. */
  get length(): number {
    return Math.max(0, (Atomics.load(this.#words, TAIL) - Atomics.load(this.#words, HEAD)) | 0);
  }

  /** The first of `count` places, one at least, that are the caller's now, as an unsigned number; -1 when there is no room for them. */
  #claim(count: number): number {
    const words = this.#words;
    for (let tail = Atomics.load(words, TAIL); ;) {
      const last = tail + count - 1;
      const late = (Atomics.load(words, SLOTS + (last & this.#mask) * 2) - last) | 0;
      if (late < 0) return -1;
      const seen =
        late > 0 ? Atomics.load(words, TAIL) : Atomics.compareExchange(words, TAIL, tail, (tail + count) | 0);
      if (late === 0 && seen === tail) return tail >>> 0;
      tail = seen;
    }
  }

  #put(place: number, packet: PacketId): void {
    const slot = SLOTS + (place & this.#mask) * 2;
    this.#words[slot + 1] = packet;
    Atomics.store(this.#words, slot, (place + 1) | 0);
  }
}
