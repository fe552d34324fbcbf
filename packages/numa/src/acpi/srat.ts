import { dataView, walkSubtables, type AcpiProblem, type AcpiTable } from "@x/smp/acpi";
import { hex, requireSignature } from "./table-kind.ts";

/** Header of 36 bytes, a reserved word, a reserved quad word (ACPI 6.5, table 5.66). */
const ENTRIES_OFFSET = 48;

/**
 * A processor named by its local APIC id (ACPI 6.5, section 5.2.16.1).
 *
 * @public
 */
export interface SratProcessor {
  readonly type: 0;
  readonly length: number;
  readonly kind: "processor";
  /** Bits 0 to 7 of the proximity domain alone. */
  readonly proximityDomainLow: number;
  /** All 32 bits in table revision 2 and later, else the low 8. */
  readonly proximityDomain: number;
  readonly apicId: number;
  /** Bit 0: enabled. */
  readonly flags: number;
  readonly localSapicEid: number;
  readonly clockDomain: number;
}

/**
 * A range of memory (ACPI 6.5, section 5.2.16.2).
 *
 * @public
 */
export interface SratMemory {
  readonly type: 1;
  readonly length: number;
  readonly kind: "memory";
  /** As the table has it; tables of revision 1 define 8 bits of it. */
  readonly proximityDomain: number;
  /** First byte, `0x…`. */
  readonly base: string;
  /** Bytes, `0x…`. */
  readonly size: string;
  /** Bit 0: enabled, bit 1: hot-pluggable, bit 2: non-volatile. */
  readonly flags: number;
}

/**
 * A processor named by its x2APIC id (ACPI 6.5, section 5.2.16.3).
 *
 * @public
 */
export interface SratX2apic {
  readonly type: 2;
  readonly length: number;
  readonly kind: "x2apic";
  readonly proximityDomain: number;
  readonly x2apicId: number;
  /** Bit 0: enabled. */
  readonly flags: number;
  readonly clockDomain: number;
}

/**
 * A processor of an Arm machine, named by its ACPI processor UID (ACPI 6.5, section 5.2.16.4).
 *
 * @public
 */
export interface SratGicc {
  readonly type: 3;
  readonly length: number;
  readonly kind: "gicc";
  readonly proximityDomain: number;
  readonly acpiProcessorUid: number;
  /** Bit 0: enabled. */
  readonly flags: number;
  readonly clockDomain: number;
}

/**
 * An interrupt translation service of an Arm machine, named by its id in the MADT (ACPI 6.5, section 5.2.16.5).
 *
 * @public
 */
export interface SratGicIts {
  readonly type: 4;
  readonly length: number;
  readonly kind: "gic-its";
  readonly proximityDomain: number;
  readonly itsId: number;
}

/**
 * A device that reads memory by itself, such as an accelerator (ACPI 6.5, section 5.2.16.6).
 *
 * @public
 */
export interface SratGenericInitiator {
  readonly type: 5;
  readonly length: number;
  readonly kind: "generic-initiator";
  readonly deviceHandleType: number;
  readonly proximityDomain: number;
  /** Bit 0: enabled. */
  readonly flags: number;
}

/**
 * An entry of a type this decoder does not know, or one too short for its type (which is told as a problem).
 *
 * @public
 */
export interface SratOther {
  readonly type: number;
  readonly length: number;
  readonly kind: "other";
  /** The whole sub-table. */
  readonly bytes: readonly number[];
}

/**
 * One sub-table of the SRAT, told apart by `kind`.
 *
 * @public
 */
export type SratEntry =
  SratProcessor | SratMemory | SratX2apic | SratGicc | SratGicIts | SratGenericInitiator | SratOther;

/**
 * The System Resource Affinity Table: which processors and which memory belong together.
 *
 * @public
 */
export interface Srat {
  readonly revision: number;
  /** Bytes of the whole table. */
  readonly length: number;
  readonly entries: readonly SratEntry[];
  /** What is wrong with the table; Linux does not use a table that has any. */
  readonly problems: readonly AcpiProblem[];
}

type Decode = (view: DataView, at: number, length: number, revision: number) => SratEntry;

/** Bytes a sub-table of a known type must have, and how to read it. */
const KNOWN: Record<number, { readonly bytes: number; readonly decode: Decode }> = {
  0: { bytes: 16, decode: decodeProcessor },
  1: { bytes: 40, decode: decodeMemory },
  2: { bytes: 24, decode: decodeX2apic },
  3: { bytes: 18, decode: decodeGicc },
  4: { bytes: 12, decode: decodeGicIts },
  5: { bytes: 32, decode: decodeGenericInitiator },
};

/**
 * Decode a SRAT as far as it can be decoded; what is wrong is listed in `problems`. Throws `NUMA_BAD_TABLE` for a table of
 * another signature. A wrong checksum is the header's matter.
 *
 * @public
 */
export function parseSrat(table: AcpiTable): Srat {
  requireSignature(table, "SRAT");
  const { revision } = table.header;
  const { length } = table.bytes;
  if (length < ENTRIES_OFFSET) {
    const message = `a SRAT has at least ${ENTRIES_OFFSET} bytes; this one has ${length}`;
    return { revision, length, entries: [], problems: [{ offset: length, message }] };
  }
  const view = dataView(table.bytes);
  const entries: SratEntry[] = [];
  const problems: AcpiProblem[] = [];
  const cutOff = walkSubtables(table, ENTRIES_OFFSET, (type, bytes, offset) => {
    const known = KNOWN[type];
    if (known !== undefined && bytes >= known.bytes) {
      entries.push(known.decode(view, offset, bytes, revision));
      return;
    }
    if (known !== undefined) {
      problems.push({ offset, message: `sub-table of type ${type} has ${bytes} bytes; it needs ${known.bytes}` });
    }
    entries.push({ type, length: bytes, kind: "other", bytes: [...table.bytes.subarray(offset, offset + bytes)] });
  });
  return { revision, length, entries, problems: [...problems, ...cutOff] };
}

function decodeProcessor(view: DataView, at: number, length: number, revision: number): SratProcessor {
  const proximityDomainLow = view.getUint8(at + 2);
  const high = view.getUint8(at + 9) + view.getUint8(at + 10) * 0x100 + view.getUint8(at + 11) * 0x10000;
  return {
    type: 0,
    length,
    kind: "processor",
    proximityDomainLow,
    proximityDomain: revision >= 2 ? high * 0x100 + proximityDomainLow : proximityDomainLow,
    apicId: view.getUint8(at + 3),
    flags: view.getUint32(at + 4, true),
    localSapicEid: view.getUint8(at + 8),
    clockDomain: view.getUint32(at + 12, true),
  };
}

function decodeMemory(view: DataView, at: number, length: number): SratMemory {
  return {
    type: 1,
    length,
    kind: "memory",
    proximityDomain: view.getUint32(at + 2, true),
    base: hex(view.getBigUint64(at + 8, true)),
    size: hex(view.getBigUint64(at + 16, true)),
    flags: view.getUint32(at + 28, true),
  };
}

function decodeX2apic(view: DataView, at: number, length: number): SratX2apic {
  return {
    type: 2,
    length,
    kind: "x2apic",
    proximityDomain: view.getUint32(at + 4, true),
    x2apicId: view.getUint32(at + 8, true),
    flags: view.getUint32(at + 12, true),
    clockDomain: view.getUint32(at + 16, true),
  };
}

function decodeGicc(view: DataView, at: number, length: number): SratGicc {
  return {
    type: 3,
    length,
    kind: "gicc",
    proximityDomain: view.getUint32(at + 2, true),
    acpiProcessorUid: view.getUint32(at + 6, true),
    flags: view.getUint32(at + 10, true),
    clockDomain: view.getUint32(at + 14, true),
  };
}

function decodeGicIts(view: DataView, at: number, length: number): SratGicIts {
  return {
    type: 4,
    length,
    kind: "gic-its",
    proximityDomain: view.getUint32(at + 2, true),
    itsId: view.getUint32(at + 8, true),
  };
}

function decodeGenericInitiator(view: DataView, at: number, length: number): SratGenericInitiator {
  return {
    type: 5,
    length,
    kind: "generic-initiator",
    deviceHandleType: view.getUint8(at + 3),
    proximityDomain: view.getUint32(at + 4, true),
    flags: view.getUint32(at + 24, true),
  };
}
