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
export {
  PacketPool,
  parsePacket,
  type PacketId,
  type PacketPoolHandle,
  type PacketPoolObserver,
  type PacketPoolOptions,
  type PacketPoolStats,
  type PoolObservers,
} from "./packet-pool.ts";
export {
  attachProxyConfigCell,
  proxyConfigCell,
  validateProxyConfig,
  type ProxyConfig,
  type ProxyServer,
  type ServerSelection,
} from "./proxy-config.ts";
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
export { Dataplane } from "./dataplane.ts";
