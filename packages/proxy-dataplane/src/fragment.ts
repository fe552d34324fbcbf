import { internetChecksum } from "./checksum.ts";
import { putHalf } from "./build-header.ts";
import type { PacketInfo } from "./packet-info.ts";
import type { PacketPool } from "./packet-pool.ts";
import type { PacketId } from "./packet-pool-types.ts";

const IPV4_BYTES = 20;
const TOTAL_LENGTH = 2;
const FRAGMENT_WORD = 6;
const CHECKSUM = 10;
const MORE_FRAGMENTS = 0x2000;
const UNIT_BYTES = 8;
const OPTION_END = 0;
const OPTION_NOP = 1;
const OPTION_COPIED = 0x80;

/** Fragments that an IPv4 packet of `bytes` becomes at most, with as long a header as there is. */
export function mostFragments(bytes: number, mtu: number): number {
  const most = (mtu - 60) & ~(UNIT_BYTES - 1);
  return Math.ceil(bytes / most);
}

/**
 * Cuts the IPv4 packet `packet`, parsed as `info` and here whole, into fragments of at most `mtu` bytes (RFC 791 section 3.2): the packet itself
 * becomes the first, `out[at ..]` the others. A fragment becomes fragments of the same datagram.
 *
 * @returns how many others; 0, with nothing changed, when there are no buffers for all
 */
export function fragmentIpv4(
  pool: PacketPool,
  packet: PacketId,
  info: PacketInfo,
  mtu: number,
  out: Int32Array,
  at: number,
): number {
  const { bytes, columns } = pool;
  const network = info.networkOffset;
  const link = network - columns.offsets[packet];
  const headerBytes = info.networkHeaderLength;
  const payload = info.networkEnd - network - headerBytes;
  const firstBytes = (mtu - headerBytes) & ~(UNIT_BYTES - 1);
  let made = 0;
  for (let from = firstBytes; from < payload;) {
    const fragment = pool.alloc();
    if (fragment === 0) {
      pool.freeMany(out.subarray(at, at + made), made);
      return 0;
    }
    out[at + made++] = fragment;
    const to = columns.offsets[fragment];
    bytes.copyWithin(to, columns.offsets[packet], network);
    const header = copyHeader(bytes, network, headerBytes, to + link);
    const room = (mtu - header) & ~(UNIT_BYTES - 1);
    const length = payload - from <= mtu - header ? payload - from : room;
    bytes.copyWithin(to + link + header, network + headerBytes + from, network + headerBytes + from + length);
    const isLast = from + length === payload;
    finish(bytes, to + link, header, length, info.fragmentOffset + from, isLast && info.moreFragments === 0);
    columns.lengths[fragment] = columns.wireLengths[fragment] = link + header + length;
    columns.linkTypes[fragment] = columns.linkTypes[packet];
    columns.marks[fragment] = columns.marks[packet];
    columns.timestampsNs[fragment] = columns.timestampsNs[packet];
    from += length;
  }
  finish(bytes, network, headerBytes, firstBytes, info.fragmentOffset, false);
  columns.lengths[packet] = columns.wireLengths[packet] = link + headerBytes + firstBytes;
  return made;
}

/** The header of a fragment that is not the first: of the options only those that are marked to be copied. Returns its length. */
function copyHeader(bytes: Uint8Array, from: number, length: number, to: number): number {
  bytes.copyWithin(to, from, from + IPV4_BYTES);
  let header = IPV4_BYTES;
  for (let at = IPV4_BYTES; at < length && bytes[from + at] !== OPTION_END;) {
    const option = bytes[from + at];
    const size = option === OPTION_NOP ? 1 : at + 1 < length ? bytes[from + at + 1] : 0;
    if (size < 1 || (size === 1 && option !== OPTION_NOP) || at + size > length) break;
    if ((option & OPTION_COPIED) !== 0) {
      bytes.copyWithin(to + header, from + at, from + at + size);
      header += size;
    }
    at += size;
  }
  while ((header & 3) !== 0) bytes[to + header++] = OPTION_END;
  bytes[to] = 0x40 | (header / 4);
  return header;
}

function finish(bytes: Uint8Array, at: number, header: number, payload: number, offset: number, isLast: boolean): void {
  putHalf(bytes, at + TOTAL_LENGTH, header + payload);
  putHalf(bytes, at + FRAGMENT_WORD, (isLast ? 0 : MORE_FRAGMENTS) | (offset / UNIT_BYTES));
  putHalf(bytes, at + CHECKSUM, 0);
  putHalf(bytes, at + CHECKSUM, internetChecksum(bytes, at, at + header));
}
