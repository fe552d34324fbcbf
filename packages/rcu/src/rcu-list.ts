import type { CpuId, SpinLocksHandle } from "@x/smp";
import { NodeLists } from "./node-lists.ts";
import type { Rcu } from "./rcu.ts";

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
  readonly #lists: NodeLists;

  private constructor(lists: NodeLists) {
    const { capacity, payloadBytes, memory, writers } = lists.handle;
    this.handle = { capacity, payloadBytes, memory, writers };
    this.buffer = memory;
    this.payloadBytes = payloadBytes;
    this.#lists = lists;
  }

  /** Make the shared part, with every node free. Throws `RCU_INVALID_ARGUMENT`. */
  static create(options: RcuListOptions): RcuList {
    const { capacity, payloadBytes } = options;
    return new RcuList(NodeLists.create(options.rcu, { name: "rcu-list", heads: 1, capacity, payloadBytes }));
  }

  /** Join from another thread. */
  static attach(handle: RcuListHandle, options: { readonly rcu: Rcu }): RcuList {
    return new RcuList(new NodeLists({ ...handle, heads: 1 }, options.rcu));
  }

  /** Nodes in the list. */
  get size(): number {
    return this.#lists.size;
  }

  /** The first node; inside a read section. */
  first(): number {
    return this.#lists.first(0);
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

  /** Publish an allocated node as the first of the list. */
  insertFirst(offset: number): void {
    this.#lists.insertFirst(0, offset);
  }

  /** Publish an allocated node behind another, which must be in the list. */
  insertAfter(previous: number, offset: number): void {
    this.#lists.insertAfter(previous, offset);
  }

  /** Take a node out; its memory is used again after a grace period. False if it is not in the list (any more). */
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
