/*
 * A connection, 48 Int32 words (three cache lines). What every packet writes lies in the last line, so that a packet of a known
 * connection touches one line more only where it is rewritten.
 *
 *    0-9   original tuple, as the client sends it            written before the connection is published, then constant
 *   10-19  reply tuple, as answers arrive                    the same
 *   20     time of creation, ms                              constant
 *   21,22  entries of the two tuples in the flow table       constant
 *   23     slot in the list of connections                   constant
 *   24     next connection that waits for readers            by the CPU that took it out
 *
 *   32     state word                                        Atomics
 *   33     time of the last packet, ms, wraps                plain store by whoever has a packet; a moment old is harmless
 *   34     server + 1, 0 = direct                            constant
 *   36-39  packets and bytes of the client, low and high     Atomics
 *   40-43  packets and bytes of the server                   Atomics
 */
export const CONNECTION_WORDS = 48;
export const ORIGINAL = 0;
export const REPLY = 10;
export const CREATED_MS = 20;
export const ORIGINAL_ENTRY = 21;
export const REPLY_ENTRY = 22;
export const SLOT = 23;
export const NEXT_DEAD = 24;
/** First word of the line that every packet writes. */
export const HOT = 32;
export const STATE = 32;
export const LAST_SEEN_MS = 33;
export const SERVER = 34;
export const PACKETS = 36;
export const BYTES = 38;
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
