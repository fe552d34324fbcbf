import { existsSync, readFileSync } from "node:fs";
import { buildAcpiTable, buildMadt } from "@x/smp/acpi";
import { readHostTopology } from "@x/numa/node";
import type { NumaTopology } from "@x/numa";

const TABLES = "/sys/firmware/acpi/tables";
const IDS = { oemId: "HOST", oemTableId: "SYSFS" };

/**
 * The ACPI tables of this host: those the kernel exports, where they may be read (root, on Linux with ACPI); else tables
 * written from what /sys says of the topology, readable by everybody.
 */
export function readHostTables(): Uint8Array[] {
  try {
    return ["APIC", "SRAT", "SLIT", "HMAT"]
      .map((name) => `${TABLES}/${name}`)
      .filter((file) => file.endsWith("APIC") || existsSync(file))
      .map((file) => readFileSync(file));
  } catch {
    return tablesFromTopology(readHostTopology());
  }
}

/** MADT, SRAT and SLIT that describe a topology. A CPU's APIC id is its number. */
export function tablesFromTopology(topology: NumaTopology): Uint8Array[] {
  const entries = topology.cpus.map(
    ({ id, online }) => ({ type: 9, x2apicId: id, flags: online ? 1 : 0, acpiProcessorUid: id }) as const,
  );
  const affinities = topology.cpus.map(({ id, node }) => cpuAffinity(id, node));
  let base = 0n;
  const memory = topology.nodes.map(({ id, memoryBytes }) => {
    const size = BigInt(memoryBytes);
    base += size;
    return memoryAffinity(id, base - size, size);
  });
  const count = Math.max(...topology.nodes.map(({ id }) => id)) + 1;
  const distances = Uint8Array.from({ length: count * count }, (_, at) =>
    distance(topology, Math.floor(at / count), at % count),
  );
  const srat = table("SRAT", 3, concat([u32(1), new Uint8Array(8), ...affinities, ...memory]));
  const slit = table("SLIT", 1, concat([u64(BigInt(count)), distances]));
  return [buildMadt({ ...IDS, revision: 4, entries }), srat, slit];
}

function distance(topology: NumaTopology, from: number, to: number): number {
  return topology.getNode(from) === undefined || topology.getNode(to) === undefined
    ? from === to
      ? 10
      : 255
    : topology.distance(from, to);
}

/** SRAT type 2: processor local x2APIC affinity (ACPI 6.5, table 5.61). */
function cpuAffinity(id: number, node: number): Uint8Array {
  return concat([Uint8Array.of(2, 24, 0, 0), u32(node), u32(id), u32(1), u32(0), u32(0)]);
}

/** SRAT type 1: memory affinity (ACPI 6.5, table 5.60). */
function memoryAffinity(node: number, base: bigint, size: bigint): Uint8Array {
  return concat([Uint8Array.of(1, 40), u32(node), new Uint8Array(2), u64(base), u64(size), u32(0), u32(1), u64(0n)]);
}

function table(signature: string, revision: number, body: Uint8Array): Uint8Array {
  return buildAcpiTable({ ...IDS, signature, revision, body });
}

function u32(value: number): Uint8Array {
  return new Uint8Array(Uint32Array.of(value).buffer);
}

function u64(value: bigint): Uint8Array {
  return new Uint8Array(BigUint64Array.of(value).buffer);
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}
