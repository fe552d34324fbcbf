/**
 * What happens to pages. Called by the thread that did it, after the zone's lock is free.
 *
 * @public
 */
export interface PageObserver {
  /** A block was allocated from `node`; `wantedNode` is the one that was asked for. */
  onAlloc?(offset: number, order: number, node: number, wantedNode: number): void;
  onFree?(offset: number, order: number, node: number): void;
}

/**
 * Counters of one node, as Linux's numastat defines them (Documentation/admin-guide/numastat.rst).
 *
 * @public
 */
export interface NumaStats {
  /** Allocations served here that were wanted here. */
  readonly numaHit: number;
  /** Allocations served here although another node was wanted. */
  readonly numaMiss: number;
  /** Allocations wanted here but served by another node. */
  readonly numaForeign: number;
  /** Interleaved allocations served here when it was this node's turn. */
  readonly interleaveHit: number;
  /** Allocations served here for a CPU of this node. */
  readonly localNode: number;
  /** Allocations served here for a CPU of another node. */
  readonly otherNode: number;
}

/** Order of the counters inside a node's group of slots. */
export const STAT_NAMES: readonly (keyof NumaStats)[] = [
  "numaHit",
  "numaMiss",
  "numaForeign",
  "interleaveHit",
  "localNode",
  "otherNode",
];

export const NUMA_HIT = 0;
export const NUMA_MISS = 1;
export const NUMA_FOREIGN = 2;
export const INTERLEAVE_HIT = 3;
export const LOCAL_NODE = 4;
export const OTHER_NODE = 5;
