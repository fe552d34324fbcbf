/*
 * Memory of look-ups by WebAssembly beside the table's own: the table `bases` of bucket-index.ts; for each CPU a batch, written and read by that
 * CPU alone while it looks up:
 *
 *   | keys: 4 words each | hashes | results | counts, of 64 bits |
 *
 * The counts, for which JavaScript would take half as long as a look-up does: look-ups; those that found the second entry of their chain; those
 * that found a later one; the entries that these read before it. A batch counts what it found: JavaScript looks up the rest, and counts that.
 */
export const BATCH = 32;
export const HASHES: number = BATCH * 16;
export const RESULTS: number = HASHES + BATCH * 4;
export const LOOKUPS: number = RESULTS + BATCH * 4;
export const SECONDS: number = LOOKUPS + 8;
export const LATER: number = SECONDS + 8;
export const BEFORE_LATER: number = LATER + 8;
/** Bytes of a batch: what was written, and up to whole lines. */
export const BATCH_BYTES = 1024;
/** Bytes before the first batch: the table of bases. */
export const BASES_BYTES = 256;

/** The counts of all CPUs, whose batches are `batches`, as {@link HashStats} has them. */
export function sumOfCounts(batches: BigInt64Array): { lookups: number; collisions: number; extraProbes: number } {
  const sum = { lookups: 0, collisions: 0, extraProbes: 0 };
  for (let batch = 0; batch < batches.length; batch += BATCH_BYTES / 8) {
    const count = (offset: number): number => Number(batches[batch + offset / 8]);
    sum.lookups += count(LOOKUPS);
    sum.collisions += count(SECONDS) + count(LATER);
    sum.extraProbes += count(SECONDS) + count(BEFORE_LATER);
  }
  return sum;
}

export function resetCounts(batches: BigInt64Array): void {
  for (let batch = 0; batch < batches.length; batch += BATCH_BYTES / 8) {
    batches.fill(0n, batch + LOOKUPS / 8, batch + BEFORE_LATER / 8 + 1);
  }
}
