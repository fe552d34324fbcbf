import type { FlowTable } from "@x/perf-cache";
import type { Rcu } from "@x/rcu";
import type { KmemCache } from "@x/slab";
import type { PerCpuCounters, Hal, SpinLocks } from "@x/smp";
import * as layout from "./connection-layout.ts";
import { EvictionHand } from "./connection-eviction.ts";
import { ConnectionState, nextState, stateOf, timeoutMs } from "./connection-state.ts";
import type { IdPool } from "./id-pool.ts";
import { META_FIRST_FRAGMENT, META_LATER_FRAGMENT, ROW, type PacketVector } from "./packet-vector.ts";
import { prepareDirection } from "./prepare-direction.ts";
import { IpProtocol, TcpFlag } from "./protocols.ts";
import { SequenceShifts } from "./sequence-shifts.ts";
import { SLOT_OF } from "./statistics.ts";
import { forgetWindows, judgeSegment, learnScale } from "./tcp-window.ts";
import type { ClientLimits } from "./policy/client-limits.ts";
import type { ServerStates } from "./policy/server-states.ts";
import type { FlowTarget } from "./translation/flow-target.ts";
import { NO_PORT, ReplyPlacer, TUPLE_TAKEN } from "./translation/place-reply.ts";

// An import is loaded anew wherever it is used, a constant of this module is not: packets are worked on with copies.
const { CONNECTION_WORDS, FLAG_LIBERAL, FLAG_SETTLED, FLAGS, LINE_WORDS, lineOf, ORIGINAL, REPLY, STATE } = layout;
const { values: VALUES, metas: METAS, tcpFlags: TCP_FLAGS } = ROW;
const { Tcp } = IpProtocol;
const PROTOCOL = 0xff;
const FRAGMENT = META_FIRST_FRAGMENT | META_LATER_FRAGMENT;
const { Syn, Fin, Rst } = TcpFlag;
const { Established } = ConnectionState;

/** Shared control words. Atomics only. */
export const CONTROL: { readonly cursor: 1 } = { cursor: 1 };

/**
 * {@link Connections.create}: the flow cannot be tracked because another one answers to its reply tuple; no port is left to
 * translate it to.
 */
export const UNTRACKED: number = TUPLE_TAKEN;
export const EXHAUSTED: number = NO_PORT;
/** Flags that may move an established connection. */
const NOT_PLAIN = Syn | Fin | Rst;

/** States in which a SYN begins the connection anew. */
function hasEnded(state: number): boolean {
  return state === ConnectionState.CloseWait || state === ConnectionState.Closed || state === ConnectionState.TimeWait;
}

export interface ConnectionParts {
  readonly hal: Hal;
  readonly rcu: Rcu;
  readonly table: FlowTable;
  readonly cache: KmemCache;
  readonly slotIds: IdPool;
  /** Offset of the connection in each slot, 0 = free. Atomics only. */
  readonly slots: Int32Array;
  readonly control: Int32Array;
  /** Connections there may be; there are more slots than that. */
  readonly limit: number;
  readonly counters: PerCpuCounters;
  /** The window scale that the options of the segment at position `i` ask for, -1 without one. */
  readonly windowScale: (vector: PacketVector, i: number) => number;
  readonly servers: ServerStates;
  readonly sequenceLock: SpinLocks;
  readonly limits: ClientLimits | undefined;
  readonly onConnection: ((cpu: number, connection: number, created: boolean) => void) | undefined;
  /** The state of a connection has changed. */
  readonly onUpdate: ((cpu: number, connection: number) => void) | undefined;
}

/**
 * Makes, finds and ends connections. A connection has two entries in the flow table, one for each tuple; an entry's value
 * is the connection's offset with the direction in bit 0.
 *
 * Who may touch what: see connection-layout.ts. A connection dies by one compare-exchange of its state to `Dead`; who
 * wins it takes the entries out, and gives the memory back after a grace period.
 */
export class Connections {
  readonly words: Int32Array;
  /** The same memory as doubles. */
  readonly doubles: Float64Array;
  readonly shifts: SequenceShifts;
  readonly #parts: ConnectionParts;
  readonly #placer: ReplyPlacer;
  /** Dead connections of each CPU that found no room in the callback ring. Private to this thread. */
  readonly #limbo: Int32Array;
  readonly #reclaim: (first: number) => void;
  readonly #hand = new EvictionHand();
  /** Connections that this thread has made. */
  #made = 0;

  constructor(parts: ConnectionParts) {
    this.#parts = parts;
    this.words = new Int32Array(parts.cache.buffer, 0, parts.cache.buffer.byteLength >> 2);
    this.doubles = new Float64Array(parts.cache.buffer, 0, parts.cache.buffer.byteLength >> 3);
    this.shifts = new SequenceShifts(this.words, parts.sequenceLock);
    this.#placer = new ReplyPlacer(parts.table, this.words, (w) => this.#prepare(w));
    this.#limbo = new Int32Array(parts.hal.possibleCpus);
    this.#reclaim = (first): void => this.#free(first);
  }

  /**
   * Makes the connection of the key at `keys[at ..]`, as `target` says. Returns its value (direction in bit 0); that of the
   * connection another CPU made meanwhile; 0 without memory; {@link UNTRACKED} or {@link EXHAUSTED}. The ticket of `target` goes
   * back unless a connection was made.
   */
  create(keys: Int32Array, at: number, hash: number, target: FlowTarget, vector: PacketVector, i: number): number {
    const before = this.#made;
    const value = this.#create(keys, at, hash, target, vector, i);
    if (this.#made === before) this.#parts.limits?.release(target.ticket);
    return value;
  }

  #create(keys: Int32Array, at: number, hash: number, target: FlowTarget, vector: PacketVector, i: number): number {
    const { cpu, nowMs } = vector;
    const { table, slotIds, cache } = this.#parts;
    if (this.count >= this.#parts.limit && !this.#evict(nowMs)) return 0;
    const slot = slotIds.take();
    if (slot === 0) return 0;
    const offset = cache.alloc();
    if (offset === 0) {
      slotIds.give(slot);
      return 0;
    }
    this.#fill(offset >> 2, keys, at, target, nowMs, slot, vector.tcpFlags[i]);
    this.words[(offset >> 2) + layout.FLAGS] |= (cpu + 1) << layout.OWNER_SHIFT;
    if ((vector.tcpFlags[i] & TcpFlag.Syn) === 0) this.#beLiberal(offset >> 2);
    const reply = this.#placer.place(offset >> 2, target, offset | 1, hash);
    if (reply <= 0) {
      this.#discard(offset, slot);
      return reply;
    }
    this.words[(offset >> 2) + layout.REPLY_ENTRY] = reply;
    const entry = table.insert(keys, at, hash, offset);
    const value = entry === 0 ? 0 : table.value(entry);
    if ((value & ~1) !== offset) {
      // Another CPU was faster, or the table is full. The reply entry was visible: readers may hold the connection.
      Atomics.store(this.words, (offset >> 2) + STATE, ConnectionState.Dead);
      this.#nextGeneration(offset >> 2);
      table.delete(reply);
      this.#retire(offset);
      return value;
    }
    this.#publish(offset, entry, slot);
    this.#made++;
    return offset;
  }

  /** Examines up to `limit` slots and ends the connections in them that timed out. Returns how many. */
  expire(nowMs: number, limit: number): number {
    const { control, slots, rcu } = this.#parts;
    const count = slots.length - 1;
    const examined = Math.min(limit, count);
    const from = Atomics.add(control, CONTROL.cursor, examined) >>> 0;
    let expired = 0;
    let dead = 0;
    rcu.readLock();
    for (let i = 0; i < examined; i++) {
      const offset = Atomics.load(slots, 1 + ((from + i) % count));
      if (offset === 0 || !this.#end(offset, nowMs)) continue;
      this.words[(offset >> 2) + layout.NEXT_DEAD] = dead;
      dead = offset;
      expired++;
    }
    rcu.readUnlock();
    if (dead !== 0) this.#retire(dead);
    return expired;
  }

  /** Connections there are. */
  get count(): number {
    const { counters } = this.#parts;
    return counters.sum(SLOT_OF.connectionsCreated) - counters.sum(SLOT_OF.connectionsFreed);
  }

  /** Ends a connection that may go to make room, if one is near; its memory follows after a grace period. */
  #evict(nowMs: number): boolean {
    const { slots, counters, hal } = this.#parts;
    const offset = this.#hand.next(this, slots, nowMs);
    if (offset === 0 || !this.#end(offset, nowMs, true)) return false;
    this.words[(offset >> 2) + layout.NEXT_DEAD] = 0;
    this.#retire(offset);
    counters.addOn(hal.currentCpu(), SLOT_OF.earlyDrops, 1);
    return true;
  }

  /** Milliseconds a connection may still be silent; negative when it timed out. */
  remainingMs(offset: number, nowMs: number): number {
    const w = offset >> 2;
    const { words } = this;
    const limit = timeoutMs(Atomics.load(words, w + STATE), words[w + ORIGINAL + 9] & 0xff);
    const sentMs = (nowMs - words[w + layout.LAST_SEEN_MS]) | 0;
    const receivedMs = (nowMs - words[w + layout.LINE_WORDS + layout.LAST_SEEN_MS]) | 0;
    return limit - Math.min(sentMs, receivedMs);
  }

  /**
   * Moves the state machines by the packets at `positions[0, count)` of a vector, in order. A segment that cannot be of its
   * connection moves nothing; returns how many there were.
   */
  advance(vector: PacketVector, positions: Int32Array, count: number): number {
    const { words, shifts } = this;
    const { rows } = vector;
    let outOfWindow = 0;
    for (let p = 0; p < count; p++) {
      const i = positions[p];
      const value = rows[VALUES + i];
      const w = value >> 2;
      const direction = value & 1;
      const meta = rows[METAS + i];
      if ((meta & PROTOCOL) !== Tcp) {
        this.#settle(value, meta & PROTOCOL);
        continue;
      }
      if ((meta & FRAGMENT) !== 0 && !this.#mayJudge(w, meta)) continue;
      const flags = rows[TCP_FLAGS + i];
      const line = w + direction * LINE_WORDS;
      if ((flags & Syn) !== 0) this.#synchronise(w, direction, vector, i);
      const isJudged = (words[line + FLAGS] & FLAG_LIBERAL) === 0;
      if (isJudged && !judgeSegment(words, line, w + (1 - direction) * LINE_WORDS, vector, i, shifts)) outOfWindow++;
      else if ((flags & NOT_PLAIN) !== 0 || words[w + STATE] !== Established) this.#move(w, Tcp, direction, flags);
    }
    return outOfWindow;
  }

  /** Of a segment in fragments the length is not known: its connection's windows are judged no more. A later one says nothing. */
  #mayJudge(w: number, meta: number): boolean {
    if ((meta & META_LATER_FRAGMENT) !== 0) return false;
    Atomics.or(this.words, w + FLAGS, layout.FLAG_LIBERAL);
    Atomics.or(this.words, w + LINE_WORDS + FLAGS, layout.FLAG_LIBERAL);
    return true;
  }

  /** Of what is not TCP one packet says all there is to say about the state. */
  #settle(value: number, protocol: number): void {
    this.#move(value >> 2, protocol, value & 1, 0);
    Atomics.or(this.words, lineOf(value) + FLAGS, FLAG_SETTLED);
  }

  /** A segment with SYN: the connection begins, perhaps anew, or is answered; window scales are told. */
  #synchronise(w: number, direction: number, vector: PacketVector, i: number): void {
    const { words } = this;
    const isAnswer = (vector.tcpFlags[i] & TcpFlag.Ack) !== 0;
    const line = w + direction * layout.LINE_WORDS;
    const other = w + (1 - direction) * layout.LINE_WORDS;
    const state = words[w + STATE];
    if (!isAnswer && direction === 0 && hasEnded(state)) {
      forgetWindows(words, w);
      this.shifts.forget(w);
    }
    learnScale(words, line, other, isAnswer, this.#parts.windowScale(vector, i));
  }

  #move(w: number, protocol: number, direction: number, tcpFlags: number): void {
    const { words } = this;
    for (let state = words[w + STATE]; ;) {
      const next = nextState(state, protocol, direction, tcpFlags);
      if (next === state) return;
      const seen = Atomics.compareExchange(words, w + STATE, state, next);
      if (seen === state) return this.#parts.onUpdate?.(this.#parts.hal.currentCpu(), w << 2);
      state = seen;
    }
  }

  state(offset: number): ConnectionState {
    return stateOf(Atomics.load(this.words, (offset >> 2) + STATE));
  }

  /** Connections in order of their slots. Call it where the calling CPU is a reader. */
  forEach(visit: (offset: number) => void): void {
    const { slots } = this.#parts;
    for (let slot = 1; slot < slots.length; slot++) {
      const offset = Atomics.load(slots, slot);
      if (offset !== 0) visit(offset);
    }
  }

  #fill(
    w: number,
    keys: Int32Array,
    at: number,
    target: FlowTarget,
    nowMs: number,
    slot: number,
    tcpFlags: number,
  ): void {
    const { words } = this;
    for (let i = layout.CREATED_MS; i < CONNECTION_WORDS; i++) words[w + i] = 0;
    for (let direction = 0; direction < 2; direction++) {
      const line = w + direction * layout.LINE_WORDS;
      // All but the generation, which goes on from life to life.
      for (let i = layout.GENERATION + 1; i < layout.LINE_WORDS; i++) words[line + i] = 0;
      words[line + layout.LAST_SEEN_MS] = nowMs;
    }
    for (let i = 0; i < 10; i++) words[w + ORIGINAL + i] = keys[at + i];
    for (let i = 0; i < 4; i++) words[w + REPLY + i] = target.far[i];
    words[w + REPLY + 9] = keys[at + 9];
    words[w + layout.SERVER] = target.server + 1;
    words[w + layout.SERVER_SLOT] = target.serverSlot;
    words[w + layout.TICKET] = target.ticket;
    words[w + layout.SLOT] = slot;
    words[w + layout.CREATED_MS] = nowMs;
    // Only TCP and answers change the state.
    const protocol = keys[at + 9] & 0xff;
    if (protocol !== Tcp) words[w + layout.FLAGS] = layout.FLAG_SETTLED;
    Atomics.store(words, w + STATE, nextState(ConnectionState.New, protocol, 0, tcpFlags));
  }

  /** What packets of each direction leave with: the other direction's tuple, its sides swapped. */
  #prepare(w: number): void {
    prepareDirection(this.words, w, w + ORIGINAL, w + REPLY);
    prepareDirection(this.words, w + layout.LINE_WORDS, w + REPLY, w + ORIGINAL);
  }

  /** First seen in mid-stream: the window scale is not known. */
  #beLiberal(w: number): void {
    this.words[w + layout.FLAGS] |= layout.FLAG_LIBERAL;
    this.words[w + layout.LINE_WORDS + layout.FLAGS] |= layout.FLAG_LIBERAL;
  }

  /** Caches that remember the connection know by this that it has ended. */
  #nextGeneration(w: number): void {
    this.words[w + layout.GENERATION]++;
    this.words[w + layout.LINE_WORDS + layout.GENERATION]++;
  }

  #publish(offset: number, entry: number, slot: number): void {
    const { hal, counters, slots, servers, onConnection } = this.#parts;
    const cpu = hal.currentCpu();
    const serverSlot = this.words[(offset >> 2) + layout.SERVER_SLOT];
    if (serverSlot !== 0) servers.opened(serverSlot);
    this.words[(offset >> 2) + layout.ORIGINAL_ENTRY] = entry;
    Atomics.store(slots, slot, offset);
    counters.addOn(cpu, SLOT_OF.connectionsCreated, 1);
    if (onConnection !== undefined) onConnection(cpu, offset, true);
  }

  /** Ends a connection that has timed out, or in any case; false when it was not to end, or another CPU has ended it. */
  #end(offset: number, nowMs: number, isForced = false): boolean {
    const { table, slots, servers, hal, onConnection } = this.#parts;
    const { words } = this;
    const w = offset >> 2;
    const state = Atomics.load(words, w + STATE);
    if (state === ConnectionState.Dead || (!isForced && this.remainingMs(offset, nowMs) > 0)) return false;
    if (Atomics.compareExchange(words, w + STATE, state, ConnectionState.Dead) !== state) return false;
    this.#nextGeneration(w);
    Atomics.store(slots, words[w + layout.SLOT], 0);
    this.#parts.limits?.release(words[w + layout.TICKET]);
    if (words[w + layout.SERVER_SLOT] !== 0) servers.closed(words[w + layout.SERVER_SLOT]);
    const original = words[w + layout.ORIGINAL_ENTRY];
    const reply = words[w + layout.REPLY_ENTRY];
    table.delete(original);
    if (reply !== original) table.delete(reply);
    this.#parts.counters.addOn(hal.currentCpu(), SLOT_OF.connectionsFreed, 1);
    if (onConnection !== undefined) onConnection(hal.currentCpu(), offset, false);
    return true;
  }

  /** Nothing of it was published. */
  #discard(offset: number, slot: number): void {
    this.#parts.cache.free(offset);
    this.#parts.slotIds.give(slot);
  }

  /** Gives a chain of dead connections back after a grace period; one callback for the whole chain. */
  #retire(first: number): void {
    const { hal, rcu } = this.#parts;
    const cpu = hal.currentCpu();
    let last = first;
    while (this.#next(last) !== 0) last = this.#next(last);
    this.words[(last >> 2) + layout.NEXT_DEAD] = this.#limbo[cpu];
    this.#limbo[cpu] = rcu.tryCall(this.#reclaim, first) ? 0 : first;
  }

  #next(offset: number): number {
    return this.words[(offset >> 2) + layout.NEXT_DEAD];
  }

  #free(first: number): void {
    const { cache, slotIds, counters, hal } = this.#parts;
    for (let offset = first; offset !== 0;) {
      const next = this.#next(offset);
      slotIds.give(this.words[(offset >> 2) + layout.SLOT]);
      cache.free(offset);
      offset = next;
    }
    counters.addOn(hal.currentCpu(), SLOT_OF.rcuGracePeriods, 1);
  }
}
