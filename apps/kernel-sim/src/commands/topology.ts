import type { NumaTopology } from "@x/numa";
import { readAcpiTopology, readSysfsTopology } from "@x/numa/node";
import { Command } from "commander";
import { SimError } from "../errors.ts";
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
    .option("--acpi <dir>", "from a folder of ACPI tables, or a file of acpidump")
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
  if (acpi !== undefined) return readAcpiTopology(acpi);
  return readSysfsTopology(sysfs ?? "/");
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
    lines.push(
      `${String(from).padStart(3)}: ${ids.map((to) => `${String(topology.distance(from, to)).padStart(3)} `).join("")}`,
    );
  }
  for (const warning of topology.warnings) lines.push(`warning: ${warning}`);
  return `${lines.join("\n")}\n`;
}

function rangeText(ids: readonly number[]): string {
  const contiguous = ids.every((id, at) => at === 0 || id === ids[at - 1] + 1);
  return contiguous && ids.length > 1 ? `${ids[0]}-${ids.at(-1)}` : ids.join(",");
}
