import type { HashStats } from "@x/perf-cache";
import type { SlabStats } from "@x/slab";
import type { CpuStatistics } from "./statistics.ts";

const BANNER = "========== MUTEX Performance Statistics ==========";
const RULE = "=".repeat(50);

/** Truncated, as kernel code without floating point prints it. */
function percent(hits: number, misses: number): number {
  return hits + misses === 0 ? 0 : Math.floor((hits * 100) / (hits + misses));
}

function cacheText(statistics: CpuStatistics): string {
  const { cacheHits: hits, cacheMisses: misses } = statistics;
  return `hits=${hits}, misses=${misses}, hit_rate=${percent(hits, misses)}%`;
}

function packetText(statistics: CpuStatistics): string {
  return `packets=${statistics.packetsProcessed}, bytes=${statistics.bytesProcessed}, dropped=${statistics.packetsDropped}`;
}

/** The report the original module writes to the kernel log: CPUs that saw packets, totals, cache, hash table, memory. */
export function formatStatistics(
  cpus: readonly CpuStatistics[],
  total: CpuStatistics,
  hash: HashStats,
  memory: SlabStats,
): string {
  const lines = [BANNER];
  for (const [cpu, statistics] of cpus.entries()) {
    if (statistics.packetsProcessed === 0) continue;
    lines.push(
      `CPU ${cpu}: ${packetText(statistics)}, ${cacheText(statistics).replace("hits", "cache_hits").replace("misses", "cache_misses")}`,
    );
  }
  const average = hash.averageChainLength.toFixed(3);
  lines.push(
    `Total: ${packetText(total)}`,
    `Cache: ${cacheText(total)}`,
    `Hash table: lookups=${hash.lookups}, collisions=${hash.collisions}, max_chain=${hash.maxChainLength}, avg_chain=${average}`,
    `Conn pool: alloc=${memory.allocFast + memory.allocSlow}, free=${memory.freeFast + memory.freeSlow}, peak=${memory.peak}`,
    RULE,
  );
  return lines.join("\n");
}
