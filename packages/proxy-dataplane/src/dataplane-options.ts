import type { FlowTable, FlowTableHandle } from "@x/perf-cache";
import type { Rcu, RcuCell } from "@x/rcu";
import type { KmemCacheHandle, PageSource } from "@x/slab";
import type { Hal, LockObserver, PerCpuCountersHandle, SpinLocksHandle } from "@x/smp";
import type { ConnectionState } from "./connection-state.ts";
import type { FlowCache, FlowCacheHandle } from "./flow-cache.ts";
import type { AddedNode } from "./graph.ts";
import type { NetworkOptions } from "./network-options.ts";
import type { DataplaneObserver } from "./observer.ts";
import type { PacketPool } from "./packet-pool.ts";
import type { ProxyParameters } from "./parameters.ts";
import type { ClientLimits } from "./policy/client-limits.ts";
import type { ProxyConfig } from "./policy/config.ts";
import type { FlowFacts } from "./policy/facts.ts";
import type { ServerStatesHandle } from "./policy/server-states.ts";

/**
 * What every thread that joins a {@link Dataplane} passes.
 *
 * @public
 */
export interface DataplaneJoin {
  readonly hal?: Hal;
  readonly pool: PacketPool;
  /** The calling CPU must be online there whenever it uses the data path, and announce quiescent states between batches. */
  readonly rcu: Rcu;
  readonly config: RcuCell<ProxyConfig>;
  /** Where connections, and the flow table unless one is given, live. Default: arenas of their own. */
  readonly pages?: PageSource;
  /** Default: one of its own for twice `maxConnections`. */
  readonly table?: FlowTable;
  /** Default: one of its own with `perf_cache_size` entries. */
  readonly cache?: FlowCache;
  /** Nodes to add to the graph; every thread must give nodes of the same names in the same order. */
  readonly nodes?: readonly AddedNode[];
  /**
   * Fills in what the host knows of a new flow, for rules: its process, its user, the name of its destination (of a
   * `HostNameTable`). `facts` says nothing when it comes. Called once for each new flow, on the path: it must not wait.
   */
  readonly describeFlow?: ((key: Int32Array, at: number, facts: FlowFacts) => void) | undefined;
  /**
   * Holds each client to the `limits` of the configuration: new connections beyond them are dropped, and packets beyond its bytes a
   * second. Shared with a relay, a client has one limit for both. Every thread must pass it, or none.
   */
  readonly clientLimits?: ClientLimits;
  readonly observer?: DataplaneObserver | undefined;
  /** Hears of every lock the data path takes; the packet pool has its own. */
  readonly lockObserver?: LockObserver | undefined;
  /** Numbers from 0 up to 1 for random server selection. Default: a generator seeded with `seed`. */
  readonly random?: (() => number) | undefined;
  /** Default 1. */
  readonly seed?: number;
}

/**
 * Options of {@link Dataplane.create}.
 *
 * @public
 */
export interface DataplaneOptions extends DataplaneJoin {
  /** 1 to 2^20. Default 65536. */
  readonly maxConnections?: number;
  readonly params?: Partial<ProxyParameters>;
  /** The path that packets leave on. Default: one without limits. */
  readonly network?: NetworkOptions;
}

/**
 * What joins a {@link Dataplane} from another thread, with the handles of its pool, RCU and configuration cell.
 *
 * @public
 */
export interface DataplaneHandle {
  readonly maxConnections: number;
  /** `hal.now()` of the creator, from which connections count their milliseconds. */
  readonly epochNs: number;
  readonly table: FlowTableHandle;
  readonly cache: FlowCacheHandle;
  readonly connections: KmemCacheHandle;
  readonly slotIds: object;
  readonly slots: SharedArrayBuffer;
  readonly control: SharedArrayBuffer;
  readonly parameters: SharedArrayBuffer;
  readonly counters: PerCpuCountersHandle;
  readonly nodes: PerCpuCountersHandle;
  /** Health and open connections of servers: `PolicyEngine.attach` with it tells the data path of a server's health. */
  readonly servers: ServerStatesHandle;
  readonly configLock: SpinLocksHandle;
  readonly sequenceLock: SpinLocksHandle;
  readonly path: object;
}

/**
 * One end of a tuple.
 *
 * @public
 */
export interface TupleEnds {
  readonly source: string;
  readonly sourcePort: number;
  readonly destination: string;
  readonly destinationPort: number;
}

/**
 * What is known of a connection; a copy.
 *
 * @public
 */
export interface ConnectionInfo {
  /** Its offset, as observers name it. */
  readonly id: number;
  readonly protocol: number;
  readonly isIpv6: boolean;
  readonly state: ConnectionState;
  /** As the client sends, and as answers arrive: different ends when the flow goes to a server. */
  readonly original: TupleEnds;
  readonly reply: TupleEnds;
  /** Whether the flow has another source, or another destination, at the far end. */
  readonly sourceTranslated: boolean;
  readonly destinationTranslated: boolean;
  /** Index of the server in the configuration that held when the connection was made; -1: direct. */
  readonly server: number;
  readonly packetsSent: number;
  readonly bytesSent: number;
  readonly packetsReceived: number;
  readonly bytesReceived: number;
  readonly ageMs: number;
  /** How long it may still be silent; negative: it will be taken out by the next {@link Dataplane.expire}. */
  readonly remainingMs: number;
}
