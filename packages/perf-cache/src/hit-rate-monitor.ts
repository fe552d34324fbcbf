import type { ConnectionCache } from "./connection-cache.ts";
import { PerfCacheError } from "./errors.ts";

/** Below this the original said «consider increasing cache size». */
const DEFAULT_THRESHOLD = 0.8;
const DEFAULT_LOOKUPS = 10_000;

/**
 * What a {@link HitRateMonitor} says.
 *
 * @public
 */
export interface LowHitRate {
  /** hits ÷ look-ups of all CPUs since the last judgement. */
  readonly hitRate: number;
  readonly lookups: number;
  readonly threshold: number;
  /** Entries of each CPU at the time. */
  readonly entries: number;
  /** What the cache was made to have because of it; as `entries` when it stays as it is. */
  readonly entriesNow: number;
}

/**
 * Options of {@link HitRateMonitor}.
 *
 * @public
 */
export interface HitRateMonitorOptions {
  /** Warn below this, 0 to 1. Default 0.8. */
  readonly threshold?: number;
  /** Judge after so many look-ups, not before. Default 10 000. */
  readonly lookups?: number;
  /** Double the cache, up to its `maxEntries`, when the rate is low. Default false. */
  readonly grow?: boolean;
  /** Called when the rate is low. */
  readonly onLow?: (report: LowHitRate) => void;
}

/**
 * Watches the hit rate of a {@link ConnectionCache}. Nothing happens by itself: call {@link HitRateMonitor.check} now and then.
 *
 * Thread-safety: one thread; which one does not matter. Cost of `check`: two loads a CPU.
 *
 * @public
 */
export class HitRateMonitor {
  readonly #cache: ConnectionCache;
  readonly #threshold: number;
  readonly #lookups: number;
  readonly #grow: boolean;
  readonly #onLow: ((report: LowHitRate) => void) | undefined;
  #hits: number;
  #misses: number;

  /** Throws `PERF_CACHE_INVALID_ARGUMENT`. */
  constructor(cache: ConnectionCache, options: HitRateMonitorOptions = {}) {
    const { threshold = DEFAULT_THRESHOLD, lookups = DEFAULT_LOOKUPS, grow = false, onLow } = options;
    if (!(threshold >= 0 && threshold <= 1) || !(lookups >= 1)) {
      throw new PerfCacheError(
        "PERF_CACHE_INVALID_ARGUMENT",
        "a threshold is 0 to 1, and judged after 1 look-up or more",
      );
    }
    this.#cache = cache;
    this.#threshold = threshold;
    this.#lookups = lookups;
    this.#grow = grow;
    this.#onLow = onLow;
    this.#hits = cache.hits();
    this.#misses = cache.misses();
  }

  /**
   * Judge the look-ups since the last judgement, if there were enough. What comes after a growth, which empties the caches, is
   * judged by itself.
   *
   * @returns the report that `onLow` got; undefined when all is well or it is too early.
   */
  check(): LowHitRate | undefined {
    const cache = this.#cache;
    const hits = cache.hits() - this.#hits;
    const misses = cache.misses() - this.#misses;
    const reset = hits < 0 || misses < 0;
    if (!reset && hits + misses < this.#lookups) return undefined;
    this.#hits += hits;
    this.#misses += misses;
    const hitRate = hits / (hits + misses);
    if (reset || hitRate >= this.#threshold) return undefined;
    const { entries } = cache;
    if (this.#grow && entries < cache.handle.maxEntries) cache.resize(entries * 2);
    const report = {
      hitRate,
      lookups: hits + misses,
      threshold: this.#threshold,
      entries,
      entriesNow: cache.entries,
    };
    this.#onLow?.(report);
    return report;
  }
}
