/** Latency figures, in nanoseconds of virtual time. */
export interface LatencyReport {
  readonly count: number;
  readonly minNs: number;
  readonly meanNs: number;
  readonly p50Ns: number;
  readonly p90Ns: number;
  readonly p99Ns: number;
  readonly p999Ns: number;
  readonly maxNs: number;
}

/** Interrupts of one kind, as `/proc/interrupts` has them. */
export interface InterruptRow {
  /** Number or name: `4`, `LOC`. */
  readonly name: string;
  /** Controller and trigger, and who asked for it. */
  readonly description: string;
  /** By CPU, since power-on. */
  readonly counts: readonly number[];
}

/** One CPU's row. Times are virtual on the virtual substrate, thread time on the threads substrate. */
export interface CpuReport {
  readonly cpu: number;
  readonly node: number;
  readonly online: boolean;
  readonly packets: number;
  readonly bytes: number;
  readonly dropped: number;
  readonly cacheHits: number;
  readonly cacheMisses: number;
  readonly timerInterrupts: number;
  readonly deviceInterrupts: number;
  readonly ipisSent: number;
  readonly ipisReceived: number;
  readonly contextSwitches: number;
  readonly userNs: number;
  readonly systemNs: number;
  readonly irqNs: number;
  readonly softirqNs: number;
  readonly idleNs: number;
}

/**
 * What a run found out. Everything outside `host` is a pure function of machine, scenario and seed on the virtual
 * substrate; what depends on this host or on the hour lies in `host` alone.
 */
export interface RunReport {
  readonly scenario: string;
  readonly substrate: "virtual" | "threads";
  readonly seed: number;
  /** Virtual: of every event, in order. Threads: of the packets sent, in whatever order. */
  readonly traceHash: string;
  readonly traceEvents: number;
  readonly machine: {
    readonly name: string;
    readonly model: string;
    readonly cpus: number;
    readonly onlineCpus: number;
    readonly nodes: number;
  };
  readonly boot: { readonly durationNs: number; readonly lines: number };
  readonly durationNs: number;
  readonly traffic: {
    readonly packets: number;
    readonly bytes: number;
    readonly flows: { readonly tcp: number; readonly udp: number; readonly other: number };
    readonly offeredPacketsPerSecond: number;
  };
  readonly forwarded: { readonly packets: number; readonly bytes: number };
  readonly drops: { readonly total: number; readonly byReason: Readonly<Record<string, number>> };
  readonly connections: { readonly created: number; readonly active: number; readonly translated: number };
  readonly cpus: readonly CpuReport[];
  readonly connectionCache: { readonly hits: number; readonly misses: number; readonly hitRate: number };
  readonly latency: LatencyReport;
  readonly numa: {
    /** Accesses and waiting for lines are the model's: 0 on real threads, as is the time spent waiting for locks. */
    readonly localAccesses: number;
    readonly remoteAccesses: number;
    readonly localShare: number;
    readonly contendedNs: number;
    readonly nodes: readonly (Readonly<Record<string, number>> & {
      readonly node: number;
      readonly freeBytes: number;
    })[];
  };
  readonly ipis: Readonly<Record<string, number>>;
  readonly interrupts: readonly InterruptRow[];
  readonly translation: {
    /** Page walks while the traffic ran, and the time they and the second level of the TLB took; 0 on real threads. */
    readonly tlbMisses: number;
    readonly walkNs: number;
    /** Since boot: see TlbShootdownStatistics of @x/smp. */
    readonly shootdowns: number;
    readonly requests: number;
    readonly flushes: number;
    readonly fullFlushes: number;
    readonly skippedLazy: number;
    readonly alreadyDone: number;
    /** From the start of a shootdown until every CPU has forgotten. */
    readonly meanLatencyNs: number;
    readonly maxLatencyNs: number;
  };
  readonly locks: { readonly acquisitions: number; readonly contentions: number; readonly waitedNs: number };
  readonly slab: readonly Readonly<Record<string, number | string>>[];
  readonly rcu: Readonly<Record<string, number>>;
  readonly preemption: {
    readonly total: number;
    readonly voluntary: number;
    readonly involuntary: number;
    readonly maxLatencyNs: number;
  };
  readonly threads: readonly {
    readonly name: string;
    readonly runtimeNs: number;
    readonly waitNs: number;
    readonly switches: number;
    readonly migrations: number;
  }[];
  readonly profile: {
    readonly samples: number;
    readonly lost: number;
    readonly kernelPercent: number;
    readonly topFunctions: readonly {
      readonly name: string;
      readonly self: number;
      readonly total: number;
      readonly percent: number;
    }[];
  };
  readonly host: HostReport;
}

/** What the run cost here. */
export interface HostReport {
  readonly node: string;
  readonly v8: string;
  readonly platform: string;
  readonly cpuModel: string;
  readonly startedAt: string;
  readonly wallSeconds: number;
  /** User and system time of all threads of this process while the traffic ran: not the boot, not the report. */
  readonly cpuSeconds: number;
  /** Packets of the traffic by second of that time, in which the JIT compiled what it had not seen before. */
  readonly simulatedPacketsPerSecond: number;
  /** The same of the second half of the packets alone. Virtual substrate only. */
  readonly warmPacketsPerSecond?: number;
}
