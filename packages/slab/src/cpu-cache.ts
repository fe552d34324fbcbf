import type { CpuId } from "@x/smp";
import { COUNTER, COUNTERS_DOUBLE, CPU, cpuWord, MAGAZINE_ROUNDS, SHARED } from "./control.ts";
import type { ObjectChecks } from "./debug.ts";
import { SlabError } from "./errors.ts";
import type { KmemCache } from "./kmem-cache.ts";
import type { ObjectStore } from "./object-store.ts";
import type { SlabObserver } from "./options.ts";

/** What the views of one cache's CPUs have in common. */
export interface CpuCacheParts {
  readonly cache: KmemCache;
  readonly words: Int32Array;
  readonly control: Int32Array;
  readonly counters: Float64Array;
  readonly store: ObjectStore;
  readonly checks: ObjectChecks | undefined;
  readonly observer: SlabObserver | undefined;
}

// Of this module: engines fold its constants into the code of the fast path, but load those of others each time.
const ROUNDS = MAGAZINE_ROUNDS;
const ALLOC_FAST = COUNTER.allocFast;

/** Words up to which a loop clears faster than `fill`. */
const SMALL_CLEAR_WORDS = 32;

/**
 * A {@link KmemCache} as one CPU sees it, from {@link KmemCache.onThisCpu}: the same operations without asking which CPU
 * is running. Only for code that stays on this CPU: a thread of its own, or a section that is not preempted.
 *
 * Thread-safety: the CPU it was made for, nobody else. Cost: a few plain loads and stores; one spin lock in half a
 * magazine or more operations; for an object of another node one compare-exchange to free.
 *
 * @public
 */
export class CpuCache {
  readonly cache: KmemCache;
  readonly cpu: CpuId;
  readonly #at: number;
  readonly #counterAt: number;
  readonly #words: Int32Array;
  readonly #control: Int32Array;
  readonly #counters: Float64Array;
  readonly #store: ObjectStore;
  readonly #checks: ObjectChecks | undefined;
  readonly #observer: SlabObserver | undefined;
  /** Somebody checks or is told: nothing is done in bulk. */
  readonly #watched: boolean;
  /** {@link CpuCache.free} has more to do than to put the object into the magazine. */
  readonly #careful: boolean;
  readonly #magazineSize: number;
  readonly #numa: boolean;
  readonly #node: number;

  /** @internal */
  constructor(parts: CpuCacheParts, cpu: CpuId) {
    const { layout, nodeOfCpu } = parts.cache.handle;
    this.cache = parts.cache;
    this.cpu = cpu;
    this.#at = cpuWord(layout, cpu);
    this.#counterAt = (this.#at >> 1) + COUNTERS_DOUBLE + ALLOC_FAST;
    this.#words = parts.words;
    this.#control = parts.control;
    this.#counters = parts.counters;
    this.#store = parts.store;
    this.#checks = parts.checks;
    this.#observer = parts.observer;
    this.#watched = parts.checks !== undefined || parts.observer !== undefined;
    this.#magazineSize = layout.magazineSize;
    this.#numa = layout.nodes > 1;
    this.#node = this.#numa ? nodeOfCpu[cpu] : 0;
    this.#careful = this.#watched || this.#numa;
  }

  /** {@link KmemCache.alloc}. */
  alloc(): number {
    const control = this.#control;
    const magazine = control[this.#at];
    const rounds = control[magazine + ROUNDS] - 1;
    if (rounds < 0) return this.#allocSlow();
    control[magazine + ROUNDS] = rounds;
    const object = control[magazine + rounds];
    this.#counters[this.#counterAt]++;
    if (this.#watched) this.#onAlloc(object, true);
    return object;
  }

  /** {@link KmemCache.zalloc}. */
  zalloc(): number {
    if (this.cache.handle.constructed) {
      throw new SlabError("SLAB_INVALID_ARGUMENT", `${this.cache.name} has a constructor, which zalloc would undo`);
    }
    const object = this.alloc();
    if (object === 0) return 0;
    const from = object >> 2;
    const to = from + (this.cache.objectSize >> 2);
    if (to - from > SMALL_CLEAR_WORDS) this.#words.fill(0, from, to);
    else for (let i = from; i < to; i++) this.#words[i] = 0;
    return object;
  }

  /** {@link KmemCache.free}. */
  free(object: number): void {
    if (this.#careful || object <= 0 || (object & 7) !== 0) this.#freeCarefully(object);
    else this.#put(object);
  }

  /** {@link KmemCache.allocBulk}. */
  allocBulk(out: Int32Array, count: number): number {
    const control = this.#control;
    let done = 0;
    while (done < count) {
      const magazine = control[this.#at];
      const rounds = this.#watched ? 0 : Math.min(count - done, control[magazine + ROUNDS]);
      if (rounds === 0) {
        const object = this.alloc();
        if (object === 0) return done;
        out[done++] = object;
        continue;
      }
      const from = magazine + control[magazine + ROUNDS] - rounds;
      control[magazine + ROUNDS] -= rounds;
      for (let i = 0; i < rounds; i++) out[done++] = control[from + i];
      this.#counters[this.#counterAt] += rounds;
    }
    return done;
  }

  /** {@link KmemCache.freeBulk}. */
  freeBulk(list: Int32Array, count: number): void {
    const control = this.#control;
    let done = 0;
    while (done < count) {
      const magazine = control[this.#at];
      const rounds = control[magazine + ROUNDS];
      const room = this.#careful ? 0 : Math.min(count - done, this.#magazineSize - rounds);
      if (room === 0) {
        this.free(list[done++]);
        continue;
      }
      for (let i = 0; i < room; i++) {
        const object = list[done + i];
        if (object <= 0 || (object & 7) !== 0) {
          throw new SlabError("SLAB_FOREIGN_OBJECT", `${object} is not the offset of an object`);
        }
        control[magazine + rounds + i] = object;
      }
      control[magazine + ROUNDS] = rounds + room;
      done += room;
    }
  }

  /** Into the loaded magazine. Returns whether that took no lock. */
  #put(object: number): boolean {
    const control = this.#control;
    const magazine = control[this.#at];
    const rounds = control[magazine + ROUNDS];
    if (rounds === this.#magazineSize) return this.#putSlow(object);
    control[magazine + rounds] = object;
    control[magazine + ROUNDS] = rounds + 1;
    return true;
  }

  /** Whatever is no plain free of an object of this node. */
  #freeCarefully(object: number): void {
    if (object <= 0 || (object & 7) !== 0) {
      throw new SlabError("SLAB_FOREIGN_OBJECT", `${object} is not the offset of an object`);
    }
    if (this.#checks !== undefined) {
      this.#store.slabs.assertObject(object);
      this.#checks.onFree(object, this.cpu);
    }
    const home = this.#numa ? this.#store.slabs.homeOf(object) : this.#node;
    const fast = home === this.#node ? this.#put(object) : this.#putRemote(object, home);
    this.#observer?.onFree?.(this.cache, object, fast);
  }

  #onAlloc(object: number, fast: boolean): void {
    if (this.#checks !== undefined) this.#checks.onAlloc(object, this.cpu);
    if (this.#observer !== undefined) this.#observer.onAlloc?.(this.cache, object, fast);
  }

  #count(slot: number): void {
    this.#counters[this.#counterAt - ALLOC_FAST + slot]++;
  }

  /** The loaded magazine is empty. */
  #allocSlow(): number {
    const control = this.#control;
    const local = control[this.#store.depot.previous(this.cpu) + ROUNDS] !== 0;
    if (local) this.#store.depot.swap(this.cpu);
    else if (!this.#refill()) {
      this.#count(COUNTER.failures);
      return 0;
    }
    const magazine = control[this.#at + CPU.loaded];
    const object = control[magazine + --control[magazine + ROUNDS]];
    this.#count(local ? COUNTER.allocFast : COUNTER.allocSlow);
    this.#onAlloc(object, local);
    return object;
  }

  #refill(): boolean {
    if (Atomics.load(this.#control, SHARED.destroyed) !== 0) {
      throw new SlabError("SLAB_DESTROYED", `the cache ${this.cache.name} was destroyed`);
    }
    return this.#store.refill(this.#node, this.cpu);
  }

  /** The loaded magazine is full. Returns whether the other one was not. */
  #putSlow(object: number): boolean {
    const control = this.#control;
    const local = control[this.#store.depot.previous(this.cpu) + ROUNDS] < this.#magazineSize;
    if (!local) this.#store.unload(this.#node, this.cpu);
    this.#store.depot.swap(this.cpu);
    const magazine = control[this.#at + CPU.loaded];
    const rounds = control[magazine + ROUNDS];
    control[magazine + rounds] = object;
    control[magazine + ROUNDS] = rounds + 1;
    if (!local) this.#count(COUNTER.freeSlow);
    return local;
  }

  #putRemote(object: number, home: number): boolean {
    this.#store.remote.put(object, home);
    this.#count(COUNTER.remoteFrees);
    return true;
  }
}
