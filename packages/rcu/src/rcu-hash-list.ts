import type { CpuId, SpinLocksHandle } from "@x/smp";
import { RcuError } from "./errors.ts";
import { NodeLists } from "./node-lists.ts";
import type { Rcu } from "./rcu.ts";

const MAX_BUCKETS = 1 << 20;

/**
 * What joins an {@link RcuHashList} from another thread.
 *
 * @public
 */
export interface RcuHashListHandle {
  readonly buckets: number;
  readonly capacity: number;
  readonly payloadBytes: number;
  readonly memory: SharedArrayBuffer;
  readonly writers: SpinLocksHandle;
}

/**
 * Options of {@link RcuHashList.create}.
 *
 * @public
 */
export interface RcuHashListOptions {
  readonly rcu: Rcu;
  /** Lists; a power of two from 1 to 2^20. Does not grow. */
  readonly buckets: number;
  /** Nodes, in a list or waiting for their grace period; 1 to 2^20. */
  readonly capacity: number;
  /** Bytes of a node that are the caller's, key and value; a multiple of 8. */
  readonly payloadBytes: number;
}

/**
 * Lists of {@link RcuList}'s kind, one for each value of the low bits of a hash (Linux: `hlist`): a table that readers search
 * without a lock while writers change it. The keys are the caller's, in the payload; a hash must be the same for the same key.
 *
 * To search: `for (let node = table.first(hash); node !== 0; node = table.next(node))`, comparing keys.
 *
 * Thread-safety: `first` and `next` inside a read section of any online CPU; writers exclude each other by one spin lock. For a
 * table with many writers, that grows, see `FlowTable` of `@x/perf-cache`.
 *
 * @public
 */
export class RcuHashList {
  /** What another thread attaches with: plain data and shared memory. */
  readonly handle: RcuHashListHandle;
  readonly buffer: SharedArrayBuffer;
  readonly payloadBytes: number;
  readonly #lists: NodeLists;
  readonly #mask: number;

  private constructor(lists: NodeLists) {
    const { heads, capacity, payloadBytes, memory, writers } = lists.handle;
    this.handle = { buckets: heads, capacity, payloadBytes, memory, writers };
    this.buffer = memory;
    this.payloadBytes = payloadBytes;
    this.#lists = lists;
    this.#mask = heads - 1;
  }

  /** Make the shared part, with every node free. Throws `RCU_INVALID_ARGUMENT`. */
  static create(options: RcuHashListOptions): RcuHashList {
    const { buckets, capacity, payloadBytes } = options;
    if (!Number.isInteger(buckets) || buckets < 1 || buckets > MAX_BUCKETS || (buckets & (buckets - 1)) !== 0) {
      throw new RcuError("RCU_INVALID_ARGUMENT", `buckets is ${buckets}; a power of two to ${MAX_BUCKETS} is needed`);
    }
    const name = "rcu-hash-list";
    return new RcuHashList(NodeLists.create(options.rcu, { name, heads: buckets, capacity, payloadBytes }));
  }

  /** Join from another thread. */
  static attach(handle: RcuHashListHandle, options: { readonly rcu: Rcu }): RcuHashList {
    return new RcuHashList(new NodeLists({ ...handle, heads: handle.buckets }, options.rcu));
  }

  /** Nodes in all lists. */
  get size(): number {
    return this.#lists.size;
  }

  /** The first node with a hash like this, by its low bits; inside a read section. */
  first(hash: number): number {
    return this.#lists.first(hash & this.#mask);
  }

  /**
   * The node after `offset`, which may have been removed meanwhile; inside the read section that found it. In debug mode throws
   * `RCU_USE_AFTER_FREE` for a node whose grace period has ended.
   */
  next(offset: number): number {
    return this.#lists.next(offset);
  }

  /** A node to fill in, nobody else sees it; 0 while every node is in use or waits for its grace period. */
  allocate(): number {
    return this.#lists.allocate();
  }

  /** Give back a node that was allocated and not inserted. */
  abandon(offset: number): void {
    this.#lists.abandon(offset);
  }

  /** Publish an allocated node under `hash`, before older ones. */
  insert(offset: number, hash: number): void {
    this.#lists.insertFirst(hash & this.#mask, offset);
  }

  /** Take a node out; its memory is used again after a grace period. False if it is not in a list (any more). */
  remove(offset: number): boolean {
    return this.#lists.remove(offset);
  }

  /**
   * The thread of `cpu` has died: a change it was making is whole or undone, and nodes it had allocated and not inserted are free.
   * Only when that thread certainly runs no more.
   */
  reportDead(cpu: CpuId): void {
    this.#lists.reportDead(cpu);
  }
}
