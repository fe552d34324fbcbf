import type { BucketIndex } from "./bucket-index.ts";
import { CONTROL, ENTRY, handWord } from "./flow-table-layout.ts";

/*
 * The hand of a CPU: what it would leave behind if its thread died now.
 *
 *   0                    nothing
 *   RESERVED             it is counted in the size of the table, and there is no entry yet, or no more
 *   entry                an entry that it has allocated: not linked yet, or linked just now
 *   entry | DELETING     an entry that it takes out: still linked, or unlinked and not given to the reclaimer yet
 *
 * Offsets of entries are multiples of a cache line, so the low bits are free. Between a write and the note of it in the hand lies
 * one step; who dies there loses one entry, or leaves the size one too high.
 */
export const RESERVED = 1;
export const DELETING = 2;

/** Settle what the dead `cpu` held; `retire` is told whether the entry never was in the table. */
export function settleHand(
  cpu: number,
  control: Int32Array,
  words: Int32Array,
  index: BucketIndex,
  retire: (entry: number, isFresh: boolean) => void,
): void {
  const hand = control[handWord(cpu)];
  const entry = hand & ~(RESERVED | DELETING);
  control[handWord(cpu)] = 0;
  if (hand === RESERVED) Atomics.sub(control, CONTROL.size, 1);
  if (entry === 0 || index.holds(entry)) return;
  const isFresh = (hand & DELETING) === 0;
  if (isFresh) {
    Atomics.sub(control, CONTROL.size, 1);
    // It may have been given a generation, which is odd: it is not in.
    if ((words[(entry >> 2) + ENTRY.generation] & 1) !== 0) Atomics.add(words, (entry >> 2) + ENTRY.generation, 1);
  }
  retire(entry, isFresh);
}
