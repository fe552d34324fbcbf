import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { totalmem } from "node:os";
import { basename, join } from "node:path";
import { parseAcpiTable } from "@x/smp/acpi";
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

/** The machine of a name, a folder of tables, or `host`. Throws `SIM_UNKNOWN_MACHINE`. */
export function loadMachine(machine: string): MachineImage {
  if (machine === "host") return { name: "host", ...hostModel(), tables: readHostTables() };
  if (machineNames().includes(machine)) return fromFolder(machine, join(MACHINES, machine));
  if (existsSync(machine) && statSync(machine).isDirectory()) return fromFolder(basename(machine), machine);
  const known = [...machineNames(), "host", "a folder of ACPI tables"].join(", ");
  throw new SimError("SIM_UNKNOWN_MACHINE", `unknown machine ${JSON.stringify(machine)}; there are ${known}`);
}

/** Every `*.dat` of a folder that is a system description table; root pointers and root tables are the firmware's own. */
export function tableFiles(folder: string): string[] {
  let names: string[];
  try {
    names = readdirSync(folder).filter((name) => name.endsWith(".dat"));
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    throw new SimError("SIM_INPUT", `cannot be read (${code ?? "error"})`, { file: folder }, { cause });
  }
  return names
    .sort()
    .map((name) => join(folder, name))
    .filter((file) => !isRoot(readFileSync(file)));
}

function isRoot(bytes: Uint8Array): boolean {
  const signature = Buffer.from(bytes.subarray(0, 8)).toString("latin1");
  return signature === "RSD PTR " || signature.startsWith("RSDT") || signature.startsWith("XSDT");
}

function fromFolder(name: string, folder: string): MachineImage {
  const files = tableFiles(folder);
  const tables = files.map((file) => parseAcpiTable(readFileSync(file), file).bytes);
  const described = join(folder, "machine.json");
  const extra = existsSync(described) ? (JSON.parse(readFileSync(described, "utf8")) as Partial<typeof DEFAULTS>) : {};
  const { model, mhz, l2KiB, memoryMiB, tscDeadline } = { ...DEFAULTS, ...extra };
  if (!tables.some((bytes) => Buffer.from(bytes.subarray(0, 4)).toString("latin1") === "APIC")) {
    throw new SimError("SIM_INPUT", "no MADT (signature APIC) among the *.dat files", { file: folder });
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
