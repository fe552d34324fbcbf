import type { BucketIndex } from "./bucket-index.ts";
import { STAT, sumStat } from "./flow-table-layout.ts";
import type { HashStats } from "./flow-table-layout.ts";

/** The figures of a table, from the counts of its CPUs and a walk over its buckets. */
export function hashStats(counts: Float64Array, index: BucketIndex, size: number, capacity: number): HashStats {
  let used = 0;
  let longest = 0;
  index.refresh();
  const buckets = index.mask + 1;
  for (let bucket = 0; bucket < buckets; bucket++) {
    const length = index.chainLength(bucket);
    if (length > 0) used++;
    if (length > longest) longest = length;
  }
  const lookups = sumStat(counts, STAT.lookups);
  const misses = sumStat(counts, STAT.misses);
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
    collisions: sumStat(counts, STAT.collisions),
    averageProbes: lookups === 0 ? 0 : 1 + sumStat(counts, STAT.extraProbes) / lookups,
    inserts: sumStat(counts, STAT.inserts),
    deletes: sumStat(counts, STAT.deletes),
    full: sumStat(counts, STAT.full),
    dropped: sumStat(counts, STAT.dropped),
    expired: sumStat(counts, STAT.expired),
  };
}
