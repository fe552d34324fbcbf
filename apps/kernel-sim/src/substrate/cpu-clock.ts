import type { CpuId } from "@x/smp";
import { SLOT, type Core, type CoreCounter } from "./core.ts";

/** What a CPU may be doing; also the name of the counter its time goes to. */
type Mode = Extract<CoreCounter, "user" | "system" | "hardirq" | "softirq" | "idle">;

/**
 * One CPU's account of its time, and its profiler: at each change of mode or function the time since the last one belongs to
 * what was under way. Times are the host's, so they hold whatever else the host did meanwhile.
 */
export class CpuClock {
  readonly #core: Core;
  readonly #cpu: CpuId;
  #slot: number = SLOT.system;
  #sinceNs: number;

  constructor(core: Core, cpu: CpuId) {
    this.#core = core;
    this.#cpu = cpu;
    this.#sinceNs = core.hal.now();
  }

  /** Forget what has been accounted: the run begins. */
  begin(): void {
    const { counters, hal } = this.#core;
    for (const mode of ["user", "system", "hardirq", "softirq", "idle"] as const) {
      counters.addOn(this.#cpu, SLOT[mode], -counters.read(this.#cpu, SLOT[mode]));
    }
    this.#sinceNs = hal.now();
  }

  /** From now on the CPU's time goes to `mode`. Returns the time. */
  enter(mode: Mode): number {
    const nowNs = this.sample();
    this.#core.counters.addOn(this.#cpu, this.#slot, nowNs - this.#sinceNs);
    this.#slot = SLOT[mode];
    this.#sinceNs = nowNs;
    return nowNs;
  }

  /** Take the samples that are due; to be called before the stack changes. Returns the time. */
  sample(): number {
    const nowNs = this.#core.hal.now();
    this.#core.stack.poll(nowNs);
    return nowNs;
  }
}
