import { PADDING_BYTES } from "@x/smp";
import type { CpuId, Hal } from "@x/smp";
import { PerfCacheError } from "./errors.ts";

/*
 * One buffer, Int32 words:
 *
 *   | shared line | CPU 0 line | CPU 1 line | … | sets of CPU 0 | sets of CPU 1 | …
 *
 *   shared line   0: epoch of all, Atomics    1: sets in use minus 1, Atomics; read plainly, a moment old does no harm
 *   CPU line      0: epoch of the CPU         doubles 1..: hits, misses, stale, insertions, evictions
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
}

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

export function assertPowerOfTwo(name: string, value: number, least: number, most: number): void {
  if (Number.isInteger(value) && value >= least && value <= most && (value & (value - 1)) === 0) return;
  throw new PerfCacheError(
    "PERF_CACHE_INVALID_ARGUMENT",
    `${name} is ${value}; a power of two from ${least} to ${most} is needed`,
  );
}
