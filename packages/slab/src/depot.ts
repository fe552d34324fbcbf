import {
  COUNTER,
  COUNTERS_DOUBLE,
  CPU,
  cpuWord,
  MAGAZINE_HOLDER,
  MAGAZINE_LINK,
  MAGAZINE_ROUNDS,
  magazineAt,
  magazineCount,
  NODE,
  nodeWord,
} from "./control.ts";
import type { ControlLayout } from "./control.ts";

/**
 * The magazines of a cache that are not with a CPU: a list of full and one of empty ones per node.
 *
 * Lock rule: every method that takes a node is called with the lock of that node held.
 */
export class Depot {
  readonly #control: Int32Array;
  readonly #counters: Float64Array;
  readonly #layout: ControlLayout;

  constructor(control: Int32Array, counters: Float64Array, layout: ControlLayout) {
    this.#control = control;
    this.#counters = counters;
    this.#layout = layout;
  }

  hasFull(node: number): boolean {
    return this.#control[nodeWord(node) + NODE.fullMagazines] !== 0;
  }

  hasEmpty(node: number): boolean {
    return this.#control[nodeWord(node) + NODE.emptyMagazines] !== 0;
  }

  /** Take a full magazine as the previous one of `cpu`, whose own is empty. */
  takeFull(node: number, cpu: number): void {
    this.#exchange(node, cpu, NODE.fullMagazines, NODE.emptyMagazines);
  }

  /** Take an empty magazine as the previous one of `cpu`, whose own is full. */
  takeEmpty(node: number, cpu: number): void {
    this.#exchange(node, cpu, NODE.emptyMagazines, NODE.fullMagazines);
  }

  loaded(cpu: number): number {
    return this.#control[cpuWord(this.#layout, cpu) + CPU.loaded];
  }

  previous(cpu: number): number {
    const at = cpuWord(this.#layout, cpu);
    return this.#control[at + CPU.loaded] ^ this.#control[at + CPU.pair];
  }

  /** Let the two magazines of `cpu` change places. */
  swap(cpu: number): void {
    const at = cpuWord(this.#layout, cpu);
    this.#control[at + CPU.loaded] ^= this.#control[at + CPU.pair];
  }

  /** Call `visit` with every object in the two magazines of `cpu`. */
  forEachHeld(cpu: number, visit: (object: number) => void): void {
    for (const magazine of [this.loaded(cpu), this.previous(cpu)]) {
      const rounds = this.#control[magazine + MAGAZINE_ROUNDS];
      for (let i = 0; i < rounds; i++) visit(this.#control[magazine + i]);
    }
  }

  /** A magazine that `cpu` was exchanging with the depot when it died is where the words of `cpu` say. */
  settle(cpu: number, node: number): void {
    for (let i = 0; i < magazineCount(this.#layout); i++) {
      const magazine = magazineAt(this.#layout, i);
      const held = magazine === this.loaded(cpu) || magazine === this.previous(cpu);
      if (held) this.#control[magazine + MAGAZINE_HOLDER] = cpu + 1;
      else if (this.#control[magazine + MAGAZINE_HOLDER] === cpu + 1) {
        this.#control[magazine + MAGAZINE_HOLDER] = -(node + 1);
      }
    }
  }

  /** Make the lists of `node` anew from the holders of the magazines. */
  rebuild(node: number): void {
    const base = nodeWord(node);
    this.#control[base + NODE.fullMagazines] = this.#control[base + NODE.emptyMagazines] = 0;
    for (let i = 0; i < magazineCount(this.#layout); i++) {
      const magazine = magazineAt(this.#layout, i);
      if (this.#control[magazine + MAGAZINE_HOLDER] !== -(node + 1)) continue;
      const full = this.#control[magazine + MAGAZINE_ROUNDS] !== 0;
      this.#push(base + (full ? NODE.fullMagazines : NODE.emptyMagazines), magazine);
    }
  }

  /** Free objects in all magazines, and those of them in depots; of now. */
  count(): { held: number; inDepots: number } {
    let held = 0;
    let inDepots = 0;
    for (let i = 0; i < magazineCount(this.#layout); i++) {
      const magazine = magazineAt(this.#layout, i);
      const rounds = this.#control[magazine + MAGAZINE_ROUNDS];
      held += rounds;
      if (this.#control[magazine + MAGAZINE_HOLDER] < 0) inDepots += rounds;
    }
    return { held, inDepots };
  }

  /** Swap the previous magazine of `cpu` for the first of list `from`; the store to `pair` decides. */
  #exchange(node: number, cpu: number, from: number, to: number): void {
    const control = this.#control;
    const at = cpuWord(this.#layout, cpu);
    const base = nodeWord(node);
    const mine = this.previous(cpu);
    const other = control[base + from];
    control[other + MAGAZINE_HOLDER] = cpu + 1;
    control[at + CPU.pair] = control[at + CPU.loaded] ^ other;
    control[mine + MAGAZINE_HOLDER] = -(node + 1);
    control[base + from] = control[other + MAGAZINE_LINK];
    this.#push(base + to, mine);
    this.#counters[(at >> 1) + COUNTERS_DOUBLE + COUNTER.depotExchanges]++;
  }

  #push(head: number, magazine: number): void {
    this.#control[magazine + MAGAZINE_LINK] = this.#control[head];
    this.#control[head] = magazine;
  }
}
