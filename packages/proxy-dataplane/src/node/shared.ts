import { randomInt } from "node:crypto";
import type { FlowTableHandle } from "@x/perf-cache";
import { jsonCodec, Rcu, RcuCell, type RcuCellHandle, type RcuHandle } from "@x/rcu";
import {
  CrossCalls,
  IpiMailbox,
  PerCpuCounters,
  WorkerHal,
  type CrossCallsHandle,
  type CrossFunction,
  type IpiMailboxHandle,
  type PerCpuCountersHandle,
} from "@x/smp";
import { attachProxyConfigCell, proxyConfigCell } from "../policy/config-cell.ts";
import type { ProxyConfig } from "../policy/config.ts";
import { ClientLimits, type ClientLimitsHandle } from "../policy/client-limits.ts";
import { PolicyEngine, type PolicyEngineHandle } from "../policy/policy-engine.ts";
import { DIRECT_POLICY, type RelayConfig } from "../relay/config.ts";
import { ConnectionTable, type ConnectionTableHandle } from "../relay/connection-table.ts";
import { OwnConnections } from "../relay/own-connections.ts";
import { RELAY_COUNTERS, type RelayCounter } from "../relay/counters.ts";

/** Largest configuration, encoded. */
const MAX_CONFIG_BYTES = 1 << 20;

/** Clients and users that limits know at once, 64 bytes each. */
const LIMITED_CLIENTS = 1 << 16;

/** What the cell holds: the configuration, and for each of its listeners the number that the proxy knows it by over reloads. */
export interface PublishedConfig {
  readonly config: RelayConfig;
  readonly slots: readonly number[];
  /** Ends that the proxy listens on, as bound. */
  readonly own: readonly { readonly family: 0 | 4 | 6; readonly host: string; readonly port: number }[];
}

/** What workers do when they are called, by number. */
export const WorkerCall = {
  /** Take the configuration in the cell. */
  Configure: 0,
  /** Listen: slot, descriptor; for UDP with the engine over Node.js the port, which the worker binds itself. */
  Listen: 1,
  /** End a connection: object, id. 1 if it was there. */
  Kill: 2,
  /** Take no connections any more. */
  StopListening: 3,
  /** Bring what listings show up to date. */
  Publish: 4,
  /** End all connections that are left. */
  KillAll: 5,
  /** Begin a new access log where the old one was renamed. */
  ReopenLog: 6,
  /** Write what is to be written, and end. */
  Stop: 7,
} as const;

/** Number of {@link WorkerCall}s. */
export const WORKER_CALLS = 8;

/** What every thread of a proxy shares. */
export interface SharedHandles {
  readonly mailbox: IpiMailboxHandle;
  readonly calls: CrossCallsHandle;
  readonly rcu: RcuHandle;
  readonly cell: RcuCellHandle;
  readonly table: ConnectionTableHandle;
  readonly counters: PerCpuCountersHandle<RelayCounter>;
  readonly policyCell: RcuCellHandle;
  readonly policy: PolicyEngineHandle;
  readonly limits: ClientLimitsHandle;
  readonly own: FlowTableHandle;
}

/** The same, joined. */
export interface Shared {
  readonly hal: WorkerHal;
  readonly mailbox: IpiMailbox;
  readonly calls: CrossCalls;
  readonly rcu: Rcu;
  readonly cell: RcuCell<PublishedConfig>;
  readonly table: ConnectionTable;
  readonly counters: PerCpuCounters<RelayCounter>;
  readonly policyCell: RcuCell<ProxyConfig>;
  readonly policy: PolicyEngine;
  readonly limits: ClientLimits;
  readonly own: OwnConnections;
}

/** Made by the main thread, which is CPU 0. */
export function createShared(
  workers: number,
  initial: PublishedConfig,
  connections: number,
): Shared & { handles: SharedHandles } {
  const hal = WorkerHal.create({ possibleCpus: workers + 1 });
  const mailbox = IpiMailbox.create({ hal });
  const calls = CrossCalls.create({ hal, mailbox, functions: Array.from({ length: WORKER_CALLS }, () => () => 0) });
  const rcu = Rcu.create({ hal, callbackCapacity: 1 << 16 });
  const cell = RcuCell.create<PublishedConfig>({ rcu, codec: jsonCodec, initial, maxBytes: MAX_CONFIG_BYTES });
  const table = ConnectionTable.create({ capacity: connections, hal, rcu });
  const counters = PerCpuCounters.create({ names: RELAY_COUNTERS, hal });
  const policyCell = proxyConfigCell({ rcu, initial: DIRECT_POLICY });
  const policy = PolicyEngine.create({ hal, config: policyCell, seed: randomInt(1, 2 ** 31) });
  const limits = ClientLimits.create({ hal, entries: LIMITED_CLIENTS });
  const own = OwnConnections.create({ capacity: connections, hal, rcu });
  const handles = {
    own: own.handle,
    limits: limits.handle,
    policyCell: policyCell.handle,
    policy: policy.handle,
    mailbox: mailbox.handle,
    calls: calls.handle,
    rcu: rcu.handle,
    cell: cell.handle,
    table: table.handle,
    counters: counters.handle,
  };
  return { hal, mailbox, calls, rcu, cell, table, counters, policyCell, policy, limits, own, handles };
}

/** By a worker. */
export function attachShared(hal: WorkerHal, handles: SharedHandles, functions: readonly CrossFunction[]): Shared {
  const mailbox = IpiMailbox.attach(handles.mailbox, { hal });
  const calls = CrossCalls.attach(handles.calls, { hal, mailbox, functions });
  const rcu = Rcu.attach(handles.rcu, { hal });
  const cell = RcuCell.attach<PublishedConfig>(handles.cell, { rcu, codec: jsonCodec });
  const table = ConnectionTable.attach(handles.table, { hal, rcu });
  const counters = PerCpuCounters.attach(handles.counters, { hal });
  const policyCell = attachProxyConfigCell(handles.policyCell, { rcu });
  const policy = PolicyEngine.attach(handles.policy, { hal, config: policyCell, seed: randomInt(1, 2 ** 31) });
  const limits = ClientLimits.attach(handles.limits, { hal });
  const own = OwnConnections.attach(handles.own, { hal, rcu });
  return { hal, mailbox, calls, rcu, cell, table, counters, policyCell, policy, limits, own };
}
