/**
 * Flow hashes, a shared flow table and per-CPU connection caches.
 *
 * @packageDocumentation
 */
export { PerfCacheError, type PerfCacheErrorCode } from "./errors.ts";
export { jhash2Words, jhash3Words, jhashBytes, jhashWords } from "./jhash.ts";
export { crc16X25, crc32, crc32c } from "./crc.ts";
export { halfSipHash13, SIPHASH_KEY_WORDS, sipHash13Words, sipHashBytes } from "./siphash.ts";
export { RSS_KEY, toeplitz, ToeplitzTable } from "./toeplitz.ts";
export { FLOW_KEY_IPV6, FLOW_KEY_WORDS, hashCombine, hashTuple, writeIpv4Key, writeIpv6Key } from "./flow-key.ts";
export { FlowTable } from "./flow-table.ts";
export type {
  FlowExpiryHandle,
  FlowExpiryOptions,
  FlowHash,
  FlowLookupsHandle,
  FlowTableAttachOptions,
  FlowTableHandle,
  FlowTableObserver,
  FlowTableOptions,
  HashStats,
} from "./flow-table-layout.ts";
export { ConnectionCache } from "./connection-cache.ts";
export type {
  ConnectionCacheAttachOptions,
  ConnectionCacheHandle,
  ConnectionCacheObserver,
  ConnectionCacheOptions,
  ConnectionCacheStats,
} from "./connection-cache-layout.ts";
export { fastCreate, fastLookup, type FastCreateOptions } from "./fast-path.ts";
export { HitRateMonitor, type HitRateMonitorOptions, type LowHitRate } from "./hit-rate-monitor.ts";
export { FastCache, hashText, TextCache, type FastCacheOptions, type FastCacheStats } from "./fast-cache.ts";
