import { parseAddress } from "../addresses.ts";
import { fold, sumWords } from "../checksum.ts";
import { IpProtocol } from "../protocols.ts";
import type { Endpoint } from "./engine.ts";

/*
 * A frame as it might have been on a wire, written into one buffer again and again:
 *
 *     Ethernet (14) │ IPv4 (20) or IPv6 (40) │ TCP (20, with MSS 24) or UDP (8) │ payload
 */
const ETHERNET_BYTES = 14;
const IPV4_BYTES = 20;
const IPV6_BYTES = 40;
const UDP_BYTES = 8;
const TCP_BYTES = 20;
const MAX_IP_BYTES = 65_535;
const ETHERTYPE_IPV4 = 0x0800;
const ETHERTYPE_IPV6 = 0x86dd;
const DONT_FRAGMENT = 0x4000;
const HOPS = 64;
const WINDOW = 65_535;
const MSS_OPTION = 0x0204;

/** Flags of TCP (RFC 9293, 3.1). */
export const TcpFlag = { Fin: 1, Syn: 2, Rst: 4, Psh: 8, Ack: 16 } as const;

/** The ends of a flow as words of addresses of one family, the client first. */
export interface WireEnds {
  readonly isIpv6: boolean;
  readonly addresses: readonly [Int32Array, Int32Array];
  readonly ports: readonly [number, number];
}

/** IPv4 ends beside IPv6 ones are written in IPv6 form (::ffff:0:0/96); what is no address is 127.0.0.1. */
export function wireEnds(client: Endpoint, server: Endpoint): WireEnds {
  const words = [new Int32Array(4), new Int32Array(4)] as const;
  const families = [client, server].map(({ host }, side) => parseAddress(host, words[side], 0));
  const isIpv6 = families.includes(6);
  families.forEach((family, side) => {
    if (family === 0) words[side][0] = 0x7f000001;
    if (family !== 6 && isIpv6) words[side].set([0, 0, 0xffff, words[side][0]]);
  });
  return { isIpv6, addresses: words, ports: [client.port, server.port] };
}

/** What is particular to a segment. */
export interface Segment {
  readonly flags: number;
  readonly sequence: number;
  readonly acknowledgement: number;
}

/** Writes frames. One object serves all flows of a thread. */
export class PacketFrame {
  readonly bytes: Uint8Array = new Uint8Array(ETHERNET_BYTES + IPV6_BYTES + MAX_IP_BYTES);
  /** Bytes of the frame that was written last. */
  length = 0;
  readonly #view = new DataView(this.bytes.buffer);
  #identification = 0;

  /** Most payload of one segment on a link of 1500 bytes. */
  static segmentBytes(isIpv6: boolean): number {
    return 1500 - TCP_BYTES - (isIpv6 ? IPV6_BYTES : IPV4_BYTES);
  }

  /** A segment from `side`. */
  tcp(ends: WireEnds, side: 0 | 1, segment: Segment, payload: Uint8Array, from: number, to: number): void {
    const at = this.#transportAt(ends);
    const hasMss = (segment.flags & TcpFlag.Syn) !== 0;
    const header = TCP_BYTES + (hasMss ? 4 : 0);
    const view = this.#view;
    this.#putPorts(at, ends, side);
    view.setUint32(at + 4, segment.sequence);
    view.setUint32(at + 8, segment.acknowledgement);
    view.setUint16(at + 12, ((header / 4) << 12) | segment.flags);
    view.setUint16(at + 14, WINDOW);
    view.setUint32(at + 16, 0);
    if (hasMss) {
      view.setUint16(at + 20, MSS_OPTION);
      view.setUint16(at + 22, PacketFrame.segmentBytes(ends.isIpv6));
    }
    this.bytes.set(payload.subarray(from, to), at + header);
    this.#finish(ends, side, IpProtocol.Tcp, at, header + to - from, at + 16);
  }

  /** A datagram from `side`; the end of one that is too long for a packet is cut off. */
  udp(ends: WireEnds, side: 0 | 1, payload: Uint8Array, from: number, to: number): void {
    const at = this.#transportAt(ends);
    const count = Math.min(to - from, MAX_IP_BYTES - UDP_BYTES - IPV4_BYTES);
    this.#putPorts(at, ends, side);
    this.#view.setUint16(at + 4, UDP_BYTES + count);
    this.#view.setUint16(at + 6, 0);
    this.bytes.set(payload.subarray(from, from + count), at + UDP_BYTES);
    this.#finish(ends, side, IpProtocol.Udp, at, UDP_BYTES + count, at + 6);
  }

  #transportAt({ isIpv6 }: WireEnds): number {
    return ETHERNET_BYTES + (isIpv6 ? IPV6_BYTES : IPV4_BYTES);
  }

  #putPorts(at: number, { ports }: WireEnds, side: 0 | 1): void {
    this.#view.setUint16(at, ports[side]);
    this.#view.setUint16(at + 2, ports[1 - side]);
  }

  /** The headers before the transport's, and its checksum. */
  #finish(ends: WireEnds, side: 0 | 1, protocol: number, at: number, length: number, checksumAt: number): void {
    this.length = at + length;
    this.#putEthernet(ends.isIpv6, side);
    if (ends.isIpv6) this.#putIpv6(ends, side, protocol, length);
    else this.#putIpv4(ends, side, protocol, length);
    const addressesAt = ETHERNET_BYTES + (ends.isIpv6 ? 8 : 12);
    const pseudo = sumWords(this.bytes, addressesAt, at, protocol + length);
    const checksum = ~fold(sumWords(this.bytes, at, at + length, pseudo)) & 0xffff;
    // To UDP 0 says that there is none (RFC 768).
    this.#view.setUint16(checksumAt, protocol === IpProtocol.Udp && checksum === 0 ? 0xffff : checksum);
  }

  /** Addresses that nobody was assigned: 02:00:00:00:00:01 is the client, …:02 the server. */
  #putEthernet(isIpv6: boolean, side: 0 | 1): void {
    this.bytes.set([2, 0, 0, 0, 0, 2 - side, 2, 0, 0, 0, 0, 1 + side], 0);
    this.#view.setUint16(12, isIpv6 ? ETHERTYPE_IPV6 : ETHERTYPE_IPV4);
  }

  #putIpv4({ addresses }: WireEnds, side: 0 | 1, protocol: number, length: number): void {
    const view = this.#view;
    const at = ETHERNET_BYTES;
    view.setUint16(at, 0x4500);
    view.setUint16(at + 2, IPV4_BYTES + length);
    view.setUint16(at + 4, this.#identification++ & 0xffff);
    view.setUint16(at + 6, DONT_FRAGMENT);
    view.setUint16(at + 8, (HOPS << 8) | protocol);
    view.setUint16(at + 10, 0);
    view.setInt32(at + 12, addresses[side][0]);
    view.setInt32(at + 16, addresses[1 - side][0]);
    view.setUint16(at + 10, ~fold(sumWords(this.bytes, at, at + IPV4_BYTES, 0)) & 0xffff);
  }

  #putIpv6({ addresses }: WireEnds, side: 0 | 1, protocol: number, length: number): void {
    const view = this.#view;
    const at = ETHERNET_BYTES;
    view.setUint32(at, 0x60000000);
    view.setUint16(at + 4, length);
    view.setUint16(at + 6, (protocol << 8) | HOPS);
    for (let word = 0; word < 4; word++) {
      view.setInt32(at + 8 + 4 * word, addresses[side][word]);
      view.setInt32(at + 24 + 4 * word, addresses[1 - side][word]);
    }
  }
}
