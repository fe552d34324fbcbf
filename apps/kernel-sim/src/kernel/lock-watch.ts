import {
  combineObservers,
  LockStatistics,
  lockStatText,
  LockValidator,
  type Hal,
  type LockObserver,
  type PerCpuData,
} from "@x/smp";
import type { Scenario } from "../experiment/scenario.ts";
import type { KernelLog } from "./kernel-log.ts";
import type { LockTimeline } from "./lock-timeline.ts";

/** What the scenario wants to know of locks. Costs no virtual time. */
export class LockWatch {
  readonly statistics: LockStatistics | undefined;
  readonly validator: LockValidator | undefined;
  /** Undefined when nothing is wanted. */
  readonly observer: LockObserver | undefined;

  constructor(hal: Hal, perCpu: PerCpuData, { kernel }: Scenario, log: KernelLog) {
    if (kernel.lockStatistics) this.statistics = LockStatistics.create({ hal });
    if (kernel.lockValidator) {
      this.validator = LockValidator.create({
        hal,
        // Supervisor code runs to completion: nothing interrupts it while it holds a lock.
        context: { inInterrupt: () => perCpu.inInterrupt(), interruptsEnabled: () => false },
        onReport: ({ text }) => {
          for (const line of text.split("\n")) log.print(`lockdep: ${line}`);
        },
      });
    }
    const wanted = this.statistics !== undefined || this.validator !== undefined;
    this.observer = wanted ? combineObservers(this.statistics, this.validator) : undefined;
  }

  /** Files for `--out`. */
  files(timeline: LockTimeline): Readonly<Record<string, string>> {
    if (this.statistics === undefined) return {};
    const rows = timeline.handOvers.map(
      ({ name, lock, from, to, askedNs, atNs }) => `${name}[${lock}],${from},${to},${askedNs},${atNs}\n`,
    );
    return {
      "lock_stat.txt": lockStatText(this.statistics.snapshot()),
      "lock-hand-overs.csv": `lock,from_cpu,to_cpu,asked_ns,taken_ns\n${rows.join("")}`,
    };
  }
}
