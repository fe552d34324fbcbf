import { KEY_IPV6 } from "./packet-info.ts";
import { IpProtocol } from "./protocols.ts";

const IPV4_CHECKSUM = 10;
const IPV4_ADDRESSES = 12;
const IPV6_ADDRESSES = 8;
const TCP_CHECKSUM = 16;
const UDP_CHECKSUM = 6;

/**
 * Gives a TCP or UDP packet the ends it shall have: the tuple at `words[to ..]` with its two sides swapped. The packet's
 * present ends are `key[at ..]`. Checksums follow by equation 3 of RFC 1624 over what changed; a bad one stays bad.
 *
 * @param network - offset of the IP header, `transport` that of the TCP or UDP header
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
  const isIpv6 = (key[at + 9] & KEY_IPV6) !== 0;
  const addressWords = isIpv6 ? 4 : 1;
  const source = network + (isIpv6 ? IPV6_ADDRESSES : IPV4_ADDRESSES);
  let change = 0;
  for (let i = 0; i < addressWords; i++) {
    change += replaceWord(bytes, source + i * 4, key[at + i], words[to + 4 + i]);
    change += replaceWord(bytes, source + (addressWords + i) * 4, key[at + 4 + i], words[to + i]);
  }
  if (change !== 0 && !isIpv6) adjust(bytes, network + IPV4_CHECKSUM, change);
  const ports = (words[to + 8] << 16) | (words[to + 8] >>> 16);
  change += replaceWord(bytes, transport, key[at + 8], ports);
  if (change === 0) return;
  if ((key[at + 9] & 0xff) === IpProtocol.Tcp) adjust(bytes, transport + TCP_CHECKSUM, change);
  else adjustUdp(bytes, transport + UDP_CHECKSUM, change, isIpv6);
}

/** Stores a word where it differs; returns what that adds to a sum of `~m + m'` over its halves. */
function replaceWord(bytes: Uint8Array, at: number, from: number, to: number): number {
  if (from === to) return 0;
  bytes[at] = to >>> 24;
  bytes[at + 1] = to >>> 16;
  bytes[at + 2] = to >>> 8;
  bytes[at + 3] = to;
  return (~from >>> 16) + (~from & 0xffff) + (to >>> 16) + (to & 0xffff);
}

function adjust(bytes: Uint8Array, at: number, change: number): void {
  let sum = (~((bytes[at] << 8) | bytes[at + 1]) & 0xffff) + change;
  sum = (sum & 0xffff) + (sum >>> 16);
  sum = ~(sum + (sum >>> 16));
  bytes[at] = sum >>> 8;
  bytes[at + 1] = sum;
}

/** No checksum (0, over IPv4) stays none; a checksum that becomes 0 is sent as its other form, all ones (RFC 768). */
function adjustUdp(bytes: Uint8Array, at: number, change: number, isIpv6: boolean): void {
  if (!isIpv6 && bytes[at] === 0 && bytes[at + 1] === 0) return;
  adjust(bytes, at, change);
  if (bytes[at] === 0 && bytes[at + 1] === 0) bytes[at] = bytes[at + 1] = 0xff;
}
