import { KEY_IPV6, KEY_WORDS } from "./packet-info.ts";
import * as vectors from "./packet-vector.ts";
import type { PacketVector } from "./packet-vector.ts";
import { IpProtocol } from "./protocols.ts";
import * as order from "./words.ts";

/*
 * Common packets whose IP header is at a multiple of four, read by words on a little-endian host: what the general walk would find
 * in them, in a fraction of its time.
 */
// An import is loaded anew wherever it is used, a constant of this module is not.
const { META_COMMON, META_COMMON_IPV6, META_IPV6, ROW } = vectors;
const { sources, destinations, ports, metas, networks, transports } = ROW;
const { sequences, acknowledgements, tcpFlags, windows, payloads } = ROW;
const { swap32 } = order;
const KEY = KEY_WORDS;
const TCP = IpProtocol.Tcp;
const UDP = IpProtocol.Udp;
const ETHERNET_BYTES = 14;
const IPV4_BYTES = 20;
const UDP_BYTES = 8;
const TCP_MIN_BYTES = 20;
const IPV6_BYTES = 40;
/** Raw words of headers: EtherTypes in the upper half; version 4 with five words; more-fragments flag and offset; version 6. */
const RAW_ETHERTYPE_IPV4 = 0x0008;
const RAW_ETHERTYPE_IPV6 = 0xdd86;
const RAW_PLAIN_IPV4 = 0x45;
const RAW_FRAGMENT_BITS = 0xff3f_0000 | 0;
const TCP_FLAG_BITS = 0x1ff;
const RAW_VERSION = 0xf0;
const RAW_VERSION_6 = 0x60;

/** Reads a common IPv4 packet at `start`, which is 2 behind a multiple of four; false, with nothing kept, for any other. */
export function readIpv4(
  v: PacketVector,
  i: number,
  words: Int32Array,
  start: number,
  length: number,
  wireLength: number,
): boolean {
  const at = (start + ETHERNET_BYTES) >> 2;
  const first = words[at];
  const third = words[at + 2];
  const total = ((first >>> 8) & 0xff00) | (first >>> 24);
  const rest = total - IPV4_BYTES;
  const isCommon =
    length >= ETHERNET_BYTES + IPV4_BYTES + UDP_BYTES &&
    words[at - 1] >>> 16 === RAW_ETHERTYPE_IPV4 &&
    (first & 0xff) === RAW_PLAIN_IPV4 &&
    (words[at + 1] & RAW_FRAGMENT_BITS) === 0 &&
    rest >= UDP_BYTES &&
    total <= wireLength - ETHERNET_BYTES;
  if (!isCommon) return false;
  const protocol = (third >>> 8) & 0xff;
  const { rows } = v;
  if (protocol === UDP) {
    const sixth = words[at + 6];
    const declared = ((sixth & 0xff) << 8) | ((sixth >>> 8) & 0xff);
    if (declared < UDP_BYTES || declared > rest) return false;
  } else {
    const here = length - ETHERNET_BYTES - IPV4_BYTES;
    if (protocol !== TCP || !readTcp(rows, i, words, at + 5, rest, here)) return false;
  }
  rows[networks + i] = start + ETHERNET_BYTES;
  rows[sources + i] = words[at + 3];
  rows[destinations + i] = words[at + 4];
  rows[ports + i] = words[at + 5];
  rows[metas + i] = protocol | META_COMMON;
  return true;
}

/** The same of an IPv6 packet without extension headers. */
export function readIpv6(
  v: PacketVector,
  i: number,
  words: Int32Array,
  start: number,
  length: number,
  wireLength: number,
): boolean {
  const at = (start + ETHERNET_BYTES) >> 2;
  const here = length - ETHERNET_BYTES - IPV6_BYTES;
  const second = words[at + 1];
  // The payload's length, which is 0 in a jumbogram; the next header, which may be an extension.
  const rest = ((second & 0xff) << 8) | ((second >>> 8) & 0xff);
  const protocol = (second >>> 16) & 0xff;
  if (here < UDP_BYTES || rest < UDP_BYTES || rest > wireLength - ETHERNET_BYTES - IPV6_BYTES) return false;
  if (words[at - 1] >>> 16 !== RAW_ETHERTYPE_IPV6 || (words[at] & RAW_VERSION) !== RAW_VERSION_6) return false;
  const transport = at + IPV6_BYTES / 4;
  const { rows } = v;
  if (protocol === UDP) {
    const declared = words[transport + 1];
    const bytes = ((declared & 0xff) << 8) | ((declared >>> 8) & 0xff);
    if (bytes < UDP_BYTES || bytes > rest) return false;
  } else if (protocol !== TCP || !readTcp(rows, i, words, transport, rest, here)) return false;
  const { keys } = v;
  const key = i * KEY;
  for (let word = 0; word < 8; word++) keys[key + word] = swap32(words[at + 2 + word]);
  const both = words[transport];
  keys[key + 8] = swap32(both);
  keys[key + 9] = protocol | KEY_IPV6;
  rows[networks + i] = start + ETHERNET_BYTES;
  rows[transports + i] = start + ETHERNET_BYTES + IPV6_BYTES;
  rows[sources + i] = digest(keys, key);
  rows[destinations + i] = digest(keys, key + 4);
  rows[ports + i] = both;
  rows[metas + i] = protocol | META_IPV6 | META_COMMON_IPV6;
  return true;
}

/** `rest` bytes of the packet are TCP's, `here` of them in the buffer. */
function readTcp(rows: Int32Array, i: number, words: Int32Array, at: number, rest: number, here: number): boolean {
  if (rest < TCP_MIN_BYTES || here < TCP_MIN_BYTES) return false;
  const fourth = words[at + 3];
  const headerBytes = (fourth & 0xf0) >>> 2;
  if (headerBytes < TCP_MIN_BYTES || headerBytes > rest || headerBytes > here) return false;
  rows[sequences + i] = swap32(words[at + 1]);
  rows[acknowledgements + i] = swap32(words[at + 2]);
  rows[tcpFlags + i] = (((fourth & 1) << 8) | ((fourth >>> 8) & 0xff)) & TCP_FLAG_BITS;
  rows[windows + i] = ((fourth >>> 8) & 0xff00) | (fourth >>> 24);
  rows[payloads + i] = rest - headerBytes;
  return true;
}

/** One word for the four of an address; a hit by digests is confirmed by the whole key. */
export function digest(key: Int32Array, at: number): number {
  let hash = key[at];
  for (let word = 1; word < 4; word++) {
    hash = Math.imul(hash ^ (hash >>> 15), 0x85ebca6b) + key[at + word];
  }
  return Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35) | 0;
}
