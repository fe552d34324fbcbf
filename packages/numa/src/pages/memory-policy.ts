import { NumaError } from "../errors.ts";

/**
 * How a {@link NumaMemoryPolicy} chooses.
 *
 * @public
 */
export type NumaPolicyKind = "default" | "bind" | "interleave" | "preferred";

/**
 * A policy as plain data, for `postMessage`.
 *
 * @public
 */
export interface NumaMemoryPolicyJson {
  readonly kind: NumaPolicyKind;
  readonly nodes: readonly number[];
}

/**
 * Where a thread's memory comes from, as Linux's memory policies (set_mempolicy(2)):
 *
 * | kind | meaning |
 * |---|---|
 * | `default` | the calling CPU's node, then the others by distance |
 * | `bind` | the nearest of the given nodes, nothing else |
 * | `interleave` | the given nodes in turn; another when it is that node's turn and it is full |
 * | `preferred` | the given node, then the others by distance |
 *
 * Any node id is possible. One instance belongs to one thread: `interleave` remembers whose turn it is.
 *
 * @public
 */
export class NumaMemoryPolicy {
  readonly kind: NumaPolicyKind;
  /** The given nodes, ascending; empty for `default`. */
  readonly nodes: readonly number[];
  readonly #given: ReadonlySet<number>;
  #last = -1;

  private constructor(kind: NumaPolicyKind, nodes: readonly number[]) {
    this.kind = kind;
    this.nodes = Object.freeze([...new Set(nodes)].sort((a, b) => a - b));
    this.#given = new Set(this.nodes);
    if (kind !== "default" && nodes.length === 0) {
      throw new NumaError("NUMA_INVALID_ARGUMENT", `policy ${kind} needs at least one node`);
    }
    for (const node of nodes) {
      if (!Number.isInteger(node) || node < 0) throw new NumaError("NUMA_INVALID_ARGUMENT", `${node} is no node id`);
    }
  }

  /** Local node first, then by distance. */
  static default(): NumaMemoryPolicy {
    return new NumaMemoryPolicy("default", []);
  }

  /** Only these nodes, the nearest first. Throws `NUMA_INVALID_ARGUMENT` for none and for what is no id; so do the others. */
  static bind(nodes: readonly number[]): NumaMemoryPolicy {
    return new NumaMemoryPolicy("bind", nodes);
  }

  /** These nodes in turn, ascending by id. */
  static interleave(nodes: readonly number[]): NumaMemoryPolicy {
    return new NumaMemoryPolicy("interleave", nodes);
  }

  /** This node first, then by distance from it. */
  static preferred(node: number): NumaMemoryPolicy {
    return new NumaMemoryPolicy("preferred", [node]);
  }

  /** The policy whose {@link NumaMemoryPolicy.toJSON} this is. */
  static fromJSON(json: NumaMemoryPolicyJson): NumaMemoryPolicy {
    return new NumaMemoryPolicy(json.kind, json.nodes);
  }

  /** Plain data; whose turn it is does not go with it. */
  toJSON(): NumaMemoryPolicyJson {
    return { kind: this.kind, nodes: this.nodes };
  }

  /** The node to prefer; -1 where the calling CPU's node is. */
  get preferredNode(): number {
    return this.kind === "preferred" ? this.nodes[0] : -1;
  }

  /** Whether memory may come from `node`: `default` and `preferred` allow every node. */
  isNodeAllowed(node: number): boolean {
    return this.kind === "default" || this.kind === "preferred" || this.#given.has(node);
  }

  /** For `interleave` the next given node after `current`, going round, which can be `current` itself; else -1. */
  nextNode(current: number): number {
    if (this.kind !== "interleave") return -1;
    for (const node of this.nodes) if (node > current) return node;
    return this.nodes[0];
  }

  /** Takes a turn: the node whose turn it is; -1 unless `interleave`. */
  takeTurn(): number {
    return (this.#last = this.nextNode(this.#last));
  }
}
