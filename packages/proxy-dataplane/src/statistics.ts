import type { PerCpuCounters } from "@x/smp";

/**
 * Counts of one CPU, or of all of them.
 *
 * @public
 */
export interface CpuStatistics {
  /** Packets that went through the stages, those dropped included. */
  readonly packetsProcessed: number;
  readonly packetsDropped: number;
  /** Bytes on the wire of the packets processed. */
  readonly bytesProcessed: number;
  readonly cacheHits: number;
  readonly cacheMisses: number;
  /** Grace periods this CPU has waited for, to free a configuration or connections. */
  readonly rcuGracePeriods: number;
  /** Locks taken on the data path: configuration, table stripes, connection memory. */
  readonly lockAcquisitions: number;
  /** Of them, those that another CPU held. */
  readonly lockContentions: number;
  /** Connections whose memory came without a lock, and the others. */
  readonly allocFast: number;
  readonly allocSlow: number;
  readonly processingTimeNs: number;
  /** `hal.now()` at the end of the last batch; the latest over all CPUs. */
  readonly lastUpdatedNs: number;
}

/**
 * Totals of a proxy. Sent is from client to server, received the other way.
 *
 * @public
 */
export interface ProxyStatistics {
  readonly bytesSent: number;
  readonly bytesReceived: number;
  readonly packetsSent: number;
  readonly packetsReceived: number;
  readonly connectionsActive: number;
  readonly connectionsTotal: number;
}

/** Counters that {@link CpuStatistics} and {@link ProxyStatistics} have no field for. */
export const DETAILS = [
  "dropMalformed",
  "dropNoConnection",
  "dropNoBuffer",
  "dropPolicy",
  "dropNode",
  "outOfWindow",
  "packetsDirect",
  "batches",
  // No address and port is left to translate a flow to; a packet does not fit the path; a checksum is bad.
  "dropNoPort",
  "dropTooBig",
  "dropChecksum",
  // ICMP errors: of a connection, translated or not; of none; of one that says so but contradicts itself.
  "relatedTranslated",
  "relatedUntouched",
  "relatedUnknown",
  "relatedInvalid",
  // Answers to dropped packets: TCP resets, ICMP unreachable and too big; not given: too many, and packets not to be answered.
  "answersReset",
  "answersUnreachable",
  "answersTooBig",
  "answersLimited",
  "answersUnfit",
  "mssClamped",
  "fragmentedPackets",
  "fragmentsMade",
  "badIpv4Checksum",
  "badTcpChecksum",
  "badUdpChecksum",
  "badIcmpChecksum",
  // A client is over its limit; a fragment overlaps, comes too late, or there is no room to wait for the first one.
  "dropLimit",
  "dropFragment",
  // Connections that were ended to make room for others.
  "earlyDrops",
  // Fragments that were sent on with their connection, and those that had to wait for the first one.
  "fragmentsTracked",
  "fragmentsHeld",
] as const;

/** Those that have one, and connections by what became of them; the first twelve are {@link CpuStatistics}. */
const FIELDS = [
  "packetsProcessed",
  "packetsDropped",
  "bytesProcessed",
  "cacheHits",
  "cacheMisses",
  "rcuGracePeriods",
  "lockAcquisitions",
  "lockContentions",
  "allocFast",
  "allocSlow",
  "processingTimeNs",
  "lastUpdatedNs",
  "packetsSent",
  "bytesSent",
  "packetsReceived",
  "bytesReceived",
  "connectionsCreated",
  "connectionsFreed",
] as const;

/**
 * What {@link Dataplane.details} counts.
 *
 * @public
 */
export type DetailName = (typeof DETAILS)[number];

export type CounterName = (typeof FIELDS)[number] | DetailName;

/** Every counter of the data path, per CPU; the index is the slot. */
export const COUNTERS: readonly CounterName[] = [...FIELDS, ...DETAILS];

/** Slots by name. */
export const SLOT_OF: Readonly<Record<CounterName, number>> = Object.fromEntries(
  COUNTERS.map((name, slot) => [name, slot]),
) as Record<CounterName, number>;

/**
 * Why a packet was dropped.
 *
 * @public
 */
export const DropReason: {
  /** A header is cut or contradicts itself. */
  readonly Malformed: 0;
  /** No room for another connection. */
  readonly NoConnection: 1;
  /** No packet buffer for a copy that was needed. */
  readonly NoBuffer: 2;
  /** The configuration blocks the flow. */
  readonly Policy: 3;
  /** A node that was added to the graph wanted it. */
  readonly Node: 4;
  /** No address and port is left to translate the flow to. */
  readonly NoPort: 5;
  /** It does not fit the path, and may not or cannot be fragmented. */
  readonly TooBig: 6;
  /** A checksum is bad. */
  readonly Checksum: 7;
  /** Its client has too many connections, opens too many, or sends too much. */
  readonly Limit: 8;
  /** A fragment that overlaps another one, or whose first fragment did not come in time; or there is no room to wait for that. */
  readonly Fragment: 9;
} = {
  Malformed: 0,
  NoConnection: 1,
  NoBuffer: 2,
  Policy: 3,
  Node: 4,
  NoPort: 5,
  TooBig: 6,
  Checksum: 7,
  Limit: 8,
  Fragment: 9,
};

/** The counter of each reason. */
export const DROP_SLOTS: readonly number[] = [
  SLOT_OF.dropMalformed,
  SLOT_OF.dropNoConnection,
  SLOT_OF.dropNoBuffer,
  SLOT_OF.dropPolicy,
  SLOT_OF.dropNode,
  SLOT_OF.dropNoPort,
  SLOT_OF.dropTooBig,
  SLOT_OF.dropChecksum,
  SLOT_OF.dropLimit,
  SLOT_OF.dropFragment,
];

/**
 * A value of the constant of the same name.
 *
 * @public
 */
export type DropReason = 0 | 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9;

/** The fields of {@link CpuStatistics} alone. */
export function cpuStatistics(all: Readonly<Record<CounterName, number>>, lastUpdatedNs: number): CpuStatistics {
  const { packetsProcessed, packetsDropped, bytesProcessed, cacheHits, cacheMisses, rcuGracePeriods } = all;
  const { lockAcquisitions, lockContentions, allocFast, allocSlow, processingTimeNs } = all;
  return {
    packetsProcessed,
    packetsDropped,
    bytesProcessed,
    cacheHits,
    cacheMisses,
    rcuGracePeriods,
    lockAcquisitions,
    lockContentions,
    allocFast,
    allocSlow,
    processingTimeNs,
    lastUpdatedNs,
  };
}

export function proxyStatistics(counters: PerCpuCounters, connectionsActive: number): ProxyStatistics {
  return {
    bytesSent: counters.sum(SLOT_OF.bytesSent),
    bytesReceived: counters.sum(SLOT_OF.bytesReceived),
    packetsSent: counters.sum(SLOT_OF.packetsSent),
    packetsReceived: counters.sum(SLOT_OF.packetsReceived),
    connectionsActive,
    connectionsTotal: counters.sum(SLOT_OF.connectionsCreated),
  };
}
