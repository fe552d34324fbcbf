import { topologyFromTables, type NumaTopology } from "@x/numa";
import {
  loadAcpiTables,
  madtProcessors,
  parseMadt,
  parseRsdp,
  type AcpiTable,
  type Madt,
  type Rsdp,
} from "@x/smp/acpi";
import { SimError } from "../errors.ts";
import type { Firmware } from "../machine/firmware.ts";

/** Bytes of a root pointer of revision 2 (ACPI 6.5, table 5.3). */
const RSDP_BYTES = 36;

/** What the firmware's tables say of the machine. */
export interface Platform {
  readonly rsdp: Rsdp;
  readonly tables: readonly AcpiTable[];
  readonly madt: Madt;
  readonly topology: NumaTopology;
  /** Bytes of each node, from the SRAT or, where that names none, the firmware's memory map on node 0. */
  readonly nodeBytes: readonly number[];
  /** Enabled processors, boot processor first: CPU numbers are positions here. */
  readonly processors: readonly { readonly apicId: number; readonly node: number }[];
  /** Nodes numbered densely as the topology lists them; distances row by row. */
  readonly distances: Float64Array;
}

/** Read the tables through the root pointer, as a kernel does. */
export function readPlatform(firmware: Firmware, memoryBytes: number): Platform {
  const tables = loadAcpiTables({ rsdpAddress: firmware.rsdpAddress, read: firmware.read });
  const madtTable = tables.find((table) => table.header.signature === "APIC");
  if (madtTable === undefined) throw new SimError("SIM_INPUT", "the machine has no MADT");
  const madt = parseMadt(madtTable);
  const topology = topologyFromTables(tables);
  const nodeOfApic = new Map(topology.cpus.map(({ apicId, node }) => [apicId, node]));
  const processors = madtProcessors(madt)
    .filter(({ enabled }) => enabled)
    .map(({ apicId }) => ({ apicId, node: nodeOfApic.get(apicId) ?? 0 }));
  if (processors.length === 0) throw new SimError("SIM_INPUT", "the MADT enables no processor");
  const { nodes } = topology;
  const distances = Float64Array.from({ length: nodes.length ** 2 }, (_, at) =>
    topology.distance(nodes[Math.floor(at / nodes.length)].id, nodes[at % nodes.length].id),
  );
  const described = nodes.some((node) => node.memoryBytes > 0);
  const nodeBytes = nodes.map((node, at) => (described ? node.memoryBytes : at === 0 ? memoryBytes : 0));
  const rsdp = parseRsdp(firmware.read(firmware.rsdpAddress, RSDP_BYTES));
  return { rsdp, tables, madt, topology, nodeBytes, processors, distances };
}
