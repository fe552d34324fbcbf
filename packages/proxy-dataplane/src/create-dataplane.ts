import { FlowTable } from "@x/perf-cache";
import { KmemCache } from "@x/slab";
import { PerCpuCounters, soloHal, SpinLocks } from "@x/smp";
import { spareConnections } from "./connection-eviction.ts";
import { CONNECTION_WORDS } from "./connection-layout.ts";
import type { DataplaneHandle, DataplaneOptions } from "./dataplane-options.ts";
import { DataplaneError } from "./errors.ts";
import { FlowCache } from "./flow-cache.ts";
import { Graph } from "./graph.ts";
import { IdPool } from "./id-pool.ts";
import { networkPath } from "./network-options.ts";
import { DEFAULT_PARAMETERS, type ProxyParameters } from "./parameters.ts";
import { nodeNames } from "./pipeline.ts";
import { ServerStates } from "./policy/server-states.ts";
import { COUNTERS } from "./statistics.ts";

const DEFAULT_CONNECTIONS = 65536;
const MAX_CONNECTIONS = 1 << 20;
const MAX_CACHE_ENTRIES = 4096;

/** Makes everything of a data path that threads share. Throws `DATAPLANE_INVALID_ARGUMENT`. */
export function createShared(options: DataplaneOptions): { handle: DataplaneHandle; parameters: ProxyParameters } {
  const { hal = soloHal(), maxConnections = DEFAULT_CONNECTIONS, rcu, pages } = options;
  if (!Number.isInteger(maxConnections) || maxConnections < 1 || maxConnections > MAX_CONNECTIONS) {
    const message = `maxConnections is ${maxConnections}; 1 to ${MAX_CONNECTIONS} are possible`;
    throw new DataplaneError("DATAPLANE_INVALID_ARGUMENT", message);
  }
  const parameters = { ...DEFAULT_PARAMETERS, ...options.params };
  const entries = parameters.perf_cache_size === 0 ? DEFAULT_PARAMETERS.perf_cache_size : parameters.perf_cache_size;
  const from = pages === undefined ? {} : { pages };
  const cache = options.cache ?? FlowCache.create({ hal, entries, maxEntries: Math.max(entries, MAX_CACHE_ENTRIES) });
  const places = maxConnections + spareConnections(maxConnections);
  const table =
    options.table ?? FlowTable.create({ capacity: places * 2, maxBuckets: maxConnections * 4, hal, rcu, ...from });
  const bytes = CONNECTION_WORDS * 4;
  const memory = KmemCache.create({
    name: "proxy-connection",
    objectSize: bytes,
    align: 64,
    typeStable: true,
    hal,
    memoryLimit: Math.max(1 << 17, places * bytes * 2),
    ...from,
  });
  const path = networkPath(options.network);
  const handle: DataplaneHandle = {
    maxConnections,
    epochNs: hal.now(),
    table: table.handle,
    cache: cache.handle,
    connections: memory.handle,
    slotIds: IdPool.create({ name: "connection-slots", first: 1, count: places, hal }).handle,
    slots: new SharedArrayBuffer((places + 1) * 4),
    control: new SharedArrayBuffer(128),
    parameters: new SharedArrayBuffer(128),
    counters: PerCpuCounters.create({ names: COUNTERS, hal }).handle,
    path,
    nodes: Graph.counters(nodeNames(path, options.clientLimits !== undefined, options.nodes ?? []), hal),
    servers: ServerStates.create({ hal }).handle,
    configLock: SpinLocks.create({ name: "proxy-config", hal }).handle,
    sequenceLock: SpinLocks.create({ name: "proxy-sequences", hal }).handle,
  };
  return { handle, parameters };
}
