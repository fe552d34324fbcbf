import { formatAddress } from "./addresses.ts";
import type { Capture } from "./capture.ts";
import { FlowIndex } from "./flow-index.ts";
import { KEY_IPV6, KEY_WORDS, NetworkKind, PacketInfo, ParseResult } from "./packet-info.ts";
import { parseFrame } from "./parse-frame.ts";
import { IpProtocol } from "./protocols.ts";
import { verifyIpChecksum, verifyTransportChecksum } from "./verify-checksums.ts";

/**
 * One TCP or UDP conversation: packets between two ends, `a` the sender of its first packet.
 *
 * @public
 */
export interface Conversation {
  readonly proto: "tcp" | "udp";
  readonly a: string;
  readonly aPort: number;
  readonly b: string;
  readonly bPort: number;
  readonly packetsAtoB: number;
  /** Bytes on the wire, whole frames. */
  readonly bytesAtoB: number;
  readonly packetsBtoA: number;
  readonly bytesBtoA: number;
}

/**
 * What is in a capture. Counts are of packets by their outermost headers; tunnels are not opened.
 *
 * @public
 */
export interface FlowSummary {
  readonly packets: number;
  /** Bytes captured. */
  readonly bytes: number;
  /** Bytes on the wire. */
  readonly wireBytes: number;
  /** By network protocol; the four add up to `packets`. */
  readonly ipv4: number;
  readonly ipv6: number;
  readonly arp: number;
  readonly other: number;
  /** By protocol number, fragments included. */
  readonly tcp: number;
  readonly udp: number;
  /** ICMP and ICMPv6. */
  readonly icmp: number;
  readonly fragments: number;
  /** Packets with a header that is cut or contradicts itself. */
  readonly malformed: number;
  /** Checksums that could be verified. */
  readonly checksums: {
    readonly ipGood: number;
    readonly ipBad: number;
    readonly tcpGood: number;
    readonly tcpBad: number;
    readonly udpGood: number;
    readonly udpBad: number;
  };
  /** Distinct unordered pairs of ends: address and port for TCP and UDP, addresses and protocol for the rest. */
  readonly flows: { readonly tcp: number; readonly udp: number; readonly other: number };
  /** TCP and UDP, in order of appearance. */
  readonly conversations: readonly Conversation[];
}

/**
 * Summarises a capture: what it holds by protocol, what is broken, its checksums and its conversations.
 *
 * Thread-safety: pure. Cost: one pass over headers and, for the checksums, over the payload.
 *
 * @public
 */
export function summarizeFlows(capture: Capture): FlowSummary {
  const collector = new Collector(capture);
  for (let i = 0; i < capture.count; i++) collector.packet(i);
  return collector.summary();
}

/** Packets and bytes there and back, four numbers a flow. */
const TOTALS = 4;

class Collector {
  readonly #capture: Capture;
  readonly #info = new PacketInfo();
  readonly #flows = new FlowIndex();
  #totals = new Float64Array(1024 * TOTALS);
  readonly #counts = { bytes: 0, wireBytes: 0, ipv4: 0, ipv6: 0, arp: 0, other: 0, tcp: 0, udp: 0, icmp: 0 };
  #fragments = 0;
  #malformed = 0;
  readonly #checksums = { ipGood: 0, ipBad: 0, tcpGood: 0, tcpBad: 0, udpGood: 0, udpBad: 0 };

  constructor(capture: Capture) {
    this.#capture = capture;
  }

  packet(i: number): void {
    const { bytes, offsets, lengths, wireLengths, linkTypes } = this.#capture;
    const info = this.#info;
    const result = parseFrame(bytes, offsets[i], lengths[i], wireLengths[i], linkTypes[i], info);
    this.#counts.bytes += lengths[i];
    this.#counts.wireBytes += wireLengths[i];
    if (result !== ParseResult.Ok) this.#malformed++;
    this.#fragments += info.fragment;
    this.#countProtocols();
    this.#countChecksums();
    if (info.protocol >= 0) this.#countFlow(wireLengths[i]);
  }

  summary(): FlowSummary {
    const conversations = this.#conversations();
    const tcp = conversations.filter((conversation) => conversation.proto === "tcp").length;
    const udp = conversations.length - tcp;
    return {
      packets: this.#capture.count,
      ...this.#counts,
      fragments: this.#fragments,
      malformed: this.#malformed,
      checksums: { ...this.#checksums },
      flows: { tcp, udp, other: this.#flows.count - conversations.length },
      conversations,
    };
  }

  #countProtocols(): void {
    const counts = this.#counts;
    const { network, protocol } = this.#info;
    if (network === NetworkKind.Ipv4) counts.ipv4++;
    else if (network === NetworkKind.Ipv6) counts.ipv6++;
    else if (network === NetworkKind.Arp) counts.arp++;
    else counts.other++;
    if (protocol === IpProtocol.Tcp) counts.tcp++;
    else if (protocol === IpProtocol.Udp) counts.udp++;
    else if (protocol === IpProtocol.Icmp || protocol === IpProtocol.Icmpv6) counts.icmp++;
  }

  #countChecksums(): void {
    const sums = this.#checksums;
    const { bytes } = this.#capture;
    const ip = verifyIpChecksum(bytes, this.#info);
    if (ip === 1) sums.ipGood++;
    else if (ip === 2) sums.ipBad++;
    const transport = verifyTransportChecksum(bytes, this.#info);
    if (transport === 0) return;
    if (this.#info.protocol === IpProtocol.Tcp) sums[transport === 1 ? "tcpGood" : "tcpBad"]++;
    else sums[transport === 1 ? "udpGood" : "udpBad"]++;
  }

  /** A TCP or UDP packet whose ports are not here belongs to a flow that cannot be told, and is not counted. */
  #countFlow(wireLength: number): void {
    const { key, protocol, hasPorts } = this.#info;
    const isTransport = protocol === IpProtocol.Tcp || protocol === IpProtocol.Udp;
    if (isTransport && hasPorts === 0) return;
    const flow = this.#flows.add(key);
    if ((flow + 1) * TOTALS > this.#totals.length) {
      const totals = new Float64Array(this.#totals.length * 2);
      totals.set(this.#totals);
      this.#totals = totals;
    }
    const at = flow * TOTALS + (this.#flows.reversed ? 2 : 0);
    this.#totals[at]++;
    this.#totals[at + 1] += wireLength;
  }

  #conversations(): Conversation[] {
    const { keys, count } = this.#flows;
    const found: Conversation[] = [];
    for (let flow = 0; flow < count; flow++) {
      const at = flow * KEY_WORDS;
      const protocol = keys[at + 9] & 0xff;
      if (protocol !== IpProtocol.Tcp && protocol !== IpProtocol.Udp) continue;
      const isIpv6 = (keys[at + 9] & KEY_IPV6) !== 0;
      const totals = this.#totals.subarray(flow * TOTALS, (flow + 1) * TOTALS);
      found.push({
        proto: protocol === IpProtocol.Tcp ? "tcp" : "udp",
        a: formatAddress(keys, at, isIpv6),
        aPort: keys[at + 8] >>> 16,
        b: formatAddress(keys, at + 4, isIpv6),
        bPort: keys[at + 8] & 0xffff,
        packetsAtoB: totals[0],
        bytesAtoB: totals[1],
        packetsBtoA: totals[2],
        bytesBtoA: totals[3],
      });
    }
    return found;
  }
}
