import { EXHAUSTED, UNTRACKED } from "../connections.ts";
import type { GraphNode } from "../graph.ts";
import type { NodeParts } from "../node-parts.ts";
import { KEY_IPV6, KEY_WORDS } from "../packet-info.ts";
import type { PacketVector } from "../packet-vector.ts";
import { DropReason } from "../statistics.ts";
import { FlowTarget } from "../translation/flow-target.ts";
import { BLOCKED, CONNECT, LIMITED, REJECTED, type Upstreams } from "../upstream.ts";
import type { LookupNode } from "./lookup.ts";
import type { StateNode } from "./state.ts";

/** Reads the configuration, once for the vector, and makes the connections of packets that have none. */
export class RouteNode implements GraphNode {
  readonly name = "route";
  readonly #parts: NodeParts;
  readonly #lookup: LookupNode;
  readonly #state: StateNode;
  readonly #target = new FlowTarget();
  readonly #client = new Int32Array(KEY_WORDS);

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
    else if (value === REJECTED) this.#reject(vector, i, upstreams);
    else if (value === LIMITED) vector.drop(i, DropReason.Limit);
    else if (value === EXHAUSTED) vector.drop(i, DropReason.NoPort);
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
      const choice = upstreams.choose(keys, at, this.#clientHash(keys, at, upstreams), source, this.#target);
      if (choice !== CONNECT) return choice;
      if (!this.#admit(keys, at, upstreams)) return LIMITED;
      value = connections.create(keys, at, hash, this.#target, vector, i);
    }
    if (value > 0) this.#lookup.remember(vector, i, value);
    return value;
  }

  /** Whether the client of the key may have another connection; its ticket goes into the target. */
  #admit(keys: Int32Array, at: number, { policy }: Upstreams): boolean {
    const { limits } = this.#parts;
    if (limits === undefined) return true;
    const ticket = limits.admit(policy, keys, at, (keys[at + 9] & KEY_IPV6) !== 0);
    this.#target.ticket = Math.max(0, ticket);
    return ticket >= 0;
  }

  /** A keyed hash that is the same for all flows of a client; only translation rules ask for it. */
  #clientHash(keys: Int32Array, at: number, { translator }: Upstreams): number {
    if (translator === undefined) return 0;
    for (let i = 0; i < 4; i++) this.#client[i] = keys[at + i];
    this.#client[9] = keys[at + 9] & KEY_IPV6;
    return this.#parts.table.hash(this.#client, 0);
  }

  /** Drops a packet and sends an answer in its place, if it may have one. */
  #reject(vector: PacketVector, i: number, upstreams: Upstreams): void {
    vector.drop(i, DropReason.Policy);
    this.#parts.answers.reject(vector, i, upstreams);
  }
}
