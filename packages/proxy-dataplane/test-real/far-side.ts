import { PacketInfo, parseFrame, parseQuoted, ParseResult, rewriteEnds, verifyIcmpChecksum } from "@x/proxy-dataplane";
import { be16, bytes, internetSum } from "../test/frames.ts";

/** The ends of a packet as text: addresses, ports, protocol. */
const nameOf = (key: Int32Array): string => key.join();

/** The same flow the other way round. */
function reversed(key: Int32Array): Int32Array {
  const other = key.slice();
  other.copyWithin(0, 4, 8);
  other.set(key.subarray(0, 4), 4);
  other[8] = (key[8] << 16) | (key[8] >>> 16);
  return other;
}

/**
 * The hosts on the far side of a box that translates sources: what they said in a capture, said to whom they see instead. It knows
 * only what has left the box.
 */
export class FarSide {
  /** Flows as clients began them, and their keys as they left. */
  readonly #left = new Map<string, Int32Array>();
  readonly #info = new PacketInfo();
  readonly #quoted = new PacketInfo();

  /** Whether a captured frame was sent by the far side: an answer, or an ICMP error about what a client sent. */
  isFar(frame: Uint8Array, linkType: number): boolean {
    const flow = this.#flowOf(frame, linkType);
    return flow !== undefined && this.#left.has(nameOf(flow));
  }

  /** Notes how a client's packet has left. */
  learn(asSent: Uint8Array, asLeft: Uint8Array, linkType: number): void {
    const info = this.#info;
    if (parseFrame(asSent, 0, asSent.length, asSent.length, linkType, info) !== ParseResult.Ok) return;
    const name = nameOf(info.key);
    if (this.#left.has(name)) return;
    parseFrame(asLeft, 0, asLeft.length, asLeft.length, linkType, info);
    this.#left.set(name, info.key.slice());
  }

  /** What the far side says in place of a captured frame of its own. */
  say(captured: Uint8Array, linkType: number): Uint8Array {
    const flow = this.#flowOf(captured, linkType);
    const left = flow === undefined ? undefined : this.#left.get(nameOf(flow));
    if (left === undefined) return captured;
    const info = this.#info;
    const frame = captured.slice();
    const quotes = parseQuoted(frame, info, this.#quoted);
    if (!quotes) {
      rewriteEnds(frame, info.networkOffset, info.transportOffset, info.key, 0, left, 0);
      return frame;
    }
    return this.#quoteAnew(frame, left);
  }

  /** An ICMP error that quotes the packet as it left the box, sent to whom that was from; its checksum is made anew if it was right. */
  #quoteAnew(frame: Uint8Array, left: Int32Array): Uint8Array {
    const info = this.#info;
    const quoted = this.#quoted;
    const wasRight = verifyIcmpChecksum(frame, info) === 1;
    // Checksums that the quotation does not reach must not be written: the rest of the packet stands behind it for the while.
    const room = bytes(frame.subarray(0, info.networkEnd), new Uint8Array(32));
    rewriteEnds(room, quoted.networkOffset, quoted.transportOffset, quoted.key, 0, reversed(left), 0);
    frame.set(room.subarray(0, info.networkEnd));
    const isIpv6 = info.network === 6;
    const ends = info.key.slice();
    ends.set(left.subarray(0, 4), 4);
    const before = info.key.slice();
    // The key of an error has no identifier: only its addresses are written, as of a protocol without ports.
    before[9] = ends[9] = (before[9] & ~0xff) | 254;
    rewriteEnds(frame, info.networkOffset, info.transportOffset, before, 0, reversed(ends), 0);
    if (!wasRight) return frame;
    const at = info.transportOffset;
    frame.set([0, 0], at + 2);
    const message = frame.subarray(at, info.networkEnd);
    const addresses = frame.subarray(info.networkOffset + 8, info.networkOffset + 40);
    const pseudo = isIpv6 ? bytes(addresses, be16(0), be16(message.length), be16(0), be16(58)) : bytes();
    frame.set(be16(~internetSum(bytes(pseudo, message)) & 0xffff), at + 2);
    return frame;
  }

  /** The flow, as its client began it, that a far side's packet would belong to. */
  #flowOf(frame: Uint8Array, linkType: number): Int32Array | undefined {
    const info = this.#info;
    if (parseFrame(frame, 0, frame.length, frame.length, linkType, info) !== ParseResult.Ok) return undefined;
    if (parseQuoted(frame, info, this.#quoted)) return this.#quoted.key;
    const isMessage = (info.protocol === 1 || info.protocol === 58) && info.isEcho === 0;
    return info.key[9] === 0 || info.fragment === 1 || isMessage ? undefined : reversed(info.key);
  }
}

/**
 * The segments that a sender makes of one TCP segment when it learns that only `mtu` bytes go through: as long as may be, one behind the
 * other. Empty for whatever is not TCP.
 */
export function resegment(frame: Uint8Array, linkType: number, mtu: number): Uint8Array[] {
  const info = new PacketInfo();
  if (parseFrame(frame, 0, frame.length, frame.length, linkType, info) !== ParseResult.Ok || info.protocol !== 6)
    return [];
  const payloadAt = info.transportOffset + info.transportHeaderLength;
  const room = mtu - (payloadAt - info.networkOffset);
  const all: Uint8Array[] = [];
  for (let from = payloadAt; from < info.networkEnd; from += room) {
    const to = Math.min(info.networkEnd, from + room);
    all.push(segmentOf(frame, info, payloadAt, from, to));
  }
  return all;
}

const PUSH_AND_FIN = 9;

function segmentOf(frame: Uint8Array, info: PacketInfo, payloadAt: number, from: number, to: number): Uint8Array {
  const one = bytes(frame.subarray(0, payloadAt), frame.subarray(from, to));
  const { networkOffset: network, transportOffset: transport } = info;
  const isIpv6 = info.network === 6;
  const length = one.length - transport;
  one.set(be16(isIpv6 ? one.length - network - 40 : one.length - network), network + (isIpv6 ? 4 : 2));
  const sequence = (info.tcpSequence + (from - payloadAt)) >>> 0;
  one.set([...be16(sequence >>> 16), ...be16(sequence)], transport + 4);
  if (to < info.networkEnd) one[transport + 13] &= ~PUSH_AND_FIN;
  if (!isIpv6) {
    one.set([0, 0], network + 10);
    one.set(be16(~internetSum(one.subarray(network, transport)) & 0xffff), network + 10);
  }
  one.set([0, 0], transport + 16);
  const ends = isIpv6 ? one.subarray(network + 8, network + 40) : one.subarray(network + 12, network + 20);
  const sum = internetSum(bytes(ends, be16(length), be16(6), one.subarray(transport)));
  one.set(be16(~sum & 0xffff), transport + 16);
  return one;
}
