import { NetworkKind, type PacketInfo } from "./packet-info.ts";
import { IpProtocol } from "./protocols.ts";
import { word } from "./words.ts";

const ETHERNET_BYTES = 14;
const IPV4_BYTES = 20;
const TCP_MIN_BYTES = 20;
const UDP_BYTES = 8;
const LEAST_BYTES = ETHERNET_BYTES + IPV4_BYTES + UDP_BYTES;
/** Version 4 and a header of five words. */
const PLAIN_IPV4 = 0x45;
/** More-fragments flag and fragment offset. */
const FRAGMENT_BITS = 0x3fff;

/**
 * The packet that most packets are, in one function because the engine inlines only so many calls: Ethernet without tags,
 * IPv4 without options, no fragment, TCP or UDP, all headers there, nothing wrong. Fills the cleared `out` as the general walk would; returns false,
 * and leaves `out` alone, for any other packet.
 */
export function parseCommon(
  bytes: Uint8Array,
  start: number,
  length: number,
  wireLength: number,
  out: PacketInfo,
): boolean {
  const network = start + ETHERNET_BYTES;
  if (length < LEAST_BYTES || wireLength < length) return false;
  if (bytes[start + 12] !== 8 || bytes[start + 13] !== 0 || bytes[network] !== PLAIN_IPV4) return false;
  const totalLength = (bytes[network + 2] << 8) | bytes[network + 3];
  const fragment = ((bytes[network + 6] << 8) | bytes[network + 7]) & FRAGMENT_BITS;
  if (totalLength < IPV4_BYTES + UDP_BYTES || totalLength > wireLength - ETHERNET_BYTES || fragment !== 0) return false;
  const transport = network + IPV4_BYTES;
  const protocol = bytes[network + 9];
  let transportLength = totalLength - IPV4_BYTES;
  let headerLength = UDP_BYTES;
  if (protocol === IpProtocol.Udp) {
    const declared = (bytes[transport + 4] << 8) | bytes[transport + 5];
    if (declared < UDP_BYTES || declared > transportLength) return false;
    transportLength = declared;
  } else {
    if (protocol !== IpProtocol.Tcp || transportLength < TCP_MIN_BYTES) return false;
    if (length < ETHERNET_BYTES + IPV4_BYTES + TCP_MIN_BYTES) return false;
    headerLength = (bytes[transport + 12] >> 4) * 4;
    if (headerLength < TCP_MIN_BYTES || headerLength > transportLength) return false;
    if (headerLength > length - ETHERNET_BYTES - IPV4_BYTES) return false;
    out.tcpSequence = word(bytes, transport + 4);
    out.tcpAcknowledgement = word(bytes, transport + 8);
    out.tcpFlags = ((bytes[transport + 12] & 1) << 8) | bytes[transport + 13];
    out.tcpWindow = (bytes[transport + 14] << 8) | bytes[transport + 15];
  }
  out.etherType = 0x0800;
  out.network = NetworkKind.Ipv4;
  out.networkOffset = network;
  out.networkEnd = network + totalLength;
  // A packet that was captured in part, or whose payload lies elsewhere, ends before the network packet does.
  out.availableEnd = Math.min(network + totalLength, start + length);
  out.networkHeaderLength = IPV4_BYTES;
  out.ttl = bytes[network + 8];
  out.protocol = protocol;
  out.transportOffset = transport;
  out.transportHeaderLength = headerLength;
  out.transportLength = transportLength;
  const ports = word(bytes, transport);
  out.hasPorts = 1;
  out.sourcePort = ports >>> 16;
  out.destinationPort = ports & 0xffff;
  const { key } = out;
  key[0] = word(bytes, network + 12);
  key[4] = word(bytes, network + 16);
  key[8] = ports;
  key[9] = protocol;
  return true;
}
