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
export { CaptureWriter, type CaptureWriterOptions, type WrittenPacket } from "./capture-writer.ts";
export { NetworkKind, PacketInfo, ParseResult } from "./packet-info.ts";
export { parseQuoted } from "./icmp.ts";
export { rewriteEnds } from "./rewrite.ts";
export { parseFrame } from "./parse-frame.ts";
export { ChecksumState, verifyIcmpChecksum, verifyIpChecksum, verifyTransportChecksum } from "./verify-checksums.ts";
export { summarizeFlows, type Conversation, type FlowSummary } from "./flow-summary.ts";
export { PacketBatch, type PacketBatchOptions } from "./packet-batch.ts";
export type { PacketColumns } from "./packet-columns.ts";
export { PacketPool, parsePacket } from "./packet-pool.ts";
export { PacketRing, type PacketRingHandle } from "./packet-ring.ts";
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
export type {
  DestinationTranslation,
  RejectAnswer,
  SourceTranslation,
  TranslationConfig,
} from "./policy/translation-config.ts";
export type { NetworkOptions } from "./network-options.ts";
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
  type ProxyConfigSource,
} from "./policy/policy-engine.ts";
export { Detection } from "./policy/detect/detected-name.ts";
export { TlsHelloDetector } from "./policy/detect/tls-hello.ts";
export { HttpHostDetector } from "./policy/detect/http-head.ts";
export { DnsMessage } from "./policy/detect/dns-message.ts";
export { detectDatagram, ProtocolDetector, type DetectedProtocol } from "./policy/detect/protocol-detector.ts";
export { HostNameNode } from "./nodes/host-names.ts";
export { HostNameTable, type HostNameTableHandle, type HostNameTableOptions } from "./policy/name-table.ts";
export { ClientLimits, Refusal, type ClientLimitsHandle, type ClientLimitsOptions } from "./policy/client-limits.ts";
export type { ProxyParameter, ProxyParameters } from "./parameters.ts";
export { ConnectionState } from "./connection-state.ts";
export { DropReason, type CpuStatistics, type DetailName, type ProxyStatistics } from "./statistics.ts";
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
export { relayConfigSchema } from "./relay/config-shape.ts";
export { validateRelayConfig } from "./relay/config-validate.ts";
export type {
  DnsConfig,
  EngineName,
  HealthConfig,
  ListenerConfig,
  ListenerKind,
  RelayConfig,
  RelayLimits,
  RelayTimeouts,
  TargetConfig,
} from "./relay/config.ts";
export { RelayState, type RelayConnection } from "./relay/connection-table.ts";
export type { RelayFailure } from "./relay/failure.ts";
export { parseProxyHeader, ProxyHeader, ProxyTlv } from "./relay/proxy-protocol.ts";
export { proxyHeader, type ProxyHeaderFields } from "./relay/proxy-protocol-write.ts";
export type {
  ConnectOptions,
  Endpoint,
  Engine,
  Listener,
  ListenerOwner,
  ListenOptions,
  RelaySocket,
  SocketOwner,
  Tunnel,
  TunnelLimiter,
  TunnelOptions,
  TunnelOwner,
  TunnelSide,
  TunnelTap,
  UdpOptions,
  UdpOwner,
  UdpPort,
} from "./relay/engine.ts";
export { formatConntrack, formatConntrackEvent } from "./conntrack-text.ts";
export { Dataplane } from "./dataplane.ts";
