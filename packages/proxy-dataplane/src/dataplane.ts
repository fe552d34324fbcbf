import { FlowTable } from "@x/perf-cache";
import { KmemCache } from "@x/slab";
import { PerCpuCounters, soloHal, SpinLocks, type CpuId, type Hal, type LockObserver } from "@x/smp";
import { AnswerLimit } from "./answer-limit.ts";
import { Answers } from "./answers.ts";
import { describeConnection } from "./connection-report.ts";
import { Connections } from "./connections.ts";
import { countAllocations, countLocks } from "./counting.ts";
import { createShared } from "./create-dataplane.ts";
import type { ConnectionInfo, DataplaneHandle, DataplaneJoin, DataplaneOptions } from "./dataplane-options.ts";
import { FlowCache } from "./flow-cache.ts";
import type { NodeStatistics } from "./graph.ts";
import type { NetworkPath } from "./network-options.ts";
import type { Modes, NodeParts } from "./node-parts.ts";
import { formatStatistics } from "./dump.ts";
import { DataplaneError } from "./errors.ts";
import { IdPool, type IdPoolHandle } from "./id-pool.ts";
import { PacketBatch, type BatchOwner, type PacketBatchOptions } from "./packet-batch.ts";
import type { PacketId } from "./packet-pool-types.ts";
import {
  decodeParameter,
  encodeParameter,
  PARAMETER,
  type ProxyParameter,
  type ProxyParameters,
} from "./parameters.ts";
import { transportOf, type PacketVector } from "./packet-vector.ts";
import { PayloadEditor } from "./payload-edit.ts";
import { packetsOfOne, Pipeline } from "./pipeline.ts";
import type { ProxyConfig } from "./policy/config.ts";
import { FlowFacts } from "./policy/facts.ts";
import { ServerSelector } from "./policy/server-selector.ts";
import { ServerStates } from "./policy/server-states.ts";
import { seededRandom } from "./random.ts";
import {
  cpuStatistics,
  DETAILS,
  proxyStatistics,
  SLOT_OF,
  type CounterName,
  type CpuStatistics,
  type DetailName,
  type ProxyStatistics,
} from "./statistics.ts";
import { windowScaleAt } from "./tcp-window.ts";
import { Upstreams } from "./upstream.ts";

const NS_PER_MS = 1e6;

/**
 * The data path of a proxy: packets in, packets out.
 *
 * ```text
 * receive → parse → hash → look up → state → route → rewrite → transmit      each over a batch
 * ```
 *
 * Each is a node of a graph; `nodes` adds more. A new TCP or UDP flow that the configuration selects is bound to a server; its packets go there with their destination
 * rewritten, and answers come back with the source the client expects. Everything else is sent on as it is.
 *
 * Thread-safety: one instance per thread, attached to shared connections, table, caches and counts. A packet belongs to
 * the CPU that processes it. Nothing on the path allocates; known connections take no lock.
 *
 * @public
 */
export class Dataplane {
  readonly handle: DataplaneHandle;
  readonly #hal: Hal;
  readonly #join: DataplaneJoin;
  readonly #table: FlowTable;
  readonly #cache: FlowCache;
  readonly #modes: Modes = { zeroCopy: true, rcu: true, cache: true, spread: false };
  readonly #memory: KmemCache;
  readonly #connections: Connections;
  readonly #counters: PerCpuCounters;
  readonly #parameters: Int32Array;
  readonly #control: Int32Array;
  readonly #configLock: SpinLocks;
  readonly #servers: ServerStates;
  readonly #selector: ServerSelector;
  readonly #pipeline: Pipeline;
  readonly #editor: PayloadEditor;
  readonly #packetsOfOne: number;
  readonly #held: number;
  readonly #countGracePeriod: () => void;
  readonly #owner: BatchOwner;
  /** By CPU that this thread plays. */
  readonly #batches: readonly PacketBatch[];
  #compiledFrom: ProxyConfig | undefined;
  #compiled!: Upstreams;

  private constructor(handle: DataplaneHandle, join: DataplaneJoin) {
    const hal = join.hal ?? soloHal();
    this.handle = handle;
    this.#hal = hal;
    this.#join = join;
    this.#counters = PerCpuCounters.attach(handle.counters, { hal });
    this.#parameters = new Int32Array(handle.parameters);
    this.#control = new Int32Array(handle.control);
    const lockObserver = countLocks(this.#counters, hal, join.lockObserver);
    const shared = { hal, lockObserver, ...(join.pages === undefined ? {} : { pages: join.pages }) };
    this.#table = join.table ?? FlowTable.attach(handle.table, { ...shared, rcu: join.rcu });
    this.#cache = join.cache ?? FlowCache.attach(handle.cache);
    this.#memory = KmemCache.attach(handle.connections, { ...shared, observer: countAllocations(this.#counters, hal) });
    this.#configLock = SpinLocks.attach(handle.configLock, { hal, observer: lockObserver });
    this.#servers = ServerStates.attach(handle.servers, { hal, lockObserver });
    this.#selector = this.#makeSelector();
    this.#connections = this.#makeConnections(lockObserver);
    this.#pipeline = this.#makePipeline();
    this.#editor = new PayloadEditor(join.pool, this.#connections.shifts);
    this.#packetsOfOne = packetsOfOne(handle.path as NetworkPath, join.pool.bufferBytes);
    this.#held = (handle.path as NetworkPath).heldFragments;
    this.#countGracePeriod = (): void => this.#counters.addOn(hal.currentCpu(), SLOT_OF.rcuGracePeriods, 1);
    this.#owner = {
      now: () => hal.now(),
      batchSize: () => this.#batchSize(),
      roomFor: (count) => this.roomFor(count),
      process: (packets, count, out) => this.#process(packets, 0, count, out),
      drop: (packet) => join.pool.free(packet),
    };
    this.#batches = Array.from({ length: hal.possibleCpus }, () => new PacketBatch(this.#owner));
  }

  /** Make a data path. Throws `DATAPLANE_INVALID_ARGUMENT`, `DATAPLANE_INVALID_PARAMETER`. */
  static create(options: DataplaneOptions): Dataplane {
    const { handle, parameters } = createShared(options);
    const dataplane = new Dataplane(handle, options);
    for (const name of Object.keys(parameters) as ProxyParameter[]) dataplane.setParameter(name, parameters[name]);
    return dataplane;
  }

  /** Join from another thread. */
  static attach(handle: DataplaneHandle, join: DataplaneJoin): Dataplane {
    return new Dataplane(handle, join);
  }

  /**
   * Takes `batch[0, count)` through the data path on the calling CPU. Each packet is consumed: it comes out in `out` to be
   * sent (the caller frees it then), under its own id or that of a copy, or is dropped, counted and freed.
   *
   * @param out - must have room for {@link Dataplane.roomFor} of `count`
   * @returns how many packets are in `out`
   *
   * Throws `DATAPLANE_INVALID_ARGUMENT` when `out` is too small. RCU: the CPU must be online; between calls it should
   * announce quiescent states. Cost: no allocation.
   */
  process(batch: Int32Array, count: number, out: Int32Array): number {
    if (this.roomFor(count) > out.length || count > batch.length) {
      throw new DataplaneError("DATAPLANE_INVALID_ARGUMENT", `${count} packets, but room for ${out.length} in out`);
    }
    return count === 0 ? 0 : this.#process(batch, 0, count, out);
  }

  /**
   * Packets that `count` packets may leave as: more than `count` when the path has an MTU that IPv4 packets are fragmented for, or
   * fragments may wait for the first of their datagram.
   */
  roomFor(count: number): number {
    return (count + this.#held) * this.#packetsOfOne;
  }

  /**
   * Adds a packet to the calling CPU's batch, and processes the batch when it is full (`perf_batch_size`; every packet at
   * once while batching is off). Returns how many packets are in `out`, 0 while the batch fills.
   */
  addToBatch(packet: PacketId, out: Int32Array): number {
    const batch = this.#batch();
    return batch.add(packet) ? batch.process(out) : 0;
  }

  /** Processes what waits in the calling CPU's batch. */
  flush(out: Int32Array): number {
    return this.#batch().flush(out);
  }

  /** {@link Dataplane.flush} if the oldest packet has waited for `maxAgeNs`: call it from a timer, so that none waits for ever. */
  flushOlderThan(maxAgeNs: number, out: Int32Array): number {
    return this.#batch().flushOlderThan(maxAgeNs, out);
  }

  /** Packets that wait in the calling CPU's batch. */
  get pending(): number {
    return this.#batch().count;
  }

  /** A batch of the caller's own; `undefined` while batching is off: then packets are processed one by one. */
  allocBatch(options?: PacketBatchOptions): PacketBatch | undefined {
    return this.getParameter("perf_enable_batching") ? new PacketBatch(this.#owner, options) : undefined;
  }

  /** A second packet of the same bytes: shared with zero-copy, else copied; copied too when no clone is left. 0: none. */
  clonePacket(packet: PacketId): PacketId {
    const { pool } = this.#join;
    const clone = this.getParameter("perf_enable_zero_copy") ? pool.clone(packet) : 0;
    return clone === 0 ? pool.copy(packet) : clone;
  }

  /**
   * For a node between `route` and `rewrite`: puts `replacement` in place of `length` bytes from `offset` of the payload of the TCP or UDP packet at
   * `position`. Lengths and checksums follow, and from then on the sequence numbers, acknowledgements and selective
   * acknowledgements of the connection, in both directions (as Linux's nf_conntrack_seqadj does for its helpers).
   *
   * Returns false when the packet is a fragment or not here whole, or would not fit a buffer or its length field. Throws
   * `DATAPLANE_INVALID_ARGUMENT` when it belongs to no connection, or has no such bytes. Cost: a copy of the packet when it grows.
   */
  replacePayload(
    vector: PacketVector,
    position: number,
    offset: number,
    length: number,
    replacement: Uint8Array,
  ): boolean {
    return this.#editor.replace(vector, position, offset, length, replacement);
  }

  /** Change a parameter; every CPU obeys with its next batch. Throws `DATAPLANE_INVALID_PARAMETER`. */
  setParameter<Name extends ProxyParameter>(name: Name, value: ProxyParameters[Name]): void {
    const word = encodeParameter(name, value, this.#cache.handle.maxEntries);
    if (name === "perf_cache_size" && word !== 0 && word !== this.#cache.entries) this.#cache.resize(word);
    Atomics.store(this.#parameters, PARAMETER[name], word);
  }

  getParameter<Name extends ProxyParameter>(name: Name): ProxyParameters[Name] {
    if (!Object.hasOwn(PARAMETER, name)) {
      throw new DataplaneError("DATAPLANE_INVALID_PARAMETER", `no parameter is named ${name}`);
    }
    return decodeParameter(name, Atomics.load(this.#parameters, PARAMETER[name]));
  }

  /** Publish another configuration; returns its version. Throws `DATAPLANE_INVALID_CONFIG`, and what the cell throws. */
  updateConfig(next: ProxyConfig): number {
    this.#configLock.lock();
    try {
      const version = this.#join.config.update(next);
      this.#join.rcu.tryCall(this.#countGracePeriod, 0);
      return version;
    } finally {
      this.#configLock.unlock();
    }
  }

  /** Ends connections, and this thread's datagrams in fragments, that timed out: examines up to `limit` places of the connection list, going on where any CPU left off. */
  expire(nowNs: number = this.#hal.now(), limit: number = Number.MAX_SAFE_INTEGER): number {
    this.#pipeline.expire(this.#toMs(nowNs));
    return this.#connections.expire(this.#toMs(nowNs), limit);
  }

  get connectionCount(): number {
    return this.#connections.count;
  }

  /** A copy of what is known of the connection that an observer names, while it is told of it. */
  connection(id: number): ConnectionInfo {
    return describeConnection(this.#connections, id, this.#toMs(this.#hal.now()));
  }

  /** The connections, each a copy. For reports. */
  *connections(): IterableIterator<ConnectionInfo> {
    const found: ConnectionInfo[] = [];
    const nowMs = this.#toMs(this.#hal.now());
    this.#join.rcu.readLock();
    this.#connections.forEach((offset) => found.push(describeConnection(this.#connections, offset, nowMs)));
    this.#join.rcu.readUnlock();
    yield* found;
  }

  /** The twelve counts of `cpu`, or the sums over all CPUs. */
  statistics(cpu?: CpuId): CpuStatistics {
    const all = this.#counters.snapshot(cpu) as Record<CounterName, number>;
    return cpuStatistics(all, cpu === undefined ? this.#latestUpdate() : all.lastUpdatedNs);
  }

  /** The totals of the proxy. */
  aggregate(): ProxyStatistics {
    return proxyStatistics(this.#counters, this.connectionCount);
  }

  /** Packets dropped by reason, sent on untracked, or sent on though their TCP window says no; and batches. */
  details(cpu?: CpuId): Record<DetailName, number> {
    const all = this.#counters.snapshot(cpu) as Record<CounterName, number>;
    return Object.fromEntries(DETAILS.map((name) => [name, all[name]])) as Record<DetailName, number>;
  }

  /** Figures of the nodes of the graph, in order: of `cpu`, or sums. */
  nodeStatistics(cpu?: CpuId): NodeStatistics[] {
    return this.#pipeline.graph.statistics(cpu);
  }

  /** The report of the original module, as text. */
  dumpStats(): string {
    const cpus = Array.from({ length: this.#hal.possibleCpus }, (_, cpu) => this.statistics(cpu));
    return formatStatistics(cpus, this.statistics(), this.#table.stats(), this.#memory.stats());
  }

  /** Set all counts to 0, connections that exist excepted. Only while no CPU counts. */
  resetStats(): void {
    const active = this.connectionCount;
    this.#counters.reset();
    this.#counters.addOn(0, SLOT_OF.connectionsCreated, active);
    this.#table.resetStats();
    this.#pipeline.graph.reset();
  }

  #process(batch: Int32Array, from: number, count: number, out: Int32Array): number {
    const hal = this.#hal;
    const cpu = hal.currentCpu();
    const startNs = hal.now();
    const nowMs = this.#toMs(startNs);
    const { rcu } = this.#join;
    this.#readModes();
    const size = this.#batchSize();
    let sent = 0;
    rcu.readLock();
    try {
      for (let at = 0; at < count; at += size) {
        sent = this.#pipeline.run(batch, from + at, Math.min(size, count - at), nowMs, out, sent);
      }
    } finally {
      rcu.readUnlock();
    }
    const endNs = hal.now();
    const counters = this.#counters;
    counters.addOn(cpu, SLOT_OF.processingTimeNs, endNs - startNs);
    counters.addOn(cpu, SLOT_OF.lastUpdatedNs, endNs - counters.read(cpu, SLOT_OF.lastUpdatedNs));
    return sent;
  }

  #batch(): PacketBatch {
    return this.#batches[this.#hal.currentCpu()];
  }

  #batchSize(): number {
    if (Atomics.load(this.#parameters, PARAMETER.perf_enable_batching) === 0) return 1;
    return Atomics.load(this.#parameters, PARAMETER.perf_batch_size);
  }

  #readModes(): void {
    const modes = this.#modes;
    modes.zeroCopy = Atomics.load(this.#parameters, PARAMETER.perf_enable_zero_copy) !== 0;
    modes.rcu = Atomics.load(this.#parameters, PARAMETER.perf_enable_rcu) !== 0;
    modes.cache = Atomics.load(this.#parameters, PARAMETER.perf_cache_size) !== 0;
  }

  /** The configuration that holds now. A cell gives the same object until its version changes, so compiling is rare. */
  #upstreams(locked: boolean): Upstreams {
    if (locked) this.#configLock.lock();
    const config = this.#join.config.read();
    if (locked) this.#configLock.unlock();
    if (config !== this.#compiledFrom) {
      this.#compiled = new Upstreams(config, this.#join.config.version, this.#selector);
      this.#compiledFrom = config;
    }
    return this.#compiled;
  }

  /** Milliseconds since the creation, modulo 2^32 as a signed number. */
  #toMs(ns: number): number {
    return ((ns - this.handle.epochNs) / NS_PER_MS) | 0;
  }

  #latestUpdate(): number {
    let latest = 0;
    for (let cpu = 0; cpu < this.#hal.possibleCpus; cpu++) {
      latest = Math.max(latest, this.#counters.read(cpu, SLOT_OF.lastUpdatedNs));
    }
    return latest;
  }

  #makeConnections(lockObserver: LockObserver): Connections {
    const { observer, pool, rcu } = this.#join;
    return new Connections({
      hal: this.#hal,
      rcu,
      table: this.#table,
      cache: this.#memory,
      slotIds: IdPool.attach(this.handle.slotIds as IdPoolHandle, this.#hal, lockObserver),
      slots: new Int32Array(this.handle.slots),
      control: this.#control,
      limit: this.handle.maxConnections,
      counters: this.#counters,
      windowScale: (vector, i) => windowScaleAt(pool.bytes, transportOf(vector, i)),
      servers: this.#servers,
      limits: this.#join.clientLimits,
      sequenceLock: SpinLocks.attach(this.handle.sequenceLock, { hal: this.#hal, observer: lockObserver }),
      onConnection: observer?.onConnection?.bind(observer),
      onUpdate: observer?.onConnectionUpdate?.bind(observer),
    });
  }

  #makeSelector(): ServerSelector {
    const { random, seed = 1 } = this.#join;
    const hal = this.#hal;
    const draw = random ?? seededRandom(seed, hal.possibleCpus, () => hal.currentCpu());
    return new ServerSelector(this.#servers, () => Math.floor(draw() * 0x1_0000_0000));
  }

  #makePipeline(): Pipeline {
    const { pool, observer, nodes = [] } = this.#join;
    const hal = this.#hal;
    const counters = this.#counters;
    const path = this.handle.path as NetworkPath;
    const upstreams = (locked: boolean): Upstreams => this.#upstreams(locked);
    const limit = new AnswerLimit(hal.possibleCpus, path.answersPerSecond, path.answerBurst);
    const parts: NodeParts = {
      hal,
      pool,
      table: this.#table,
      cache: this.#cache,
      connections: this.#connections,
      counters,
      observer,
      touch: observer?.onTouch?.bind(observer),
      source: { selector: this.#selector, facts: new FlowFacts(), describe: this.#join.describeFlow },
      upstreams,
      modes: this.#modes,
      answers: new Answers({ pool, counters, upstreams, limit }),
      shifts: this.#connections.shifts,
      limits: this.#join.clientLimits,
    };
    return new Pipeline(parts, path, nodes, this.handle.nodes);
  }
}
