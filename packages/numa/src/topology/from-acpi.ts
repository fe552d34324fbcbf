import type { Hmat } from "../acpi/hmat.ts";
import { slitFault, type Slit } from "../acpi/slit.ts";
import type { Srat } from "../acpi/srat.ts";
import { LOCAL_DISTANCE, REMOTE_DISTANCE } from "../limits.ts";
import { madtCpus, type MadtCpu, type MadtLike } from "./madt-cpus.ts";
import { memoryAccess } from "./memory-access.ts";
import { bootMemoryBytes } from "./memory-ranges.ts";
import { NumaTopology, type NumaCpu, type NumaNode } from "./numa-topology.ts";
import { sratNodes, type SratNodes } from "./srat-nodes.ts";

/**
 * The tables a topology is made of, decoded.
 *
 * @public
 */
export interface AcpiTopologySources {
  /** The processors (`parseMadt` of `@x/smp/acpi`). */
  readonly madt: MadtLike;
  readonly srat?: Srat | undefined;
  readonly slit?: Slit | undefined;
  readonly hmat?: Hmat | undefined;
  /** APIC id of the boot processor, which becomes CPU 0. Default: the first enabled one. */
  readonly bspApicId?: number | undefined;
  /** What was odd already when the tables were read; comes first in the topology's warnings. */
  readonly warnings?: readonly string[] | undefined;
}

/**
 * The topology Linux would make of these tables.
 *
 * Nodes are numbered in order of first appearance of an enabled SRAT entry, processors before memory; a SRAT that is broken
 * is not used, with a warning, and then there is one node 0. Distances are the SLIT's for the domains that became nodes, or
 * 10 and 20 where there is no valid SLIT; latencies and bandwidths are the HMAT's. A CPU the SRAT does not know goes round robin over the nodes by its number.
 *
 * Processors of Arm machines are the GICC structures of both tables, which ACPI processor UIDs join; those of the MADT alone make a
 * machine an Arm one.
 *
 * Source: drivers/acpi/numa/srat.c, arch/x86/mm/srat.c, arch/x86/mm/numa.c, arch/arm64/kernel/acpi_numa.c of Linux 6.1.
 *
 * @public
 */
export function topologyFromAcpi(sources: AcpiTopologySources): NumaTopology {
  const { madt, srat, slit, hmat, bspApicId } = sources;
  const warnings = [...(sources.warnings ?? [])];
  const cpus = madtCpus(madt, bspApicId);
  if (srat === undefined) return singleNode(cpus, warnings);
  const isArm = cpus.some((cpu) => cpu.armUid !== undefined);
  const found = sratNodes(srat, warnings, isArm);
  if (typeof found === "string") return singleNode(cpus, [...warnings, `SRAT is not used: ${found}`]);
  const fault = slit === undefined ? "" : slitFault(slit);
  if (fault !== "") warnings.push(`SLIT is not used: ${fault}`);
  const matrix = slit !== undefined && fault === "" ? slit.matrix : [];
  const placed = cpus.map((cpu) => place(cpu, found, warnings));
  for (const problem of hmat?.problems ?? []) warnings.push(`HMAT: at offset ${problem.offset}: ${problem.message}`);
  const access = hmat === undefined ? [] : memoryAccess(hmat, found.nodeOfDomain);
  return new NumaTopology({ nodes: makeNodes(found, placed, matrix), cpus: placed, access, warnings });
}

/** The machine without NUMA: one node 0 that has everything, of unknown size. */
function singleNode(cpus: readonly MadtCpu[], warnings: readonly string[]): NumaTopology {
  const online = cpus.filter((cpu) => cpu.online).map((cpu) => cpu.id);
  return new NumaTopology({
    nodes: [{ id: 0, cpus: online, memory: [], memoryBytes: 0, hasMemory: true, distances: {} }],
    cpus: cpus.map((cpu) => onNode(cpu, 0)),
    warnings,
  });
}

function place(cpu: MadtCpu, found: SratNodes, warnings: string[]): NumaCpu {
  const { nodeOfApicId, nodeOfArmUid } = found;
  const node = cpu.armUid === undefined ? nodeOfApicId.get(cpu.apicId) : nodeOfArmUid.get(cpu.armUid);
  if (node !== undefined) return onNode(cpu, node);
  const assigned = cpu.id % found.nodeOfDomain.size;
  if (cpu.online) warnings.push(`SRAT does not name CPU ${cpu.id} (${nameOf(cpu)}); it is put on node ${assigned}`);
  return onNode(cpu, assigned);
}

function nameOf({ apicId, armUid }: MadtCpu): string {
  return armUid === undefined ? `APIC id ${apicId}` : `processor UID ${armUid}`;
}

function onNode({ id, apicId, online }: MadtCpu, node: number): NumaCpu {
  return { id, apicId, node, online };
}

function makeNodes(
  { nodeOfDomain, memory }: SratNodes,
  cpus: readonly NumaCpu[],
  matrix: readonly (readonly number[])[],
): NumaNode[] {
  return [...nodeOfDomain].map(([proximityDomain, id]) => {
    const distances: Record<number, number> = {};
    for (const [domain, to] of nodeOfDomain) {
      distances[to] = matrix[proximityDomain]?.[domain] ?? (to === id ? LOCAL_DISTANCE : REMOTE_DISTANCE);
    }
    const ranges = memory
      .filter((range) => range.node === id)
      .map(({ base, size, hotPluggable }) => ({ base, size, hotPluggable }));
    const memoryBytes = bootMemoryBytes(ranges);
    return {
      id,
      proximityDomain,
      cpus: cpus.filter((cpu) => cpu.online && cpu.node === id).map((cpu) => cpu.id),
      memory: ranges,
      memoryBytes,
      hasMemory: memoryBytes > 0,
      distances,
    };
  });
}
