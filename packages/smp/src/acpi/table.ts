import { SmpError } from "../errors.ts";

/**
 * Bytes of the header every system description table starts with (ACPI 6.5, section 5.2.6).
 *
 * @public
 */
export const ACPI_HEADER_BYTES = 36;

/**
 * The header of a system description table (ACPI 6.5, table 5.4).
 *
 * @public
 */
export interface AcpiHeader {
  readonly signature: string;
  /** Bytes of the whole table, header included. */
  readonly length: number;
  readonly revision: number;
  /** Whether all bytes of the table sum to 0 modulo 256. */
  readonly checksumOk: boolean;
  readonly oemId: string;
  readonly oemTableId: string;
  readonly oemRevision: number;
  readonly creatorId: string;
  readonly creatorRevision: number;
}

/**
 * A table whose header has been checked against the bytes at hand.
 *
 * @public
 */
export interface AcpiTable {
  readonly header: AcpiHeader;
  /** Exactly `header.length` bytes. */
  readonly bytes: Uint8Array;
  /** Where the table came from, for messages. */
  readonly source: string;
}

/**
 * Something wrong inside a table that could be decoded all the same.
 *
 * @public
 */
export interface AcpiProblem {
  /** From the start of the table. */
  readonly offset: number;
  readonly message: string;
}

/**
 * Check and split off the header. Throws `ACPI_TRUNCATED` when the bytes end before the header does or before the
 * header's length; a wrong checksum is told, not thrown.
 *
 * @public
 */
export function parseAcpiTable(bytes: Uint8Array, source = "table"): AcpiTable {
  if (bytes.length < ACPI_HEADER_BYTES) {
    const message = `has ${bytes.length} bytes; a table header has ${ACPI_HEADER_BYTES}`;
    throw new SmpError("ACPI_TRUNCATED", message, { file: source, offset: bytes.length });
  }
  const view = dataView(bytes);
  const length = view.getUint32(4, true);
  if (length < ACPI_HEADER_BYTES) {
    const message = `the header's length is ${length}; at least ${ACPI_HEADER_BYTES} is possible`;
    throw new SmpError("ACPI_MALFORMED", message, { file: source, offset: 4 });
  }
  if (length > bytes.length) {
    const message = `has ${bytes.length} bytes; its header says ${length}`;
    throw new SmpError("ACPI_TRUNCATED", message, { file: source, offset: bytes.length });
  }
  const table = bytes.subarray(0, length);
  const header: AcpiHeader = {
    signature: asciiAt(bytes, 0, 4),
    length,
    revision: bytes[8],
    checksumOk: sumOf(table) === 0,
    oemId: asciiAt(bytes, 10, 6),
    oemTableId: asciiAt(bytes, 16, 8),
    oemRevision: view.getUint32(24, true),
    creatorId: asciiAt(bytes, 28, 4),
    creatorRevision: view.getUint32(32, true),
  };
  return { header, bytes: table, source };
}

/**
 * Visit the sub-tables of a table, each `type` byte, `length` byte, body. What `visit` finds wrong with one it returns as
 * a message, and the walk goes on behind it. A length under 2 or past the end stops the walk, because nothing after it
 * can be trusted.
 *
 * @returns all problems, in the order of the table.
 *
 * @public
 */
export function walkSubtables(
  table: AcpiTable,
  start: number,
  visit: (type: number, length: number, offset: number) => string | void,
): AcpiProblem[] {
  const { bytes } = table;
  const problems: AcpiProblem[] = [];
  let offset = start;
  while (offset < bytes.length) {
    const stop = lengthProblem(bytes, offset);
    if (stop !== undefined) return [...problems, { offset, message: stop }];
    const message = visit(bytes[offset], bytes[offset + 1], offset);
    if (message !== undefined) problems.push({ offset, message });
    offset += bytes[offset + 1];
  }
  return problems;
}

function lengthProblem(bytes: Uint8Array, offset: number): string | undefined {
  if (offset + 2 > bytes.length) return "sub-table header cut off by the end of the table";
  const length = bytes[offset + 1];
  if (length < 2) return `sub-table length ${length} is impossible`;
  const over = offset + length - bytes.length;
  return over > 0 ? `sub-table of ${length} bytes ends ${over} bytes past the table` : undefined;
}

/** Sum of all bytes modulo 256; 0 for a valid table. */
export function sumOf(bytes: Uint8Array): number {
  let sum = 0;
  for (const byte of bytes) sum = (sum + byte) & 0xff;
  return sum;
}

/**
 * Text without trailing blanks and NULs; bytes outside printable ASCII become `?`.
 *
 * @public
 */
export function asciiAt(bytes: Uint8Array, offset: number, length: number): string {
  let text = "";
  for (const byte of bytes.subarray(offset, offset + length)) {
    text += byte === 0 ? "\0" : byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : "?";
  }
  return text.replace(/[\0 ]+$/, "").replaceAll("\0", "?");
}

/**
 * A view of exactly these bytes.
 *
 * @public
 */
export function dataView(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
