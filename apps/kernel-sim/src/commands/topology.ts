import { readFileSync } from "node:fs";
import { parseAcpiTable, parseMadt, type AcpiTable } from "@x/smp/acpi";
import { parseSlit, parseSrat, topologyFromAcpi, type NumaTopology } from "@x/numa";
import { readSysfsTopology } from "@x/numa/node";
import { Command } from "commander";
import { SimError } from "../errors.ts";
import { tableFiles } from "../experiment/machine-image.ts";
import { print, printJson } from "./input.ts";

interface TopologyOptions {
  readonly acpi?: string;
  readonly sysfs?: string;
  readonly host?: boolean;
  readonly json?: boolean;
}

/** `kernel-sim topology (--acpi DIR | --sysfs ROOT | --host) [--json]`. */
export function topologyCommand(): Command {
  return new Command("topology")
    .description("NUMA nodes, their CPUs, memory and distances, like numactl --hardware")
    .option("--acpi <dir>", "from the *.dat tables of a folder")
    .option("--sysfs <root>", "from ROOT/sys/devices/system")
    .option("--host", "of this host")
    .option("--json", "print JSON")
    .addHelpText("after", "\nExample:\n  kernel-sim topology --host")
    .action((options: TopologyOptions) => {
      const topology = readTopology(options);
      if (options.json === true) printJson(topology.toJSON());
      else print(hardwareText(topology));
    });
}

function readTopology({ acpi, sysfs, host }: TopologyOptions): NumaTopology {
  if ([acpi, sysfs, host].filter((source) => source !== undefined).length !== 1) {
    throw new SimError("SIM_USAGE", "topology: give exactly one of --acpi DIR, --sysfs ROOT, --host");
  }
  if (acpi !== undefined) return acpiTopology(tableFiles(acpi).map((file) => parseAcpiTable(readFileSync(file), file)), acpi);
  return readSysfsTopology(sysfs ?? "/");
}

/** The topology that a set of tables describes. */
export function acpiTopology(tables: readonly AcpiTable[], source: string): NumaTopology {
  const find = (signature: string): AcpiTable | undefined => tables.find((table) => table.header.signature === signature);
  const madt = find("APIC");
  const srat = find("SRAT");
  const slit = find("SLIT");
  if (madt === undefined) throw new SimError("SIM_INPUT", "no MADT (signature APIC)", { file: source });
  return topologyFromAcpi({
    madt: parseMadt(madt),
    ...(srat === undefined ? {} : { srat: parseSrat(srat) }),
    ...(slit === undefined ? {} : { slit: parseSlit(slit) }),
  });
}

/** The layout of `numactl --hardware`. */
export function hardwareText(topology: NumaTopology): string {
  const { nodes } = topology;
  const ids = nodes.map(({ id }) => id);
  const lines = [`available: ${nodes.length} nodes (${rangeText(ids)})`];
  for (const { id, cpus, memoryBytes } of nodes) {
    lines.push(`node ${id} cpus:${cpus.map((cpu) => ` ${cpu}`).join("")}`);
    lines.push(`node ${id} size: ${Math.floor(memoryBytes / 2 ** 20)} MB`);
  }
  lines.push("node distances:", `node ${ids.map((id) => `${String(id).padStart(3)} `).join("")}`);
  for (const from of ids) {
    lines.push(`${String(from).padStart(3)}: ${ids.map((to) => `${String(topology.distance(from, to)).padStart(3)} `).join("")}`);
  }
  for (const warning of topology.warnings) lines.push(`warning: ${warning}`);
  return `${lines.join("\n")}\n`;
}

function rangeText(ids: readonly number[]): string {
  const contiguous = ids.every((id, at) => at === 0 || id === ids[at - 1] + 1);
  return contiguous && ids.length > 1 ? `${ids[0]}-${ids.at(-1)}` : ids.join(",");
}
