import { adjustChecksum, adjustUdpChecksum, replaceHalf, replaceWord } from "./checksum-patch.ts";
import { KEY_IPV6 } from "./packet-info.ts";
import { IpProtocol, PROTOCOL_DCCP, PROTOCOL_UDP_LITE } from "./protocols.ts";

const IPV4_CHECKSUM = 10;
const IPV4_ADDRESSES = 12;
const IPV6_ADDRESSES = 8;
const TCP_CHECKSUM = 16;
const UDP_CHECKSUM = 6;
const DCCP_CHECKSUM = 6;
const ICMP_CHECKSUM = 2;
const ICMP_IDENTIFIER = 4;

/**
 * Gives a packet the ends it shall have: the tuple at `words[to ..]` with its two sides swapped. The packet's present ends are
 * `key[at ..]`. Of TCP, UDP, UDP-Lite and DCCP the ports are written, of ICMP echoes the identifier, of others the addresses.
 * Checksums follow by equation 3 of RFC 1624 over what changed; a bad one stays bad.
 *
 * @param network - offset of the IP header, `transport` that of the transport header
 *
 * Thread-safety: the packet's bytes belong to the caller. Cost: no allocation.
 *
 * @public
 */
export function rewriteEnds(
  bytes: Uint8Array,
  network: number,
  transport: number,
  key: Int32Array,
  at: number,
  words: Int32Array,
  to: number,
): void {
  const change = rewriteAddresses(bytes, network, key, at, words, to + 4, to);
  rewriteTransport(bytes, transport, bytes.length, key, at, (words[to + 8] << 16) | (words[to + 8] >>> 16), change);
}

/**
 * Writes the addresses `words[source ..]` and `words[destination ..]` in place of those of the key, and the checksum of an IPv4
 * header. Returns what the addresses add to a checksum that covers them.
 */
export function rewriteAddresses(
  bytes: Uint8Array,
  network: number,
  key: Int32Array,
  at: number,
  words: Int32Array,
  source: number,
  destination: number,
): number {
  const isIpv6 = (key[at + 9] & KEY_IPV6) !== 0;
  const addressWords = isIpv6 ? 4 : 1;
  const place = network + (isIpv6 ? IPV6_ADDRESSES : IPV4_ADDRESSES);
  let change = 0;
  for (let i = 0; i < addressWords; i++) {
    change += replaceWord(bytes, place + i * 4, key[at + i], words[source + i]);
    change += replaceWord(bytes, place + (addressWords + i) * 4, key[at + 4 + i], words[destination + i]);
  }
  if (change !== 0 && !isIpv6) adjustChecksum(bytes, network + IPV4_CHECKSUM, change);
  return change;
}

/**
 * Writes ports or identifier in place of those of the key, and the checksum, as far as they lie before `end`; `addresses` is what
 * the addresses have added to a sum. Returns what the transport header's changes add to a sum that covers it.
 */
export function rewriteTransport(
  bytes: Uint8Array,
  transport: number,
  end: number,
  key: Int32Array,
  at: number,
  ports: number,
  addresses: number,
): number {
  switch (key[at + 9] & 0xff) {
    case IpProtocol.Icmp:
      return rewriteIdentifier(bytes, transport, end, ports, 0);
    case IpProtocol.Icmpv6:
      return rewriteIdentifier(bytes, transport, end, ports, addresses);
    case IpProtocol.Tcp:
      return rewritePorts(bytes, transport, end, TCP_CHECKSUM, key[at + 8], ports, addresses);
    case PROTOCOL_DCCP:
      return rewritePorts(bytes, transport, end, DCCP_CHECKSUM, key[at + 8], ports, addresses);
    case IpProtocol.Udp:
    case PROTOCOL_UDP_LITE: {
      if (transport + 4 > end) return 0;
      const change = replaceWord(bytes, transport, key[at + 8], ports);
      if (change + addresses === 0 || transport + UDP_CHECKSUM + 2 > end) return change;
      return change + adjustUdpChecksum(bytes, transport + UDP_CHECKSUM, change + addresses);
    }
    default:
      return 0;
  }
}

function rewritePorts(
  bytes: Uint8Array,
  transport: number,
  end: number,
  checksum: number,
  from: number,
  to: number,
  addresses: number,
): number {
  if (transport + 4 > end) return 0;
  const change = replaceWord(bytes, transport, from, to);
  if (change + addresses === 0 || transport + checksum + 2 > end) return change;
  return change + adjustChecksum(bytes, transport + checksum, change + addresses);
}

/** The identifier stands for both ports; it is in the message alone, whose checksum covers the addresses in ICMPv6 only. */
function rewriteIdentifier(
  bytes: Uint8Array,
  transport: number,
  end: number,
  ports: number,
  addresses: number,
): number {
  if (transport + ICMP_IDENTIFIER + 2 > end) return 0;
  const change = replaceHalf(bytes, transport + ICMP_IDENTIFIER, ports & 0xffff);
  if (change + addresses === 0) return 0;
  return change + adjustChecksum(bytes, transport + ICMP_CHECKSUM, change + addresses);
}
