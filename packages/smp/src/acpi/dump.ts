import { SmpError } from "../errors.ts";
import { MAX_TABLE_BYTES } from "./root.ts";

/** `APIC @ 0x7FFE1A2B`, `RSD PTR @ 0x000F5A00`, `SSDT @ (nil)`. */
const HEADING = /^\s*(\S.{0,9}?) @ (?:0x([0-9a-f]{1,16})|\(nil\))\s*$/i;
/** `    0010: 58 50 43 20 …  XPC ….`: an offset and up to 16 bytes, each behind one blank; what follows is for people. */
const ROW = /^\s*([0-9a-f]{1,8}):((?: [0-9a-f]{2}){1,16})/i;

/**
 * A table as it stands in the text of a dump, unchecked.
 *
 * @public
 */
export interface AcpiDumpTable {
  /** The name in the heading: a signature, or `RSD PTR` for the root pointer. */
  readonly name: string;
  /** Physical address; 0 where the dump does not know it. */
  readonly address: bigint;
  readonly bytes: Uint8Array;
}

/** A table whose rows are being read. */
interface OpenTable {
  readonly name: string;
  readonly address: bigint;
  readonly rows: string[];
  length: number;
}

/**
 * The tables of a dump as `acpidump` writes it and `acpixtract` reads it: a heading, rows of up to 16 bytes in hexadecimal, a blank
 * line. Other lines outside a table are passed over (mails and logs around a dump).
 *
 * Throws `ACPI_NOT_FOUND` for text without a table, and `ACPI_MALFORMED`, with the number of the line, for a table without a row, a row
 * that does not follow on the one before, and a table over 16 MiB.
 *
 * @public
 */
export function parseAcpiDump(text: string, source = "dump"): AcpiDumpTable[] {
  const tables: AcpiDumpTable[] = [];
  let open: OpenTable | undefined;
  const close = (line: number): void => {
    if (open === undefined) return;
    if (open.rows.length === 0) throw malformed(source, line, `${open.name} has no bytes`);
    tables.push({ name: open.name, address: open.address, bytes: bytesOf(open) });
    open = undefined;
  };
  let line = 0;
  for (const content of text.split("\n")) {
    line++;
    const heading = HEADING.exec(content);
    if (heading !== null) {
      close(line);
      open = { name: heading[1], address: BigInt(`0x${heading[2] ?? "0"}`), rows: [], length: 0 };
    } else if (open !== undefined && !addRow(open, content, line, source)) close(line);
  }
  close(line);
  if (tables.length === 0) throw new SmpError("ACPI_NOT_FOUND", "holds no table of a dump", { file: source });
  return tables;
}

/**
 * Whether these bytes are the text of a dump rather than a table: text with a heading in its first 64 KiB.
 *
 * @public
 */
export function isAcpiDump(bytes: Uint8Array): boolean {
  const start = bytes.subarray(0, 65536);
  if (start.includes(0)) return false;
  return new TextDecoder("latin1")
    .decode(start)
    .split("\n")
    .some((line) => HEADING.test(line));
}

/** Whether the line was a row of the table. */
function addRow(table: OpenTable, content: string, line: number, source: string): boolean {
  const row = ROW.exec(content);
  if (row === null) return false;
  const offset = Number.parseInt(row[1], 16);
  if (offset !== table.length) {
    const message = `${table.name}: a row is at offset ${offset}, but ${table.length} bytes came before`;
    throw malformed(source, line, message);
  }
  table.rows.push(row[2]);
  table.length += row[2].length / 3;
  if (table.length > MAX_TABLE_BYTES) {
    throw malformed(source, line, `${table.name}: tables over ${MAX_TABLE_BYTES} bytes are not read`);
  }
  return true;
}

function bytesOf({ rows, length }: OpenTable): Uint8Array {
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const row of rows) {
    for (let i = 1; i < row.length; i += 3) bytes[at++] = Number.parseInt(row.slice(i, i + 2), 16);
  }
  return bytes;
}

function malformed(source: string, line: number, message: string): SmpError {
  return new SmpError("ACPI_MALFORMED", `line ${line}: ${message}`, { file: source });
}
