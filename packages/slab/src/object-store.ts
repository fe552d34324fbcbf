import type { SpinLocks } from "@x/smp";
import { CPU, cpuWord, MAGAZINE_ROUNDS, NODE, nodeWord, SHARED } from "./control.ts";
import type { ObjectChecks } from "./debug.ts";
import { Depot } from "./depot.ts";
import { SlabError } from "./errors.ts";
import type { KmemCacheHandle } from "./options.ts";
import type { GracePeriods, PageSource } from "./page-source.ts";
import { RemoteFrees } from "./remote-frees.ts";
import { SlabLayer } from "./slab-layer.ts";

/** What an {@link ObjectStore} works on; the same views as its cache. */
interface StoreParts {
  readonly handle: KmemCacheHandle;
  readonly pages: PageSource;
  readonly gracePeriods: GracePeriods | undefined;
  readonly words: Int32Array;
  readonly control: Int32Array;
  readonly counters: Float64Array;
  readonly locks: SpinLocks;
  readonly checks: ObjectChecks | undefined;
  readonly construct: ((object: number) => void) | undefined;
  readonly onSlab: (slab: number, grown: boolean) => void;
}

/**
 * The layers below the CPUs: per node a depot of magazines, slabs, and the page source under them.
 *
 * Lock rule: the lock of one node at a time, none while the page source is called or an observer told.
 *
 * Death of a holder: `reportDead` marks the CPU and the nodes it held as broken before it frees their locks; whoever
 * has the lock next repairs the node. Every method that takes a CPU is called for the calling CPU or one that has stopped.
 */
export class ObjectStore {
  readonly slabs: SlabLayer;
  readonly depot: Depot;
  readonly remote: RemoteFrees;
  readonly #parts: StoreParts;
  readonly #control: Int32Array;
  readonly #locks: SpinLocks;
  readonly #nodes: number;
  readonly #magazineSize: number;

  constructor(parts: StoreParts) {
    const { handle } = parts;
    this.slabs = new SlabLayer(parts.words, parts.control, handle);
    this.#parts = parts;
    this.#control = parts.control;
    this.depot = new Depot(parts.control, parts.counters, handle.layout);
    this.remote = new RemoteFrees(parts.control, parts.words, this.slabs);
    this.#locks = parts.locks;
    this.#nodes = handle.layout.nodes;
    this.#magazineSize = handle.layout.magazineSize;
  }

  /**
   * Fill the loaded magazine of `cpu`; both its magazines are empty: exchange one for a full one of the depot, else put
   * objects into it. `node` is the CPU's; other nodes serve when it has nothing. False: nothing is left.
   */
  refill(node: number, cpu: number): boolean {
    // Other CPUs may take the objects of a new slab before this one does: then try again, up to the limit of slabs.
    for (let from = node; from !== -1; from = this.#grow(node, cpu)) {
      if (this.#refillFrom(from, cpu)) return true;
    }
    for (let other = 0; other < this.#nodes; other++) {
      if (other !== node && this.#refillFrom(other, cpu)) return true;
    }
    return false;
  }

  #refillFrom(node: number, cpu: number): boolean {
    this.#lock(node);
    if (this.depot.hasFull(node)) {
      this.depot.takeFull(node, cpu);
      this.depot.swap(cpu);
    } else {
      const magazine = this.depot.loaded(cpu);
      const wanted = Math.max(1, this.#magazineSize >> 1);
      const returned = this.remote.take(node, magazine, wanted);
      if (returned < wanted) this.slabs.take(node, magazine, wanted - returned);
    }
    this.#locks.unlock(node);
    return this.#control[this.depot.loaded(cpu) + MAGAZINE_ROUNDS] !== 0;
  }

  /** Empty the previous magazine of `cpu`, which is full: exchange it for an empty one, else return its objects. */
  unload(node: number, cpu: number): void {
    this.#lock(node);
    const exchange = this.depot.hasEmpty(node);
    if (exchange) this.depot.takeEmpty(node, cpu);
    this.#locks.unlock(node);
    if (!exchange) this.drain(this.depot.previous(cpu), cpu);
  }

  /**
   * Return the objects of a magazine to their slabs, holding the lock of one node at a time. Slabs that became empty go
   * back without a lock. A bad object throws and is dropped; the others stay in the magazine.
   */
  drain(magazine: number, cpu: number): void {
    const control = this.#control;
    const rounds = magazine + MAGAZINE_ROUNDS;
    let held = -1;
    try {
      while (control[rounds] > 0) {
        const object = control[magazine + control[rounds] - 1];
        const home = this.#homeOrDrop(object, rounds);
        if (home !== held && held !== -1) held = this.#unlock(held);
        if (held === -1) this.#lock(home);
        held = home;
        const surplus = this.#give(object, rounds);
        if (surplus === 0) continue;
        this.slabs.remove(surplus, home, cpu);
        held = this.#retire(surplus, home, cpu);
      }
    } finally {
      if (held !== -1) this.#unlock(held);
    }
  }

  #homeOrDrop(object: number, rounds: number): number {
    try {
      return this.slabs.homeOf(object);
    } catch (error) {
      this.#control[rounds]--;
      throw error;
    }
  }

  /** The object leaves the magazine after it is in its slab, so that it is never in neither. */
  #give(object: number, rounds: number): number {
    try {
      return this.slabs.give(object);
    } finally {
      this.#control[rounds]--;
    }
  }

  /** Flush both magazines of `cpu`. Returns how many objects they held. */
  flush(cpu: number): number {
    let flushed = 0;
    for (const magazine of [this.depot.loaded(cpu), this.depot.previous(cpu)]) {
      flushed += this.#control[magazine + MAGAZINE_ROUNDS];
      this.drain(magazine, cpu);
    }
    return flushed;
  }

  /** Take over what a dead CPU held: locks, blocks on their way, objects in magazines. Returns the number of objects. */
  reportDead(dead: number): number {
    const control = this.#control;
    this.#parts.pages.reportDead?.(dead);
    Atomics.store(control, this.#at(dead) + CPU.dead, 1);
    for (let node = 0; node < this.#nodes; node++) {
      if (this.#locks.owner(node) === dead) Atomics.store(control, nodeWord(node) + NODE.broken, 1);
    }
    this.#locks.releaseDeadOwner(dead);
    for (let node = 0; node < this.#nodes; node++) {
      this.#lock(node); // and repair
      this.#locks.unlock(node);
    }
    this.slabs.forEachInTransit(dead, (slab) => {
      if (!this.#parts.handle.deferred) return this.#release(slab);
      const home = this.slabs.homeOfTransit(slab);
      this.#lock(home);
      this.slabs.defer(slab, home, this.#startGracePeriod());
      this.#locks.unlock(home);
    });
    const objects = this.flush(dead);
    Atomics.store(control, this.#at(dead) + CPU.dead, 0);
    return objects;
  }

  #lock(node: number): void {
    this.#locks.lock(node);
    if (this.#control[nodeWord(node) + NODE.broken] !== 0) this.#repair(node);
  }

  #unlock(node: number): -1 {
    this.#locks.unlock(node);
    return -1;
  }

  /** Lock `node` is held, and what it guards may be half changed by a CPU that is marked dead. */
  #repair(node: number): void {
    for (let cpu = 0; cpu < this.#parts.handle.layout.cpus; cpu++) {
      if (Atomics.load(this.#control, this.#at(cpu) + CPU.dead) === 0) continue;
      this.depot.settle(cpu, node);
      this.depot.forEachHeld(cpu, (object) => {
        if (this.slabs.homeOf(object) === node) this.slabs.claim(object);
        this.remote.settleTaken(node, object);
      });
    }
    this.remote.settleNoted(node);
    this.slabs.rebuild(node);
    this.depot.rebuild(node);
    Atomics.store(this.#control, nodeWord(node) + NODE.broken, 0);
  }

  /** Objects freed from other nodes that have not been placed yet. */
  pendingRemote(node: number): number {
    if (!this.remote.any(node)) return 0;
    let pending = 0;
    this.#lock(node);
    this.remote.forEach(node, () => pending++);
    this.#locks.unlock(node);
    return pending;
  }

  /** Add a slab for `node`; returns the node whose lists it joined, -1 when there is no more memory. */
  #grow(node: number, cpu: number): number {
    const { handle, pages, checks, construct } = this.#parts;
    const { order, slabBytes } = handle.geometry;
    if (Atomics.add(this.#control, SHARED.slabs, 1) >= handle.slabLimit) {
      Atomics.sub(this.#control, SHARED.slabs, 1);
      return -1;
    }
    const slab = pages.allocPages(order, node);
    if (slab === 0) {
      Atomics.sub(this.#control, SHARED.slabs, 1);
      return -1;
    }
    if (slab % slabBytes !== 0) {
      throw new SlabError("SLAB_PAGE_SOURCE", `a block of ${slabBytes} bytes at ${slab} is not aligned to its size`);
    }
    const home = this.#homeFor(slab, node);
    this.slabs.format(slab, home, cpu);
    if (construct !== undefined) this.slabs.forEachObject(slab, construct);
    if (checks !== undefined) this.slabs.forEachObject(slab, (object) => checks.onFresh(object));
    this.#lock(home);
    this.slabs.adopt(slab, home);
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

  /** A slab was taken off the lists of `node`, whose lock is held: let the lock go and return it, or make it wait. */
  #retire(slab: number, node: number, cpu: number): -1 {
    if (this.#parts.handle.deferred) this.slabs.defer(slab, node, this.#startGracePeriod());
    this.#locks.unlock(node);
    if (this.#parts.handle.deferred) this.#releaseDeferred(node, cpu);
    else this.#release(slab);
    return -1;
  }

  #startGracePeriod(): number {
    const { gracePeriods, handle } = this.#parts;
    if (gracePeriods === undefined)
      throw new SlabError("SLAB_INVALID_ARGUMENT", `${handle.name} needs its grace periods`);
    return gracePeriods.startPoll();
  }

  /** Return the deferred slabs of `node` whose grace period is over; returns how many. */
  #releaseDeferred(node: number, cpu: number): number {
    const { gracePeriods } = this.#parts;
    for (let released = 0; ; released++) {
      this.#lock(node);
      const cookie = this.slabs.oldestCookie(node);
      const over = cookie !== undefined && gracePeriods !== undefined && gracePeriods.poll(cookie);
      const slab = over ? this.slabs.removeDeferred(node, cpu) : 0;
      this.#locks.unlock(node);
      if (slab === 0) return released;
      this.#release(slab);
    }
  }

  #release(slab: number): void {
    this.slabs.unmap(slab);
    this.#parts.pages.freePages(slab, this.#parts.handle.geometry.order);
    Atomics.sub(this.#control, SHARED.slabs, 1);
    this.#parts.onSlab(slab, false);
  }

  /** Return every empty slab of `node` that may go; returns how many. */
  releaseEmpty(node: number, cpu: number): number {
    const { typeStable, deferred } = this.#parts.handle;
    if (deferred) return this.#releaseDeferred(node, cpu);
    return typeStable ? 0 : this.releaseAll(node, cpu);
  }

  /** Return every empty slab of `node`, whoever may still look at it; returns how many. */
  releaseAll(node: number, cpu: number): number {
    for (let released = 0; ; released++) {
      this.#lock(node);
      const slab = this.slabs.removeEmpty(node, cpu) || this.slabs.removeDeferred(node, cpu);
      this.#locks.unlock(node);
      if (slab === 0) return released;
      this.#release(slab);
    }
  }

  /** Return what the depot of `node` and its chains hold to the slabs, through the previous magazine of `cpu`. */
  emptyDepot(node: number, cpu: number): void {
    for (let more = true; more;) {
      this.drain(this.depot.previous(cpu), cpu);
      this.#lock(node);
      more = this.depot.hasFull(node);
      if (more) this.depot.takeFull(node, cpu);
      else more = this.remote.take(node, this.depot.previous(cpu), this.#magazineSize) !== 0;
      this.#locks.unlock(node);
    }
  }

  /** Run `visit` under the lock of each node. */
  forEachNode(visit: (node: number) => void): void {
    for (let node = 0; node < this.#nodes; node++) {
      this.#lock(node);
      try {
        visit(node);
      } finally {
        this.#locks.unlock(node);
      }
    }
  }

  #at(cpu: number): number {
    return cpuWord(this.#parts.handle.layout, cpu);
  }
}
