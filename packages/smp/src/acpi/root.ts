import { SmpError } from "../errors.ts";
import { ACPI_HEADER_BYTES, asciiAt, dataView, parseAcpiTable, sumOf, type AcpiTable } from "./table.ts";

/** Bytes of the root pointer of ACPI 1.0, and of the one since ACPI 2.0 (ACPI 6.5, section 5.2.5.3). */
const RSDP_BYTES = 20;
const RSDP_EXTENDED_BYTES = 36;
const RSDP_SIGNATURE = "RSD PTR ";
/** The root pointer lies on a 16-byte boundary (ACPI 6.5, section 5.2.5.1). */
const RSDP_ALIGNMENT = 16;
/** Largest table the loader reads: well above the largest seen in firmware (a DSDT of about 1 MB). */
export const MAX_TABLE_BYTES: number = 16 * 1024 * 1024;

/**
 * The root system description pointer (ACPI 6.5, table 5.3).
 *
 * @public
 */
export interface Rsdp {
  /** 0 for ACPI 1.0, 2 since ACPI 2.0. */
  readonly revision: number;
  readonly oemId: string;
  /** Physical address of the RSDT; 0: none. */
  readonly rsdtAddress: number;
  /** Physical address of the XSDT; 0: none, as always in revision 0. */
  readonly xsdtAddress: bigint;
  /** Bytes of the structure: 20 in revision 0. */
  readonly length: number;
  /** Whether the first 20 bytes sum to 0 modulo 256. */
  readonly checksumOk: boolean;
  /** Whether all bytes do; the same as `checksumOk` in revision 0. */
  readonly extendedChecksumOk: boolean;
}

/**
 * Decode the root pointer, either revision. Throws `ACPI_TRUNCATED`, `ACPI_BAD_SIGNATURE` or, for a length that cannot
 * be, `ACPI_MALFORMED`; wrong checksums are told, not thrown.
 *
 * @public
 */
export function parseRsdp(bytes: Uint8Array, source = "RSDP"): Rsdp {
  requireBytes(bytes, RSDP_BYTES, source);
  if (!hasRsdpSignature(bytes, 0)) {
    throw new SmpError("ACPI_BAD_SIGNATURE", `does not begin with "${RSDP_SIGNATURE}"`, { file: source, offset: 0 });
  }
  const view = dataView(bytes);
  const revision = bytes[15];
  const checksumOk = sumOf(bytes.subarray(0, RSDP_BYTES)) === 0;
  const common = { revision, oemId: asciiAt(bytes, 9, 6), rsdtAddress: view.getUint32(16, true), checksumOk };
  if (revision < 2) return { ...common, xsdtAddress: 0n, length: RSDP_BYTES, extendedChecksumOk: checksumOk };
  requireBytes(bytes, RSDP_EXTENDED_BYTES, source);
  const length = view.getUint32(20, true);
  if (length < RSDP_EXTENDED_BYTES) {
    const message = `the length is ${length}; at least ${RSDP_EXTENDED_BYTES} is possible in revision ${revision}`;
    throw new SmpError("ACPI_MALFORMED", message, { file: source, offset: 20 });
  }
  requireBytes(bytes, length, source);
  const extendedChecksumOk = sumOf(bytes.subarray(0, length)) === 0;
  return { ...common, xsdtAddress: view.getBigUint64(24, true), length, extendedChecksumOk };
}

/**
 * Search an area of memory for the root pointer: the signature on a 16-byte boundary with a right checksum
 * (ACPI 6.5, section 5.2.5.1; on a PC, the area from 0xE0000 to 0xFFFFF).
 *
 * @returns the offset in `area`, or -1.
 *
 * @public
 */
export function findRsdp(area: Uint8Array): number {
  for (let at = 0; at + RSDP_BYTES <= area.length; at += RSDP_ALIGNMENT) {
    if (hasRsdpSignature(area, at) && sumOf(area.subarray(at, at + RSDP_BYTES)) === 0) return at;
  }
  return -1;
}

/**
 * The physical addresses that an RSDT or XSDT lists, without null pointers; a last pointer that the table's end cuts off
 * is none. Throws `ACPI_BAD_SIGNATURE` for another table.
 *
 * @public
 */
export function parseRootTable(table: AcpiTable): bigint[] {
  const { signature } = table.header;
  if (signature !== "XSDT" && signature !== "RSDT") {
    throw new SmpError("ACPI_BAD_SIGNATURE", `is a "${signature}", not an RSDT or XSDT`, {
      file: table.source,
      offset: 0,
    });
  }
  const size = signature === "XSDT" ? 8 : 4;
  const view = dataView(table.bytes);
  const addresses: bigint[] = [];
  for (let at = ACPI_HEADER_BYTES; at + size <= table.bytes.length; at += size) {
    const address = size === 8 ? view.getBigUint64(at, true) : BigInt(view.getUint32(at, true));
    if (address !== 0n) addresses.push(address);
  }
  return addresses;
}

/**
 * What {@link loadAcpiTables} needs of the machine.
 *
 * @public
 */
export interface AcpiMemory {
  /** Physical address of the root pointer. */
  readonly rsdpAddress: bigint;
  /** `length` bytes of physical memory; fewer where memory ends. */
  read(address: bigint, length: number): Uint8Array;
  /** Told of each table that cannot be used, which is then left out. Without it such a table is thrown. */
  onProblem?(problem: SmpError): void;
}

/**
 * Follow the root pointer to the XSDT, or the RSDT where there is none, and read every table listed there, each by the
 * length in its own header. Tables that other tables name (DSDT, FACS) are not followed.
 *
 * Throws an `SmpError` where the root pointer or root table cannot be used: `ACPI_BAD_SIGNATURE`, `ACPI_TRUNCATED`,
 * `ACPI_MALFORMED` (also for a wrong checksum of the root pointer), `ACPI_NOT_FOUND` (it names no root table).
 *
 * @public
 */
export function loadAcpiTables(memory: AcpiMemory): AcpiTable[] {
  const tables: AcpiTable[] = [];
  for (const address of parseRootTable(readTable(memory, rootTableAddress(memory)))) {
    try {
      tables.push(readTable(memory, address));
    } catch (problem) {
      if (!(problem instanceof SmpError) || memory.onProblem === undefined) throw problem;
      memory.onProblem(problem);
    }
  }
  return tables;
}

function rootTableAddress(memory: AcpiMemory): bigint {
  const source = `RSDP at ${hex(memory.rsdpAddress)}`;
  const rsdp = parseRsdp(memory.read(memory.rsdpAddress, RSDP_EXTENDED_BYTES), source);
  if (!rsdp.checksumOk || !rsdp.extendedChecksumOk) {
    throw new SmpError("ACPI_MALFORMED", "has a wrong checksum", { file: source, offset: 8 });
  }
  if (rsdp.xsdtAddress === 0n && rsdp.rsdtAddress === 0) {
    throw new SmpError("ACPI_NOT_FOUND", "names neither an XSDT nor an RSDT", { file: source, offset: 16 });
  }
  return rsdp.xsdtAddress === 0n ? BigInt(rsdp.rsdtAddress) : rsdp.xsdtAddress;
}

function readTable(memory: AcpiMemory, address: bigint): AcpiTable {
  const source = `table at ${hex(address)}`;
  const header = memory.read(address, ACPI_HEADER_BYTES);
  requireBytes(header, ACPI_HEADER_BYTES, source);
  const length = dataView(header).getUint32(4, true);
  if (length > MAX_TABLE_BYTES) {
    const message = `the header's length is ${length}; tables over ${MAX_TABLE_BYTES} bytes are not read`;
    throw new SmpError("ACPI_MALFORMED", message, { file: source, offset: 4 });
  }
  return parseAcpiTable(memory.read(address, Math.max(length, ACPI_HEADER_BYTES)), source);
}

function requireBytes(bytes: Uint8Array, needed: number, source: string): void {
  if (bytes.length >= needed) return;
  const message = `has ${bytes.length} bytes; ${needed} are needed`;
  throw new SmpError("ACPI_TRUNCATED", message, { file: source, offset: bytes.length });
}

function hasRsdpSignature(bytes: Uint8Array, at: number): boolean {
  for (let i = 0; i < RSDP_SIGNATURE.length; i++) {
    if (bytes[at + i] !== RSDP_SIGNATURE.charCodeAt(i)) return false;
  }
  return true;
}

function hex(address: bigint): string {
  return `0x${address.toString(16)}`;
}
