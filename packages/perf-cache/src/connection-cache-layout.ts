import { PADDING_BYTES } from "@x/smp";
import type { CpuId, Hal } from "@x/smp";
import { PerfCacheError } from "./errors.ts";
import type { FlowTable } from "./flow-table.ts";

/*
 * One buffer of its own, or a part of the table's memory; Int32 words:
 *
 *   | shared line | CPU 0 line | CPU 1 line | … | sets of CPU 0 | sets of CPU 1 | …
 *
 *   shared line   0: epoch of all, Atomics    1: sets in use minus 1, Atomics; read plainly, a moment old does no harm
 *   CPU line      0: epoch of the CPU         doubles 1..: hits, misses, stale, insertions, evictions
 *                 for cache-code.ts, constant: the addresses of the CPU's sets and of the shared line
 *   set           0: epoch  1: pseudo-LRU state  then the ways' tags, four a word, their entries, their generations
 *                 (with 4 ways 44 bytes, which are in one cache line although the buffers of V8 begin 16 bytes behind the start of one)
 *
 * A tag is some bits of the hash and one that says that the way is not empty: four are compared at once, where whole hashes
 * would have to be loaded and compared one by one.
 *
 * CPU lines and sets are written by their CPU alone, plainly. A set is empty unless its epoch is the sum of the two epochs,
 * which only grows: emptying a cache is adding 1.
 *
 * Nothing here is trusted: a hit is one only if the table says that the entry still has the generation under which it was
 * remembered, and the whole key.
 */
export const LINE_WORDS: number = PADDING_BYTES / 4;
export const EPOCH_OF_ALL = 0;
export const SET_MASK = 1;
export const SET_EPOCH = 0;
export const SET_STATE = 1;
export const SET_TAGS = 2;
/** With 4 ways: entries, generations, and the size of a set as a power of two. */
export const SET_ENTRIES_4 = 3;
export const SET_GENERATIONS_4 = 7;
export const SET_SHIFT_4 = 6;
/** Words of a CPU line behind its counts. */
export const LINE_SETS = 12;
export const LINE_SHARED = 13;
/**
 * The tag of a hash: the bits from `shift` on of its product with `spread`, and `occupied`; times `bytes`, in every byte of a word. `spread` is 2^32
 * divided by the golden ratio: the high bits of a product depend on all of the other factor. `lowBits`: of each byte all but the top bit.
 */
export const TAG = {
  spread: 0x9e3779b1,
  shift: 25,
  occupied: 0x80,
  bytes: 0x01010101,
  lowBits: 0x7f7f7f7f,
} as const;
export const MAX_WAYS = 16;
export const MAX_ENTRIES: number = 2 ** 20;

/** Doubles of a CPU line; double 0 is the epoch word. */
export const COUNT: Readonly<Record<"hits" | "misses" | "stale" | "insertions" | "evictions", number>> = {
  hits: 1,
  misses: 2,
  stale: 3,
  insertions: 4,
  evictions: 5,
};

/**
 * What happens inside a {@link ConnectionCache}.
 *
 * @public
 */
export interface ConnectionCacheObserver {
  /** `cpu` reads the set at `setOffset`, an offset into the cache's buffer. */
  onProbe?(cpu: CpuId, setOffset: number): void;
}

/**
 * Options of {@link ConnectionCache.create}.
 *
 * @public
 */
export interface ConnectionCacheOptions {
  readonly hal?: Hal;
  /** Entries of each CPU, a power of two. Default 1024. */
  readonly entries?: number;
  /** Largest size {@link ConnectionCache.resize} may give. Default: the larger of `entries` and 4096. */
  readonly maxEntries?: number;
  /** Entries of a set, a power of two from 1 to 16. Default 4. */
  readonly ways?: number;
  /**
   * The table it will stand in front of, and no other. With 4 ways and no observer, where look-ups of the table are WebAssembly's, the cache lies in
   * the memory of the table, and a look-up through it is one call, which on a hit costs less than half of one without it. Up to 64 MiB a table.
   */
  readonly table?: FlowTable | undefined;
  readonly observer?: ConnectionCacheObserver | undefined;
}

/**
 * What joins a {@link ConnectionCache} from another thread.
 *
 * @public
 */
export interface ConnectionCacheHandle {
  readonly possibleCpus: number;
  readonly maxEntries: number;
  readonly ways: number;
  readonly memory: SharedArrayBuffer;
  /** Where in the memory it begins, in bytes; above 0 in the memory of a table. */
  readonly at: number;
}

/**
 * Options of {@link ConnectionCache.attach}.
 *
 * @public
 */
export type ConnectionCacheAttachOptions = Pick<ConnectionCacheOptions, "hal" | "observer" | "table">;

/**
 * Figures of a {@link ConnectionCache}.
 *
 * @public
 */
export interface ConnectionCacheStats {
  readonly hits: number;
  readonly misses: number;
  /** hits ÷ (hits + misses), 0 before the first look-up. */
  readonly hitRate: number;
  /** Misses that found an entry which had left the table. */
  readonly stale: number;
  readonly insertions: number;
  /** Insertions that replaced a remembered entry: the conflicts of full sets. */
  readonly evictions: number;
}

/** Words of the tags of a set. */
export const tagWords = (ways: number): number => Math.ceil(ways / 4);

/** Words of a set, rounded up to half cache lines. */
export function setWords(ways: number): number {
  return Math.ceil((SET_TAGS + tagWords(ways) + ways * 2) / 8) * 8;
}

/** Words of all of a cache. */
export const cacheWords = (handle: Pick<ConnectionCacheHandle, "possibleCpus" | "maxEntries" | "ways">): number =>
  LINE_WORDS * (1 + handle.possibleCpus) + handle.possibleCpus * cpuSetsWords(handle);

/** Words of the sets of one CPU. */
export const cpuSetsWords = (handle: Pick<ConnectionCacheHandle, "maxEntries" | "ways">): number =>
  (handle.maxEntries / handle.ways) * setWords(handle.ways);

export function assertPowerOfTwo(name: string, value: number, least: number, most: number): void {
  if (Number.isInteger(value) && value >= least && value <= most && (value & (value - 1)) === 0) return;
  throw new PerfCacheError(
    "PERF_CACHE_INVALID_ARGUMENT",
    `${name} is ${value}; a power of two from ${least} to ${most} is needed`,
  );
}
