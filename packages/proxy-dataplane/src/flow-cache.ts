import { PADDING_BYTES, soloHal, type CpuId, type Hal } from "@x/smp";
import { alignedMemory } from "./aligned-memory.ts";
import { DataplaneError } from "./errors.ts";
import { META_FLOW } from "./packet-vector.ts";

/*
 * One buffer, Int32 words:
 *
 *   | shared line: sets - 1, epoch | sets of CPU 0 | sets of CPU 1 | …
 *   set     two slots, a cache line
 *   slot    0-3 source, destination, ports, meta | epoch << 16    4 value   5 generation   6, 7 spare
 *
 * The shared line by Atomics, once for each vector; sets are written by their CPU alone, plainly. A flow may lie in two sets.
 * Nothing here is trusted: a hit is one only if the connection still has the generation under which it was remembered. The
 * epoch, which wraps, only empties the cache sooner.
 */
const SLOT_WORDS = 8;
const SET_SHIFT = 4;
const FLOW_BITS = META_FLOW;
const SETS_MASK = 0;
const EPOCH = 1;
const EPOCH_SHIFT = 16;
const SLOT_VALUE = 4;
const SLOT_GENERATION = 5;
const SETS_BASE = PADDING_BYTES / 4;
const MAX_ENTRIES = 2 ** 22;
const LEAST_ENTRIES = 4;
/** Sets above which the cache, and all that the flows in it need, is likely not in the CPU's second-level cache: lines are fetched ahead. */
export const LARGE_SETS = 8192;

/**
 * What happens inside a {@link FlowCache}.
 *
 * @public
 */
export interface FlowCacheObserver {
  /** `cpu` reads the set at `setOffset`, an offset into the cache's buffer. */
  onProbe?(cpu: CpuId, setOffset: number): void;
}

/**
 * Options of {@link FlowCache.create}.
 *
 * @public
 */
export interface FlowCacheOptions {
  readonly hal?: Hal;
  /** Entries of each CPU, a power of two from 4. Default 1024. */
  readonly entries?: number;
  /** Largest size {@link FlowCache.resize} may give, to 2^22. Default: the larger of `entries` and 4096. Cost: 32 bytes each. */
  readonly maxEntries?: number;
  readonly observer?: FlowCacheObserver | undefined;
}

/**
 * What joins a {@link FlowCache} from another thread.
 *
 * @public
 */
export interface FlowCacheHandle {
  readonly possibleCpus: number;
  readonly maxEntries: number;
  readonly memory: SharedArrayBuffer;
}

/**
 * The connections each CPU used last, by the four words that tell an IPv4 flow: half a cache line each, compared whole, so
 * that a known flow is found by reading one line and the connection itself. Two sets of two for each flow; an outsider who
 * floods it makes misses, not longer searches.
 *
 * Thread-safety: one instance per thread; every CPU reads and writes its own part only, without atomics. Hits are verified by
 * the connection's generation, so ending a connection needs no message to other CPUs.
 *
 * @public
 */
export class FlowCache {
  readonly handle: FlowCacheHandle;
  readonly buffer: SharedArrayBuffer;
  /** All sets, and the connections they name; for the nodes of the data path. */
  readonly words: Int32Array;
  readonly observer: FlowCacheObserver | undefined;
  readonly #cpuWords: number;

  private constructor(handle: FlowCacheHandle, observer: FlowCacheObserver | undefined) {
    this.handle = handle;
    this.buffer = handle.memory;
    this.words = new Int32Array(handle.memory, 0, handle.memory.byteLength >> 2);
    this.observer = observer;
    this.#cpuWords = handle.maxEntries * SLOT_WORDS;
  }

  /** Make the caches of all CPUs. Throws `DATAPLANE_INVALID_ARGUMENT`. */
  static create(options: FlowCacheOptions = {}): FlowCache {
    const { hal = soloHal(), entries = 1024 } = options;
    const maxEntries = options.maxEntries ?? Math.max(entries, 4096);
    requirePowerOfTwo("maxEntries", maxEntries, MAX_ENTRIES);
    requirePowerOfTwo("entries", entries, maxEntries);
    const words = SETS_BASE + hal.possibleCpus * maxEntries * SLOT_WORDS;
    const memory = alignedMemory(words * 4);
    const cache = new FlowCache({ possibleCpus: hal.possibleCpus, maxEntries, memory }, options.observer);
    cache.words[EPOCH] = 1;
    cache.words[SETS_MASK] = entries / 2 - 1;
    return cache;
  }

  /** Join from another thread. */
  static attach(
    handle: FlowCacheHandle,
    options: { readonly observer?: FlowCacheObserver | undefined } = {},
  ): FlowCache {
    return new FlowCache(handle, options.observer);
  }

  /** Entries of each CPU. */
  get entries(): number {
    return (this.setsMask + 1) * 2;
  }

  /** Sets of each CPU minus 1. One atomic load. */
  get setsMask(): number {
    return Atomics.load(this.words, SETS_MASK);
  }

  /** What the metas of this moment's entries are marked with. One atomic load. */
  get epochBits(): number {
    return Atomics.load(this.words, EPOCH) << EPOCH_SHIFT;
  }

  /** The first word of a CPU's sets. */
  base(cpu: CpuId): number {
    return SETS_BASE + cpu * this.#cpuWords;
  }

  /** Forget everything on every CPU; seen with the next vector. Cost: one atomic add. */
  flushAll(): void {
    Atomics.add(this.words, EPOCH, 1);
  }

  /** Give every CPU `entries` entries and empty the caches. Throws `DATAPLANE_INVALID_ARGUMENT`. */
  resize(entries: number): void {
    requirePowerOfTwo("entries", entries, this.handle.maxEntries);
    Atomics.store(this.words, SETS_MASK, entries / 2 - 1);
    this.flushAll();
  }
}

/** The other set of a flow whose first one is `set`. */
export function otherSet(set: number, hash: number, mask: number): number {
  return set ^ (((hash >>> 16) | 1) & mask);
}

/** The slot of a flow in the set at `at` (words), 0 for none. `meta` carries the epoch. */
export function findSlot(
  words: Int32Array,
  at: number,
  source: number,
  destination: number,
  ports: number,
  meta: number,
): number {
  if (isSlot(words, at, source, destination, ports, meta)) return at;
  return isSlot(words, at + SLOT_WORDS, source, destination, ports, meta) ? at + SLOT_WORDS : 0;
}

function isSlot(
  words: Int32Array,
  at: number,
  source: number,
  destination: number,
  ports: number,
  meta: number,
): boolean {
  return words[at] === source && words[at + 2] === ports && words[at + 1] === destination && words[at + 3] === meta;
}

/**
 * {@link findSlot} without branches: of many flows nobody can predict in which slot each lies, and a wrong prediction throws away the loads
 * that are under way. Of few flows the processor learns it, and the comparisons that are left out count.
 */
export function findSlotOfMany(
  words: Int32Array,
  at: number,
  source: number,
  destination: number,
  ports: number,
  meta: number,
): number {
  const first = differs(words, at, source, destination, ports, meta);
  const second = differs(words, at + SLOT_WORDS, source, destination, ports, meta);
  return (at & ~first) | ((at + SLOT_WORDS) & first & ~second);
}

/** -1 unless the slot at `at` is that of the flow; then 0. */
function differs(
  words: Int32Array,
  at: number,
  source: number,
  destination: number,
  ports: number,
  meta: number,
): number {
  const difference =
    (words[at] ^ source) | (words[at + 1] ^ destination) | (words[at + 2] ^ ports) | (words[at + 3] ^ meta);
  return (difference | (0 - difference)) >> 31;
}

/** The value and generation of a slot. */
export const SLOT: { readonly value: number; readonly generation: number } = {
  value: SLOT_VALUE,
  generation: SLOT_GENERATION,
};

/** The hash of a flow by the words that tell it apart, `meta` with or without an epoch: it chooses the flow's two sets. */
export function flowHash(source: number, destination: number, ports: number, meta: number): number {
  const ends = Math.imul(source, 0x9e3779b1) ^ Math.imul(destination, 0x85ebca77);
  const mixed = Math.imul(ports ^ (meta & FLOW_BITS), 0xc2b2ae3d) ^ ends;
  const hash = Math.imul(mixed ^ (mixed >>> 15), 0x2c1b3c6d);
  return hash ^ (hash >>> 13);
}

/** Flows that are moved for one that comes, at most. */
const MOVES = 8;
/** The flow that looks for a place, and the one that gave way to it. Private to the thread. */
const carried = new Int32Array(SLOT_WORDS);
const displaced = new Int32Array(SLOT_WORDS);

/**
 * Puts a flow into a free slot of its two sets, or into the first one, whose older flow gives way: to its own other set, where a
 * flow may have to give way in turn, and so on for a few (Pagh & Rodler, «Cuckoo hashing», 2004): a cache that is half full
 * forgets nothing. `base` is the first word of the CPU's sets, `meta` carries the epoch.
 * Returns whether a flow was forgotten.
 */
export function fillSlot(
  words: Int32Array,
  base: number,
  mask: number,
  hash: number,
  source: number,
  destination: number,
  ports: number,
  meta: number,
  value: number,
  generation: number,
): boolean {
  const set = hash & mask;
  carried[0] = source;
  carried[1] = destination;
  carried[2] = ports;
  carried[3] = meta;
  carried[SLOT_VALUE] = value;
  carried[SLOT_GENERATION] = generation;
  const other = otherSet(set, hash, mask);
  return !putIfFree(words, base, set) && !putIfFree(words, base, other) && !makeRoom(words, base, mask, set);
}

/** False when a flow was left without a place. */
function makeRoom(words: Int32Array, base: number, mask: number, first: number): boolean {
  let set = first;
  for (let move = 0; move < MOVES; move++) {
    const at = base + (set << SET_SHIFT);
    for (let i = 0; i < SLOT_WORDS; i++) {
      displaced[i] = words[at + SLOT_WORDS + i];
      words[at + SLOT_WORDS + i] = words[at + i];
      words[at + i] = carried[i];
      carried[i] = displaced[i];
    }
    const hash = flowHash(carried[0], carried[1], carried[2], carried[3]);
    const home = hash & mask;
    set = home === set ? otherSet(home, hash, mask) : home;
    if (putIfFree(words, base, set)) return true;
  }
  return false;
}

function putIfFree(words: Int32Array, base: number, set: number): boolean {
  const at = freeSlot(words, base + (set << SET_SHIFT), carried[3] >>> EPOCH_SHIFT);
  if (at === 0) return false;
  for (let i = 0; i < SLOT_WORDS; i++) words[at + i] = carried[i];
  return true;
}

/** A slot of the set at `at` that is empty, or was filled in another epoch; 0 without one. */
function freeSlot(words: Int32Array, at: number, epoch: number): number {
  if (words[at + 3] >>> EPOCH_SHIFT !== epoch) return at;
  return words[at + SLOT_WORDS + 3] >>> EPOCH_SHIFT !== epoch ? at + SLOT_WORDS : 0;
}

function requirePowerOfTwo(name: string, value: number, most: number): void {
  if (Number.isInteger(value) && value >= LEAST_ENTRIES && value <= most && (value & (value - 1)) === 0) return;
  const message = `${name} is ${value}; a power of two from ${LEAST_ENTRIES} to ${most} is possible`;
  throw new DataplaneError("DATAPLANE_INVALID_ARGUMENT", message);
}
