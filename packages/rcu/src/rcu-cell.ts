import { SpinLocks } from "@x/smp";
import {
  CellSubscriptions,
  type LatestVersion,
  type RcuCellSubscription,
  type RcuCellSubscriptionOptions,
} from "./cell-subscription.ts";
import type { Codec } from "./codec.ts";
import { deepFreeze } from "./deep-freeze.ts";
import { RcuError } from "./errors.ts";
import { POISON_BYTE } from "./poison.ts";
import type { RcuCellHandle, RcuCellJoin, RcuCellOptions } from "./rcu-cell-options.ts";
import type { Rcu } from "./rcu.ts";

/*
 * Version v (1, 2, 3 …) lives in slot v mod slots:
 *
 *   VERSION   latest version published                     written under the writer lock, read by anybody (Atomics)
 *   WAITERS   threads that wait for the next version       add, sub
 *   slot k    LENGTH   bytes of the value                  all written under the writer lock, before VERSION
 *             RETIRED  cookie of the grace period after which the slot may be used again
 *             time     hal.now() of the writer, double
 *             bytes    maxBytes of encoded value
 *
 * The slot of version v was retired when v - slots + 1 was published, the longest ago of all: slots are reused in the
 * order they were retired, so if that one is not free no other is. A reader looks into a slot only inside a read section
 * that began before it loaded VERSION.
 *
 * A writer that dies has published its version or not. In the first case the slot before has no cookie of its own yet, so the
 * next writer, who is told by the lock, gives all slots but the latest a new one.
 */
const HEADER_BYTES = 128;
const SLOT_HEADER_BYTES = 16;
const VERSION = 0;
const WAITERS = 1;
const LENGTH = 0;
const RETIRED = 1;
const FIRST_VERSION = 1;
const DEFAULT_MAX_BYTES = 4096;
const DEFAULT_SLOTS = 8;
const WAKE_ALL = 0x7fffffff;

/**
 * One value, read by everybody all the time and replaced now and then: configuration. Readers never wait; a reader sees
 * one whole version, never a mixture.
 *
 * Thread-safety: `read` from any online CPU, `update` from any CPU; writers exclude each other by a spin lock.
 *
 * @public
 */
export class RcuCell<T> {
  /** What another thread attaches with: plain data and shared memory. */
  readonly handle: RcuCellHandle;
  readonly #rcu: Rcu;
  readonly #codec: Codec<T>;
  readonly #validate: ((value: T) => void) | undefined;
  readonly #writers: SpinLocks;
  readonly #words: Int32Array;
  readonly #doubles: Float64Array;
  readonly #bytes: Uint8Array;
  readonly #slotBytes: number;
  /** Whether a plain load of VERSION is enough, see read-interval.ts. */
  readonly #announces: boolean;
  readonly #poison: ((slot: number) => void) | undefined;
  #subscriptions: CellSubscriptions<T> | undefined;
  #cachedVersion = 0;
  #cachedTimestampNs = 0;
  #cached!: T;

  private constructor(handle: RcuCellHandle, join: RcuCellJoin<T>) {
    this.handle = handle;
    this.#rcu = join.rcu;
    this.#codec = join.codec;
    this.#validate = join.validate;
    this.#writers = SpinLocks.attach(handle.writers, { hal: join.rcu.hal });
    this.#words = new Int32Array(handle.memory);
    this.#doubles = new Float64Array(handle.memory);
    this.#bytes = new Uint8Array(handle.memory);
    this.#slotBytes = slotBytes(handle.maxBytes);
    this.#announces = join.rcu.handle.flavour === "qsbr";
    if (join.rcu.debug) this.#poison = (version) => this.#poisonRetired(version);
  }

  /** Make the shared part and publish `initial` as version 1. Throws what {@link RcuCell.update} throws. */
  static create<T>(options: RcuCellOptions<T>): RcuCell<T> {
    const { rcu, maxBytes = DEFAULT_MAX_BYTES, slots = DEFAULT_SLOTS } = options;
    if (!Number.isInteger(maxBytes) || maxBytes < 1) {
      throw new RcuError("RCU_INVALID_ARGUMENT", `maxBytes is ${maxBytes}; at least 1 is needed`);
    }
    if (!Number.isInteger(slots) || slots < 2 || (slots & (slots - 1)) !== 0) {
      throw new RcuError("RCU_INVALID_ARGUMENT", `slots is ${slots}; a power of two from 2 is needed`);
    }
    const writers = SpinLocks.create({ name: "rcu-cell", hal: rcu.hal }).handle;
    const memory = new SharedArrayBuffer(HEADER_BYTES + slots * slotBytes(maxBytes));
    const cell = new RcuCell<T>({ maxBytes, slots, memory, writers }, options);
    options.validate?.(options.initial);
    cell.#publish(cell.#encode(options.initial), FIRST_VERSION);
    return cell;
  }

  /** Join from another thread, with the same codec. */
  static attach<T>(handle: RcuCellHandle, join: RcuCellJoin<T>): RcuCell<T> {
    return new RcuCell(handle, join);
  }

  /**
   * The latest value: decoded, deeply frozen, the same object until the version changes. Keep it as long as you like: it
   * is a copy. Cost when unchanged: a plain load in flavour `qsbr`, where a thread sees an update at the latest after its next announcement to a
   * grace period begun since; else one `Atomics.load`. Throws `RCU_OFFLINE` when it must decode on an offline CPU.
   */
  read(): T {
    const latest = this.#announces ? this.#words[VERSION] : Atomics.load(this.#words, VERSION);
    if (latest >>> 0 !== this.#cachedVersion) this.#refresh();
    return this.#cached;
  }

  /** The latest version, from 1. */
  get version(): number {
    return Atomics.load(this.#words, VERSION) >>> 0;
  }

  /** When the latest version was published, in `hal.now()` of its writer. */
  get timestampNs(): number {
    this.read();
    return this.#cachedTimestampNs;
  }

  /**
   * Publish `next` and return its version. The old copy is reused after a grace period.
   * Throws what `validate` throws, `RCU_CELL_TOO_LARGE`, or `RCU_CELL_BUSY` (see {@link RcuCell.tryUpdate}).
   */
  update(next: T): number {
    const version = this.tryUpdate(next);
    if (version !== 0) return version;
    throw new RcuError(
      "RCU_CELL_BUSY",
      `all ${this.handle.slots} slots hold versions whose grace period has not ended; let every online CPU pass a quiescent state`,
    );
  }

  /** {@link RcuCell.update} that returns 0 while no slot is free: too many updates within one grace period. */
  tryUpdate(next: T): number {
    this.#validate?.(next);
    const version = this.#publishLocked(this.#encode(next));
    if (version !== 0 && this.#poison !== undefined) this.#rcu.tryCall(this.#poison, version - 1);
    return version;
  }

  /** {@link RcuCell.update} that waits for a grace period when it must. */
  async updateAsync(next: T): Promise<number> {
    for (;;) {
      const version = this.tryUpdate(next);
      if (version !== 0) return version;
      await this.#rcu.synchronize();
    }
  }

  /**
   * `listener` is called with the latest value and its version when one newer than now is published, by whatever thread, in a
   * turn of this thread's event loop soon after: within a fraction of a millisecond where the loop is idle. Of versions that
   * follow each other faster it sees the last. Nothing polls. By default it keeps the event loop alive; see
   * {@link RcuCellSubscription.unref}. On an engine without `Atomics.waitAsync` it looks every 5 ms.
   */
  onUpdate(
    listener: (value: T, version: number) => void,
    options: RcuCellSubscriptionOptions = {},
  ): RcuCellSubscription {
    return this.#subscribed().add(listener, options);
  }

  /**
   * Resolved with the latest version as soon as it is another than `seen` (default: the latest now). Keeps the event loop alive.
   * The polled form is to compare {@link RcuCell.version}.
   */
  nextUpdate(seen: number = this.version): Promise<number> {
    return this.#subscribed().next(seen);
  }

  /** The thread of `cpu` has died: if it was writing, the next writer goes on. Only when that thread certainly runs no more. */
  reportDead(cpu: number): void {
    this.#writers.releaseDeadOwner(cpu);
  }

  #subscribed(): CellSubscriptions<T> {
    return (this.#subscriptions ??= new CellSubscriptions({
      words: this.#words,
      version: VERSION,
      waiters: WAITERS,
      wake: () => this.#wake(),
      latest: () => this.#readAnywhere(),
    }));
  }

  /** `read` in a turn of its own, where the CPU may be offline: it goes online to decode, and holds nothing afterwards. */
  #readAnywhere(): LatestVersion<T> {
    const mustJoin = this.#rcu.handle.flavour === "qsbr" && !this.#rcu.isOnline();
    if (mustJoin) this.#rcu.online();
    try {
      const value = this.read();
      return { value, version: this.#cachedVersion };
    } finally {
      if (mustJoin) this.#rcu.offline();
    }
  }

  #encode(value: T): Uint8Array {
    const bytes = this.#codec.encode(value);
    if (bytes.length <= this.handle.maxBytes) return bytes;
    throw new RcuError(
      "RCU_CELL_TOO_LARGE",
      `the value takes ${bytes.length} bytes; maxBytes is ${this.handle.maxBytes}`,
    );
  }

  #publishLocked(bytes: Uint8Array): number {
    if (this.#writers.lock()) this.#repair();
    try {
      const version = (this.version + 1) >>> 0 || FIRST_VERSION;
      if (version > this.handle.slots && !this.#rcu.poll(this.#words[this.#slotWord(version) + RETIRED])) return 0;
      this.#publish(bytes, version);
      return version;
    } finally {
      this.#writers.unlock();
    }
  }

  /** Under the writer lock (or before the cell is shared). */
  #publish(bytes: Uint8Array, version: number): void {
    const word = this.#slotWord(version);
    this.#words[word + LENGTH] = bytes.length;
    this.#doubles[word / 2 + 1] = this.#rcu.hal.now();
    this.#bytes.set(bytes, word * 4 + SLOT_HEADER_BYTES);
    const old = this.version;
    Atomics.store(this.#words, VERSION, version);
    if (Atomics.load(this.#words, WAITERS) !== 0) this.#wake();
    if (old !== 0) this.#words[this.#slotWord(old) + RETIRED] = this.#rcu.startPoll();
  }

  #wake(): void {
    this.#rcu.hal.wake(this.#words, VERSION, WAKE_ALL);
  }

  /** Under the writer lock, whose owner died: it may have published without having retired what was published before. */
  #repair(): void {
    const { version } = this;
    for (let back = 1; back < this.handle.slots && back < version; back++) {
      this.#words[this.#slotWord(version - back) + RETIRED] = this.#rcu.startPoll();
    }
    this.#writers.markConsistent();
  }

  /** Debug mode, after the grace period of `version`; its slot may hold a later version by now. */
  #poisonRetired(version: number): void {
    if (this.#writers.lock()) this.#repair();
    try {
      const age = (this.version - version) >>> 0;
      if (age === 0 || age >= this.handle.slots) return;
      const from = this.#slotWord(version) * 4 + SLOT_HEADER_BYTES;
      this.#bytes.fill(POISON_BYTE, from, from + this.handle.maxBytes);
    } finally {
      this.#writers.unlock();
    }
  }

  #refresh(): void {
    const section = this.#rcu.readLock();
    try {
      const version = this.version;
      const word = this.#slotWord(version);
      const from = word * 4 + SLOT_HEADER_BYTES;
      const value = this.#codec.decode(this.#bytes.subarray(from, from + this.#words[word + LENGTH]).slice());
      this.#cachedTimestampNs = this.#doubles[word / 2 + 1];
      this.#cached = deepFreeze(value);
      this.#cachedVersion = version;
    } finally {
      this.#rcu.readUnlock(section);
    }
  }

  #slotWord(version: number): number {
    return (HEADER_BYTES + (version & (this.handle.slots - 1)) * this.#slotBytes) / 4;
  }
}

function slotBytes(maxBytes: number): number {
  return Math.ceil((SLOT_HEADER_BYTES + maxBytes) / HEADER_BYTES) * HEADER_BYTES;
}
