import { LockAccess } from "./lock.ts";

/*
 * For each pair of classes three words, changed by Atomics from all threads:
 *   0  bits: 1 << (access of the held * 2 + access of the wanted), 0: never seen
 *   1  where the held one was taken, a number of the sites + 1
 *   2  where the wanted one was asked for
 * and for each class five:
 *   0  bits of Usage
 *   1  to 4: where each was first seen
 */
const EDGE = 3;
const USAGE = 5;

/** How a class has been taken; each bit is two: `<< access`. */
export const Usage = { InInterrupt: 1, InterruptsOn: 4, Any: 16 } as const;

/** Which class was ever taken while which was held. */
export class LockGraph {
  readonly memory: SharedArrayBuffer;
  readonly #words: Int32Array;
  readonly #classes: number;
  readonly #usages: number;

  constructor(
    classes: number,
    memory: SharedArrayBuffer = new SharedArrayBuffer((classes * EDGE + USAGE) * classes * 4),
  ) {
    this.memory = memory;
    this.#words = new Int32Array(memory);
    this.#classes = classes;
    this.#usages = classes * classes * EDGE;
  }

  hasEdge(from: number, to: number, bits: number): boolean {
    return (Atomics.load(this.#words, this.#edge(from, to)) & bits) === bits;
  }

  addEdge(from: number, to: number, bits: number, heldSite: number, wantedSite: number): void {
    const at = this.#edge(from, to);
    Atomics.compareExchange(this.#words, at + 1, 0, heldSite + 1);
    Atomics.compareExchange(this.#words, at + 2, 0, wantedSite + 1);
    Atomics.or(this.#words, at, bits);
  }

  /** Numbers of the sites of an edge. */
  sites(from: number, to: number): readonly [held: number, wanted: number] {
    const at = this.#edge(from, to);
    return [Atomics.load(this.#words, at + 1) - 1, Atomics.load(this.#words, at + 2) - 1];
  }

  usage(of: number): number {
    return Atomics.load(this.#words, this.#usages + of * USAGE);
  }

  /** Returns the bits that are new. */
  addUsage(of: number, bits: number, site: number): number {
    const at = this.#usages + of * USAGE;
    for (let bit = 0; bit < 4; bit++) {
      if ((bits & (1 << bit)) !== 0) Atomics.compareExchange(this.#words, at + 1 + bit, 0, site + 1);
    }
    return bits & ~Atomics.or(this.#words, at, bits);
  }

  /** Where a bit of usage was first seen. */
  usageSite(of: number, bit: number): number {
    return Atomics.load(this.#words, this.#usages + of * USAGE + 1 + bit) - 1;
  }

  /**
   * The shortest way from a class to one that `accepts`, or undefined; a way has at least one edge. Classes that nobody
   * ever took exclusively make nobody wait, so a way through them is none.
   */
  path(from: number, accepts: (of: number) => boolean): number[] | undefined {
    const before = new Int32Array(this.#classes).fill(-1);
    const queue = [from];
    for (const of of queue) {
      for (let to = 0; to < this.#classes; to++) {
        if (Atomics.load(this.#words, this.#edge(of, to)) === 0) continue;
        if (accepts(to)) return [...this.#wayTo(of, from, before), to];
        if (before[to] >= 0 || to === from || !this.#hasWriters(to)) continue;
        before[to] = of;
        queue.push(to);
      }
    }
    return undefined;
  }

  #wayTo(of: number, from: number, before: Int32Array): number[] {
    const way = [of];
    while (way[0] !== from) way.unshift(before[way[0]]);
    return way;
  }

  #hasWriters(of: number): boolean {
    return (this.usage(of) & (Usage.Any << LockAccess.Exclusive)) !== 0;
  }

  #edge(from: number, to: number): number {
    return (from * this.#classes + to) * EDGE;
  }
}
