import type { ProxyParameter } from "@x/proxy-dataplane";
import { RcuError } from "@x/rcu";
import { SimError } from "../errors.ts";
import type { Scenario, ScenarioConfig, ScenarioParameters } from "../experiment/scenario.ts";
import type { KernelLog } from "../kernel/kernel-log.ts";
import { toProxyConfig } from "../kernel/proxy-module.ts";
import type { Proxy } from "./proxy.ts";

interface Change {
  readonly atNs: number;
  /** False: not possible yet, try again. */
  readonly apply: () => boolean;
}

/** Throws `SIM_SCENARIO` for what real threads do not do: lose their CPU, or compute in read sections of RCU. */
export function assertForThreads({ events, threads, deadCpus }: Scenario): void {
  if (deadCpus !== undefined) {
    throw new SimError("SIM_SCENARIO", "CPUs are dead on the emulated machine only", { path: "/deadCpus" });
  }
  const event = events.findIndex(({ cpus }) => cpus !== undefined);
  if (event >= 0) {
    const path = `/events/${event}/cpus`;
    throw new SimError("SIM_SCENARIO", "CPUs come and go on the emulated machine only", { path });
  }
  const thread = threads.findIndex(({ steps }) => steps.some((step) => "readUs" in step));
  if (thread >= 0) {
    const path = `/threads/${thread}/steps`;
    throw new SimError("SIM_SCENARIO", "read sections are for the emulated machine only", { path });
  }
}

/** A scenario's changes of parameters and configuration, applied while packets flow, by the time since the traffic began. */
export class LiveEvents {
  readonly #changes: readonly Change[];
  readonly #proxy: Proxy;
  readonly #log: KernelLog;
  #next = 0;

  constructor(events: Scenario["events"], proxy: Proxy, log: KernelLog) {
    this.#proxy = proxy;
    this.#log = log;
    this.#changes = events
      .flatMap(({ atMs, parameters, config }) => [
        { atNs: atMs * 1e6, apply: () => this.#setParameters(parameters ?? {}) },
        ...(config === undefined ? [] : [{ atNs: atMs * 1e6, apply: () => this.#setConfig(config) }]),
      ])
      .sort((a, b) => a.atNs - b.atNs);
  }

  /** Apply what is due `sinceNs` after the traffic began, in order. */
  apply(sinceNs: number): void {
    while (this.#next < this.#changes.length && this.#changes[this.#next].atNs <= sinceNs) {
      if (!this.#changes[this.#next].apply()) return;
      this.#next++;
    }
  }

  #setParameters(parameters: ScenarioParameters): boolean {
    for (const [name, value] of Object.entries(parameters)) {
      this.#proxy.dataplane.setParameter(name as ProxyParameter, value as never);
      this.#log.print(`mutex_proxy: ${name} is now ${String(value)}`);
    }
    return true;
  }

  #setConfig(config: ScenarioConfig): boolean {
    try {
      const version = this.#proxy.dataplane.updateConfig(toProxyConfig(config));
      this.#log.print(
        `mutex_proxy: configuration version ${version}: ${config.selection}, ${config.servers.length} servers`,
      );
      return true;
    } catch (error) {
      // Too many versions within one grace period: the next turn finds one that has ended.
      if (error instanceof RcuError && error.code === "RCU_CELL_BUSY") return false;
      throw error;
    }
  }
}
