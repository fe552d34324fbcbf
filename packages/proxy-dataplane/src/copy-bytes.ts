/** Up to here a loop is faster than making a view for `set`. */
export const LOOP_BYTES = 128;

/**
 * Copies whole words: a few bytes before and behind the packet come along, into its buffer's head room and tail room.
 */
export function copyWords(into: Int32Array, to: number, words: Int32Array, from: number, end: number): void {
  const distance = to - from;
  for (let at = from; at < end; at++) into[at + distance] = words[at];
}

/** A whole array is set as it is; of a part, `set` would need a view, which costs more than a loop over a small packet. */
export function copyBytes(into: Uint8Array, to: number, bytes: Uint8Array, from: number, length: number): void {
  if (length === bytes.length) into.set(bytes, to);
  else if (length > LOOP_BYTES) into.set(bytes.subarray(from, from + length), to);
  else for (let i = 0; i < length; i++) into[to + i] = bytes[from + i];
}
