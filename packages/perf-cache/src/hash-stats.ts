import type { BucketIndex } from "./bucket-index.ts";
import { STAT, sumStat } from "./flow-table-layout.ts";
import type { HashStats } from "./flow-table-layout.ts";
import { sumOfCounts } from "./batch-layout.ts";

/** What counts the look-ups of a table: JavaScript's, and WebAssembly's in their batches. */
export interface TableCounts {
  readonly stats: Float64Array;
  readonly batches: BigInt64Array;
}

/** The figures of a table, from the counts of its CPUs and a walk over its buckets. */
export function hashStats(counts: TableCounts, index: BucketIndex, size: number, capacity: number): HashStats {
  let used = 0;
  let longest = 0;
  index.refresh();
  const buckets = index.mask + 1;
  for (let bucket = 0; bucket < buckets; bucket++) {
    const length = index.chainLength(bucket);
    if (length > 0) used++;
    if (length > longest) longest = length;
  }
  const { stats } = counts;
  const more = sumOfCounts(counts.batches);
  const lookups = sumStat(stats, STAT.lookups) + more.lookups;
  const misses = sumStat(stats, STAT.misses);
  const extraProbes = sumStat(stats, STAT.extraProbes) + more.extraProbes;
  return {
    size,
    capacity,
    buckets,
    bucketUsage: used,
    maxChainLength: longest,
    averageChainLength: used === 0 ? 0 : size / used,
    lookups,
    hits: lookups - misses,
    misses,
    collisions: sumStat(stats, STAT.collisions) + more.collisions,
    averageProbes: lookups === 0 ? 0 : 1 + extraProbes / lookups,
    inserts: sumStat(stats, STAT.inserts),
    deletes: sumStat(stats, STAT.deletes),
    full: sumStat(stats, STAT.full),
    dropped: sumStat(stats, STAT.dropped),
    expired: sumStat(stats, STAT.expired),
  };
}
