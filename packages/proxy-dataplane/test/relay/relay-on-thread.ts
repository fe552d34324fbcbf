import { NetEngine } from "../../src/node/net-engine.ts";
import { hostFacts } from "../../src/node/host-facts.ts";
import { lookupByNode } from "../../src/node/lookup.ts";
import { ConnectionTable } from "../../src/relay/connection-table.ts";
import { ClientLimits } from "../../src/policy/client-limits.ts";
import { proxyConfigCell } from "../../src/policy/config-cell.ts";
import { PolicyEngine } from "../../src/policy/policy-engine.ts";
import { policyOf, type RelayConfig } from "../../src/relay/config.ts";
import { Upstreams } from "../../src/relay/upstreams.ts";
import { validateRelayConfig } from "../../src/relay/config-validate.ts";
import { listenEndpoint } from "../../src/relay/endpoints-text.ts";
import { RelayCore, type HostFacts } from "../../src/relay/core.ts";
import { OwnConnections } from "../../src/relay/own-connections.ts";
import { RELAY_COUNTERS, type RelayCounter } from "../../src/relay/counters.ts";
import type { Engine, UdpPort } from "../../src/relay/engine.ts";
import type { RelayFailure } from "../../src/relay/failure.ts";
import type { NameLookup } from "../../src/relay/resolver.ts";
import { RelayRuntime } from "../../src/relay/runtime.ts";
import { PerCpuCounters } from "@x/smp";
import { Rcu } from "@x/rcu";

/** A relay on this thread, its listeners, and what became of its sessions. */
export interface RelayOnThread {
  readonly core: RelayCore;
  readonly policy: PolicyEngine;
  readonly ports: readonly number[];
  readonly own: OwnConnections;
  /** Where connections of the relay went that came back. */
  readonly loops: readonly string[];
  readonly outcomes: RelayFailure[];
  counters(): Readonly<Record<RelayCounter, number>>;
  readonly close: () => Promise<void>;
}

/** What of the host a test replaces. */
export interface RelayHost {
  readonly lookup?: NameLookup;
  readonly host?: Partial<HostFacts>;
}

export async function relayOnThread(
  config: RelayConfig,
  engine: Engine = new NetEngine(),
  replaced: RelayHost = {},
): Promise<RelayOnThread> {
  validateRelayConfig(config);
  const rcu = Rcu.create();
  rcu.online();
  const table = ConnectionTable.create({ capacity: config.limits?.connections ?? 1024, rcu });
  const counters = PerCpuCounters.create({ names: RELAY_COUNTERS });
  const own = OwnConnections.create({ capacity: 1024, rcu });
  const outcomes: RelayFailure[] = [];
  const loops: string[] = [];
  const policy = PolicyEngine.create({ config: proxyConfigCell({ rcu, initial: policyOf(config) }) });
  const limits = ClientLimits.create();
  const core = new RelayCore({
    upstreams: new Upstreams(policy),
    limits,
    host: { ...hostFacts(engine), ...replaced.host },
    engine,
    table,
    own,
    onLoop: (_listener, { host, port }) => loops.push(`${host}:${port}`),
    counters,
    cpu: 0,
    lookup: replaced.lookup ?? lookupByNode,
    runtime: new RelayRuntime(config),
    wallMs: Date.now,
    onClosed: (_session, failure) => outcomes.push(failure),
    onTick: () => rcu.quiescent(),
  });
  const listeners: Pick<UdpPort, "local" | "close">[] = [];
  for (const { config: listener, name } of core.runtime.listeners) {
    const endpoint = listenEndpoint(listener.listen)!;
    listeners.push(
      await new Promise((resolve) => {
        if (listener.kind === "udp") engine.udp({ endpoint }, core.udpOwner(name), resolve);
        else engine.listen({ endpoint }, core.listenerOwner(name), resolve);
      }),
    );
  }
  core.setOwnEndpoints(listeners.map((listener) => listener.local));
  return {
    core,
    own,
    loops,
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
