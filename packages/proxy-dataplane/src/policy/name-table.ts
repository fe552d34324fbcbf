import { jhashWords } from "@x/perf-cache";
import { soloHal, SpinLocks, type Hal, type LockObserver, type SpinLocksHandle } from "@x/smp";
import { DataplaneError } from "../errors.ts";
import { MAX_NAME_BYTES } from "./limits.ts";
import { isMappedIpv4 } from "./range-index.ts";

/*
 * Which name an address was last known by. Addresses are hashed into sets of four places; a set is under one of LOCKS locks.
 *
 *   place, 72 words:   FAMILY       0: free, else 4 or 6      all under the lock of the set
 *                      EXPIRES      seconds of the clock
 *                      LENGTH       bytes of the name
 *                      ADDRESS ..   four words
 *                      NAME ..      253 bytes
 */
const WAYS = 4;
const LOCKS = 64;
const PLACE_WORDS = 72;
const FAMILY = 0;
const EXPIRES = 1;
const LENGTH = 2;
const ADDRESS = 4;
const NAME = 8;
const NS_PER_SECOND = 1e9;
const DEFAULT_ENTRIES = 4096;
const MAX_ENTRIES = 1 << 20;
/** Bounds of the time a name is remembered, in seconds, as resolvers have them. */
const LEAST_TTL = 60;
const MOST_TTL = 86_400;

if (NAME * 4 + MAX_NAME_BYTES > PLACE_WORDS * 4) throw new RangeError("a name must fit in its place");

/**
 * What joins a {@link HostNameTable} from another thread.
 *
 * @public
 */
export interface HostNameTableHandle {
  readonly memory: SharedArrayBuffer;
  readonly sets: number;
  readonly seed: number;
  readonly locks: SpinLocksHandle;
}

/**
 * Options of {@link HostNameTable.create}.
 *
 * @public
 */
export interface HostNameTableOptions {
  readonly hal?: Hal;
  /** Addresses that are remembered: a power of two from 4. Default 4096; each takes 288 bytes. */
  readonly entries?: number;
  /** Of the hash that spreads addresses; a number nobody outside knows keeps them from crowding one place. Default 0. */
  readonly seed?: number;
  readonly lockObserver?: LockObserver | undefined;
}

/**
 * The name each address was last seen under, in DNS answers or greetings of clients, so that rules on names hold for flows
 * whose packets name nobody. Bounded: the entry that expires first makes room. A name is remembered for its time to live, at
 * least 60 s and at most a day.
 *
 * Thread-safety: any thread at any time; one of 64 locks is held for a copy of a name. No allocation.
 *
 * @public
 */
export class HostNameTable {
  readonly handle: HostNameTableHandle;
  readonly #hal: Hal;
  readonly #words: Int32Array;
  readonly #bytes: Uint8Array;
  readonly #locks: SpinLocks;

  private constructor(handle: HostNameTableHandle, { hal = soloHal(), lockObserver }: HostNameTableOptions) {
    this.handle = handle;
    this.#hal = hal;
    this.#words = new Int32Array(handle.memory);
    this.#bytes = new Uint8Array(handle.memory);
    this.#locks = SpinLocks.attach(handle.locks, { hal, observer: lockObserver });
  }

  /** Throws `DATAPLANE_INVALID_ARGUMENT`. */
  static create(options: HostNameTableOptions = {}): HostNameTable {
    const { hal = soloHal(), entries = DEFAULT_ENTRIES, seed = 0 } = options;
    if (!Number.isInteger(entries) || entries < WAYS || entries > MAX_ENTRIES || (entries & (entries - 1)) !== 0) {
      const message = `entries is ${entries}; a power of two from ${WAYS} to ${MAX_ENTRIES} is needed`;
      throw new DataplaneError("DATAPLANE_INVALID_ARGUMENT", message);
    }
    const memory = new SharedArrayBuffer(entries * PLACE_WORDS * 4);
    const locks = SpinLocks.create({ name: "host-names", count: LOCKS, hal }).handle;
    return new HostNameTable({ memory, sets: entries / WAYS, seed, locks }, options);
  }

  static attach(handle: HostNameTableHandle, options: HostNameTableOptions = {}): HostNameTable {
    return new HostNameTable(handle, options);
  }

  /**
   * Remember that the address at `words[at ..]` (as in a flow key) is called `name[0, length)`, in the form of
   * {@link FlowFacts.name}. Names that are no names (length 0, or too long) are not remembered.
   */
  learn(words: Int32Array, at: number, isIpv6: boolean, name: Uint8Array, length: number, ttlSeconds: number): void {
    if (length < 1 || length > MAX_NAME_BYTES) return;
    const nowSeconds = this.#nowSeconds();
    const set = this.#setOf(words, at, isIpv6);
    const lock = set % LOCKS;
    this.#locks.lock(lock);
    const place = this.#placeFor(set, words, at, isIpv6, nowSeconds);
    this.#write(place, words, at, isIpv6);
    this.#words[place + EXPIRES] = nowSeconds + Math.min(MOST_TTL, Math.max(LEAST_TTL, ttlSeconds));
    this.#words[place + LENGTH] = length;
    const into = (place + NAME) * 4;
    for (let i = 0; i < length; i++) this.#bytes[into + i] = name[i];
    this.#locks.unlock(lock);
  }

  /** Copies the name of the address at `words[at ..]`; returns its length, 0 when none is known. */
  find(words: Int32Array, at: number, isIpv6: boolean, into: Uint8Array): number {
    const set = this.#setOf(words, at, isIpv6);
    const lock = set % LOCKS;
    this.#locks.lock(lock);
    const place = this.#placeOf(set, words, at, isIpv6);
    let length = 0;
    if (place >= 0 && this.#words[place + EXPIRES] > this.#nowSeconds()) {
      length = this.#words[place + LENGTH];
      const from = (place + NAME) * 4;
      for (let i = 0; i < length; i++) into[i] = this.#bytes[from + i];
    }
    this.#locks.unlock(lock);
    return length;
  }

  #nowSeconds(): number {
    return Math.floor(this.#hal.now() / NS_PER_SECOND) | 0;
  }

  #setOf(words: Int32Array, at: number, isIpv6: boolean): number {
    const { seed, sets } = this.handle;
    const isIpv4 = !isIpv6 || isMappedIpv4(words, at);
    const hash = isIpv4 ? jhashWords(words, isIpv6 ? at + 3 : at, 1, seed) : jhashWords(words, at, 4, seed);
    return (hash >>> 0) % sets;
  }

  /** The place of an address, or -1. An IPv4 address in IPv6 form is an IPv4 address. */
  #placeOf(set: number, words: Int32Array, at: number, isIpv6: boolean): number {
    const isIpv4 = !isIpv6 || isMappedIpv4(words, at);
    for (let way = 0; way < WAYS; way++) {
      const place = (set * WAYS + way) * PLACE_WORDS;
      if (this.#words[place + FAMILY] !== (isIpv4 ? 4 : 6)) continue;
      if (isIpv4 ? this.#words[place + ADDRESS] === words[isIpv6 ? at + 3 : at] : this.#isSame(place, words, at))
        return place;
    }
    return -1;
  }

  #isSame(place: number, words: Int32Array, at: number): boolean {
    for (let i = 0; i < 4; i++) if (this.#words[place + ADDRESS + i] !== words[at + i]) return false;
    return true;
  }

  /** Its own place, a free one, one that has expired, or the one that expires first. */
  #placeFor(set: number, words: Int32Array, at: number, isIpv6: boolean, nowSeconds: number): number {
    const own = this.#placeOf(set, words, at, isIpv6);
    if (own >= 0) return own;
    let best = set * WAYS * PLACE_WORDS;
    const left = (place: number): number =>
      this.#words[place + FAMILY] === 0 ? -1 : Math.max(0, this.#words[place + EXPIRES] - nowSeconds);
    for (let way = 1; way < WAYS; way++) {
      const place = (set * WAYS + way) * PLACE_WORDS;
      if (left(place) < left(best)) best = place;
    }
    return best;
  }

  #write(place: number, words: Int32Array, at: number, isIpv6: boolean): void {
    const isIpv4 = !isIpv6 || isMappedIpv4(words, at);
    this.#words[place + FAMILY] = isIpv4 ? 4 : 6;
    for (let i = 0; i < 4; i++) this.#words[place + ADDRESS + i] = isIpv4 ? 0 : words[at + i];
    if (isIpv4) this.#words[place + ADDRESS] = words[isIpv6 ? at + 3 : at];
  }
}
