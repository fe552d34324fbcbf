import { soloHal } from "@x/smp";
import type { CpuId, Hal } from "@x/smp";
import {
  assertPowerOfTwo,
  COUNT,
  EPOCH_OF_ALL,
  LINE_WORDS,
  MAX_ENTRIES,
  MAX_WAYS,
  SET_EPOCH,
  SET_MASK,
  SET_STATE,
  SET_WAYS,
  setWords,
} from "./connection-cache-layout.ts";
import type {
  ConnectionCacheHandle,
  ConnectionCacheObserver,
  ConnectionCacheOptions,
  ConnectionCacheStats,
} from "./connection-cache-layout.ts";
import type { FlowTable } from "./flow-table.ts";
import { pseudoLru } from "./pseudo-lru.ts";

/** Look-ups whose memory is fetched together, as in the table. */
const BULK = 32;

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
  /** Of the look-ups of a chunk that is under way: sets, ways, generations of their entries now; and which ones missed. */
  readonly #sets: Int32Array = new Int32Array(BULK);
  readonly #wayOf: Int32Array = new Int32Array(BULK);
  readonly #generations: Int32Array = new Int32Array(BULK);
  readonly #missed: Int32Array = new Int32Array(BULK);

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
    return this.#findOne(cpu, this.#setOf(cpu, hash), table, key, keyOffset, hash);
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
    const cached = this.#findOne(cpu, set, table, key, keyOffset, hash);
    if (cached !== 0) return cached;
    const entry = table.lookup(key, keyOffset, hash);
    if (entry !== 0) this.#place(cpu, set, hash, entry, table.generation(entry));
    return entry;
  }

  /**
   * {@link ConnectionCache.lookupThrough} of `count` keys that lie one behind the other in `keys`, with their `hashes`; the entries
   * go to `out`. Sets, then entries, then what the table must be asked for, are fetched 32 at a time. Counts as single look-ups do.
   *
   * @returns how many were found.
   */
  lookupBulk(table: FlowTable, keys: Int32Array, hashes: Int32Array, count: number, out: Int32Array): number {
    const cpu = this.#hal.currentCpu();
    let found = 0;
    for (let from = 0; from < count; from += BULK) {
      found += this.#lookupChunk(cpu, table, keys, hashes, from, Math.min(count, from + BULK), out);
    }
    return found;
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

  #findOne(cpu: CpuId, set: number, table: FlowTable, key: Int32Array, keyOffset: number, hash: number): number {
    if (this.#observer !== undefined) this.#observer.onProbe?.(cpu, set << 2);
    const entry = this.#find(cpu, set, table, key, keyOffset, hash | 0);
    this.#count(cpu, entry === 0 ? COUNT.misses : COUNT.hits, 1);
    return entry;
  }

  #lookupChunk(
    cpu: CpuId,
    table: FlowTable,
    keys: Int32Array,
    hashes: Int32Array,
    from: number,
    to: number,
    out: Int32Array,
  ): number {
    this.#fetch(cpu, table, hashes, from, to);
    const words = this.#words;
    const sets = this.#sets;
    const wayOf = this.#wayOf;
    const generations = this.#generations;
    const keep = this.#keep;
    const used = this.#used;
    const missed = this.#missed;
    const { keyWords } = table;
    const first = SET_WAYS + this.#ways;
    let misses = 0;
    for (let i = from; i < to; i++) {
      const set = sets[i - from];
      const way = wayOf[i - from];
      const at = set + first + way * 2;
      let entry = 0;
      if (way >= 0 && generations[i - from] === words[at + 1] && table.matches(words[at], keys, i * keyWords)) {
        entry = words[at];
        words[set + SET_STATE] = (words[set + SET_STATE] & keep[way]) | used[way];
      } else if (way >= 0) entry = this.#find(cpu, set, table, keys, i * keyWords, hashes[i] | 0);
      out[i] = entry;
      if (entry === 0) missed[misses++] = i;
    }
    const hits = to - from - misses;
    this.#count(cpu, COUNT.hits, hits);
    return misses === 0 ? hits : hits + this.#askTable(cpu, table, keys, hashes, from, to, out, misses);
  }

  /** Look up in the table what this CPU did not know, and remember it. Returns how many there were. */
  #askTable(
    cpu: CpuId,
    table: FlowTable,
    keys: Int32Array,
    hashes: Int32Array,
    from: number,
    to: number,
    out: Int32Array,
    misses: number,
  ): number {
    this.#count(cpu, COUNT.misses, misses);
    const found = table.lookupMissing(keys, hashes, to, out, from);
    for (let miss = 0; miss < misses; miss++) {
      const i = this.#missed[miss];
      const entry = out[i];
      if (entry !== 0) this.#place(cpu, this.#sets[i - from], hashes[i], entry, table.generation(entry));
    }
    return found;
  }

  /**
   * Find the sets, in each the first way with the hash, or -1, and the generation its entry has now: in loops of loads that do
   * not wait for one another.
   */
  #fetch(cpu: CpuId, table: FlowTable, hashes: Int32Array, from: number, to: number): void {
    const words = this.#words;
    const sets = this.#sets;
    const wayOf = this.#wayOf;
    const count = to - from;
    const epoch = this.#epoch(cpu);
    const first = SET_WAYS + this.#ways;
    const generations = this.#generations;
    const ways = this.#ways;
    const base = this.#setsBase + cpu * this.#cpuSetsWords;
    const setWidth = this.#setWords;
    const setMask = words[SET_MASK];
    for (let i = 0; i < count; i++) {
      const hash = hashes[from + i];
      sets[i] = base + ((hash ^ (hash >>> 16)) & setMask) * setWidth;
    }
    if (this.#observer !== undefined) this.#tell(cpu, count);
    for (let i = 0; i < count; i++) {
      const set = sets[i];
      const hash = hashes[from + i];
      let matches = 0;
      for (let way = 0; way < ways; way++) {
        const difference = words[set + SET_WAYS + way] ^ hash;
        matches |= (((difference | (0 - difference)) >>> 31) ^ 1) << way;
      }
      if (words[set + SET_EPOCH] !== epoch) matches = 0;
      // -1 when there is none.
      wayOf[i] = 31 - Math.clz32(matches & -matches);
    }
    for (let i = 0; i < count; i++) {
      const entry = wayOf[i] < 0 ? 0 : words[sets[i] + first + wayOf[i] * 2];
      // A remembered generation is odd, so that 0 is none.
      generations[i] = entry === 0 ? 0 : table.generation(entry);
    }
  }

  #tell(cpu: CpuId, count: number): void {
    for (let i = 0; i < count; i++) this.#observer?.onProbe?.(cpu, this.#sets[i] << 2);
  }

  /** A bit for each way with this hash. Which one matches cannot be predicted: all are compared, without branches. */
  #matchesOf(set: number, hash: number): number {
    const words = this.#words;
    let matches = 0;
    for (let way = 0; way < this.#ways; way++) {
      const difference = words[set + SET_WAYS + way] ^ hash;
      matches |= (((difference | (0 - difference)) >>> 31) ^ 1) << way;
    }
    return matches;
  }

  /** The entry of a set that the table confirms, else 0; the caller counts. */
  #find(cpu: CpuId, set: number, table: FlowTable, key: Int32Array, keyOffset: number, hash: number): number {
    const words = this.#words;
    if (words[set + SET_EPOCH] !== this.#epoch(cpu)) return 0;
    const first = set + SET_WAYS + this.#ways;
    for (let matches = this.#matchesOf(set, hash); matches !== 0; matches &= matches - 1) {
      const way = 31 - Math.clz32(matches & -matches);
      const at = first + way * 2;
      const entry = words[at];
      if (entry === 0) continue;
      if (table.generation(entry) !== words[at + 1]) {
        words[at] = 0;
        this.#count(cpu, COUNT.stale, 1);
      } else if (table.matches(entry, key, keyOffset)) {
        words[set + SET_STATE] = (words[set + SET_STATE] & this.#keep[way]) | this.#used[way];
        return entry;
      }
    }
    return 0;
  }

  #place(cpu: CpuId, set: number, hash: number, entry: number, generation: number): void {
    if ((generation & 1) === 0) return;
    const words = this.#words;
    const epoch = this.#epoch(cpu);
    if (words[set + SET_EPOCH] !== epoch) this.#clearSet(set, epoch);
    const way = this.#wayFor(set, entry);
    const at = set + SET_WAYS + this.#ways + way * 2;
    const replaced = words[at];
    if (replaced !== 0 && replaced !== entry) this.#count(cpu, COUNT.evictions, 1);
    words[set + SET_WAYS + way] = hash;
    words[at] = entry;
    words[at + 1] = generation;
    words[set + SET_STATE] = (words[set + SET_STATE] & this.#keep[way]) | this.#used[way];
    this.#count(cpu, COUNT.insertions, 1);
  }

  #count(cpu: CpuId, slot: number, by: number): void {
    this.#counts[(cpu + 1) * (LINE_WORDS / 2) + slot] += by;
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
