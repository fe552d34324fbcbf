import { sipHash13Words } from "@x/perf-cache";
import {
  PADDING_BYTES,
  soloHal,
  SpinLocks,
  type CpuId,
  type Hal,
  type LockObserver,
  type SpinLocksHandle,
} from "@x/smp";
import { DataplaneError } from "../errors.ts";
import type { ProxyLimits } from "./config.ts";
import type { CompiledLimit, Policy } from "./policy.ts";
import { isMappedIpv4 } from "./range-index.ts";

/*
 * Counts of clients and users. A name is hashed to 64 bits under a secret key; the hash chooses a set of eight places and stands
 * for the name. A set is under one of LOCKS locks.
 *
 *   place, 8 doubles:   LOW, HIGH     hash of the name; both 0: free          all under the lock of the set
 *                       OPEN          open connections
 *                       USED          time of the last use, ns
 *                       TOKENS, SINCE bucket of new connections and when it was so full
 *                       BYTES, BYTES_SINCE  the same for bytes
 *
 * A place with open connections is never taken from its owner, so the number of a place is a ticket that stays good while
 * the connection lasts. When all eight are so taken, newcomers share the last place of the set, which has no owner: they
 * are held to one limit together. Memory is bounded, and a flood from many addresses limits itself.
 */
const WAYS = 8;
const OWNED_WAYS = WAYS - 1;
const LOCKS = 64;
const PLACE_DOUBLES = 8;
const LOW = 0;
const HIGH = 1;
const OPEN = 2;
const USED = 3;
const TOKENS = 4;
const SINCE = 5;
const BYTES = 6;
const BYTES_SINCE = 7;
const DEFAULT_ENTRIES = 4096;
const MAX_ENTRIES = 1 << 20;
const NS_PER_SECOND = 1e9;
const DEFAULT_IPV4_BITS = 32;
const DEFAULT_IPV6_BITS = 64;

if (PLACE_DOUBLES * 8 * 2 !== PADDING_BYTES) throw new RangeError("two places make a padded line");

/**
 * What joins {@link ClientLimits} from another thread.
 *
 * @public
 */
export interface ClientLimitsHandle {
  readonly memory: SharedArrayBuffer;
  readonly sets: number;
  /** Secret: whoever knows it can choose addresses that share places. */
  readonly key: readonly number[];
  readonly locks: SpinLocksHandle;
}

/**
 * Options of {@link ClientLimits.create}.
 *
 * @public
 */
export interface ClientLimitsOptions {
  readonly hal?: Hal;
  /** Clients and users that are known at once: a power of two from 8. Default 4096; each takes 64 bytes. */
  readonly entries?: number;
  /** Four words nobody can guess. Default: drawn when the limits are made. */
  readonly hashKey?: readonly number[];
  readonly lockObserver?: LockObserver | undefined;
}

/**
 * What {@link ClientLimits.admit} says, as a negative number; a ticket otherwise.
 *
 * @public
 */
export const Refusal: {
  /** Too many connections are open. */
  readonly Connections: -1;
  /** Too many connections were opened lately. */
  readonly Rate: -2;
} = { Connections: -1, Rate: -2 };

/**
 * Limits on connections and bytes of each client address and user: counts of open connections, and token buckets, in shared memory for
 * all threads of packet path and relay. The limits themselves are those of the policy passed with each call, so that a
 * new configuration holds at once, for whoever is known already too.
 *
 * Thread-safety: any thread at any time; one of 64 locks is held for a few operations on numbers. No allocation for clients.
 *
 * @public
 */
export class ClientLimits {
  readonly handle: ClientLimitsHandle;
  readonly #hal: Hal;
  readonly #places: Float64Array;
  readonly #locks: SpinLocks;
  readonly #name = new Int32Array(6);
  readonly #encoder = new TextEncoder();

  private constructor(handle: ClientLimitsHandle, { hal = soloHal(), lockObserver }: ClientLimitsOptions) {
    this.handle = handle;
    this.#hal = hal;
    this.#places = new Float64Array(handle.memory);
    this.#locks = SpinLocks.attach(handle.locks, { hal, observer: lockObserver });
  }

  /** Throws `DATAPLANE_INVALID_ARGUMENT`. */
  static create(options: ClientLimitsOptions = {}): ClientLimits {
    const { hal = soloHal(), entries = DEFAULT_ENTRIES } = options;
    if (!Number.isInteger(entries) || entries < WAYS || entries > MAX_ENTRIES || (entries & (entries - 1)) !== 0) {
      const message = `entries is ${entries}; a power of two from ${WAYS} to ${MAX_ENTRIES} is needed`;
      throw new DataplaneError("DATAPLANE_INVALID_ARGUMENT", message);
    }
    const key = options.hashKey ?? Array.from(globalThis.crypto.getRandomValues(new Int32Array(4)));
    const memory = new SharedArrayBuffer(entries * PLACE_DOUBLES * 8);
    const locks = SpinLocks.create({ name: "client-limits", count: LOCKS, hal }).handle;
    return new ClientLimits({ memory, sets: entries / WAYS, key, locks }, options);
  }

  static attach(handle: ClientLimitsHandle, options: ClientLimitsOptions = {}): ClientLimits {
    return new ClientLimits(handle, options);
  }

  /**
   * A client whose address is at `words[at ..]` (as in a flow key) opens a connection. Returns a ticket for
   * {@link ClientLimits.release}, 0 when the policy has no limits of clients, or why it must not, a {@link Refusal}.
   */
  admit(policy: Policy, words: Int32Array, at: number, isIpv6: boolean): number {
    const { perClient } = policy;
    if (perClient === undefined) return 0;
    this.#nameClient(words, at, isIpv6, policy.config.limits ?? {});
    return this.#admit(perClient);
  }

  /** The same for a user. */
  admitUser(policy: Policy, user: string): number {
    const { perUser } = policy;
    if (perUser === undefined) return 0;
    this.#nameUser(user);
    return this.#admit(perUser);
  }

  /** The connection of a ticket is closed. Once for each ticket; 0 is ignored. */
  release(ticket: number): void {
    if (ticket <= 0) return;
    const at = (ticket - 1) * PLACE_DOUBLES;
    const lock = this.#lock(ticket - 1);
    this.#places[at + OPEN] = Math.max(0, this.#places[at + OPEN] - 1);
    this.#locks.unlock(lock);
  }

  /** The thread of `cpu` has died: whoever waits for a lock that it held goes on. Its tickets are its keeper's to release. */
  reportDead(cpu: CpuId): void {
    this.#locks.releaseDeadOwner(cpu);
  }

  /** Open connections of the client or user a ticket is of. */
  open(ticket: number): number {
    const lock = this.#lock(ticket - 1);
    const open = this.#places[(ticket - 1) * PLACE_DOUBLES + OPEN];
    this.#locks.unlock(lock);
    return open;
  }

  /**
   * The connection of a ticket of {@link ClientLimits.admit} has moved `bytes`. Returns the nanoseconds it must wait before
   * it moves more: 0 while the client is within its limit. The bytes are counted in any case: a debt is waited for.
   */
  spend(policy: Policy, ticket: number, bytes: number): number {
    return this.#spend(policy.perClient, ticket, bytes);
  }

  /**
   * Whether the client of a ticket may move a packet of `bytes` now; then they are counted. What may not is for the caller to drop, and
   * costs the client nothing: a policer, where {@link ClientLimits.spend} is a shaper.
   */
  afford(policy: Policy, ticket: number, bytes: number): boolean {
    const limit = policy.perClient;
    if (ticket <= 0 || limit === undefined || limit.bytesPerSecond === 0) return true;
    const at = (ticket - 1) * PLACE_DOUBLES;
    const lock = this.#lock(ticket - 1);
    this.#refill(at + BYTES, at + BYTES_SINCE, limit.bytesPerSecond, limit.byteBurst);
    const isEnough = this.#places[at + BYTES] >= bytes;
    if (isEnough) this.#places[at + BYTES] -= bytes;
    this.#locks.unlock(lock);
    return isEnough;
  }

  /** {@link ClientLimits.spend} for a ticket of {@link ClientLimits.admitUser}. */
  spendUser(policy: Policy, ticket: number, bytes: number): number {
    return this.#spend(policy.perUser, ticket, bytes);
  }

  #spend(limit: CompiledLimit | undefined, ticket: number, bytes: number): number {
    if (ticket <= 0 || limit === undefined || limit.bytesPerSecond === 0) return 0;
    const at = (ticket - 1) * PLACE_DOUBLES;
    const lock = this.#lock(ticket - 1);
    this.#refill(at + BYTES, at + BYTES_SINCE, limit.bytesPerSecond, limit.byteBurst);
    const left = this.#places[at + BYTES] - bytes;
    this.#places[at + BYTES] = left;
    this.#locks.unlock(lock);
    return left >= 0 ? 0 : (-left / limit.bytesPerSecond) * NS_PER_SECOND;
  }

  #admit(limit: CompiledLimit): number {
    const { key, sets } = this.handle;
    this.#name[5] = 0;
    const low = sipHash13Words(key, this.#name, 0, 6);
    this.#name[5] = 1;
    const high = sipHash13Words(key, this.#name, 0, 6) | 1;
    const set = (low >>> 0) % sets;
    const lock = this.#lock(set * WAYS);
    const place = this.#placeFor(set, low, high, limit);
    const at = place * PLACE_DOUBLES;
    const result = this.#take(at, limit);
    if (result === 0) this.#places[at + OPEN]++;
    this.#places[at + USED] = this.#hal.now();
    this.#locks.unlock(lock);
    return result === 0 ? place + 1 : result;
  }

  /** 0, or why the connection must not be opened. */
  #take(at: number, limit: CompiledLimit): number {
    if (limit.connections >= 0 && this.#places[at + OPEN] >= limit.connections) return Refusal.Connections;
    if (limit.connectionsPerSecond === 0) return 0;
    this.#refill(at + TOKENS, at + SINCE, limit.connectionsPerSecond, limit.connectionBurst);
    if (this.#places[at + TOKENS] < 1) return Refusal.Rate;
    this.#places[at + TOKENS]--;
    return 0;
  }

  /** What a bucket has gained since it was last looked at; never more than it holds, also when that has become less. */
  #refill(tokens: number, since: number, perSecond: number, burst: number): void {
    const nowNs = this.#hal.now();
    const gained = (Math.max(0, nowNs - this.#places[since]) * perSecond) / NS_PER_SECOND;
    this.#places[tokens] = Math.min(burst, this.#places[tokens] + gained);
    this.#places[since] = nowNs;
  }

  /** The place of a hash; a free one; that of who was not here for longest; or the shared one. */
  #placeFor(set: number, low: number, high: number, limit: CompiledLimit): number {
    const places = this.#places;
    let best = -1;
    for (let way = 0; way < OWNED_WAYS; way++) {
      const place = set * WAYS + way;
      const at = place * PLACE_DOUBLES;
      if (places[at + LOW] === low && places[at + HIGH] === high) return place;
      if (places[at + OPEN] > 0) continue;
      if (best < 0 || places[at + USED] < places[best * PLACE_DOUBLES + USED]) best = place;
    }
    if (best >= 0) this.#begin(best * PLACE_DOUBLES, low, high, limit);
    const shared = set * WAYS + OWNED_WAYS;
    if (best < 0 && places[shared * PLACE_DOUBLES + HIGH] === 0) this.#begin(shared * PLACE_DOUBLES, 0, 1, limit);
    return best >= 0 ? best : shared;
  }

  /** A newcomer has full buckets. */
  #begin(at: number, low: number, high: number, limit: CompiledLimit): void {
    const nowNs = this.#hal.now();
    this.#places.fill(0, at, at + PLACE_DOUBLES);
    this.#places[at + LOW] = low;
    this.#places[at + HIGH] = high;
    this.#places[at + TOKENS] = limit.connectionBurst;
    this.#places[at + SINCE] = nowNs;
    this.#places[at + BYTES] = limit.byteBurst;
    this.#places[at + BYTES_SINCE] = nowNs;
  }

  /** Locks the set of a place; returns the lock. */
  #lock(place: number): number {
    const lock = Math.floor(place / WAYS) % LOCKS;
    this.#locks.lock(lock);
    return lock;
  }

  #nameClient(words: Int32Array, at: number, isIpv6: boolean, limits: ProxyLimits): void {
    const { ipv4Bits = DEFAULT_IPV4_BITS, ipv6Bits = DEFAULT_IPV6_BITS } = limits;
    const name = this.#name;
    const isIpv4 = !isIpv6 || isMappedIpv4(words, at);
    name.fill(0);
    if (isIpv4) name[0] = masked(words[isIpv6 ? at + 3 : at], ipv4Bits);
    else for (let i = 0; i < 4; i++) name[i] = masked(words[at + i], ipv6Bits - i * 32);
    name[4] = isIpv4 ? 4 : 6;
  }

  #nameUser(user: string): void {
    const bytes = this.#encoder.encode(user);
    const words = new Int32Array(Math.ceil(bytes.length / 4) + 2);
    new Uint8Array(words.buffer).set(bytes);
    words[words.length - 2] = bytes.length;
    const name = this.#name;
    name.fill(0);
    name[0] = sipHash13Words(this.handle.key, words, 0, words.length);
    words[words.length - 1] = 1;
    name[1] = sipHash13Words(this.handle.key, words, 0, words.length);
    name[4] = 1;
  }
}

/** The leading `bits` of a word. */
function masked(word: number, bits: number): number {
  return bits >= 32 ? word : bits <= 0 ? 0 : word & (-1 << (32 - bits));
}
