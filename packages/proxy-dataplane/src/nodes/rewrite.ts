import * as layout from "../connection-layout.ts";
import type { GraphNode } from "../graph.ts";
import type { NodeParts } from "../node-parts.ts";
import { TouchKind } from "../observer.ts";
import { KEY_WORDS } from "../packet-info.ts";
import * as vectors from "../packet-vector.ts";
import type { PacketVector } from "../packet-vector.ts";
import { IpProtocol } from "../protocols.ts";
import { rewriteAddresses, rewriteEnds } from "../rewrite.ts";
import { swap32 } from "../words.ts";
import { unshareAt } from "./unshare.ts";

// An import is loaded anew wherever it is used, a constant of this module is not: packets are worked on with copies.
const {
  DELTAS,
  FLAG_CHANGES,
  FLAG_REWRITE,
  FLAG_SHIFTED,
  FLAGS,
  lineOf,
  NEW_DESTINATION,
  NEW_PORTS,
  NEW_SOURCE,
  ORIGINAL,
  REPLY,
} = layout;
const { META_COMMON, META_COMMON_IPV6, META_FLOW, META_IPV6, META_LATER_FRAGMENT, ROW, transportOf } = vectors;
const { values: VALUES, packets: PACKETS, networks: NETWORKS, metas: METAS } = ROW;
const { Tcp } = IpProtocol;

const TUPLE_BYTES = KEY_WORDS * 4;
const TRANSPORT_TOUCHED_BYTES = 20;
const ALL_ONES = 0xffff;

/** Gives packets the ends their connection says; checksums follow by what was computed when the connection was made. */
export class RewriteNode implements GraphNode {
  readonly name = "rewrite";
  readonly #parts: NodeParts;

  constructor(parts: NodeParts) {
    this.#parts = parts;
  }

  process(vector: PacketVector, positions: Int32Array, count: number): number {
    const { pool, connections, touch } = this.#parts;
    const { words } = connections;
    const packetWords = pool.words;
    const { rows, dense } = vector;
    let dropped = 0;
    for (let p = 0; p < count; p++) {
      const i = dense ? p : positions[p];
      const line = lineOf(rows[VALUES + i]);
      const flags = words[line + FLAGS];
      if ((flags & FLAG_CHANGES) === 0) continue;
      if (!pool.isSole(rows[PACKETS + i]) && !unshareAt(pool, vector, i)) {
        dropped++;
        continue;
      }
      if ((flags & FLAG_SHIFTED) !== 0 && (rows[METAS + i] & META_LATER_FRAGMENT) === 0) {
        this.#shift(vector, i);
        if ((flags & FLAG_REWRITE) === 0) continue;
      }
      const meta = rows[METAS + i];
      if ((meta & META_COMMON) !== 0) rewriteCommon(packetWords, rows[NETWORKS + i] >> 2, words, line, meta & 0xff);
      else if ((meta & META_COMMON_IPV6) !== 0) {
        rewriteCommonIpv6(packetWords, rows[NETWORKS + i] >> 2, words, rows[VALUES + i], meta & 0xff);
      } else this.#general(vector, i);
      if (touch !== undefined) this.#tell(vector, i, line);
    }
    return dropped === 0 ? count : vector.keepTracked(positions, count);
  }

  /** Gives a segment of a connection whose payload has changed its length the numbers that its receiver knows. */
  #shift(vector: PacketVector, i: number): void {
    const { pool, shifts } = this.#parts;
    const { offsets, lengths } = pool.columns;
    const packet = vector.packets[i];
    shifts.rewrite(pool.bytes, transportOf(vector, i), offsets[packet] + lengths[packet], vector.values[i]);
  }

  #general(vector: PacketVector, i: number): void {
    const { pool, connections } = this.#parts;
    const { keys } = vector;
    const value = vector.values[i];
    const at = i * KEY_WORDS;
    if ((vector.metas[i] & META_IPV6) === 0) {
      keys[at] = swap32(vector.sources[i]);
      keys[at + 4] = swap32(vector.destinations[i]);
      keys[at + 8] = swap32(vector.ports[i]);
      keys[at + 9] = vector.metas[i] & META_FLOW;
    }
    const to = (value >> 2) + ((value & 1) === 0 ? REPLY : ORIGINAL);
    // Ports and the transport's checksum are in the first fragment alone.
    if ((vector.metas[i] & META_LATER_FRAGMENT) !== 0) {
      rewriteAddresses(pool.bytes, vector.networks[i], keys, at, connections.words, to + 4, to);
    } else rewriteEnds(pool.bytes, vector.networks[i], vector.transports[i], keys, at, connections.words, to);
  }

  #tell(vector: PacketVector, i: number, line: number): void {
    const { touch } = this.#parts;
    const from = vector.networks[i];
    touch?.(line << 2, TUPLE_BYTES, false, TouchKind.Connection);
    touch?.(from, transportOf(vector, i) + TRANSPORT_TOUCHED_BYTES - from, true, TouchKind.Packet);
  }
}

/** `at` is the word of the IP header. Sums of halves do not care which byte of a half is first (RFC 1071). */
function rewriteCommon(packet: Int32Array, at: number, words: Int32Array, line: number, protocol: number): void {
  const deltas = words[line + DELTAS];
  const third = packet[at + 2];
  packet[at + 2] = (third & 0xffff) | (adjusted(third >>> 16, deltas & 0xffff) << 16);
  packet[at + 3] = words[line + NEW_SOURCE];
  packet[at + 4] = words[line + NEW_DESTINATION];
  packet[at + 5] = words[line + NEW_PORTS];
  if (protocol === Tcp) adjustTcp(packet, at + 5, deltas >>> 16);
  else adjustUdp(packet, at + 5, deltas >>> 16);
}

/** The same of IPv6, whose packets get the tuple of the direction of `value` with its sides swapped. */
function rewriteCommonIpv6(packet: Int32Array, at: number, words: Int32Array, value: number, protocol: number): void {
  const line = lineOf(value);
  const to = (value >> 2) + ((value & 1) === 0 ? REPLY : ORIGINAL);
  for (let i = 0; i < 4; i++) {
    packet[at + 2 + i] = swap32(words[to + 4 + i]);
    packet[at + 6 + i] = swap32(words[to + i]);
  }
  packet[at + 10] = words[line + NEW_PORTS];
  const delta = words[line + DELTAS] >>> 16;
  if (protocol === Tcp) adjustTcp(packet, at + 10, delta);
  else adjustUdp(packet, at + 10, delta);
}

/** The checksum of the TCP header at word `at`. */
function adjustTcp(packet: Int32Array, at: number, delta: number): void {
  const fifth = packet[at + 4];
  packet[at + 4] = (fifth & ~0xffff) | adjusted(fifth & 0xffff, delta);
}

/** The checksum of the UDP header at word `at`; `adjustUdpChecksum` of checksum-patch.ts. */
function adjustUdp(packet: Int32Array, at: number, delta: number): void {
  const second = packet[at + 1];
  if (second >>> 16 === 0) return;
  const sum = adjusted(second >>> 16, delta);
  packet[at + 1] = (second & 0xffff) | ((sum === 0 ? ALL_ONES : sum) << 16);
}

/** Equation 3 of RFC 1624. */
function adjusted(checksum: number, delta: number): number {
  const sum = (~checksum & 0xffff) + delta;
  return ~((sum & 0xffff) + (sum >>> 16)) & 0xffff;
}
