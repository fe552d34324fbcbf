import type { Rcu } from "@x/rcu";
import type { KmemCache } from "@x/slab";
import type { Hal } from "@x/smp";
import { ENTRY, STAT, statsBase } from "./flow-table-layout.ts";

/**
 * Gives unlinked entries back to their cache once no reader can stand on them.
 *
 * An entry whose grace period cannot be asked for yet, because the callback ring of its CPU is full, waits on that CPU's
 * limbo list, linked through a word that only the timing wheel used; each later retirement on the CPU tries again, and each insertion
 * that finds no memory, or else a table of which nothing is left to delete would stay without. So nothing is lost and nothing waits, however many entries are deleted between two quiescent states.
 */
export class EntryReclaimer {
  readonly #entries: KmemCache;
  readonly #words: Int32Array;
  readonly #heads: Float64Array;
  readonly #hal: Hal;
  readonly #rcu: Pick<Rcu, "tryCall"> | undefined;
  readonly #free: (entry: number) => void;

  constructor(
    entries: KmemCache,
    words: Int32Array,
    stats: Float64Array,
    hal: Hal,
    rcu: Pick<Rcu, "tryCall"> | undefined,
  ) {
    this.#entries = entries;
    this.#words = words;
    this.#heads = stats;
    this.#hal = hal;
    this.#rcu = rcu;
    this.#free = (entry) => this.#entries.free(entry);
  }

  /** `entry` was unlinked by the calling CPU. */
  retire(entry: number): void {
    if (this.#rcu === undefined) return this.#entries.free(entry);
    const limbo = this.#limboOf(this.#hal.currentCpu());
    this.drain();
    if (this.#heads[limbo] === 0 && this.#rcu.tryCall(this.#free, entry)) return;
    this.#words[(entry >> 2) + ENTRY.timer] = this.#heads[limbo];
    this.#heads[limbo] = entry;
  }

  /** Ask again for what waits on the list of the calling CPU, as far as there is room. */
  drain(): void {
    if (this.#rcu === undefined) return;
    const limbo = this.#limboOf(this.#hal.currentCpu());
    for (let waiting = this.#heads[limbo]; waiting !== 0; waiting = this.#heads[limbo]) {
      // Asking may run callbacks that are due, but none of them touches this list.
      const next = this.#words[(waiting >> 2) + ENTRY.timer];
      if (!this.#rcu.tryCall(this.#free, waiting)) break;
      this.#heads[limbo] = next;
    }
  }

  /** Take over what waits on the list of `cpu`, whose thread is dead. */
  adopt(cpu: number): void {
    const limbo = this.#limboOf(cpu);
    for (let entry = this.#heads[limbo]; entry !== 0; entry = this.#heads[limbo]) {
      this.#heads[limbo] = this.#words[(entry >> 2) + ENTRY.timer];
      this.retire(entry);
    }
  }

  /** Free what waits on every CPU's list. Only when no reader is left. */
  freeAll(): void {
    for (let cpu = 0; cpu < this.#hal.possibleCpus; cpu++) {
      const limbo = this.#limboOf(cpu);
      for (let entry = this.#heads[limbo]; entry !== 0; entry = this.#words[(entry >> 2) + ENTRY.timer]) {
        this.#free(entry);
      }
      this.#heads[limbo] = 0;
    }
  }

  #limboOf(cpu: number): number {
    return statsBase(cpu) + STAT.limbo;
  }
}
