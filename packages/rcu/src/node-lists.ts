import { SpinLocks, type CpuId, type SpinLocksHandle } from "@x/smp";
import { RcuError } from "./errors.ts";
import { POISON_BYTE } from "./poison.ts";
import type { Rcu } from "./rcu.ts";

/*
 * Lists over one pool of nodes, each with a head of its own. Offsets in bytes, 0 = none.
 *
 * Header line: FIRST_RETIRED, LAST_RETIRED, FREE, SIZE, ABANDONMENT (1: there are nodes that a dead CPU had taken; Atomics)
 * Heads:       one word each, the first node of a list
 *
 * Node: NEXT      the list, for readers; kept when a node is removed, so that a reader on it finds its way on
 *       PREVIOUS  the list, for writers
 *       STATE     FREE_NODE, LINKED, RETIRED, ABANDONED, or TAKEN plus the CPU that took it
 *       LINK      the free list, or the list of retired nodes
 *       COOKIE    of a retired node: the grace period after which it may be used again
 *       HEAD      of a linked node: whose list it is in
 *       payload   written by whoever holds the node TAKEN, then only read
 *
 *   head -> node <-> node <-> node                     readers follow NEXT by Atomics
 *   FIRST_RETIRED -> oldest -> … -> newest <- LAST_RETIRED     first in first out: if the oldest is not free, none is
 *   FREE -> node -> node
 *
 * Everything but reading NEXT and payload happens under the writer lock, and but what is done to the nodes that a dead CPU had taken:
 * who reports the death marks them ABANDONED without waiting for the lock, whose owner may be dead as well; the next writer frees them.
 *
 * A writer that dies in the middle leaves NEXT right for readers, because each change shows by one store. The next writer, who
 * is told by the lock, finds from the heads which nodes are linked, and makes everything else anew (`#repair`).
 */
const HEADER_BYTES = 128;
const FIRST_RETIRED = 0;
const LAST_RETIRED = 1;
const FREE = 2;
const SIZE = 3;
const ABANDONMENT = 4;
const HEADS = HEADER_BYTES / 4;

const NODE_HEADER_BYTES = 24;
const NEXT = 0;
const PREVIOUS = 1;
const STATE = 2;
const LINK = 3;
const COOKIE = 4;
const HEAD = 5;

const FREE_NODE = 0;
const LINKED = 1;
const RETIRED = 2;
const ABANDONED = 3;
const TAKEN = 16;

const MAX_NODES = 1 << 20;

export interface NodeListsHandle {
  readonly heads: number;
  readonly capacity: number;
  readonly payloadBytes: number;
  readonly memory: SharedArrayBuffer;
  readonly writers: SpinLocksHandle;
}

export class NodeLists {
  readonly handle: NodeListsHandle;
  readonly #rcu: Rcu;
  readonly #writers: SpinLocks;
  readonly #words: Int32Array;
  readonly #bytes: Uint8Array;
  readonly #nodeBytes: number;
  readonly #nodesAt: number;

  constructor(handle: NodeListsHandle, rcu: Rcu) {
    this.handle = handle;
    this.#rcu = rcu;
    this.#writers = SpinLocks.attach(handle.writers, { hal: rcu.hal });
    this.#words = new Int32Array(handle.memory);
    this.#bytes = new Uint8Array(handle.memory);
    this.#nodeBytes = NODE_HEADER_BYTES + handle.payloadBytes;
    this.#nodesAt = nodesAt(handle.heads);
  }

  /** Every node free. Throws `RCU_INVALID_ARGUMENT`. */
  static create(
    rcu: Rcu,
    options: {
      readonly name: string;
      readonly heads: number;
      readonly capacity: number;
      readonly payloadBytes: number;
    },
  ): NodeLists {
    const { heads, capacity, payloadBytes } = options;
    if (!Number.isInteger(capacity) || capacity < 1 || capacity > MAX_NODES) {
      throw new RcuError("RCU_INVALID_ARGUMENT", `capacity is ${capacity}; 1 to ${MAX_NODES} are possible`);
    }
    if (!Number.isInteger(payloadBytes) || payloadBytes < 8 || payloadBytes % 8 !== 0) {
      throw new RcuError("RCU_INVALID_ARGUMENT", `payloadBytes is ${payloadBytes}; a multiple of 8 is needed`);
    }
    const memory = new SharedArrayBuffer(nodesAt(heads) + capacity * (NODE_HEADER_BYTES + payloadBytes));
    const writers = SpinLocks.create({ name: options.name, hal: rcu.hal }).handle;
    const lists = new NodeLists({ heads, capacity, payloadBytes, memory, writers }, rcu);
    for (let index = capacity - 1; index >= 0; index--) lists.#pushFree(lists.#offsetOf(index));
    return lists;
  }

  get size(): number {
    return Atomics.load(this.#words, SIZE);
  }

  first(head: number): number {
    return Atomics.load(this.#words, HEADS + head);
  }

  next(offset: number): number {
    const word = this.#word(offset);
    if (this.#rcu.debug) this.#assertReadable(offset);
    return Atomics.load(this.#words, word + NEXT);
  }

  allocate(): number {
    return this.#locked(() => {
      let offset = this.#words[FREE];
      if (offset !== 0) this.#words[FREE] = this.#words[this.#word(offset) + LINK];
      else offset = this.#takeRetired();
      if (offset !== 0) this.#words[this.#word(offset) + STATE] = TAKEN + this.#rcu.hal.currentCpu();
      return offset;
    });
  }

  abandon(offset: number): void {
    this.#assertNode(offset);
    this.#locked(() => {
      this.#assertTaken(offset);
      this.#pushFree(offset);
    });
  }

  insertFirst(head: number, offset: number): void {
    this.#assertNode(offset);
    this.#locked(() => this.#link(offset, head, 0));
  }

  insertAfter(previous: number, offset: number): void {
    this.#assertNode(previous);
    this.#assertNode(offset);
    this.#locked(() => {
      const word = this.#word(previous);
      if (this.#words[word + STATE] !== LINKED) throw wrongState(previous, "in a list");
      this.#link(offset, this.#words[word + HEAD], previous);
    });
  }

  remove(offset: number): boolean {
    this.#assertNode(offset);
    return this.#locked(() => {
      const word = this.#word(offset);
      if (this.#words[word + STATE] !== LINKED) return false;
      const next = this.#words[word + NEXT];
      const previous = this.#words[word + PREVIOUS];
      if (next !== 0) this.#words[this.#word(next) + PREVIOUS] = previous;
      const at = previous === 0 ? HEADS + this.#words[word + HEAD] : this.#word(previous) + NEXT;
      Atomics.store(this.#words, at, next);
      Atomics.sub(this.#words, SIZE, 1);
      this.#retire(offset);
      return true;
    });
  }

  /** `cpu` is dead: the lock it held goes to the next writer, who repairs and frees the nodes that were taken. Never waits. */
  reportDead(cpu: CpuId): void {
    this.#writers.releaseDeadOwner(cpu);
    this.#eachNode((_offset, word) => {
      Atomics.compareExchange(this.#words, word + STATE, TAKEN + cpu, ABANDONED);
    });
    Atomics.store(this.#words, ABANDONMENT, 1);
    if (!this.#writers.tryLock()) return;
    this.#settle(this.#writers.ownerDied());
    this.#writers.unlock();
  }

  #link(offset: number, head: number, previous: number): void {
    this.#assertTaken(offset);
    const word = this.#word(offset);
    const at = previous === 0 ? HEADS + head : this.#word(previous) + NEXT;
    const next = this.#words[at];
    this.#words[word + PREVIOUS] = previous;
    this.#words[word + HEAD] = head;
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
    if (this.#rcu.debug) this.#bytes.fill(POISON_BYTE, offset, offset + this.handle.payloadBytes);
    return offset;
  }

  #pushFree(offset: number): void {
    const word = this.#word(offset);
    this.#words[word + STATE] = FREE_NODE;
    this.#words[word + LINK] = this.#words[FREE];
    this.#words[FREE] = offset;
  }

  /** Under the writer lock, whose owner died at any step. */
  #repair(): void {
    const linked = new Set<number>();
    for (let head = 0; head < this.handle.heads; head++) {
      let previous = 0;
      for (let offset = this.first(head); offset !== 0; offset = this.#words[this.#word(offset) + NEXT]) {
        this.#words[this.#word(offset) + PREVIOUS] = previous;
        linked.add(offset);
        previous = offset;
      }
    }
    Atomics.store(this.#words, SIZE, linked.size);
    this.#words.fill(0, FIRST_RETIRED, FREE + 1);
    this.#eachNode((offset, word) => {
      const state = this.#words[word + STATE];
      if (state === FREE_NODE) this.#pushFree(offset);
      else if (state < TAKEN && !linked.has(offset)) this.#retire(offset);
    });
    this.#writers.markConsistent();
  }

  #eachNode(visit: (offset: number, word: number) => void): void {
    for (let index = this.handle.capacity - 1; index >= 0; index--) {
      const offset = this.#offsetOf(index);
      visit(offset, this.#word(offset));
    }
  }

  #locked<Result>(act: () => Result): Result {
    this.#settle(this.#writers.lock());
    try {
      return act();
    } finally {
      this.#writers.unlock();
    }
  }

  /** Under the writer lock: what the dead have left. */
  #settle(ownerDied: boolean): void {
    if (ownerDied) this.#repair();
    if (Atomics.load(this.#words, ABANDONMENT) === 0) return;
    Atomics.store(this.#words, ABANDONMENT, 0);
    this.#eachNode((offset, word) => {
      if (Atomics.load(this.#words, word + STATE) === ABANDONED) this.#pushFree(offset);
    });
  }

  #assertTaken(offset: number): void {
    if (this.#words[this.#word(offset) + STATE] < TAKEN) throw wrongState(offset, "allocated and not yet inserted");
  }

  /** Debug mode: a reader may stand on a node that is linked, or removed and not yet used again. */
  #assertReadable(offset: number): void {
    const state = this.#words[this.#word(offset) + STATE];
    if (state === LINKED || state === RETIRED) return;
    const message = `CPU ${this.#rcu.hal.currentCpu()} reads the node at ${offset}, which was freed: its grace period has ended`;
    throw new RcuError("RCU_USE_AFTER_FREE", message);
  }

  #assertNode(offset: number): void {
    const index = (offset - NODE_HEADER_BYTES - this.#nodesAt) / this.#nodeBytes;
    if (Number.isInteger(index) && index >= 0 && index < this.handle.capacity) return;
    throw new RcuError("RCU_INVALID_ARGUMENT", `there is no node at ${offset}`);
  }

  #offsetOf(index: number): number {
    return this.#nodesAt + index * this.#nodeBytes + NODE_HEADER_BYTES;
  }

  #word(offset: number): number {
    return (offset - NODE_HEADER_BYTES) / 4;
  }
}

/** Nodes begin at a multiple of 8, behind the heads. */
function nodesAt(heads: number): number {
  return HEADER_BYTES + Math.ceil(heads / 2) * 8;
}

function wrongState(offset: number, wanted: string): RcuError {
  return new RcuError("RCU_INVALID_ARGUMENT", `the node at ${offset} is not ${wanted}`);
}
