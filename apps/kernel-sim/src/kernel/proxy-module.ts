import { FlowTable } from "@x/perf-cache";
import {
  Dataplane,
  FlowCache,
  PacketPool,
  proxyConfigCell,
  type ProxyConfig,
  type ProxyParameter,
} from "@x/proxy-dataplane";
import type { RcuCell } from "@x/rcu";
import { KmemCache } from "@x/slab";
import { msiData } from "@x/smp";
import type { Scenario, ScenarioConfig, ScenarioParameters } from "../experiment/scenario.ts";
import { HEADER_BUFFER_BYTES, Nic } from "../machine/nic.ts";
import { Random } from "../machine/random.ts";
import { cacheObserver, dataplaneObserver, flowTableObserver, STAGE_NAMES } from "./cost-observers.ts";
import type { Kernel } from "./kernel.ts";
import { NetDriver } from "./net-driver.ts";

/** Bytes of a packet buffer: an Ethernet frame with head room, a power of two. */
export const BUFFER_BYTES = 2048;
/** Packets of the pool beyond those in the receive rings: what is in the CPUs' own stacks. */
export const SPARE_PER_CPU = 256;
const DEFAULT_CACHE_SIZE = 1024;
/** The node the card's slot hangs on. */
const NIC_NODE = 0;

/** What the data path does when a scenario configures nothing: no servers are active, everything goes direct. */
export const DIRECT: ScenarioConfig = {
  selection: "failover",
  servers: [{ type: "socks5", address: "127.0.0.1", port: 1080, priority: 0, active: false }],
};

/** `mutex_proxy`: the network card's driver and the data path behind it, set up as the scenario says. */
export class ProxyModule {
  readonly nic: Nic;
  readonly pool: PacketPool;
  readonly dataplane: Dataplane;
  readonly driver: NetDriver;
  readonly config: RcuCell<ProxyConfig>;
  readonly #kernel: Kernel;

  constructor(kernel: Kernel) {
    const { machine, scenario, hal, pages, rcu, locks } = kernel;
    this.#kernel = kernel;
    const cpus = Array.from(kernel.online);
    const { nic, proxy } = scenario;
    const queues = nic.queues ?? cpus.length;
    this.nic = new Nic(machine, {
      queues,
      ringSize: nic.ringSize,
      moderationNs: nic.moderationUs * 1000,
      node: NIC_NODE,
    });
    const buffers = queues * this.nic.ringSize + cpus.length * SPARE_PER_CPU;
    const bufferBytes = kernel.splitsAll ? HEADER_BUFFER_BYTES : BUFFER_BYTES;
    this.pool = PacketPool.create({ buffers, bufferBytes, hal, pages, lockObserver: locks });
    this.config = proxyConfigCell({ rcu, initial: toProxyConfig(proxy.config ?? DIRECT) });
    this.dataplane = this.#createDataplane(kernel);
    this.driver = this.#createDriver(kernel, cpus);
  }

  /** The object caches: connections, entries of the flow table, packet buffers. */
  caches(): readonly KmemCache[] {
    const { hal, pages } = this.#kernel;
    const { connections, table } = this.dataplane.handle;
    return [connections, table.entries, this.pool.handle.cache].map((handle) =>
      KmemCache.attach(handle, { hal, pages }),
    );
  }

  /** No packet is in the machine: all that are out rest in the receive rings. */
  get quiet(): boolean {
    return this.nic.idle;
  }

  /** New parameters or configuration while packets flow, as a write to sysfs or an ioctl would bring them. */
  reconfigure(parameters: ScenarioParameters | undefined, config: ScenarioConfig | undefined): void {
    const { log } = this.#kernel;
    for (const [name, value] of Object.entries(parameters ?? {})) {
      this.dataplane.setParameter(name as ProxyParameter, value as never);
      log.print(`mutex_proxy: ${name} is now ${String(value)}`);
    }
    if (config === undefined) return;
    const version = this.dataplane.updateConfig(toProxyConfig(config));
    log.print(`mutex_proxy: configuration version ${version}: ${config.selection}, ${config.servers.length} servers`);
  }

  #createDataplane(kernel: Kernel): Dataplane {
    const { machine, scenario, hal, pages, rcu, locks, symbolTable, addresses } = kernel;
    const { parameters, maxConnections } = scenario.proxy;
    const cache: FlowCache = FlowCache.create({
      hal,
      ...cacheSizes(scenario),
      observer: cacheObserver(machine, () => cacheBase),
    });
    const cacheBase = addresses.map(cache.buffer);
    const table = FlowTable.create({
      capacity: maxConnections * 2,
      // A run is a function of its seed: no hash with a random key.
      hash: "jhash",
      hal,
      rcu,
      pages,
      observer: flowTableObserver(machine, 0),
      lockObserver: locks,
    });
    const stageSymbols = STAGE_NAMES.map((stage) => symbolTable.intern(`mutex_${stage}`));
    const random = Random.stream(scenario.seed, "server-selection");
    return Dataplane.create({
      hal,
      pool: this.pool,
      rcu,
      config: this.config,
      pages,
      table,
      cache,
      params: parameters,
      // Traffic that repeats a capture repeats its identifications, as no sender does within the life of a datagram: fragments are not followed.
      network: { datagrams: 0 },
      maxConnections,
      lockObserver: locks,
      random: () => random.next32() / 2 ** 32,
      observer: dataplaneObserver(machine, {
        stageSymbols,
        setLeaf: (symbol) => (kernel.leafSymbol = symbol),
        packetBase: 0,
        connectionBase: 0,
        onCreated: () => kernel.threads.connection(),
      }),
    });
  }

  #createDriver(kernel: Kernel, cpus: readonly number[]): NetDriver {
    const { machine, scenario, stack, symbols, latency, apic } = kernel;
    return new NetDriver({
      machine,
      nic: this.nic,
      pool: this.pool,
      dataplane: this.dataplane,
      latency,
      budget: scenario.nic.budget,
      cpus,
      routeInterrupt: (queue, cpu, vector) => this.nic.setMessage(queue, apic.messageAddress(cpu), msiData({ vector })),
      enter: (symbol) => stack.enter(symbol),
      leave: () => stack.leave(),
      symbols: { poll: symbols.poll, refill: symbols.refill, transmit: symbols.transmit },
    });
  }
}

/** Entries of the connection cache: at first, and the most that an event of the scenario will ask for. */
export function cacheSizes({ proxy, events }: Scenario): { readonly entries: number; readonly maxEntries: number } {
  const sizes = [proxy.parameters, ...events.map((event) => event.parameters)].map((set) => set?.perf_cache_size ?? 0);
  return { entries: sizes[0] || DEFAULT_CACHE_SIZE, maxEntries: Math.max(DEFAULT_CACHE_SIZE, ...sizes) };
}

/** A scenario's configuration in the form the data path publishes. */
export function toProxyConfig(config: ScenarioConfig): ProxyConfig {
  return { version: 1, ...config };
}
