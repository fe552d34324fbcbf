import { Graph, withAdded, type AddedNode, type GraphNode } from "./graph.ts";
import { mostFragments } from "./fragment.ts";
import type { NetworkPath } from "./network-options.ts";
import type { NodeParts } from "./node-parts.ts";
import { ChecksumsNode } from "./nodes/checksums.ts";
import { ClampMssNode } from "./nodes/clamp-mss.ts";
import { FragmentsNode } from "./nodes/fragments.ts";
import { HashNode } from "./nodes/hash.ts";
import { LookupNode } from "./nodes/lookup.ts";
import { PoliceNode } from "./nodes/police.ts";
import { ParseNode } from "./nodes/parse.ts";
import { mtuNodes } from "./nodes/path-mtu.ts";
import { ReceiveNode } from "./nodes/receive.ts";
import { RelatedNode } from "./nodes/related.ts";
import { RewriteNode } from "./nodes/rewrite.ts";
import { RouteNode } from "./nodes/route.ts";
import { StateNode } from "./nodes/state.ts";
import { TransmitNode } from "./nodes/transmit.ts";
import { Stage } from "./observer.ts";
import { PacketVector } from "./packet-vector.ts";
import { DROP_SLOTS } from "./statistics.ts";
import type { PerCpuCountersHandle } from "@x/smp";

/** The stages that observers hear of: each ends with the node of its name. */
const STAGES: Readonly<Record<string, Stage>> = {
  receive: Stage.Receive,
  parse: Stage.Parse,
  hash: Stage.Hash,
  lookup: Stage.Lookup,
  state: Stage.State,
  route: Stage.Route,
  rewrite: Stage.Rewrite,
  transmit: Stage.Transmit,
};

/** The names of all nodes, in order. */
export function nodeNames(path: NetworkPath, isLimited: boolean, added: readonly AddedNode[]): string[] {
  const builtIn = [
    "receive",
    "parse",
    ...(path.datagrams === 0 ? [] : ["fragments"]),
    ...(path.checksums === undefined ? [] : ["checksums"]),
    "hash",
    "lookup",
    ...(isLimited ? ["police"] : []),
    "state",
    "route",
    "related",
    ...(path.mss === undefined ? [] : ["clamp-mss"]),
    ...(path.mtu === 0 ? ["rewrite"] : ["path-mtu", "rewrite", "fragment"]),
    "transmit",
  ];
  return withAdded<{ readonly name: string }>(
    builtIn.map((name) => ({ name })),
    added,
  ).map(({ name }) => name);
}

/** Packets that one packet may leave as. */
export function packetsOfOne(path: NetworkPath, bufferBytes: number): number {
  return path.mtu === 0 || !path.fragments ? 1 : mostFragments(bufferBytes, path.mtu);
}

/** The graph of one thread, and the vector that goes through it. A vector is begun and ended in one call, so one serves every CPU that the thread plays. */
export class Pipeline {
  readonly graph: Graph;
  readonly vector: PacketVector;
  readonly #parts: NodeParts;
  readonly #fragments: FragmentsNode | undefined;

  constructor(parts: NodeParts, path: NetworkPath, added: readonly AddedNode[], counters: PerCpuCountersHandle) {
    const { observer } = parts;
    this.#parts = parts;
    const followers = packetsOfOne(path, parts.pool.bufferBytes) - 1;
    this.vector = new PacketVector((_position, reason) => {
      const { cpu } = this.vector;
      parts.counters.addOn(cpu, DROP_SLOTS[reason], 1);
      observer?.onDrop?.(cpu, reason);
    }, followers);
    const fragments = path.datagrams === 0 ? undefined : new FragmentsNode(parts, path.datagrams, path.heldFragments);
    this.#fragments = fragments;
    const nodes = withAdded<GraphNode>(builtIn(parts, path, fragments), added);
    const stages = nodes.map(({ name }) => (Object.hasOwn(STAGES, name) ? STAGES[name] : -1));
    const told = (node: number, count: number): void => {
      if (stages[node] >= 0) observer?.onStage?.(this.vector.cpu, stages[node] as Stage, count);
    };
    this.graph = new Graph(nodes, counters, parts.hal, observer?.onStage === undefined ? undefined : told);
  }

  /** Gives up datagrams in fragments that have been under way for too long. */
  expire(nowMs: number): void {
    this.#fragments?.expire(nowMs);
  }

  /** Takes `batch[from, from + count)` through all nodes; writes the packets to send to `out[sent ..]`, returns the new `sent`. */
  run(batch: Int32Array, from: number, count: number, nowMs: number, out: Int32Array, sent: number): number {
    const { vector } = this;
    vector.cpu = this.#parts.hal.currentCpu();
    vector.nowMs = nowMs;
    vector.pass = (vector.pass + 1) | 0;
    vector.count = count;
    vector.resumed = 0;
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

function builtIn(parts: NodeParts, path: NetworkPath, fragments: FragmentsNode | undefined): GraphNode[] {
  const lookup = new LookupNode(parts);
  const state = new StateNode(parts);
  const rewrite = new RewriteNode(parts);
  const [mtu, fragment] = mtuNodes(parts, path.mtu, path.fragments);
  return [
    new ReceiveNode(parts),
    new ParseNode(parts),
    ...(fragments === undefined ? [] : [fragments]),
    ...(path.checksums === undefined ? [] : [new ChecksumsNode(parts, path.checksums === "drop")]),
    new HashNode(),
    lookup,
    ...(parts.limits === undefined ? [] : [new PoliceNode(parts)]),
    state,
    new RouteNode(parts, lookup, state),
    new RelatedNode(parts),
    ...(path.mss === undefined ? [] : [new ClampMssNode(parts, path.mss)]),
    ...(path.mtu === 0 ? [rewrite] : [mtu, rewrite, fragment]),
    new TransmitNode(parts),
  ];
}
