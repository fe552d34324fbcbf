import { PerCpuCounters, type CpuId, type Hal, type PerCpuCountersHandle } from "@x/smp";
import { DataplaneError } from "./errors.ts";
import type { PacketVector } from "./packet-vector.ts";
import { MAX_BATCH } from "./parameters.ts";

/**
 * One step of the data path over a vector of packets.
 *
 * @public
 */
export interface GraphNode {
  /** Unique in the graph. */
  readonly name: string;
  /**
   * Works on the packets at `positions[0, count)` of `vector`, in order. Returns how many go on to the next node, having moved
   * their positions to the front of `positions` in order; a packet that does not go on must have another verdict than `Tracked`.
   * `vector.keepTracked(positions, count)` does both after `vector.drop(i)` or `vector.direct(i)`.
   */
  process(vector: PacketVector, positions: Int32Array, count: number): number;
}

/**
 * A node that a user of the data path adds.
 *
 * @public
 */
export interface AddedNode extends GraphNode {
  /** Name of the node it comes right behind. */
  readonly after: string;
}

/**
 * Figures of a node.
 *
 * @public
 */
export interface NodeStatistics {
  readonly name: string;
  /** Calls. */
  readonly vectors: number;
  /** Packets it was given, and those it did not pass on. */
  readonly packets: number;
  readonly ended: number;
}

/** Counters of a node. */
const COUNTS = ["vectors", "packets", "ended"] as const;

/**
 * The nodes in their order, and their counters. Every thread makes one of its own with the same nodes; the counters are shared.
 */
export class Graph {
  readonly nodes: readonly GraphNode[];
  /** What each node does, looked up once: classes that are this many are looked up slowly. */
  readonly #calls: readonly GraphNode["process"][];
  readonly #counters: PerCpuCounters;
  readonly #positions = new Int32Array(MAX_BATCH);
  readonly #told: ((node: number, count: number) => void) | undefined;

  constructor(
    nodes: readonly GraphNode[],
    handle: PerCpuCountersHandle,
    hal: Hal,
    told: ((node: number, count: number) => void) | undefined,
  ) {
    if (handle.names.length !== nodes.length * COUNTS.length) {
      const message = `the data path has ${handle.names.length / COUNTS.length} nodes, not ${nodes.length}`;
      throw new DataplaneError("DATAPLANE_INVALID_ARGUMENT", message);
    }
    this.nodes = nodes;
    // oxlint-disable-next-line typescript/unbound-method -- called with its node
    this.#calls = nodes.map(({ process }) => process);
    for (let i = 0; i < MAX_BATCH; i++) this.#positions[i] = i;
    this.#counters = PerCpuCounters.attach(handle, { hal });
    this.#told = told;
  }

  /** Counters for nodes of these names. */
  static counters(names: readonly string[], hal: Hal): PerCpuCountersHandle {
    const all = names.flatMap((name) => COUNTS.map((count) => `${name}.${count}`));
    return PerCpuCounters.create({ names: all, hal }).handle;
  }

  /** Takes the packets of a vector through all nodes. */
  run(vector: PacketVector): void {
    const { nodes } = this;
    const counters = this.#counters;
    const { cpu } = vector;
    const positions = this.#positions;
    let { count } = vector;
    const calls = this.#calls;
    // A node threw.
    if (!vector.dense) this.#restore(vector, MAX_BATCH);
    for (let node = 0; node < nodes.length; node++) {
      const kept = calls[node].call(nodes[node], vector, positions, count);
      const slot = node * COUNTS.length;
      counters.addOn(cpu, slot, 1);
      counters.addOn(cpu, slot + 1, count);
      if (kept !== count) {
        vector.dense = false;
        if (kept < count) counters.addOn(cpu, slot + 2, count - kept);
      }
      if (this.#told !== undefined) this.#told(node, vector.count);
      count = kept;
    }
    if (!vector.dense) this.#restore(vector, vector.count);
  }

  /** Every packet of the next vector is still on its way. */
  #restore(vector: PacketVector, count: number): void {
    for (let i = 0; i < count; i++) this.#positions[i] = i;
    vector.dense = true;
  }

  statistics(cpu?: CpuId): NodeStatistics[] {
    const counters = this.#counters;
    const count = (slot: number): number => (cpu === undefined ? counters.sum(slot) : counters.read(cpu, slot));
    return this.nodes.map(({ name }, node) => {
      const slot = node * COUNTS.length;
      return { name, vectors: count(slot), packets: count(slot + 1), ended: count(slot + 2) };
    });
  }

  reset(): void {
    this.#counters.reset();
  }
}

/** The built-in nodes with the added ones behind those they name. Throws `DATAPLANE_INVALID_ARGUMENT`. */
export function withAdded<Node extends { readonly name: string }>(
  builtIn: readonly Node[],
  added: readonly (Node & { readonly after: string })[],
): Node[] {
  const nodes = [...builtIn];
  for (const node of added) {
    if (nodes.some(({ name }) => name === node.name)) throw invalid(`there is a node ${node.name} already`);
    const at = nodes.findIndex(({ name }) => name === node.after);
    if (at < 0) throw invalid(`there is no node ${node.after} for ${node.name} to come after`);
    nodes.splice(at + 1, 0, node);
  }
  return nodes;
}

function invalid(message: string): DataplaneError {
  return new DataplaneError("DATAPLANE_INVALID_ARGUMENT", message);
}
