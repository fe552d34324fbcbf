import { soloHal, SpinLocks } from "@x/smp";
import type { CpuId, Hal } from "@x/smp";
import { KmemCache, SharedPages } from "@x/slab";
import type { PageSource } from "@x/slab";
import { createTable } from "./create-table.ts";
import { DELETING, RESERVED, settleHand } from "./dead-cpu.ts";
import { EntryReclaimer } from "./entry-reclaimer.ts";
import { PerfCacheError } from "./errors.ts";
import { FlowHasher } from "./flow-hasher.ts";
import { BucketIndex } from "./bucket-index.ts";
import { offerCachedLookups } from "./cached-lookups.ts";
import { hashStats } from "./hash-stats.ts";
import { FlowExpiry } from "./flow-expiry.ts";
import { FlowReader } from "./flow-reader.ts";
import { Publications } from "./publications.ts";
import { BASES_BYTES, BATCH_BYTES, resetCounts } from "./batch-layout.ts";
import { tableLookups } from "./lookup-wasm.ts";
import { comparedWords, readKey, sameKey, storeKey } from "./entry-key.ts";
import { CONTROL, ENTRY, handWord, resetStats, STAT, statsBase } from "./flow-table-layout.ts";
import type {
  FlowTableAttachOptions,
  FlowTableHandle,
  FlowTableObserver,
  FlowTableOptions,
  HashStats,
} from "./flow-table-layout.ts";

// Constants of this module, so that the engine makes them part of the code; see flow-reader.ts.
const { generation: GENERATION, value: VALUE, key: KEY } = ENTRY;
const isSame = sameKey;

/*
 * An entry, Int32 words; a cache line with keys of ten words:
 *
 *   | next | hash | generation | value | expiry | timer | key … |
 *
 * Next: see bucket-index.ts. Hash and key: written before the entry is linked, then constant until it is freed.
 * Generation: written under the stripe lock; odd while the entry is linked, even while it is not. It never goes back, and
 *   entries come from a type-stable cache, so whoever remembers (entry, generation) can tell whether it is still that flow.
 *   Readers load it plainly: a reader that has not seen the change yet is one that the grace period still waits for. It is also what
 *   tells them whether they may read the rest plainly: see publications.ts.
 * Value: one word, stored with Atomics; what a reader sees may be a moment old.
 * Expiry, timer: see flow-expiry.ts. Timer is also the link of those that wait for room in the callback ring, when they are
 *   out of the table and off the wheel.
 *
 * A reader stands on an entry while it is unlinked: `next` stays as it was until the grace period has ended.
 * Lock rule: one stripe at a time, and nothing is allocated, freed or waited for under it.
 */

/**
 * A flow table in shared memory: look-ups take no lock, insertions and deletions lock one stripe of buckets.
 *
 * Entries are byte offsets into {@link FlowTable.buffer}; 0 means «none». An entry that a look-up returned stays readable
 * until the calling CPU's next RCU quiescent state (flavour `qsbr`) or the end of its read section (`memory-barrier`).
 *
 * Thread-safety: one instance per thread, attached with that thread's `hal` and `rcu`; any CPU may do anything.
 *
 * @public
 */
export class FlowTable {
  readonly handle: FlowTableHandle;
  readonly buffer: SharedArrayBuffer;
  readonly keyWords: number;
  /** Flows the table may hold. */
  readonly capacity: number;
  readonly #hal: Hal;
  readonly #pages: PageSource;
  readonly #entries: KmemCache;
  readonly #words: Int32Array;
  readonly #control: Int32Array;
  readonly #stats: Float64Array;
  /** Of all CPUs, those of lookup-wasm.ts; none in a table that does without. */
  readonly #batches: BigInt64Array;
  readonly #index: BucketIndex;
  readonly #stripeMask: number;
  readonly #compared: number;
  readonly #hasher: FlowHasher;
  readonly #expiry: FlowExpiry | undefined;
  readonly #observer: FlowTableObserver | undefined;
  readonly #reclaimer: EntryReclaimer;
  readonly #reader: FlowReader;
  #inserted = false;

  private constructor(handle: FlowTableHandle, pages: PageSource, entries: KmemCache, options: FlowTableAttachOptions) {
    const hal = options.hal ?? soloHal();
    if (hal.possibleCpus > 1 && options.rcu === undefined) {
      const reason = `a table of ${hal.possibleCpus} CPUs needs an rcu to reclaim entries`;
      throw new PerfCacheError("PERF_CACHE_NEEDS_RCU", reason);
    }
    this.handle = handle;
    this.buffer = pages.buffer;
    this.keyWords = handle.keyWords;
    this.capacity = handle.capacity;
    this.#hal = hal;
    this.#pages = pages;
    this.#entries = entries;
    this.#words = new Int32Array(pages.buffer, 0, pages.buffer.byteLength >> 2);
    this.#control = new Int32Array(handle.control);
    this.#stats = new Float64Array(handle.control);
    const locks = SpinLocks.attach(handle.locks, { hal, observer: options.lockObserver });
    this.#stripeMask = handle.locks.count - 1;
    this.#compared = comparedWords(handle);
    const publications = new Publications(handle.publications);
    const { lookups } = handle;
    const basesAt = lookups?.at ?? 0;
    const batchesAt = basesAt + BASES_BYTES;
    const batchWords = lookups === undefined ? 0 : (hal.possibleCpus * BATCH_BYTES) >> 3;
    this.#batches = new BigInt64Array(pages.buffer, batchesAt, batchWords);
    const wasm =
      lookups === undefined || options.observer !== undefined
        ? undefined
        : tableLookups(lookups.memory, basesAt, handle.hashKey);
    this.#index = new BucketIndex(handle, this.#control, pages, locks, publications, hal);
    this.#hasher = new FlowHasher(handle);
    this.#observer = options.observer;
    this.#reader = new FlowReader({
      words: this.#words,
      stats: this.#stats,
      index: this.#index,
      publications,
      keyWords: handle.keyWords,
      compared: this.#compared,
      stripeMask: this.#stripeMask,
      hasher: this.#hasher,
      wasm,
      batchesAt: batchesAt >> 2,
      observer: options.observer,
    });
    const parts = { index: this.#index, reader: this.#reader, batchesAt, cpus: hal.possibleCpus };
    offerCachedLookups(this, wasm, lookups?.memory, parts);
    this.#reclaimer = new EntryReclaimer(entries, this.#words, this.#stats, hal, options.rcu);
    if (handle.expiry === undefined) return;
    this.#expiry = new FlowExpiry(handle.expiry, this.#words, {
      remove: (entry) => this.#remove(entry, undefined),
      release: (entry) => this.#reclaimer.retire(entry),
    });
  }

  /** Make a table. Throws `PERF_CACHE_INVALID_ARGUMENT`, `PERF_CACHE_NO_MEMORY`, `PERF_CACHE_NEEDS_RCU`. */
  static create(options: FlowTableOptions): FlowTable {
    const { handle, pages, entries } = createTable(options);
    return new FlowTable(handle, pages, entries, options);
  }

  /** Join from another thread. `pages` is needed unless the table made its own. */
  static attach(handle: FlowTableHandle, options: FlowTableAttachOptions): FlowTable {
    const hal = options.hal ?? soloHal();
    const pages = options.pages ?? (handle.pages === undefined ? undefined : SharedPages.attach(handle.pages, { hal }));
    if (pages === undefined) {
      throw new PerfCacheError("PERF_CACHE_INVALID_ARGUMENT", "the table needs its page source to attach");
    }
    const entries = KmemCache.attach(handle.entries, { hal, pages, lockObserver: options.lockObserver });
    return new FlowTable(handle, pages, entries, options);
  }

  /** Flows in the table. */
  get size(): number {
    return Atomics.load(this.#control, CONTROL.size);
  }

  /** Buckets at this moment, a power of two. */
  get buckets(): number {
    return Atomics.load(this.#control, CONTROL.mask) + 1;
  }

  /**
   * The hash of a key by this table's own function, keyed unless the table was made with `hash: "jhash"`. An IPv4 flow key is
   * hashed without its words that are always 0.
   *
   * @returns a signed 32-bit integer.
   */
  hash(key: Int32Array, keyOffset: number): number {
    return this.#hasher.hash(key, keyOffset);
  }

  /** {@link FlowTable.hash} of `count` keys that lie one behind the other in `keys`; the hashes go to `out`. */
  hashBulk(keys: Int32Array, count: number, out: Int32Array): void {
    for (let i = 0; i < count; i++) out[i] = this.#hasher.hash(keys, i * this.keyWords);
  }

  /** Whether this instance's last {@link FlowTable.insert} made a new entry. */
  get inserted(): boolean {
    return this.#inserted;
  }

  /**
   * The entry of the key at `key[keyOffset ..]`, whose hash is `hash`; 0 when there is none. Takes no lock. Cost: one call of
   * WebAssembly when it is found in an undivided bucket; in JavaScript plain loads, and one `Atomics.load` more when the entry is new to this
   * thread. Some of these when it is not found.
   */
  lookup(key: Int32Array, keyOffset: number, hash: number): number {
    return this.#reader.lookup(this.#hal.currentCpu(), key, keyOffset, hash);
  }

  /**
   * {@link FlowTable.lookup} of `count` keys that lie one behind the other in `keys`, with their `hashes`; the entries go
   * to `out`. Heads and first entries are fetched ahead, 32 at a time, so that the memory works on many look-ups at once.
   *
   * @returns how many were found.
   */
  lookupBulk(keys: Int32Array, hashes: Int32Array, count: number, out: Int32Array): number {
    return this.#reader.lookupBulk(this.#hal.currentCpu(), keys, hashes, count, out);
  }

  /**
   * {@link FlowTable.lookupBulk} of those keys alone, from number `from` to `count - 1`, whose `out` is 0: what a cache did not
   * know, for example. Others keep what they have; so -1 in `out` leaves a key out.
   *
   * @returns how many were found.
   */
  lookupMissing(keys: Int32Array, hashes: Int32Array, count: number, out: Int32Array, from = 0): number {
    return this.#reader.lookupMissing(this.#hal.currentCpu(), keys, hashes, from, count, out);
  }

  /**
   * {@link FlowTable.lookup} of a key by {@link FlowTable.hash}, which costs less than the two one after the other where WebAssembly
   * does both.
   */
  find(key: Int32Array, keyOffset: number): number {
    return this.#reader.find(this.#hal.currentCpu(), key, keyOffset);
  }

  /**
   * {@link FlowTable.hashBulk} and {@link FlowTable.lookupBulk} in one: the hashes go to `hashes`, the entries to `out`.
   *
   * @returns how many were found.
   */
  findBulk(keys: Int32Array, count: number, hashes: Int32Array, out: Int32Array): number {
    return this.#reader.findBulk(this.#hal.currentCpu(), keys, hashes, count, out);
  }

  /**
   * Add a flow. Returns its entry; the one that is there already when the key is in the table ({@link FlowTable.inserted}
   * tells which), its value unchanged; 0 when the table is full, which is counted. In a table with `expiry` the flow starts in
   * `state`, seen at `nowMs`.
   */
  insert(key: Int32Array, keyOffset: number, hash: number, value: number, state = 0, nowMs = 0): number {
    this.#inserted = false;
    const fresh = this.#newEntry();
    if (fresh !== 0) this.#fill(fresh >> 2, key, keyOffset, hash, value, this.#expiry?.word(state, nowMs) ?? 0);
    const stripe = hash & this.#stripeMask;
    this.#index.lock(stripe);
    const present = this.#index.find(key, keyOffset, hash | 0);
    if (fresh !== 0 && present === 0) this.#index.link(fresh);
    this.#index.unlock(stripe);
    if (present !== 0) {
      if (fresh !== 0) this.#dropEntry(fresh);
      return present;
    }
    if (fresh === 0) {
      this.#count(STAT.full);
      return 0;
    }
    this.#inserted = true;
    this.#expiry?.push(fresh);
    this.#hold(0);
    this.#count(STAT.inserts);
    this.#observer?.onInsert?.(fresh);
    this.#index.grow(this.size);
    return fresh;
  }

  /**
   * Take `entry` out of the table; its memory is reused after a grace period (with `expiry`, when the wheel has passed it too). With
   * `generation`, only if the entry is still of that generation. Returns whether this call took it out.
   */
  delete(entry: number, generation?: number): boolean {
    if (!this.#remove(entry, generation)) return false;
    if (this.#expiry === undefined) this.#reclaimer.retire(entry);
    return true;
  }

  /** Note that a flow was seen at `nowMs` and is in `state`: it expires when it is silent for the state's timeout. One store. */
  touch(entry: number, state: number, nowMs: number): void {
    if (this.#expiry === undefined) throw new PerfCacheError("PERF_CACHE_INVALID_ARGUMENT", "the table has no expiry");
    Atomics.store(this.#words, (entry >> 2) + ENTRY.expiry, this.#expiry.word(state, nowMs));
  }

  /** The state a flow was last touched with; 0 in a table without `expiry`. */
  state(entry: number): number {
    return Atomics.load(this.#words, (entry >> 2) + ENTRY.expiry) & 15;
  }

  /**
   * Take out what was silent for too long at `nowMs`: at most two ticks late, or 66 when the last touch brought the deadline nearer. Call it about once a tick, from any CPU; it stops after the tick in which
   * it examined `limit` flows. Returns how many expired.
   */
  expire(nowMs: number, limit = 4096): number {
    const expired = this.#expiry?.advance(nowMs, limit) ?? 0;
    this.#stats[statsBase(this.#hal.currentCpu()) + STAT.expired] += expired;
    return expired;
  }

  value(entry: number): number {
    return this.#words[(entry >> 2) + VALUE];
  }

  /** Replace the value of an entry that the caller may touch. */
  setValue(entry: number, value: number): void {
    Atomics.store(this.#words, (entry >> 2) + ENTRY.value, value);
  }

  /** A number that changes whenever the entry leaves or enters the table: odd while it is in. */
  generation(entry: number): number {
    return this.#words[(entry >> 2) + GENERATION];
  }

  hashOf(entry: number): number {
    return this.#words[(entry >> 2) + ENTRY.hash];
  }

  /** Whether the key of `entry` is the one at `key[keyOffset ..]`. */
  matches(entry: number, key: Int32Array, keyOffset: number): boolean {
    return isSame(this.#words, (entry >> 2) + KEY, key, keyOffset, this.#compared);
  }

  /** Copy the key of `entry` to `into[offset ..]`. */
  readKey(entry: number, into: Int32Array, offset = 0): void {
    readKey(this.#words, (entry >> 2) + KEY, into, offset, this.#compared);
  }

  /**
   * Call `visit` with every flow; it may delete the one it is given. Others may write meanwhile: a flow that is there throughout is visited once,
   * one that comes or goes meanwhile at most once. Takes no lock.
   */
  forEach(visit: (entry: number) => void): void {
    this.#index.forEach(visit);
  }

  /** Counts since the last reset, and the chains as they are now. Cost: a walk over the table. */
  stats(): HashStats {
    const counts = { stats: this.#stats, batches: this.#batches };
    return hashStats(counts, this.#index, this.size, this.capacity);
  }

  /** Set the counts to 0. Only while no CPU counts. The chains stay as they are. */
  resetStats(): void {
    resetStats(this.#stats);
    resetCounts(this.#batches);
  }

  /**
   * The thread of `cpu` has died, at whatever step: the stripe it had locked is repaired, what it was inserting is in or out, what it was
   * deleting is out, and growth goes on. At most one entry is lost, and {@link FlowTable.size} may count one flow too many. Once per death, from
   * any other CPU, when the thread is really gone; may be repeated. What the table was made with is told by the caller: `rcu.reportDead`.
   */
  reportDead(cpu: CpuId): void {
    this.#entries.reportDead(cpu);
    this.#index.reportDead(cpu);
    settleHand(cpu, this.#control, this.#words, this.#index, (entry, isFresh) => {
      // A deleted entry of a table with expiry is still on the wheel.
      if (isFresh || this.#expiry === undefined) this.#reclaimer.retire(entry);
    });
    this.#reclaimer.adopt(cpu);
  }

  /**
   * End of the table: everything goes back to the page source. No CPU may use the table any more, and `rcu.barrier()` must
   * have run what was deleted. Returns the entries that were still waiting for a grace period: their pages stay.
   */
  destroy(): number {
    this.#index.refresh();
    if (this.#expiry !== undefined) {
      this.forEach((entry) => this.#remove(entry, undefined));
      this.#expiry.sweep((entry) => this.#entries.free(entry));
    }
    this.forEach((entry) => this.#entries.free(entry));
    this.#reclaimer.freeAll();
    const left = this.#entries.destroy();
    this.#index.destroy();
    const { lookups } = this.handle;
    if (lookups !== undefined) this.#pages.freePages(lookups.at, lookups.order);
    return left;
  }

  /** Memory for an entry, counted to the size; 0 when there is none, even after dropping a flow, if that is the policy. */
  #newEntry(): number {
    const isFull = Atomics.add(this.#control, CONTROL.size, 1) >= this.capacity;
    this.#hold(RESERVED);
    if (isFull && !this.#makeRoom()) return this.#release();
    this.#hold(RESERVED);
    let entry = this.#entries.alloc();
    if (entry === 0) {
      this.#expiry?.sweep(); // Deleted flows may still be on the wheel,
      this.#reclaimer.drain(); // or wait for room in the callback ring.
      entry = this.#entries.alloc();
    }
    if (entry === 0) return this.#release();
    this.#hold(entry);
    return entry;
  }

  /** What was counted to the size is not there. */
  #release(): 0 {
    this.#hold(0);
    Atomics.sub(this.#control, CONTROL.size, 1);
    return 0;
  }

  /** What the calling CPU is about, for {@link FlowTable.reportDead}. */
  #hold(hand: number): void {
    this.#control[handWord(this.#hal.currentCpu())] = hand;
  }

  #makeRoom(): boolean {
    if (this.#expiry?.dropsUnreplied !== true || !this.#expiry.dropUnreplied()) return false;
    this.#count(STAT.dropped);
    return true;
  }

  #fill(at: number, key: Int32Array, keyOffset: number, hash: number, value: number, expiry: number): void {
    const words = this.#words;
    words[at + ENTRY.hash] = hash;
    words[at + ENTRY.value] = value;
    words[at + ENTRY.expiry] = expiry;
    storeKey(words, at + KEY, key, keyOffset, this.#compared);
  }

  /** An entry that was never published needs no grace period. */
  #dropEntry(entry: number): void {
    this.#hold(RESERVED);
    this.#entries.free(entry);
    this.#release();
  }

  /** Take an entry out; it is not reclaimed yet. */
  #remove(entry: number, generation: number | undefined): boolean {
    const words = this.#words;
    const at = entry >> 2;
    const hash = words[at + ENTRY.hash];
    const stripe = hash & this.#stripeMask;
    this.#index.lock(stripe);
    const wanted = generation === undefined || words[at + ENTRY.generation] === generation;
    this.#hold(entry | DELETING);
    const removed = wanted && words[at + ENTRY.hash] === hash && this.#index.unlink(entry);
    this.#index.unlock(stripe);
    if (removed) Atomics.sub(this.#control, CONTROL.size, 1);
    this.#hold(0);
    if (!removed) return false;
    this.#count(STAT.deletes);
    this.#observer?.onDelete?.(entry);
    return true;
  }

  #count(stat: number): void {
    this.#stats[statsBase(this.#hal.currentCpu()) + stat]++;
  }
}
