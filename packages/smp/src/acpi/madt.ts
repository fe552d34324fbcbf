import { SmpError } from "../errors.ts";
import {
  MADT_ADDRESS_OFFSET,
  MADT_ENTRIES_OFFSET,
  MADT_FLAGS_OFFSET,
  MADT_LAYOUTS,
  type MadtField,
} from "./madt-layout.ts";
import { dataView, walkSubtables, type AcpiProblem, type AcpiTable } from "./table.ts";

/** Bits of the flags of a processor's structure (ACPI 6.5, table 5.23). */
const ENABLED = 1;
const ONLINE_CAPABLE = 2;
/** APIC ids that name no processor: the broadcast ids. */
const NO_APIC_ID = 0xff;
const NO_X2APIC_ID = 0xffffffff;

/**
 * What every structure of the MADT has.
 *
 * @public
 */
export interface MadtEntryHeader {
  /** Bytes of the structure as the table says them. */
  readonly length: number;
}

/**
 * Structure type 0: a processor and its local APIC. `flags`: bit 0 enabled, bit 1 online capable.
 *
 * @public
 */
export interface MadtLocalApic extends MadtEntryHeader {
  readonly type: 0;
  readonly kind: "local-apic";
  readonly acpiProcessorId: number;
  readonly apicId: number;
  readonly flags: number;
}

/**
 * Structure type 1: an I/O APIC. `gsiBase` is its first global system interrupt.
 *
 * @public
 */
export interface MadtIoApic extends MadtEntryHeader {
  readonly type: 1;
  readonly kind: "io-apic";
  readonly ioApicId: number;
  readonly address: number;
  readonly gsiBase: number;
}

/**
 * Structure type 2: an ISA interrupt `source` that arrives as global system interrupt `gsi`.
 *
 * @public
 */
export interface MadtInterruptOverride extends MadtEntryHeader {
  readonly type: 2;
  readonly kind: "interrupt-override";
  readonly bus: number;
  readonly source: number;
  readonly gsi: number;
  readonly intiFlags: number;
}

/**
 * Structure type 3: a global system interrupt that is non-maskable.
 *
 * @public
 */
export interface MadtNmiSource extends MadtEntryHeader {
  readonly type: 3;
  readonly kind: "nmi-source";
  readonly intiFlags: number;
  readonly gsi: number;
}

/**
 * Structure type 4: the local interrupt input (LINT 0 or 1) that NMI is wired to; processor 0xff means all.
 *
 * @public
 */
export interface MadtLocalApicNmi extends MadtEntryHeader {
  readonly type: 4;
  readonly kind: "local-apic-nmi";
  readonly acpiProcessorId: number;
  readonly intiFlags: number;
  readonly lint: number;
}

/**
 * Structure type 5: the 64-bit address that replaces the table's `localApicAddress`.
 *
 * @public
 */
export interface MadtLocalApicAddress extends MadtEntryHeader {
  readonly type: 5;
  readonly kind: "local-apic-address";
  readonly address: number;
}

/**
 * Structure type 9: a processor and its x2APIC. `flags` as in type 0.
 *
 * @public
 */
export interface MadtLocalX2Apic extends MadtEntryHeader {
  readonly type: 9;
  readonly kind: "local-x2apic";
  readonly x2apicId: number;
  readonly flags: number;
  readonly acpiProcessorUid: number;
}

/**
 * Structure type 10: as type 4, for x2APIC processors; uid 0xffffffff means all.
 *
 * @public
 */
export interface MadtLocalX2ApicNmi extends MadtEntryHeader {
  readonly type: 10;
  readonly kind: "local-x2apic-nmi";
  readonly intiFlags: number;
  readonly acpiProcessorUid: number;
  readonly lint: number;
}

/**
 * A structure of any other type, undecoded: `bytes` is all of it, type and length included.
 *
 * @public
 */
export interface MadtUnknown extends MadtEntryHeader {
  readonly type: number;
  readonly kind: "unknown";
  readonly bytes: Uint8Array;
}

/**
 * A structure of the MADT of a type that is decoded; `kind` tells which.
 *
 * @public
 */
export type MadtKnownEntry =
  | MadtLocalApic
  | MadtIoApic
  | MadtInterruptOverride
  | MadtNmiSource
  | MadtLocalApicNmi
  | MadtLocalApicAddress
  | MadtLocalX2Apic
  | MadtLocalX2ApicNmi;

/**
 * A structure of the MADT.
 *
 * @public
 */
export type MadtEntry = MadtKnownEntry | MadtUnknown;

/**
 * The multiple APIC description table (ACPI 6.5, section 5.2.12).
 *
 * @public
 */
export interface Madt {
  /** Address of the local APICs as in the header; {@link madtLocalApicAddress} minds an override. */
  readonly localApicAddress: number;
  /** Bit 0: the machine has a pair of 8259 controllers too. */
  readonly flags: number;
  /** In the order of the table. A structure too short for its type is left out and told in `problems`. */
  readonly entries: readonly MadtEntry[];
  readonly problems: readonly AcpiProblem[];
}

/**
 * A processor that the MADT describes.
 *
 * @public
 */
export interface MadtProcessor {
  readonly apicId: number;
  /** Names the processor in other tables and in the namespace. */
  readonly processorUid: number;
  /** Ready to use. */
  readonly enabled: boolean;
  /** Not enabled, but the system can enable it while it runs. */
  readonly onlineCapable: boolean;
}

/**
 * Decode a MADT. Throws `ACPI_BAD_SIGNATURE` for another table and `ACPI_MALFORMED` for one too short for its fixed part;
 * anything wrong further on is told in `problems` and what can be decoded is decoded.
 *
 * @public
 */
export function parseMadt(table: AcpiTable): Madt {
  const { bytes, header, source } = table;
  if (header.signature !== "APIC") {
    throw new SmpError("ACPI_BAD_SIGNATURE", `is a "${header.signature}", not a MADT ("APIC")`, {
      file: source,
      offset: 0,
    });
  }
  if (bytes.length < MADT_ENTRIES_OFFSET) {
    const message = `has ${bytes.length} bytes; the fixed part of a MADT has ${MADT_ENTRIES_OFFSET}`;
    throw new SmpError("ACPI_MALFORMED", message, { file: source, offset: bytes.length });
  }
  const view = dataView(bytes);
  const entries: MadtEntry[] = [];
  const problems = walkSubtables(table, MADT_ENTRIES_OFFSET, (type, length, offset) => {
    const entry = decodeEntry(view, bytes, type, length, offset);
    if (typeof entry === "string") return entry;
    entries.push(entry);
    return undefined;
  });
  return {
    localApicAddress: view.getUint32(MADT_ADDRESS_OFFSET, true),
    flags: view.getUint32(MADT_FLAGS_OFFSET, true),
    entries,
    problems,
  };
}

/**
 * The processors of a MADT in its order, one for each APIC id: broadcast ids are none, and among structures with equal
 * ids an enabled one counts, else the first (firmware fills unused slots with disabled copies).
 *
 * @public
 */
export function madtProcessors(madt: Madt): MadtProcessor[] {
  const byApicId = new Map<number, MadtProcessor>();
  for (const entry of madt.entries) {
    const processor = processorOf(entry);
    if (processor === undefined) continue;
    const known = byApicId.get(processor.apicId);
    if (known?.enabled || (known && !processor.enabled)) continue;
    // Deleted first so that the enabled structure's place in the table decides the order.
    byApicId.delete(processor.apicId);
    byApicId.set(processor.apicId, processor);
  }
  return [...byApicId.values()];
}

/**
 * Where the local APICs are: `localApicAddress`, unless a structure of type 5 overrides it.
 *
 * @public
 */
export function madtLocalApicAddress(madt: Madt): number {
  const override = madt.entries.find((entry) => entry.kind === "local-apic-address");
  return override?.address ?? madt.localApicAddress;
}

function processorOf(entry: MadtEntry): MadtProcessor | undefined {
  if (entry.kind === "local-apic" && entry.apicId !== NO_APIC_ID) {
    return { apicId: entry.apicId, processorUid: entry.acpiProcessorId, ...processorFlags(entry.flags) };
  }
  if (entry.kind === "local-x2apic" && entry.x2apicId !== NO_X2APIC_ID) {
    return { apicId: entry.x2apicId, processorUid: entry.acpiProcessorUid, ...processorFlags(entry.flags) };
  }
  return undefined;
}

function processorFlags(flags: number): { enabled: boolean; onlineCapable: boolean } {
  const enabled = (flags & ENABLED) !== 0;
  return { enabled, onlineCapable: !enabled && (flags & ONLINE_CAPABLE) !== 0 };
}

/** The entry, or what is wrong with it. */
function decodeEntry(
  view: DataView,
  bytes: Uint8Array,
  type: number,
  length: number,
  offset: number,
): MadtEntry | string {
  const layout = MADT_LAYOUTS[type];
  if (layout === undefined) return { type, length, kind: "unknown", bytes: bytes.subarray(offset, offset + length) };
  if (length < layout.length) return `structure of type ${type} has ${length} bytes; ${layout.length} are needed`;
  const entry: Record<string, number | string> = { type, length, kind: layout.kind };
  for (const field of layout.fields) {
    const value = readField(view, offset, field);
    if (value > Number.MAX_SAFE_INTEGER) return `${field[0]} is beyond any physical address`;
    entry[field[0]] = value;
  }
  return entry as unknown as MadtEntry;
}

function readField(view: DataView, start: number, [, offset, size]: MadtField): number {
  const at = start + offset;
  if (size === 1) return view.getUint8(at);
  if (size === 2) return view.getUint16(at, true);
  if (size === 4) return view.getUint32(at, true);
  return Number(view.getBigUint64(at, true));
}
