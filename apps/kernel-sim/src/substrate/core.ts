import { PageAllocator, type PageAllocatorHandle } from "@x/numa";
import { Preempt, Scheduler, type PreemptHandle, type SchedulerHandle } from "@x/preempt";
import {
  LatencyHistogram,
  Profiler,
  ShadowStack,
  type LatencyHistogramHandle,
  type ProfilerHandle,
  type ShadowStackHandle,
} from "@x/profiling";
import { Rcu, type RcuHandle } from "@x/rcu";
import {
  CpuManager,
  IpiMailbox,
  IpiType,
  PerCpuCounters,
  TlbShootdown,
  type CpuManagerHandle,
  type Hal,
  type IpiMailboxHandle,
  type LockObserver,
  type PerCpuCountersHandle,
  type TlbShootdownHandle,
} from "@x/smp";
import type { Scenario } from "../experiment/scenario.ts";
import type { Platform } from "../kernel/platform.ts";

/** What each CPU counts beyond what the packages count; times in nanoseconds, by what the CPU was doing. */
const COUNTERS = [
  "user",
  "system",
  "hardirq",
  "softirq",
  "idle",
  "ticks",
  "interrupts",
  "switches",
  "sentPackets",
  "sentBytes",
  "hashLow",
  "hashHigh",
  "lockAcquisitions",
  "lockContentions",
] as const;

export type CoreCounter = (typeof COUNTERS)[number];

/** Slots of {@link Core.counters}, by name. */
export const SLOT: Readonly<Record<CoreCounter, number>> = Object.fromEntries(
  COUNTERS.map((name, slot) => [name, slot]),
) as Record<CoreCounter, number>;

/** What every thread of the run shares below the network: the packages, over real shared memory. */
export interface Core {
  readonly hal: Hal;
  readonly pages: PageAllocator;
  readonly rcu: Rcu;
  readonly preempt: Preempt;
  readonly scheduler: Scheduler;
  readonly ipis: IpiMailbox;
  /** Address spaces are groups of threads. What real processors remember is theirs; here only the protocol runs. */
  readonly shootdown: TlbShootdown;
  /** From the start of a shootdown to its end. */
  readonly shootdownLatency: LatencyHistogram;
  readonly cpus: CpuManager;
  readonly latency: LatencyHistogram;
  readonly counters: PerCpuCounters<CoreCounter>;
  readonly profiler: Profiler;
  readonly stack: ShadowStack;
  /** Counts locks on the CPU that takes them. */
  readonly lockObserver: LockObserver;
}

/** What joins a {@link Core} from another thread. */
export interface CoreHandle {
  readonly pages: PageAllocatorHandle;
  readonly rcu: RcuHandle;
  readonly preempt: PreemptHandle;
  readonly scheduler: SchedulerHandle;
  readonly ipis: IpiMailboxHandle;
  readonly shootdown: TlbShootdownHandle;
  readonly shootdownLatency: LatencyHistogramHandle;
  readonly cpus: CpuManagerHandle;
  readonly latency: LatencyHistogramHandle;
  readonly counters: PerCpuCountersHandle<CoreCounter>;
  readonly profiler: ProfilerHandle;
  readonly stack: ShadowStackHandle;
}

/** Make everything, as the scenario wants it. No CPU takes threads yet. */
export function createCore(hal: Hal, platform: Platform, scenario: Scenario): Core {
  const { processors, topology, nodeBytes } = platform;
  const counters = PerCpuCounters.create({ names: COUNTERS, hal });
  const lockObserver = countLocks(counters, hal);
  const limit = scenario.kernel.memoryMiBPerNode * 2 ** 20;
  const pages = PageAllocator.create({
    zones: nodeBytes.map((bytes, node) => ({ node, bytes: Math.min(bytes, limit) })).filter(({ bytes }) => bytes > 0),
    hal,
    fallback: topology.fallback,
    nodeOfCpu: (cpu) => processors[cpu]?.node ?? -1,
    lockObserver,
  });
  const preempt = Preempt.create({ hal });
  const ipis = IpiMailbox.create({ hal });
  const profiler = Profiler.create({
    hal,
    config: { intervalNs: scenario.profile.intervalUs * 1000, maxSamples: scenario.profile.maxSamples },
  });
  return {
    hal,
    pages,
    rcu: Rcu.create({ hal }),
    preempt,
    scheduler: Scheduler.create({
      hal,
      preempt,
      ipi: rescheduleBy(ipis),
      timeSliceNs: scenario.kernel.timeSliceUs * 1000,
      activeCpus: [],
      lockObserver,
    }),
    ipis,
    shootdown: TlbShootdown.create({
      hal,
      mailbox: ipis,
      spaces: Math.max(1, scenario.threads.length),
      flush: () => undefined,
    }),
    shootdownLatency: LatencyHistogram.create({ hal }),
    cpus: CpuManager.create({ hal }),
    latency: LatencyHistogram.create({ hal }),
    counters,
    profiler,
    stack: ShadowStack.create({ hal, profiler }),
    lockObserver,
  };
}

/** Everything that `attachCore` needs on another thread. */
export function coreHandle(core: Core): CoreHandle {
  return {
    pages: core.pages.handle,
    rcu: core.rcu.handle,
    preempt: core.preempt.handle,
    scheduler: core.scheduler.handle,
    ipis: core.ipis.handle,
    shootdown: core.shootdown.handle,
    shootdownLatency: core.shootdownLatency.handle,
    cpus: core.cpus.handle,
    latency: core.latency.handle,
    counters: core.counters.handle,
    profiler: core.profiler.handle,
    stack: core.stack.handle,
  };
}

export function attachCore(handle: CoreHandle, hal: Hal): Core {
  const counters = PerCpuCounters.attach(handle.counters, { hal });
  const lockObserver = countLocks(counters, hal);
  const preempt = Preempt.attach(handle.preempt, { hal });
  const ipis = IpiMailbox.attach(handle.ipis, { hal });
  const profiler = Profiler.attach(handle.profiler, { hal });
  return {
    hal,
    pages: PageAllocator.attach(handle.pages, { hal, lockObserver }),
    rcu: Rcu.attach(handle.rcu, { hal }),
    preempt,
    scheduler: Scheduler.attach(handle.scheduler, { hal, preempt, ipi: rescheduleBy(ipis), lockObserver }),
    ipis,
    shootdown: TlbShootdown.attach(handle.shootdown, { hal, mailbox: ipis, flush: () => undefined }),
    shootdownLatency: LatencyHistogram.attach(handle.shootdownLatency, { hal }),
    cpus: CpuManager.attach(handle.cpus, { hal }),
    latency: LatencyHistogram.attach(handle.latency, { hal }),
    counters,
    profiler,
    stack: ShadowStack.attach(handle.stack, { hal, profiler }),
    lockObserver,
  };
}

function rescheduleBy(ipis: IpiMailbox): { reschedule(cpu: number): void } {
  return { reschedule: (cpu) => void ipis.send(cpu, IpiType.Reschedule, 0) };
}

function countLocks(counters: PerCpuCounters, hal: Hal): LockObserver {
  return {
    onAcquired(_locks, _lock, spins): void {
      const cpu = hal.currentCpu();
      counters.addOn(cpu, SLOT.lockAcquisitions, 1);
      if (spins > 0) counters.addOn(cpu, SLOT.lockContentions, 1);
    },
  };
}
