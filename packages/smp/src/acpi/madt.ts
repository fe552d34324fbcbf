import { SmpError } from "../errors.ts";
import {
  MADT_ADDRESS_OFFSET,
  MADT_ENTRIES_OFFSET,
  MADT_FLAGS_OFFSET,
  MADT_LAYOUTS,
  type MadtField,
} from "./madt-layout.ts";
import { asciiAt, dataView, walkSubtables, type AcpiProblem, type AcpiTable } from "./table.ts";
import type { MadtGicc, MadtGicd, MadtGicIts, MadtGicMsiFrame, MadtGicr } from "./madt-arm.ts";
import type { MadtIoSapic, MadtLocalSapic, MadtPlatformInterruptSource } from "./madt-itanium.ts";
import type {
  MadtBioPic,
  MadtCorePic,
  MadtEioPic,
  MadtHtPic,
  MadtLioPic,
  MadtLpcPic,
  MadtMsiPic,
} from "./madt-loongarch.ts";
import type { MadtAplic, MadtImsic, MadtPlic, MadtRintc } from "./madt-riscv.ts";
import type {
  MadtEntryHeader,
  MadtInterruptOverride,
  MadtIoApic,
  MadtLocalApic,
  MadtLocalApicAddress,
  MadtLocalApicNmi,
  MadtLocalX2Apic,
  MadtLocalX2ApicNmi,
  MadtMultiprocessorWakeup,
  MadtNmiSource,
} from "./madt-x86.ts";

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
  | MadtIoSapic
  | MadtLocalSapic
  | MadtPlatformInterruptSource
  | MadtLocalX2Apic
  | MadtLocalX2ApicNmi
  | MadtGicc
  | MadtGicd
  | MadtGicMsiFrame
  | MadtGicr
  | MadtGicIts
  | MadtMultiprocessorWakeup
  | MadtCorePic
  | MadtLioPic
  | MadtHtPic
  | MadtEioPic
  | MadtMsiPic
  | MadtBioPic
  | MadtLpcPic
  | MadtRintc
  | MadtImsic
  | MadtAplic
  | MadtPlic;

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
 * Where the local APICs are: `localApicAddress`, unless a structure of type 5 overrides it.
 *
 * @public
 */
export function madtLocalApicAddress(madt: Madt): bigint {
  const override = madt.entries.find((entry) => entry.kind === "local-apic-address");
  return override?.address ?? BigInt(madt.localApicAddress);
}

/** The entry, or what is wrong with it. */
function decodeEntry(
  view: DataView,
  bytes: Uint8Array,
  type: number,
  length: number,
  offset: number,
): MadtEntry | string {
  if (type >= MADT_LAYOUTS.length) {
    return { type, length, kind: "unknown", bytes: bytes.subarray(offset, offset + length) };
  }
  const { kind, lengths, fields } = MADT_LAYOUTS[type];
  if (length < lengths[0]) return `structure of type ${type} has ${length} bytes; ${lengths[0]} are needed`;
  const entry: Record<string, MadtValue> = { type, length, kind };
  for (const field of fields) {
    const [name, at, size] = field;
    if (at + size <= length) entry[name] = readField(view, bytes, offset, length, field);
  }
  return entry as unknown as MadtEntry;
}

/** What a member of a structure can be. */
export type MadtValue = number | bigint | string | readonly number[];

function readField(view: DataView, bytes: Uint8Array, start: number, length: number, field: MadtField): MadtValue {
  const [, offset, size, form] = field;
  const at = start + offset;
  if (form === "rest") return terminatedText(bytes.subarray(at, start + length));
  if (form === "text") return asciiAt(bytes, at, size);
  if (size === 8) return view.getBigUint64(at, true);
  if (form === undefined) return readNumber(view, at, size);
  return Array.from({ length: form }, (_, index) => readNumber(view, at + index * size, size));
}

function terminatedText(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return asciiAt(bytes, 0, end === -1 ? bytes.length : end);
}

function readNumber(view: DataView, at: number, size: 1 | 2 | 4): number {
  if (size === 1) return view.getUint8(at);
  return size === 2 ? view.getUint16(at, true) : view.getUint32(at, true);
}
