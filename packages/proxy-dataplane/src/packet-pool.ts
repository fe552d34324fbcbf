import { KmemCache, type PageSource } from "@x/slab";
import { CACHE_LINE_BYTES, PerCpuCounters, soloHal, type Hal } from "@x/smp";
import { DataplaneError } from "./errors.ts";
import { IdPool, type IdPoolHandle } from "./id-pool.ts";
import { appendPiece, chainBytes, cloneTail, gather } from "./packet-chain.ts";
import { columnBytes, columnsOf, type PacketColumns, type PrivateColumns } from "./packet-columns.ts";
import type {
  PacketId,
  PacketPoolHandle,
  PacketPoolObserver,
  PacketPoolOptions,
  PacketPoolStats,
  PoolObservers,
} from "./packet-pool-types.ts";
import { arenaBytes, HEAD_ROOM_BYTES, requireRange, strideBytes } from "./packet-buffers.ts";
import { PacketWriter } from "./packet-writer.ts";
import type { PacketInfo, ParseResult } from "./packet-info.ts";
import { parseFrame } from "./parse-frame.ts";
import { LinkType } from "./protocols.ts";

const COUNTERS = ["allocated", "freed", "cloned", "copied", "copiedBytes", "exhausted"] as const;
const ALLOCATED = 0;
const FREED = 1;
const CLONED = 2;
const COPIED = 3;
const COPIED_BYTES = 4;
const EXHAUSTED = 5;

const DEFAULT_BUFFER_BYTES = 2048;
const MIN_BUFFER_BYTES = 64;
const MAX_BUFFER_BYTES = 65536;
const MAX_BUFFERS = 1 << 20;
/**
 * Packets in one pool of shared buffers, named by id and passed by id. A clone shares the bytes of its packet; the buffer
 * is free when the last that uses it is. Buffers come from a `KmemCache` when an id is first used, so from the memory of
 * the CPU that uses it, and stay with the id.
 *
 * Thread-safety: any CPU allocates and frees; a packet belongs to one CPU at a time. Ids rest in small stacks per CPU
 * (half of the pool at most), which other CPUs cannot reach: size a pool for that. Cost: a few plain loads and stores;
 * a lock for every 32nd operation.
 *
 * @public
 */
export class PacketPool {
  readonly handle: PacketPoolHandle;
  /** All memory the buffers are in. */
  readonly bytes: Uint8Array;
  readonly columns: PacketColumns;
  /**
   * All columns of words one behind the other, `stride` apart: what reads many of them needs one array.
   *
   * @internal
   */
  readonly rows: { readonly all: Int32Array; readonly stride: number };
  /** The same memory as words, as the host reads them. */
  readonly words: Int32Array;
  /** Most bytes of a packet that was just allocated. */
  readonly bufferBytes: number;
  readonly #hal: Hal;
  readonly #columns: PacketColumns & PrivateColumns;
  readonly #cache: KmemCache;
  readonly #owners: IdPool;
  readonly #clones: IdPool;
  readonly #counters: PerCpuCounters;
  readonly #observer: PacketPoolObserver | undefined;
  readonly #isChecked: boolean;
  readonly #writer: PacketWriter;

  private constructor(handle: PacketPoolHandle, hal: Hal, cache: KmemCache, options: PoolObservers) {
    this.handle = handle;
    this.#hal = hal;
    this.#cache = cache;
    this.bytes = new Uint8Array(cache.buffer);
    this.words = new Int32Array(cache.buffer, 0, cache.buffer.byteLength >> 2);
    this.#writer = new PacketWriter(this.bytes, this.words);
    this.bufferBytes = handle.bufferBytes;
    this.#columns = columnsOf(handle.columns, handle.buffers + handle.clones);
    this.columns = this.#columns;
    this.rows = this.#columns;
    this.#owners = IdPool.attach(handle.owners as IdPoolHandle, hal, options.lockObserver);
    this.#clones = IdPool.attach(handle.clonesIds as IdPoolHandle, hal, options.lockObserver);
    this.#counters = PerCpuCounters.attach(handle.counters, { hal });
    this.#observer = options.observer;
    this.#isChecked = handle.checked;
  }

  /** Make a pool. Throws `DATAPLANE_INVALID_ARGUMENT`. */
  static create(options: PacketPoolOptions): PacketPool {
    const { buffers, bufferBytes = DEFAULT_BUFFER_BYTES, hal = soloHal(), checked = false } = options;
    const clones = options.clones ?? buffers;
    requireRange("buffers", buffers, 1, MAX_BUFFERS);
    requireRange("clones", clones, 0, MAX_BUFFERS);
    requireRange("bufferBytes", bufferBytes, MIN_BUFFER_BYTES, MAX_BUFFER_BYTES);
    const cache = KmemCache.create({
      name: "packet-buffers",
      objectSize: strideBytes(bufferBytes),
      align: CACHE_LINE_BYTES,
      hal,
      memoryLimit: arenaBytes(buffers, bufferBytes),
      lockObserver: options.lockObserver,
      ...(options.pages === undefined ? {} : { pages: options.pages }),
    });
    const ids = (name: string, first: number, count: number): IdPoolHandle =>
      IdPool.create({ name, first, count, hal }).handle;
    const handle: PacketPoolHandle = {
      buffers,
      clones,
      bufferBytes,
      checked,
      columns: new SharedArrayBuffer(columnBytes(buffers + clones)),
      cache: cache.handle,
      owners: ids("packet-ids", 1, buffers),
      clonesIds: ids("clone-ids", buffers + 1, clones),
      counters: PerCpuCounters.create({ names: COUNTERS, hal }).handle,
    };
    const pool = new PacketPool(handle, hal, cache, options);
    for (let id = 1; id <= buffers; id++) pool.#columns.owners[id] = id;
    return pool;
  }

  /** Join from another thread. `pages` is needed when the pool was created with it. */
  static attach(handle: PacketPoolHandle, options: { hal?: Hal; pages?: PageSource } & PoolObservers = {}): PacketPool {
    const hal = options.hal ?? soloHal();
    const cache = KmemCache.attach(handle.cache, {
      hal,
      lockObserver: options.lockObserver,
      ...(options.pages === undefined ? {} : { pages: options.pages }),
    });
    return new PacketPool(handle, hal, cache, options);
  }

  /** Packets and clones that are out. */
  get inUse(): number {
    return this.#counters.sum(ALLOCATED) + this.#counters.sum(CLONED) - this.#counters.sum(FREED);
  }

  /** A packet of length 0 with a buffer of its own; 0 when none is in reach. */
  alloc(): PacketId {
    const cpu = this.#hal.currentCpu();
    const id = this.#owners.take();
    if (id === 0 || !this.#hasBuffer(id)) {
      this.#counters.addOn(cpu, EXHAUSTED, 1);
      if (this.#observer !== undefined) this.#observer.onAlloc?.(0);
      return 0;
    }
    this.#begin(id);
    this.#counters.addOn(cpu, ALLOCATED, 1);
    if (this.#observer !== undefined) this.#observer.onAlloc?.(id);
    return id;
  }

  /**
   * {@link PacketPool.alloc} for up to `count` packets into `out`; returns how many there were. Cheaper than one by one.
   */
  allocMany(out: Int32Array, count: number): number {
    const cpu = this.#hal.currentCpu();
    const taken = this.#owners.takeMany(out, count);
    let made = 0;
    for (let i = 0; i < taken; i++) {
      const id = out[i];
      if (!this.#hasBuffer(id)) continue;
      out[made++] = id;
      this.#begin(id);
      if (this.#observer !== undefined) this.#observer.onAlloc?.(id);
    }
    this.#counters.addOn(cpu, ALLOCATED, made);
    if (made < count) this.#counters.addOn(cpu, EXHAUSTED, count - made);
    return made;
  }

  /** {@link PacketPool.free} for `ids[0, count)`. Throws `DATAPLANE_INVALID_PACKET` at the first that is not out. */
  freeMany(ids: Int32Array, count: number): void {
    for (let i = 0; i < count; i++) this.#end(ids[i]);
    this.#counters.addOn(this.#hal.currentCpu(), FREED, count);
  }

  /** Give a packet or clone back. Throws `DATAPLANE_INVALID_PACKET` unless it is out. */
  free(id: PacketId): void {
    this.#end(id);
    this.#counters.addOn(this.#hal.currentCpu(), FREED, 1);
  }

  /** A second packet over the same bytes, of all pieces; 0 when clones do not suffice. The fallback is {@link PacketPool.copy}. */
  clone(id: PacketId): PacketId {
    const clone = this.clonePiece(id);
    if (clone === 0 || this.#columns.nexts[id] === 0 || cloneTail(this, id, clone)) return clone;
    this.free(clone);
    return 0;
  }

  /** {@link PacketPool.clone} of one piece. */
  clonePiece(id: PacketId): PacketId {
    this.#require(id);
    const columns = this.#columns;
    const cpu = this.#hal.currentCpu();
    const clone = this.#clones.take();
    if (clone === 0) {
      this.#counters.addOn(cpu, EXHAUSTED, 1);
      return 0;
    }
    Atomics.add(columns.references, columns.owners[id], 1);
    columns.owners[clone] = columns.owners[id];
    columns.offsets[clone] = columns.offsets[id];
    columns.live[clone] = 1;
    columns.nexts[clone] = 0;
    columns.holders[clone] = this.#holder();
    this.#copyColumns(id, clone);
    this.#counters.addOn(cpu, CLONED, 1);
    if (this.#observer !== undefined) this.#observer.onClone?.(id, clone);
    return clone;
  }

  /** A packet with a copy of the bytes, those of all pieces in one buffer; 0 when there is no buffer, or they do not fit one. */
  copy(id: PacketId): PacketId {
    this.#require(id);
    const length = chainBytes(this.#columns, id);
    if (length > this.bufferBytes) return 0;
    const copy = this.alloc();
    if (copy === 0) return 0;
    const to = this.#columns.offsets[copy];
    gather(this, id, to);
    this.#copyColumns(id, copy);
    this.#columns.lengths[copy] = length;
    this.#countCopy(this.#columns.offsets[id], to, length);
    return copy;
  }

  /** Puts a packet, or chain, behind the last piece of another: from then on both are one packet, and `piece` is no one's. */
  append(id: PacketId, piece: PacketId): void {
    this.#require(id);
    this.#require(piece);
    appendPiece(this.#columns, id, piece);
  }

  /** Bytes of a packet in all its pieces. */
  lengthOf(id: PacketId): number {
    return chainBytes(this.#columns, id);
  }

  /** Whether the bytes of a packet lie in more than one buffer. */
  linearizeNeeded(id: PacketId): boolean {
    return this.#columns.nexts[id] !== 0;
  }

  /** The packet in one buffer: itself, or a copy in its place; 0 (and nothing changed) without a buffer, or one that is too small. */
  linearize(id: PacketId): PacketId {
    if (!this.linearizeNeeded(id)) return id;
    const copy = this.copy(id);
    if (copy !== 0) this.free(id);
    return copy;
  }

  /** The calling CPU holds the packet from now on. In a checked pool nobody else may; throws `DATAPLANE_WRONG_OWNER` if somebody does. */
  markOwned(id: PacketId): void {
    this.#require(id);
    this.#columns.holders[id] = this.#hal.currentCpu() + 1;
  }

  /** The calling CPU gives the packet up, for another one to take: before it is pushed to a ring, for example. */
  handOver(id: PacketId): void {
    this.#require(id);
    this.#columns.holders[id] = 0;
  }

  /** The CPU that holds the packet, as far as it was marked; -1 when not. */
  holderOf(id: PacketId): number {
    return this.#columns.holders[id] - 1;
  }

  /** Throws `DATAPLANE_INVALID_PACKET` unless the packet is out, `DATAPLANE_WRONG_OWNER` in a checked pool when another CPU holds it. */
  requireOwned(id: PacketId): void {
    this.#require(id);
  }

  /** Whether another packet uses the same bytes: then they must not be changed. */
  isShared(id: PacketId): boolean {
    return Atomics.load(this.#columns.references, this.#columns.owners[id]) > 1;
  }

  /**
   * Whether the holder of the packet is the only one that uses its bytes. A plain load: who would make another user holds the
   * packet, so nobody but the caller can; a count that another CPU has just brought down to one may still be seen as more.
   */
  isSole(id: PacketId): boolean {
    const { references, owners } = this.#columns;
    return references[id <= this.handle.buffers ? id : owners[id]] === 1;
  }

  /** The packet itself when nobody shares its bytes; else a copy in its place, 0 (and nothing changed) without a buffer. */
  unshare(id: PacketId): PacketId {
    if (!this.isShared(id)) return id;
    const copy = this.copy(id);
    if (copy !== 0) this.free(id);
    return copy;
  }

  /**
   * Fill a packet from outside and set its lengths. Throws `DATAPLANE_INVALID_ARGUMENT` when it does not fit,
   * `DATAPLANE_INVALID_PACKET` when it is not out or its bytes are shared.
   */
  write(id: PacketId, bytes: Uint8Array, from: number, length: number, wireLength: number = length): void {
    this.#require(id);
    if (this.isShared(id)) throw new DataplaneError("DATAPLANE_INVALID_PACKET", `packet ${id} shares its bytes`);
    if (length < 0 || from < 0 || length > this.bufferBytes || from + length > bytes.length) {
      throw new DataplaneError(
        "DATAPLANE_INVALID_ARGUMENT",
        `${length} bytes at ${from} of ${bytes.length} do not fit a buffer of ${this.bufferBytes}`,
      );
    }
    const columns = this.#columns;
    const to = columns.offsets[id];
    this.#writer.write(to, bytes, from, length);
    columns.lengths[id] = length;
    columns.wireLengths[id] = wireLength;
    if (this.#observer !== undefined) this.#observer.onCopy?.(-1, to, length);
  }

  stats(): PacketPoolStats {
    return this.#counters.snapshot() as unknown as PacketPoolStats;
  }

  /** Return the ids and buffers that rest with `cpu`, which has stopped. */
  flushCpu(cpu: number): void {
    this.#owners.drain(cpu);
    this.#clones.drain(cpu);
    this.#cache.flushCpu(cpu);
  }

  /** A packet of length 0 in a buffer that was taken. */
  #begin(id: PacketId): void {
    const columns = this.#columns;
    columns.offsets[id] = columns.buffers[id] + HEAD_ROOM_BYTES;
    columns.lengths[id] = 0;
    columns.wireLengths[id] = 0;
    columns.linkTypes[id] = LinkType.Ethernet;
    columns.marks[id] = 0;
    columns.timestampsNs[id] = 0;
    columns.hashes[id] = 0;
    columns.queues[id] = 0;
    columns.nexts[id] = 0;
    columns.holders[id] = this.#holder();
    columns.live[id] = 1;
    // Plain: the id is this CPU's alone until it hands the packet on.
    columns.references[id] = 1;
  }

  #end(id: PacketId): void {
    const columns = this.#columns;
    this.#require(id);
    if (columns.nexts[id] !== 0) this.#endTail(id);
    columns.live[id] = 0;
    const owner = columns.owners[id];
    if (this.#observer !== undefined) this.#observer.onFree?.(id);
    if (id !== owner) this.#clones.give(id);
    // The only user may skip the locked subtraction: nobody else can make another user.
    if (columns.references[owner] === 1 || Atomics.sub(columns.references, owner, 1) === 1) this.#owners.give(owner);
  }

  #endTail(id: PacketId): void {
    const { nexts } = this.#columns;
    for (let piece = nexts[id]; piece !== 0;) {
      const next = nexts[piece];
      nexts[piece] = 0;
      this.free(piece);
      piece = next;
    }
    nexts[id] = 0;
  }

  #hasBuffer(id: PacketId): boolean {
    const { buffers } = this.#columns;
    if (buffers[id] !== 0) return true;
    buffers[id] = this.#cache.alloc();
    if (buffers[id] !== 0) return true;
    this.#owners.give(id);
    return false;
  }

  /** What a packet that this CPU makes is marked with. A method: V8 11 calls into its runtime for a private getter. */
  #holder(): number {
    return this.#isChecked ? this.#hal.currentCpu() + 1 : 0;
  }

  #require(id: PacketId): void {
    if (this.#columns.live[id] !== 1) throw new DataplaneError("DATAPLANE_INVALID_PACKET", `packet ${id} is not out`);
    if (this.#isChecked) this.#requireHolder(id);
  }

  #requireHolder(id: PacketId): void {
    const holder = this.#columns.holders[id];
    const cpu = this.#hal.currentCpu();
    if (holder === 0 || holder === cpu + 1) return;
    throw new DataplaneError("DATAPLANE_WRONG_OWNER", `packet ${id} belongs to CPU ${holder - 1}, not to CPU ${cpu}`);
  }

  #copyColumns(from: PacketId, to: PacketId): void {
    const columns = this.#columns;
    columns.lengths[to] = columns.lengths[from];
    columns.wireLengths[to] = columns.wireLengths[from];
    columns.linkTypes[to] = columns.linkTypes[from];
    columns.marks[to] = columns.marks[from];
    columns.hashes[to] = columns.hashes[from];
    columns.queues[to] = columns.queues[from];
    columns.timestampsNs[to] = columns.timestampsNs[from];
  }

  #countCopy(from: number, to: number, length: number): void {
    const cpu = this.#hal.currentCpu();
    this.#counters.addOn(cpu, COPIED, 1);
    this.#counters.addOn(cpu, COPIED_BYTES, length);
    if (this.#observer !== undefined) this.#observer.onCopy?.(from, to, length);
  }
}

/**
 * {@link parseFrame} for a packet of a pool.
 *
 * @public
 */
export function parsePacket(pool: PacketPool, id: PacketId, out: PacketInfo): ParseResult {
  const { offsets, lengths, wireLengths, linkTypes } = pool.columns;
  return parseFrame(pool.bytes, offsets[id], lengths[id], wireLengths[id], linkTypes[id], out);
}
