import { soloHal, SpinLocks } from "@x/smp";
import type { CpuId, Hal } from "@x/smp";
import { COUNTER, COUNTERS_DOUBLE, CPU, cpuWord, createControl, NODE, nodeWord, SHARED } from "./control.ts";
import { ObjectChecks } from "./debug.ts";
import { SlabError } from "./errors.ts";
import { planSlabs } from "./geometry.ts";
import { ObjectStore } from "./object-store.ts";
import { nodesOfCpus, ownPages, planControl } from "./options.ts";
import type { AttachOptions, KmemCacheHandle, KmemCacheOptions, SlabObserver, SlabStats } from "./options.ts";
import type { PageSource } from "./page-source.ts";
import { SharedPages } from "./shared-pages.ts";

/*
 * Three layers, as in Bonwick & Adams, «Magazines and Vmem» (USENIX 2001):
 *
 *   CPU layer    two magazines per CPU (loaded, previous): plain loads and stores by that CPU alone
 *   depot        full and empty magazines per node, under lock `node`
 *   slab layer   slabs of one page block each, per node, under the same lock
 *
 * Lock rule: at most one lock of a cache is held at a time, and none while the page source is called.
 *
 * Invariant: every object is in exactly one place: with the user, in one magazine, or free in its slab's bitmap. Moves
 * between CPUs go through a lock, whose release and acquire order the object's bytes. An object that one CPU hands to
 * another outside the cache is ordered by whatever handed it over.
 */

/** Words up to which a loop clears faster than `fill`. */
const SMALL_CLEAR_WORDS = 32;

/**
 * A cache of equal objects in shared memory: `alloc` returns a byte offset into {@link KmemCache.buffer}, `free` takes it
 * back. Any CPU may free what another allocated.
 *
 * Thread-safety: one instance per thread, attached with that thread's `hal`; a CPU is run by one thread at a time.
 * Cost: a few plain loads and stores; one spin lock in `magazineSize` or more operations.
 *
 * @public
 */
export class KmemCache {
  readonly handle: KmemCacheHandle;
  readonly name: string;
  readonly buffer: SharedArrayBuffer;
  /** Bytes of an object. */
  readonly objectSize: number;
  readonly objectsPerSlab: number;
  readonly #hal: Hal;
  readonly #words: Int32Array;
  readonly #control: Int32Array;
  readonly #counters: Float64Array;
  readonly #store: ObjectStore;
  readonly #checks: ObjectChecks | undefined;
  readonly #observer: SlabObserver | undefined;
  readonly #cpuBase: number;
  readonly #cpuStride: number;
  readonly #magazineSize: number;
  readonly #numa: boolean;

  private constructor(handle: KmemCacheHandle, hal: Hal, pages: PageSource, options: AttachOptions) {
    this.handle = handle;
    this.name = handle.name;
    this.buffer = pages.buffer;
    this.objectSize = handle.geometry.objectBytes;
    this.objectsPerSlab = handle.geometry.objectsPerSlab;
    this.#hal = hal;
    this.#words = new Int32Array(pages.buffer, 0, pages.buffer.byteLength >> 2);
    this.#control = new Int32Array(handle.control);
    this.#counters = new Float64Array(handle.control);
    this.#checks = handle.debug
      ? new ObjectChecks(this.#words, handle.geometry, handle.name, !handle.typeStable)
      : undefined;
    this.#observer = options.observer;
    this.#cpuBase = cpuWord(handle.layout, 0);
    this.#cpuStride = cpuWord(handle.layout, 1) - this.#cpuBase;
    this.#magazineSize = handle.layout.magazineSize;
    this.#numa = handle.layout.nodes > 1;
    this.#store = new ObjectStore({
      handle,
      pages,
      words: this.#words,
      control: this.#control,
      counters: this.#counters,
      locks: SpinLocks.attach(handle.locks, { hal, observer: options.lockObserver }),
      checks: this.#checks,
      onSlab: (slab, grown) => this.#observer?.onSlab?.(this, slab, grown),
    });
  }

  /** Make a cache. Throws `SLAB_INVALID_ARGUMENT`. */
  static create(options: KmemCacheOptions): KmemCache {
    const hal = options.hal ?? soloHal();
    const own = options.pages === undefined ? ownPages(options, hal) : undefined;
    const pages = options.pages ?? own!;
    const debug = options.debug ?? false;
    const geometry = planSlabs(options.objectSize, options.align ?? 8, pages.pageBytes, debug);
    const nodeOfCpu = nodesOfCpus(options, hal, pages);
    const layout = planControl(options, hal, geometry, nodeOfCpu);
    const handle: KmemCacheHandle = {
      name: options.name,
      geometry,
      layout,
      control: createControl(layout),
      locks: SpinLocks.create({ name: `slab:${options.name}`, count: layout.nodes, hal }).handle,
      nodeOfCpu,
      slabLimit: Math.floor((options.memoryLimit ?? pages.buffer.byteLength) / geometry.slabBytes),
      typeStable: options.typeStable ?? false,
      debug,
      ...(own === undefined ? {} : { pages: own.handle }),
    };
    return new KmemCache(handle, hal, pages, options);
  }

  /** Join from another thread. `pages` is needed unless the cache made its own. */
  static attach(handle: KmemCacheHandle, options: AttachOptions): KmemCache {
    const hal = options.hal ?? soloHal();
    const own = handle.pages === undefined ? undefined : SharedPages.attach(handle.pages, { hal });
    const pages = options.pages ?? own;
    if (pages === undefined) throw new SlabError("SLAB_PAGE_SOURCE", `${handle.name} needs its page source to attach`);
    return new KmemCache(handle, hal, pages, options);
  }

  /** Offset of an object, its bytes undefined; 0 when nothing is left. */
  alloc(): number {
    const cpu = this.#hal.currentCpu();
    const at = this.#cpuBase + cpu * this.#cpuStride;
    const control = this.#control;
    const rounds = control[at + CPU.loadedRounds];
    if (rounds === 0) return this.#allocSlow(cpu, at);
    control[at + CPU.loadedRounds] = rounds - 1;
    const object = control[control[at + CPU.loaded] + rounds - 1];
    this.#counters[(at >> 1) + COUNTERS_DOUBLE + COUNTER.allocFast]++;
    if (this.#checks !== undefined) this.#checks.onAlloc(object, cpu);
    if (this.#observer !== undefined) this.#observer.onAlloc?.(this, object, true);
    return object;
  }

  /** {@link KmemCache.alloc}, with all bytes 0. */
  zalloc(): number {
    const object = this.alloc();
    if (object === 0) return 0;
    const from = object >> 2;
    const to = from + (this.objectSize >> 2);
    if (to - from > SMALL_CLEAR_WORDS) this.#words.fill(0, from, to);
    else for (let i = from; i < to; i++) this.#words[i] = 0;
    return object;
  }

  /**
   * Take back `object`. Misuse that is found at once throws (`SLAB_FOREIGN_OBJECT`; `SLAB_DOUBLE_FREE` and
   * `SLAB_CORRUPTED` in debug mode); without debug mode a double free is found when the object reaches its slab.
   */
  free(object: number): void {
    const cpu = this.#hal.currentCpu();
    const at = this.#cpuBase + cpu * this.#cpuStride;
    const control = this.#control;
    if (object <= 0 || (object & 7) !== 0) {
      throw new SlabError("SLAB_FOREIGN_OBJECT", `${object} is not the offset of an object`);
    }
    if (this.#checks !== undefined) {
      this.#store.slabs.assertObject(object);
      this.#checks.onFree(object, cpu);
    }
    if (this.#numa && this.#store.slabs.homeOf(object) !== this.#nodeOf(cpu)) return this.#freeRemote(object, cpu, at);
    const rounds = control[at + CPU.loadedRounds];
    if (rounds === this.#magazineSize) return this.#freeSlow(object, cpu, at);
    control[control[at + CPU.loaded] + rounds] = object;
    control[at + CPU.loadedRounds] = rounds + 1;
    this.#counters[(at >> 1) + COUNTERS_DOUBLE + COUNTER.freeFast]++;
    if (this.#observer !== undefined) this.#observer.onFree?.(this, object, true);
  }

  /** Allocate up to `count` objects into `out[0..]`; returns how many there were. */
  allocBulk(out: Int32Array, count: number): number {
    const at = this.#cpuAt(this.#hal.currentCpu());
    const control = this.#control;
    const plain = this.#checks === undefined && this.#observer === undefined;
    let done = 0;
    while (done < count) {
      const rounds = plain ? Math.min(count - done, control[at + CPU.loadedRounds]) : 0;
      if (rounds > 0) {
        control[at + CPU.loadedRounds] -= rounds;
        const from = control[at + CPU.loaded] + control[at + CPU.loadedRounds];
        for (let i = 0; i < rounds; i++) out[done++] = control[from + i];
        this.#counters[(at >> 1) + COUNTERS_DOUBLE + COUNTER.allocFast] += rounds;
      } else {
        const object = this.alloc();
        if (object === 0) return done;
        out[done++] = object;
      }
    }
    return done;
  }

  /** Free `list[0..count-1]`. */
  freeBulk(list: Int32Array, count: number): void {
    for (let i = 0; i < count; i++) this.free(list[i]);
  }

  /** Figures of now. */
  stats(): SlabStats {
    const allocFast = this.#sumCounter(COUNTER.allocFast);
    const allocSlow = this.#sumCounter(COUNTER.allocSlow);
    const freeFast = this.#sumCounter(COUNTER.freeFast);
    const freeSlow = this.#sumCounter(COUNTER.freeSlow);
    const slabs = this.#sumNodes(NODE.slabs);
    const activeObjects = allocFast + allocSlow - freeFast - freeSlow;
    return {
      name: this.name,
      objectSize: this.objectSize,
      objectsPerSlab: this.objectsPerSlab,
      slabBytes: this.handle.geometry.slabBytes,
      slabs,
      emptySlabs: this.#sumNodes(NODE.emptyCount),
      totalObjects: slabs * this.objectsPerSlab,
      activeObjects,
      cachedObjects: this.#sumNodes(NODE.inUse) - activeObjects,
      depotObjects: this.#sumNodes(NODE.fullMagazineCount) * this.#magazineSize,
      peak: this.#sumNodes(NODE.peakInUse),
      allocFast,
      allocSlow,
      freeFast,
      freeSlow,
      remoteFrees: this.#sumCounter(COUNTER.remoteFrees),
      failures: this.#sumCounter(COUNTER.failures),
      depotExchanges: this.#sumCounter(COUNTER.depotExchanges),
    };
  }

  /**
   * Return the objects in the magazines of `cpu` to their slabs. `cpu` must be the calling CPU or one that has stopped:
   * nobody else may write its words.
   */
  flushCpu(cpu: CpuId): void {
    const at = this.#cpuAt(cpu);
    this.#store.drain(at + CPU.loaded);
    this.#store.drain(at + CPU.previous);
    this.#store.drain(at + CPU.remote);
  }

  /** Empty the depots and return empty slabs to the page source; any CPU may. Returns the slabs returned. */
  reap(): number {
    let returned = 0;
    const at = this.#cpuAt(this.#hal.currentCpu());
    for (let node = 0; node < this.handle.layout.nodes; node++) {
      this.#store.emptyDepot(node, at);
      if (!this.handle.typeStable) returned += this.#store.releaseEmpty(node);
    }
    return returned;
  }

  /** Call `visit` with every object that is out of its slab. Those in magazines are among them: flush first. */
  forEachOutstanding(visit: (object: number) => void): void {
    this.#store.forEachInUse(visit);
  }

  /**
   * End of the cache: flush every CPU, return every slab without live objects. Every other CPU must have stopped using the
   * cache. Returns how many objects were never freed; their slabs stay where they are.
   */
  destroy(): number {
    this.#assertAlive();
    for (let cpu = 0; cpu < this.handle.layout.cpus; cpu++) this.flushCpu(cpu);
    for (let node = 0; node < this.handle.layout.nodes; node++) {
      this.#store.emptyDepot(node, this.#cpuAt(this.#hal.currentCpu()));
      this.#store.releaseEmpty(node);
    }
    Atomics.store(this.#control, SHARED.destroyed, 1);
    return this.#sumNodes(NODE.inUse);
  }

  #cpuAt(cpu: number): number {
    return this.#cpuBase + cpu * this.#cpuStride;
  }

  #nodeOf(cpu: number): number {
    return this.#numa ? this.handle.nodeOfCpu[cpu] : 0;
  }

  #count(at: number, slot: number): void {
    this.#counters[(at >> 1) + COUNTERS_DOUBLE + slot]++;
  }

  #allocSlow(cpu: number, at: number): number {
    const control = this.#control;
    this.#swapMagazines(at);
    const local = control[at + CPU.loadedRounds] !== 0;
    if (!local && !this.#refill(cpu, at)) {
      this.#count(at, COUNTER.failures);
      return 0;
    }
    const rounds = --control[at + CPU.loadedRounds];
    const object = control[control[at + CPU.loaded] + rounds];
    this.#count(at, local ? COUNTER.allocFast : COUNTER.allocSlow);
    this.#checks?.onAlloc(object, cpu);
    this.#observer?.onAlloc?.(this, object, local);
    return object;
  }

  #refill(cpu: number, at: number): boolean {
    this.#assertAlive();
    return this.#store.refill(this.#nodeOf(cpu), at);
  }

  #freeSlow(object: number, cpu: number, at: number): void {
    const control = this.#control;
    const local = control[at + CPU.previousRounds] < this.#magazineSize;
    if (!local) this.#store.unload(this.#nodeOf(cpu), at);
    this.#swapMagazines(at);
    const rounds = control[at + CPU.loadedRounds]++;
    control[control[at + CPU.loaded] + rounds] = object;
    this.#count(at, local ? COUNTER.freeFast : COUNTER.freeSlow);
    this.#observer?.onFree?.(this, object, local);
  }

  #freeRemote(object: number, cpu: number, at: number): void {
    const control = this.#control;
    const rounds = control[at + CPU.remoteRounds];
    control[control[at + CPU.remote] + rounds] = object;
    control[at + CPU.remoteRounds] = rounds + 1;
    const full = rounds + 1 === this.#magazineSize;
    if (full) this.#store.drain(at + CPU.remote);
    this.#count(at, COUNTER.remoteFrees);
    this.#count(at, full ? COUNTER.freeSlow : COUNTER.freeFast);
    this.#observer?.onFree?.(this, object, !full);
  }

  #swapMagazines(at: number): void {
    const control = this.#control;
    const loaded = control[at + CPU.loaded];
    const rounds = control[at + CPU.loadedRounds];
    control[at + CPU.loaded] = control[at + CPU.previous];
    control[at + CPU.loadedRounds] = control[at + CPU.previousRounds];
    control[at + CPU.previous] = loaded;
    control[at + CPU.previousRounds] = rounds;
  }

  #sumCounter(slot: number): number {
    let sum = 0;
    for (let cpu = 0; cpu < this.handle.layout.cpus; cpu++) {
      sum += this.#counters[(this.#cpuAt(cpu) >> 1) + COUNTERS_DOUBLE + slot];
    }
    return sum;
  }

  #sumNodes(word: number): number {
    let sum = 0;
    for (let node = 0; node < this.handle.layout.nodes; node++) sum += this.#control[nodeWord(node) + word];
    return sum;
  }

  #assertAlive(): void {
    if (Atomics.load(this.#control, SHARED.destroyed) !== 0) {
      throw new SlabError("SLAB_DESTROYED", `the cache ${this.name} was destroyed`);
    }
  }
}
