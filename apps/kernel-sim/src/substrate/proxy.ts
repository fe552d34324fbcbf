import {
  attachProxyConfigCell,
  Dataplane,
  FlowCache,
  PacketPool,
  proxyConfigCell,
  type DataplaneHandle,
  type DataplaneObserver,
  type PacketPoolHandle,
  type ProxyConfig,
} from "@x/proxy-dataplane";
import type { RcuCell, RcuCellHandle } from "@x/rcu";
import { KmemCache } from "@x/slab";
import type { Scenario } from "../experiment/scenario.ts";
import { BUFFER_BYTES, cacheSizes, DIRECT, SPARE_PER_CPU, toProxyConfig } from "../kernel/proxy-module.ts";
import type { Core } from "./core.ts";
import { SpscRing, type SpscRingHandle } from "./spsc-ring.ts";

/** The proxy, its packets, and the queues between the network card (the main thread) and the CPUs. */
export interface Proxy {
  readonly pool: PacketPool;
  readonly config: RcuCell<ProxyConfig>;
  readonly dataplane: Dataplane;
  /** Received packets, by queue: from the card to the queue's CPU. */
  readonly receive: readonly SpscRing[];
  /** Marks of packets the CPU is done with, by CPU: back to the card. Large enough for every packet of the pool. */
  readonly departed: readonly SpscRing[];
}

/** What joins a {@link Proxy} from another thread. */
export interface ProxyHandle {
  readonly pool: PacketPoolHandle;
  readonly config: RcuCellHandle;
  readonly dataplane: DataplaneHandle;
  readonly receive: readonly SpscRingHandle[];
  readonly departed: readonly SpscRingHandle[];
}

export function createProxy(core: Core, scenario: Scenario, cpus: number, queues: number): Proxy {
  const { hal, pages, rcu, lockObserver } = core;
  const { parameters, maxConnections, config: servers } = scenario.proxy;
  const receive = Array.from({ length: queues }, () => SpscRing.create(scenario.nic.ringSize));
  const buffers = queues * receive[0].capacity + (cpus + 1) * SPARE_PER_CPU;
  const pool = PacketPool.create({ buffers, bufferBytes: BUFFER_BYTES, hal, pages, lockObserver });
  const config = proxyConfigCell({ rcu, initial: toProxyConfig(servers ?? DIRECT) });
  const dataplane = Dataplane.create({
    hal,
    pool,
    rcu,
    config,
    pages,
    cache: FlowCache.create({ hal, ...cacheSizes(scenario) }),
    params: parameters,
    // Traffic that repeats a capture repeats its identifications, as no sender does within the life of a datagram: fragments are not followed.
    network: { datagrams: 0 },
    maxConnections,
    lockObserver,
    seed: scenario.seed,
  });
  const departed = Array.from({ length: cpus }, () => SpscRing.create(buffers));
  return { pool, config, dataplane, receive, departed };
}

export function proxyHandle({ pool, config, dataplane, receive, departed }: Proxy): ProxyHandle {
  return {
    pool: pool.handle,
    config: config.handle,
    dataplane: dataplane.handle,
    receive: receive.map((ring) => ring.handle),
    departed: departed.map((ring) => ring.handle),
  };
}

export function attachProxy(handle: ProxyHandle, core: Core, seed: number, observer: DataplaneObserver): Proxy {
  const { hal, pages, rcu, lockObserver } = core;
  const pool = PacketPool.attach(handle.pool, { hal, pages, lockObserver });
  const config = attachProxyConfigCell(handle.config, { rcu });
  return {
    pool,
    config,
    dataplane: Dataplane.attach(handle.dataplane, { hal, pool, rcu, config, pages, lockObserver, seed, observer }),
    receive: handle.receive.map((ring) => SpscRing.attach(ring)),
    departed: handle.departed.map((ring) => SpscRing.attach(ring)),
  };
}

/** The object caches: connections, entries of the flow table, packet buffers. */
export function proxyCaches({ dataplane, pool }: Proxy, { hal, pages }: Core): readonly KmemCache[] {
  const { connections, table } = dataplane.handle;
  return [connections, table.entries, pool.handle.cache].map((handle) => KmemCache.attach(handle, { hal, pages }));
}
