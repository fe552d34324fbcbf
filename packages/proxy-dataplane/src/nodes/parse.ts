import type { GraphNode } from "../graph.ts";
import type { NodeParts } from "../node-parts.ts";
import { TouchKind } from "../observer.ts";
import { KEY_IPV6, KEY_WORDS, NetworkKind, PacketInfo, ParseResult } from "../packet-info.ts";
import { COLUMN } from "../packet-columns.ts";
import * as vectors from "../packet-vector.ts";
import type { PacketVector } from "../packet-vector.ts";
import { digest, readIpv4, readIpv6 } from "../parse-words.ts";
import { parseFrame } from "../parse-frame.ts";
import { IpProtocol, LinkType } from "../protocols.ts";
import { MAX_BATCH } from "../parameters.ts";
import { DropReason } from "../statistics.ts";
import { isIcmpError } from "../icmp.ts";
import { isSourceRouted } from "../verify-checksums.ts";
import * as order from "../words.ts";

// An import is loaded anew wherever it is used, a constant of this module is not: packets are worked on with copies.
const { META_IPV6, ROW } = vectors;
const { packets: PACKETS, wireLengths: WIRE_LENGTHS } = ROW;
const { offsets: OFFSETS, lengths: LENGTHS, wireLengths: ON_WIRE, linkTypes: LINK_TYPES } = COLUMN;
const { LITTLE_ENDIAN, swap32 } = order;
const { Ethernet } = LinkType;

const HEADER_BYTES = 64;
/** The protocol's word of an IPv4 header behind an Ethernet header. */
const HEADER_AT = 22;

/**
 * Finds the headers. The packet that most packets are, Ethernet without tags and IPv4 without options or IPv6 without extension
 * headers, no fragment, TCP or UDP, its headers here (the payload may lie elsewhere), at an offset that aligns its IP header, is read
 * by words; all others by the general walk.
 */
export class ParseNode implements GraphNode {
  readonly name = "parse";
  readonly #parts: NodeParts;
  readonly #info = new PacketInfo();
  /** Positions of packets for the general walk. */
  readonly #others = new Int32Array(MAX_BATCH);

  /** What was loaded ahead, so that loading it cannot be left out. */
  ahead = 0;

  constructor(parts: NodeParts) {
    this.#parts = parts;
  }

  process(vector: PacketVector, positions: Int32Array, count: number): number {
    const { pool, touch } = this.#parts;
    const { words } = pool;
    const { all, stride } = pool.rows;
    const { rows, dense } = vector;
    vector.errorCount = 0;
    vector.fragmentCount = 0;
    if (this.#parts.modes.spread) this.#fetchAhead(vector, positions, count);
    const others = this.#others;
    let rare = 0;
    for (let p = 0; p < count; p++) {
      const i = dense ? p : positions[p];
      const packet = rows[PACKETS + i];
      const start = all[packet + OFFSETS * stride];
      const length = all[packet + LENGTHS * stride];
      const wireLength = all[packet + ON_WIRE * stride];
      rows[WIRE_LENGTHS + i] = wireLength;
      const plain = (start & 3) === 2 && all[packet + LINK_TYPES * stride] === Ethernet && wireLength >= length;
      // No call in this loop: what is constant in it stays in registers.
      if (!LITTLE_ENDIAN || !plain || !readIpv4(vector, i, words, start, length, wireLength)) others[rare++] = i;
    }
    const ended = rare === 0 ? 0 : this.#rare(vector, rare);
    if (touch !== undefined) this.#tell(vector, count);
    return ended === 0 ? count : vector.keepTracked(positions, count);
  }

  /**
   * Gets the headers into the cache, in a loop that does little else: what reads them does too much for many loads to be under way. Four in a
   * turn check their arrays once.
   */
  #fetchAhead(vector: PacketVector, positions: Int32Array, count: number): void {
    const { words, rows: columns } = this.#parts.pool;
    const { all } = columns;
    const { rows, dense } = vector;
    let ahead = 0;
    const whole = dense ? count & ~3 : 0;
    let p = 0;
    for (; p < whole; p += 4) {
      const at = PACKETS + p;
      ahead |=
        words[(all[rows[at]] + HEADER_AT) >> 2] |
        words[(all[rows[at + 1]] + HEADER_AT) >> 2] |
        words[(all[rows[at + 2]] + HEADER_AT) >> 2] |
        words[(all[rows[at + 3]] + HEADER_AT) >> 2];
    }
    for (; p < count; p++) ahead |= words[(all[rows[PACKETS + positions[p]]] + HEADER_AT) >> 2];
    this.ahead = ahead;
  }

  /** Reads the packets at the `count` positions in `#others`; returns how many go no further. */
  #rare(vector: PacketVector, count: number): number {
    const { pool } = this.#parts;
    const { words } = pool;
    const { all, stride } = pool.rows;
    const { rows } = vector;
    const others = this.#others;
    let ended = 0;
    for (let r = 0; r < count; r++) {
      const i = others[r];
      const packet = rows[PACKETS + i];
      const start = all[packet + OFFSETS * stride];
      const length = all[packet + LENGTHS * stride];
      const wireLength = rows[WIRE_LENGTHS + i];
      const plain = (start & 3) === 2 && all[packet + LINK_TYPES * stride] === Ethernet && wireLength >= length;
      const isRead = LITTLE_ENDIAN && plain && readIpv6(vector, i, words, start, length, wireLength);
      if (!isRead && !this.#general(vector, i, packet)) ended++;
    }
    return ended;
  }

  /** Reads any packet; false when it goes no further. */
  #general(vector: PacketVector, i: number, packet: number): boolean {
    const { pool } = this.#parts;
    const { offsets, lengths, linkTypes } = pool.columns;
    const info = this.#info;
    const { bytes } = pool;
    const start = offsets[packet];
    const result = parseFrame(bytes, start, lengths[packet], vector.wireLengths[i], linkTypes[packet], info);
    if (result !== ParseResult.Ok) {
      vector.drop(i, DropReason.Malformed);
      return false;
    }
    if (!isTrackable(bytes, info)) {
      if (info.moreFragments === 1 || info.fragmentOffset > 0) vector.fragments[vector.fragmentCount++] = i;
      if (isIcmpError(info)) vector.errors[vector.errorCount++] = i;
      vector.direct(i);
      return false;
    }
    fillGeneral(vector, i, info);
    return true;
  }

  #tell(vector: PacketVector, count: number): void {
    const { pool, touch } = this.#parts;
    const { offsets, lengths } = pool.columns;
    if (touch === undefined) return;
    for (let i = 0; i < count; i++) {
      const packet = vector.packets[i];
      touch(offsets[packet], Math.min(lengths[packet], HEADER_BYTES), false, TouchKind.Packet);
    }
  }
}

/** Fills the columns of a position with what a header walk has found. */
export function fillGeneral(v: PacketVector, i: number, info: PacketInfo): void {
  const { key } = info;
  const at = i * KEY_WORDS;
  v.networks[i] = info.networkOffset;
  v.transports[i] = info.transportOffset;
  v.ports[i] = swap32(key[8]);
  v.metas[i] = info.protocol;
  v.tcpFlags[i] = info.tcpFlags;
  v.sequences[i] = info.tcpSequence;
  v.acknowledgements[i] = info.tcpAcknowledgement;
  v.windows[i] = info.tcpWindow;
  v.payloads[i] = Math.max(0, info.transportLength - info.transportHeaderLength);
  if ((key[9] & KEY_IPV6) === 0) {
    v.sources[i] = swap32(key[0]);
    v.destinations[i] = swap32(key[4]);
    return;
  }
  v.metas[i] |= META_IPV6;
  for (let word = 0; word < KEY_WORDS; word++) v.keys[at + word] = key[word];
  v.sources[i] = digest(key, 0);
  v.destinations[i] = digest(key, 4);
}

/** Whole IP packets; of ICMP, echoes. Others cannot be told to belong to a flow. */
function isTrackable(bytes: Uint8Array, info: PacketInfo): boolean {
  if (info.network !== NetworkKind.Ipv4 && info.network !== NetworkKind.Ipv6) return false;
  if (info.moreFragments === 1 || info.fragmentOffset > 0) return false;
  if (info.protocol === IpProtocol.Icmp || info.protocol === IpProtocol.Icmpv6) return info.isEcho === 1;
  return !isSourceRouted(bytes, info);
}
