import { MAGAZINE_ROUNDS, NODE, nodeWord } from "./control.ts";
import type { SlabLayer } from "./slab-layer.ts";

/*
 * Objects freed by CPUs of other nodes than their own, as two chains per node:
 *
 *   NODE.remote     any CPU puts objects on it by one compare-exchange; nobody else writes its line
 *   NODE.returned   taken from there as a whole, and used up piece by piece, under the lock of the node
 *
 * Only the holder of the lock takes, and takes all, so a head that it has seen cannot come back (no ABA). It notes the
 * chain in `returned` before it takes it, so that no object is in neither when it dies (compare Leijen, Zorn and de
 * Moura, «Mimalloc», 2019, whose thread-free lists these resemble).
 */
export class RemoteFrees {
  readonly #control: Int32Array;
  readonly #words: Int32Array;
  readonly #slabs: SlabLayer;

  constructor(control: Int32Array, words: Int32Array, slabs: SlabLayer) {
    this.#control = control;
    this.#words = words;
    this.#slabs = slabs;
  }

  /** Put `object` on the chain of its node, `home`. One compare-exchange when nobody interferes. */
  put(object: number, home: number): void {
    const head = nodeWord(home) + NODE.remote;
    const link = this.#slabs.linkOf(object);
    for (let next = Atomics.load(this.#control, head); ;) {
      this.#words[link] = next;
      const found = Atomics.compareExchange(this.#control, head, next, object);
      if (found === next) return;
      next = found;
    }
  }

  /** Move up to `wanted` objects of `node` into `magazine`; returns how many. Lock held. */
  take(node: number, magazine: number, wanted: number): number {
    const control = this.#control;
    const returned = nodeWord(node) + NODE.returned;
    let taken = 0;
    for (; taken < wanted; taken++) {
      if (control[returned] === 0) this.#collect(node);
      const object = control[returned];
      if (object === 0) break;
      control[magazine + control[magazine + MAGAZINE_ROUNDS]] = object;
      control[magazine + MAGAZINE_ROUNDS]++;
      control[returned] = this.#words[this.#slabs.linkOf(object)];
    }
    return taken;
  }

  #collect(node: number): void {
    const control = this.#control;
    const base = nodeWord(node);
    for (let head = Atomics.load(control, base + NODE.remote); head !== 0;) {
      control[base + NODE.returned] = head;
      const found = Atomics.compareExchange(control, base + NODE.remote, head, 0);
      if (found === head) return;
      head = found;
    }
  }

  /** Whether an object of `node` waits; of now. */
  any(node: number): boolean {
    const base = nodeWord(node);
    return (
      Atomics.load(this.#control, base + NODE.remote) !== 0 || Atomics.load(this.#control, base + NODE.returned) !== 0
    );
  }

  /** Call `visit` with every object on the chains of `node`. Lock held: only its holder shortens them. */
  forEach(node: number, visit: (object: number) => void): void {
    const base = nodeWord(node);
    for (const head of [Atomics.load(this.#control, base + NODE.remote), this.#control[base + NODE.returned]]) {
      for (let object = head; object !== 0; object = this.#words[this.#slabs.linkOf(object)]) visit(object);
    }
  }

  /** `object` is in the magazine of a dead CPU, which had perhaps not yet taken it off the chain. Lock held. */
  settleTaken(node: number, object: number): void {
    const returned = nodeWord(node) + NODE.returned;
    if (this.#control[returned] === object) this.#control[returned] = this.#words[this.#slabs.linkOf(object)];
  }

  /** A dead CPU had noted the chain, and perhaps not yet taken it: then it is still there. Lock held. */
  settleNoted(node: number): void {
    const base = nodeWord(node);
    const noted = this.#control[base + NODE.returned];
    for (let object = Atomics.load(this.#control, base + NODE.remote); object !== 0;) {
      if (object === noted) this.#control[base + NODE.returned] = 0;
      object = this.#words[this.#slabs.linkOf(object)];
    }
  }
}
