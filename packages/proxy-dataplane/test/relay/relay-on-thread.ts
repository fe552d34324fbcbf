import { NetEngine } from "../../src/node/net-engine.ts";
import { lookupByNode } from "../../src/node/lookup.ts";
import { ConnectionTable } from "../../src/relay/connection-table.ts";
import { proxyConfigCell } from "../../src/policy/config-cell.ts";
import { PolicyEngine } from "../../src/policy/policy-engine.ts";
import { DIRECT_POLICY, type RelayConfig } from "../../src/relay/config.ts";
import { Upstreams } from "../../src/relay/upstreams.ts";
import { validateRelayConfig, listenEndpoint } from "../../src/relay/config-validate.ts";
import { RelayCore } from "../../src/relay/core.ts";
import { RELAY_COUNTERS, type RelayCounter } from "../../src/relay/counters.ts";
import type { Engine, Listener } from "../../src/relay/engine.ts";
import type { RelayFailure } from "../../src/relay/failure.ts";
import { RelayRuntime } from "../../src/relay/runtime.ts";
import { PerCpuCounters } from "@x/smp";
import { Rcu } from "@x/rcu";

/** A relay on this thread, its listeners, and what became of its sessions. */
export interface RelayOnThread {
  readonly core: RelayCore;
  readonly policy: PolicyEngine;
  readonly ports: readonly number[];
  readonly outcomes: RelayFailure[];
  counters(): Readonly<Record<RelayCounter, number>>;
  readonly close: () => Promise<void>;
}

export async function relayOnThread(config: RelayConfig, engine: Engine = new NetEngine()): Promise<RelayOnThread> {
  validateRelayConfig(config);
  const rcu = Rcu.create();
  rcu.online();
  const table = ConnectionTable.create({ capacity: config.limits?.connections ?? 1024, rcu });
  const counters = PerCpuCounters.create({ names: RELAY_COUNTERS });
  const outcomes: RelayFailure[] = [];
  const policy = PolicyEngine.create({ config: proxyConfigCell({ rcu, initial: config.policy ?? DIRECT_POLICY }) });
  const core = new RelayCore({
    upstreams: new Upstreams(policy),
    engine,
    table,
    counters,
    cpu: 0,
    lookup: lookupByNode,
    runtime: new RelayRuntime(config),
    wallMs: Date.now,
    onClosed: (_session, failure) => outcomes.push(failure),
    onTick: () => rcu.quiescent(),
  });
  const listeners: Listener[] = [];
  for (const each of core.runtime.listeners) {
    const endpoint = listenEndpoint(each.config.listen)!;
    listeners.push(await new Promise((resolve) => engine.listen({ endpoint }, core.listenerOwner(each.name), resolve)));
  }
  core.setOwnEndpoints(listeners.map((listener) => listener.local));
  return {
    core,
    outcomes,
    counters: () => counters.snapshot(),
    policy,
    ports: listeners.map((listener) => listener.local.port),
    close: async () => {
      for (const listener of listeners) listener.close();
      core.killAll("killed");
      core.stop();
      await new Promise((resolve) => setImmediate(resolve));
    },
  };
}
