import {
  PerCpuCounters,
  soloHal,
  SpinLocks,
  type Hal,
  type LockObserver,
  type PerCpuCountersHandle,
  type SpinLocksHandle,
} from "@x/smp";
import { NumaError } from "../errors.ts";
import type { AllocHint } from "./alloc-hint.ts";
import { BuddyZones } from "./buddy-zones.ts";
import type { NumaMemoryPolicy } from "./memory-policy.ts";
import { layOut, reserve, zoneLists, type PageZone, type ZoneList } from "./page-layout.ts";
import {
  INTERLEAVE_HIT,
  LOCAL_NODE,
  NUMA_FOREIGN,
  NUMA_HIT,
  NUMA_MISS,
  OTHER_NODE,
  STAT_NAMES,
  type NumaStats,
  type PageObserver,
} from "./page-observer.ts";

const STATS = STAT_NAMES.length;

/**
 * Options of {@link PageAllocator.create}.
 *
 * @public
 */
export interface PageAllocatorOptions {
  /** Memory by node, in the order it lies in the arena; a node may have several zones. Bytes are rounded down to pages. */
  readonly zones: readonly { readonly node: number; readonly bytes: number }[];
  /** A power of two, 64 to 2^30. Default 4096. */
  readonly pageBytes?: number;
  /** Largest block is 2^maxOrder pages; 0 to {@link MAX_PAGE_ORDER}. Default 10. */
  readonly maxOrder?: number;
  readonly hal?: Hal;
  /** For a node the nodes to try, in order: {@link NumaTopology.fallback}. Default: itself, then the others by id. */
  readonly fallback?: Readonly<Record<number, readonly number[]>>;
  /** Node of every CPU; asked once for each possible CPU. Default, and for CPUs of no node: the first zone's node. */
  readonly nodeOfCpu?: ((cpu: number) => number) | readonly number[];
  readonly observer?: PageObserver | undefined;
  readonly lockObserver?: LockObserver | undefined;
}

/**
 * What joins a {@link PageAllocator} from another thread.
 *
 * @public
 */
export interface PageAllocatorHandle {
  readonly pageBytes: number;
  readonly maxOrder: number;
  readonly arena: SharedArrayBuffer;
  readonly records: SharedArrayBuffer;
  readonly zones: readonly PageZone[];
  readonly lists: readonly { readonly node: number; readonly zones: readonly number[] }[];
  readonly nodeOfCpu: readonly number[];
  readonly locks: SpinLocksHandle;
  readonly counters: PerCpuCountersHandle;
}

/**
 * Pages of several nodes in one shared arena: a binary buddy system per zone, one spin lock per zone.
 *
 * Blocks are named by byte offsets into {@link PageAllocator.buffer}; a block of order n has `pageBytes << n` bytes and
 * starts at a multiple of that. Offset 0 is never handed out and means «none». The content of a new block is undefined.
 *
 * Thread-safety: every method may be called on every thread that attached. Lock order: at most one zone lock at a time,
 * none is held while the observer runs. Cost: one lock, then most often one list operation; at worst a few dozen blocks
 * are merged, each in at most `maxOrder` steps. Nothing is allocated.
 *
 * @public
 */
export class PageAllocator {
  readonly handle: PageAllocatorHandle;
  /** The arena: all zones. */
  readonly buffer: SharedArrayBuffer;
  readonly pageBytes: number;
  /** The largest block has `pageBytes << maxOrder` bytes. */
  readonly maxOrder: number;
  readonly #hal: Hal;
  readonly #observer: PageObserver | undefined;
  readonly #buddies: BuddyZones;
  readonly #locks: SpinLocks;
  readonly #counters: PerCpuCounters;
  readonly #lists: readonly ZoneList[];
  /** What the hot paths read of the zones, and of the CPUs, as plain numbers. */
  readonly #zoneNode: Int32Array;
  readonly #zoneFirst: Int32Array;
  readonly #zoneEnd: Int32Array;
  readonly #nodeOfCpu: Int32Array;
  readonly #largestBytes: number;
  readonly #pagesPerByte: number;
  /** Node id to index in `#lists`; -1 for ids nobody has. */
  readonly #listOfNode: Int32Array;

  private constructor(handle: PageAllocatorHandle, parts: PageAllocatorParts) {
    this.handle = handle;
    this.buffer = handle.arena;
    this.pageBytes = handle.pageBytes;
    this.maxOrder = handle.maxOrder;
    this.#hal = parts.hal;
    this.#observer = parts.observer;
    this.#buddies = parts.buddies;
    this.#locks = parts.locks;
    this.#counters = parts.counters;
    this.#lists = handle.lists;
    this.#zoneNode = Int32Array.from(handle.zones, (zone) => zone.node);
    this.#zoneFirst = Int32Array.from(handle.zones, (zone) => zone.firstPage);
    this.#zoneEnd = Int32Array.from(handle.zones, (zone) => zone.firstPage + zone.pageCount);
    this.#nodeOfCpu = Int32Array.from(handle.nodeOfCpu);
    this.#pagesPerByte = 1 / handle.pageBytes;
    this.#largestBytes = handle.pageBytes * 2 ** handle.maxOrder;
    this.#listOfNode = new Int32Array(Math.max(...handle.lists.map((list) => list.node)) + 1).fill(-1);
    for (const [index, list] of handle.lists.entries()) this.#listOfNode[list.node] = index;
  }

  /** Makes the arena. Throws `NUMA_INVALID_ARGUMENT` for zones that cannot be laid out or are too large for the host. */
  static create(options: PageAllocatorOptions): PageAllocator {
    const { pageBytes = 4096, maxOrder = 10, hal = soloHal(), fallback = {}, observer, lockObserver } = options;
    const { zones, arenaPages } = layOut(options.zones, pageBytes, maxOrder);
    const nodeOfCpu = Array.from({ length: hal.possibleCpus }, (_, cpu) => {
      const node = typeof options.nodeOfCpu === "function" ? options.nodeOfCpu(cpu) : options.nodeOfCpu?.[cpu];
      return node === undefined || node < 0 ? zones[0].node : node;
    });
    const lists = zoneLists(zones, fallback, nodeOfCpu);
    const buddies = BuddyZones.create(zones, maxOrder, arenaPages);
    const locks = SpinLocks.create({ name: "zone", count: zones.length, hal, observer: lockObserver });
    const names = lists.flatMap(({ node }) => STAT_NAMES.map((name) => `${node}.${name}`));
    const counters = PerCpuCounters.create<string>({ names, hal });
    const handle: PageAllocatorHandle = {
      pageBytes,
      maxOrder,
      arena: reserve(arenaPages * pageBytes),
      records: buddies.memory,
      zones,
      lists,
      nodeOfCpu,
      locks: locks.handle,
      counters: counters.handle,
    };
    return new PageAllocator(handle, { hal, observer, buddies, locks, counters });
  }

  /** Joins the allocator whose `handle` came from another thread. */
  static attach(
    handle: PageAllocatorHandle,
    options: {
      readonly hal: Hal;
      readonly observer?: PageObserver | undefined;
      readonly lockObserver?: LockObserver | undefined;
    },
  ): PageAllocator {
    const { hal, observer, lockObserver } = options;
    const arenaPages = handle.arena.byteLength / handle.pageBytes;
    const buddies = BuddyZones.attach(handle.zones, handle.maxOrder, handle.records, arenaPages);
    const locks = SpinLocks.attach(handle.locks, { hal, observer: lockObserver });
    const counters = PerCpuCounters.attach(handle.counters, { hal });
    return new PageAllocator(handle, { hal, observer, buddies, locks, counters });
  }

  /** Ids of the nodes that have pages here, ascending. */
  get nodes(): readonly number[] {
    return [...new Set(this.#zoneNode)].sort((a, b) => a - b);
  }

  /** Bytes of all zones. */
  get totalBytes(): number {
    return this.handle.zones.reduce((sum, zone) => sum + zone.pageCount, 0) * this.pageBytes;
  }

  /**
   * A block of `pageBytes << order` bytes, from `node` (-1: the calling CPU's) or the next in its fallback list.
   * 0 when none of them has one. Throws `NUMA_INVALID_ARGUMENT` and `NUMA_INVALID_NODE`.
   */
  allocPages(order: number, node = -1): number {
    this.#checkOrder(order);
    return this.#allocate(order, node, false, undefined);
  }

  /** Gives a block back. Throws `NUMA_BAD_OFFSET`, `NUMA_DOUBLE_FREE`, `NUMA_WRONG_ORDER`, and nothing has changed. */
  freePages(offset: number, order: number): void {
    this.#checkOrder(order);
    // Exact, since pageBytes is a power of two; `| 0` because there are fewer than 2^31 pages.
    const exact = offset * this.#pagesPerByte;
    const page = exact | 0;
    const zone = page === exact ? this.#zoneOf(page) : -1;
    if (zone < 0) throw new NumaError("NUMA_BAD_OFFSET", `offset ${offset} is no page of this allocator`);
    this.#locks.lock(zone);
    try {
      this.#buddies.put(zone, page, order);
    } finally {
      this.#locks.unlock(zone);
    }
    this.#observer?.onFree?.(offset, order, this.#zoneNode[zone]);
  }

  /** The smallest block of at least `bytes` bytes, placed by `hint` (default: any). 0 when there is none. */
  alloc(bytes: number, hint?: AllocHint): number {
    const order = this.orderFor(bytes);
    if (hint === undefined || hint.kind === "any" || hint.kind === "local") {
      return this.#allocate(order, -1, false, undefined);
    }
    return this.#allocate(order, hint.node, hint.kind === "strict", undefined);
  }

  /** Gives back what {@link PageAllocator.alloc} or `allocWithPolicy` returned for as many bytes. */
  free(offset: number, bytes: number): void {
    this.freePages(offset, this.orderFor(bytes));
  }

  /** The smallest block of at least `bytes` bytes, placed by `policy`. 0 when the policy allows none that is free. */
  allocWithPolicy(bytes: number, policy: NumaMemoryPolicy): number {
    const order = this.orderFor(bytes);
    switch (policy.kind) {
      case "default":
        return this.#allocate(order, -1, false, undefined);
      case "preferred":
        return this.#allocate(order, policy.preferredNode, false, undefined);
      case "bind":
        return this.#allocate(order, -1, false, policy);
      default:
        return this.#interleave(order, policy);
    }
  }

  /** The order of the smallest block that holds `bytes`. Throws `NUMA_INVALID_ARGUMENT` when the largest does not. */
  orderFor(bytes: number): number {
    if (!(bytes >= 1 && bytes <= this.#largestBytes)) {
      const message = `${bytes} bytes cannot be allocated; 1 to ${this.#largestBytes} can`;
      throw new NumaError("NUMA_INVALID_ARGUMENT", message);
    }
    return 32 - Math.clz32(Math.ceil(bytes * this.#pagesPerByte) - 1);
  }

  /** Node of the memory at a byte offset. Throws `NUMA_BAD_OFFSET` where no zone is. */
  nodeOf(offset: number): number {
    const zone = this.#zoneOf(Math.floor(offset * this.#pagesPerByte));
    if (zone >= 0) return this.#zoneNode[zone];
    throw new NumaError("NUMA_BAD_OFFSET", `offset ${offset} is in no zone`);
  }

  /** Node of a CPU, as it was given at creation. */
  nodeOfCpu(cpu: number): number {
    return this.#nodeOfCpu[cpu] ?? -1;
  }

  /** The nodes memory wanted on `node` is taken from, in order. Throws `NUMA_INVALID_NODE`. */
  fallbackOf(node: number): readonly number[] {
    const { zones } = this.#lists[this.#listIndex(node)];
    return [...new Set(zones.map((zone) => this.#zoneNode[zone]))];
  }

  /** Free bytes of a node; 0 for a node without memory. A snapshot under the zone's lock. */
  freeBytes(node: number): number {
    let pages = 0;
    for (const zone of this.#zonesOf(node)) {
      this.#locks.lock(zone);
      pages += this.#buddies.freePages(zone);
      this.#locks.unlock(zone);
    }
    return pages * this.pageBytes;
  }

  /** Free blocks of a node by order, as a line of /proc/buddyinfo. */
  buddyInfo(node: number): number[] {
    const counts: number[] = Array.from({ length: this.maxOrder + 1 }, () => 0);
    for (const zone of this.#zonesOf(node)) {
      this.#locks.lock(zone);
      for (let order = 0; order <= this.maxOrder; order++) counts[order] += this.#buddies.freeBlocks(zone, order);
      this.#locks.unlock(zone);
    }
    return counts;
  }

  /** The node's numastat counters, summed over all CPUs; they may be a moment old. Throws `NUMA_INVALID_NODE`. */
  stats(node: number): NumaStats {
    const first = this.#listIndex(node) * STATS;
    const sum = (counter: number): number => this.#counters.sum(first + counter);
    return {
      numaHit: sum(NUMA_HIT),
      numaMiss: sum(NUMA_MISS),
      numaForeign: sum(NUMA_FOREIGN),
      interleaveHit: sum(INTERLEAVE_HIT),
      localNode: sum(LOCAL_NODE),
      otherNode: sum(OTHER_NODE),
    };
  }

  /** Sets all counters to 0. Only while no CPU allocates. */
  resetStats(): void {
    this.#counters.reset();
  }

  /** What contradicts itself in the allocator's records; empty when nothing does. Cost: all pages, under the locks. */
  verify(): string[] {
    return this.handle.zones.flatMap((_, zone) => {
      this.#locks.lock(zone);
      const faults = this.#buddies.faults(zone);
      this.#locks.unlock(zone);
      return faults.map((fault) => `zone ${zone}: ${fault}`);
    });
  }

  /**
   * Linux's `zone_statistics` (mm/page_alloc.c): the wanted node is that of the first zone that may be used, so that a node
   * without memory never counts as missed.
   */
  #allocate(order: number, node: number, strict: boolean, bind: NumaMemoryPolicy | undefined): number {
    const cpu = this.#hal.currentCpu();
    const wanted = node < 0 ? this.#nodeOfCpu[cpu] : node;
    const { zones } = this.#lists[this.#listIndex(wanted)];
    let preferred = -1;
    for (let i = 0; i < zones.length; i++) {
      const zone = zones[i];
      const from = this.#zoneNode[zone];
      if (strict && from !== wanted) continue;
      if (bind !== undefined && !bind.isNodeAllowed(from)) continue;
      if (preferred < 0) preferred = from;
      const page = this.#takeLocked(zone, order);
      if (page === 0) continue;
      this.#count(cpu, preferred, from);
      const offset = page * this.pageBytes;
      this.#observer?.onAlloc?.(offset, order, from, wanted);
      return offset;
    }
    return 0;
  }

  #interleave(order: number, policy: NumaMemoryPolicy): number {
    let node = policy.takeTurn();
    // Nodes without memory here lose their turn; there are no more turns than nodes.
    for (let i = 1; i < policy.nodes.length && !this.#hasZone(node); i++) node = policy.takeTurn();
    if (!this.#hasZone(node)) return this.#allocate(order, -1, false, undefined);
    const offset = this.#allocate(order, node, false, undefined);
    if (offset !== 0 && this.nodeOf(offset) === node) {
      this.#counters.addOn(this.#hal.currentCpu(), this.#listIndex(node) * STATS + INTERLEAVE_HIT, 1);
    }
    return offset;
  }

  #takeLocked(zone: number, order: number): number {
    this.#locks.lock(zone);
    try {
      return this.#buddies.take(zone, order);
    } finally {
      this.#locks.unlock(zone);
    }
  }

  #count(cpu: number, preferred: number, from: number): void {
    const counters = this.#counters;
    const slot = this.#listOfNode[from] * STATS;
    if (from === preferred) {
      counters.addOn(cpu, slot + NUMA_HIT, 1);
    } else {
      counters.addOn(cpu, slot + NUMA_MISS, 1);
      counters.addOn(cpu, this.#listOfNode[preferred] * STATS + NUMA_FOREIGN, 1);
    }
    counters.addOn(cpu, slot + (from === this.#nodeOfCpu[cpu] ? LOCAL_NODE : OTHER_NODE), 1);
  }

  #listIndex(node: number): number {
    const index = node >= 0 && node < this.#listOfNode.length ? this.#listOfNode[node] : -1;
    if (index >= 0) return index;
    throw new NumaError("NUMA_INVALID_NODE", `there is no node ${node}`);
  }

  #hasZone(node: number): boolean {
    return this.#zoneNode.includes(node);
  }

  #zonesOf(node: number): number[] {
    return [...this.#zoneNode.keys()].filter((zone) => this.#zoneNode[zone] === node);
  }

  /** The zone a page is in, or -1. There are few zones, in ascending order. */
  #zoneOf(page: number): number {
    for (let zone = 0; zone < this.#zoneFirst.length; zone++) {
      if (page >= this.#zoneFirst[zone] && page < this.#zoneEnd[zone]) return zone;
    }
    return -1;
  }

  #checkOrder(order: number): void {
    if (Number.isInteger(order) && order >= 0 && order <= this.maxOrder) return;
    throw new NumaError("NUMA_INVALID_ARGUMENT", `order ${order} is not from 0 to ${this.maxOrder}`);
  }
}

interface PageAllocatorParts {
  readonly hal: Hal;
  readonly observer: PageObserver | undefined;
  readonly buddies: BuddyZones;
  readonly locks: SpinLocks;
  readonly counters: PerCpuCounters;
}
