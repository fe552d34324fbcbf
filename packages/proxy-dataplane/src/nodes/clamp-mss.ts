import { adjustChecksum, replaceHalf } from "../checksum-patch.ts";
import type { GraphNode } from "../graph.ts";
import type { NodeParts } from "../node-parts.ts";
import {
  META_FIRST_FRAGMENT,
  META_IPV6,
  META_LATER_FRAGMENT,
  transportOf,
  type PacketVector,
} from "../packet-vector.ts";
import { IpProtocol, TcpFlag } from "../protocols.ts";
import { SLOT_OF } from "../statistics.ts";
import { unshareAt } from "./unshare.ts";

/** Protocol, and what a fragment is known by. */
const WHOLE = 0xff | META_FIRST_FRAGMENT | META_LATER_FRAGMENT;
const TCP_BYTES = 20;
const TCP_CHECKSUM = 16;
const OPTION_END = 0;
const OPTION_NOP = 1;
const OPTION_MSS = 2;
const MSS_BYTES = 4;

/**
 * Lowers the maximum segment size that segments with SYN announce (RFC 9293 section 3.7.1) to what a path takes; never raises it, and adds
 * none, as `tcp option maxseg size set rt mtu` of nftables.
 */
export class ClampMssNode implements GraphNode {
  readonly name = "clamp-mss";
  readonly #parts: NodeParts;
  readonly #ipv4Bytes: number;
  readonly #ipv6Bytes: number;

  constructor(parts: NodeParts, limits: { readonly ipv4Bytes: number; readonly ipv6Bytes: number }) {
    this.#parts = parts;
    this.#ipv4Bytes = limits.ipv4Bytes;
    this.#ipv6Bytes = limits.ipv6Bytes;
  }

  process(vector: PacketVector, positions: Int32Array, count: number): number {
    const { metas, tcpFlags, dense } = vector;
    let dropped = 0;
    for (let p = 0; p < count; p++) {
      const i = dense ? p : positions[p];
      // The options of a fragment may lie in the next one.
      if ((metas[i] & WHOLE) !== IpProtocol.Tcp || (tcpFlags[i] & TcpFlag.Syn) === 0) continue;
      if (!this.#clamp(vector, i)) dropped++;
    }
    return dropped === 0 ? count : vector.keepTracked(positions, count);
  }

  #clamp(vector: PacketVector, i: number): boolean {
    const { pool, counters } = this.#parts;
    const { bytes } = pool;
    const limit = (vector.metas[i] & META_IPV6) === 0 ? this.#ipv4Bytes : this.#ipv6Bytes;
    const option = findMss(bytes, transportOf(vector, i));
    if (
      option === 0 ||
      ((bytes[transportOf(vector, i) + option] << 8) | bytes[transportOf(vector, i) + option + 1]) <= limit
    ) {
      return true;
    }
    if (!unshareAt(pool, vector, i)) return false;
    const transport = transportOf(vector, i);
    const change = replaceHalf(bytes, transport + option, limit, (option & 1) !== 0);
    adjustChecksum(bytes, transport + TCP_CHECKSUM, change);
    counters.addOn(vector.cpu, SLOT_OF.mssClamped, 1);
    return true;
  }
}

/** Where the announced size is, from the beginning of the TCP header; 0 when there is none. The header is here whole. */
function findMss(bytes: Uint8Array, transport: number): number {
  const end = (bytes[transport + 12] >> 4) * 4;
  for (let at = TCP_BYTES; at < end && bytes[transport + at] !== OPTION_END;) {
    if (bytes[transport + at] === OPTION_NOP) {
      at++;
      continue;
    }
    const length = at + 1 < end ? bytes[transport + at + 1] : 0;
    if (length < 2 || at + length > end) return 0;
    if (bytes[transport + at] === OPTION_MSS && length === MSS_BYTES) return at + 2;
    at += length;
  }
  return 0;
}
