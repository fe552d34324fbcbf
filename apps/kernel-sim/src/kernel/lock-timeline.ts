import type { LockObserver, SpinLocks } from "@x/smp";
import type { Machine } from "../machine/machine.ts";

/*
 * Supervisor code runs to completion on the host, so a lock is always free when it is asked for; in virtual time another
 * CPU may hold it at that moment. Each lock therefore keeps its last holds, and an acquisition that falls into one waits,
 * in virtual time, for its end.
 *
 *   starts, ends   HOLDS per lock, the newest overwrites the oldest
 *   lines          the lock's own cache line, for the coherence model
 */
const HOLDS = 8;

/** Locks in virtual time: who waits for whom, and what it costs. */
export class LockTimeline implements LockObserver {
  acquisitions = 0;
  contentions = 0;
  waitedNs = 0;

  readonly #machine: Machine;
  readonly #addressOf: (locks: SpinLocks) => number;
  readonly #first = new Map<SpinLocks, number>();
  readonly #addresses = new Map<SpinLocks, number>();
  #count = 0;
  #next = new Uint8Array(256);
  #starts = new Float64Array(256 * HOLDS);
  #ends = new Float64Array(256 * HOLDS);

  /** `addressOf` places an array of locks in the machine's memory. */
  constructor(machine: Machine, addressOf: (locks: SpinLocks) => number) {
    this.#machine = machine;
    this.#addressOf = addressOf;
  }

  onAcquired(locks: SpinLocks, lock: number, _spins: number): void {
    const machine = this.#machine;
    const index = this.#indexOf(locks) + lock;
    const askedNs = machine.timeNs[machine.current];
    let atNs = askedNs;
    for (let hold = index * HOLDS; hold < (index + 1) * HOLDS; hold++) {
      if (this.#starts[hold] <= atNs && atNs < this.#ends[hold]) {
        atNs = this.#ends[hold];
        hold = index * HOLDS - 1;
      }
    }
    this.acquisitions++;
    if (atNs > askedNs) {
      this.contentions++;
      this.waitedNs += atNs - askedNs;
      machine.charge(Math.ceil(atNs - askedNs));
    }
    machine.charge(machine.costs.atomicNs);
    machine.touch((this.#addresses.get(locks) ?? 0) + lock * 128, true);
    const slot = index * HOLDS + this.#next[index];
    this.#starts[slot] = machine.timeNs[machine.current];
    this.#ends[slot] = this.#starts[slot];
  }

  onRelease(locks: SpinLocks, lock: number): void {
    const index = this.#indexOf(locks) + lock;
    const slot = this.#next[index];
    this.#ends[index * HOLDS + slot] = this.#machine.timeNs[this.#machine.current];
    this.#next[index] = (slot + 1) % HOLDS;
  }

  #indexOf(locks: SpinLocks): number {
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
    const grown = <T extends Uint8Array | Float64Array>(from: T, to: T): T => (to.set(from), to);
    this.#next = grown(this.#next, new Uint8Array(this.#next.length * 2));
    this.#starts = grown(this.#starts, new Float64Array(this.#starts.length * 2));
    this.#ends = grown(this.#ends, new Float64Array(this.#ends.length * 2));
  }
}
