import { NetworkKind, ParseResult, type PacketInfo } from "./packet-info.ts";
import { parseNetwork } from "./parse-network.ts";
import { parseTransport } from "./parse-transport.ts";
import { IpProtocol } from "./protocols.ts";

/** Types of RFC 792 and RFC 4443, and codes that this package sends. */
export const ICMP_UNREACHABLE = 3;
export const ICMP_QUENCH = 4;
export const ICMP_REDIRECT = 5;
export const ICMP_TIME_EXCEEDED = 11;
export const ICMP_PARAMETER_PROBLEM = 12;
export const ICMP_CODE_PORT = 3;
export const ICMP_CODE_TOO_BIG = 4;
export const ICMP_CODE_PROHIBITED = 13;
export const ICMPV6_UNREACHABLE = 1;
export const ICMPV6_TOO_BIG = 2;
export const ICMPV6_CODE_PROHIBITED = 1;
export const ICMPV6_CODE_PORT = 4;
/** Types of ICMPv6 below are errors (RFC 4443 section 2.1). */
const ICMPV6_FIRST_INFORMATIONAL = 128;
export const ICMP_HEADER_BYTES = 8;

/** More than any datagram: where the packet that is quoted ended on the wire is not known. */
const MAX_DATAGRAM_BYTES = 65_575;
const LEAST_QUOTE_BYTES = 20;

/** Whether a parsed packet is an ICMP error, which quotes the packet it is about. */
export function isIcmpError(info: PacketInfo): boolean {
  if (info.transportHeaderLength === 0 || info.fragment === 1) return false;
  if (info.protocol === IpProtocol.Icmpv6) {
    return info.network === NetworkKind.Ipv6 && info.icmpType < ICMPV6_FIRST_INFORMATIONAL;
  }
  if (info.protocol !== IpProtocol.Icmp || info.network !== NetworkKind.Ipv4) return false;
  const type = info.icmpType;
  return (
    type === ICMP_UNREACHABLE ||
    type === ICMP_QUENCH ||
    type === ICMP_REDIRECT ||
    type === ICMP_TIME_EXCEEDED ||
    type === ICMP_PARAMETER_PROBLEM
  );
}

/**
 * Parses the packet that an ICMP error quotes (RFC 792, RFC 4443: as much of it as fits, at least eight bytes of its transport).
 * That most of it is missing is not wrong.
 *
 * @param bytes - the bytes that `info` was parsed from
 * @param info - the ICMP error
 * @param out - is filled: the header walk of the quoted packet, its key the flow that the error is about, as the packet left
 * @returns whether the flow is known: addresses and, of protocols that have them, ports or identifier
 *
 * Thread-safety: pure. Cost: no allocation.
 *
 * @public
 */
export function parseQuoted(bytes: Uint8Array, info: PacketInfo, out: PacketInfo): boolean {
  out.clear();
  if (!isIcmpError(info)) return false;
  const at = info.transportOffset + ICMP_HEADER_BYTES;
  const end = info.availableEnd;
  if (end - at < LEAST_QUOTE_BYTES) return false;
  out.network = info.network;
  out.networkOffset = at;
  if (!parseNetwork(bytes, end, at + MAX_DATAGRAM_BYTES, out)) return false;
  if (out.result !== ParseResult.Ok || out.fragmentOffset > 0) return false;
  parseTransport(bytes, out);
  if (isIcmpError(out)) return false;
  const isIcmp = out.protocol === IpProtocol.Icmp || out.protocol === IpProtocol.Icmpv6;
  if (isIcmp) return out.isEcho === 1;
  return out.hasPorts === 1 || out.result === ParseResult.Ok;
}
