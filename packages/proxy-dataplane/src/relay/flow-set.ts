import type { Flow } from "./flow.ts";

/**
 * The open flows of a worker: each knows its place in an array, and the last takes the place of one that goes. A `Map` would do, but every time it
 * sorts itself anew the table it had before refers to flows that have ended, and to its successor; once one such table has grown old the collector
 * takes all of them for alive. That was a quarter of what connections allocate, copied twice.
 */
export class FlowSet {
  readonly #flows: Flow[] = [];

  get size(): number {
    return this.#flows.length;
  }

  add(flow: Flow): void {
    flow.place = this.#flows.length;
    this.#flows.push(flow);
  }

  /** False: it is not among them. */
  delete(flow: Flow): boolean {
    const { place } = flow;
    if (place < 0) return false;
    const last = this.#flows.pop();
    if (last !== undefined && last !== flow) {
      this.#flows[place] = last;
      last.place = place;
    }
    flow.place = -1;
    return true;
  }

  /** By its object in the table; looks at all of them. */
  find(object: number): Flow | undefined {
    return this.#flows.find((flow) => flow.object === object);
  }

  /** Visit all; the one that is visited may go. */
  forEach(visit: (flow: Flow) => void): void {
    for (let at = this.#flows.length - 1; at >= 0; at--) if (at < this.#flows.length) visit(this.#flows[at]);
  }
}
