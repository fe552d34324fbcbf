import { summarizeFlows, type Capture } from "@x/proxy-dataplane";
import { IpiType } from "@x/smp";
import type { MachineImage } from "../experiment/machine-image.ts";
import type { Scenario } from "../experiment/scenario.ts";
import type { KernelLog } from "../kernel/kernel-log.ts";
import type { Platform } from "../kernel/platform.ts";
import {
  connectionCache,
  connections,
  hostReport,
  latency,
  preemption,
  profile,
  shootdowns,
  threads,
  type HostCost,
} from "../report/build-report.ts";
import { threadInterruptRows } from "../report/interrupts.ts";
import type { CpuReport, RunReport } from "../report/run-report.ts";
import { SLOT, type Core } from "./core.ts";
import { packetDigest } from "./packet-hash.ts";
import { proxyCaches, type Proxy } from "./proxy.ts";
import type { Traffic } from "./traffic.ts";

export interface ThreadReportParts {
  readonly scenario: Scenario;
  readonly image: MachineImage;
  readonly platform: Platform;
  readonly capture: Capture;
  readonly core: Core;
  readonly proxy: Proxy;
  readonly traffic: Traffic;
  readonly log: KernelLog;
  /** Worker threads: CPUs 0 to cpus - 1. */
  readonly cpus: number;
  readonly bootNs: number;
  readonly durationNs: number;
  readonly host: HostCost;
}

/**
 * The report of a run on worker threads. What only a model can know (where accesses go, waiting for lines, time spent
 * waiting for locks) is 0. The trace hash is a fingerprint of the packets sent, whatever their order.
 */
export function buildThreadReport(parts: ThreadReportParts): RunReport {
  const { scenario, image, platform, capture, core, proxy, traffic, cpus, durationNs } = parts;
  const rows = platform.processors.map(({ node }, cpu) => cpuReport(parts, cpu, node));
  const { counters } = core;
  return {
    scenario: scenario.name,
    substrate: "threads",
    seed: scenario.seed,
    traceHash: packetDigest(counters.sum(SLOT.hashLow), counters.sum(SLOT.hashHigh)),
    traceEvents: counters.sum(SLOT.sentPackets),
    machine: {
      name: image.name,
      model: image.model,
      cpus: platform.processors.length,
      onlineCpus: cpus,
      nodes: platform.topology.nodeCount,
    },
    boot: { durationNs: parts.bootNs, lines: parts.log.lines.filter((line) => line.timeNs <= parts.bootNs).length },
    durationNs,
    traffic: {
      packets: traffic.packets,
      bytes: traffic.bytes,
      flows: summarizeFlows(capture).flows,
      offeredPacketsPerSecond: Math.round((traffic.packets / durationNs) * 1e9),
    },
    forwarded: { packets: counters.sum(SLOT.sentPackets), bytes: counters.sum(SLOT.sentBytes) },
    drops: drops(proxy),
    connections: connections(proxy),
    cpus: rows,
    connectionCache: connectionCache(rows),
    latency: latency(core),
    numa: numa(core),
    ipis: Object.fromEntries(Object.entries(IpiType).map(([name, type]) => [name, sentIpis(core, type)])),
    interrupts: threadInterruptRows(rows),
    translation: {
      tlbMisses: 0,
      walkNs: 0,
      ...shootdowns(core),
    },
    locks: {
      acquisitions: counters.sum(SLOT.lockAcquisitions),
      contentions: counters.sum(SLOT.lockContentions),
      waitedNs: 0,
    },
    slab: proxyCaches(proxy, core).map((cache) => ({ ...cache.stats() })),
    rcu: { ...core.rcu.stats() },
    preemption: preemption(core),
    threads: threads(core),
    profile: profile(core),
    host: hostReport(parts.host, traffic.packets),
  };
}

function cpuReport({ core, proxy, cpus }: ThreadReportParts, cpu: number, node: number): CpuReport {
  const { counters, ipis } = core;
  const counts = proxy.dataplane.statistics(cpu);
  const types = Object.values(IpiType);
  return {
    cpu,
    node,
    online: cpu < cpus,
    packets: counts.packetsProcessed,
    bytes: counts.bytesProcessed,
    dropped: counts.packetsDropped,
    cacheHits: counts.cacheHits,
    cacheMisses: counts.cacheMisses,
    timerInterrupts: counters.read(cpu, SLOT.ticks),
    deviceInterrupts: counters.read(cpu, SLOT.interrupts),
    ipisSent: types.reduce<number>((sum, type) => sum + ipis.sent(cpu, type), 0),
    ipisReceived: types.reduce<number>((sum, type) => sum + ipis.received(cpu, type), 0),
    contextSwitches: counters.read(cpu, SLOT.switches),
    userNs: counters.read(cpu, SLOT.user),
    systemNs: counters.read(cpu, SLOT.system),
    irqNs: counters.read(cpu, SLOT.hardirq),
    softirqNs: counters.read(cpu, SLOT.softirq),
    idleNs: counters.read(cpu, SLOT.idle),
  };
}

/** Nothing is missed: packets for a full queue wait on the wire. */
function drops({ dataplane }: Proxy): RunReport["drops"] {
  const { dropMalformed: malformed, dropNoConnection: noConnection, dropNoBuffer: noBuffer } = dataplane.details();
  return { total: malformed + noConnection + noBuffer, byReason: { rxMissed: 0, malformed, noConnection, noBuffer } };
}

function numa({ pages }: Core): RunReport["numa"] {
  const nodes = pages.nodes.map((node) => ({ node, freeBytes: pages.freeBytes(node), ...pages.stats(node) }));
  return { localAccesses: 0, remoteAccesses: 0, localShare: 0, contendedNs: 0, nodes };
}

function sentIpis({ ipis, hal }: Core, type: IpiType): number {
  let sent = 0;
  for (let cpu = 0; cpu < hal.possibleCpus; cpu++) sent += ipis.sent(cpu, type);
  return sent;
}
