import { fold, sumWords } from "./checksum.ts";
import { NetworkKind, ParseResult, type PacketInfo } from "./packet-info.ts";
import { IPV6_ROUTING, IpProtocol } from "./protocols.ts";

/**
 * What a checksum turned out to be.
 *
 * @public
 */
export const ChecksumState: {
  /** There is none, or it covers bytes that are not here. */
  readonly Unverified: 0;
  readonly Good: 1;
  readonly Bad: 2;
} = { Unverified: 0, Good: 1, Bad: 2 };

/**
 * A value of the constant of the same name.
 *
 * @public
 */
export type ChecksumState = 0 | 1 | 2;

const IPV6_BYTES = 40;
const UDP_CHECKSUM = 6;

const OPTION_END = 0;
const OPTION_NOP = 1;
const OPTION_LOOSE_ROUTE = 131;
const OPTION_STRICT_ROUTE = 137;

/**
 * Verifies the IPv4 header checksum of a parsed packet. Unverified without IPv4 or when the header is cut.
 *
 * @public
 */
export function verifyIpChecksum(bytes: Uint8Array, info: PacketInfo): ChecksumState {
  if (info.network !== NetworkKind.Ipv4 || info.networkHeaderLength === 0 || info.transportOffset < 0) return 0;
  const at = info.networkOffset;
  return fold(sumWords(bytes, at, at + info.networkHeaderLength, 0)) === 0xffff ? 1 : 2;
}

/**
 * Verifies the TCP or UDP checksum of a parsed packet, pseudo-header included. Unverified for other transports,
 * fragments, packets that are not here whole, and UDP over IPv4 that has none (0). UDP over IPv6 must have one
 * (RFC 8200 section 8.1): 0 is bad.
 *
 * @public
 */
export function verifyTransportChecksum(bytes: Uint8Array, info: PacketInfo): ChecksumState {
  const { protocol, transportOffset: at, transportLength: length } = info;
  if (protocol !== IpProtocol.Tcp && protocol !== IpProtocol.Udp) return 0;
  if (info.result !== ParseResult.Ok || info.moreFragments === 1 || info.fragmentOffset > 0) return 0;
  if (info.transportHeaderLength === 0 || at + length > info.availableEnd) return 0;
  if (protocol === IpProtocol.Udp && bytes[at + UDP_CHECKSUM] === 0 && bytes[at + UDP_CHECKSUM + 1] === 0) {
    return info.network === NetworkKind.Ipv4 ? 0 : 2;
  }
  return fold(sumWords(bytes, at, at + length, pseudoHeaderSum(bytes, info))) === 0xffff ? 1 : 2;
}

/**
 * Verifies the checksum of a parsed ICMP or ICMPv6 message, of ICMPv6 with its pseudo-header (RFC 4443 section 2.3). Unverified for other
 * transports, fragments and packets that are not here whole.
 *
 * @public
 */
export function verifyIcmpChecksum(bytes: Uint8Array, info: PacketInfo): ChecksumState {
  const { protocol, transportOffset: at, transportLength: length } = info;
  const isIcmpv6 = protocol === IpProtocol.Icmpv6 && info.network === NetworkKind.Ipv6;
  if (!isIcmpv6 && (protocol !== IpProtocol.Icmp || info.network !== NetworkKind.Ipv4)) return 0;
  if (info.result !== ParseResult.Ok || info.moreFragments === 1 || info.fragmentOffset > 0) return 0;
  if (info.transportHeaderLength === 0 || at + length > info.availableEnd) return 0;
  return fold(sumWords(bytes, at, at + length, isIcmpv6 ? pseudoHeaderSum(bytes, info) : 0)) === 0xffff ? 1 : 2;
}

/** Sum of addresses, length and protocol. Behind a routing header the final destination counts, not the header's. */
export function pseudoHeaderSum(bytes: Uint8Array, info: PacketInfo): number {
  const length = info.transportLength;
  const sum = info.protocol + (length >>> 16) + (length & 0xffff);
  const at = info.networkOffset;
  if (info.network === NetworkKind.Ipv4) {
    const final = finalIpv4Destination(bytes, info);
    return sumWords(bytes, final, final + 4, sumWords(bytes, at + 12, at + 16, sum));
  }
  const withSource = sumWords(bytes, at + 8, at + 24, sum);
  const final = finalDestination(bytes, info);
  return sumWords(bytes, final, final + 16, withSource);
}

/** Whether the packet is on its way to a hop that is not its last: rewriting its destination would break it. */
export function isSourceRouted(bytes: Uint8Array, info: PacketInfo): boolean {
  const at = info.networkOffset;
  if (info.network === NetworkKind.Ipv4) {
    return info.networkHeaderLength > 20 && finalIpv4Destination(bytes, info) !== at + 16;
  }
  return info.networkHeaderLength > IPV6_BYTES && finalDestination(bytes, info) !== at + 24;
}

/** Where the address of the last hop is: the last one of a source route (RFC 791) that is not used up. */
function finalIpv4Destination(bytes: Uint8Array, info: PacketInfo): number {
  const end = info.networkOffset + info.networkHeaderLength;
  let at = info.networkOffset + 20;
  while (at + 3 <= end && bytes[at] !== OPTION_END) {
    if (bytes[at] === OPTION_NOP) {
      at++;
      continue;
    }
    const length = bytes[at + 1];
    if (length < 2 || at + length > end) break;
    const isRoute = bytes[at] === OPTION_LOOSE_ROUTE || bytes[at] === OPTION_STRICT_ROUTE;
    if (isRoute && length >= 7 && bytes[at + 2] <= length - 3) return at + length - 4;
    at += length;
  }
  return info.networkOffset + 16;
}

/** The same for IPv6: in a routing header of type 0 or 2 with segments left, its last address. */
function finalDestination(bytes: Uint8Array, info: PacketInfo): number {
  let protocol = bytes[info.networkOffset + 6];
  let at = info.networkOffset + IPV6_BYTES;
  while (at < info.transportOffset && protocol !== info.protocol) {
    const length = protocol === 51 ? (bytes[at + 1] + 2) * 4 : protocol === 44 ? 8 : 8 + bytes[at + 1] * 8;
    if (protocol === IPV6_ROUTING && bytes[at + 3] > 0 && length >= 24) {
      if (bytes[at + 2] === 0 || bytes[at + 2] === 2) return at + length - 16;
      // Segment routing (RFC 8754): the list is in reverse, the last segment comes first.
      if (bytes[at + 2] === 4) return at + 8;
    }
    protocol = bytes[at];
    at += length;
  }
  return info.networkOffset + 24;
}
