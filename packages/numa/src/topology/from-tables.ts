import { parseMadt, type AcpiTable } from "@x/smp/acpi";
import { parseHmat } from "../acpi/hmat.ts";
import { parseSlit } from "../acpi/slit.ts";
import { parseSrat } from "../acpi/srat.ts";
import { NumaError } from "../errors.ts";
import { topologyFromAcpi } from "./from-acpi.ts";
import type { NumaTopology } from "./numa-topology.ts";

/**
 * {@link topologyFromAcpi} of a machine's tables, found by their signatures: APIC, SRAT, SLIT, HMAT. Of several with one
 * signature the first counts. A wrong checksum is a warning, as in ACPICA. Throws `NUMA_NO_MADT` where there is no APIC table,
 * and what `parseMadt` throws.
 *
 * @public
 */
export function topologyFromTables(
  tables: readonly AcpiTable[],
  options: { readonly bspApicId?: number | undefined; readonly warnings?: readonly string[] } = {},
): NumaTopology {
  const warnings = [...(options.warnings ?? [])];
  const find = (signature: string): AcpiTable | undefined => {
    const [first, ...more] = tables.filter((table) => table.header.signature === signature);
    if (first !== undefined && !first.header.checksumOk)
      warnings.push(`${signature}: the checksum of ${first.source} is wrong`);
    if (more.length > 0) warnings.push(`${signature}: there are ${more.length + 1}; ${first.source} is taken`);
    return first;
  };
  const apic = find("APIC");
  if (apic === undefined) throw new NumaError("NUMA_NO_MADT", "there is no MADT (signature APIC) among the tables");
  const [srat, slit, hmat] = [find("SRAT"), find("SLIT"), find("HMAT")];
  const madt = parseMadt(apic);
  for (const { offset, message } of madt.problems) warnings.push(`MADT: at offset ${offset}: ${message}`);
  return topologyFromAcpi({
    madt,
    srat: srat && parseSrat(srat),
    slit: slit && parseSlit(slit),
    hmat: hmat && parseHmat(hmat),
    bspApicId: options.bspApicId,
    warnings,
  });
}
