import { internetChecksum } from "@x/proxy-dataplane";

/** Frames and capture files made from parts, for tests. */
export const bytes = (...parts: (number | readonly number[] | Uint8Array)[]): Uint8Array =>
  Uint8Array.from(parts.flatMap((part) => (typeof part === "number" ? [part] : [...part])));

export const be16 = (value: number): number[] => [(value >>> 8) & 255, value & 255];
export const be32 = (value: number): number[] => [...be16(value >>> 16), ...be16(value)];
export const le32 = (value: number): number[] => be32(value).toReversed();
export const le16 = (value: number): number[] => be16(value).toReversed();

export const A4 = [10, 0, 0, 1];
export const B4 = [10, 0, 0, 2];
export const A6 = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
export const B6 = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];

const MACS = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];

/** `tags` are [EtherType, tag control] pairs, outermost first. */
export function ethernet(etherType: number, payload: Uint8Array, tags: readonly [number, number][] = []): Uint8Array {
  return bytes(MACS, ...tags.flatMap(([type, tci]) => [...be16(type), ...be16(tci)]), be16(etherType), payload);
}

export interface Ipv4Options {
  source?: number[];
  destination?: number[];
  ttl?: number;
  /** Flags and fragment offset. */
  fragment?: number;
  options?: number[];
  totalLength?: number;
  headerWords?: number;
}

export function ipv4(protocol: number, payload: Uint8Array, o: Ipv4Options = {}): Uint8Array {
  const options = o.options ?? [];
  const headerBytes = 20 + options.length;
  const head = (checksum: number): Uint8Array =>
    bytes(
      0x40 | (o.headerWords ?? headerBytes / 4),
      0,
      be16(o.totalLength ?? headerBytes + payload.length),
      be16(1),
      be16(o.fragment ?? 0),
      o.ttl ?? 64,
      protocol,
      be16(checksum),
      o.source ?? A4,
      o.destination ?? B4,
      options,
    );
  return bytes(head(internetChecksum(head(0))), payload);
}

export interface Ipv6Options {
  source?: number[];
  destination?: number[];
  payloadLength?: number;
}

export function ipv6(next: number, payload: Uint8Array, o: Ipv6Options = {}): Uint8Array {
  const length = o.payloadLength ?? payload.length;
  return bytes(0x60, 0, 0, 0, be16(length), next, 64, o.source ?? A6, o.destination ?? B6, payload);
}

function withChecksum(
  header: Uint8Array,
  at: number,
  payload: Uint8Array,
  protocol: number,
  ends: number[],
): Uint8Array {
  const segment = bytes(header, payload);
  const pseudo = bytes(ends, be32(segment.length), be32(protocol));
  const checksum = internetChecksum(bytes(pseudo, segment));
  segment.set(be16(protocol === 17 && checksum === 0 ? 0xffff : checksum), at);
  return segment;
}

export interface PortOptions {
  sourcePort?: number;
  destinationPort?: number;
  /** Addresses of the pseudo-header, source and destination. */
  ends?: number[];
}

export interface TcpOptions extends PortOptions {
  flags?: number;
  sequence?: number;
}

export const TEXT: Uint8Array = new TextEncoder().encode("hello, world");

export function tcp(payload: Uint8Array = TEXT, o: TcpOptions = {}): Uint8Array {
  const ports = [...be16(o.sourcePort ?? 1000), ...be16(o.destinationPort ?? 80)];
  const header = bytes(ports, be32(o.sequence ?? 1), be32(2), 0x50, o.flags ?? 0x18, be16(1000), be16(0), be16(0));
  return withChecksum(header, 16, payload, 6, o.ends ?? [...A4, ...B4]);
}

export function udp(payload: Uint8Array = TEXT, o: PortOptions & { length?: number } = {}): Uint8Array {
  const ports = [...be16(o.sourcePort ?? 1111), ...be16(o.destinationPort ?? 2222)];
  const header = bytes(ports, be16(o.length ?? 8 + payload.length), be16(0));
  return withChecksum(header, 6, payload, 17, o.ends ?? [...A4, ...B4]);
}

export function icmpEcho(type: number, identifier: number): Uint8Array {
  const message = bytes(type, 0, 0, 0, be16(identifier), be16(1), TEXT);
  message.set(be16(internetChecksum(message)), 2);
  return message;
}

export const tcp4 = (o: TcpOptions & Ipv4Options = {}, payload: Uint8Array = TEXT): Uint8Array =>
  ethernet(0x800, ipv4(6, tcp(payload, { ends: [...(o.source ?? A4), ...(o.destination ?? B4)], ...o }), o));
export const udp4 = (o: PortOptions & Ipv4Options = {}, payload: Uint8Array = TEXT): Uint8Array =>
  ethernet(0x800, ipv4(17, udp(payload, { ends: [...(o.source ?? A4), ...(o.destination ?? B4)], ...o }), o));
export const tcp6 = (o: TcpOptions & Ipv6Options = {}, payload: Uint8Array = TEXT): Uint8Array =>
  ethernet(0x86dd, ipv6(6, tcp(payload, { ends: [...(o.source ?? A6), ...(o.destination ?? B6)], ...o }), o));
export const udp6 = (o: PortOptions & Ipv6Options = {}, payload: Uint8Array = TEXT): Uint8Array =>
  ethernet(0x86dd, ipv6(17, udp(payload, { ends: [...(o.source ?? A6), ...(o.destination ?? B6)], ...o }), o));

export interface PcapOptions {
  bigEndian?: boolean;
  nanoseconds?: boolean;
  linkType?: number;
  wireLength?: number;
}

export function pcap(frames: readonly Uint8Array[], o: PcapOptions = {}): Uint8Array {
  const u16 = o.bigEndian === true ? be16 : le16;
  const u32 = o.bigEndian === true ? be32 : le32;
  const magic = o.nanoseconds === true ? 0xa1b23c4d : 0xa1b2c3d4;
  const header = [...u32(magic), ...u16(2), ...u16(4), ...u32(0), ...u32(0), ...u32(65535), ...u32(o.linkType ?? 1)];
  const records = frames.flatMap((frame, i) => [
    ...u32(1_700_000_000 + i),
    ...u32(i),
    ...u32(frame.length),
    ...u32(o.wireLength ?? frame.length),
    ...frame,
  ]);
  return Uint8Array.from([...header, ...records]);
}

export interface Block {
  type: number;
  body: number[];
}

/** Blocks with their lengths around them; the first should be a section header. */
export function pcapng(blocks: readonly Block[], bigEndian = false): Uint8Array {
  const u32 = bigEndian ? be32 : le32;
  return Uint8Array.from(
    blocks.flatMap(({ type, body }) => {
      const padded = [...body, ...Array.from({ length: (4 - (body.length % 4)) % 4 }, () => 0)];
      return [...u32(type), ...u32(padded.length + 12), ...padded, ...u32(padded.length + 12)];
    }),
  );
}

export function sectionHeader(bigEndian = false): Block {
  const [u16, u32] = bigEndian ? [be16, be32] : [le16, le32];
  return { type: 0x0a0d0d0a, body: [...u32(0x1a2b3c4d), ...u16(1), ...u16(0), ...u32(0xffffffff), ...u32(0xffffffff)] };
}

export function interfaceBlock(linkType: number, snapLength = 0, options: number[] = [], bigEndian = false): Block {
  const [u16, u32] = bigEndian ? [be16, be32] : [le16, le32];
  return { type: 1, body: [...u16(linkType), ...u16(0), ...u32(snapLength), ...options] };
}

export function enhancedPacket(index: number, ticks: bigint, frame: Uint8Array, bigEndian = false): Block {
  const u32 = bigEndian ? be32 : le32;
  const [high, low] = [Number(ticks >> 32n), Number(ticks & 0xffffffffn)];
  return {
    type: 6,
    body: [...u32(index), ...u32(high), ...u32(low), ...u32(frame.length), ...u32(frame.length), ...frame],
  };
}

/** The one's complement sum of 16-bit words, added up. */
export function internetSum(all: Uint8Array): number {
  let sum = 0;
  for (let at = 0; at < all.length; at += 2) sum += (all[at] << 8) | (all[at + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return sum;
}
