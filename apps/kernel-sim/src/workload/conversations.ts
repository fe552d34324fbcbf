import { NetworkKind, PacketInfo, parseFrame, ParseResult, type Capture } from "@x/proxy-dataplane";
import { ToeplitzTable } from "@x/perf-cache";

/** Words of a flow key, see `PacketInfo.key`. */
export const KEY_WORDS = 10;

/**
 * What replaying needs to know of each packet of a capture, in columns. Packets that are neither whole TCP nor whole UDP
 * packets make up a last conversation of their own, in which nobody answers.
 */
export interface ConversationColumns {
  /** Conversations: unordered pairs of ends, by protocol; and the last one, of everything else. */
  readonly conversations: number;
  readonly conversation: Int32Array;
  /** First packet of each conversation, -1 where it has none, and the one after each packet, -1 after the last. */
  readonly first: Int32Array;
  readonly next: Int32Array;
  /** 1 for packets that go against the conversation's first one. */
  readonly isReply: Uint8Array;
  /** The packet of the conversation this one answers: the last one before it in the other direction; -1: none. */
  readonly answers: Int32Array;
  /** Where the network and the transport header are, from the start of the frame. */
  readonly networkOffset: Int32Array;
  readonly transportOffset: Int32Array;
  /** Bytes to the end of the last header that is known; all that were captured of a packet that is no IP, or in which something is wrong. */
  readonly headerBytes: Int32Array;
  /** Ten words a packet: the flow key as captured. */
  readonly keys: Int32Array;
  /** What a network card computes for receive-side scaling of the packet as captured. */
  readonly hashes: Int32Array;
}

interface Known {
  readonly id: number;
  readonly firstEnd: string;
  readonly lastOfDirection: [number, number];
  last: number;
}

/** Work out who talks with whom, and which packet answers which. */
export function findConversations(capture: Capture): ConversationColumns {
  const { count, bytes, offsets, lengths, wireLengths, linkTypes } = capture;
  const info = new PacketInfo();
  const toeplitz = new ToeplitzTable();
  const columns = emptyColumns(count);
  const known = new Map<string, Known>();
  const rest: number[] = [];
  for (let packet = 0; packet < count; packet++) {
    parseFrame(bytes, offsets[packet], lengths[packet], wireLengths[packet], linkTypes[packet], info);
    const endToEnd = isEndToEnd(info);
    columns.headerBytes[packet] =
      isIp(info) && info.result === ParseResult.Ok
        ? info.transportOffset + info.transportHeaderLength - offsets[packet]
        : lengths[packet];
    columns.hashes[packet] = isIp(info) ? toeplitz.hashFlow(info.key, 0, endToEnd) : 0;
    if (!endToEnd) {
      rest.push(packet);
      continue;
    }
    columns.networkOffset[packet] = info.networkOffset - offsets[packet];
    columns.transportOffset[packet] = info.transportOffset - offsets[packet];
    columns.keys.set(info.key, packet * KEY_WORDS);
    link(columns, known, info, packet);
  }
  const first = new Int32Array(known.size + 1).fill(-1);
  for (const packet of columns.conversation.keys()) {
    const id = columns.conversation[packet];
    if (id >= 0 && first[id] < 0) first[id] = packet;
  }
  rest.forEach((packet, at) => {
    columns.conversation[packet] = known.size;
    columns.next[packet] = rest[at + 1] ?? -1;
  });
  first[known.size] = rest[0] ?? -1;
  return { conversations: known.size + 1, first, ...columns };
}

/** Bytes of the longest header among the packets. */
export function longestHeader({ headerBytes }: ConversationColumns): number {
  return headerBytes.reduce((longest, bytes) => Math.max(longest, bytes), 0);
}

type Columns = Omit<ConversationColumns, "conversations" | "first">;

function emptyColumns(count: number): Columns {
  return {
    conversation: new Int32Array(count).fill(-1),
    next: new Int32Array(count).fill(-1),
    isReply: new Uint8Array(count),
    answers: new Int32Array(count).fill(-1),
    networkOffset: new Int32Array(count),
    transportOffset: new Int32Array(count),
    headerBytes: new Int32Array(count),
    keys: new Int32Array(count * KEY_WORDS),
    hashes: new Int32Array(count),
  };
}

function link(columns: Columns, known: Map<string, Known>, info: PacketInfo, packet: number): void {
  const [own, other] = endNames(info);
  const name = own < other ? `${info.protocol} ${own} ${other}` : `${info.protocol} ${other} ${own}`;
  let entry = known.get(name);
  if (entry === undefined) {
    known.set(name, (entry = { id: known.size, firstEnd: own, lastOfDirection: [-1, -1], last: -1 }));
  }
  const direction = own === entry.firstEnd ? 0 : 1;
  columns.conversation[packet] = entry.id;
  columns.isReply[packet] = direction;
  columns.answers[packet] = entry.lastOfDirection[1 - direction];
  if (entry.last >= 0) columns.next[entry.last] = packet;
  entry.last = packet;
  entry.lastOfDirection[direction] = packet;
}

function isIp(info: PacketInfo): boolean {
  return info.network === NetworkKind.Ipv4 || info.network === NetworkKind.Ipv6;
}

function isEndToEnd(info: PacketInfo): boolean {
  return isIp(info) && info.hasPorts === 1 && info.fragment === 0 && (info.protocol === 6 || info.protocol === 17);
}

function endNames(info: PacketInfo): [string, string] {
  const { key, sourcePort, destinationPort } = info;
  return [`${key.subarray(0, 4).join(".")}:${sourcePort}`, `${key.subarray(4, 8).join(".")}:${destinationPort}`];
}
