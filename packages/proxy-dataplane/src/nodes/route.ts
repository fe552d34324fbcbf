import { UNTRACKED } from "../connections.ts";
import type { GraphNode } from "../graph.ts";
import type { NodeParts } from "../node-parts.ts";
import { KEY_WORDS } from "../packet-info.ts";
import type { PacketVector } from "../packet-vector.ts";
import { DropReason } from "../statistics.ts";
import { BLOCKED, type Upstreams } from "../upstream.ts";
import type { LookupNode } from "./lookup.ts";
import type { StateNode } from "./state.ts";

/** Reads the configuration, once for the vector, and makes the connections of packets that have none. */
export class RouteNode implements GraphNode {
  readonly name = "route";
  readonly #parts: NodeParts;
  readonly #lookup: LookupNode;
  readonly #state: StateNode;

  constructor(parts: NodeParts, lookup: LookupNode, state: StateNode) {
    this.#parts = parts;
    this.#lookup = lookup;
    this.#state = state;
  }

  process(vector: PacketVector, positions: Int32Array, count: number): number {
    const { upstreams, modes } = this.#parts;
    const { missCount, misses } = vector;
    // Without RCU nothing keeps the configuration alive between two packets: each reads it under the lock.
    if (!modes.rcu) for (let p = 0; p < count; p++) upstreams(true);
    if (missCount === 0) return count;
    const now = upstreams(false);
    for (let miss = 0; miss < missCount; miss++) this.#route(vector, misses[miss], now);
    return vector.keepTracked(positions, count);
  }

  #route(vector: PacketVector, i: number, upstreams: Upstreams): void {
    const value = this.#connect(vector, i, upstreams);
    if (value === UNTRACKED) vector.direct(i);
    else if (value === BLOCKED) vector.drop(i, DropReason.Policy);
    else if (value === 0) vector.drop(i, DropReason.NoConnection);
    else {
      vector.values[i] = value;
      this.#state.one(vector, i);
    }
  }

  /** The connection of a packet that had none when its vector was looked up: an earlier packet of it may have made it. */
  #connect(vector: PacketVector, i: number, upstreams: Upstreams): number {
    const { table, connections, source } = this.#parts;
    const { keys } = vector;
    const at = i * KEY_WORDS;
    const hash = table.hash(keys, at);
    const entry = table.lookup(keys, at, hash);
    let value = entry === 0 ? 0 : table.value(entry);
    if (entry === 0) {
      const server = upstreams.choose(keys, at, source);
      if (server === BLOCKED) return BLOCKED;
      value = connections.create(keys, at, hash, server, upstreams, vector, i);
    }
    if (value > 0) this.#lookup.remember(vector, i, value);
    return value;
  }
}
