// The committed ACPI tables are what iasl makes of their committed sources.
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Every table source of a machines folder, `laptop/apic`, without its ending. @param {string} machines */
export function tableSources(machines) {
  return readdirSync(machines)
    .filter((name) => statSync(join(machines, name)).isDirectory())
    .flatMap((name) => readdirSync(join(machines, name)).map((file) => `${name}/${file}`))
    .filter((file) => file.endsWith(".asl"))
    .map((file) => file.slice(0, -".asl".length))
    .sort();
}

/** The version of the installed iasl, `20200925`, or undefined. */
export function iaslVersion() {
  const { error, stdout } = spawnSync("iasl", ["-v"], { encoding: "utf8" });
  return error === undefined ? /version (\d{8})/.exec(stdout)?.[1] : undefined;
}

/** The version of iasl that made a table: its header says so (Asl Compiler Revision, offset 32, as hexadecimal digits). @param {Uint8Array} table */
export function compiledBy(table) {
  return new DataView(table.buffer, table.byteOffset).getUint32(32, true).toString(16);
}

/**
 * Compiles every source again and compares the bytes.
 *
 * @param {string} machines
 * @returns {string[]} problems
 */
export function machineTableProblems(machines) {
  const scratch = mkdtempSync(join(tmpdir(), "machines-"));
  try {
    const { status, stderr } = spawnSync("bash", [join(machines, "build.sh"), scratch], { encoding: "utf8" });
    if (status !== 0) return [`build.sh ended with status ${status}: ${stderr.trim()}`];
    return tableSources(machines).flatMap((name) => {
      const committed = join(machines, `${name}.dat`);
      if (!existsSync(committed)) return [`${name}.dat is missing; run build.sh`];
      const [before, after] = [readFileSync(committed), readFileSync(join(scratch, `${name}.dat`))];
      return before.equals(after) ? [] : [`${name}.dat is not what iasl makes of ${name}.asl; run build.sh`];
    });
  } finally {
    rmSync(scratch, { recursive: true });
  }
}
