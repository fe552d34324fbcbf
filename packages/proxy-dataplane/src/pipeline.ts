import { Graph, withAdded, type AddedNode, type GraphNode } from "./graph.ts";
import type { NodeParts } from "./node-parts.ts";
import { HashNode } from "./nodes/hash.ts";
import { LookupNode } from "./nodes/lookup.ts";
import { ParseNode } from "./nodes/parse.ts";
import { ReceiveNode } from "./nodes/receive.ts";
import { RewriteNode } from "./nodes/rewrite.ts";
import { RouteNode } from "./nodes/route.ts";
import { StateNode } from "./nodes/state.ts";
import { TransmitNode } from "./nodes/transmit.ts";
import { Stage } from "./observer.ts";
import { PacketVector } from "./packet-vector.ts";
import { DROP_SLOTS } from "./statistics.ts";
import type { PerCpuCountersHandle } from "@x/smp";

/** Names of the built-in nodes, in order, and the stage each one ends. */
const STAGES: readonly (readonly [string, Stage])[] = [
  ["receive", Stage.Receive],
  ["parse", Stage.Parse],
  ["hash", Stage.Hash],
  ["lookup", Stage.Lookup],
  ["state", Stage.State],
  ["route", Stage.Route],
  ["rewrite", Stage.Rewrite],
  ["transmit", Stage.Transmit],
];

/** The names of all nodes, in order. */
export function nodeNames(added: readonly AddedNode[]): string[] {
  return withAdded<{ readonly name: string }>(
    STAGES.map(([name]) => ({ name })),
    added,
  ).map(({ name }) => name);
}

/** The graph of one thread, and the vector that goes through it. A vector is begun and ended in one call, so one serves every CPU that the thread plays. */
export class Pipeline {
  readonly graph: Graph;
  readonly vector: PacketVector;
  readonly #parts: NodeParts;

  constructor(parts: NodeParts, added: readonly AddedNode[], counters: PerCpuCountersHandle) {
    const { observer } = parts;
    this.#parts = parts;
    this.vector = new PacketVector((_position, reason) => {
      const { cpu } = this.vector;
      parts.counters.addOn(cpu, DROP_SLOTS[reason], 1);
      observer?.onDrop?.(cpu, reason);
    });
    const nodes = withAdded<GraphNode>(builtIn(parts), added);
    const stages = nodes.map(({ name }) => STAGES.find(([stage]) => stage === name)?.[1] ?? -1);
    const told = (node: number, count: number): void => {
      if (stages[node] >= 0) observer?.onStage?.(this.vector.cpu, stages[node] as Stage, count);
    };
    this.graph = new Graph(nodes, counters, parts.hal, observer?.onStage === undefined ? undefined : told);
  }

  /** Takes `batch[from, from + count)` through all nodes; writes the packets to send to `out[sent ..]`, returns the new `sent`. */
  run(batch: Int32Array, from: number, count: number, nowMs: number, out: Int32Array, sent: number): number {
    const { vector } = this;
    vector.cpu = this.#parts.hal.currentCpu();
    vector.nowMs = nowMs;
    vector.count = count;
    vector.out = out;
    vector.sent = sent;
    vector.sentBytes = 0;
    vector.receivedPackets = 0;
    vector.receivedBytes = 0;
    for (let i = 0; i < count; i++) vector.packets[i] = batch[from + i];
    this.graph.run(vector);
    return vector.sent;
  }
}

function builtIn(parts: NodeParts): GraphNode[] {
  const lookup = new LookupNode(parts);
  const state = new StateNode(parts);
  return [
    new ReceiveNode(parts),
    new ParseNode(parts),
    new HashNode(),
    lookup,
    state,
    new RouteNode(parts, lookup, state),
    new RewriteNode(parts),
    new TransmitNode(parts),
  ];
}
