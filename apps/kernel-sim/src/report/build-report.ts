import { cpus as hostCpus } from "node:os";
import { summarizeFlows, type Capture } from "@x/proxy-dataplane";
import { CounterType } from "@x/profiling";
import { IpiType } from "@x/smp";
import type { MachineImage } from "../experiment/machine-image.ts";
import type { Kernel } from "../kernel/kernel.ts";
import type { ProxyModule } from "../kernel/proxy-module.ts";
import type { Core } from "../substrate/core.ts";
import { Mode } from "../machine/machine.ts";
import type { Replay } from "../workload/replay.ts";
import { interruptRows } from "./interrupts.ts";
import type { CpuReport, HostReport, LatencyReport, RunReport } from "./run-report.ts";

const TOP_FUNCTIONS = 20;

export interface ReportParts {
  readonly kernel: Kernel;
  readonly image: MachineImage;
  readonly capture: Capture;
  readonly replay: Replay;
  readonly startNs: number;
  readonly endNs: number;
  readonly host: HostCost;
}

/** What a run has cost this host. */
export interface HostCost {
  readonly startedAt: Date;
  readonly wallSeconds: number;
  readonly cpuSeconds: number;
  /** The part of it that is over when half of the packets are, left out. */
  readonly warm?: { readonly packets: number; readonly cpuSeconds: number } | undefined;
}

/** Collect what every subsystem knows of the run. */
export function buildReport(parts: ReportParts): RunReport {
  const { kernel, image, capture, replay, startNs, endNs } = parts;
  const { machine, scenario } = kernel;
  const module = kernel.requireModule();
  const durationNs = endNs - startNs;
  const cpus = Array.from({ length: machine.cpuCount }, (_, cpu) => cpuReport(kernel, module, cpu));
  return {
    scenario: scenario.name,
    substrate: "virtual",
    seed: scenario.seed,
    traceHash: machine.trace.digest(),
    traceEvents: machine.trace.count,
    machine: {
      name: image.name,
      model: image.model,
      cpus: machine.cpuCount,
      onlineCpus: kernel.cpus.onlineCount,
      nodes: kernel.topology.nodeCount,
    },
    boot: { durationNs: startNs, lines: kernel.log.lines.filter((line) => line.timeNs <= startNs).length },
    durationNs,
    traffic: {
      packets: replay.packets,
      bytes: replay.bytes,
      flows: summarizeFlows(capture).flows,
      offeredPacketsPerSecond: Math.round((replay.packets / durationNs) * 1e9),
    },
    forwarded: { packets: module.nic.transmittedPackets, bytes: module.nic.transmittedBytes },
    drops: drops(module),
    connections: connections(module),
    cpus,
    connectionCache: connectionCache(cpus),
    latency: latency(kernel),
    numa: numa(kernel),
    ipis: ipis(kernel),
    interrupts: interruptRows(kernel),
    translation: translation(kernel),
    locks: {
      acquisitions: kernel.locks.acquisitions,
      contentions: kernel.locks.contentions,
      waitedNs: kernel.locks.waitedNs,
    },
    slab: module.caches().map((cache) => ({ ...cache.stats() })),
    rcu: { ...kernel.rcu.stats() },
    preemption: preemption(kernel),
    threads: threads(kernel),
    profile: profile(kernel),
    host: hostReport(parts.host, replay.packets),
  };
}

/** The member that holds everything that depends on this host or on the hour. */
export function hostReport({ startedAt, wallSeconds, cpuSeconds, warm }: HostCost, packets: number): HostReport {
  const rate = (of: { packets: number; cpuSeconds: number }): number =>
    of.cpuSeconds > 0 ? of.packets / of.cpuSeconds : 0;
  return {
    node: process.version,
    v8: process.versions.v8,
    platform: `${process.platform}-${process.arch}`,
    cpuModel: hostCpus()[0]?.model ?? "unknown",
    startedAt: startedAt.toISOString(),
    wallSeconds,
    cpuSeconds,
    simulatedPacketsPerSecond: rate({ packets, cpuSeconds }),
    ...(warm === undefined ? {} : { warmPacketsPerSecond: rate(warm) }),
  };
}

function cpuReport(kernel: Kernel, module: ProxyModule, cpu: number): CpuReport {
  const { machine, interrupts, ipis } = kernel;
  const counts = module.dataplane.statistics(cpu);
  const sum = (count: (cpu: number, type: IpiType) => number): number =>
    Object.values(IpiType).reduce<number>((total, type) => total + count(cpu, type), 0);
  return {
    cpu,
    node: machine.nodeOfCpu[cpu],
    online: kernel.online.has(cpu),
    packets: counts.packetsProcessed,
    bytes: counts.bytesProcessed,
    dropped: counts.packetsDropped,
    cacheHits: counts.cacheHits,
    cacheMisses: counts.cacheMisses,
    timerInterrupts: interrupts.timer[cpu],
    deviceInterrupts: interrupts.device[cpu],
    ipisSent: sum((of, type) => ipis.sent(of, type)),
    ipisReceived: sum((of, type) => ipis.received(of, type)),
    contextSwitches: kernel.switches[cpu],
    userNs: machine.modeTimeNs(cpu, Mode.User),
    systemNs: machine.modeTimeNs(cpu, Mode.System),
    irqNs: machine.modeTimeNs(cpu, Mode.Hardirq),
    softirqNs: machine.modeTimeNs(cpu, Mode.Softirq),
    idleNs: machine.modeTimeNs(cpu, Mode.Idle),
  };
}

function drops(module: ProxyModule): RunReport["drops"] {
  const { dropMalformed, dropNoConnection, dropNoBuffer } = module.dataplane.details();
  const byReason = {
    rxMissed: module.nic.missed,
    malformed: dropMalformed,
    noConnection: dropNoConnection,
    noBuffer: dropNoBuffer,
  };
  return { total: Object.values(byReason).reduce((sum, count) => sum + count, 0), byReason };
}

export function connections(module: Pick<ProxyModule, "dataplane">): RunReport["connections"] {
  let translated = 0;
  for (const { server } of module.dataplane.connections()) if (server >= 0) translated++;
  const { connectionsTotal, connectionsActive } = module.dataplane.aggregate();
  return { created: connectionsTotal, active: connectionsActive, translated };
}

export function connectionCache(cpus: readonly CpuReport[]): RunReport["connectionCache"] {
  const hits = cpus.reduce((sum, cpu) => sum + cpu.cacheHits, 0);
  const misses = cpus.reduce((sum, cpu) => sum + cpu.cacheMisses, 0);
  return { hits, misses, hitRate: hits + misses === 0 ? 0 : hits / (hits + misses) };
}

export function latency(kernel: Pick<Kernel, "latency">): LatencyReport {
  const histogram = kernel.latency;
  return {
    count: histogram.count(),
    minNs: histogram.min(),
    meanNs: histogram.mean(),
    p50Ns: histogram.percentile(50),
    p90Ns: histogram.percentile(90),
    p99Ns: histogram.percentile(99),
    p999Ns: histogram.percentile(99.9),
    maxNs: histogram.max(),
  };
}

function numa(kernel: Kernel): RunReport["numa"] {
  const { memory } = kernel.machine;
  const sum = (values: Float64Array): number => values.reduce((total, value) => total + value, 0);
  const localAccesses = sum(memory.localAccesses);
  const remoteAccesses = sum(memory.remoteAccesses);
  const all = localAccesses + remoteAccesses;
  const zones = new Set(kernel.pages.handle.zones.map(({ node }) => node));
  return {
    localAccesses,
    remoteAccesses,
    localShare: all === 0 ? 1 : localAccesses / all,
    contendedNs: sum(memory.contendedNs),
    nodes: Array.from(zones, (node) => ({
      node,
      freeBytes: kernel.pages.freeBytes(node),
      ...kernel.pages.stats(node),
    })),
  };
}

function ipis({ ipis: mailbox, machine }: Kernel): Record<string, number> {
  return Object.fromEntries(
    Object.entries(IpiType).map(([name, type]) => {
      let sent = 0;
      for (let cpu = 0; cpu < machine.cpuCount; cpu++) sent += mailbox.sent(cpu, type);
      return [name, sent];
    }),
  );
}

function translation({
  translation: { shootdown, latency: shootdownLatency, walkNs },
  pmu,
}: Kernel): RunReport["translation"] {
  return {
    tlbMisses: pmu.read(CounterType.TlbMisses) ?? 0,
    walkNs: walkNs.reduce((sum, ns) => sum + ns, 0),
    ...shootdowns({ shootdown, shootdownLatency }),
  };
}

export function shootdowns({
  shootdown,
  shootdownLatency,
}: Pick<Core, "shootdown" | "shootdownLatency">): Omit<RunReport["translation"], "tlbMisses" | "walkNs"> {
  const any = shootdownLatency.count() > 0;
  return {
    ...shootdown.statistics(),
    meanLatencyNs: any ? Math.round(shootdownLatency.mean()) : 0,
    maxLatencyNs: any ? shootdownLatency.max() : 0,
  };
}

export function preemption({ preempt }: Pick<Kernel, "preempt">): RunReport["preemption"] {
  const { total, voluntary, involuntary, maxLatencyNs } = preempt.stats();
  return { total, voluntary, involuntary, maxLatencyNs };
}

export function threads({ scheduler }: Pick<Kernel, "scheduler">): RunReport["threads"] {
  const rows: RunReport["threads"][number][] = [];
  scheduler.forEachThread((tid) => {
    const { runtimeNs, waitNs, switches, migrations } = scheduler.threadStats(tid);
    rows.push({ name: scheduler.name(tid), runtimeNs, waitNs, switches, migrations });
  });
  return rows;
}

export function profile({ profiler }: Pick<Kernel, "profiler">): RunReport["profile"] {
  const stats = profiler.stats();
  return {
    samples: stats.totalSamples,
    lost: stats.lostSamples,
    kernelPercent: stats.kernelPercentage(),
    topFunctions: stats.topFunctions(TOP_FUNCTIONS).map(({ name, self, total, percentage }) => ({
      name,
      self,
      total,
      percent: percentage,
    })),
  };
}
