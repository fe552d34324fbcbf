import { soloHal } from "@x/smp";
import type { CpuId, Hal } from "@x/smp";
import { CacheSets } from "./cache-sets.ts";
import { cachedLookupsOf } from "./cached-lookups.ts";
import type { CachedLookups } from "./cached-lookups.ts";
import {
  assertPowerOfTwo,
  cacheWords,
  COUNT,
  cpuSetsWords,
  EPOCH_OF_ALL,
  LINE_SETS,
  LINE_SHARED,
  LINE_WORDS,
  MAX_ENTRIES,
  MAX_WAYS,
  SET_EPOCH,
  SET_MASK,
  SET_STATE,
} from "./connection-cache-layout.ts";
import type {
  ConnectionCacheAttachOptions,
  ConnectionCacheHandle,
  ConnectionCacheObserver,
  ConnectionCacheOptions,
  ConnectionCacheStats,
} from "./connection-cache-layout.ts";
import { PerfCacheError } from "./errors.ts";
import type { FlowTable } from "./flow-table.ts";

// Constants of this module, so that the engine makes them part of the code; see flow-reader.ts.
const { hits: HITS, misses: MISSES } = COUNT;
const EPOCH = SET_EPOCH;
const STATE = SET_STATE;

/** Look-ups whose memory is fetched together, as in the table. */
const BULK = 32;

/** Those of the table, if it knows as many CPUs. */
function lookupsOf(table: FlowTable | undefined, cpus: number): CachedLookups | undefined {
  const lookups = table && cachedLookupsOf(table);
  return lookups !== undefined && lookups.cpus >= cpus ? lookups : undefined;
}

const otherTable = (): PerfCacheError =>
  new PerfCacheError("PERF_CACHE_INVALID_ARGUMENT", "the connection cache was made for another table");

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
  readonly #sets: CacheSets;
  readonly #words: Int32Array;
  readonly #observer: ConnectionCacheObserver | undefined;
  /** Of the look-ups of a chunk that is under way: sets, ways, generations of their entries now; and which ones missed. */
  readonly #setOf: Int32Array = new Int32Array(BULK);
  readonly #wayOf: Int32Array = new Int32Array(BULK);
  readonly #generations: Int32Array = new Int32Array(BULK);
  readonly #missed: Int32Array = new Int32Array(BULK);

  /** The table, if it was told; its look-ups by WebAssembly, if the cache is in its memory; the address of the line of CPU 0. */
  readonly #table: FlowTable | undefined;
  readonly #lookups: CachedLookups | undefined;
  readonly #linesAt: number;

  private constructor(handle: ConnectionCacheHandle, hal: Hal, options: ConnectionCacheAttachOptions) {
    this.handle = handle;
    this.buffer = handle.memory;
    this.ways = handle.ways;
    this.#hal = hal;
    this.#sets = new CacheSets(handle);
    this.#words = this.#sets.words;
    this.#observer = options.observer;
    this.#table = options.table;
    if (handle.at > 0 && this.#observer === undefined) this.#lookups = lookupsOf(options.table, handle.possibleCpus);
    this.#linesAt = handle.at + LINE_WORDS * 4;
  }

  /** Make the caches of all CPUs. Throws `PERF_CACHE_INVALID_ARGUMENT`. */
  static create(options: ConnectionCacheOptions = {}): ConnectionCache {
    const { hal = soloHal(), entries = 1024, ways = 4, observer, table } = options;
    const maxEntries = options.maxEntries ?? Math.max(entries, 4096);
    assertPowerOfTwo("ways", ways, 1, MAX_WAYS);
    assertPowerOfTwo("maxEntries", maxEntries, ways, MAX_ENTRIES);
    assertPowerOfTwo("entries", entries, ways, maxEntries);
    const sizes = { possibleCpus: hal.possibleCpus, maxEntries, ways };
    const bytes = cacheWords(sizes) * 4;
    const isFast = ways === 4 && observer === undefined;
    const place = (isFast && lookupsOf(table, hal.possibleCpus)?.room(bytes)) || {
      memory: new SharedArrayBuffer(bytes),
      at: 0,
    };
    const handle = { ...sizes, ...place };
    const shared = new Int32Array(place.memory, place.at, bytes >> 2);
    shared[EPOCH_OF_ALL] = 1; // Sets start with epoch 0: all are empty.
    shared[SET_MASK] = entries / ways - 1;
    for (let cpu = 0; cpu < hal.possibleCpus; cpu++) {
      const line = (cpu + 1) * LINE_WORDS;
      const sets = (hal.possibleCpus + 1) * LINE_WORDS + cpu * cpuSetsWords(sizes);
      shared[line + LINE_SETS] = place.at + sets * 4;
      shared[line + LINE_SHARED] = place.at;
    }
    return new ConnectionCache(handle, hal, options);
  }

  /** Join from another thread; with the `table`, if it was made with one. */
  static attach(handle: ConnectionCacheHandle, options: ConnectionCacheAttachOptions = {}): ConnectionCache {
    return new ConnectionCache(handle, options.hal ?? soloHal(), options);
  }

  /** Entries of each CPU. */
  get entries(): number {
    return (Atomics.load(this.#words, SET_MASK) + 1) * this.ways;
  }

  /** The entry of the key, if this CPU remembers it and the table confirms it, else 0. Counts one hit or one miss. */
  lookup(table: FlowTable, key: Int32Array, keyOffset: number, hash: number): number {
    const cpu = this.#hal.currentCpu();
    const fast = this.#fastFor(table);
    if (fast !== undefined && fast.takes(key, keyOffset)) return fast.look(this.#line(cpu), key, keyOffset);
    return this.#look(cpu, this.#sets.setOf(cpu, hash), table, key, keyOffset, hash);
  }

  /**
   * Remember `entry`, found or inserted under `hash` with `generation` = `table.generation(entry)`. The generation of an
   * entry that has left the table meanwhile is even and not remembered.
   */
  insert(hash: number, entry: number, generation: number): void {
    const cpu = this.#hal.currentCpu();
    if (this.#lookups === undefined) this.#sets.place(cpu, this.#sets.setOf(cpu, hash), hash, entry, generation);
    else this.#lookups.insert(this.#line(cpu), hash, entry, generation);
  }

  /** {@link ConnectionCache.lookup}, then on a miss the table's look-up, remembered. */
  lookupThrough(table: FlowTable, key: Int32Array, keyOffset: number, hash: number): number {
    const cpu = this.#hal.currentCpu();
    const fast = this.#fastFor(table);
    if (fast !== undefined && fast.takes(key, keyOffset)) {
      return fast.lookup(cpu, this.#line(cpu), key, keyOffset, hash);
    }
    const set = this.#sets.setOf(cpu, hash);
    const cached = this.#look(cpu, set, table, key, keyOffset, hash);
    if (cached !== 0) return cached;
    const entry = table.lookup(key, keyOffset, hash);
    if (entry !== 0) this.#sets.place(cpu, set, hash, entry, table.generation(entry));
    return entry;
  }

  /** {@link ConnectionCache.lookupThrough} of a key by {@link FlowTable.hash}. What {@link fastLookup} does. */
  findThrough(table: FlowTable, key: Int32Array, keyOffset: number): number {
    const fast = this.#fastFor(table);
    if (fast === undefined || !fast.takes(key, keyOffset)) {
      return this.lookupThrough(table, key, keyOffset, table.hash(key, keyOffset));
    }
    const cpu = this.#hal.currentCpu();
    return fast.find(cpu, this.#line(cpu), key, keyOffset);
  }

  /**
   * {@link ConnectionCache.lookupThrough} of `count` keys that lie one behind the other in `keys`, with their `hashes`; the entries
   * go to `out`. In memory of its own the cache fetches sets, then entries, then what the table must be asked for, 32 at a time; in
   * that of its table a look-up is one call. Counts as single look-ups do.
   *
   * @returns how many were found.
   */
  lookupBulk(table: FlowTable, keys: Int32Array, hashes: Int32Array, count: number, out: Int32Array): number {
    const cpu = this.#hal.currentCpu();
    let found = 0;
    if (this.#fastFor(table) !== undefined) {
      for (let i = 0; i < count; i++) {
        out[i] = this.lookupThrough(table, keys, i * table.keyWords, hashes[i]);
        if (out[i] !== 0) found++;
      }
      return found;
    }
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
      this.#sets.counts.fill(0, at + COUNT.hits, at + COUNT.evictions + 1);
    }
  }

  /** The look-ups by WebAssembly, if there are any. Throws when the table is not the one the cache was made for. */
  #fastFor(table: FlowTable): CachedLookups | undefined {
    if (this.#table !== undefined && table !== this.#table) throw otherTable();
    return this.#lookups;
  }

  #line(cpu: CpuId): number {
    return this.#linesAt + cpu * LINE_WORDS * 4;
  }

  #look(cpu: CpuId, set: number, table: FlowTable, key: Int32Array, keyOffset: number, hash: number): number {
    if (this.#observer !== undefined) this.#observer.onProbe?.(cpu, this.handle.at + (set << 2));
    return this.#sets.look(cpu, set, table, key, keyOffset, hash | 0);
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
    const sets = this.#setOf;
    const wayOf = this.#wayOf;
    const generations = this.#generations;
    const { keep, used, entriesAt, generationsAt } = this.#sets;
    const missed = this.#missed;
    const { keyWords } = table;
    let misses = 0;
    for (let i = from; i < to; i++) {
      const set = sets[i - from];
      const way = wayOf[i - from];
      let entry = 0;
      if (way >= 0) {
        entry = words[set + entriesAt + way];
        const isFresh = generations[i - from] === words[set + generationsAt + way];
        if (isFresh && table.matches(entry, keys, i * keyWords)) {
          words[set + STATE] = (words[set + STATE] & keep[way]) | used[way];
        } else entry = this.#sets.find(cpu, set, table, keys, i * keyWords, hashes[i] | 0);
      }
      out[i] = entry;
      if (entry === 0) missed[misses++] = i;
    }
    const hits = to - from - misses;
    this.#sets.count(cpu, HITS, hits);
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
    this.#sets.count(cpu, MISSES, misses);
    const found = table.lookupMissing(keys, hashes, to, out, from);
    for (let miss = 0; miss < misses; miss++) {
      const i = this.#missed[miss];
      const entry = out[i];
      if (entry !== 0) this.#sets.place(cpu, this.#setOf[i - from], hashes[i], entry, table.generation(entry));
    }
    return found;
  }

  /**
   * Find the sets, in each the first way with the tag of the hash, or -1, and the generation its entry has now: in loops of loads that do
   * not wait for one another.
   */
  #fetch(cpu: CpuId, table: FlowTable, hashes: Int32Array, from: number, to: number): void {
    const words = this.#words;
    const sets = this.#sets;
    const setOf = this.#setOf;
    const wayOf = this.#wayOf;
    const count = to - from;
    const epoch = sets.epoch(cpu);
    const { entriesAt } = sets;
    const generations = this.#generations;
    for (let i = 0; i < count; i++) setOf[i] = sets.setOf(cpu, hashes[from + i]);
    if (this.#observer !== undefined) this.#tell(cpu, count);
    for (let i = 0; i < count; i++) {
      const set = setOf[i];
      wayOf[i] = words[set + EPOCH] === epoch ? sets.candidate(set, hashes[from + i]) : -1;
    }
    for (let i = 0; i < count; i++) {
      const entry = wayOf[i] < 0 ? 0 : words[setOf[i] + entriesAt + wayOf[i]];
      // A remembered generation is odd, so that 0 is none.
      generations[i] = entry === 0 ? 0 : table.generation(entry);
    }
  }

  #tell(cpu: CpuId, count: number): void {
    for (let i = 0; i < count; i++) this.#observer?.onProbe?.(cpu, this.handle.at + (this.#setOf[i] << 2));
  }

  #sum(slot: number, cpu: CpuId | undefined): number {
    if (cpu !== undefined) return this.#sets.counts[(cpu + 1) * (LINE_WORDS / 2) + slot];
    let sum = 0;
    for (let each = 0; each < this.handle.possibleCpus; each++) sum += this.#sum(slot, each);
    return sum;
  }
}
