import { Tail } from "./board.ts";
import { Dependence } from "./dependence.ts";
import type { Execution, Plan } from "./execution.ts";
import type { ExhaustiveOptions, Strategy } from "./strategy.ts";

/*
 * Depth-first search over schedules. A node is the state before a step; per node:
 *
 *   chosen       the thread that went, in the execution on the stack
 *   enabled      who could
 *   backtrack    who must be tried
 *   done         who was tried
 *   sleep        who need not be tried: an equivalent execution was seen
 *   preemptions  preemptions before the node
 *
 * Without a bound: source sets and sleep sets (Abdulla, Aronis, Jonsson, Sagonas, POPL 2014).
 * With a bound: persistent sets with conservative backtrack points at the start of the thread's block and no sleep sets
 * (Coons, Musuvathi, McKinley: Bounded Partial-Order Reduction, OOPSLA 2013), because an equivalent execution that was
 * seen may have needed more preemptions than the bound allows.
 */
export class Exhaustive implements Strategy {
  readonly name: string;
  exhausted = false;
  readonly #bound: number;
  readonly #reduce: boolean;
  readonly #dependence: Dependence;
  readonly #threads: number;
  readonly #chosen: Uint8Array;
  readonly #enabled: Uint8Array;
  readonly #backtrack: Uint8Array;
  readonly #done: Uint8Array;
  readonly #sleep: Uint8Array;
  readonly #preemptions: Int32Array;
  #depth = 0;
  #branch = 0;
  #next: Plan | undefined;

  constructor(threads: number, stepLimit: number, options: ExhaustiveOptions) {
    this.#bound = options.preemptionBound ?? Infinity;
    this.#reduce = options.reduction !== "none";
    const bound = this.#bound === Infinity ? "" : `, at most ${this.#bound} preemptions`;
    this.name = `exhaustive${bound}${this.#reduce ? "" : ", no reduction"}`;
    this.#threads = threads;
    this.#dependence = new Dependence(threads);
    this.#chosen = new Uint8Array(stepLimit + 1);
    this.#enabled = new Uint8Array(stepLimit + 1);
    this.#backtrack = new Uint8Array(stepLimit + 1);
    this.#done = new Uint8Array(stepLimit + 1);
    this.#sleep = new Uint8Array(stepLimit + 1);
    this.#preemptions = new Int32Array(stepLimit + 1);
    this.#next = { prefix: this.#chosen, length: 0, sleep: 0, tail: Tail.Stay };
  }

  next(): Plan | undefined {
    return this.#next;
  }

  observe(execution: Execution): void {
    this.#push(execution);
    if (this.#reduce) {
      this.#dependence.analyze(execution, this.#branch, (first, second) => {
        if (this.#bound === Infinity) this.#addSource(first, second);
        else this.#addPersistent(first, second);
      });
    }
    this.#next = this.#pop();
    this.exhausted = this.#next === undefined;
  }

  /** Take over the nodes that the execution added. */
  #push(execution: Execution): void {
    const { board, steps } = execution;
    for (let node = this.#branch; node < steps; node++) {
      const thread = board.chosen[node];
      this.#chosen[node] = thread;
      this.#enabled[node] = board.enabled[node];
      this.#preemptions[node] =
        node === 0 ? 0 : this.#preemptions[node - 1] + this.#cost(node - 1, this.#chosen[node - 1]);
      if (node === this.#branch && this.#depth > 0) continue;
      this.#sleep[node] = this.#bound === Infinity ? board.asleep[node] : 0;
      this.#done[node] = 1 << thread;
      this.#backtrack[node] = this.#reduce ? 1 << thread : board.enabled[node];
    }
    this.#depth = steps;
  }

  /** Preemptions that `thread` costs at `node`. */
  #cost(node: number, thread: number): number {
    if (node === 0) return 0;
    const last = this.#chosen[node - 1];
    return thread !== last && (this.#enabled[node] & (1 << last)) !== 0 ? 1 : 0;
  }

  #addSource(first: number, second: number): void {
    const initials = this.#dependence.initials(first, second);
    if ((initials & this.#backtrack[first]) !== 0) return;
    // None of them could go on there: the second step was only possible because of the first.
    const possible = initials & this.#enabled[first];
    const own = 1 << this.#chosen[second];
    this.#backtrack[first] |= (possible & own) === 0 ? possible & -possible : own;
  }

  #addPersistent(first: number, second: number): void {
    this.#addAt(first, this.#chosen[second]);
    let start = first;
    while (start > 0 && this.#chosen[start - 1] === this.#chosen[first]) start--;
    this.#addAt(start, this.#chosen[second]);
  }

  #addAt(node: number, thread: number): void {
    const bit = 1 << thread;
    this.#backtrack[node] |= (this.#enabled[node] & bit) === 0 ? this.#enabled[node] : bit;
  }

  /** The deepest node with something left to try, as a plan. */
  #pop(): Plan | undefined {
    for (let node = this.#depth - 1; node >= 0; node--) {
      const left = this.#backtrack[node] & ~this.#done[node] & ~this.#sleep[node];
      for (let thread = 0; thread < this.#threads; thread++) {
        const bit = 1 << thread;
        if ((left & bit) === 0 || this.#preemptions[node] + this.#cost(node, thread) > this.#bound) continue;
        const sleep = this.#bound === Infinity && this.#reduce ? this.#sleep[node] | this.#done[node] : 0;
        this.#chosen[node] = thread;
        this.#done[node] |= bit;
        this.#branch = node;
        return { prefix: this.#chosen, length: node + 1, sleep, tail: Tail.Stay, known: node };
      }
    }
    return undefined;
  }
}
