import { PADDING_BYTES } from "@x/smp";
import type { Hal, LockObserver, SpinLocksHandle } from "@x/smp";
import type { Rcu } from "@x/rcu";
import type { KmemCacheHandle, PageSource, SharedPagesHandle } from "@x/slab";
import { PerfCacheError } from "./errors.ts";
import { FLOW_KEY_WORDS } from "./flow-key.ts";

/*
 * Control memory of a table; padded lines, Int32 words by Atomics, then a line a CPU:
 *
 *   | size | mask, segments of heads | growth | CPU 0: counts, limbo, hand, marking | CPU 1 | …
 *
 * The size is written by every insertion, the growth while there is one, mask and segments once a growth, each CPU's line by
 * that CPU alone.
 */
const LINE = PADDING_BYTES / 4;
export const CONTROL: Readonly<Record<"size" | "mask" | "segments" | "cursor" | "growth", number>> = {
  size: 0,
  /** Buckets minus 1. */
  mask: LINE,
  /** Offsets of the segments of heads: the first, and one for each doubling from 1 to 2^25 buckets. */
  segments: LINE + 1,
  /** The next bucket that gets its mark, and the CPU that adds buckets; see bucket-index.ts. */
  cursor: 2 * LINE,
  growth: 2 * LINE + 1,
};
const CONTROL_LINES = 3;
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
  dropped: 7,
  expired: 8,
  limbo: 9,
} as const;
/** The first double of a CPU's line. */
export const statsBase = (cpu: number): number => (cpu + CONTROL_LINES) * STATS_STRIDE;
/**
 * Words behind the doubles of a CPU's line, written by that CPU alone, plainly but for `marking`. They tell those who outlive its
 * thread what it was about: see dead-cpu.ts and bucket-index.ts.
 */
const WORDS_OF_CPU = statsBase(0) * 2 + (STAT.limbo + 1) * 2;
export const handWord = (cpu: number): number => WORDS_OF_CPU + cpu * LINE;
export const markingWord = (cpu: number): number => WORDS_OF_CPU + cpu * LINE + 1;
/** Doubles of the control memory. */
export const statsDoubles = (cpus: number): number => statsBase(cpus);

/** The link behind the last entry of a list: the mark of bucket 0, which has none, since every list begins at a first bucket. */
export const END = 1;

/** Words of an entry; see flow-table.ts for who writes them. */
export const ENTRY = { next: 0, hash: 1, generation: 2, value: 3, expiry: 4, timer: 5, key: 6 } as const;
/** An entry is a cache line or several. */
export const ENTRY_BYTES_MIN = 64;
const MAX_KEY_WORDS = 64;
const MAX_CAPACITY = 2 ** 24;
const FIRST_BUCKETS = 1024;
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
  /**
   * Words of a key, 1 to 64, which may hold anything. Default: keys are flow keys, of {@link FLOW_KEY_WORDS}, as {@link writeIpv4Key} and
   * {@link writeIpv6Key} write them; in those of IPv4 the words that are always 0 are neither hashed nor compared.
   */
  readonly keyWords?: number;
  /** Buckets to begin with; rounded up to a power of two. Default: twice `capacity`, at most 1024. */
  readonly buckets?: number;
  /**
   * Buckets the table may grow to; rounded up to a power of two. It doubles them, a few with each insertion, when there are more than half as
   * many flows. Default: twice `capacity`, so that most chains have one entry.
   */
  readonly maxBuckets?: number;
  /** Locks over the buckets; rounded up to a power of two, 1 to 4096. Default 64. */
  readonly stripes?: number;
  /**
   * How {@link FlowTable.hash} hashes. `siphash-1-3` (default) is keyed: nobody outside can choose keys that share a bucket.
   * `jhash` is {@link hashTuple}, a little cheaper and open to attack; keys must be flow keys.
   */
  readonly hash?: FlowHash;
  /** The secret of `siphash-1-3`, four words. Default: drawn from `crypto.getRandomValues`. Give one where runs must repeat. */
  readonly hashKey?: readonly number[];
  /** With it, flows expire: see {@link FlowTable.expire}. */
  readonly expiry?: FlowExpiryOptions;
  /** What an insertion into a full table does. Default `refuse`. `drop-oldest-unreplied` needs `expiry`. */
  readonly whenFull?: "refuse" | "drop-oldest-unreplied";
  /** Memory node of each CPU: new entries come from the node of the CPU that inserts. */
  readonly nodeOfCpu?: readonly number[];
  /**
   * Look up flow keys by WebAssembly, which takes about half the time, where there is any and the table has neither `pages` nor an observer.
   * Default true. False: every access to the table is one of JavaScript's, for tools that watch those.
   */
  readonly webAssembly?: boolean;
}

/**
 * Hashes a {@link FlowTable} can make of its keys.
 *
 * @public
 */
export type FlowHash = "siphash-1-3" | "jhash";

/**
 * When flows expire. A flow is in one of up to 16 states, as its protocol has it; {@link FlowTable.touch} sets it.
 *
 * @public
 */
export interface FlowExpiryOptions {
  /** How long a flow may be silent, by state, in milliseconds. */
  readonly timeoutsMs: readonly number[];
  /** States in which no answer was seen yet: what `drop-oldest-unreplied` may drop. Default `[0]`. */
  readonly unrepliedStates?: readonly number[];
  /** Step of the timing wheel in milliseconds. Default 1000. */
  readonly tickMs?: number;
  /** What the clock of the caller says now, in milliseconds: every later time is to be after it. Default 0. */
  readonly startMs?: number;
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
  /** Where buckets and entries live. Default: an arena of its own, which makes look-ups by WebAssembly possible. */
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
  /** Whether keys are flow keys, not any words. */
  readonly flowKeys: boolean;
  /** Buckets to begin with. */
  readonly buckets: number;
  readonly maxBuckets: number;
  readonly stripes: number;
  /** Empty: jhash. */
  readonly hashKey: readonly number[];
  readonly expiry?: FlowExpiryHandle;
  readonly control: SharedArrayBuffer;
  /** The newest generation of each stripe. */
  readonly publications: SharedArrayBuffer;
  readonly locks: SpinLocksHandle;
  readonly entries: KmemCacheHandle;
  readonly pages?: SharedPagesHandle;
  readonly lookups?: FlowLookupsHandle;
}

/**
 * What a {@link FlowTableHandle} has for look-ups by WebAssembly.
 *
 * @public
 */
export interface FlowLookupsHandle {
  /** The `WebAssembly.Memory` that is the table's arena. */
  readonly memory: object;
  /** Byte offset of what look-ups have in it besides the table. */
  readonly at: number;
  /** Its pages, as a power of two. */
  readonly order: number;
}

/**
 * The timing wheel of a {@link FlowTableHandle}.
 *
 * @public
 */
export interface FlowExpiryHandle {
  readonly timeoutsMs: readonly number[];
  readonly unrepliedStates: number;
  readonly tickMs: number;
  readonly dropsUnreplied: boolean;
  readonly wheel: SharedArrayBuffer;
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
  /** Flows dropped to make room. */
  readonly dropped: number;
  /** Flows that timed out. */
  readonly expired: number;
}

/** The sizes of a table. */
export interface TablePlan {
  readonly capacity: number;
  readonly keyWords: number;
  readonly flowKeys: boolean;
  readonly buckets: number;
  readonly maxBuckets: number;
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
  const wanted = options.buckets ?? Math.min(FIRST_BUCKETS, 2 * capacity);
  const buckets = powerOfTwo(inRange("buckets", wanted, 2 * MAX_CAPACITY));
  const most = options.maxBuckets ?? Math.max(buckets, 2 * capacity);
  const maxBuckets = powerOfTwo(inRange("maxBuckets", most, 2 * MAX_CAPACITY));
  const stripes = powerOfTwo(inRange("stripes", options.stripes ?? DEFAULT_STRIPES, MAX_STRIPES));
  // A stripe is a set of whole lists, so there are at most as many stripes as first buckets.
  return {
    capacity,
    keyWords,
    flowKeys: options.keyWords === undefined,
    buckets,
    maxBuckets: Math.max(buckets, maxBuckets),
    stripes: Math.min(stripes, buckets),
  };
}

/** Bytes that hold the buckets and the entries: those in use, those in magazines, and some that wait for readers. */
export function ownArenaBytes(plan: TablePlan, cpus: number): number {
  const entryBytes = powerOfTwo(Math.max(ENTRY_BYTES_MIN, (ENTRY.key + plan.keyWords) * 4));
  const entries = plan.capacity * 1.25 + cpus * MAGAZINE_OBJECTS_PER_CPU + 64;
  return plan.maxBuckets * 8 + Math.ceil(entries * entryBytes * 1.1) + 65536;
}

/** One count over all CPUs. */
export function sumStat(stats: Float64Array, stat: number): number {
  let sum = 0;
  for (let at = statsBase(0) + stat; at < stats.length; at += STATS_STRIDE) sum += stats[at];
  return sum;
}

/** Set the counts of all CPUs to 0, and nothing else. */
export function resetStats(stats: Float64Array): void {
  for (let base = statsBase(0); base < stats.length; base += STATS_STRIDE) stats.fill(0, base, base + STAT.limbo);
}
