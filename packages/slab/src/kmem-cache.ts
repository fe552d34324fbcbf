import { soloHal, SpinLocks } from "@x/smp";
import type { CpuId, Hal } from "@x/smp";
import { COUNTER, COUNTERS_DOUBLE, controlBytes, cpuWord, createControl, NODE, nodeWord, SHARED } from "./control.ts";
import { CpuCache } from "./cpu-cache.ts";
import type { CpuCacheParts } from "./cpu-cache.ts";
import { debugModes, ObjectChecks } from "./debug.ts";
import { SlabError } from "./errors.ts";
import { applyFlags } from "./flags.ts";
import { ObjectStore } from "./object-store.ts";
import { nodesOfCpus, ownPages, planControl, planGeometry } from "./options.ts";
import type {
  AttachOptions,
  KmemCacheHandle,
  KmemCacheOptions,
  LeakedObject,
  SlabMemory,
  SlabStats,
} from "./options.ts";
import type { PageSource } from "./page-source.ts";
import { limitOf, SharedPages } from "./shared-pages.ts";
import { Sheaf } from "./sheaf.ts";
import { SITE_TABLE_BYTES } from "./sites.ts";

/*
 * Three layers, as in Bonwick & Adams, «Magazines and Vmem» (USENIX 2001):
 *
 *   CPU layer    two magazines per CPU (loaded, previous): plain loads and stores by that CPU alone     cpu-cache.ts
 *   depot        full and empty magazines per node, under lock `node`                                   depot.ts
 *   slab layer   slabs of one page block each, per node, under the same lock                            slab-layer.ts
 *
 * and beside them, per node, the chain of objects that CPUs of other nodes freed (remote-frees.ts).
 *
 * Lock rule: at most one lock of a cache is held at a time, and none while the page source is called.
 *
 * Invariant: every object is in exactly one place: with the user, in one magazine, on one chain, or free in its slab's
 * bitmap. All counts of objects are made from these places when somebody asks, none is kept beside them, so none can
 * drift. Moves between CPUs go through a lock or the compare-exchange of the chain, which order the object's bytes. An
 * object that one CPU hands to another outside the cache is ordered by whatever handed it over.
 */

/**
 * A cache of equal objects in shared memory: `alloc` returns a byte offset into {@link KmemCache.buffer}, `free` takes it
 * back. Any CPU may free what another allocated.
 *
 * Thread-safety: one instance per thread, attached with that thread's `hal`; a CPU is run by one thread at a time.
 * Cost: see {@link CpuCache}; asking the `hal` for the CPU comes on top.
 *
 * @public
 */
export class KmemCache {
  readonly handle: KmemCacheHandle;
  readonly name: string;
  readonly buffer: SharedArrayBuffer;
  /** Bytes of an object: the size asked for, rounded up to 8. */
  readonly objectSize: number;
  readonly objectsPerSlab: number;
  readonly #hal: Hal;
  readonly #control: Int32Array;
  readonly #counters: Float64Array;
  readonly #store: ObjectStore;
  readonly #checks: ObjectChecks | undefined;
  readonly #cpus: readonly CpuCache[];
  readonly #only: CpuCache | undefined;

  private constructor(handle: KmemCacheHandle, hal: Hal, pages: PageSource, options: AttachOptions) {
    assertParts(handle, options);
    const { buffer } = pages;
    this.handle = handle;
    this.name = handle.name;
    this.buffer = buffer;
    this.objectSize = handle.geometry.objectBytes;
    this.objectsPerSlab = handle.geometry.objectsPerSlab;
    this.#hal = hal;
    // Without a length the view grows with a growable buffer.
    const words =
      limitOf(buffer) > buffer.byteLength ? new Int32Array(buffer) : new Int32Array(buffer, 0, buffer.byteLength >> 2);
    this.#control = new Int32Array(handle.control);
    this.#counters = new Float64Array(handle.control);
    const keepsBytes = handle.typeStable || handle.constructed;
    this.#checks =
      handle.debug === undefined
        ? undefined
        : new ObjectChecks(words, handle.geometry, handle.name, handle.debug, keepsBytes, handle.sites);
    this.#store = new ObjectStore({
      handle,
      pages,
      gracePeriods: options.gracePeriods,
      words,
      control: this.#control,
      counters: this.#counters,
      locks: SpinLocks.attach(handle.locks, { hal, observer: options.lockObserver }),
      checks: this.#checks,
      construct: options.construct,
      onSlab: (slab, grown) => options.observer?.onSlab?.(this, slab, grown),
    });
    const parts: CpuCacheParts = {
      cache: this,
      words,
      control: this.#control,
      counters: this.#counters,
      store: this.#store,
      checks: this.#checks,
      observer: options.observer,
    };
    this.#cpus = Array.from({ length: handle.layout.cpus }, (_, cpu) => new CpuCache(parts, cpu));
    this.#only = this.#cpus.length === 1 ? this.#cpus[0] : undefined;
  }

  /** Make a cache. Throws `SLAB_INVALID_ARGUMENT`. */
  static create(options: KmemCacheOptions): KmemCache {
    return KmemCache.createTagged(options, 0);
  }

  /** @internal {@link KmemCache.create} for a member of a set: `tag` is in the header of every slab. */
  static createTagged(given: KmemCacheOptions, tag: number): KmemCache {
    const options = applyFlags(given);
    const hal = options.hal ?? soloHal();
    const own = options.pages === undefined ? ownPages(options, hal) : undefined;
    const pages = options.pages ?? own!;
    const nodeOfCpu = nodesOfCpus(options, hal, pages);
    const geometry = planGeometry(options, pages, 1 + Math.max(0, ...nodeOfCpu));
    const layout = planControl(options, hal, geometry, nodeOfCpu, limitOf(pages.buffer));
    const debug = debugModes(options.debug);
    const handle: KmemCacheHandle = {
      name: options.name,
      geometry,
      layout,
      control: createControl(layout),
      locks: SpinLocks.create({ name: `slab:${options.name}`, count: layout.nodes, hal }).handle,
      nodeOfCpu,
      slabLimit: Math.floor((options.memoryLimit ?? limitOf(pages.buffer)) / geometry.slabBytes),
      typeStable: options.typeStable ?? false,
      deferred: options.gracePeriods !== undefined,
      constructed: options.construct !== undefined,
      tag,
      ...(debug === undefined ? {} : { debug }),
      ...(debug?.sites === true ? { sites: new SharedArrayBuffer(SITE_TABLE_BYTES) } : {}),
      ...(own === undefined ? {} : { pages: own.handle }),
    };
    return new KmemCache(handle, hal, pages, options);
  }

  /** Join from another thread. `pages` is needed unless the cache made its own. */
  static attach(handle: KmemCacheHandle, options: AttachOptions = {}): KmemCache {
    const hal = options.hal ?? soloHal();
    const own = handle.pages === undefined ? undefined : SharedPages.attach(handle.pages, { hal });
    const pages = options.pages ?? own;
    if (pages === undefined) throw new SlabError("SLAB_PAGE_SOURCE", `${handle.name} needs its page source to attach`);
    return new KmemCache(handle, hal, pages, options);
  }

  /** The cache as the calling CPU sees it: faster, and only for code that stays on this CPU. */
  onThisCpu(): CpuCache {
    return this.#here();
  }

  /** Offset of an object, its bytes undefined (constructed, if there is a constructor); 0 when nothing is left. */
  alloc(): number {
    return this.#here().alloc();
  }

  /** {@link KmemCache.alloc} that throws `SLAB_EXHAUSTED` when nothing is left. */
  allocOrThrow(): number {
    const object = this.alloc();
    if (object === 0) throw new SlabError("SLAB_EXHAUSTED", `${this.name} has no memory left`);
    return object;
  }

  /** {@link KmemCache.alloc}, with all bytes 0. Throws `SLAB_INVALID_ARGUMENT` where objects have a constructor. */
  zalloc(): number {
    return this.#here().zalloc();
  }

  /**
   * Take back `object`. Misuse that is found at once throws (`SLAB_FOREIGN_OBJECT`; `SLAB_DOUBLE_FREE` and
   * `SLAB_CORRUPTED` in debug mode); without debug mode a double free is found when the object reaches its slab.
   */
  free(object: number): void {
    this.#here().free(object);
  }

  /** Allocate up to `count` objects into `out[0..]`; returns how many there were. */
  allocBulk(out: Int32Array, count: number): number {
    return this.#here().allocBulk(out, count);
  }

  /** Free `list[0..count-1]`. */
  freeBulk(list: Int32Array, count: number): void {
    this.#here().freeBulk(list, count);
  }

  /** Objects in advance, for sections in which an allocation must not fail. Made once and filled again and again. */
  sheaf(capacity: number): Sheaf {
    return new Sheaf(this, capacity);
  }

  /** Bytes that may be used at `object`. Throws `SLAB_FOREIGN_OBJECT`. */
  usableSize(object: number): number {
    this.#store.slabs.assertObject(object);
    return this.#checks?.usedBytes(object) ?? this.objectSize;
  }

  /** @internal Where there are red zones, let them begin behind the first `bytes` bytes of an object in use. */
  narrow(object: number, bytes: number): void {
    this.#checks?.narrow(object, bytes);
  }

  /** Figures of now. With several nodes it takes their locks, one after the other, to count what is on its way home. */
  stats(): SlabStats {
    const { layout, geometry } = this.handle;
    const slabs = this.#sumNodes(NODE.slabs);
    const magazines = this.#store.depot.count();
    let onTheWay = 0;
    for (let node = 0; layout.nodes > 1 && node < layout.nodes; node++) onTheWay += this.#store.pendingRemote(node);
    const cachedObjects = magazines.held + onTheWay;
    const deferredSlabs = this.#sumNodes(NODE.deferredCount);
    const activeObjects = this.#sumNodes(NODE.inUse) - cachedObjects;
    const [allocFast, allocSlow, freeSlow] = [COUNTER.allocFast, COUNTER.allocSlow, COUNTER.freeSlow].map((slot) =>
      this.#sumCounter(slot),
    );
    return {
      name: this.name,
      objectSize: this.objectSize,
      objectsPerSlab: this.objectsPerSlab,
      slabBytes: geometry.slabBytes,
      slabs,
      emptySlabs: this.#sumNodes(NODE.emptyCount) + deferredSlabs,
      deferredSlabs,
      totalObjects: slabs * this.objectsPerSlab,
      activeObjects,
      cachedObjects,
      depotObjects: magazines.inDepots,
      peak: this.#sumNodes(NODE.peakInUse),
      allocFast,
      allocSlow,
      freeFast: Math.max(0, allocFast + allocSlow - activeObjects - freeSlow),
      freeSlow,
      remoteFrees: this.#sumCounter(COUNTER.remoteFrees),
      failures: this.#sumCounter(COUNTER.failures),
      depotExchanges: this.#sumCounter(COUNTER.depotExchanges),
    };
  }

  /** Bytes that the cache takes, by purpose. */
  memory(): SlabMemory {
    const { layout, geometry } = this.handle;
    const { magazines, map, other } = controlBytes(layout);
    const slabs = this.#sumNodes(NODE.slabs);
    const objectBytes = slabs * this.objectsPerSlab * this.objectSize;
    return {
      objectBytes,
      slabOverheadBytes: slabs * geometry.slabBytes - objectBytes,
      mapBytes: map,
      magazineBytes: magazines,
      controlBytes: other,
    };
  }

  /**
   * Return the objects in the magazines of `cpu` to their slabs. `cpu` must be the calling CPU or one that has stopped
   * between two calls; for one that died see {@link KmemCache.reportDead}.
   */
  flushCpu(cpu: CpuId): void {
    this.#store.flush(cpu);
  }

  /**
   * The thread of `cpu` has died, at whatever step: free the locks it held, repair what it left half changed, return the
   * objects in its magazines. What it had allocated stays allocated. Call it once per death, from any other CPU, when
   * the thread is really gone; may be repeated. Cost: the slabs of the nodes whose lock it held are looked through.
   *
   * @returns how many objects its magazines held.
   */
  reportDead(cpu: CpuId): number {
    return this.#store.reportDead(cpu);
  }

  /** Empty the depots and return empty slabs to the page source; any CPU may. Returns the slabs returned. */
  shrink(): number {
    let returned = 0;
    const cpu = this.#hal.currentCpu();
    for (let node = 0; node < this.handle.layout.nodes; node++) {
      this.#store.emptyDepot(node, cpu);
      returned += this.#store.releaseEmpty(node, cpu);
    }
    return returned;
  }

  /** Call `visit` with every object that is out of its slab, a lock held. Those in magazines are among them: flush first. */
  forEachOutstanding(visit: (object: number) => void): void {
    this.#store.forEachNode((node) => this.#store.slabs.forEachInUse(node, visit));
  }

  /**
   * Check every object in the slabs, free or in use, as debug mode does at alloc and free. Objects that rest in magazines
   * are checked when they leave. Throws `SLAB_CORRUPTED`; without debug mode there is nothing to check.
   *
   * @returns how many were checked.
   */
  verify(): number {
    const checks = this.#checks;
    if (checks === undefined) return 0;
    let checked = 0;
    this.#store.forEachNode((node) => {
      this.#store.slabs.forEachFree(node, (object) => (checks.assertFree(object), checked++));
      this.#store.slabs.forEachInUse(node, (object) => {
        if (checks.isFree(object)) return;
        checks.assertInUse(object);
        checked++;
      });
    });
    return checked;
  }

  /**
   * End of the cache: flush every CPU, return every slab without live objects. Every other CPU must have stopped using the
   * cache, readers of a type-stable one included. `report` is told of every object that was never freed; their slabs stay
   * where they are.
   *
   * @returns how many objects leaked.
   */
  destroy(report?: (leak: LeakedObject) => void): number {
    this.#assertAlive();
    const cpu = this.#hal.currentCpu();
    for (let other = 0; other < this.handle.layout.cpus; other++) this.#store.flush(other);
    for (let node = 0; node < this.handle.layout.nodes; node++) this.#store.emptyDepot(node, cpu);
    for (let node = 0; node < this.handle.layout.nodes; node++) this.#store.releaseAll(node, cpu);
    Atomics.store(this.#control, SHARED.destroyed, 1);
    if (report !== undefined) {
      this.forEachOutstanding((object) => {
        const owner = this.#checks?.owner(object);
        report(owner === undefined ? { object } : { object, cpu: owner.cpu, site: owner.allocSite });
      });
    }
    return this.#sumNodes(NODE.inUse);
  }

  /** Where there is one CPU nobody needs to be asked which one runs. */
  #here(): CpuCache {
    return this.#only ?? this.#cpus[this.#hal.currentCpu()];
  }

  #sumCounter(slot: number): number {
    let sum = 0;
    for (let cpu = 0; cpu < this.handle.layout.cpus; cpu++) {
      sum += this.#counters[(cpuWord(this.handle.layout, cpu) >> 1) + COUNTERS_DOUBLE + slot];
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

/** What is no part of a handle must come with the options. */
function assertParts(handle: KmemCacheHandle, options: AttachOptions): void {
  if (handle.constructed && options.construct === undefined) {
    throw new SlabError("SLAB_INVALID_ARGUMENT", `${handle.name} needs its constructor to attach`);
  }
  if (handle.deferred && !(handle.typeStable && options.gracePeriods !== undefined)) {
    throw new SlabError("SLAB_INVALID_ARGUMENT", `${handle.name} needs its grace periods, and to be type-stable`);
  }
}
