import { internetChecksum, PacketInfo, parseFrame } from "@x/proxy-dataplane";
import { be16, be32, bytes } from "./frames.ts";

const ETHERNET_BYTES = 14;
const IPV6_BYTES = 40;

/** Cuts an Ethernet frame's IPv4 or IPv6 packet into fragments of `size` octets (a multiple of 8), in order. */
export function fragmentsOf(frame: Uint8Array, size: number, id: number): Uint8Array[] {
  const isIpv6 = frame[12] === 0x86;
  const header = ETHERNET_BYTES + (isIpv6 ? IPV6_BYTES : (frame[ETHERNET_BYTES] & 15) * 4);
  const payload = frame.subarray(header);
  const made: Uint8Array[] = [];
  for (let from = 0; from < payload.length; from += size) {
    const part = payload.subarray(from, from + size);
    const more = from + size < payload.length;
    made.push(
      isIpv6 ? fragment6(frame, part, from, more, id) : fragment4(frame.subarray(0, header), part, from, more, id),
    );
  }
  return made;
}

export function fragment4(head: Uint8Array, part: Uint8Array, from: number, more: boolean, id: number): Uint8Array {
  const frame = bytes(head, part);
  frame.set(be16(frame.length - ETHERNET_BYTES), 16);
  frame.set(be16(id), 18);
  frame.set(be16((from >> 3) | (more ? 0x2000 : 0)), 20);
  frame.set([0, 0], 24);
  frame.set(be16(internetChecksum(frame, ETHERNET_BYTES, head.length)), 24);
  return frame;
}

function fragment6(frame: Uint8Array, part: Uint8Array, from: number, more: boolean, id: number): Uint8Array {
  const head = frame.slice(0, ETHERNET_BYTES + IPV6_BYTES);
  const next = head[20];
  head[20] = 44;
  head.set(be16(part.length + 8), 18);
  return bytes(head, next, 0, be16(from | (more ? 1 : 0)), be32(id), part);
}

/** The whole packets that fragments in any order make; throws when octets are missing, or come twice. */
export function reassemble(frames: readonly Uint8Array[]): Uint8Array[] {
  const datagrams = new Map<string, { frame: Uint8Array; info: PacketInfo }[]>();
  for (const frame of frames) {
    const info = new PacketInfo();
    parseFrame(frame, 0, frame.length, frame.length, 1, info);
    const key = `${info.key.slice(0, 8).join(".")} ${info.fragmentId}`;
    datagrams.set(key, [...(datagrams.get(key) ?? []), { frame, info }]);
  }
  return [...datagrams.values()].map(join);
}

function join(parts: { frame: Uint8Array; info: PacketInfo }[]): Uint8Array {
  const sorted = parts.toSorted((a, b) => a.info.fragmentOffset - b.info.fragmentOffset);
  const [{ frame: first, info }] = sorted;
  const isIpv6 = info.network === 6;
  const head = first.slice(0, ETHERNET_BYTES + (isIpv6 ? IPV6_BYTES : info.fragmentStart - ETHERNET_BYTES));
  let at = 0;
  for (const part of sorted) {
    if (part.info.fragmentOffset !== at) throw new Error(`octets ${at} to ${part.info.fragmentOffset} are missing`);
    at += part.frame.length - part.info.fragmentStart;
  }
  if (sorted[sorted.length - 1].info.moreFragments === 1) throw new Error("the end is missing");
  const frame = bytes(head, ...sorted.map((part) => part.frame.subarray(part.info.fragmentStart)));
  if (isIpv6) {
    frame[20] = first[ETHERNET_BYTES + IPV6_BYTES];
    frame.set(be16(at), 18);
    return frame;
  }
  return fragment4(frame.subarray(0, head.length), frame.subarray(head.length), 0, false, info.fragmentId);
}
