/**
 * Packets, batches, connection tracking and rewriting: the data path of a proxy.
 *
 * @packageDocumentation
 */
export { DataplaneError, type DataplaneErrorCode } from "./errors.ts";
export { IpProtocol, LinkType, TcpFlag } from "./protocols.ts";
export { formatAddress, parseAddress } from "./addresses.ts";
export { checksumUpdate, internetChecksum } from "./checksum.ts";
export { openCapture, type Capture } from "./capture.ts";
export { NetworkKind, PacketInfo, ParseResult } from "./packet-info.ts";
export { rewriteEnds } from "./rewrite.ts";
export { parseFrame } from "./parse-frame.ts";
export { ChecksumState, verifyIpChecksum, verifyTransportChecksum } from "./verify-checksums.ts";
export { summarizeFlows, type Conversation, type FlowSummary } from "./flow-summary.ts";
export type { PacketColumns } from "./packet-columns.ts";
export { PacketPool, parsePacket } from "./packet-pool.ts";
export type {
  PacketId,
  PacketPoolHandle,
  PacketPoolObserver,
  PacketPoolOptions,
  PacketPoolStats,
  PoolObservers,
} from "./packet-pool-types.ts";
export type {
  AddressClass,
  ClientLimit,
  ProcessConditions,
  ProcessFacts,
  ProxyConfig,
  ProxyLimits,
  ProxyRule,
  ProxyServer,
  RuleAction,
  ServerGroup,
  ServerSelection,
} from "./policy/config.ts";
export { proxyConfigSchema, validateProxyConfig } from "./policy/validate.ts";
export { attachProxyConfigCell, proxyConfigCell } from "./policy/config-cell.ts";
export { FlowFacts } from "./policy/facts.ts";
export { compilePolicy, Policy, RouteAction, routeAction, routeGroup, routeRule } from "./policy/policy.ts";
export { ServerHealth, type ServerStatesHandle } from "./policy/server-states.ts";
export {
  PolicyEngine,
  type ConnectionRequest,
  type ConnectionRoute,
  type PolicyEngineHandle,
  type PolicyEngineJoin,
} from "./policy/policy-engine.ts";
export type { ProxyParameter, ProxyParameters } from "./parameters.ts";
export { ConnectionState } from "./connection-state.ts";
export { DropReason, type CpuStatistics, type ProxyStatistics } from "./statistics.ts";
export { Stage, TouchKind, type DataplaneObserver } from "./observer.ts";
export type {
  ConnectionInfo,
  DataplaneHandle,
  DataplaneJoin,
  DataplaneOptions,
  TupleEnds,
} from "./dataplane-options.ts";
export { FlowCache, type FlowCacheHandle, type FlowCacheObserver, type FlowCacheOptions } from "./flow-cache.ts";
export type { AddedNode, GraphNode, NodeStatistics } from "./graph.ts";
export { PacketVector, Verdict } from "./packet-vector.ts";
export { Dataplane } from "./dataplane.ts";
