import { SmpError } from "../errors.ts";
import {
  MADT_ADDRESS_OFFSET,
  MADT_ENTRIES_OFFSET,
  MADT_FLAGS_OFFSET,
  MADT_LAYOUTS,
  type MadtField,
} from "./madt-layout.ts";
import type { MadtEntry, MadtKnownEntry, MadtUnknown, MadtValue } from "./madt.ts";
import { ACPI_HEADER_BYTES, dataView, sumOf } from "./table.ts";

/** A structure's length is one byte. */
const MADT_ENTRY_BYTES_MAX = 255;

/**
 * Who made a table; texts are cut to the field's bytes and filled up with NULs.
 *
 * @public
 */
export interface AcpiIds {
  /** 6 characters. Default `XKRNEL`. */
  readonly oemId?: string;
  /** 8 characters. Default `XKERNEL`. */
  readonly oemTableId?: string;
  readonly oemRevision?: number;
  /** 4 characters. Default `XKRN`. */
  readonly creatorId?: string;
  readonly creatorRevision?: number;
}

/**
 * A table to be built: header fields and everything behind the header.
 *
 * @public
 */
export interface AcpiTableSpec extends AcpiIds {
  /** 4 characters. */
  readonly signature: string;
  readonly revision: number;
  readonly body: Uint8Array;
}

/**
 * A structure for {@link buildMadt}: a decoded one without `length` and `kind`, or an unknown one by its bytes. What members are left out
 * decides of which revision of the specification the structure is.
 *
 * @public
 */
export type MadtEntrySpec = SpecOf<MadtKnownEntry> | Pick<MadtUnknown, "kind" | "bytes">;

/**
 * `Entry` without what follows from its type.
 *
 * @public
 */
export type SpecOf<Entry> = Entry extends MadtEntry ? Omit<Entry, "length" | "kind"> : never;

/**
 * A system description table with its length and checksum filled in, as firmware would put it into memory.
 *
 * @public
 */
export function buildAcpiTable(spec: AcpiTableSpec): Uint8Array {
  if (spec.signature.length !== 4) {
    throw new SmpError("SMP_INVALID_ARGUMENT", `"${spec.signature}" is no table signature: 4 characters are needed`);
  }
  const bytes = new Uint8Array(ACPI_HEADER_BYTES + spec.body.length);
  const view = dataView(bytes);
  writeAscii(bytes, 0, 4, spec.signature);
  view.setUint32(4, bytes.length, true);
  bytes[8] = spec.revision;
  writeAscii(bytes, 10, 6, spec.oemId ?? "XKRNEL");
  writeAscii(bytes, 16, 8, spec.oemTableId ?? "XKERNEL");
  view.setUint32(24, spec.oemRevision ?? 1, true);
  writeAscii(bytes, 28, 4, spec.creatorId ?? "XKRN");
  view.setUint32(32, spec.creatorRevision ?? 1, true);
  bytes.set(spec.body, ACPI_HEADER_BYTES);
  bytes[9] = -sumOf(bytes);
  return bytes;
}

/**
 * A root pointer: revision 2 where an XSDT is given, else revision 0.
 *
 * @public
 */
export function buildRsdp(root: {
  readonly xsdtAddress?: bigint;
  readonly rsdtAddress?: number;
  readonly oemId?: string;
}): Uint8Array {
  const { xsdtAddress, rsdtAddress = 0, oemId = "XKRNEL" } = root;
  const bytes = new Uint8Array(xsdtAddress === undefined ? 20 : 36);
  const view = dataView(bytes);
  writeAscii(bytes, 0, 8, "RSD PTR ");
  writeAscii(bytes, 9, 6, oemId);
  view.setUint32(16, rsdtAddress, true);
  if (xsdtAddress !== undefined) {
    bytes[15] = 2;
    view.setUint32(20, bytes.length, true);
    view.setBigUint64(24, xsdtAddress, true);
  }
  bytes[8] = -sumOf(bytes.subarray(0, 20));
  if (xsdtAddress !== undefined) bytes[32] = -sumOf(bytes);
  return bytes;
}

/**
 * A root table of 64-bit addresses.
 *
 * @public
 */
export function buildXsdt(addresses: readonly bigint[], ids: AcpiIds = {}): Uint8Array {
  const body = new Uint8Array(addresses.length * 8);
  const view = dataView(body);
  addresses.forEach((address, index) => view.setBigUint64(index * 8, address, true));
  return buildAcpiTable({ ...ids, signature: "XSDT", revision: 1, body });
}

/**
 * A root table of 32-bit addresses.
 *
 * @public
 */
export function buildRsdt(addresses: readonly number[], ids: AcpiIds = {}): Uint8Array {
  const body = new Uint8Array(addresses.length * 4);
  const view = dataView(body);
  addresses.forEach((address, index) => view.setUint32(index * 4, address, true));
  return buildAcpiTable({ ...ids, signature: "RSDT", revision: 1, body });
}

/**
 * A MADT of these structures. `parseMadt` of it gives them back.
 *
 * @param spec - `localApicAddress` defaults to 0xFEE00000, `flags` to 1 (8259 present), `revision` to 5 (ACPI 6.5).
 *
 * @public
 */
export function buildMadt(
  spec: AcpiIds & {
    readonly entries: readonly MadtEntrySpec[];
    readonly localApicAddress?: number;
    readonly flags?: number;
    readonly revision?: number;
  },
): Uint8Array {
  const { entries, localApicAddress = 0xfee00000, flags = 1, revision = 5, ...ids } = spec;
  const encoded = entries.map(encodeEntry);
  const fixedBytes = MADT_ENTRIES_OFFSET - ACPI_HEADER_BYTES;
  const body = new Uint8Array(encoded.reduce((sum, entry) => sum + entry.length, fixedBytes));
  const view = dataView(body);
  view.setUint32(MADT_ADDRESS_OFFSET - ACPI_HEADER_BYTES, localApicAddress, true);
  view.setUint32(MADT_FLAGS_OFFSET - ACPI_HEADER_BYTES, flags, true);
  let at = fixedBytes;
  for (const entry of encoded) {
    body.set(entry, at);
    at += entry.length;
  }
  return buildAcpiTable({ ...ids, signature: "APIC", revision, body });
}

function encodeEntry(entry: MadtEntrySpec): Uint8Array {
  if ("bytes" in entry) return entry.bytes;
  const values = entry as unknown as Readonly<Record<string, MadtValue | undefined>>;
  const { lengths, fields } = MADT_LAYOUTS[entry.type];
  const given = fields.filter(([name]) => values[name] !== undefined);
  const ends = given.map(([name, offset, size, form]) => offset + sizeOf(values[name], size, form));
  const needed = Math.max(...ends);
  const length = lengths.find((bytes) => bytes >= needed) ?? needed;
  if (length > MADT_ENTRY_BYTES_MAX) {
    const message = `a structure of ${length} bytes is not possible; ${MADT_ENTRY_BYTES_MAX} are the most`;
    throw new SmpError("SMP_INVALID_ARGUMENT", message);
  }
  const bytes = new Uint8Array(length);
  const view = dataView(bytes);
  bytes[0] = entry.type;
  bytes[1] = length;
  for (const field of given) writeField(view, bytes, field, values[field[0]] as MadtValue);
  return bytes;
}

function sizeOf(value: MadtValue | undefined, size: number, form: MadtField[3]): number {
  if (form === "rest") return (value as string).length + 1;
  return typeof form === "number" ? size * form : size;
}

function writeField(view: DataView, bytes: Uint8Array, field: MadtField, value: MadtValue): void {
  const [, offset, size, form] = field;
  if (typeof value === "string") writeAscii(bytes, offset, form === "text" ? size : value.length, value);
  else if (typeof value === "bigint") view.setBigUint64(offset, value, true);
  else if (typeof value === "number") writeNumber(view, offset, size, value);
  else value.forEach((each, index) => writeNumber(view, offset + index * size, size, each));
}

function writeNumber(view: DataView, at: number, size: number, value: number): void {
  if (size === 1) view.setUint8(at, value);
  else if (size === 2) view.setUint16(at, value, true);
  else view.setUint32(at, value, true);
}

function writeAscii(bytes: Uint8Array, offset: number, length: number, text: string): void {
  for (let i = 0; i < Math.min(length, text.length); i++) bytes[offset + i] = text.charCodeAt(i);
}
