import { SpinLocks, type SpinLocksHandle } from "@x/smp";
import { RcuError } from "./errors.ts";
import type { Rcu } from "./rcu.ts";

/*
 * Header line: FIRST, LAST_RETIRED, FIRST_RETIRED, FREE, SIZE, node offsets in bytes, 0 = none.
 *
 * Node: NEXT      the list, for readers; kept when a node is removed, so that a reader on it finds its way on
 *       PREVIOUS  the list, for writers
 *       STATE     FREE_NODE, TAKEN, LINKED or RETIRED
 *       LINK      the free list, or the list of retired nodes
 *       COOKIE    of a retired node: the grace period after which it may be used again
 *       payload   written by whoever holds the node TAKEN, then only read
 *
 *   FIRST -> node <-> node <-> node                     readers follow NEXT by Atomics
 *   FIRST_RETIRED -> oldest -> … -> newest <- LAST_RETIRED     first in first out: if the oldest is not free, none is
 *   FREE -> node -> node
 *
 * Everything but reading NEXT and payload happens under the writer lock.
 */
const HEADER_BYTES = 128;
const FIRST = 0;
const FIRST_RETIRED = 1;
const LAST_RETIRED = 2;
const FREE = 3;
const SIZE = 4;

const NODE_HEADER_BYTES = 24;
const NEXT = 0;
const PREVIOUS = 1;
const STATE = 2;
const LINK = 3;
const COOKIE = 4;

const FREE_NODE = 0;
const TAKEN = 1;
const LINKED = 2;
const RETIRED = 3;

const MAX_NODES = 1 << 20;

/**
 * What joins an {@link RcuList} from another thread.
 *
 * @public
 */
export interface RcuListHandle {
  readonly capacity: number;
  readonly payloadBytes: number;
  readonly memory: SharedArrayBuffer;
  readonly writers: SpinLocksHandle;
}

/**
 * Options of {@link RcuList.create}.
 *
 * @public
 */
export interface RcuListOptions {
  readonly rcu: Rcu;
  /** Nodes, in the list or waiting for their grace period; 1 to 2^20. */
  readonly capacity: number;
  /** Bytes of a node that are the caller's; a multiple of 8. */
  readonly payloadBytes: number;
}

/**
 * A linked list that readers walk without a lock while writers change it. A removed node keeps its bytes until a grace
 * period has passed.
 *
 * Nodes are named by the byte offset of their payload in `buffer`, 0 = none. To add one: `allocate`, write the payload,
 * `insertFirst` or `insertAfter`. To change one: insert a changed copy, remove the old.
 *
 * Thread-safety: `first` and `next` inside a read section of any online CPU; writers exclude each other by a spin lock.
 *
 * @public
 */
export class RcuList {
  /** What another thread attaches with: plain data and shared memory. */
  readonly handle: RcuListHandle;
  readonly buffer: SharedArrayBuffer;
  readonly payloadBytes: number;
  readonly #rcu: Rcu;
  readonly #writers: SpinLocks;
  readonly #words: Int32Array;
  readonly #nodeBytes: number;

  private constructor(handle: RcuListHandle, rcu: Rcu) {
    this.handle = handle;
    this.buffer = handle.memory;
    this.payloadBytes = handle.payloadBytes;
    this.#rcu = rcu;
    this.#writers = SpinLocks.attach(handle.writers, { hal: rcu.hal });
    this.#words = new Int32Array(handle.memory);
    this.#nodeBytes = NODE_HEADER_BYTES + handle.payloadBytes;
  }

  /** Make the shared part, with every node free. Throws `RCU_INVALID_ARGUMENT`. */
  static create(options: RcuListOptions): RcuList {
    const { rcu, capacity, payloadBytes } = options;
    if (!Number.isInteger(capacity) || capacity < 1 || capacity > MAX_NODES) {
      throw new RcuError("RCU_INVALID_ARGUMENT", `capacity is ${capacity}; 1 to ${MAX_NODES} are possible`);
    }
    if (!Number.isInteger(payloadBytes) || payloadBytes < 8 || payloadBytes % 8 !== 0) {
      throw new RcuError("RCU_INVALID_ARGUMENT", `payloadBytes is ${payloadBytes}; a multiple of 8 is needed`);
    }
    const memory = new SharedArrayBuffer(HEADER_BYTES + capacity * (NODE_HEADER_BYTES + payloadBytes));
    const writers = SpinLocks.create({ name: "rcu-list", hal: rcu.hal }).handle;
    const list = new RcuList({ capacity, payloadBytes, memory, writers }, rcu);
    for (let index = capacity - 1; index >= 0; index--) list.#pushFree(list.#offsetOf(index));
    return list;
  }

  /** Join from another thread. */
  static attach(handle: RcuListHandle, options: { readonly rcu: Rcu }): RcuList {
    return new RcuList(handle, options.rcu);
  }

  /** Nodes in the list. */
  get size(): number {
    return Atomics.load(this.#words, SIZE);
  }

  /** The first node; inside a read section. */
  first(): number {
    return Atomics.load(this.#words, FIRST);
  }

  /** The node after `offset`, which may have been removed meanwhile; inside the read section that found it. */
  next(offset: number): number {
    return Atomics.load(this.#words, this.#word(offset) + NEXT);
  }

  /** A node to fill in, nobody else sees it; 0 while every node is in use or waits for its grace period. */
  allocate(): number {
    this.#writers.lock();
    let offset = this.#words[FREE];
    if (offset !== 0) this.#words[FREE] = this.#words[this.#word(offset) + LINK];
    else offset = this.#takeRetired();
    if (offset !== 0) this.#words[this.#word(offset) + STATE] = TAKEN;
    this.#writers.unlock();
    return offset;
  }

  /** Give back a node that was allocated and not inserted. */
  abandon(offset: number): void {
    this.#assertNode(offset);
    this.#locked(() => {
      this.#assertState(offset, TAKEN);
      this.#pushFree(offset);
    });
  }

  /** Publish an allocated node as the first of the list. */
  insertFirst(offset: number): void {
    this.#assertNode(offset);
    this.#locked(() => this.#link(offset, 0));
  }

  /** Publish an allocated node behind another, which must be in the list. */
  insertAfter(previous: number, offset: number): void {
    this.#assertNode(previous);
    this.#assertNode(offset);
    this.#locked(() => {
      this.#assertState(previous, LINKED);
      this.#link(offset, previous);
    });
  }

  /** Take a node out; its memory is used again after a grace period. False if it is not in the list (any more). */
  remove(offset: number): boolean {
    this.#assertNode(offset);
    return this.#locked(() => {
      const word = this.#word(offset);
      if (this.#words[word + STATE] !== LINKED) return false;
      const next = this.#words[word + NEXT];
      const previous = this.#words[word + PREVIOUS];
      if (next !== 0) this.#words[this.#word(next) + PREVIOUS] = previous;
      Atomics.store(this.#words, previous === 0 ? FIRST : this.#word(previous) + NEXT, next);
      Atomics.sub(this.#words, SIZE, 1);
      this.#retire(offset);
      return true;
    });
  }

  #link(offset: number, previous: number): void {
    this.#assertState(offset, TAKEN);
    const word = this.#word(offset);
    const at = previous === 0 ? FIRST : this.#word(previous) + NEXT;
    const next = this.#words[at];
    this.#words[word + PREVIOUS] = previous;
    this.#words[word + STATE] = LINKED;
    Atomics.store(this.#words, word + NEXT, next);
    if (next !== 0) this.#words[this.#word(next) + PREVIOUS] = offset;
    Atomics.store(this.#words, at, offset);
    Atomics.add(this.#words, SIZE, 1);
  }

  #retire(offset: number): void {
    const word = this.#word(offset);
    this.#words[word + STATE] = RETIRED;
    this.#words[word + LINK] = 0;
    this.#words[word + COOKIE] = this.#rcu.startPoll();
    const last = this.#words[LAST_RETIRED];
    if (last === 0) this.#words[FIRST_RETIRED] = offset;
    else this.#words[this.#word(last) + LINK] = offset;
    this.#words[LAST_RETIRED] = offset;
  }

  #takeRetired(): number {
    const offset = this.#words[FIRST_RETIRED];
    if (offset === 0 || !this.#rcu.poll(this.#words[this.#word(offset) + COOKIE])) return 0;
    this.#words[FIRST_RETIRED] = this.#words[this.#word(offset) + LINK];
    if (this.#words[FIRST_RETIRED] === 0) this.#words[LAST_RETIRED] = 0;
    return offset;
  }

  #pushFree(offset: number): void {
    const word = this.#word(offset);
    this.#words[word + STATE] = FREE_NODE;
    this.#words[word + LINK] = this.#words[FREE];
    this.#words[FREE] = offset;
  }

  #locked<Result>(act: () => Result): Result {
    this.#writers.lock();
    try {
      return act();
    } finally {
      this.#writers.unlock();
    }
  }

  #assertState(offset: number, state: number): void {
    if (this.#words[this.#word(offset) + STATE] === state) return;
    const wanted = state === TAKEN ? "allocated and not yet inserted" : "in the list";
    throw new RcuError("RCU_INVALID_ARGUMENT", `the node at ${offset} is not ${wanted}`);
  }

  #assertNode(offset: number): void {
    const index = (offset - NODE_HEADER_BYTES - HEADER_BYTES) / this.#nodeBytes;
    if (Number.isInteger(index) && index >= 0 && index < this.handle.capacity) return;
    throw new RcuError("RCU_INVALID_ARGUMENT", `there is no node at ${offset}`);
  }

  #offsetOf(index: number): number {
    return HEADER_BYTES + index * this.#nodeBytes + NODE_HEADER_BYTES;
  }

  #word(offset: number): number {
    return (offset - NODE_HEADER_BYTES) / 4;
  }
}
