import type { SpinLocks } from "@x/smp";
import { COUNTER, COUNTERS_DOUBLE, CPU, MAGAZINE_LINK, MAGAZINE_ROUNDS, NODE, nodeWord, SHARED } from "./control.ts";
import type { ObjectChecks } from "./debug.ts";
import { SlabError } from "./errors.ts";
import type { KmemCacheHandle } from "./options.ts";
import type { PageSource } from "./page-source.ts";
import { SlabLayer } from "./slab-layer.ts";

/** What an {@link ObjectStore} works on; the same views as its cache. */
interface StoreParts {
  readonly handle: KmemCacheHandle;
  readonly pages: PageSource;
  readonly words: Int32Array;
  readonly control: Int32Array;
  readonly counters: Float64Array;
  readonly locks: SpinLocks;
  readonly checks: ObjectChecks | undefined;
  readonly onSlab: (slab: number, grown: boolean) => void;
}

/**
 * The layers below the CPUs: per node a depot of magazines, slabs, and the page source under them.
 *
 * Lock rule: the lock of one node at a time, none while the page source is called or an observer told.
 */
export class ObjectStore {
  readonly slabs: SlabLayer;
  readonly #parts: StoreParts;
  readonly #control: Int32Array;
  readonly #locks: SpinLocks;
  readonly #nodes: number;
  readonly #magazineSize: number;

  constructor(parts: StoreParts) {
    const { handle } = parts;
    this.slabs = new SlabLayer(parts.words, parts.control, handle.geometry, handle.name, handle.typeStable);
    this.#parts = parts;
    this.#control = parts.control;
    this.#locks = parts.locks;
    this.#nodes = handle.layout.nodes;
    this.#magazineSize = handle.layout.magazineSize;
  }

  /**
   * Fill the loaded magazine of the CPU at word `at`, which is empty: exchange it for a full one of the depot, else put
   * objects of slabs into it. `node` is the CPU's; other nodes serve when it has nothing. False: nothing is left.
   */
  refill(node: number, at: number): boolean {
    // Other CPUs may take the objects of a new slab before this one does: then try again, up to the limit of slabs.
    for (let from = node; from !== -1; from = this.#grow(node)) {
      if (this.#refillFrom(from, at)) return true;
    }
    for (let other = 0; other < this.#nodes; other++) {
      if (other !== node && this.#refillFrom(other, at)) return true;
    }
    return false;
  }

  #refillFrom(node: number, at: number): boolean {
    const control = this.#control;
    const base = nodeWord(node);
    this.#locks.lock(node);
    const full = control[base + NODE.fullMagazines];
    if (full !== 0) {
      this.#pop(base + NODE.fullMagazines);
      control[base + NODE.fullMagazineCount]--;
      this.#push(base + NODE.emptyMagazines, control[at + CPU.loaded]);
      control[at + CPU.loaded] = full;
      control[at + CPU.loadedRounds] = this.#magazineSize;
      this.#countExchange(at);
    } else {
      const wanted = Math.max(1, this.#magazineSize >> 1);
      control[at + CPU.loadedRounds] = this.slabs.take(node, control[at + CPU.loaded], wanted);
    }
    this.#locks.unlock(node);
    return control[at + CPU.loadedRounds] !== 0;
  }

  /**
   * Empty the previous magazine of the CPU at word `at`, which is full: exchange it for an empty one of the depot of
   * `node`, else return its objects to their slabs.
   */
  unload(node: number, at: number): void {
    const control = this.#control;
    const base = nodeWord(node);
    this.#locks.lock(node);
    const empty = control[base + NODE.emptyMagazines];
    if (empty !== 0) {
      this.#pop(base + NODE.emptyMagazines);
      this.#push(base + NODE.fullMagazines, control[at + CPU.previous]);
      control[base + NODE.fullMagazineCount]++;
      control[at + CPU.previous] = empty;
      this.#countExchange(at);
    }
    this.#locks.unlock(node);
    if (empty === 0) this.drain(at + CPU.previous);
    else control[at + CPU.previousRounds] = 0;
  }

  /**
   * Return the objects of one of a CPU's magazines to their slabs, holding the lock of one node at a time. Slabs that
   * became empty go back without a lock. A bad object throws and is dropped; the others stay in the magazine.
   */
  drain(magazine: number): void {
    const control = this.#control;
    const rounds = magazine + 1;
    let held = -1;
    try {
      while (control[rounds] > 0) {
        const object = control[control[magazine] + --control[rounds]];
        const home = this.slabs.homeOf(object);
        if (home !== held && held !== -1) held = this.#unlock(held);
        if (held === -1) this.#locks.lock(home);
        held = home;
        const emptied = this.slabs.give(object);
        if (emptied === 0) continue;
        held = this.#unlock(held);
        this.#release(emptied);
      }
    } finally {
      if (held !== -1) this.#unlock(held);
    }
  }

  #unlock(node: number): -1 {
    this.#locks.unlock(node);
    return -1;
  }

  /** Add a slab for `node`; returns the node whose lists it joined, -1 when there is no more memory. */
  #grow(node: number): number {
    const { order, slabBytes, strideBytes, objectsPerSlab } = this.#parts.handle.geometry;
    if (Atomics.add(this.#control, SHARED.slabs, 1) >= this.#parts.handle.slabLimit) {
      Atomics.sub(this.#control, SHARED.slabs, 1);
      return -1;
    }
    const slab = this.#parts.pages.allocPages(order, node);
    if (slab === 0) {
      Atomics.sub(this.#control, SHARED.slabs, 1);
      return -1;
    }
    if (slab % slabBytes !== 0) {
      throw new SlabError("SLAB_PAGE_SOURCE", `a block of ${slabBytes} bytes at ${slab} is not aligned to its size`);
    }
    const home = this.#homeFor(slab, node);
    this.#locks.lock(home);
    this.slabs.format(slab, home, this.slabs.nextColour(home));
    if (this.#parts.checks !== undefined) {
      const first = slab + this.slabs.firstOf(slab);
      for (let i = 0; i < objectsPerSlab; i++) this.#parts.checks.onFresh(first + i * strideBytes);
    }
    this.slabs.adopt(slab);
    this.#locks.unlock(home);
    this.#parts.onSlab(slab, true);
    return home;
  }

  /** The node whose lists a new slab joins: where its memory is, if that is a node with CPUs. */
  #homeFor(slab: number, wanted: number): number {
    if (this.#nodes === 1) return 0;
    const physical = this.#parts.pages.nodeOf?.(slab) ?? wanted;
    return physical >= 0 && physical < this.#nodes ? physical : wanted;
  }

  #release(slab: number): void {
    this.#parts.pages.freePages(slab, this.#parts.handle.geometry.order);
    Atomics.sub(this.#control, SHARED.slabs, 1);
    this.#parts.onSlab(slab, false);
  }

  /** Return every empty slab of `node`; returns how many. */
  releaseEmpty(node: number): number {
    for (let released = 0; ; released++) {
      this.#locks.lock(node);
      const slab = this.slabs.removeEmpty(node);
      this.#locks.unlock(node);
      if (slab === 0) return released;
      this.#release(slab);
    }
  }

  /** Draw the full magazines of a depot through the previous magazine of the calling CPU, whose words are at `at`. */
  emptyDepot(node: number, at: number): void {
    const control = this.#control;
    const base = nodeWord(node);
    const previous = at + CPU.previous;
    for (;;) {
      this.drain(previous);
      this.#locks.lock(node);
      const full = control[base + NODE.fullMagazines];
      if (full !== 0) {
        this.#pop(base + NODE.fullMagazines);
        control[base + NODE.fullMagazineCount]--;
        this.#push(base + NODE.emptyMagazines, control[previous]);
        control[previous] = full;
        control[previous + 1] = this.#magazineSize;
      }
      this.#locks.unlock(node);
      if (full === 0) return;
    }
  }

  /** Call `visit` with every object that is out of its slab, under the lock of its node. */
  forEachInUse(visit: (object: number) => void): void {
    for (let node = 0; node < this.#nodes; node++) {
      this.#locks.lock(node);
      try {
        this.slabs.forEachInUse(node, visit);
      } finally {
        this.#locks.unlock(node);
      }
    }
  }

  /** Magazines are named by the word of their first round; lists of them are linked through the words before. */
  #push(head: number, magazine: number): void {
    this.#control[magazine - MAGAZINE_ROUNDS + MAGAZINE_LINK] = this.#control[head];
    this.#control[head] = magazine;
  }

  #pop(head: number): void {
    this.#control[head] = this.#control[this.#control[head] - MAGAZINE_ROUNDS + MAGAZINE_LINK];
  }

  #countExchange(at: number): void {
    this.#parts.counters[(at >> 1) + COUNTERS_DOUBLE + COUNTER.depotExchanges]++;
  }
}
