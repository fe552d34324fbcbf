import type { Capture } from "@x/proxy-dataplane";
import type { ConversationColumns } from "./conversations.ts";
import { endsFlags } from "./far-end.ts";

/*
 * What replaying needs at each packet of a capture, side by side in one cache line, because packets of many conversations
 * take turns and every other line would be another miss:
 *
 *   words 0 … 13   the members of `Word`
 *   words 14, 15   a double: when the next packet of the conversation arrives, from the start of a round
 */
export const RECORD_WORDS = 16;
/** Words of a record, from its start. */
export const Word = {
  Conversation: 0,
  /** The conversation's next packet; after its last comes its first. */
  Next: 1,
  /** Packets of the other direction that come before the next one in a round, if it answers one; 0: it answers none. */
  NextAnswers: 2,
  /** Packets of that direction in a round. */
  Opposite: 3,
  /** Bits of {@link RecordFlag}. */
  Flags: 4,
  /** Its first word in {@link PacketRecords.words}, and how many of its bytes the card brings into memory for CPUs. */
  Start: 5,
  Bytes: 6,
  /** Bytes on the wire. */
  WireBytes: 7,
  LinkType: 8,
  NetworkOffset: 9,
  TransportOffset: 10,
} as const;

/**
 * The packet, and the next one, go against the conversation's first; the packet is of a conversation with two ends; beside these
 * bits, those of `EndsFlag`.
 */
export const RecordFlag = { IsReply: 1, NextIsReply: 2, HasEnds: 4 } as const;

/** Packet buffers begin so that the IP header behind an Ethernet header is aligned: word by word, packets fit from here too. */
export const LEAD_BYTES = 2;
const ARRIVAL_DOUBLE = 7;
const NOBODY = -1;

/** The packets of a capture as {@link RECORD_WORDS} words each, and their bytes. */
export interface PacketRecords {
  readonly records: Int32Array;
  /** The same memory: {@link PacketRecords.nextArrival} finds the double in it. */
  readonly doubles: Float64Array;
  /** Bytes of all packets as words, each packet {@link LEAD_BYTES} bytes behind the beginning of its first word. */
  readonly words: Int32Array;
  /** The same memory as bytes. */
  readonly bytes: Uint8Array;
}

/** Index in {@link PacketRecords.doubles} of the arrival of the packet that comes after `packet`. */
export function nextArrivalAt(packet: number): number {
  return packet * (RECORD_WORDS / 2) + ARRIVAL_DOUBLE;
}

/**
 * @param held - bytes of each packet that come into memory
 * @param arrivalNs - of each packet, from the start of a round
 */
export function packetRecords(
  capture: Capture,
  columns: ConversationColumns,
  held: Int32Array,
  arrivalNs: Float64Array,
): PacketRecords {
  const { count, wireLengths, linkTypes } = capture;
  const memory = new ArrayBuffer(count * RECORD_WORDS * 4);
  const records = new Int32Array(memory);
  const doubles = new Float64Array(memory);
  const { starts, words, bytes } = packBytes(capture, held);
  const order = directions(columns);
  for (let packet = 0; packet < count; packet++) {
    const conversation = columns.conversation[packet];
    const next = columns.next[packet] === NOBODY ? columns.first[conversation] : columns.next[packet];
    const opposite = 1 - columns.isReply[next];
    const answered = columns.answers[next];
    const hasEnds = conversation < columns.conversations - 1;
    const at = packet * RECORD_WORDS;
    records[at + Word.Conversation] = conversation;
    records[at + Word.Next] = next;
    records[at + Word.NextAnswers] = answered === NOBODY ? 0 : order.ordinals[answered] + 1;
    records[at + Word.Opposite] = order.counts[conversation * 2 + opposite];
    records[at + Word.Flags] =
      columns.isReply[packet] * RecordFlag.IsReply +
      columns.isReply[next] * RecordFlag.NextIsReply +
      (hasEnds ? RecordFlag.HasEnds | endsFlags(columns, conversation) : 0);
    records[at + Word.Start] = starts[packet];
    records[at + Word.Bytes] = held[packet];
    records[at + Word.WireBytes] = wireLengths[packet];
    records[at + Word.LinkType] = linkTypes[packet];
    records[at + Word.NetworkOffset] = columns.networkOffset[packet];
    records[at + Word.TransportOffset] = columns.transportOffset[packet];
    doubles[nextArrivalAt(packet)] = arrivalNs[next];
  }
  return { records, doubles, words, bytes };
}

/** By packet: how many of its conversation go the same way before it. By conversation and direction: how many there are. */
function directions({ conversations, conversation, isReply }: ConversationColumns): {
  ordinals: Int32Array;
  counts: Int32Array;
} {
  const counts = new Int32Array(conversations * 2);
  const ordinals = Int32Array.from(conversation, (id, packet) => counts[id * 2 + isReply[packet]]++);
  return { ordinals, counts };
}

function packBytes(
  { count, bytes, offsets }: Capture,
  held: Int32Array,
): { starts: Int32Array; words: Int32Array; bytes: Uint8Array } {
  const starts = new Int32Array(count);
  let end = 0;
  for (let packet = 0; packet < count; packet++) {
    starts[packet] = end;
    end += Math.ceil((LEAD_BYTES + held[packet]) / 4);
  }
  const words = new Int32Array(end);
  const packed = new Uint8Array(words.buffer);
  for (let packet = 0; packet < count; packet++) {
    packed.set(bytes.subarray(offsets[packet], offsets[packet] + held[packet]), starts[packet] * 4 + LEAD_BYTES);
  }
  return { starts, words, bytes: packed };
}
