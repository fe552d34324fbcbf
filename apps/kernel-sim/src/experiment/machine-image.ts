import { existsSync, readdirSync, readFileSync } from "node:fs";
import { totalmem } from "node:os";
import { basename, join } from "node:path";
import { asciiAt, parseAcpiTable } from "@x/smp/acpi";
import { readAcpiFiles } from "@x/smp/node";
import { SimError } from "../errors.ts";
import { packageFolder } from "../package-folder.ts";
import { readHostTables } from "./host-tables.ts";

/** A machine as its folder describes it: firmware tables, and the little that ACPI does not say. */
export interface MachineImage {
  readonly name: string;
  readonly model: string;
  readonly mhz: number;
  readonly cacheKiB: number;
  /** The local APICs' timers can wait for a value of the time-stamp counter. */
  readonly tscDeadline: boolean;
  /** What the firmware's memory map holds; counts where the tables say nothing of memory. */
  readonly memoryBytes: number;
  /** Raw tables in a fixed order. */
  readonly tables: readonly Uint8Array[];
}

const MACHINES = join(packageFolder, "machines");
const DEFAULTS = { model: "unknown", mhz: 2400, l2KiB: 1024, memoryMiB: 4096, tscDeadline: true };

/** Machines that come with the program. */
export function machineNames(): string[] {
  return readdirSync(MACHINES, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && existsSync(join(MACHINES, entry.name, "apic.dat")))
    .map((entry) => entry.name)
    .sort();
}

/** The machine of a name, a folder of tables, the text of `acpidump`, or `host`. Throws `SIM_UNKNOWN_MACHINE`. */
export function loadMachine(machine: string): MachineImage {
  if (machine === "host") return { name: "host", ...hostModel(), tables: readHostTables() };
  if (machineNames().includes(machine)) return fromFiles(machine, join(MACHINES, machine));
  if (existsSync(machine)) return fromFiles(basename(machine), machine);
  const known = [...machineNames(), "host", "a folder of ACPI tables", "a file of acpidump"].join(", ");
  throw new SimError("SIM_UNKNOWN_MACHINE", `unknown machine ${JSON.stringify(machine)}; there are ${known}`);
}

/** Laid out by the firmware itself, or not in the root table: what a dump has of the kind is left out. */
const NOT_LISTED = ["RSD", "RSDT", "XSDT", "FACS"];

function fromFiles(name: string, path: string): MachineImage {
  const tables = readAcpiFiles(path)
    .filter(({ bytes }) => !NOT_LISTED.includes(asciiAt(bytes, 0, 4)))
    .map(({ bytes, source }) => parseAcpiTable(bytes, source).bytes);
  const described = join(path, "machine.json");
  const extra = existsSync(described) ? (JSON.parse(readFileSync(described, "utf8")) as Partial<typeof DEFAULTS>) : {};
  const { model, mhz, l2KiB, memoryMiB, tscDeadline } = { ...DEFAULTS, ...extra };
  if (!tables.some((bytes) => asciiAt(bytes, 0, 4) === "APIC")) {
    throw new SimError("SIM_INPUT", "no MADT (signature APIC) among the tables", { file: path });
  }
  return { name, model, mhz, cacheKiB: l2KiB, memoryBytes: memoryMiB * 2 ** 20, tscDeadline, tables };
}

function hostModel(): Omit<MachineImage, "name" | "tables"> {
  const info = existsSync("/proc/cpuinfo") ? readFileSync("/proc/cpuinfo", "utf8") : "";
  const model = /^model name\s*:\s*(.+)$/m.exec(info)?.[1] ?? "this host";
  const mhz = Math.round(Number(/^cpu MHz\s*:\s*([\d.]+)$/m.exec(info)?.[1] ?? DEFAULTS.mhz));
  const tscDeadline = info === "" ? DEFAULTS.tscDeadline : /^flags\s*:.*\btsc_deadline_timer\b/m.test(info);
  return { model, mhz, cacheKiB: DEFAULTS.l2KiB, memoryBytes: totalmem(), tscDeadline };
}
