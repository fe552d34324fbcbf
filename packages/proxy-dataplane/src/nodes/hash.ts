import type { GraphNode } from "../graph.ts";
import { META_FLOW, type PacketVector } from "../packet-vector.ts";

/**
 * One hash for each packet, for the connection cache. It has no key: whoever can choose flows that fall into one set of the
 * cache makes his own packets miss, and what the table is searched with after a miss is keyed.
 */
export class HashNode implements GraphNode {
  readonly name = "hash";

  process(vector: PacketVector, positions: Int32Array, count: number): number {
    const { sources, destinations, ports, metas, hashes, dense } = vector;
    for (let p = 0; p < count; p++) {
      const i = dense ? p : positions[p];
      const ends = Math.imul(sources[i], 0x9e3779b1) ^ Math.imul(destinations[i], 0x85ebca77);
      const mixed = Math.imul(ports[i] ^ (metas[i] & META_FLOW), 0xc2b2ae3d) ^ ends;
      const hash = Math.imul(mixed ^ (mixed >>> 15), 0x2c1b3c6d);
      hashes[i] = hash ^ (hash >>> 13);
    }
    return count;
  }
}
