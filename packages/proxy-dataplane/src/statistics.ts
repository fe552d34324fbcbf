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

/** Every counter of the data path, per CPU; the index is the slot. The first twelve are {@link CpuStatistics}. */
export const COUNTERS = [
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
  "packetsDirect",
  "connectionsCreated",
  "connectionsFreed",
  "batches",
  "dropMalformed",
  "dropNoConnection",
  "dropNoBuffer",
  "dropPolicy",
  "dropNode",
  "outOfWindow",
] as const;

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
] as const;

/**
 * What {@link Dataplane.details} counts.
 *
 * @public
 */
export type DetailName = (typeof DETAILS)[number];

export type CounterName = (typeof COUNTERS)[number];

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
} = { Malformed: 0, NoConnection: 1, NoBuffer: 2, Policy: 3, Node: 4 };

/** The counter of each reason. */
export const DROP_SLOTS: readonly number[] = [
  SLOT_OF.dropMalformed,
  SLOT_OF.dropNoConnection,
  SLOT_OF.dropNoBuffer,
  SLOT_OF.dropPolicy,
  SLOT_OF.dropNode,
];

/**
 * A value of the constant of the same name.
 *
 * @public
 */
export type DropReason = 0 | 1 | 2 | 3 | 4;
