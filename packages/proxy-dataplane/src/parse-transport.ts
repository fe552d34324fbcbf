import { NetworkKind, ParseResult, type PacketInfo } from "./packet-info.ts";
import { report } from "./parse-network.ts";
import { IpProtocol, PROTOCOL_DCCP, PROTOCOL_SCTP, PROTOCOL_UDP_LITE } from "./protocols.ts";
import { word } from "./words.ts";

const PORTS_BYTES = 4;
const TCP_MIN_BYTES = 20;
const UDP_BYTES = 8;
const SCTP_BYTES = 12;
const DCCP_MIN_BYTES = 12;
const ICMP_BYTES = 8;

const ICMP_ECHO_REPLY = 0;
const ICMP_ECHO = 8;
const ICMPV6_ECHO = 128;
const ICMPV6_ECHO_REPLY = 129;

/** Fixed header length of a transport, 0 for one that is not opened. */
function headerBytes(protocol: number): number {
  switch (protocol) {
    case IpProtocol.Tcp:
      return TCP_MIN_BYTES;
    case IpProtocol.Udp:
    case PROTOCOL_UDP_LITE:
      return UDP_BYTES;
    case IpProtocol.Icmp:
    case IpProtocol.Icmpv6:
      return ICMP_BYTES;
    case PROTOCOL_SCTP:
      return SCTP_BYTES;
    case PROTOCOL_DCCP:
      return DCCP_MIN_BYTES;
    default:
      return 0;
  }
}

/**
 * Reads the transport header at `out.transportOffset`. Fragments but the first have none; the header of a first
 * fragment may go on in the next one, which is no fault.
 */
export function parseTransport(bytes: Uint8Array, out: PacketInfo): void {
  const at = out.transportOffset;
  out.transportLength = out.networkEnd - at;
  if (out.fragmentOffset > 0) return;
  const needed = headerBytes(out.protocol);
  if (needed === 0) return;
  const available = out.availableEnd - at;
  const icmp = out.protocol === IpProtocol.Icmp || out.protocol === IpProtocol.Icmpv6;
  if (!icmp && available >= PORTS_BYTES) readPorts(bytes, at, out);
  if (available < needed) {
    if (out.availableEnd < out.networkEnd) report(out, ParseResult.CutTransport);
    else if (out.moreFragments === 0) report(out, ParseResult.BadTransport);
    return;
  }
  out.transportHeaderLength = needed;
  if (out.protocol === IpProtocol.Tcp) readTcp(bytes, at, out);
  else if (out.protocol === IpProtocol.Udp) readUdp(bytes, at, out);
  else if (icmp) readIcmp(bytes, at, out);
}

function readPorts(bytes: Uint8Array, at: number, out: PacketInfo): void {
  out.hasPorts = 1;
  out.sourcePort = (bytes[at] << 8) | bytes[at + 1];
  out.destinationPort = (bytes[at + 2] << 8) | bytes[at + 3];
  out.key[8] = (out.sourcePort << 16) | out.destinationPort;
}

function readTcp(bytes: Uint8Array, at: number, out: PacketInfo): void {
  out.tcpSequence = word(bytes, at + 4);
  out.tcpAcknowledgement = word(bytes, at + 8);
  out.tcpFlags = ((bytes[at + 12] & 1) << 8) | bytes[at + 13];
  out.tcpWindow = (bytes[at + 14] << 8) | bytes[at + 15];
  const length = (bytes[at + 12] >> 4) * 4;
  out.transportHeaderLength = length;
  if (length < TCP_MIN_BYTES) return report(out, ParseResult.BadTransport);
  if (length > out.transportLength && out.moreFragments === 0) return report(out, ParseResult.BadTransport);
  if (at + length > out.availableEnd && out.moreFragments === 0) report(out, ParseResult.CutTransport);
}

function readUdp(bytes: Uint8Array, at: number, out: PacketInfo): void {
  const length = (bytes[at + 4] << 8) | bytes[at + 5];
  // RFC 2675: length 0 stands for «longer than 65535» in a jumbogram.
  if (length === 0 && out.network === NetworkKind.Ipv6 && out.transportLength > 0xffff) return;
  if (length < UDP_BYTES) return report(out, ParseResult.BadTransport);
  if (out.moreFragments === 1) return;
  if (length > out.transportLength) return report(out, ParseResult.BadTransport);
  out.transportLength = length;
}

function readIcmp(bytes: Uint8Array, at: number, out: PacketInfo): void {
  out.icmpType = bytes[at];
  out.icmpCode = bytes[at + 1];
  const echo =
    out.protocol === IpProtocol.Icmp
      ? out.icmpType === ICMP_ECHO || out.icmpType === ICMP_ECHO_REPLY
      : out.icmpType === ICMPV6_ECHO || out.icmpType === ICMPV6_ECHO_REPLY;
  if (!echo) return;
  out.isEcho = 1;
  // The identifier stands for both ports, so that a reply has the swapped key of its request.
  out.sourcePort = (bytes[at + 4] << 8) | bytes[at + 5];
  out.destinationPort = out.sourcePort;
  out.key[8] = (out.sourcePort << 16) | out.destinationPort;
}
