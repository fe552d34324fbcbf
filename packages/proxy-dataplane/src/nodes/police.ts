import { TICKET } from "../connection-layout.ts";
import type { GraphNode } from "../graph.ts";
import type { NodeParts } from "../node-parts.ts";
import type { PacketVector } from "../packet-vector.ts";
import { DropReason } from "../statistics.ts";

/**
 * Holds clients to their bytes a second: packets beyond that, in both directions, are dropped, which tells TCP to slow down. The
 * limits are those of the configuration that holds now. Packets of connections that are not made yet are not counted.
 */
export class PoliceNode implements GraphNode {
  readonly name = "police";
  readonly #parts: NodeParts;

  constructor(parts: NodeParts) {
    this.#parts = parts;
  }

  process(vector: PacketVector, positions: Int32Array, count: number): number {
    const { limits, connections, upstreams } = this.#parts;
    const { policy } = upstreams(false);
    const rate = policy.perClient?.bytesPerSecond ?? 0;
    if (limits === undefined || rate === 0) return count;
    const { values, wireLengths } = vector;
    let dropped = 0;
    for (let p = 0; p < count; p++) {
      const i = positions[p];
      const ticket = values[i] === 0 ? 0 : connections.words[(values[i] >> 2) + TICKET];
      if (ticket === 0 || limits.afford(policy, ticket, wireLengths[i])) continue;
      vector.drop(i, DropReason.Limit);
      dropped++;
    }
    return dropped === 0 ? count : vector.keepTracked(positions, count);
  }
}
