import { soloHal } from "@x/smp";
import { PerfCacheError } from "./errors.ts";
import { pseudoLru } from "./pseudo-lru.ts";

/*
 * The structure of the connection cache over ordinary values, for one thread:
 *
 *   keys     | set 0: way 0, 1, 2, 3 | set 1 … |     values and deadlines in the same order
 *   states   | set 0 | set 1 | …                     pseudo-LRU in bits 0 to 2, occupied ways in bits 4 to 7
 */
const WAYS = 4;
const WAY_BITS = 2;
const OCCUPIED_SHIFT = 4;
const ALL_WAYS = 15;
const LEAST_ENTRIES = 8;
const MOST_ENTRIES = 2 ** 24;
/** 2^32 divided by the golden ratio: neighbours part, and the high bits depend on all. */
const SPREAD = 0x9e3779b1 | 0;

const host = soloHal();
const hostClockMs = (): number => host.now() / 1e6;

const { keep: KEEP, set: USED, victim: VICTIM } = pseudoLru(WAYS);

/**
 * Options of {@link FastCache.create}.
 *
 * @public
 */
export interface FastCacheOptions {
  /** Entries it holds, a power of two from 8 to 2^24. */
  readonly entries: number;
  /** How long an entry is served after it was set, in milliseconds. Default: for ever. */
  readonly ttlMs?: number;
  /** The clock of the times to live, in milliseconds. Default: the host's. Not called where nothing has one. */
  readonly now?: () => number;
}

/**
 * Figures of a {@link FastCache}.
 *
 * @public
 */
export interface FastCacheStats {
  readonly size: number;
  readonly hits: number;
  readonly misses: number;
  /** hits ÷ (hits + misses), 0 before the first look-up. */
  readonly hitRate: number;
  /** Entries that made room for others. */
  readonly evictions: number;
  /** Look-ups that found an entry whose time was over. They are misses. */
  readonly expired: number;
}

/**
 * An ordinary cache: keys are 32-bit numbers, a hash for example, values anything. Each key can lie in four places; when they
 * are taken, the one used about longest ago makes room. So it never moves or links anything, which makes it faster than an exact
 * LRU cache, and it may drop an entry although others are older, or not all places are taken.
 *
 * Two keys that are the same 32-bit number are one key: use {@link TextCache} for strings, which tells them apart.
 *
 * Thread-safety: one thread. Cost: O(1), no allocation but for what `value` is.
 *
 * @public
 */
export class FastCache<Value> {
  /** Entries it holds. */
  readonly entries: number;
  readonly #shift: number;
  readonly #keys: Int32Array;
  readonly #states: Uint8Array;
  readonly #values: (Value | undefined)[];
  readonly #ttlMs: number;
  readonly #now: () => number;
  /** Empty as long as nothing has a time to live. */
  #deadlines: Float64Array;
  #size = 0;
  #hits = 0;
  #misses = 0;
  #evictions = 0;
  #expired = 0;

  private constructor(options: FastCacheOptions) {
    const { entries, ttlMs = Infinity, now = hostClockMs } = options;
    this.entries = entries;
    this.#shift = 32 - Math.log2(entries / WAYS);
    this.#keys = new Int32Array(entries);
    this.#states = new Uint8Array(entries / WAYS);
    this.#values = Array.from({ length: entries }, () => undefined);
    this.#ttlMs = ttlMs;
    this.#now = now;
    this.#deadlines = new Float64Array(ttlMs === Infinity ? 0 : entries);
  }

  /** Make a cache. Throws `PERF_CACHE_INVALID_ARGUMENT`. */
  static create<Value>(options: FastCacheOptions): FastCache<Value> {
    const { entries, ttlMs = Infinity } = options;
    const power = Number.isInteger(entries) && (entries & (entries - 1)) === 0;
    if (!power || entries < LEAST_ENTRIES || entries > MOST_ENTRIES) {
      const range = `a power of two from ${LEAST_ENTRIES} to ${MOST_ENTRIES} is needed`;
      throw new PerfCacheError("PERF_CACHE_INVALID_ARGUMENT", `entries is ${entries}; ${range}`);
    }
    assertTimeToLive(ttlMs);
    return new FastCache(options);
  }

  /** Entries it has, those included whose time is over and that nobody has asked for since. */
  get size(): number {
    return this.#size;
  }

  /** The value of `key`, which counts as a use; undefined when there is none. */
  get(key: number): Value | undefined {
    const set = Math.imul(key, SPREAD) >>> this.#shift;
    const way = this.#wayOf(set, key | 0);
    if (way < 0) {
      this.#misses++;
      return undefined;
    }
    const at = (set << WAY_BITS) + way;
    if (this.#deadlines.length !== 0 && this.#isOver(set, way)) return undefined;
    this.#states[set] = (this.#states[set] & KEEP[way]) | USED[way];
    this.#hits++;
    return this.#values[at];
  }

  /** Give `key` a value, for `ttlMs` milliseconds if that is said. Another entry may make room. Throws `PERF_CACHE_INVALID_ARGUMENT`. */
  set(key: number, value: Value, ttlMs: number = this.#ttlMs): void {
    const set = Math.imul(key, SPREAD) >>> this.#shift;
    const wanted = key | 0;
    let way = this.#wayOf(set, wanted);
    if (way < 0) {
      way = this.#freeWay(set);
      this.#keys[(set << WAY_BITS) + way] = wanted;
    }
    this.#states[set] = (this.#states[set] & KEEP[way]) | USED[way] | (1 << (way + OCCUPIED_SHIFT));
    this.#values[(set << WAY_BITS) + way] = value;
    if (ttlMs !== Infinity || this.#deadlines.length !== 0) this.#setDeadline((set << WAY_BITS) + way, ttlMs);
  }

  /** Whether there was an entry of `key`; it is gone. */
  delete(key: number): boolean {
    const set = Math.imul(key, SPREAD) >>> this.#shift;
    const way = this.#wayOf(set, key | 0);
    if (way < 0) return false;
    this.#drop(set, way);
    return true;
  }

  /** Forget everything. The counts stay. */
  clear(): void {
    this.#states.fill(0);
    this.#values.fill(undefined);
    this.#size = 0;
  }

  stats(): FastCacheStats {
    const lookups = this.#hits + this.#misses;
    return {
      size: this.#size,
      hits: this.#hits,
      misses: this.#misses,
      hitRate: lookups === 0 ? 0 : this.#hits / lookups,
      evictions: this.#evictions,
      expired: this.#expired,
    };
  }

  /** Set the counts to 0. */
  resetStats(): void {
    this.#hits = this.#misses = this.#evictions = this.#expired = 0;
  }

  /** Which one matches cannot be predicted: all are compared, without branches. -1 when none does. */
  #wayOf(set: number, key: number): number {
    const keys = this.#keys;
    const at = set << WAY_BITS;
    const a = keys[at] ^ key;
    const b = keys[at + 1] ^ key;
    const c = keys[at + 2] ^ key;
    const d = keys[at + 3] ^ key;
    // The top bit of x | -x is 0 only where x is 0.
    const differ =
      (((a | -a) >>> 31) & 1) | (((b | -b) >>> 30) & 2) | (((c | -c) >>> 29) & 4) | (((d | -d) >>> 28) & 8);
    return 31 - Math.clz32(~differ & (this.#states[set] >>> OCCUPIED_SHIFT));
  }

  #freeWay(set: number): number {
    const state = this.#states[set];
    const free = ~(state >>> OCCUPIED_SHIFT) & ALL_WAYS;
    if (free !== 0) {
      this.#size++;
      return 31 - Math.clz32(free & -free);
    }
    this.#evictions++;
    return VICTIM[state & (2 ** (WAYS - 1) - 1)];
  }

  #isOver(set: number, way: number): boolean {
    const deadline = this.#deadlines[(set << WAY_BITS) + way];
    if (deadline === Infinity || this.#now() < deadline) return false;
    this.#drop(set, way);
    this.#expired++;
    this.#misses++;
    return true;
  }

  #setDeadline(at: number, ttlMs: number): void {
    assertTimeToLive(ttlMs);
    if (this.#deadlines.length === 0) this.#deadlines = new Float64Array(this.entries).fill(Infinity);
    this.#deadlines[at] = ttlMs === Infinity ? Infinity : this.#now() + ttlMs;
  }

  #drop(set: number, way: number): void {
    this.#states[set] &= ~(1 << (way + OCCUPIED_SHIFT));
    this.#values[(set << WAY_BITS) + way] = undefined;
    this.#size--;
  }
}

function assertTimeToLive(ttlMs: number): void {
  if (ttlMs > 0) return;
  throw new PerfCacheError("PERF_CACHE_INVALID_ARGUMENT", `a time to live of ${ttlMs} ms; it must be above 0`);
}

interface Labelled<Value> {
  readonly text: string;
  readonly value: Value;
}

/**
 * A {@link FastCache} with strings as keys. Strings whose hashes are the same displace each other and are never confused.
 *
 * Thread-safety: one thread. Cost: the hash, about 1 ns a character, and one object a `set`; a `Map` keeps the hashes of strings
 * and is faster for long ones.
 *
 * @public
 */
export class TextCache<Value> {
  readonly #cache: FastCache<Labelled<Value>>;

  private constructor(cache: FastCache<Labelled<Value>>) {
    this.#cache = cache;
  }

  /** Make a cache. Throws `PERF_CACHE_INVALID_ARGUMENT`. */
  static create<Value>(options: FastCacheOptions): TextCache<Value> {
    return new TextCache<Value>(FastCache.create(options));
  }

  get size(): number {
    return this.#cache.size;
  }

  /** {@link FastCache.get}. */
  get(text: string): Value | undefined {
    const found = this.#cache.get(hashText(text));
    return found !== undefined && found.text === text ? found.value : undefined;
  }

  /** {@link FastCache.set}. */
  set(text: string, value: Value, ttlMs?: number): void {
    this.#cache.set(hashText(text), { text, value }, ttlMs);
  }

  /** {@link FastCache.delete}. */
  delete(text: string): boolean {
    return this.get(text) !== undefined && this.#cache.delete(hashText(text));
  }

  /** {@link FastCache.clear}. */
  clear(): void {
    this.#cache.clear();
  }

  /** {@link FastCache.stats}; a look-up that found a string of the same hash counts as a hit. */
  stats(): FastCacheStats {
    return this.#cache.stats();
  }
}

/**
 * A 32-bit hash of a string: FNV-1a over its UTF-16 units. Not keyed: who chooses the strings can make them collide.
 *
 * @returns a signed 32-bit integer; `>>> 0` makes it unsigned.
 *
 * @public
 */
export function hashText(text: string): number {
  let hash = 0x811c9dc5 | 0;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return hash;
}
