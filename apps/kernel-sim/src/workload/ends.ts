/*
 * The two ends of a packet as words that lie in memory as they do in the packet, so that giving a packet its ends is storing:
 *
 *    0 … 7   source and destination address: one word each for IPv4, four each for IPv6
 *    8       ports, the source's first
 *    9       what the ends add to checksums that were right for the captured ones: the IPv4 header's, TCP's or UDP's << 16
 *
 * Sums of halves do not care which byte of a half is first (RFC 1071, section 2), so this holds on hosts of either byte order.
 */
export const PORTS = 8;
export const DELTAS = 9;
export const ENDS_WORDS = 10;

/** What ends are of, as bits: IPv6 rather than IPv4, UDP rather than TCP. */
export const EndsFlag = { Ipv6: 8, Udp: 16 } as const;

/** Memory that packets are in, as words and as their halves. Packets begin at even offsets. */
export interface PacketMemory {
  readonly words: Int32Array;
  readonly halves: Uint16Array;
}

const IPV4_CHECKSUM = 10;
const IPV4_ADDRESSES = 12;
const IPV6_ADDRESSES = 8;
const IPV4_DESTINATION = 16;
const IPV6_DESTINATION = 24;
const TCP_CHECKSUM = 16;
const UDP_CHECKSUM = 6;
const ALL_ONES = 0xffff;

/** The words of `memory`, which may be shared. */
export function packetMemory({ buffer, byteOffset, length }: Uint8Array): PacketMemory {
  return {
    words: new Int32Array(buffer, byteOffset, length >> 2),
    halves: new Uint16Array(buffer, byteOffset, length >> 1),
  };
}

/**
 * Gives a captured packet the ends at `ends[at …]`. Checksums follow by equation 3 of RFC 1624; a bad one stays bad.
 *
 * @param network - offset of the IP header, `transport` that of the TCP or UDP header
 */
export function storeEnds(
  memory: PacketMemory,
  network: number,
  transport: number,
  flags: number,
  ends: Int32Array,
  at: number,
): void {
  const { words, halves } = memory;
  const isIpv4 = (flags & EndsFlag.Ipv6) === 0;
  const from = network + (isIpv4 ? IPV4_ADDRESSES : IPV6_ADDRESSES);
  const count = isIpv4 ? 2 : 8;
  if ((network & 3) === 0) {
    const to = from >> 2;
    for (let word = 0; word < count; word++) words[to + word] = ends[at + word];
    words[transport >> 2] = ends[at + PORTS];
  } else {
    for (let word = 0; word < count; word++) storeWord(halves, from + word * 4, ends[at + word]);
    storeWord(halves, transport, ends[at + PORTS]);
  }
  const deltas = ends[at + DELTAS];
  if (deltas === 0) return;
  if (isIpv4) {
    const sum = (network + IPV4_CHECKSUM) >> 1;
    halves[sum] = adjusted(halves[sum], deltas & 0xffff);
  }
  const isUdp = (flags & EndsFlag.Udp) !== 0;
  const checksum = (transport + (isUdp ? UDP_CHECKSUM : TCP_CHECKSUM)) >> 1;
  const before = halves[checksum];
  // No checksum (0) stays none, over IPv6 too (RFC 6936); one that becomes 0 is sent as its other form, all ones (RFC 768).
  if (isUdp && before === 0) return;
  const after = adjusted(before, deltas >>> 16);
  halves[checksum] = isUdp && after === 0 ? ALL_ONES : after;
}

/**
 * Takes from a packet that left where it goes to: that is the source of the answers at `ends[at …]`. Returns whether that is
 * news; then their checksums need another {@link deltas}.
 */
export function learnSource(
  memory: PacketMemory,
  network: number,
  transport: number,
  flags: number,
  ends: Int32Array,
  at: number,
): boolean {
  const { words, halves } = memory;
  const isIpv4 = (flags & EndsFlag.Ipv6) === 0;
  const from = network + (isIpv4 ? IPV4_DESTINATION : IPV6_DESTINATION);
  const aligned = (network & 3) === 0;
  let news = 0;
  for (let word = 0; word < (isIpv4 ? 1 : 4); word++) {
    const value = aligned ? words[(from >> 2) + word] : loadWord(halves, from + word * 4);
    news |= value ^ ends[at + word];
    ends[at + word] = value;
  }
  const ports = aligned ? words[transport >> 2] : loadWord(halves, transport);
  const answered = (ports << 16) | (ports >>> 16);
  news |= answered ^ ends[at + PORTS];
  ends[at + PORTS] = answered;
  return news !== 0;
}

/** What the ends at `to[at …]` add to checksums of packets with those at `from[start …]`. */
export function deltas(from: Int32Array, start: number, to: Int32Array, at: number, flags: number): number {
  const isIpv4 = (flags & EndsFlag.Ipv6) === 0;
  let change = 0;
  for (let word = 0; word < (isIpv4 ? 2 : 8); word++) change += changeOf(from[start + word], to[at + word]);
  const ofHeader = isIpv4 ? folded(change) : 0;
  return ofHeader | (folded(change + changeOf(from[start + PORTS], to[at + PORTS])) << 16);
}

/** What replacing a word adds to a sum of `~m + m'` over its halves. */
function changeOf(from: number, to: number): number {
  return from === to ? 0 : (~from >>> 16) + (~from & 0xffff) + (to >>> 16) + (to & 0xffff);
}

function folded(sum: number): number {
  const once = (sum & 0xffff) + (sum >>> 16);
  return (once & 0xffff) + (once >>> 16);
}

/** Equation 3 of RFC 1624. */
function adjusted(checksum: number, delta: number): number {
  const sum = (~checksum & 0xffff) + delta;
  return ~((sum & 0xffff) + (sum >>> 16)) & 0xffff;
}

const LITTLE_ENDIAN = new Uint8Array(Int32Array.of(1).buffer)[0] === 1;

/** A word as memory has it, of four bytes in the network's order; and the other way round. */
export function memoryWord(value: number): number {
  if (!LITTLE_ENDIAN) return value;
  return (value << 24) | ((value & 0xff00) << 8) | ((value >>> 8) & 0xff00) | (value >>> 24);
}

function loadWord(halves: Uint16Array, at: number): number {
  const first = halves[at >> 1];
  const second = halves[(at >> 1) + 1];
  return LITTLE_ENDIAN ? first | (second << 16) : (first << 16) | second;
}

function storeWord(halves: Uint16Array, at: number, value: number): void {
  halves[at >> 1] = LITTLE_ENDIAN ? value : value >>> 16;
  halves[(at >> 1) + 1] = LITTLE_ENDIAN ? value >>> 16 : value;
}
