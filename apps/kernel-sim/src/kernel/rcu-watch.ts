import type { RcuObserver } from "@x/rcu";
import type { Scheduler } from "@x/preempt";
import type { CpuId, Hal } from "@x/smp";
import type { KernelLog } from "./kernel-log.ts";

/** Events kept for the trace; when there are more, the oldest are forgotten, as in ftrace's ring. */
const TRACE_EVENTS = 1 << 16;
const NAME = "rcu_qsbr";

interface TraceEvent {
  readonly timeNs: number;
  readonly cpu: CpuId;
  readonly period: number;
  readonly what: "start" | "end" | "cpuqs";
}

/** Stalls go to the kernel's log, grace periods to the trace. Costs no virtual time. */
export class RcuWatch {
  readonly observer: RcuObserver;
  readonly #hal: Hal;
  readonly #scheduler: Scheduler;
  readonly #log: KernelLog;
  /** A ring: event number `n` is in slot `n` mod its size. */
  readonly #events: TraceEvent[] = [];
  #written = 0;
  #period = 0;
  /** Age of the grace period in the report under way: reports name one CPU after the other. */
  #reportedNs = -1;

  constructor(hal: Hal, scheduler: Scheduler, log: KernelLog) {
    this.#hal = hal;
    this.#scheduler = scheduler;
    this.#log = log;
    this.observer = {
      onGracePeriodStart: (period) => {
        this.#period = period;
        this.#reportedNs = -1;
        this.#trace("start", period);
      },
      onGracePeriodEnd: (period) => this.#trace("end", period),
      onQuiescentState: () => this.#trace("cpuqs", this.#period),
      onStall: (cpu, durationNs) => this.#stall(cpu, durationNs),
    };
  }

  /**
   * The trace as text, in the form of Linux's `/sys/kernel/tracing/trace` (Documentation/trace/ftrace.rst) with the event
   * `rcu_grace_period` (include/trace/events/rcu.h); opens in Perfetto. In order of time, which CPUs do not keep among each other.
   */
  text(cpus: number): string {
    const kept = this.#events.toSorted((a, b) => a.timeNs - b.timeNs || a.period - b.period);
    const lines = kept.map(({ timeNs, cpu, period, what }) => {
      const time = `${Math.floor(timeNs / 1e9)}.${String(Math.floor(timeNs / 1e3) % 1e6).padStart(6, "0")}`;
      return `${"<...>-0".padStart(22)} [${String(cpu).padStart(3, "0")}] ..s1. ${time.padStart(12)}: rcu_grace_period: ${NAME} ${period} ${what}\n`;
    });
    return `# tracer: nop\n#\n# entries-in-buffer/entries-written: ${kept.length}/${this.#written}   #P:${cpus}\n#\n${lines.join("")}`;
  }

  #trace(what: TraceEvent["what"], period: number): void {
    const event = { timeNs: this.#hal.now(), cpu: this.#hal.currentCpu(), period, what };
    this.#events[this.#written++ % TRACE_EVENTS] = event;
  }

  /** In the words of Linux (Documentation/RCU/stallwarn.rst): who is waited for, and who has noticed. */
  #stall(cpu: CpuId, durationNs: number): void {
    if (durationNs !== this.#reportedNs) {
      this.#reportedNs = durationNs;
      const noticed = `detected by ${this.#hal.currentCpu()}, t=${Math.round(durationNs / 1e6)} ms, g=${this.#period}`;
      this.#log.print(`rcu: INFO: ${NAME} detected stalls on CPUs/tasks: (${noticed})`);
    }
    const thread = this.#scheduler.current(cpu);
    const task = thread === 0 ? "swapper" : this.#scheduler.name(thread);
    this.#log.print(`rcu: \t${cpu}-....: task ${task}`);
  }
}
