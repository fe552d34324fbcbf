import { PADDING_BYTES } from "@x/smp";
import { PerfCacheError } from "./errors.ts";
import { ENTRY } from "./flow-table-layout.ts";
import type { FlowExpiryHandle, FlowExpiryOptions } from "./flow-table-layout.ts";

/*
 * A timing wheel of one round (Varghese & Lauck, SOSP 1987) that moves entries late:
 *
 *   | ticks done | slot 0 | slot 1 | … | slot 63 |      each slot is the head of a stack of entries, linked by their timer word
 *
 * An entry is on exactly one stack, or in the hands of the CPU that took that stack away. Its expiry word, deadline in ticks << 4 |
 * state, says when it is due; touching a flow stores that word and moves nothing. When the wheel comes to a slot, entries that
 * are not due yet go to the slot of their deadline, or a round ahead.
 *
 * Ticks done and slots: Atomics. Entries are pushed by compare-exchange and taken only all at once, so no link can be
 * taken for another one (ABA). A flow that is deleted stays on its stack until the wheel comes by, at most a round later: of the wheel alone
 * it gets to the reclaimer, and so nobody frees what is still linked.
 */
const SLOTS = 64;
const FIRST_SLOT = PADDING_BYTES / 4;
const STATES_MAX = 16;
/** Deadlines are compared modulo 2^28 ticks. */
const TICK_BITS = 28;
/** Flows looked at for one to drop. */
const EXAMINED_MAX = 64;

const later = (tick: number, than: number): number => ((tick - than) << (32 - TICK_BITS)) >> (32 - TICK_BITS);

const tickOf = (nowMs: number, tickMs: number): number => Math.floor(nowMs / tickMs) % 2 ** TICK_BITS;

/** Check and complete the options. Throws `PERF_CACHE_INVALID_ARGUMENT`. */
export function planExpiry(options: FlowExpiryOptions, whenFull: string | undefined): FlowExpiryHandle {
  const { timeoutsMs, unrepliedStates = [0], tickMs = 1000, startMs = 0 } = options;
  const fine = (ms: number): boolean => ms >= 0 && ms < tickMs * 2 ** (TICK_BITS - 1);
  if (!(tickMs >= 1) || timeoutsMs.length < 1 || timeoutsMs.length > STATES_MAX || !timeoutsMs.every(fine)) {
    throw new PerfCacheError(
      "PERF_CACHE_INVALID_ARGUMENT",
      `expiry needs 1 to ${STATES_MAX} timeouts of less than 2^27 ticks and a tick of at least 1 ms`,
    );
  }
  let mask = 0;
  for (const state of unrepliedStates) mask |= 1 << state;
  const wheel = new SharedArrayBuffer((FIRST_SLOT + SLOTS) * 4);
  new Int32Array(wheel)[0] = tickOf(startMs, tickMs);
  return { timeoutsMs, unrepliedStates: mask, tickMs, dropsUnreplied: whenFull === "drop-oldest-unreplied", wheel };
}

/** What the wheel asks its table. */
export interface ExpiringTable {
  /** Take an entry out that is still in; not yet reclaimed. */
  readonly remove: (entry: number) => boolean;
  /** Reclaim an entry that is out and on no stack. */
  readonly release: (entry: number) => void;
}

/** One thread's view of the wheel. */
export class FlowExpiry {
  readonly dropsUnreplied: boolean;
  readonly #words: Int32Array;
  readonly #wheel: Int32Array;
  readonly #tickMs: number;
  readonly #unreplied: number;
  readonly #timeoutTicks: Int32Array;
  readonly #table: ExpiringTable;

  constructor(handle: FlowExpiryHandle, words: Int32Array, table: ExpiringTable) {
    this.dropsUnreplied = handle.dropsUnreplied;
    this.#words = words;
    this.#wheel = new Int32Array(handle.wheel);
    this.#tickMs = handle.tickMs;
    this.#unreplied = handle.unrepliedStates;
    this.#timeoutTicks = Int32Array.from(handle.timeoutsMs, (ms) => Math.ceil(ms / handle.tickMs));
    this.#table = table;
  }

  /** The expiry word of a flow in `state` that was seen at `nowMs`. */
  word(state: number, nowMs: number): number {
    if (!(state >= 0 && state < this.#timeoutTicks.length)) {
      throw new PerfCacheError("PERF_CACHE_INVALID_ARGUMENT", `no timeout for state ${state}`);
    }
    // One tick more: the tick that is under way may be nearly over.
    return ((this.#tick(nowMs) + this.#timeoutTicks[state] + 1) << 4) | state;
  }

  /** Put an entry, which has its expiry word, on the wheel. Once in its life. */
  push(entry: number): void {
    const words = this.#words;
    const deadline = words[(entry >> 2) + ENTRY.expiry] >>> 4;
    const done = Atomics.load(this.#wheel, 0);
    const ahead = Math.min(Math.max(later(deadline, done), 1), SLOTS - 1);
    const slot = FIRST_SLOT + ((done + ahead) & (SLOTS - 1));
    for (;;) {
      const first = Atomics.load(this.#wheel, slot);
      Atomics.store(words, (entry >> 2) + ENTRY.timer, first);
      if (Atomics.compareExchange(this.#wheel, slot, first, entry) === first) return;
    }
  }

  /** Come to every tick until `nowMs`; stops after a tick in which `limit` flows were examined. Returns how many flows expired. */
  advance(nowMs: number, limit: number): number {
    const now = this.#tick(nowMs);
    let left = limit;
    let expired = 0;
    while (left > 0) {
      const done = Atomics.load(this.#wheel, 0);
      const behind = later(now, done);
      if (behind <= 0) break;
      // After a long pause every slot is due at once: one round is enough.
      const next = behind > SLOTS ? (now - SLOTS) & (2 ** TICK_BITS - 1) : (done + 1) & (2 ** TICK_BITS - 1);
      if (Atomics.compareExchange(this.#wheel, 0, done, next) !== done) continue;
      let entry = Atomics.exchange(this.#wheel, FIRST_SLOT + (next & (SLOTS - 1)), 0);
      for (; entry !== 0; left--) {
        const link = this.#next(entry);
        if (this.#examine(entry, next)) expired++;
        entry = link;
      }
    }
    return expired;
  }

  /**
   * Of the flows that are due soonest, take out one without an answer, silent longest among those looked at: some dozens, so this is
   * approximate, and right to a tick. Returns whether there was one.
   */
  dropUnreplied(): boolean {
    const done = Atomics.load(this.#wheel, 0);
    let left = EXAMINED_MAX;
    for (let ahead = 1; ahead <= SLOTS && left > 0; ahead++) {
      const slot = FIRST_SLOT + ((done + ahead) & (SLOTS - 1));
      if (Atomics.load(this.#wheel, slot) === 0) continue;
      let kept = 0;
      let oldest = 0;
      let entry = Atomics.exchange(this.#wheel, slot, 0);
      for (; entry !== 0 && left > 0; left--) {
        const next = this.#next(entry);
        if (oldest === 0 ? this.#isUnreplied(entry) : this.#isUnreplied(entry) && this.#isOlder(entry, oldest)) {
          if (oldest !== 0) kept = this.#chain(oldest, kept);
          oldest = entry;
        } else kept = this.#chain(entry, kept);
        entry = next;
      }
      // The rest goes back as it is, unless somebody has pushed meanwhile.
      if (entry !== 0 && Atomics.compareExchange(this.#wheel, slot, 0, entry) !== 0) this.#pushAll(entry);
      this.#pushAll(kept);
      if (oldest === 0) continue;
      const removed = this.#table.remove(oldest);
      this.#table.release(oldest);
      if (removed) return true;
    }
    return false;
  }

  /** Release what was deleted and is still on a stack. Cost: every flow. */
  sweep(release: (entry: number) => void = this.#table.release): void {
    for (let slot = FIRST_SLOT; slot < FIRST_SLOT + SLOTS; slot++) {
      this.#pushAll(Atomics.exchange(this.#wheel, slot, 0), release);
    }
  }

  #tick(nowMs: number): number {
    return tickOf(nowMs, this.#tickMs);
  }

  #next(entry: number): number {
    return Atomics.load(this.#words, (entry >> 2) + ENTRY.timer);
  }

  #chain(entry: number, rest: number): number {
    Atomics.store(this.#words, (entry >> 2) + ENTRY.timer, rest);
    return entry;
  }

  /** Push what is still in the table of a chain that this CPU owns, release the others. */
  #pushAll(first: number, release: (entry: number) => void = this.#table.release): void {
    for (let entry = first; entry !== 0;) {
      const next = this.#next(entry);
      if (this.#isLive(entry)) this.push(entry);
      else release(entry);
      entry = next;
    }
  }

  #isLive(entry: number): boolean {
    return (Atomics.load(this.#words, (entry >> 2) + ENTRY.generation) & 1) !== 0;
  }

  #expiry(entry: number): number {
    return Atomics.load(this.#words, (entry >> 2) + ENTRY.expiry);
  }

  #isUnreplied(entry: number): boolean {
    return this.#isLive(entry) && ((this.#unreplied >> (this.#expiry(entry) & 15)) & 1) !== 0;
  }

  #isOlder(entry: number, than: number): boolean {
    return later(this.#lastSeen(entry), this.#lastSeen(than)) < 0;
  }

  #lastSeen(entry: number): number {
    const word = this.#expiry(entry);
    return (word >>> 4) - this.#timeoutTicks[word & 15];
  }

  /** Returns whether the flow expired just now. The entry is on no stack. */
  #examine(entry: number, tick: number): boolean {
    const live = this.#isLive(entry);
    const due = later(this.#expiry(entry) >>> 4, tick) <= 0;
    if (live && !due) {
      this.push(entry);
      return false;
    }
    const expired = live && this.#table.remove(entry);
    this.#table.release(entry);
    return expired;
  }
}
