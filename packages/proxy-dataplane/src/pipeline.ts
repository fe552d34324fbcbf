import { hashTuple, type ConnectionCache, type FlowTable } from "@x/perf-cache";
import type { Hal, PerCpuCounters } from "@x/smp";
import {
  addCount,
  BYTES,
  CONNECTION_WORDS,
  COUNTS_STRIDE,
  HOT,
  LAST_SEEN_MS,
  ORIGINAL,
  PACKETS,
  REPLY,
  SERVER,
  STATE,
} from "./connection-layout.ts";
import { nextState } from "./connection-state.ts";
import { UNTRACKED, type Connections } from "./connections.ts";
import { Stage, TouchKind, type DataplaneObserver } from "./observer.ts";
import { KEY_WORDS, NetworkKind, PacketInfo, ParseResult } from "./packet-info.ts";
import type { PacketPool } from "./packet-pool.ts";
import { MAX_BATCH } from "./parameters.ts";
import { parseFrame } from "./parse-frame.ts";
import { IpProtocol } from "./protocols.ts";
import { rewriteEnds } from "./rewrite.ts";
import { DropReason, SLOT_OF } from "./statistics.ts";
import { BLOCKED, type SelectionSource, type Upstreams } from "./upstream.ts";
import { isSourceRouted } from "./verify-checksums.ts";

/** What becomes of a packet. */
const TRACKED = 0;
/** Sent on as it is: no IP, a fragment, an ICMP message that is no echo, or on a source route. */
const DIRECT = 1;
const DROPPED = 2;

const HOT_BYTES = (CONNECTION_WORDS - HOT) * 4;
const TUPLE_BYTES = KEY_WORDS * 4;
const DROP_SLOTS = [SLOT_OF.dropMalformed, SLOT_OF.dropNoConnection, SLOT_OF.dropNoBuffer, SLOT_OF.dropPolicy];

/** What the pipeline works with. `upstreams` gives the configuration that holds now: called once for each packet. */
export interface PipelineParts {
  readonly hal: Hal;
  readonly pool: PacketPool;
  readonly table: FlowTable;
  readonly cache: ConnectionCache;
  readonly connections: Connections;
  readonly counters: PerCpuCounters;
  readonly observer: DataplaneObserver | undefined;
  readonly source: SelectionSource;
  readonly upstreams: (locked: boolean) => Upstreams;
}

/** How one batch is to be worked on. */
export interface PipelineModes {
  zeroCopy: boolean;
  rcu: boolean;
  cache: boolean;
}

/**
 * The stages, each over a whole batch. What is known of the packets of a batch lies in columns, made once; a batch is
 * begun and ended in one call, so one set of columns serves every CPU that this thread plays.
 */
export class Pipeline {
  readonly modes: PipelineModes = { zeroCopy: true, rcu: true, cache: true };
  readonly #parts: PipelineParts;
  readonly #words: Int32Array;
  readonly #info = new PacketInfo();
  readonly #touch: ((offset: number, bytes: number, write: boolean, kind: TouchKind) => void) | undefined;
  readonly #packets = new Int32Array(MAX_BATCH);
  readonly #verdicts = new Int32Array(MAX_BATCH);
  readonly #networks = new Int32Array(MAX_BATCH);
  readonly #transports = new Int32Array(MAX_BATCH);
  readonly #tcpFlags = new Int32Array(MAX_BATCH);
  readonly #wireLengths = new Int32Array(MAX_BATCH);
  readonly #hashes = new Int32Array(MAX_BATCH);
  /** Offset of the packet's connection, direction in bit 0; 0 while it has none. */
  readonly #values = new Int32Array(MAX_BATCH);
  readonly #keys = new Int32Array(MAX_BATCH * KEY_WORDS);

  constructor(parts: PipelineParts) {
    this.#parts = parts;
    this.#words = parts.connections.words;
    const { observer } = parts;
    this.#touch = observer?.onTouch === undefined ? undefined : observer.onTouch.bind(observer);
  }

  /** Takes `batch[from, from + count)` through all stages; writes the packets to send to `out[sent ..]`, returns the new `sent`. */
  run(batch: Int32Array, from: number, count: number, nowMs: number, out: Int32Array, sent: number): number {
    const cpu = this.#parts.hal.currentCpu();
    this.#receive(cpu, batch, from, count);
    this.#told(cpu, Stage.Receive, count);
    this.#parse(cpu, count);
    this.#told(cpu, Stage.Parse, count);
    this.#hash(count);
    this.#told(cpu, Stage.Hash, count);
    this.#lookup(cpu, count);
    this.#told(cpu, Stage.Lookup, count);
    for (let i = 0; i < count; i++) if (this.#values[i] !== 0) this.#advance(i, this.#values[i], nowMs);
    this.#told(cpu, Stage.State, count);
    this.#route(cpu, count, nowMs);
    this.#told(cpu, Stage.Route, count);
    this.#rewrite(cpu, count);
    this.#told(cpu, Stage.Rewrite, count);
    const end = this.#transmit(cpu, count, out, sent);
    this.#told(cpu, Stage.Transmit, count);
    return end;
  }

  #told(cpu: number, stage: Stage, count: number): void {
    const { observer } = this.#parts;
    if (observer !== undefined) observer.onStage?.(cpu, stage, count);
  }

  #drop(cpu: number, i: number, reason: DropReason): void {
    this.#verdicts[i] = DROPPED;
    this.#parts.counters.addOn(cpu, DROP_SLOTS[reason], 1);
    this.#parts.observer?.onDrop?.(cpu, reason);
  }

  #receive(cpu: number, batch: Int32Array, from: number, count: number): void {
    const { pool } = this.#parts;
    const { zeroCopy } = this.modes;
    for (let i = 0; i < count; i++) {
      const packet = batch[from + i];
      this.#packets[i] = packet;
      this.#verdicts[i] = TRACKED;
      this.#values[i] = 0;
      this.#wireLengths[i] = pool.columns.wireLengths[packet];
      if (zeroCopy) continue;
      const copy = pool.copy(packet);
      if (copy === 0) this.#drop(cpu, i, DropReason.NoBuffer);
      else {
        pool.free(packet);
        this.#packets[i] = copy;
      }
    }
  }

  #parse(cpu: number, count: number): void {
    const { bytes, columns } = this.#parts.pool;
    const { offsets, lengths, linkTypes } = columns;
    const info = this.#info;
    const keys = this.#keys;
    const packets = this.#packets;
    const verdicts = this.#verdicts;
    for (let i = 0; i < count; i++) {
      if (verdicts[i] === DROPPED) continue;
      const packet = packets[i];
      const start = offsets[packet];
      const length = lengths[packet];
      const result = parseFrame(bytes, start, length, this.#wireLengths[i], linkTypes[packet], info);
      if (this.#touch !== undefined) this.#touch(start, Math.min(length, 64), false, TouchKind.Packet);
      if (result !== ParseResult.Ok) {
        this.#drop(cpu, i, DropReason.Malformed);
        continue;
      }
      if (!isTrackable(bytes, info)) {
        verdicts[i] = DIRECT;
        continue;
      }
      this.#networks[i] = info.networkOffset;
      this.#transports[i] = info.transportOffset;
      this.#tcpFlags[i] = info.tcpFlags;
      copyKey(info.key, keys, i * KEY_WORDS);
    }
  }

  #hash(count: number): void {
    const keys = this.#keys;
    const hashes = this.#hashes;
    const verdicts = this.#verdicts;
    for (let i = 0; i < count; i++) if (verdicts[i] === TRACKED) hashes[i] = hashTuple(keys, i * KEY_WORDS);
  }

  #lookup(cpu: number, count: number): void {
    const { counters, table, cache } = this.#parts;
    const cached = this.modes.cache;
    const keys = this.#keys;
    const hashes = this.#hashes;
    const verdicts = this.#verdicts;
    const values = this.#values;
    let hits = 0;
    let misses = 0;
    for (let i = 0; i < count; i++) {
      if (verdicts[i] !== TRACKED) continue;
      const at = i * KEY_WORDS;
      const hash = hashes[i];
      let entry = cached ? cache.lookup(table, keys, at, hash) : 0;
      if (entry !== 0) hits++;
      else {
        misses++;
        entry = table.lookup(keys, at, hash);
        if (entry !== 0 && cached) cache.insert(hash, entry, table.generation(entry));
      }
      if (entry !== 0) values[i] = table.value(entry);
    }
    if (!cached) return;
    counters.addOn(cpu, SLOT_OF.cacheHits, hits);
    counters.addOn(cpu, SLOT_OF.cacheMisses, misses);
  }

  /** Counts a packet to its connection and moves the state machine. */
  #advance(i: number, value: number, nowMs: number): void {
    const words = this.#words;
    const w = value >> 2;
    const direction = value & 1;
    const protocol = this.#keys[i * KEY_WORDS + 9] & 0xff;
    for (let state = Atomics.load(words, w + STATE); ;) {
      const next = nextState(state, protocol, direction, this.#tcpFlags[i]);
      if (next === state) break;
      const seen = Atomics.compareExchange(words, w + STATE, state, next);
      if (seen === state) break;
      state = seen;
    }
    words[w + LAST_SEEN_MS] = nowMs;
    const counts = w + direction * COUNTS_STRIDE;
    addCount(words, counts + PACKETS, 1);
    addCount(words, counts + BYTES, this.#wireLengths[i]);
    if (this.#touch !== undefined) this.#touch((w + HOT) << 2, HOT_BYTES, true, TouchKind.Connection);
  }

  #route(cpu: number, count: number, nowMs: number): void {
    const { upstreams } = this.#parts;
    const locked = !this.modes.rcu;
    const values = this.#values;
    const verdicts = this.#verdicts;
    for (let i = 0; i < count; i++) {
      if (verdicts[i] !== TRACKED) continue;
      const now = upstreams(locked);
      if (values[i] !== 0) continue;
      const value = this.#connect(i, now, nowMs);
      if (value === UNTRACKED) this.#verdicts[i] = DIRECT;
      else if (value === BLOCKED) this.#drop(cpu, i, DropReason.Policy);
      else if (value === 0) this.#drop(cpu, i, DropReason.NoConnection);
      else {
        this.#values[i] = value;
        this.#advance(i, value, nowMs);
      }
    }
  }

  /** The connection of a packet that had none when its batch was looked up: an earlier packet of the batch may have made it. */
  #connect(i: number, upstreams: Upstreams, nowMs: number): number {
    const { table, cache, connections, source } = this.#parts;
    const at = i * KEY_WORDS;
    const hash = this.#hashes[i];
    let value = 0;
    let entry = table.lookup(this.#keys, at, hash);
    if (entry !== 0) value = table.value(entry);
    else {
      const server = upstreams.choose(this.#keys, at, source);
      if (server === BLOCKED) return BLOCKED;
      value = connections.create(this.#keys, at, hash, server, upstreams, nowMs);
      if (value <= 0) return value;
      entry = table.lookup(this.#keys, at, hash);
    }
    if (entry !== 0 && this.modes.cache) cache.insert(hash, entry, table.generation(entry));
    return value;
  }

  #rewrite(cpu: number, count: number): void {
    const { pool } = this.#parts;
    const words = this.#words;
    const values = this.#values;
    const verdicts = this.#verdicts;
    for (let i = 0; i < count; i++) {
      const value = values[i];
      if (verdicts[i] !== TRACKED || value === 0) continue;
      const w = value >> 2;
      if (words[w + SERVER] === 0) continue;
      const packet = this.#packets[i];
      // Read before unshare, which gives the id away when it copies.
      const start = pool.columns.offsets[packet];
      const own = pool.unshare(packet);
      if (own === 0) {
        this.#drop(cpu, i, DropReason.NoBuffer);
        continue;
      }
      this.#packets[i] = own;
      const moved = pool.columns.offsets[own] - start;
      const to = w + ((value & 1) === 0 ? REPLY : ORIGINAL);
      const network = this.#networks[i] + moved;
      rewriteEnds(pool.bytes, network, this.#transports[i] + moved, this.#keys, i * KEY_WORDS, words, to);
      if (this.#touch === undefined) continue;
      this.#touch(to << 2, TUPLE_BYTES, false, TouchKind.Connection);
      this.#touch(network, this.#transports[i] + moved + 20 - network, true, TouchKind.Packet);
    }
  }

  #transmit(cpu: number, count: number, out: Int32Array, from: number): number {
    const { pool, counters } = this.#parts;
    let sent = from;
    let bytes = 0;
    let direct = 0;
    let backPackets = 0;
    let backBytes = 0;
    let wentBytes = 0;
    for (let i = 0; i < count; i++) {
      const length = this.#wireLengths[i];
      bytes += length;
      if (this.#verdicts[i] === DROPPED) {
        pool.free(this.#packets[i]);
        continue;
      }
      out[sent++] = this.#packets[i];
      if (this.#verdicts[i] === DIRECT) direct++;
      else if ((this.#values[i] & 1) === 0) wentBytes += length;
      else {
        backPackets++;
        backBytes += length;
      }
    }
    const passed = sent - from;
    counters.addOn(cpu, SLOT_OF.packetsProcessed, count);
    counters.addOn(cpu, SLOT_OF.bytesProcessed, bytes);
    counters.addOn(cpu, SLOT_OF.packetsDropped, count - passed);
    counters.addOn(cpu, SLOT_OF.packetsSent, passed - direct - backPackets);
    counters.addOn(cpu, SLOT_OF.bytesSent, wentBytes);
    counters.addOn(cpu, SLOT_OF.packetsReceived, backPackets);
    counters.addOn(cpu, SLOT_OF.bytesReceived, backBytes);
    counters.addOn(cpu, SLOT_OF.packetsDirect, direct);
    counters.addOn(cpu, SLOT_OF.batches, 1);
    return sent;
  }
}

/** Written out: a loop over so few words costs more. */
function copyKey(key: Int32Array, into: Int32Array, at: number): void {
  into[at] = key[0];
  into[at + 1] = key[1];
  into[at + 2] = key[2];
  into[at + 3] = key[3];
  into[at + 4] = key[4];
  into[at + 5] = key[5];
  into[at + 6] = key[6];
  into[at + 7] = key[7];
  into[at + 8] = key[8];
  into[at + 9] = key[9];
}

/** Whole IP packets; of ICMP, echoes. Others cannot be told to belong to a flow. */
function isTrackable(bytes: Uint8Array, info: PacketInfo): boolean {
  if (info.network !== NetworkKind.Ipv4 && info.network !== NetworkKind.Ipv6) return false;
  if (info.moreFragments === 1 || info.fragmentOffset > 0) return false;
  if (info.protocol === IpProtocol.Icmp || info.protocol === IpProtocol.Icmpv6) return info.isEcho === 1;
  return !isSourceRouted(bytes, info);
}
