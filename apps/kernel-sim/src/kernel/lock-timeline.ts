import type { LockAccess, LockArray, LockObserver } from "@x/smp";
import type { Machine } from "../machine/machine.ts";

/*
 * Supervisor code runs to completion on the host, so a lock is always free when it is asked for; in virtual time another
 * CPU may hold it at that moment. Each lock therefore keeps its last holds, and an acquisition that falls into one waits,
 * in virtual time, for its end.
 *
 *   starts, ends   HOLDS per lock, the newest overwrites the oldest
 *   holders        whose they are
 *   lines          the lock's own cache line, for the coherence model, and the line of a CPU in a queue
 *
 * Who comes later in the run may wait for a time before who came earlier: supervisor code is looked at as a whole.
 */
const HOLDS = 8;
const LINE_BYTES = 128;
/** Hand-overs that are kept, the oldest. */
const HAND_OVERS = 10_000;

/** A CPU got a lock from another one that it had waited for. */
export interface HandOver {
  readonly name: string;
  readonly lock: number;
  readonly from: number;
  readonly to: number;
  readonly askedNs: number;
  readonly atNs: number;
}

/** Locks in virtual time: who waits for whom, and what it costs. */
export class LockTimeline implements LockObserver {
  acquisitions = 0;
  contentions = 0;
  waitedNs = 0;
  readonly handOvers: HandOver[] = [];

  readonly #machine: Machine;
  readonly #addressOf: (locks: LockArray) => number;
  readonly #first = new Map<LockArray, number>();
  readonly #addresses = new Map<LockArray, number>();
  #count = 0;
  #next = new Uint8Array(256);
  #starts = new Float64Array(256 * HOLDS);
  #ends = new Float64Array(256 * HOLDS);
  #holders = new Int16Array(256 * HOLDS);
  readonly #watcher: LockObserver | undefined;

  /** `addressOf` places an array of locks in the machine's memory; `watcher` sees all in virtual time. */
  constructor(machine: Machine, addressOf: (locks: LockArray) => number, watcher?: LockObserver) {
    this.#machine = machine;
    this.#addressOf = addressOf;
    this.#watcher = watcher;
  }

  onRequest(locks: LockArray, lock: number, access: LockAccess): void {
    this.#watcher?.onRequest?.(locks, lock, access);
  }

  onAcquired(locks: LockArray, lock: number, _spins: number, access: LockAccess): void {
    const machine = this.#machine;
    const index = this.#indexOf(locks) + lock;
    const askedNs = machine.timeNs[machine.current];
    let atNs = askedNs;
    let from = -1;
    let passed = 0;
    for (let hold = index * HOLDS; hold < (index + 1) * HOLDS; hold++) {
      if (this.#starts[hold] <= atNs && atNs < this.#ends[hold]) {
        atNs = this.#ends[hold];
        from = this.#holders[hold];
        passed++;
        hold = index * HOLDS - 1;
      }
    }
    this.acquisitions++;
    if (passed > 0) {
      this.#watcher?.onContended?.(locks, lock, from);
      this.#wait(askedNs, atNs);
      const { name } = locks;
      if (this.handOvers.length < HAND_OVERS)
        this.handOvers.push({ name, lock, from, to: machine.current, askedNs, atNs });
    }
    machine.charge(machine.costs.atomicNs);
    this.#touch(locks, lock, from, passed);
    const slot = index * HOLDS + this.#next[index];
    this.#starts[slot] = machine.timeNs[machine.current];
    this.#ends[slot] = this.#starts[slot];
    this.#holders[slot] = machine.current;
    this.#watcher?.onAcquired?.(locks, lock, passed, access);
  }

  onRelease(locks: LockArray, lock: number, access: LockAccess): void {
    this.#watcher?.onRelease?.(locks, lock, access);
    const index = this.#indexOf(locks) + lock;
    const slot = this.#next[index];
    this.#ends[index * HOLDS + slot] = this.#machine.timeNs[this.#machine.current];
    this.#next[index] = (slot + 1) % HOLDS;
  }

  #wait(askedNs: number, atNs: number): void {
    this.contentions++;
    this.waitedNs += atNs - askedNs;
    this.#machine.charge(Math.ceil(atNs - askedNs));
  }

  /**
   * The lines of the lock: its own, and for queues that of the CPU. Who waits in an MCS queue has linked itself to the one in front;
   * who waits with a ticket has read the lock's line again after each hand-over that was not to it.
   */
  #touch(locks: LockArray, lock: number, from: number, passed: number): void {
    const machine = this.#machine;
    const strideBytes = locks.handle.memory.byteLength / locks.count;
    const base = (this.#addresses.get(locks) ?? 0) + lock * strideBytes;
    machine.touch(base, true);
    if (locks.kind !== "ticket" && locks.kind !== "mcs") return;
    machine.touch(base + LINE_BYTES * (1 + machine.current), true);
    if (locks.kind === "mcs" && passed > 0) machine.touch(base + LINE_BYTES * (1 + from), true);
    else for (let each = 1; each < passed; each++) machine.touch(base, false);
  }

  #indexOf(locks: LockArray): number {
    const known = this.#first.get(locks);
    if (known !== undefined) return known;
    const first = this.#count;
    this.#count += locks.count;
    while (this.#count > this.#next.length) this.#grow();
    this.#first.set(locks, first);
    this.#addresses.set(locks, this.#addressOf(locks));
    return first;
  }

  #grow(): void {
    const grown = <T extends Uint8Array | Int16Array | Float64Array>(from: T, to: T): T => (to.set(from), to);
    this.#next = grown(this.#next, new Uint8Array(this.#next.length * 2));
    this.#starts = grown(this.#starts, new Float64Array(this.#starts.length * 2));
    this.#ends = grown(this.#ends, new Float64Array(this.#ends.length * 2));
    this.#holders = grown(this.#holders, new Int16Array(this.#holders.length * 2));
  }
}
