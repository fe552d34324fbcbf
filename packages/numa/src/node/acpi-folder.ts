import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { asciiAt, parseAcpiTable, SmpError, type AcpiTable } from "@x/smp/acpi";
import { NumaError } from "../errors.ts";
import { topologyFromTables } from "../topology/from-tables.ts";
import type { NumaTopology } from "../topology/numa-topology.ts";

const WANTED = ["APIC", "SRAT", "SLIT", "HMAT"];

/**
 * The topology of a machine whose tables are files of `folder`: every `*.dat` is one table, told by its signature, as
 * `acpixtract` writes them; where there is no such file, those named by their signature are taken, as in
 * /sys/firmware/acpi/tables. Other files are passed over.
 *
 * A SRAT, SLIT or HMAT that cannot be read is a warning. Throws `NUMA_SYSFS` for a folder that cannot be read, `NUMA_NO_MADT`, and
 * what `parseAcpiTable` and `parseMadt` throw for the MADT.
 *
 * @public
 */
export function readAcpiTopology(folder: string, options: { readonly bspApicId?: number } = {}): NumaTopology {
  const warnings: string[] = [];
  const tables = tableFiles(folder).flatMap((name) => readTable(join(folder, name), warnings) ?? []);
  return topologyFromTables(tables, { bspApicId: options.bspApicId, warnings });
}

function tableFiles(folder: string): string[] {
  let names: string[];
  try {
    names = readdirSync(folder).sort();
  } catch (cause) {
    throw new NumaError("NUMA_SYSFS", "the folder cannot be read", { file: folder }, { cause });
  }
  const dumped = names.filter((name) => name.endsWith(".dat"));
  return dumped.length > 0 ? dumped : names.filter((name) => WANTED.includes(name));
}

/** The table, if it is one of those wanted and can be used. */
function readTable(file: string, warnings: string[]): AcpiTable | undefined {
  let signature = "";
  try {
    const bytes = readFileSync(file);
    signature = asciiAt(bytes, 0, Math.min(4, bytes.length));
    return WANTED.includes(signature) ? parseAcpiTable(bytes, file) : undefined;
  } catch (error) {
    if (signature === "APIC") throw error;
    // Anything but a typed error or one of the file system is a bug, not bad input.
    if (!(error instanceof SmpError || (error instanceof Error && "syscall" in error))) throw error;
    warnings.push(`${signature === "" ? file : signature} is not used: ${error.message}`);
    return undefined;
  }
}
