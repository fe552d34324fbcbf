import { flowHash } from "../flow-cache.ts";
import type { GraphNode } from "../graph.ts";
import { ROW, type PacketVector } from "../packet-vector.ts";

// An import is loaded anew wherever it is used, a constant of this module is not: packets are worked on with copies.
const hashOf = flowHash;
const { sources, destinations, ports, metas, hashes } = ROW;

/**
 * One hash for each packet, for the connection cache. It has no key: whoever can choose flows that fall into one set of the
 * cache makes his own packets miss, and what the table is searched with after a miss is keyed.
 */
export class HashNode implements GraphNode {
  readonly name = "hash";

  process(vector: PacketVector, positions: Int32Array, count: number): number {
    const { rows, dense } = vector;
    for (let p = 0; p < count; p++) {
      const i = dense ? p : positions[p];
      rows[hashes + i] = hashOf(rows[sources + i], rows[destinations + i], rows[ports + i], rows[metas + i]);
    }
    return count;
  }
}
