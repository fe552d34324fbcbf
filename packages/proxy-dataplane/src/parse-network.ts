import { KEY_IPV6, NetworkKind, ParseResult, type PacketInfo } from "./packet-info.ts";
import {
  IPV6_AUTHENTICATION,
  IPV6_DESTINATION,
  IPV6_FRAGMENT,
  IPV6_HIP,
  IPV6_HOP_BY_HOP,
  IPV6_ROUTING,
  IPV6_SHIM6,
} from "./protocols.ts";
import { word } from "./words.ts";

const IPV4_MIN_BYTES = 20;
const IPV6_BYTES = 40;
const EXTENSION_MIN_BYTES = 8;
const ARP_FIXED_BYTES = 8;
const JUMBO_OPTION = 0xc2;
const PAD1_OPTION = 0;

/** Reports a problem unless one was reported before: the first is the one that matters. */
export function report(out: PacketInfo, result: ParseResult): void {
  if (out.result === ParseResult.Ok) out.result = result;
}

/**
 * Walks the network header. `end` is where the captured bytes end, `wireEnd` where the packet ended on the wire.
 * Returns true when a transport header can be looked for at `out.transportOffset`.
 */
export function parseNetwork(bytes: Uint8Array, end: number, wireEnd: number, out: PacketInfo): boolean {
  if (out.network === NetworkKind.Ipv4) return parseIpv4(bytes, end, wireEnd, out);
  if (out.network === NetworkKind.Ipv6) return parseIpv6(bytes, end, wireEnd, out);
  if (out.network === NetworkKind.Arp) parseArp(bytes, end, out);
  return false;
}

function parseArp(bytes: Uint8Array, end: number, out: PacketInfo): void {
  const at = out.networkOffset;
  if (end - at < ARP_FIXED_BYTES || end - at < ARP_FIXED_BYTES + 2 * (bytes[at + 4] + bytes[at + 5])) {
    report(out, ParseResult.CutNetwork);
  }
}

function parseIpv4(bytes: Uint8Array, end: number, wireEnd: number, out: PacketInfo): boolean {
  const at = out.networkOffset;
  if (end - at < IPV4_MIN_BYTES) {
    report(out, ParseResult.CutNetwork);
    return false;
  }
  const headerLength = (bytes[at] & 15) * 4;
  if (bytes[at] >> 4 !== 4 || headerLength < IPV4_MIN_BYTES) {
    report(out, ParseResult.BadNetwork);
    return false;
  }
  out.networkHeaderLength = headerLength;
  out.ttl = bytes[at + 8];
  out.key[0] = word(bytes, at + 12);
  out.key[4] = word(bytes, at + 16);
  const fragmentWord = (bytes[at + 6] << 8) | bytes[at + 7];
  out.fragmentOffset = (fragmentWord & 0x1fff) * 8;
  out.moreFragments = (fragmentWord & 0x2000) === 0 ? 0 : 1;
  out.fragment = out.moreFragments === 1 || out.fragmentOffset > 0 ? 1 : 0;
  if (out.fragment === 1) {
    out.fragmentId = (bytes[at + 4] << 8) | bytes[at + 5];
    out.fragmentStart = at + headerLength;
  }
  return setIpv4Bounds((bytes[at + 2] << 8) | bytes[at + 3], bytes[at + 9], end, wireEnd, out);
}

/** The protocol is told unless the header contradicts itself: then nothing in it can be trusted. */
function setIpv4Bounds(totalLength: number, protocol: number, end: number, wireEnd: number, out: PacketInfo): boolean {
  const at = out.networkOffset;
  // Length 0 is what a capture shows of a packet that the network card will cut into segments (TSO).
  const declared = totalLength === 0 ? wireEnd - at : totalLength;
  if (declared < out.networkHeaderLength) {
    report(out, ParseResult.BadNetwork);
    return false;
  }
  out.protocol = protocol;
  out.key[9] = protocol;
  if (at + declared > wireEnd) report(out, ParseResult.BadNetwork);
  out.networkEnd = Math.min(at + declared, wireEnd);
  out.availableEnd = Math.min(out.networkEnd, end);
  if (at + out.networkHeaderLength > out.availableEnd) {
    report(out, ParseResult.CutNetwork);
    return false;
  }
  out.transportOffset = at + out.networkHeaderLength;
  return true;
}

function parseIpv6(bytes: Uint8Array, end: number, wireEnd: number, out: PacketInfo): boolean {
  const at = out.networkOffset;
  if (end - at < IPV6_BYTES) {
    report(out, ParseResult.CutNetwork);
    return false;
  }
  if (bytes[at] >> 4 !== 6) {
    report(out, ParseResult.BadNetwork);
    return false;
  }
  out.networkHeaderLength = IPV6_BYTES;
  out.ttl = bytes[at + 7];
  for (let i = 0; i < 8; i++) out.key[i] = word(bytes, at + 8 + i * 4);
  out.key[9] = KEY_IPV6;
  let payload = (bytes[at + 4] << 8) | bytes[at + 5];
  const first = bytes[at + 6];
  if (payload === 0) payload = jumboLength(bytes, first, end, out);
  if (at + IPV6_BYTES + payload > wireEnd) report(out, ParseResult.BadNetwork);
  out.networkEnd = Math.min(at + IPV6_BYTES + payload, wireEnd);
  out.availableEnd = Math.min(out.networkEnd, end);
  return walkExtensions(bytes, first, out);
}

/** The jumbo option of RFC 2675 in the hop-by-hop header of a packet whose length field is 0; 0 without one. */
function jumboLength(bytes: Uint8Array, first: number, end: number, out: PacketInfo): number {
  const start = out.networkOffset + IPV6_BYTES;
  if (first !== IPV6_HOP_BY_HOP || end - start < EXTENSION_MIN_BYTES) return 0;
  const stop = Math.min(end, start + 8 + bytes[start + 1] * 8);
  let at = start + 2;
  while (at + 6 <= stop) {
    if (bytes[at] === JUMBO_OPTION) return word(bytes, at + 2) >>> 0;
    at += bytes[at] === PAD1_OPTION ? 1 : 2 + bytes[at + 1];
  }
  return 0;
}

function isExtension(protocol: number): boolean {
  return (
    protocol === IPV6_HOP_BY_HOP ||
    protocol === IPV6_ROUTING ||
    protocol === IPV6_FRAGMENT ||
    protocol === IPV6_AUTHENTICATION ||
    protocol === IPV6_DESTINATION ||
    protocol === IPV6_HIP ||
    protocol === IPV6_SHIM6
  );
}

/** Every turn consumes 8 bytes at least, so the walk is bounded by the packet. */
function walkExtensions(bytes: Uint8Array, first: number, out: PacketInfo): boolean {
  let protocol = first;
  let at = out.networkOffset + IPV6_BYTES;
  while (isExtension(protocol)) {
    if (out.availableEnd - at < EXTENSION_MIN_BYTES) return cutExtension(out);
    const next = bytes[at];
    let length = EXTENSION_MIN_BYTES + bytes[at + 1] * 8;
    if (protocol === IPV6_FRAGMENT) {
      length = EXTENSION_MIN_BYTES;
      readFragment(bytes, at, out);
    } else if (protocol === IPV6_AUTHENTICATION) length = (bytes[at + 1] + 2) * 4;
    protocol = next;
    at += length;
    if (out.fragmentOffset > 0) break;
    if (at > out.availableEnd) return cutExtension(out);
  }
  out.protocol = protocol;
  out.key[9] |= protocol;
  out.networkHeaderLength = at - out.networkOffset;
  out.transportOffset = at;
  return true;
}

/** Missing bytes are the capture's doing when the packet goes on behind them, else the packet's own. */
function cutExtension(out: PacketInfo): boolean {
  report(out, out.availableEnd < out.networkEnd ? ParseResult.CutNetwork : ParseResult.BadNetwork);
  return false;
}

function readFragment(bytes: Uint8Array, at: number, out: PacketInfo): void {
  const fragmentWord = (bytes[at + 2] << 8) | bytes[at + 3];
  out.fragment = 1;
  out.fragmentId = word(bytes, at + 4);
  out.fragmentStart = at + EXTENSION_MIN_BYTES;
  out.fragmentOffset = fragmentWord & 0xfff8;
  out.moreFragments = (fragmentWord & 1) as 0 | 1;
}
