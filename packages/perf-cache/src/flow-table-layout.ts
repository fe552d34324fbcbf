import { PADDING_BYTES } from "@x/smp";
import type { Hal, LockObserver, SpinLocksHandle } from "@x/smp";
import type { Rcu } from "@x/rcu";
import type { KmemCacheHandle, PageSource, SharedPagesHandle } from "@x/slab";
import { PerfCacheError } from "./errors.ts";
import { FLOW_KEY_WORDS } from "./flow-key.ts";

/*
 * Control memory of a table, doubles; a padded line each:
 *
 *   | size (Int32, Atomics) | CPU 0: counts, limbo | CPU 1 | …       each CPU's line is written by that CPU alone
 */
export const SIZE_WORD = 0;
export const STATS_STRIDE: number = PADDING_BYTES / 8;
/**
 * Doubles of a CPU's line. `extraProbes` counts the entries read beyond one a look-up (an empty bucket is -1), so that the
 * common look-up touches one counter. `limbo` is the head of its list of entries that wait for room in the callback ring; it comes last and is no count.
 */
export const STAT = {
  lookups: 0,
  misses: 1,
  extraProbes: 2,
  collisions: 3,
  inserts: 4,
  deletes: 5,
  full: 6,
  limbo: 7,
} as const;
/** Doubles of the control memory. */
export const statsDoubles = (cpus: number): number => (cpus + 1) * STATS_STRIDE;

/** Words of an entry; see flow-table.ts for who writes them. */
export const ENTRY = { next: 0, hash: 1, generation: 2, value: 3, limbo: 4, key: 5 } as const;
/** An entry is a cache line or several. */
export const ENTRY_BYTES_MIN = 64;
const MAX_KEY_WORDS = 64;
const MAX_CAPACITY = 2 ** 24;
const DEFAULT_STRIPES = 64;
const MAX_STRIPES = 4096;
/** Free entries that CPUs may hold in magazines, each; see the defaults of `KmemCache`. */
const MAGAZINE_OBJECTS_PER_CPU = 5 * 64;

/**
 * What happens inside a table. Called by the CPU that does it, with no lock held. Offsets are into `table.buffer`.
 *
 * @public
 */
export interface FlowTableObserver {
  /** A look-up reads the head at `bucketOffset`. */
  onBucket?(bucketOffset: number): void;
  /** A look-up reads the entry at `entryOffset`. */
  onProbe?(entryOffset: number): void;
  onInsert?(entry: number): void;
  onDelete?(entry: number): void;
}

/**
 * Options of {@link FlowTable.create}.
 *
 * @public
 */
export interface FlowTableOptions extends FlowTableAttachOptions {
  /** Flows the table may hold, 1 to 2^24. */
  readonly capacity: number;
  /** Words of a key, 1 to 64. Default {@link FLOW_KEY_WORDS}. */
  readonly keyWords?: number;
  /** Buckets; rounded up to a power of two. Default: twice `capacity`, so that most chains have one entry. */
  readonly buckets?: number;
  /** Locks over the buckets; rounded up to a power of two, 1 to 4096. Default 64. */
  readonly stripes?: number;
  /** Memory node of each CPU: new entries come from the node of the CPU that inserts. */
  readonly nodeOfCpu?: readonly number[];
}

/**
 * Options of {@link FlowTable.attach}.
 *
 * @public
 */
export interface FlowTableAttachOptions {
  readonly hal?: Hal;
  /** Waits for readers before an entry is reused. Needed with more than one CPU; without it entries are reused at once. */
  readonly rcu?: Pick<Rcu, "tryCall"> | undefined;
  /** Where buckets and entries live. Default: an arena of its own. */
  readonly pages?: PageSource;
  readonly observer?: FlowTableObserver | undefined;
  readonly lockObserver?: LockObserver | undefined;
}

/**
 * What joins a {@link FlowTable} from another thread.
 *
 * @public
 */
export interface FlowTableHandle {
  readonly capacity: number;
  readonly keyWords: number;
  readonly buckets: number;
  readonly stripes: number;
  readonly bucketOffset: number;
  readonly bucketOrder: number;
  readonly control: SharedArrayBuffer;
  readonly locks: SpinLocksHandle;
  readonly entries: KmemCacheHandle;
  readonly pages?: SharedPagesHandle;
}

/**
 * Figures of a table. Counts are since the last reset, over all CPUs; the chains are as they are now.
 *
 * @public
 */
export interface HashStats {
  readonly size: number;
  readonly capacity: number;
  readonly buckets: number;
  /** Buckets that are not empty. */
  readonly bucketUsage: number;
  /** Entries of the longest chain. */
  readonly maxChainLength: number;
  /** Mean length of the chains that are not empty: size ÷ bucketUsage. 0 for an empty table. */
  readonly averageChainLength: number;
  readonly lookups: number;
  readonly hits: number;
  readonly misses: number;
  /** Look-ups that read more than one entry. */
  readonly collisions: number;
  /** Mean number of entries a look-up read. */
  readonly averageProbes: number;
  readonly inserts: number;
  readonly deletes: number;
  /** Insertions refused because the table was full. */
  readonly full: number;
}

interface TablePlan {
  readonly capacity: number;
  readonly keyWords: number;
  readonly buckets: number;
  readonly stripes: number;
}

function inRange(name: string, value: number, most: number): number {
  if (Number.isInteger(value) && value >= 1 && value <= most) return value;
  throw new PerfCacheError("PERF_CACHE_INVALID_ARGUMENT", `${name} is ${value}; 1 to ${most} are possible`);
}

const powerOfTwo = (value: number): number => 2 ** Math.ceil(Math.log2(value));

/** Check and complete the sizes of a table. Throws `PERF_CACHE_INVALID_ARGUMENT`. */
export function planTable(options: FlowTableOptions): TablePlan {
  const capacity = inRange("capacity", options.capacity, MAX_CAPACITY);
  const keyWords = inRange("keyWords", options.keyWords ?? FLOW_KEY_WORDS, MAX_KEY_WORDS);
  const buckets = powerOfTwo(inRange("buckets", options.buckets ?? 2 * capacity, 2 * MAX_CAPACITY));
  const stripes = powerOfTwo(inRange("stripes", options.stripes ?? DEFAULT_STRIPES, MAX_STRIPES));
  // A stripe is a set of whole buckets, so there are at most as many stripes as buckets.
  return { capacity, keyWords, buckets, stripes: Math.min(stripes, buckets) };
}

/** Bytes that hold the buckets and the entries: those in use, those in magazines, and some that wait for readers. */
export function ownArenaBytes(plan: TablePlan, cpus: number): number {
  const entryBytes = powerOfTwo(Math.max(ENTRY_BYTES_MIN, plan.keyWords * 4 + 20));
  const entries = plan.capacity * 1.25 + cpus * MAGAZINE_OBJECTS_PER_CPU + 64;
  return plan.buckets * 8 + Math.ceil(entries * entryBytes * 1.1) + 65536;
}

/** One count over all CPUs. */
export function sumStat(stats: Float64Array, stat: number): number {
  let sum = 0;
  for (let at = STATS_STRIDE + stat; at < stats.length; at += STATS_STRIDE) sum += stats[at];
  return sum;
}

/** Set the counts of all CPUs to 0, and nothing else. */
export function resetStats(stats: Float64Array): void {
  for (let base = STATS_STRIDE; base < stats.length; base += STATS_STRIDE) stats.fill(0, base, base + STAT.limbo);
}
