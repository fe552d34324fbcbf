import { NetworkKind, ParseResult, type PacketInfo } from "./packet-info.ts";
import {
  ETHERTYPE_ARP,
  ETHERTYPE_IPV4,
  ETHERTYPE_IPV6,
  ETHERTYPE_MIN,
  ETHERTYPE_OLD_QINQ,
  ETHERTYPE_PROVIDER_BRIDGE,
  ETHERTYPE_VLAN,
  LinkType,
  RAW_BSD,
  RAW_OPENBSD,
} from "./protocols.ts";
import { word } from "./words.ts";

const ETHERNET_BYTES = 14;
const VLAN_TAG_BYTES = 4;
const SNAP_BYTES = 8;
const LOOPBACK_BYTES = 4;
const SLL_BYTES = 16;
const SLL2_BYTES = 20;

/**
 * Walks the link header of the packet in `bytes[start, end)` and sets `network`, `networkOffset`, `etherType`, VLAN
 * fields and, if the header is cut, `result`.
 */
export function parseLink(bytes: Uint8Array, start: number, end: number, linkType: number, out: PacketInfo): void {
  switch (linkType) {
    case LinkType.Ethernet:
      return parseEthernet(bytes, start, end, out);
    case LinkType.Raw:
    case RAW_BSD:
    case RAW_OPENBSD:
      return parseRaw(bytes, start, end, out);
    case LinkType.Ipv4:
      return setNetwork(NetworkKind.Ipv4, start, out);
    case LinkType.Ipv6:
      return setNetwork(NetworkKind.Ipv6, start, out);
    case LinkType.Null:
      return parseLoopback(bytes, start, end, false, out);
    case LinkType.Loop:
      return parseLoopback(bytes, start, end, true, out);
    case LinkType.LinuxSll:
      if (end - start < SLL_BYTES) return cut(out);
      return parseEtherType(bytes, (bytes[start + 14] << 8) | bytes[start + 15], start + SLL_BYTES, end, out);
    case LinkType.LinuxSll2:
      if (end - start < SLL2_BYTES) return cut(out);
      return parseEtherType(bytes, (bytes[start] << 8) | bytes[start + 1], start + SLL2_BYTES, end, out);
  }
}

function cut(out: PacketInfo): void {
  out.result = ParseResult.CutLink;
}

function setNetwork(network: NetworkKind, offset: number, out: PacketInfo): void {
  out.network = network;
  out.networkOffset = offset;
}

function parseEthernet(bytes: Uint8Array, start: number, end: number, out: PacketInfo): void {
  if (end - start < ETHERNET_BYTES) return cut(out);
  parseEtherType(bytes, (bytes[start + 12] << 8) | bytes[start + 13], start + ETHERNET_BYTES, end, out);
}

function isVlanTag(type: number): boolean {
  return type === ETHERTYPE_VLAN || type === ETHERTYPE_PROVIDER_BRIDGE || type === ETHERTYPE_OLD_QINQ;
}

/** `from` is behind the type field. Any number of VLAN tags, then one RFC 1042 (LLC with SNAP) header at most. */
function parseEtherType(bytes: Uint8Array, first: number, from: number, end: number, out: PacketInfo): void {
  let type = first;
  let at = from;
  while (isVlanTag(type)) {
    if (end - at < VLAN_TAG_BYTES) {
      out.etherType = type;
      return cut(out);
    }
    if (out.vlanTags++ === 0) out.vlanId = ((bytes[at] << 8) | bytes[at + 1]) & 0xfff;
    type = (bytes[at + 2] << 8) | bytes[at + 3];
    at += VLAN_TAG_BYTES;
  }
  if (type < ETHERTYPE_MIN && isSnap(bytes, at, end)) {
    type = (bytes[at + 6] << 8) | bytes[at + 7];
    at += SNAP_BYTES;
  }
  out.etherType = type;
  if (type === ETHERTYPE_IPV4) setNetwork(NetworkKind.Ipv4, at, out);
  else if (type === ETHERTYPE_IPV6) setNetwork(NetworkKind.Ipv6, at, out);
  else if (type === ETHERTYPE_ARP) setNetwork(NetworkKind.Arp, at, out);
}

/** LLC `aa aa 03` and the organisation code 0 that says «an EtherType follows». */
function isSnap(bytes: Uint8Array, at: number, end: number): boolean {
  return (
    end - at >= SNAP_BYTES &&
    bytes[at] === 0xaa &&
    bytes[at + 1] === 0xaa &&
    bytes[at + 2] === 0x03 &&
    (bytes[at + 3] | bytes[at + 4] | bytes[at + 5]) === 0
  );
}

function parseRaw(bytes: Uint8Array, start: number, end: number, out: PacketInfo): void {
  if (end === start) return cut(out);
  const version = bytes[start] >> 4;
  if (version === 4) setNetwork(NetworkKind.Ipv4, start, out);
  else if (version === 6) setNetwork(NetworkKind.Ipv6, start, out);
}

/**
 * Four bytes of address family: in network order (Loop), or in the order of the host that captured (Null), which is
 * told by families being small. 2 is IPv4; IPv6 is 24 on NetBSD and OpenBSD, 28 on FreeBSD, 30 on Darwin. Some
 * writers of Null put an EtherType there.
 */
function parseLoopback(bytes: Uint8Array, start: number, end: number, isLoop: boolean, out: PacketInfo): void {
  if (end - start < LOOPBACK_BYTES) return cut(out);
  let family = word(bytes, start);
  if (!isLoop && (family & 0xffff) === 0) family = (bytes[start + 1] << 8) | bytes[start];
  const at = start + LOOPBACK_BYTES;
  if (family === 2) setNetwork(NetworkKind.Ipv4, at, out);
  else if (family === 24 || family === 28 || family === 30) setNetwork(NetworkKind.Ipv6, at, out);
  else if (family >= ETHERTYPE_MIN && family <= 0xffff) parseEtherType(bytes, family, at, end, out);
}
