import { asciiAt, parseAcpiTable, SmpError, type AcpiTable } from "@x/smp/acpi";
import { readAcpiFiles, type AcpiFile } from "@x/smp/node";
import { NumaError } from "../errors.ts";
import { topologyFromTables } from "../topology/from-tables.ts";
import type { NumaTopology } from "../topology/numa-topology.ts";

const WANTED = ["APIC", "SRAT", "SLIT", "HMAT"];

/**
 * The topology of a machine whose tables are at `path`: a folder of files, or the text of `acpidump` (`readAcpiFiles` of
 * `@x/smp/node`). Tables are told by their signatures; others are passed over.
 *
 * A SRAT, SLIT or HMAT that cannot be used is a warning. Throws `NUMA_SYSFS` for what cannot be read, `NUMA_NO_MADT`, and what
 * `parseAcpiDump`, `parseAcpiTable` and `parseMadt` throw for the dump and the MADT.
 *
 * @public
 */
export function readAcpiTopology(path: string, options: { readonly bspApicId?: number } = {}): NumaTopology {
  const warnings: string[] = [];
  const tables = filesAt(path).flatMap((file) => checkedTable(file, warnings) ?? []);
  return topologyFromTables(tables, { bspApicId: options.bspApicId, warnings });
}

function filesAt(path: string): AcpiFile[] {
  try {
    return readAcpiFiles(path);
  } catch (cause) {
    if (!(cause instanceof SmpError) || cause.code !== "ACPI_UNREADABLE") throw cause;
    throw new NumaError("NUMA_SYSFS", cause.message, cause.location, { cause });
  }
}

/** The table, if it is one of those wanted and can be used. */
function checkedTable({ source, bytes }: AcpiFile, warnings: string[]): AcpiTable | undefined {
  const signature = asciiAt(bytes, 0, Math.min(4, bytes.length));
  if (!WANTED.includes(signature)) return undefined;
  try {
    return parseAcpiTable(bytes, source);
  } catch (error) {
    // Anything but a typed error is a bug, not bad input.
    if (signature === "APIC" || !(error instanceof SmpError)) throw error;
    warnings.push(`${signature} is not used: ${error.message}`);
    return undefined;
  }
}
