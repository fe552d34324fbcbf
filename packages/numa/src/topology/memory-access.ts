import type { Hmat, HmatLocality } from "../acpi/hmat.ts";

/**
 * How fast an initiator's CPUs reach a target's memory, as firmware tells it. What it does not tell is absent.
 *
 * @public
 */
export interface MemoryAccess {
  /** Node of the CPUs. */
  readonly initiator: number;
  /** Node of the memory. */
  readonly target: number;
  readonly readLatencyNs?: number;
  readonly writeLatencyNs?: number;
  /** Megabytes (10^6) per second. */
  readonly readBandwidthMBps?: number;
  readonly writeBandwidthMBps?: number;
}

type Quantity = "readLatencyNs" | "writeLatencyNs" | "readBandwidthMBps" | "writeBandwidthMBps";

/** Members that a HMAT data type gives (ACPI 6.5, table 5.147): «access» is read and write. */
const QUANTITIES: readonly (readonly Quantity[])[] = [
  ["readLatencyNs", "writeLatencyNs"],
  ["readLatencyNs"],
  ["writeLatencyNs"],
  ["readBandwidthMBps", "writeBandwidthMBps"],
  ["readBandwidthMBps"],
  ["writeBandwidthMBps"],
];

/** Raw values that tell nothing: not given, not reachable. */
const NOT_GIVEN = 0;
const NOT_REACHABLE = 0xffff;
/** Bits 0 to 3 of a locality structure's flags; 0 is the memory itself, the others are caches in front of it. */
const HIERARCHY = 0xf;

/** The pairs of nodes the HMAT tells something of, in its order. */
export function memoryAccess(hmat: Hmat, nodeOfDomain: ReadonlyMap<number, number>): MemoryAccess[] {
  const found = new Map<string, MemoryAccess>();
  for (const entry of hmat.entries) {
    if (entry.kind !== "locality" || (entry.flags & HIERARCHY) !== 0) continue;
    for (const [row, initiatorDomain] of entry.initiators.entries()) {
      for (const [column, targetDomain] of entry.targets.entries()) {
        const initiator = nodeOfDomain.get(initiatorDomain);
        const target = nodeOfDomain.get(targetDomain);
        const raw = entry.raw[row * entry.targets.length + column];
        if (initiator === undefined || target === undefined || raw === NOT_GIVEN || raw === NOT_REACHABLE) continue;
        const value = inUnits(entry.matrix[row][column], entry, hmat.revision);
        const told = Object.fromEntries((QUANTITIES[entry.dataType] ?? []).map((quantity) => [quantity, value]));
        const key = `${initiator} ${target}`;
        found.set(key, { initiator, target, ...found.get(key), ...told });
      }
    }
  }
  return [...found.values()];
}

/** Nanoseconds or MB/s. Revision 1 counts in tenths of either (Linux: `hmat_normalize`, drivers/acpi/numa/hmat.c). */
function inUnits(value: number, entry: HmatLocality, revision: number): number {
  if (revision <= 1) return value / 10;
  return entry.dataType <= 2 ? value / 1000 : value;
}
