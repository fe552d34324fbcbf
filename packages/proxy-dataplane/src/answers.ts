import { AnswerLimit } from "./answer-limit.ts";
import { IPV4_BYTES, IPV6_BYTES, pseudoSum, putHalf, putIpv4, putIpv6, putWord } from "./build-header.ts";
import { internetChecksum } from "./checksum.ts";
import * as icmp from "./icmp.ts";
import { NetworkKind, PacketInfo, ParseResult } from "./packet-info.ts";
import { parsePacket, type PacketPool } from "./packet-pool.ts";
import type { PacketId } from "./packet-pool-types.ts";
import { Verdict, type PacketVector } from "./packet-vector.ts";
import { IpProtocol, LinkType, TcpFlag } from "./protocols.ts";
import { SLOT_OF } from "./statistics.ts";
import type { Upstreams } from "./upstream.ts";
import { ChecksumState, verifyIpChecksum, verifyTransportChecksum } from "./verify-checksums.ts";
import type { PerCpuCounters } from "@x/smp";

const TCP_BYTES = 20;
const MAC_BYTES = 6;
/** An ICMP error is as long as 576 bytes (RFC 1812 section 4.3.2.3); of ICMPv6, as the least MTU (RFC 4443 section 2.4 c). */
const MAX_ERROR_BYTES = 576;
const MAX_ERROR6_BYTES = 1280;
/** Internetwork control (RFC 1812 section 4.3.2.5). */
const ERROR_SERVICE_TYPE = 0xc0;

/** What answers are made with. */
export interface AnswerParts {
  readonly pool: PacketPool;
  readonly counters: PerCpuCounters;
  readonly upstreams: (locked: boolean) => Upstreams;
  readonly limit: AnswerLimit;
}

/**
 * Answers to packets that the data path drops: TCP resets and ICMP errors, sent in place of the packet, back to where it came from:
 * the link header is the packet's, its Ethernet addresses swapped.
 *
 * Not answered, as RFC 1122 section 3.2.2, RFC 4443 section 2.4 and RFC 9293 section 3.10.7.1 ask for: ICMP errors, resets, packets to or from
 * addresses that name no single host, fragments but the first, and what has a bad checksum.
 *
 * Thread-safety: private to its thread. Cost: a new buffer and a copy of what is quoted; at most as often as the limit says.
 */
export class Answers {
  readonly #parts: AnswerParts;
  readonly #info = new PacketInfo();
  /** Source and destination of the answer, four words each. */
  readonly #ends = new Int32Array(8);

  constructor(parts: AnswerParts) {
    this.#parts = parts;
  }

  /** Answers to the packet at position `i`, which the configuration rejects. */
  reject(vector: PacketVector, i: number, upstreams: Upstreams): void {
    const isTcp = (vector.metas[i] & 0xff) === IpProtocol.Tcp;
    const isIpv6 = this.#parse(vector, i) && this.#info.network === NetworkKind.Ipv6;
    if (upstreams.rejectWith === "reset" && isTcp) return this.#reset(vector, i);
    const isPort = upstreams.rejectWith !== "prohibited";
    const type = isIpv6 ? icmp.ICMPV6_UNREACHABLE : icmp.ICMP_UNREACHABLE;
    const code4 = isPort ? icmp.ICMP_CODE_PORT : icmp.ICMP_CODE_PROHIBITED;
    const code6 = isPort ? icmp.ICMPV6_CODE_PORT : icmp.ICMPV6_CODE_PROHIBITED;
    this.#error(vector, i, type, isIpv6 ? code6 : code4, 0, SLOT_OF.answersUnreachable, upstreams);
  }

  /** Tells the sender of the packet at position `i` that it does not fit into `mtu` bytes. */
  tooBig(vector: PacketVector, i: number, mtu: number): void {
    const isIpv6 = this.#parse(vector, i) && this.#info.network === NetworkKind.Ipv6;
    const type = isIpv6 ? icmp.ICMPV6_TOO_BIG : icmp.ICMP_UNREACHABLE;
    const upstreams = this.#parts.upstreams(false);
    this.#error(vector, i, type, isIpv6 ? 0 : icmp.ICMP_CODE_TOO_BIG, mtu, SLOT_OF.answersTooBig, upstreams);
  }

  #parse(vector: PacketVector, i: number): boolean {
    return parsePacket(this.#parts.pool, vector.packets[i], this.#info) === ParseResult.Ok;
  }

  /** Whether the packet that was parsed may be answered. */
  #mayAnswer(vector: PacketVector, i: number, isTooBig: boolean): boolean {
    const { counters, pool, limit } = this.#parts;
    const info = this.#info;
    const { bytes } = pool;
    const fits =
      info.result === ParseResult.Ok &&
      info.fragmentOffset === 0 &&
      !icmp.isIcmpError(info) &&
      isOneHost(info, 0) &&
      // A path's MTU is told to senders of multicast too (RFC 4443 section 2.4 e).
      ((isTooBig && info.network === NetworkKind.Ipv6) || isToOneHost(pool, vector.packets[i], info)) &&
      verifyIpChecksum(bytes, info) !== ChecksumState.Bad &&
      // A router on the way does not look at the transport's.
      (isTooBig || verifyTransportChecksum(bytes, info) !== ChecksumState.Bad);
    if (!fits) {
      counters.addOn(vector.cpu, SLOT_OF.answersUnfit, 1);
      return false;
    }
    if (limit.take(vector.cpu, vector.nowMs)) return true;
    counters.addOn(vector.cpu, SLOT_OF.answersLimited, 1);
    return false;
  }

  /** A reset that the sender of the segment accepts (RFC 9293 section 3.10.7.1). */
  #reset(vector: PacketVector, i: number): void {
    const info = this.#info;
    const flags = info.tcpFlags;
    if ((flags & TcpFlag.Rst) !== 0) {
      this.#parts.counters.addOn(vector.cpu, SLOT_OF.answersUnfit, 1);
      return;
    }
    if (!this.#mayAnswer(vector, i, false)) return;
    const answer = this.#begin(vector.packets[i], TCP_BYTES);
    if (answer === 0) return;
    const { bytes, columns } = this.#parts.pool;
    const isIpv6 = info.network === NetworkKind.Ipv6;
    const network = columns.offsets[answer] + linkBytes(this.#parts.pool, vector.packets[i], info);
    const at = network + (isIpv6 ? IPV6_BYTES : IPV4_BYTES);
    for (let word = 0; word < 4; word++) {
      this.#ends[word] = info.key[4 + word];
      this.#ends[4 + word] = info.key[word];
    }
    if (isIpv6) putIpv6(bytes, network, IpProtocol.Tcp, TCP_BYTES, this.#ends, 0, 4);
    else putIpv4(bytes, network, IpProtocol.Tcp, 0, TCP_BYTES, this.#ends, 0, 4);
    const isAck = (flags & TcpFlag.Ack) !== 0;
    const length =
      info.transportLength - info.transportHeaderLength + (flags & TcpFlag.Fin) + ((flags & TcpFlag.Syn) >> 1);
    putHalf(bytes, at, info.destinationPort);
    putHalf(bytes, at + 2, info.sourcePort);
    putWord(bytes, at + 4, isAck ? info.tcpAcknowledgement : 0);
    putWord(bytes, at + 8, isAck ? 0 : info.tcpSequence + length);
    putHalf(bytes, at + 12, ((TCP_BYTES / 4) << 12) | TcpFlag.Rst | (isAck ? 0 : TcpFlag.Ack));
    putWord(bytes, at + 14, 0);
    putHalf(bytes, at + 18, 0);
    const sum = pseudoSum(bytes, network, isIpv6, IpProtocol.Tcp, TCP_BYTES);
    putHalf(bytes, at + 16, internetChecksum(bytes, at, at + TCP_BYTES, sum));
    this.#send(vector, i, answer, SLOT_OF.answersReset);
  }

  #error(
    vector: PacketVector,
    i: number,
    type: number,
    code: number,
    mtu: number,
    slot: number,
    upstreams: Upstreams,
  ): void {
    const info = this.#info;
    if (!this.#mayAnswer(vector, i, slot === SLOT_OF.answersTooBig)) return;
    const { pool } = this.#parts;
    const isIpv6 = info.network === NetworkKind.Ipv6;
    const header = (isIpv6 ? IPV6_BYTES : IPV4_BYTES) + icmp.ICMP_HEADER_BYTES;
    const link = linkBytes(pool, vector.packets[i], info);
    const most = Math.min((isIpv6 ? MAX_ERROR6_BYTES : MAX_ERROR_BYTES) - header, pool.bufferBytes - link - header);
    const quoted = Math.min(info.availableEnd - info.networkOffset, most);
    const answer =
      quoted < info.networkHeaderLength ? 0 : this.#begin(vector.packets[i], icmp.ICMP_HEADER_BYTES + quoted);
    if (answer === 0) return;
    const { bytes, columns } = pool;
    const network = columns.offsets[answer] + link;
    const at = network + header - icmp.ICMP_HEADER_BYTES;
    const length = icmp.ICMP_HEADER_BYTES + quoted;
    this.#writeEnds(upstreams, isIpv6);
    const protocol = isIpv6 ? IpProtocol.Icmpv6 : IpProtocol.Icmp;
    if (isIpv6) putIpv6(bytes, network, protocol, length, this.#ends, 0, 4);
    else putIpv4(bytes, network, protocol, ERROR_SERVICE_TYPE, length, this.#ends, 0, 4);
    putHalf(bytes, at, (type << 8) | code);
    putHalf(bytes, at + 2, 0);
    // The next hop's MTU is in the lower half in ICMP (RFC 1191), in the whole word in ICMPv6.
    putWord(bytes, at + 4, mtu);
    bytes.copyWithin(at + icmp.ICMP_HEADER_BYTES, info.networkOffset, info.networkOffset + quoted);
    const sum = isIpv6 ? pseudoSum(bytes, network, true, protocol, length) : 0;
    putHalf(bytes, at + 2, internetChecksum(bytes, at, at + length, sum));
    this.#send(vector, i, answer, slot);
  }

  /** From the box, or without an address of its own from whom the packet was for; to the sender. */
  #writeEnds({ translator }: Upstreams, isIpv6: boolean): void {
    const { key } = this.#info;
    for (let word = 0; word < 4; word++) {
      this.#ends[word] = key[4 + word];
      this.#ends[4 + word] = key[word];
    }
    const own = isIpv6 ? translator?.own.ipv6 : translator?.own.ipv4;
    if (own !== undefined && own.size > 0) own.write(0, this.#ends, 0);
  }

  /** A packet with the link header of `packet`, turned round, and room for an IP header and `length` bytes behind it; 0 without. */
  #begin(packet: PacketId, length: number): PacketId {
    const { pool } = this.#parts;
    const { columns, bytes } = pool;
    const info = this.#info;
    const link = linkBytes(pool, packet, info);
    const total = link + (info.network === NetworkKind.Ipv6 ? IPV6_BYTES : IPV4_BYTES) + length;
    if (total > pool.bufferBytes) return 0;
    const answer = pool.alloc();
    if (answer === 0) return 0;
    const from = columns.offsets[packet];
    const to = columns.offsets[answer];
    bytes.copyWithin(to, from, from + link);
    if (columns.linkTypes[packet] === LinkType.Ethernet) {
      bytes.copyWithin(to, from + MAC_BYTES, from + 2 * MAC_BYTES);
      bytes.copyWithin(to + MAC_BYTES, from, from + MAC_BYTES);
    }
    columns.lengths[answer] = columns.wireLengths[answer] = total;
    columns.linkTypes[answer] = columns.linkTypes[packet];
    columns.marks[answer] = columns.marks[packet];
    columns.timestampsNs[answer] = columns.timestampsNs[packet];
    return answer;
  }

  /** The packet has been dropped: its answer takes its place. */
  #send(vector: PacketVector, i: number, answer: PacketId, slot: number): void {
    const { pool, counters } = this.#parts;
    pool.free(vector.packets[i]);
    vector.packets[i] = answer;
    vector.verdicts[i] = Verdict.Answered;
    counters.addOn(vector.cpu, slot, 1);
  }
}

function linkBytes(pool: PacketPool, packet: PacketId, info: PacketInfo): number {
  return info.networkOffset - pool.columns.offsets[packet];
}

/** Neither a frame nor a packet to many. */
function isToOneHost(pool: PacketPool, packet: PacketId, info: PacketInfo): boolean {
  const { linkTypes, offsets } = pool.columns;
  const isGroup = linkTypes[packet] === LinkType.Ethernet && (pool.bytes[offsets[packet]] & 1) !== 0;
  return !isGroup && isOneHost(info, 4);
}

/** Whether the address at `key[at ..]` names a single host: not unspecified, multicast, broadcast or reserved. */
function isOneHost({ key, network }: PacketInfo, at: number): boolean {
  const first = key[at];
  if (network === NetworkKind.Ipv4) return first >>> 24 !== 0 && first >>> 28 < 14;
  return first >>> 24 !== 0xff && (first | key[at + 1] | key[at + 2] | key[at + 3]) !== 0;
}
