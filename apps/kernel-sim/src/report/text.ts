import Table from "cli-table3";
import type { RunReport } from "./run-report.ts";

const SHOWN_CPUS = 64;
const SHOWN_FUNCTIONS = 10;
const SHOWN_THREADS = 8;

/** The report for people. `emphasize` marks titles: bold on a terminal, nothing in a file. */
export function reportText(report: RunReport, emphasize: (title: string) => string = (title) => title): string {
  const section = (title: string, lines: readonly string[]): string =>
    `${emphasize(title)}\n${lines.map((line) => `  ${line}\n`).join("")}`;
  return [
    emphasize(`Report of scenario "${report.scenario}" on ${report.machine.name} (${report.machine.model})`),
    headline(report),
    perCpu(report),
    section("Latency, wire to wire", [latencyLine(report)]),
    section("Memory", memoryLines(report)),
    section("Kernel", kernelLines(report)),
    section("Slab caches", slabLines(report)),
    section("Threads", threadLines(report)),
    section("Top functions", functionLines(report)),
    section("Run", runLines(report)),
  ].join("\n");
}

function headline(report: RunReport): string {
  const { traffic, forwarded, drops, machine, connections, connectionCache: cache } = report;
  const { flows } = traffic;
  const reasons = Object.entries(drops.byReason).filter(([, dropped]) => dropped > 0);
  return [
    `  CPUs         ${machine.onlineCpus} online of ${machine.cpus}, ${machine.nodes} node${machine.nodes === 1 ? "" : "s"}; ${report.substrate} substrate`,
    `  packets      ${count(traffic.packets)} in (${count(traffic.bytes)} bytes), ${count(forwarded.packets)} out (${count(forwarded.bytes)} bytes)`,
    `  flows        ${count(flows.tcp)} TCP, ${count(flows.udp)} UDP, ${count(flows.other)} other; ${count(connections.created)} connections created, ${count(connections.active)} live, ${count(connections.translated)} sent to an upstream`,
    `  drops        ${count(drops.total)}${reasons.length === 0 ? "" : ` (${reasons.map(([reason, dropped]) => `${reason} ${count(dropped)}`).join(", ")})`}`,
    `  conn cache   ${percent(cache.hitRate)} hits (${count(cache.hits)} of ${count(cache.hits + cache.misses)})`,
    "",
  ].join("\n");
}

function perCpu(report: RunReport): string {
  const table = new Table({
    head: [
      "CPU",
      "node",
      "packets",
      "bytes",
      "drops",
      "cache",
      "irq",
      "timer",
      "IPI",
      "switches",
      "user",
      "sys",
      "hard",
      "soft",
      "idle",
    ],
    style: { head: [], border: [], compact: true },
    colAligns: Array.from({ length: 15 }, () => "right" as const),
  });
  const rows = report.cpus.filter(({ online }) => online);
  for (const cpu of rows.slice(0, SHOWN_CPUS)) {
    const total = cpu.userNs + cpu.systemNs + cpu.irqNs + cpu.softirqNs + cpu.idleNs;
    const share = (ns: number): string => percent(total === 0 ? 0 : ns / total);
    const looked = cpu.cacheHits + cpu.cacheMisses;
    table.push([
      cpu.cpu,
      cpu.node,
      count(cpu.packets),
      count(cpu.bytes),
      count(cpu.dropped),
      looked === 0 ? "-" : percent(cpu.cacheHits / looked),
      count(cpu.deviceInterrupts),
      count(cpu.timerInterrupts),
      count(cpu.ipisReceived),
      count(cpu.contextSwitches),
      share(cpu.userNs),
      share(cpu.systemNs),
      share(cpu.irqNs),
      share(cpu.softirqNs),
      share(cpu.idleNs),
    ]);
  }
  const left = rows.length - SHOWN_CPUS;
  return `${table.toString()}\n${left > 0 ? `… and ${left} more CPUs; --json has them all\n` : ""}`;
}

function latencyLine({ latency }: RunReport): string {
  const figures = [
    ["p50", latency.p50Ns],
    ["p90", latency.p90Ns],
    ["p99", latency.p99Ns],
    ["p99.9", latency.p999Ns],
    ["max", latency.maxNs],
    ["mean", latency.meanNs],
  ] as const;
  return figures.map(([name, ns]) => `${name} ${duration(ns)}`).join("   ");
}

/** What a model knows and real threads do not show. */
const NOT_OBSERVABLE = "not observable on threads";

function memoryLines({ numa, substrate }: RunReport): string[] {
  const accesses = `accesses beyond the own cache: ${count(numa.localAccesses)} local, ${count(numa.remoteAccesses)} remote (${percent(numa.localShare)} local)`;
  const nodes = numa.nodes.map(
    (node) =>
      `node ${node.node}: ${Math.round(node.freeBytes / 2 ** 20)} MiB free, numa_hit ${count(node["numaHit"] ?? 0)}, numa_miss ${count(node["numaMiss"] ?? 0)}`,
  );
  if (substrate === "threads") return [`accesses beyond the own cache, lines in transfer: ${NOT_OBSERVABLE}`, ...nodes];
  return [accesses, `waiting for lines in transfer: ${duration(numa.contendedNs)}`, ...nodes];
}

function kernelLines(report: RunReport): string[] {
  const { ipis, rcu, preemption, locks, translation: tlb } = report;
  const waited = report.substrate === "threads" ? `waiting ${NOT_OBSERVABLE}` : `${duration(locks.waitedNs)} waited`;
  const pairs = (values: Readonly<Record<string, number>>): string =>
    Object.entries(values)
      .map(([name, value]) => `${name} ${count(value)}`)
      .join(", ");
  return [
    `IPIs        ${pairs(ipis)}`,
    `TLB         ${report.substrate === "threads" ? `misses ${NOT_OBSERVABLE}` : `${count(tlb.tlbMisses)} misses, ${duration(tlb.walkNs)} of walking`}`,
    `shootdowns  ${count(tlb.shootdowns)}: ${count(tlb.requests)} requests, ${count(tlb.skippedLazy)} CPUs left alone; ${count(tlb.flushes)} flushes, ${count(tlb.fullFlushes)} of all; latency mean ${duration(tlb.meanLatencyNs)}, max ${duration(tlb.maxLatencyNs)}`,
    `RCU         ${pairs(rcu)}`,
    `preemption  ${count(preemption.total)} (${count(preemption.voluntary)} voluntary, ${count(preemption.involuntary)} involuntary), max latency ${duration(preemption.maxLatencyNs)}`,
    `locks       ${count(locks.acquisitions)} taken, ${count(locks.contentions)} contended, ${waited}`,
  ];
}

function slabLines({ slab }: RunReport): string[] {
  return slab.map(
    (cache) =>
      `${String(cache["name"]).padEnd(20)} ${count(Number(cache["activeObjects"]))} of ${count(Number(cache["totalObjects"]))} objects of ${cache["objectSize"]} B in ${count(Number(cache["slabs"]))} slabs; fast ${count(Number(cache["allocFast"]))}, slow ${count(Number(cache["allocSlow"]))}`,
  );
}

function threadLines({ threads }: RunReport): string[] {
  const busiest = [...threads].sort((a, b) => b.runtimeNs - a.runtimeNs).slice(0, SHOWN_THREADS);
  return busiest.map(
    ({ name, runtimeNs, waitNs, switches, migrations }) =>
      `${name.padEnd(16)} ran ${duration(runtimeNs)}, waited ${duration(waitNs)}, ${count(switches)} switches, ${count(migrations)} migrations`,
  );
}

function functionLines({ profile }: RunReport): string[] {
  if (profile.samples === 0) return ["no samples"];
  const rows = profile.topFunctions
    .slice(0, SHOWN_FUNCTIONS)
    .map(({ name, self, percent: share }) => `${share.toFixed(2).padStart(6)}%  ${count(self).padStart(8)}  ${name}`);
  return [
    `${count(profile.samples)} samples, ${profile.kernelPercent.toFixed(1)} % in the kernel, ${count(profile.lost)} lost`,
    ...rows,
  ];
}

function runLines(report: RunReport): string[] {
  const { host, traffic } = report;
  const cost = `host        ${host.wallSeconds.toFixed(2)} s (${host.cpuSeconds.toFixed(2)} s of CPU) on ${host.cpuModel}, Node ${host.node}:`;
  const perCpuSecond = count(host.simulatedPacketsPerSecond);
  const { warmPacketsPerSecond } = host;
  const warm = warmPacketsPerSecond === undefined ? "" : `, ${count(warmPacketsPerSecond)} in the second half`;
  if (report.substrate === "threads") {
    const perSecond = count(Math.round(traffic.packets / (report.durationNs / 1e9)));
    return [
      `packet hash ${report.traceHash} over the ${count(report.traceEvents)} packets sent, in whatever order`,
      `real time   ${duration(report.durationNs)} after a boot of ${duration(report.boot.durationNs)}`,
      `${cost} ${perSecond} packets per second, ${perCpuSecond} per second of host CPU`,
    ];
  }
  return [
    `trace hash  ${report.traceHash} over ${count(report.traceEvents)} events, seed ${report.seed}`,
    `virtual     ${duration(report.durationNs)} after a boot of ${duration(report.boot.durationNs)}`,
    `${cost} ${perCpuSecond} simulated packets per second of host CPU${warm}`,
  ];
}

/** Digits in groups of three, the same on every host. */
function count(value: number): string {
  return String(Math.round(value)).replaceAll(/\B(?=(\d{3})+(?!\d))/g, " ");
}

function percent(share: number): string {
  return `${(share * 100).toFixed(1)}%`;
}

function duration(ns: number): string {
  if (ns < 1e3) return `${ns.toFixed(0)} ns`;
  if (ns < 1e6) return `${(ns / 1e3).toFixed(2)} us`;
  if (ns < 1e9) return `${(ns / 1e6).toFixed(2)} ms`;
  return `${(ns / 1e9).toFixed(3)} s`;
}
