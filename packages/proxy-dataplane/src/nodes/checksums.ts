import type { GraphNode } from "../graph.ts";
import type { NodeParts } from "../node-parts.ts";
import { PacketInfo } from "../packet-info.ts";
import { parsePacket } from "../packet-pool.ts";
import { Verdict, type PacketVector } from "../packet-vector.ts";
import { IpProtocol } from "../protocols.ts";
import { DropReason, SLOT_OF } from "../statistics.ts";
import { ChecksumState, verifyIcmpChecksum, verifyIpChecksum, verifyTransportChecksum } from "../verify-checksums.ts";

/**
 * Verifies the checksums of all packets, counts bad ones by protocol, and drops them if wanted. Of packets that are not here whole, and
 * of fragments, the IPv4 header alone.
 *
 * Cost: a second header walk and a sum over every byte.
 */
export class ChecksumsNode implements GraphNode {
  readonly name = "checksums";
  readonly #parts: NodeParts;
  readonly #drops: boolean;
  readonly #info = new PacketInfo();

  constructor(parts: NodeParts, drops: boolean) {
    this.#parts = parts;
    this.#drops = drops;
  }

  process(vector: PacketVector, positions: Int32Array, count: number): number {
    let dropped = 0;
    for (let i = 0; i < vector.count; i++) {
      if (vector.verdicts[i] > Verdict.Direct) continue;
      const bad = this.#bad(vector, i);
      if (bad < 0) continue;
      this.#parts.counters.addOn(vector.cpu, bad, 1);
      if (!this.#drops) continue;
      vector.drop(i, DropReason.Checksum);
      dropped++;
    }
    return dropped === 0 ? count : vector.keepTracked(positions, count);
  }

  /** The slot of the first checksum that is bad, -1 for none. */
  #bad(vector: PacketVector, i: number): number {
    const { pool } = this.#parts;
    const { bytes } = pool;
    const info = this.#info;
    parsePacket(pool, vector.packets[i], info);
    if (verifyIpChecksum(bytes, info) === ChecksumState.Bad) return SLOT_OF.badIpv4Checksum;
    if (verifyTransportChecksum(bytes, info) === ChecksumState.Bad) {
      return info.protocol === IpProtocol.Tcp ? SLOT_OF.badTcpChecksum : SLOT_OF.badUdpChecksum;
    }
    return verifyIcmpChecksum(bytes, info) === ChecksumState.Bad ? SLOT_OF.badIcmpChecksum : -1;
  }
}
