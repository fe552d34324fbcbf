import { PADDING_BYTES, soloHal } from "@x/smp";
import type { CpuId, Hal } from "@x/smp";
import { PerfCacheError } from "./errors.ts";
import type { FlowTable } from "./flow-table.ts";
import { pseudoLru } from "./pseudo-lru.ts";

/*
 * One buffer, Int32 words:
 *
 *   | shared line | CPU 0 line | CPU 1 line | … | sets of CPU 0 | sets of CPU 1 | …
 *
 *   shared line   0: epoch of all, Atomics    1: sets in use minus 1, Atomics; read plainly, a moment old does no harm
 *   CPU line      0: epoch of the CPU         doubles 1..: hits, misses, stale, insertions, evictions
 *   set           0: epoch  1: pseudo-LRU state  2, 3: spare  then the ways' hashes, then per way: entry, generation
 *                 (with 4 ways a cache line)
 *
 * CPU lines and sets are written by their CPU alone, plainly. A set is empty unless its epoch is the sum of the two epochs,
 * which only grows: emptying a cache is adding 1.
 *
 * Nothing here is trusted: a hit is one only if the table says that the entry still has the generation under which it was
 * remembered, and the whole key.
 */
const LINE_WORDS = PADDING_BYTES / 4;
const EPOCH_OF_ALL = 0;
const SET_MASK = 1;
const SET_EPOCH = 0;
const SET_STATE = 1;
const SET_WAYS = 4;
const WAY_WORDS = 3;
const MAX_WAYS = 16;
const MAX_ENTRIES = 2 ** 20;

/** Doubles of a CPU line; double 0 is the epoch word. */
const COUNT = { hits: 1, misses: 2, stale: 3, insertions: 4, evictions: 5 } as const;

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

/**
 * A small cache of table entries in front of a {@link FlowTable}, one per CPU: set associative, pseudo-LRU.
 *
 * Thread-safety: one instance per thread; every CPU reads and writes its own part only, without atomics. Entries are
 * verified by the table on every hit, so deleting a flow needs no message to other CPUs.
 *
 * @public
 */
export class ConnectionCache {
  readonly handle: ConnectionCacheHandle;
  readonly buffer: SharedArrayBuffer;
  readonly ways: number;
  readonly #hal: Hal;
  readonly #words: Int32Array;
  readonly #counts: Float64Array;
  readonly #observer: ConnectionCacheObserver | undefined;
  readonly #ways: number;
  readonly #keep: Int32Array;
  readonly #used: Int32Array;
  readonly #victim: Uint8Array;
  readonly #setWords: number;
  readonly #cpuSetsWords: number;
  readonly #setsBase: number;

  private constructor(handle: ConnectionCacheHandle, hal: Hal, observer: ConnectionCacheObserver | undefined) {
    this.handle = handle;
    this.buffer = handle.memory;
    this.ways = handle.ways;
    this.#hal = hal;
    this.#words = new Int32Array(handle.memory);
    this.#counts = new Float64Array(handle.memory);
    this.#observer = observer;
    this.#ways = handle.ways;
    const lru = pseudoLru(handle.ways);
    this.#keep = lru.keep;
    this.#used = lru.set;
    this.#victim = lru.victim;
    this.#setWords = setWords(handle.ways);
    this.#cpuSetsWords = (handle.maxEntries / handle.ways) * this.#setWords;
    this.#setsBase = LINE_WORDS * (1 + handle.possibleCpus);
  }

  /** Make the caches of all CPUs. Throws `PERF_CACHE_INVALID_ARGUMENT`. */
  static create(options: ConnectionCacheOptions = {}): ConnectionCache {
    const { hal = soloHal(), entries = 1024, ways = 4, observer } = options;
    const maxEntries = options.maxEntries ?? Math.max(entries, 4096);
    assertPowerOfTwo("ways", ways, 1, MAX_WAYS);
    assertPowerOfTwo("maxEntries", maxEntries, ways, MAX_ENTRIES);
    assertPowerOfTwo("entries", entries, ways, maxEntries);
    const words = LINE_WORDS * (1 + hal.possibleCpus) + hal.possibleCpus * (maxEntries / ways) * setWords(ways);
    const memory = new SharedArrayBuffer(words * 4);
    const shared = new Int32Array(memory);
    shared[EPOCH_OF_ALL] = 1; // Sets start with epoch 0: all are empty.
    shared[SET_MASK] = entries / ways - 1;
    return new ConnectionCache({ possibleCpus: hal.possibleCpus, maxEntries, ways, memory }, hal, observer);
  }

  /** Join from another thread. */
  static attach(
    handle: ConnectionCacheHandle,
    options: { readonly hal?: Hal; readonly observer?: ConnectionCacheObserver | undefined } = {},
  ): ConnectionCache {
    return new ConnectionCache(handle, options.hal ?? soloHal(), options.observer);
  }

  /** Entries of each CPU. */
  get entries(): number {
    return (Atomics.load(this.#words, SET_MASK) + 1) * this.ways;
  }

  /** The entry of the key, if this CPU remembers it and the table confirms it, else 0. Counts one hit or one miss. */
  lookup(table: FlowTable, key: Int32Array, keyOffset: number, hash: number): number {
    const cpu = this.#hal.currentCpu();
    const set = this.#setOf(cpu, hash);
    return this.#find(cpu, set, table, key, keyOffset, hash | 0);
  }

  /**
   * Remember `entry`, found or inserted under `hash` with `generation` = `table.generation(entry)`. The generation of an
   * entry that has left the table meanwhile is even and not remembered.
   */
  insert(hash: number, entry: number, generation: number): void {
    const cpu = this.#hal.currentCpu();
    this.#place(cpu, this.#setOf(cpu, hash), hash, entry, generation);
  }

  /** {@link ConnectionCache.lookup}, then on a miss the table's look-up, remembered. What {@link fastLookup} does. */
  lookupThrough(table: FlowTable, key: Int32Array, keyOffset: number, hash: number): number {
    const cpu = this.#hal.currentCpu();
    const set = this.#setOf(cpu, hash);
    const cached = this.#find(cpu, set, table, key, keyOffset, hash | 0);
    if (cached !== 0) return cached;
    const entry = table.lookup(key, keyOffset, hash);
    if (entry !== 0) this.#place(cpu, set, hash, entry, table.generation(entry));
    return entry;
  }

  /** Forget everything the calling CPU remembers. Cost: one store. */
  flush(): void {
    this.#words[(this.#hal.currentCpu() + 1) * LINE_WORDS]++;
  }

  /** Forget everything on every CPU; another CPU may still serve from its cache for a moment. Cost: one atomic add. */
  flushAll(): void {
    Atomics.add(this.#words, EPOCH_OF_ALL, 1);
  }

  /** Give every CPU `entries` entries, a power of two up to `maxEntries`, and empty the caches. Any CPU may. */
  resize(entries: number): void {
    assertPowerOfTwo("entries", entries, this.ways, this.handle.maxEntries);
    Atomics.store(this.#words, SET_MASK, entries / this.ways - 1);
    this.flushAll();
  }

  /** Hits of `cpu`, or of all CPUs. */
  hits(cpu?: CpuId): number {
    return this.#sum(COUNT.hits, cpu);
  }

  /** Misses of `cpu`, or of all CPUs. */
  misses(cpu?: CpuId): number {
    return this.#sum(COUNT.misses, cpu);
  }

  /** hits ÷ (hits + misses) of `cpu` or of all CPUs; 0 before the first look-up. */
  hitRate(cpu?: CpuId): number {
    const hits = this.hits(cpu);
    const lookups = hits + this.misses(cpu);
    return lookups === 0 ? 0 : hits / lookups;
  }

  /** All figures of `cpu`, or of all CPUs. */
  stats(cpu?: CpuId): ConnectionCacheStats {
    return {
      hits: this.hits(cpu),
      misses: this.misses(cpu),
      hitRate: this.hitRate(cpu),
      stale: this.#sum(COUNT.stale, cpu),
      insertions: this.#sum(COUNT.insertions, cpu),
      evictions: this.#sum(COUNT.evictions, cpu),
    };
  }

  /** Set the counts to 0. Only while no CPU counts. */
  resetStats(): void {
    for (let cpu = 0; cpu < this.handle.possibleCpus; cpu++) {
      const at = (cpu + 1) * (LINE_WORDS / 2);
      this.#counts.fill(0, at + 1, at + LINE_WORDS / 2);
    }
  }

  #find(cpu: CpuId, set: number, table: FlowTable, key: Int32Array, keyOffset: number, hash: number): number {
    const words = this.#words;
    const observer = this.#observer;
    if (observer !== undefined) observer.onProbe?.(cpu, set << 2);
    const count = (cpu + 1) * (LINE_WORDS / 2);
    if (words[set + SET_EPOCH] === this.#epoch(cpu)) {
      const ways = this.#ways;
      // Which way matches cannot be predicted: all are compared, without branches, a bit each.
      let matches = 0;
      for (let way = 0; way < ways; way++) {
        const difference = words[set + SET_WAYS + way] ^ hash;
        matches |= (((difference | (0 - difference)) >>> 31) ^ 1) << way;
      }
      for (; matches !== 0; matches &= matches - 1) {
        const way = 31 - Math.clz32(matches & -matches);
        const at = set + SET_WAYS + ways + way * 2;
        const entry = words[at];
        if (entry === 0) continue;
        if (table.generation(entry) !== words[at + 1]) {
          words[at] = 0;
          this.#counts[count + COUNT.stale]++;
        } else if (table.matches(entry, key, keyOffset)) {
          words[set + SET_STATE] = (words[set + SET_STATE] & this.#keep[way]) | this.#used[way];
          this.#counts[count + COUNT.hits]++;
          return entry;
        }
      }
    }
    this.#counts[count + COUNT.misses]++;
    return 0;
  }

  #place(cpu: CpuId, set: number, hash: number, entry: number, generation: number): void {
    if ((generation & 1) === 0) return;
    const words = this.#words;
    const count = (cpu + 1) * (LINE_WORDS / 2);
    const epoch = this.#epoch(cpu);
    if (words[set + SET_EPOCH] !== epoch) this.#clearSet(set, epoch);
    const way = this.#wayFor(set, entry);
    const at = set + SET_WAYS + this.#ways + way * 2;
    const replaced = words[at];
    if (replaced !== 0 && replaced !== entry) this.#counts[count + COUNT.evictions]++;
    words[set + SET_WAYS + way] = hash;
    words[at] = entry;
    words[at + 1] = generation;
    words[set + SET_STATE] = (words[set + SET_STATE] & this.#keep[way]) | this.#used[way];
    this.#counts[count + COUNT.insertions]++;
  }

  #epoch(cpu: CpuId): number {
    return (this.#words[EPOCH_OF_ALL] + this.#words[(cpu + 1) * LINE_WORDS]) | 0;
  }

  #setOf(cpu: CpuId, hash: number): number {
    // The table's bucket comes from the low bits; the set takes the high ones too, so that neighbours in a bucket part.
    const index = (hash ^ (hash >>> 16)) & this.#words[SET_MASK];
    return this.#setsBase + cpu * this.#cpuSetsWords + index * this.#setWords;
  }

  #clearSet(set: number, epoch: number): void {
    for (let way = 0; way < this.#ways; way++) this.#words[set + SET_WAYS + this.#ways + way * 2] = 0;
    this.#words[set + SET_STATE] = 0;
    this.#words[set + SET_EPOCH] = epoch;
  }

  /** The way that holds `entry` already, else an empty one, else the least recently used. */
  #wayFor(set: number, entry: number): number {
    const first = set + SET_WAYS + this.#ways;
    let empty = -1;
    for (let way = 0; way < this.#ways; way++) {
      const held = this.#words[first + way * 2];
      if (held === entry) return way;
      if (held === 0 && empty === -1) empty = way;
    }
    return empty === -1 ? this.#victim[this.#words[set + SET_STATE]] : empty;
  }

  #sum(slot: number, cpu: CpuId | undefined): number {
    if (cpu !== undefined) return this.#counts[(cpu + 1) * (LINE_WORDS / 2) + slot];
    let sum = 0;
    for (let each = 0; each < this.handle.possibleCpus; each++) sum += this.#sum(slot, each);
    return sum;
  }
}

/** Words of a set, rounded up to half cache lines. */
function setWords(ways: number): number {
  return Math.ceil((SET_WAYS + ways * WAY_WORDS) / 8) * 8;
}

function assertPowerOfTwo(name: string, value: number, least: number, most: number): void {
  if (Number.isInteger(value) && value >= least && value <= most && (value & (value - 1)) === 0) return;
  throw new PerfCacheError(
    "PERF_CACHE_INVALID_ARGUMENT",
    `${name} is ${value}; a power of two from ${least} to ${most} is needed`,
  );
}

/**
 * The entry of a key by way of the calling CPU's cache: cache, then table, then remember. 0 when the table has none.
 * One hit or one miss is counted in the cache, and one look-up in the table on a miss.
 *
 * @public
 */
export function fastLookup(cache: ConnectionCache, table: FlowTable, key: Int32Array, keyOffset: number): number {
  return cache.lookupThrough(table, key, keyOffset, table.hash(key, keyOffset));
}
