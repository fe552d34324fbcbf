/*
 * A connection, 80 Int32 words (five cache lines): a line for each direction, then what packets of a known flow do not need.
 * A UDP packet touches the line of its direction, a TCP packet both.
 *
 * Line of direction d, at 16 * d:
 *    0     generation: changes when the connection ends      by who ends it; memory is type-stable, so it never goes back
 *    1     flags; owner + 1 in the upper half                Atomics, a few times in a life
 *    2-4   raw source, destination, ports to write           constant: what IPv4 packets of this direction leave with
 *    5     what that adds to checksums: IP | transport << 16 constant
 *    6     time of the last packet, ms, wraps                owner
 *    7     state word (line 0), spare (line 1)               Atomics; plain loads where a moment's staleness is harmless
 *    8,10  packets and bytes, doubles                        owner
 *   12     TCP: sequence number after the last byte sent     owner
 *   13     TCP: end of the window this side has opened       owner
 *   14     TCP: largest window this side has opened          owner
 *   15     spare
 *
 * The owner of a direction is the CPU that saw its first packet; a receive queue per flow keeps it so. Other CPUs that see
 * packets of the direction count into words of their own with Atomics, and their stores to 6 and 12-14 race harmlessly:
 * each word is one whole value.
 *
 *   32-41  original tuple, as the client sends it            written before the connection is published, then constant
 *   42-51  reply tuple, as answers arrive                    the same
 *   52     time of creation, ms                              constant
 *   53,54  entries of the two tuples in the flow table       constant
 *   55     slot in the list of connections                   constant
 *   56     next connection that waits for readers            by the CPU that took it out
 *   57     server + 1, 0 = direct                            constant
 *   66     slot where the server's open connections are counted; 0 = direct, constant
 *   58-65  foreign packets, bytes of direction 0, then 1     Atomics, low and high word each
 *   67     ticket of ClientLimits, 0 without one             constant
 *   74-79  sequence shift of direction 0, then 1: position,  under the lock of SequenceShifts
 *          octets added before it, octets added after it
 */
export const CONNECTION_WORDS = 80;
export const LINE_WORDS = 16;
export const GENERATION = 0;
export const FLAGS = 1;
export const NEW_SOURCE = 2;
export const NEW_DESTINATION = 3;
export const NEW_PORTS = 4;
export const DELTAS = 5;
export const LAST_SEEN_MS = 6;
export const STATE = 7;
/** In doubles from the beginning of a line. */
export const PACKETS_DOUBLE = 4;
export const BYTES_DOUBLE = 5;

export const TCP_END = 12;
export const TCP_EDGE = 13;
export const TCP_MAX_WINDOW = 14;

export const ORIGINAL = 32;
export const REPLY = 42;
export const CREATED_MS = 52;
export const ORIGINAL_ENTRY = 53;
export const REPLY_ENTRY = 54;
export const SLOT = 55;
export const NEXT_DEAD = 56;
export const SERVER = 57;
export const SERVER_SLOT = 66;
export const TICKET = 67;
export const FOREIGN = 58;
export const SHIFT = 74;
export const SHIFT_WORDS = 3;
/** From the foreign counts of direction 0 to those of 1. */
export const FOREIGN_STRIDE = 4;

/** Flags of a direction. */
export const FLAG_REWRITE = 1;
/** No packet of this direction can change the state: packets are counted and that is all. */
export const FLAG_SETTLED = 2;
/** TCP: the side has spoken; has acknowledged; its window scale (4 bits); windows are not judged. */
export const FLAG_SEEN = 4;
export const FLAG_TOLD = 8;
export const FLAG_LIBERAL = 16;
/** TCP: payload of this connection has changed its length; set on both directions. */
export const FLAG_SHIFTED = 32;
/** What a packet of the direction has to be changed for. */
export const FLAG_CHANGES: number = FLAG_REWRITE | FLAG_SHIFTED;
export const SCALE_SHIFT = 8;
export const SCALE_BITS = 15;
export const OWNER_SHIFT = 16;
export const FLAG_MASK = 0xffff;

const LOW_WORD = 0x1_0000_0000;

/** Adds to a 64-bit count in two words. The carry follows the wrap, so a reader may miss 2^32 for a moment. */
export function addCount(words: Int32Array, at: number, amount: number): void {
  const before = Atomics.add(words, at, amount) >>> 0;
  if (before + amount >= LOW_WORD) Atomics.add(words, at + 1, 1);
}

export function readCount(words: Int32Array, at: number): number {
  return (Atomics.load(words, at) >>> 0) + (Atomics.load(words, at + 1) >>> 0) * LOW_WORD;
}

/** Word of the line of a value: offset of a connection with the direction in bit 0. */
export function lineOf(value: number): number {
  return (value >> 2) + ((value & 1) << 4);
}
