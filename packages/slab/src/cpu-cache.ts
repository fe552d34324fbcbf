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
  readonly #watched: boolean;
  readonly #magazineSize: number;
  readonly #numa: boolean;
  readonly #node: number;

  /** @internal */
  constructor(parts: CpuCacheParts, cpu: CpuId) {
    const { layout, nodeOfCpu } = parts.cache.handle;
    this.cache = parts.cache;
    this.cpu = cpu;
    this.#at = cpuWord(layout, cpu);
    this.#counterAt = (this.#at >> 1) + COUNTERS_DOUBLE;
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
  }

  /** {@link KmemCache.alloc}. */
  alloc(): number {
    const control = this.#control;
    const magazine = control[this.#at];
    const rounds = control[magazine + MAGAZINE_ROUNDS] - 1;
    if (rounds < 0) return this.#allocSlow();
    control[magazine + MAGAZINE_ROUNDS] = rounds;
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
    if (object <= 0 || (object & 7) !== 0) {
      throw new SlabError("SLAB_FOREIGN_OBJECT", `${object} is not the offset of an object`);
    }
    if (this.#checks !== undefined) this.#check(object);
    if (this.#numa && this.#store.slabs.homeOf(object) !== this.#node) return this.#freeRemote(object);
    const control = this.#control;
    const magazine = control[this.#at];
    const rounds = control[magazine + MAGAZINE_ROUNDS];
    if (rounds === this.#magazineSize) return this.#freeSlow(object);
    control[magazine + rounds] = object;
    control[magazine + MAGAZINE_ROUNDS] = rounds + 1;
    this.#counters[this.#counterAt + COUNTER.freeFast]++;
    if (this.#observer !== undefined) this.#observer.onFree?.(this.cache, object, true);
  }

  /** {@link KmemCache.allocBulk}. */
  allocBulk(out: Int32Array, count: number): number {
    const control = this.#control;
    let done = 0;
    while (done < count) {
      const magazine = control[this.#at];
      const rounds = this.#watched ? 0 : Math.min(count - done, control[magazine + MAGAZINE_ROUNDS]);
      if (rounds === 0) {
        const object = this.alloc();
        if (object === 0) return done;
        out[done++] = object;
        continue;
      }
      const from = magazine + control[magazine + MAGAZINE_ROUNDS] - rounds;
      control[magazine + MAGAZINE_ROUNDS] -= rounds;
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
      const rounds = control[magazine + MAGAZINE_ROUNDS];
      const room = this.#watched || this.#numa ? 0 : Math.min(count - done, this.#magazineSize - rounds);
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
      control[magazine + MAGAZINE_ROUNDS] = rounds + room;
      this.#counters[this.#counterAt + COUNTER.freeFast] += room;
      done += room;
    }
  }

  #check(object: number): void {
    this.#store.slabs.assertObject(object);
    this.#checks!.onFree(object, this.cpu);
  }

  #onAlloc(object: number, fast: boolean): void {
    if (this.#checks !== undefined) this.#checks.onAlloc(object, this.cpu);
    if (this.#observer !== undefined) this.#observer.onAlloc?.(this.cache, object, fast);
  }

  #count(slot: number): void {
    this.#counters[this.#counterAt + slot]++;
  }

  /** The loaded magazine is empty. */
  #allocSlow(): number {
    const control = this.#control;
    const local = control[this.#store.depot.previous(this.cpu) + MAGAZINE_ROUNDS] !== 0;
    if (local) this.#store.depot.swap(this.cpu);
    else if (!this.#refill()) {
      this.#count(COUNTER.failures);
      return 0;
    }
    const magazine = control[this.#at + CPU.loaded];
    const object = control[magazine + --control[magazine + MAGAZINE_ROUNDS]];
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

  /** The loaded magazine is full. */
  #freeSlow(object: number): void {
    const control = this.#control;
    const local = control[this.#store.depot.previous(this.cpu) + MAGAZINE_ROUNDS] < this.#magazineSize;
    if (!local) this.#store.unload(this.#node, this.cpu);
    this.#store.depot.swap(this.cpu);
    const magazine = control[this.#at + CPU.loaded];
    const rounds = control[magazine + MAGAZINE_ROUNDS];
    control[magazine + rounds] = object;
    control[magazine + MAGAZINE_ROUNDS] = rounds + 1;
    this.#count(local ? COUNTER.freeFast : COUNTER.freeSlow);
    this.#observer?.onFree?.(this.cache, object, local);
  }

  #freeRemote(object: number): void {
    this.#store.remote.put(object, this.#store.slabs.homeOf(object));
    this.#count(COUNTER.remoteFrees);
    this.#count(COUNTER.freeFast);
    this.#observer?.onFree?.(this.cache, object, true);
  }
}
