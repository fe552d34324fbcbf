import { SmpError } from "./errors.ts";
import type { CpuId } from "./hal.ts";

/**
 * What a subsystem does for each CPU that comes and goes (Linux: cpuhp_setup_state). The members come in pairs: `dead` undoes
 * `prepare`, `offline` undoes `online`. Steps are done in the order of their registration and undone in reverse, all or none.
 *
 * @public
 */
export interface CpuHotplugStep {
  /** For messages. */
  readonly name: string;
  /** Before `cpu` is started, on the thread that brings it online. What it throws keeps the CPU from being started. */
  prepare?(cpu: CpuId): void;
  /** `cpu` does not run, or not yet again: on the thread that took it offline or found out that it did not start. */
  dead?(cpu: CpuId): void;
  /** On the thread of `cpu`, before it counts as online. What it throws makes the CPU fail. */
  online?(cpu: CpuId): void;
  /** Before `cpu` is stopped, on the thread that takes it offline. What it throws keeps the CPU online. */
  offline?(cpu: CpuId): void;
}

/** The two sections of a CPU's way up, and what undoes each. */
const UNDO = { prepare: "dead", online: "offline" } as const;
type Section = keyof typeof UNDO;

/** The steps of one thread's `CpuManager`. */
export class CpuHotplugSteps {
  #steps: readonly CpuHotplugStep[] = [];
  readonly #onFault: (fault: SmpError) => void;

  /** `onFault` is told what a step threw where it was to be undone and nothing can be refused any more. */
  constructor(onFault: (fault: SmpError) => void) {
    this.#onFault = onFault;
  }

  /** Register `step` once it is done for `cpus`; if it throws for one, it is undone for the others and not registered. */
  add(step: CpuHotplugStep, cpus: readonly CpuId[]): void {
    const alone = new CpuHotplugSteps(this.#onFault);
    alone.#steps = [step];
    for (const [at, cpu] of cpus.entries()) {
      try {
        alone.up("prepare", cpu);
        alone.#upOr(cpu, () => alone.down("prepare", cpu));
      } catch (error) {
        alone.#downAll(cpus.slice(0, at));
        throw error;
      }
    }
    this.#steps = [...this.#steps, step];
  }

  /** Forget `step`, and undo it for `cpus`. */
  remove(step: CpuHotplugStep, cpus: readonly CpuId[]): void {
    if (!this.#steps.includes(step)) return;
    this.#steps = this.#steps.filter((other) => other !== step);
    const alone = new CpuHotplugSteps(this.#onFault);
    alone.#steps = [step];
    alone.#downAll(cpus);
  }

  /** Do a section's steps; if one throws, those before it are undone and `SMP_HOTPLUG_FAILED` is thrown. */
  up(section: Section, cpu: CpuId): void {
    const steps = this.#steps;
    for (const [at, step] of steps.entries()) {
      try {
        step[section]?.(cpu);
      } catch (cause) {
        this.#undo(section, cpu, steps.slice(0, at));
        throw failure(step, section, cpu, cause);
      }
    }
  }

  /** Undo the `online` section; if a step refuses, those undone are done again and `SMP_HOTPLUG_FAILED` is thrown. */
  leave(cpu: CpuId): void {
    const steps = this.#steps;
    for (let at = steps.length - 1; at >= 0; at--) {
      try {
        steps[at].offline?.(cpu);
      } catch (cause) {
        for (const step of steps.slice(at + 1)) this.#attempt(step, "online", cpu);
        throw failure(steps[at], "offline", cpu, cause);
      }
    }
  }

  /** Undo a whole section, whatever single steps throw. */
  down(section: Section, cpu: CpuId): void {
    this.#undo(section, cpu, this.#steps);
  }

  #undo(section: Section, cpu: CpuId, steps: readonly CpuHotplugStep[]): void {
    for (const step of steps.toReversed()) this.#attempt(step, UNDO[section], cpu);
  }

  #downAll(cpus: readonly CpuId[]): void {
    for (const cpu of cpus.toReversed()) {
      this.down("online", cpu);
      this.down("prepare", cpu);
    }
  }

  #upOr(cpu: CpuId, undo: () => void): void {
    try {
      this.up("online", cpu);
    } catch (error) {
      undo();
      throw error;
    }
  }

  #attempt(step: CpuHotplugStep, member: Member, cpu: CpuId): void {
    try {
      step[member]?.(cpu);
    } catch (cause) {
      this.#onFault(failure(step, member, cpu, cause));
    }
  }
}

type Member = Exclude<keyof CpuHotplugStep, "name">;

function failure(step: CpuHotplugStep, member: Member, cpu: CpuId, cause: unknown): SmpError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  const message = `CPU ${cpu}: "${step.name}" failed in ${member}: ${reason}`;
  return new SmpError("SMP_HOTPLUG_FAILED", message, {}, { cause });
}
