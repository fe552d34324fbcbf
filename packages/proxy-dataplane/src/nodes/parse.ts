import type { GraphNode } from "../graph.ts";
import type { NodeParts } from "../node-parts.ts";
import { TouchKind } from "../observer.ts";
import { KEY_IPV6, KEY_WORDS, NetworkKind, PacketInfo, ParseResult } from "../packet-info.ts";
import * as vectors from "../packet-vector.ts";
import type { PacketVector } from "../packet-vector.ts";
import { parseFrame } from "../parse-frame.ts";
import { IpProtocol, LinkType } from "../protocols.ts";
import { MAX_BATCH } from "../parameters.ts";
import { DropReason } from "../statistics.ts";
import { isIcmpError } from "../icmp.ts";
import { isSourceRouted } from "../verify-checksums.ts";
import * as order from "../words.ts";

// An import is loaded anew wherever it is used, a constant of this module is not: packets are worked on with copies.
const { META_COMMON, META_IPV6 } = vectors;
const { LITTLE_ENDIAN, swap32 } = order;
const { Tcp, Udp } = IpProtocol;
const { Ethernet } = LinkType;

const ETHERNET_BYTES = 14;
const IPV4_BYTES = 20;
const UDP_BYTES = 8;
const TCP_MIN_BYTES = 20;
/** Raw words of headers: EtherType IPv4 in the upper half; version 4 with five words; more-fragments flag and offset. */
const RAW_ETHERTYPE_IPV4 = 0x0008;
const RAW_PLAIN_IPV4 = 0x45;
const RAW_FRAGMENT_BITS = 0xff3f_0000 | 0;
const TCP_FLAG_BITS = 0x1ff;
const HEADER_BYTES = 64;

/**
 * Finds the headers. The packet that most packets are, Ethernet without tags and IPv4 without options, no fragment, TCP or UDP, its
 * headers here (the payload may lie elsewhere), at an offset that aligns its IP header, is read by words; all others by the
 * general walk.
 */
export class ParseNode implements GraphNode {
  readonly name = "parse";
  readonly #parts: NodeParts;
  readonly #info = new PacketInfo();
  /** Positions of packets for the general walk. */
  readonly #others = new Int32Array(MAX_BATCH);

  constructor(parts: NodeParts) {
    this.#parts = parts;
  }

  process(vector: PacketVector, positions: Int32Array, count: number): number {
    const { pool, touch } = this.#parts;
    const { words } = pool;
    const { offsets, lengths, linkTypes } = pool.columns;
    const onWire = pool.columns.wireLengths;
    const { packets, wireLengths, dense } = vector;
    vector.errorCount = 0;
    vector.fragmentCount = 0;
    const others = this.#others;
    let rare = 0;
    for (let p = 0; p < count; p++) {
      const i = dense ? p : positions[p];
      const packet = packets[i];
      const start = offsets[packet];
      const length = lengths[packet];
      const wireLength = onWire[packet];
      wireLengths[i] = wireLength;
      const plain = (start & 3) === 2 && linkTypes[packet] === Ethernet && wireLength >= length;
      // No call in this loop: what is constant in it stays in registers.
      if (!LITTLE_ENDIAN || !plain || !readCommon(vector, i, words, start, length, wireLength)) others[rare++] = i;
    }
    let ended = 0;
    for (let r = 0; r < rare; r++) if (!this.#general(vector, others[r], packets[others[r]])) ended++;
    if (touch !== undefined) this.#tell(vector, count);
    return ended === 0 ? count : vector.keepTracked(positions, count);
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

/** Reads a common packet whose IP header is at a multiple of four; false, with nothing kept, for any other. */
function readCommon(
  v: PacketVector,
  i: number,
  words: Int32Array,
  start: number,
  length: number,
  wireLength: number,
): boolean {
  const at = (start + ETHERNET_BYTES) >> 2;
  const first = words[at];
  const third = words[at + 2];
  const total = ((first >>> 8) & 0xff00) | (first >>> 24);
  const rest = total - IPV4_BYTES;
  const isCommon =
    length >= ETHERNET_BYTES + IPV4_BYTES + UDP_BYTES &&
    words[at - 1] >>> 16 === RAW_ETHERTYPE_IPV4 &&
    (first & 0xff) === RAW_PLAIN_IPV4 &&
    (words[at + 1] & RAW_FRAGMENT_BITS) === 0 &&
    rest >= UDP_BYTES &&
    total <= wireLength - ETHERNET_BYTES;
  if (!isCommon) return false;
  const protocol = (third >>> 8) & 0xff;
  if (protocol === Udp) {
    const sixth = words[at + 6];
    const declared = ((sixth & 0xff) << 8) | ((sixth >>> 8) & 0xff);
    if (declared < UDP_BYTES || declared > rest) return false;
  } else {
    const here = length - ETHERNET_BYTES - IPV4_BYTES;
    if (protocol !== Tcp || !readTcp(v, i, words, at + 5, rest, here)) return false;
  }
  v.networks[i] = start + ETHERNET_BYTES;
  v.sources[i] = words[at + 3];
  v.destinations[i] = words[at + 4];
  v.ports[i] = words[at + 5];
  v.metas[i] = protocol | META_COMMON;
  return true;
}

/** `rest` bytes of the packet are TCP's, `here` of them in the buffer. */
function readTcp(v: PacketVector, i: number, words: Int32Array, at: number, rest: number, here: number): boolean {
  if (rest < TCP_MIN_BYTES || here < TCP_MIN_BYTES) return false;
  const fourth = words[at + 3];
  const headerBytes = (fourth & 0xf0) >>> 2;
  if (headerBytes < TCP_MIN_BYTES || headerBytes > rest || headerBytes > here) return false;
  v.sequences[i] = swap32(words[at + 1]);
  v.acknowledgements[i] = swap32(words[at + 2]);
  v.tcpFlags[i] = (((fourth & 1) << 8) | ((fourth >>> 8) & 0xff)) & TCP_FLAG_BITS;
  v.windows[i] = ((fourth >>> 8) & 0xff00) | (fourth >>> 24);
  v.payloads[i] = rest - headerBytes;
  return true;
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

/** One word for the four of an address; a hit by digests is confirmed by the whole key. */
function digest(key: Int32Array, at: number): number {
  let hash = key[at];
  for (let word = 1; word < 4; word++) {
    hash = Math.imul(hash ^ (hash >>> 15), 0x85ebca6b) + key[at + word];
  }
  return Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35) | 0;
}

/** Whole IP packets; of ICMP, echoes. Others cannot be told to belong to a flow. */
function isTrackable(bytes: Uint8Array, info: PacketInfo): boolean {
  if (info.network !== NetworkKind.Ipv4 && info.network !== NetworkKind.Ipv6) return false;
  if (info.moreFragments === 1 || info.fragmentOffset > 0) return false;
  if (info.protocol === IpProtocol.Icmp || info.protocol === IpProtocol.Icmpv6) return info.isEcho === 1;
  return !isSourceRouted(bytes, info);
}
