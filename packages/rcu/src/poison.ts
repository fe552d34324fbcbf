import type { RcuFreeTarget } from "./callback-ring.ts";

/**
 * What freed memory is overwritten with in debug mode (Linux: POISON_FREE).
 *
 * @public
 */
export const POISON_BYTE: number = 0x6b;

/**
 * `target`, with each object overwritten by {@link POISON_BYTE} before it gets it back: a reader that holds one beyond its grace
 * period finds bytes that are no value of anything. For {@link Rcu.free} in debug builds; the bytes must belong to the caller until `free`.
 *
 * @public
 */
export function poisonFreed(target: RcuFreeTarget, buffer: SharedArrayBuffer, objectBytes: number): RcuFreeTarget {
  const bytes = new Uint8Array(buffer);
  return {
    free: (offset) => {
      bytes.fill(POISON_BYTE, offset, offset + objectBytes);
      target.free(offset);
    },
    freeBulk: (offsets, count) => {
      for (let index = 0; index < count; index++) {
        bytes.fill(POISON_BYTE, offsets[index], offsets[index] + objectBytes);
      }
      if (target.freeBulk !== undefined) target.freeBulk(offsets, count);
      else for (let index = 0; index < count; index++) target.free(offsets[index]);
    },
  };
}
