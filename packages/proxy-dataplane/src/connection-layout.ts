/*
 * A connection, 48 Int32 words (three cache lines):
 *
 *    0-9   original tuple, as the client sends it            written before the connection is published, then constant
 *   10-19  reply tuple, as answers arrive                    the same
 *   20     state word                                        Atomics
 *   21     time of the last packet, ms, wraps                plain store by whoever has a packet; a moment old is harmless
 *   22     time of creation, ms                              constant
 *   23,24  entries of the two tuples in the flow table       constant
 *   25     server + 1, 0 = direct                            constant
 *   26     slot in the list of connections                   constant
 *   27     next connection that waits for readers            by the CPU that took it out
 *   28-31  packets and bytes of the client, low and high     Atomics
 *   32-35  packets and bytes of the server                   Atomics
 */
export const CONNECTION_WORDS = 48;
export const ORIGINAL = 0;
export const REPLY = 10;
export const STATE = 20;
export const LAST_SEEN_MS = 21;
export const CREATED_MS = 22;
export const ORIGINAL_ENTRY = 23;
export const REPLY_ENTRY = 24;
export const SERVER = 25;
export const SLOT = 26;
export const NEXT_DEAD = 27;
export const PACKETS = 28;
export const BYTES = 30;
/** From the client's counts to the server's. */
export const COUNTS_STRIDE = 4;

const LOW_WORD = 0x1_0000_0000;

/** Adds to a 64-bit count in two words. The carry follows the wrap, so a reader may miss 2^32 for a moment. */
export function addCount(words: Int32Array, at: number, amount: number): void {
  const before = Atomics.add(words, at, amount) >>> 0;
  if (before + amount >= LOW_WORD) Atomics.add(words, at + 1, 1);
}

export function readCount(words: Int32Array, at: number): number {
  return (Atomics.load(words, at) >>> 0) + (Atomics.load(words, at + 1) >>> 0) * LOW_WORD;
}
