import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { isAcpiDump, parseAcpiDump } from "../acpi/dump.ts";
import { SmpError } from "../errors.ts";

/**
 * Where Linux shows the tables of the machine it runs on; only root can read them.
 *
 * @public
 */
export const ACPI_TABLES_FOLDER = "/sys/firmware/acpi/tables";

/** `APIC`, `SSDT12`: what Linux calls a table's file. */
const TABLE_NAME = /^[A-Z0-9!_]{4}\d{0,3}$/;

/**
 * The bytes of one table, unchecked.
 *
 * @public
 */
export interface AcpiFile {
  /** The file, and in a dump the table's heading: for messages. */
  readonly source: string;
  readonly bytes: Uint8Array;
}

/**
 * The tables at `path`, whatever form they have there: one raw table in a file; the text of `acpidump` in a file; a folder of
 * files. Of a folder every `*.dat` is read, as `acpixtract` writes them; where there is none, the files named by a signature, as in
 * {@link ACPI_TABLES_FOLDER}. Nothing is decoded: a root pointer or a table of any kind is given as it is.
 *
 * Throws `ACPI_UNREADABLE` where a file or the folder cannot be read, and what `parseAcpiDump` of `@x/smp/acpi` throws.
 *
 * @public
 */
export function readAcpiFiles(path: string = ACPI_TABLES_FOLDER): AcpiFile[] {
  if (!reading(path, () => statSync(path).isDirectory())) return readFile(path);
  const names = reading(path, () => readdirSync(path, { withFileTypes: true }))
    .filter((entry) => !entry.isDirectory())
    .map((entry) => entry.name)
    .sort();
  const dumped = names.filter((name) => name.endsWith(".dat"));
  const chosen = dumped.length > 0 ? dumped : names.filter((name) => TABLE_NAME.test(name));
  return chosen.flatMap((name) => readFile(join(path, name)));
}

function readFile(file: string): AcpiFile[] {
  const bytes = new Uint8Array(reading(file, () => readFileSync(file)));
  if (!isAcpiDump(bytes)) return [{ source: file, bytes }];
  return parseAcpiDump(new TextDecoder("latin1").decode(bytes), file).map((table) => ({
    source: `${file} (${table.name} @ 0x${table.address.toString(16)})`,
    bytes: table.bytes,
  }));
}

function reading<T>(file: string, read: () => T): T {
  try {
    return read();
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    throw new SmpError("ACPI_UNREADABLE", `cannot be read (${code ?? "error"})`, { file }, { cause });
  }
}
