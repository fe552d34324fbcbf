import { PerCpuCounters, soloHal, SpinLocks, type Hal } from "@x/smp";
import { NumaError } from "../errors.ts";
import { AllocHint } from "./alloc-hint.ts";
import {
  ACCESS,
  FRAME,
  MovableLayout,
  MOVING,
  NEXT_FREE,
  PINS,
  REFERENCED,
  RESIDENT,
  RING_ENTRIES,
  STATE,
  USED,
} from "./movable-layout.ts";
import {
  BALANCED,
  BUSY,
  COUNTER_NAMES,
  DEMOTED,
  DROPPED,
  EVICTED,
  LOCAL_ACCESSES,
  NO_ROOM,
  REMOTE_ACCESSES,
  type MovableObserver,
  type MovablePagesHandle,
  type MovableStats,
  type MoveReason,
  type PageEvictor,
} from "./movable-types.ts";
import type { PageAllocator } from "./page-allocator.ts";

/** Accesses in a row from one node that make a page on another node look misplaced. */
const DEFAULT_STREAK = 2;
const STREAK_LIMIT = 0x7fff;

/**
 * Pages that keep their name while their memory moves between nodes: automatic balancing, demotion and replacement.
 *
 * A page has an id. {@link MovablePages.pin} gives the byte offset of its frame, which stays put until `unpin`. Pins are
 * also the samples for balancing: a page that a node used several times in a row while its frame is on another
 * node is noted, and {@link MovablePages.balance} moves it there (the two-stage filter of Linux's automatic NUMA
 * balancing, `should_numa_migrate_memory`). {@link MovablePages.reclaim} makes room on a node by the clock algorithm
 * (Corbató 1968): pages not used since the hand last passed go to a slower node, else to the evictor.
 *
 * Thread-safety: every method on every thread that attached; moves and pins exclude each other by one word per page. Cost: a
 * pin is a compare-exchange and at most two more atomics; nothing is allocated.
 *
 * @public
 */
export class MovablePages {
  readonly handle: MovablePagesHandle;
  readonly allocator: PageAllocator;
  /** Bytes of a page. */
  readonly bytes: number;
  readonly #hal: Hal;
  readonly #observer: MovableObserver | undefined;
  readonly #words: Int32Array;
  readonly #arena: Uint8Array;
  readonly #layout: MovableLayout;
  readonly #locks: SpinLocks;
  readonly #counters: PerCpuCounters;

  private constructor(handle: MovablePagesHandle, parts: MovableParts) {
    this.handle = handle;
    this.allocator = parts.pages;
    this.bytes = parts.pages.pageBytes << handle.order;
    this.#hal = parts.hal;
    this.#observer = parts.observer;
    this.#words = new Int32Array(handle.records);
    this.#arena = new Uint8Array(parts.pages.buffer);
    this.#layout = new MovableLayout(parts.pages.nodes.length, parts.hal.possibleCpus, handle.capacity);
    this.#locks = parts.locks;
    this.#counters = parts.counters;
  }

  /**
   * Room for `capacity` ids over the frames of `pages`. `order`: frames have `pageBytes << order` bytes (0). `streak`:
   * accesses in a row that make a page misplaced, 1 to 32767 (2). `demotion`: for a node the nodes its cold pages go to;
   * default: the nodes that no CPU belongs to, nearest first, and for those none.
   */
  static create(options: {
    readonly pages: PageAllocator;
    readonly capacity: number;
    readonly order?: number;
    readonly streak?: number;
    readonly demotion?: Readonly<Record<number, readonly number[]>>;
    readonly hal?: Hal;
    readonly observer?: MovableObserver | undefined;
  }): MovablePages {
    const { pages, capacity, order = 0, streak = DEFAULT_STREAK, hal = soloHal(), observer } = options;
    checkRange("capacity", capacity, 1, 2 ** 28);
    checkRange("order", order, 0, pages.maxOrder);
    checkRange("streak", streak, 1, STREAK_LIMIT);
    const demotion = options.demotion ?? defaultDemotion(pages);
    const layout = new MovableLayout(pages.nodes.length, hal.possibleCpus, capacity);
    const records = new SharedArrayBuffer(layout.words * 4);
    const words = new Int32Array(records);
    words[0] = 1;
    for (let id = 1; id < capacity; id++) words[layout.page(id) + NEXT_FREE] = id + 1;
    const locks = SpinLocks.create({ name: "page-ids", hal });
    const counters = PerCpuCounters.create<string>({ names: COUNTER_NAMES, hal });
    const handle = { capacity, order, streak, demotion, records, locks: locks.handle, counters: counters.handle };
    return new MovablePages(handle, { pages, hal, observer, locks, counters });
  }

  /** Joins from another thread; `pages` must be the attached allocator of the same arena. */
  static attach(
    handle: MovablePagesHandle,
    options: { readonly pages: PageAllocator; readonly hal: Hal; readonly observer?: MovableObserver | undefined },
  ): MovablePages {
    const { pages, hal, observer } = options;
    const locks = SpinLocks.attach(handle.locks, { hal });
    const counters = PerCpuCounters.attach(handle.counters, { hal });
    return new MovablePages(handle, { pages, hal, observer, locks, counters });
  }

  /** A new page with a frame placed by `hint`; 0 when there is no id or no frame left. The content is undefined. */
  map(hint?: AllocHint): number {
    this.#locks.lock();
    const id = this.#words[0];
    if (id !== 0) this.#words[0] = this.#words[this.#layout.page(id) + NEXT_FREE];
    this.#locks.unlock();
    if (id === 0) return 0;
    const at = this.#layout.page(id);
    Atomics.store(this.#words, at + ACCESS, 0);
    Atomics.store(this.#words, at + STATE, USED);
    if (this.populate(id, hint)) return id;
    this.#releaseId(id);
    return 0;
  }

  /** Gives a page and its frame back. Throws `NUMA_PINNED` while it is pinned. */
  unmap(page: number): void {
    const at = this.#pageAt(page);
    if (!this.#beginMove(at)) throw new NumaError("NUMA_PINNED", `page ${page} is pinned`);
    const state = Atomics.load(this.#words, at + STATE);
    if ((state & RESIDENT) !== 0) this.allocator.freePages(this.#frameOffset(at), this.handle.order);
    this.#releaseId(page);
  }

  /** Gives an evicted page a frame again; false when there is none. True at once for a page that has one. */
  populate(page: number, hint?: AllocHint): boolean {
    const at = this.#pageAt(page);
    if ((Atomics.load(this.#words, at + STATE) & RESIDENT) !== 0) return true;
    const offset = this.allocator.alloc(this.bytes, hint);
    if (offset === 0) return false;
    const mine = this.#beginMove(at);
    if (!mine || (Atomics.load(this.#words, at + STATE) & RESIDENT) !== 0) {
      // Another thread populates or has populated the page: its frame is as good.
      this.allocator.freePages(offset, this.handle.order);
      if (mine) this.#endMove(at);
      return this.#settle(at);
    }
    Atomics.store(this.#words, at + FRAME, offset / this.allocator.pageBytes);
    Atomics.store(this.#words, at + STATE, USED | RESIDENT | REFERENCED);
    return true;
  }

  /**
   * Byte offset of the page's frame, which stays there until {@link MovablePages.unpin}; 0 for an evicted page, which is
   * not pinned then. Waits with `hal.relax` while another CPU moves the page.
   */
  pin(page: number): number {
    const at = this.#pageAt(page);
    for (let spins = 1; ; spins++) {
      const state = Atomics.load(this.#words, at + STATE);
      if ((state & MOVING) !== 0) {
        this.#hal.relax(spins);
        continue;
      }
      if ((state & USED) === 0) return this.#noPage(page);
      if ((state & RESIDENT) === 0) return 0;
      if ((state & PINS) === PINS) throw new NumaError("NUMA_PINNED", `page ${page} is pinned ${PINS} times`);
      if (Atomics.compareExchange(this.#words, at + STATE, state, (state + 1) | REFERENCED) === state) break;
    }
    const offset = this.#frameOffset(at);
    this.#noteAccess(page, at, offset);
    return offset;
  }

  /** Undoes one {@link MovablePages.pin}. Throws `NUMA_PINNED` for a page that is not pinned. */
  unpin(page: number): void {
    const at = this.#pageAt(page);
    if ((Atomics.load(this.#words, at + STATE) & PINS) === 0) {
      throw new NumaError("NUMA_PINNED", `page ${page} is not pinned`);
    }
    Atomics.sub(this.#words, at + STATE, 1);
  }

  /** Node of the page's frame, -1 for an evicted page. A snapshot. */
  nodeOf(page: number): number {
    const at = this.#pageAt(page);
    const resident = (Atomics.load(this.#words, at + STATE) & RESIDENT) !== 0;
    return resident ? this.allocator.nodeOf(this.#frameOffset(at)) : -1;
  }

  /** Moves a page to `node`: true when it is there now, false when it is pinned, evicted, or `node` has no frame. */
  migrate(page: number, node: number): boolean {
    return this.#move(page, this.#pageAt(page), node, "asked");
  }

  /** Moves up to `limit` of the pages the calling CPU noted as misplaced to its node; returns how many it moved. */
  balance(limit: number = RING_ENTRIES): number {
    const cpu = this.#hal.currentCpu();
    const ring = this.#layout.ring(cpu);
    const node = this.allocator.nodeOfCpu(cpu);
    let moved = 0;
    for (let i = 0; i < limit && this.#words[ring] !== this.#words[ring + 1]; i++) {
      const page = this.#words[ring + 2 + (this.#words[ring + 1] % RING_ENTRIES)];
      this.#words[ring + 1] = (this.#words[ring + 1] + 1) % (2 * RING_ENTRIES);
      const at = this.#layout.page(page);
      const access = Atomics.load(this.#words, at + ACCESS);
      // In the meantime another node may have used the page, or it may be gone.
      if ((access & 0xffff) !== node + 1 || access >> 16 < this.handle.streak) continue;
      Atomics.store(this.#words, at + ACCESS, 0);
      if (this.#move(page, at, node, "balance")) moved++;
    }
    return moved;
  }

  /**
   * Frees up to `wantedBytes` of `node`'s frames: pages not accessed since the hand last passed move to the node's demotion
   * targets, or are given to `evict` when those are full. Looks at every page at most twice; returns the bytes freed.
   */
  reclaim(node: number, wantedBytes: number, evict?: PageEvictor): number {
    const row = this.allocator.nodes.indexOf(node);
    if (row < 0) throw new NumaError("NUMA_INVALID_NODE", `there is no memory on node ${node}`);
    const { capacity } = this.handle;
    let freed = 0;
    for (let step = 0; step < 2 * capacity && freed < wantedBytes; step++) {
      const hand = Atomics.add(this.#words, this.#layout.hand(row), 1) >>> 0;
      const page = 1 + (hand % capacity);
      const at = this.#layout.page(page);
      const state = Atomics.load(this.#words, at + STATE);
      if ((state & (RESIDENT | MOVING)) !== RESIDENT || (state & PINS) !== 0) continue;
      if (this.allocator.nodeOf(this.#frameOffset(at)) !== node) continue;
      if ((state & REFERENCED) !== 0) Atomics.and(this.#words, at + STATE, ~REFERENCED);
      else if (this.#demote(page, at, node) || (evict !== undefined && this.#evict(page, at, node, evict))) {
        freed += this.bytes;
      }
    }
    return freed;
  }

  /** Counts over all CPUs; they may be a moment old. */
  stats(): MovableStats {
    return this.#counters.snapshot() as unknown as MovableStats;
  }

  #demote(page: number, at: number, node: number): boolean {
    const targets = this.handle.demotion[node];
    if (targets === undefined) return false;
    for (let i = 0; i < targets.length; i++) if (this.#move(page, at, targets[i], "demotion")) return true;
    return false;
  }

  #evict(page: number, at: number, node: number, evict: PageEvictor): boolean {
    if (!this.#beginMove(at)) return false;
    const state = Atomics.load(this.#words, at + STATE);
    const offset = this.#frameOffset(at);
    const still = (state & RESIDENT) !== 0 && this.allocator.nodeOf(offset) === node;
    if (!still || !evict(page, offset, this.bytes)) {
      this.#endMove(at);
      return false;
    }
    Atomics.store(this.#words, at + STATE, USED);
    this.allocator.freePages(offset, this.handle.order);
    this.#count(EVICTED);
    this.#observer?.onEvict?.(page, node);
    return true;
  }

  #move(page: number, at: number, to: number, reason: MoveReason): boolean {
    if (!this.#beginMove(at)) {
      this.#count(BUSY);
      return false;
    }
    const resident = (Atomics.load(this.#words, at + STATE) & RESIDENT) !== 0;
    const old = this.#frameOffset(at);
    const from = resident ? this.allocator.nodeOf(old) : -1;
    const offset = !resident || from === to ? 0 : this.allocator.alloc(this.bytes, AllocHint.strictNode(to));
    if (offset === 0) {
      if (resident && from !== to) this.#count(NO_ROOM);
      this.#endMove(at);
      return reason === "asked" && resident && from === to;
    }
    this.#arena.copyWithin(offset, old, old + this.bytes);
    Atomics.store(this.#words, at + FRAME, offset / this.allocator.pageBytes);
    this.#endMove(at);
    this.allocator.freePages(old, this.handle.order);
    if (reason === "balance") this.#count(BALANCED);
    else if (reason === "demotion") this.#count(DEMOTED);
    this.#observer?.onMove?.(page, from, to, reason);
    return true;
  }

  /** Notes who uses the page; one that its user has used `streak` times in a row from elsewhere goes to the CPU's ring. */
  #noteAccess(page: number, at: number, offset: number): void {
    const cpu = this.#hal.currentCpu();
    const node = this.allocator.nodeOfCpu(cpu);
    const local = this.allocator.nodeOf(offset) === node;
    this.#count(local ? LOCAL_ACCESSES : REMOTE_ACCESSES);
    const access = Atomics.load(this.#words, at + ACCESS);
    if (local) {
      if (access !== node + 1) Atomics.store(this.#words, at + ACCESS, node + 1);
      return;
    }
    const streak = (access & 0xffff) === node + 1 ? Math.min((access >> 16) + 1, STREAK_LIMIT) : 1;
    const noted = streak !== this.handle.streak || this.#note(cpu, page);
    // Where the ring is full the streak stays one short, so that the next access tries again.
    Atomics.store(this.#words, at + ACCESS, (node + 1) | ((noted ? streak : streak - 1) << 16));
  }

  #note(cpu: number, page: number): boolean {
    const ring = this.#layout.ring(cpu);
    const pushed = this.#words[ring];
    const length = (pushed - this.#words[ring + 1] + 2 * RING_ENTRIES) % (2 * RING_ENTRIES);
    if (length === RING_ENTRIES) {
      this.#count(DROPPED);
      return false;
    }
    this.#words[ring + 2 + (pushed % RING_ENTRIES)] = page;
    this.#words[ring] = (pushed + 1) % (2 * RING_ENTRIES);
    return true;
  }

  /** Turns MOVING on unless the page is pinned, moving or unused. */
  #beginMove(at: number): boolean {
    const state = Atomics.load(this.#words, at + STATE);
    if ((state & USED) === 0 || (state & (MOVING | PINS)) !== 0) return false;
    return Atomics.compareExchange(this.#words, at + STATE, state, state | MOVING) === state;
  }

  #endMove(at: number): void {
    Atomics.and(this.#words, at + STATE, ~MOVING);
  }

  /** Waits until nobody moves the page; whether it has a frame then. */
  #settle(at: number): boolean {
    for (let spins = 1; ; spins++) {
      const state = Atomics.load(this.#words, at + STATE);
      if ((state & MOVING) === 0) return (state & RESIDENT) !== 0;
      this.#hal.relax(spins);
    }
  }

  #releaseId(id: number): void {
    const at = this.#layout.page(id);
    Atomics.store(this.#words, at + STATE, 0);
    this.#locks.lock();
    this.#words[at + NEXT_FREE] = this.#words[0];
    this.#words[0] = id;
    this.#locks.unlock();
  }

  #frameOffset(at: number): number {
    return Atomics.load(this.#words, at + FRAME) * this.allocator.pageBytes;
  }

  #pageAt(page: number): number {
    if (!Number.isInteger(page) || page < 1 || page > this.handle.capacity) return this.#noPage(page);
    const at = this.#layout.page(page);
    return (Atomics.load(this.#words, at + STATE) & USED) === 0 ? this.#noPage(page) : at;
  }

  #noPage(page: number): never {
    throw new NumaError("NUMA_BAD_PAGE", `${page} is no mapped page`);
  }

  #count(slot: number): void {
    this.#counters.addOn(this.#hal.currentCpu(), slot, 1);
  }
}

interface MovableParts {
  readonly pages: PageAllocator;
  readonly hal: Hal;
  readonly observer: MovableObserver | undefined;
  readonly locks: SpinLocks;
  readonly counters: PerCpuCounters;
}

/** The nodes without CPUs, in the order of each node's fallback list; slower memory takes in, it does not send on. */
function defaultDemotion(pages: PageAllocator): Readonly<Record<number, readonly number[]>> {
  const withCpus = new Set(pages.handle.nodeOfCpu);
  const entries = pages.nodes.map((node) => {
    const targets = withCpus.has(node) ? pages.fallbackOf(node).filter((to) => !withCpus.has(to)) : [];
    return [node, targets] as const;
  });
  return Object.fromEntries(entries);
}

function checkRange(name: string, value: number, least: number, most: number): void {
  if (Number.isInteger(value) && value >= least && value <= most) return;
  throw new NumaError("NUMA_INVALID_ARGUMENT", `${name} is ${value}; ${least} to ${most} is possible`);
}
