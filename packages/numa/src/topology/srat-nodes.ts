import type { Srat, SratEntry, SratMemory } from "../acpi/srat.ts";
import { MAX_NUMA_NODES } from "../limits.ts";
import { findOverlap, rangeEnd, type OwnedRange } from "./memory-ranges.ts";

const ENABLED = 1;
const HOT_PLUGGABLE = 2;
/** APIC ids that name nobody. */
const NO_X2APIC_ID = 0xffffffff;
const ADDRESS_LIMIT = 1n << 64n;
/** Linux's walk stops without complaint when no more than a sub-table header is left (`acpi_parse_entries_array`). */
const TOLERATED_TAIL_BYTES = 2;

/** What a usable SRAT says. Nodes are numbered in order of first appearance, processors and initiators before memory. */
export interface SratNodes {
  readonly nodeOfDomain: ReadonlyMap<number, number>;
  readonly nodeOfApicId: ReadonlyMap<number, number>;
  /** By ACPI processor UID; empty but on an Arm machine. */
  readonly nodeOfArmUid: ReadonlyMap<number, number>;
  readonly memory: readonly OwnedRange[];
}

/**
 * The nodes of a SRAT, or the reason why Linux would not use it (drivers/acpi/numa/srat.c, arch/x86/mm/srat.c).
 * Entries that are not enabled or have no length do not exist. What is odd but used goes to `warnings`.
 *
 * @param isArm - the machine's processors are Arm ones; elsewhere the entries of such do not exist, nor others there.
 */
export function sratNodes(srat: Srat, warnings: string[], isArm = false): SratNodes | string {
  const fatal = srat.problems.find(({ offset }) => !isTail(srat.length - offset));
  if (fatal !== undefined) return `at offset ${fatal.offset}: ${fatal.message}`;
  const nodeOfDomain = new Map<number, number>();
  const nodeOfApicId = new Map<number, number>();
  const nodeOfArmUid = new Map<number, number>();
  const numberOf = (domain: number): number => {
    const known = nodeOfDomain.get(domain);
    if (known !== undefined) return known;
    nodeOfDomain.set(domain, nodeOfDomain.size);
    return nodeOfDomain.size - 1;
  };
  for (const entry of srat.entries) {
    const domain = initiatorDomain(entry, isArm);
    if (domain < 0) continue;
    if (domain >= MAX_NUMA_NODES) return tooLarge(domain);
    const node = numberOf(domain);
    if (entry.kind === "processor") nodeOfApicId.set(entry.apicId, node);
    else if (entry.kind === "x2apic") nodeOfApicId.set(entry.x2apicId, node);
    else if (entry.kind === "gicc") nodeOfArmUid.set(entry.acpiProcessorUid, node);
  }
  const memory: OwnedRange[] = [];
  for (const entry of srat.entries) {
    if (entry.kind !== "memory" || (entry.flags & ENABLED) === 0 || BigInt(entry.size) === 0n) continue;
    const domain = srat.revision <= 1 ? entry.proximityDomain & 0xff : entry.proximityDomain;
    if (domain >= MAX_NUMA_NODES) return tooLarge(domain);
    const range = memoryOf(entry, numberOf(domain));
    if (rangeEnd(range) > ADDRESS_LIMIT) warnings.push(`SRAT: memory ${describe(range)} ends past 64 bits; ignored`);
    else memory.push(range);
  }
  if (memory.length === 0) return "it has no memory that is enabled";
  const overlap = findOverlap(memory);
  if (overlap !== undefined) {
    const { first, second } = overlap;
    const message = `memory ${describe(first)} overlaps ${describe(second)}`;
    if (first.node !== second.node) return message;
    warnings.push(`SRAT: ${message}`);
  }
  return { nodeOfDomain, nodeOfApicId, nodeOfArmUid, memory };
}

function isTail(bytes: number): boolean {
  return bytes > 0 && bytes <= TOLERATED_TAIL_BYTES;
}

/** Proximity domain of an enabled processor or generic initiator, else -1. */
function initiatorDomain(entry: SratEntry, isArm: boolean): number {
  // An interrupt translation service is where its domain is, and makes no node of it (Linux: irq-gic-v3-its.c).
  if (entry.kind === "other" || entry.kind === "memory" || entry.kind === "gic-its") return -1;
  if (entry.kind !== "generic-initiator" && (entry.kind === "gicc") !== isArm) return -1;
  if ((entry.flags & ENABLED) === 0) return -1;
  if (entry.kind === "x2apic" && entry.x2apicId === NO_X2APIC_ID) return -1;
  return entry.proximityDomain;
}

function memoryOf(entry: SratMemory, node: number): OwnedRange {
  const hotPluggable = (entry.flags & HOT_PLUGGABLE) !== 0;
  return { node, base: BigInt(entry.base), size: BigInt(entry.size), hotPluggable };
}

function tooLarge(domain: number): string {
  return `proximity domain ${domain} is not below ${MAX_NUMA_NODES}`;
}

function describe(range: OwnedRange): string {
  return `0x${range.base.toString(16)}-0x${(rangeEnd(range) - 1n).toString(16)} of node ${range.node}`;
}
