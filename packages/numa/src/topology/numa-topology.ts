import { hex } from "../acpi/table-kind.ts";
import { NumaError } from "../errors.ts";
import { LOCAL_DISTANCE, REMOTE_DISTANCE, UNREACHABLE_DISTANCE } from "../limits.ts";
import { fallbackOrder } from "./fallback-order.ts";
import type { MemoryAccess } from "./memory-access.ts";
import type { NumaMemoryRange } from "./memory-ranges.ts";

/**
 * A node: processors and memory that are close to each other.
 *
 * @public
 */
export interface NumaNode {
  readonly id: number;
  /** The ACPI proximity domain the node was made of; absent where the source is not ACPI. */
  readonly proximityDomain?: number;
  /** Online CPUs, ascending. */
  readonly cpus: readonly number[];
  /** Empty where the source tells the amount alone. */
  readonly memory: readonly NumaMemoryRange[];
  /** Bytes of memory that is there at boot; 0 where the source does not tell. */
  readonly memoryBytes: number;
  /** Whether the node has memory to allocate from (true too where the amount is unknown). */
  readonly hasMemory: boolean;
  /** Distance to every node, by node id; 10 is local. */
  readonly distances: Readonly<Record<number, number>>;
}

/**
 * A processor and where it is.
 *
 * @public
 */
export interface NumaCpu {
  readonly id: number;
  /** Local APIC id, or what an interrupt is addressed to elsewhere (Arm: the affinity of the MPIDR); absent where the source is not ACPI. */
  readonly apicId?: number;
  /** Node id; -1 where no node claims the CPU. */
  readonly node: number;
  readonly online: boolean;
}

/**
 * What a {@link NumaTopology} is made of.
 *
 * @public
 */
export interface NumaTopologyParts {
  /** `distances` may leave out pairs: 10 to itself and 20 to others are filled in. */
  readonly nodes: readonly NumaNode[];
  readonly cpus: readonly NumaCpu[];
  /** Where firmware tells latencies and bandwidths. */
  readonly access?: readonly MemoryAccess[] | undefined;
  readonly warnings?: readonly string[] | undefined;
}

/**
 * {@link NumaTopology} as plain JSON: sizes and addresses that can pass 2^53 are `0x…` texts.
 *
 * @public
 */
export interface NumaTopologyJson {
  readonly nodes: readonly {
    readonly id: number;
    readonly proximityDomain?: number;
    readonly cpus: readonly number[];
    readonly memory: readonly { readonly base: string; readonly size: string; readonly hotPluggable: boolean }[];
    readonly memoryBytes: number;
    readonly hasMemory: boolean;
    readonly distances: Readonly<Record<number, number>>;
  }[];
  readonly cpus: readonly NumaCpu[];
  readonly fallback: Readonly<Record<number, readonly number[]>>;
  readonly access: readonly MemoryAccess[];
  readonly warnings: readonly string[];
}

/**
 * Which CPUs and which memory are close to each other. Immutable; for set-up and reports, not for hot paths.
 *
 * Made by {@link topologyFromAcpi}, by `readSysfsTopology` of `@x/numa/node`, by {@link NumaTopology.uniform}, or of parts.
 *
 * @public
 */
export class NumaTopology {
  /** Ascending by id; ids may have gaps. */
  readonly nodes: readonly NumaNode[];
  readonly cpus: readonly NumaCpu[];
  /** For every node the nodes with memory, nearest first, in the order Linux would take them. */
  readonly fallback: Readonly<Record<number, readonly number[]>>;
  /** Latencies and bandwidths of pairs of nodes, where firmware tells them. */
  readonly access: readonly MemoryAccess[];
  /** What was odd in the source, one sentence each. */
  readonly warnings: readonly string[];
  readonly #nodes: ReadonlyMap<number, NumaNode>;
  readonly #nodeOfCpu: ReadonlyMap<number, number>;

  /** Throws `NUMA_INVALID_ARGUMENT` without nodes, for ids that are none and for ids that are there twice. */
  constructor(parts: NumaTopologyParts) {
    const ids = parts.nodes.map((node) => node.id).sort((a, b) => a - b);
    checkIds(ids, "node");
    checkIds(
      parts.cpus.map((cpu) => cpu.id),
      "CPU",
    );
    if (ids.length === 0) throw new NumaError("NUMA_INVALID_ARGUMENT", "a topology has at least one node");
    this.nodes = parts.nodes
      .map((node) => Object.freeze({ ...node, distances: completeRow(node, ids) }))
      .sort((a, b) => a.id - b.id);
    this.cpus = [...parts.cpus];
    this.access = [...(parts.access ?? [])];
    this.warnings = [...(parts.warnings ?? [])];
    this.#nodes = new Map(this.nodes.map((node) => [node.id, node]));
    this.#nodeOfCpu = new Map(this.cpus.map((cpu) => [cpu.id, cpu.node]));
    const order = fallbackOrder(
      this.nodes.map(({ id, cpus, hasMemory }) => ({ id, hasMemory, hasCpus: cpus.length > 0 })),
      (from, to) => this.distance(from, to),
    );
    this.fallback = Object.fromEntries(order);
  }

  /**
   * A regular machine: `nodes` nodes of `cpusPerNode` CPUs and `bytesPerNode` bytes, CPU ids in blocks,
   * `remoteDistance` (20) between any two.
   */
  static uniform(options: {
    readonly nodes: number;
    readonly cpusPerNode: number;
    readonly bytesPerNode: number;
    readonly remoteDistance?: number;
  }): NumaTopology {
    const { nodes, cpusPerNode, bytesPerNode, remoteDistance = REMOTE_DISTANCE } = options;
    const ids = Array.from({ length: nodes }, (_, id) => id);
    const cpus = ids.flatMap((node) =>
      Array.from({ length: cpusPerNode }, (_, i) => ({ id: node * cpusPerNode + i, node, online: true })),
    );
    return new NumaTopology({
      cpus,
      nodes: ids.map((id) => ({
        id,
        cpus: cpus.filter((cpu) => cpu.node === id).map((cpu) => cpu.id),
        memory: [{ base: BigInt(id) * BigInt(bytesPerNode), size: BigInt(bytesPerNode), hotPluggable: false }],
        memoryBytes: bytesPerNode,
        hasMemory: bytesPerNode > 0,
        distances: Object.fromEntries(ids.map((to) => [to, to === id ? LOCAL_DISTANCE : remoteDistance])),
      })),
    });
  }

  /** The topology whose {@link NumaTopology.toJSON} this is. */
  static fromJSON(json: NumaTopologyJson): NumaTopology {
    const nodes = json.nodes.map((node) => ({
      ...node,
      memory: node.memory.map(({ base, size, hotPluggable }) => ({
        base: BigInt(base),
        size: BigInt(size),
        hotPluggable,
      })),
    }));
    return new NumaTopology({ nodes, cpus: json.cpus, access: json.access, warnings: json.warnings });
  }

  /** Nodes there are; their ids may be larger. */
  get nodeCount(): number {
    return this.nodes.length;
  }

  /** More than one node. */
  get isEnabled(): boolean {
    return this.nodes.length > 1;
  }

  /** The node, or undefined. */
  getNode(id: number): NumaNode | undefined {
    return this.#nodes.get(id);
  }

  /** The node of a CPU; -1 for a CPU that no node claims or that is unknown. */
  nodeForCpu(cpu: number): number {
    return this.#nodeOfCpu.get(cpu) ?? -1;
  }

  /** Distance as in SLIT: 10 local, 255 unreachable. Throws `NUMA_INVALID_NODE` for an unknown node. */
  distance(from: number, to: number): number {
    const distance = this.#nodes.get(from)?.distances[to];
    if (distance !== undefined) return distance;
    throw new NumaError("NUMA_INVALID_NODE", `there is no node ${this.#nodes.has(from) ? to : from}`);
  }

  /** The nearest other node, the lowest id among equals; `from` itself when no other can be reached. */
  closestNode(from: number): number {
    let closest = from;
    let least = UNREACHABLE_DISTANCE;
    for (const { id } of this.nodes) {
      const distance = this.distance(from, id);
      if (id !== from && distance < least) {
        closest = id;
        least = distance;
      }
    }
    if (!this.#nodes.has(from)) throw new NumaError("NUMA_INVALID_NODE", `there is no node ${from}`);
    return closest;
  }

  /** What firmware tells of the way from `initiator`'s CPUs to `target`'s memory; undefined where it tells nothing. */
  accessOf(initiator: number, target: number): MemoryAccess | undefined {
    return this.access.find((access) => access.initiator === initiator && access.target === target);
  }

  /** Plain JSON, which {@link NumaTopology.fromJSON} takes. */
  toJSON(): NumaTopologyJson {
    return {
      nodes: this.nodes.map((node) => ({
        ...node,
        memory: node.memory.map(({ base, size, hotPluggable }) => ({ base: hex(base), size: hex(size), hotPluggable })),
      })),
      cpus: this.cpus,
      fallback: this.fallback,
      access: this.access,
      warnings: this.warnings,
    };
  }
}

function checkIds(ids: readonly number[], what: string): void {
  const seen = new Set<number>();
  for (const id of ids) {
    if (!Number.isInteger(id) || id < 0) throw new NumaError("NUMA_INVALID_ARGUMENT", `${id} is no ${what} id`);
    if (seen.has(id)) throw new NumaError("NUMA_INVALID_ARGUMENT", `${what} ${id} is there twice`);
    seen.add(id);
  }
}

function completeRow(node: NumaNode, ids: readonly number[]): Readonly<Record<number, number>> {
  const row: Record<number, number> = {};
  for (const id of ids) row[id] = node.distances[id] ?? (id === node.id ? LOCAL_DISTANCE : REMOTE_DISTANCE);
  return Object.freeze(row);
}
