import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { compiledBy, iaslVersion, machineTableProblems, tableSources } from "../lib/machine-tables.mjs";
import { repository } from "../lib/workspace.mjs";

const machines = join(repository, "apps/kernel-sim/machines");
const sources: string[] = tableSources(machines);
const installed = iaslVersion();
const committed = compiledBy(readFileSync(join(machines, `${sources[0]}.dat`)));
const reason = installed === undefined ? "iasl is not installed" : `iasl is ${installed}, not ${committed}`;

describe("the machines' ACPI tables", () => {
  it("are there for every source, with the header's length and a checksum of zero", () => {
    expect(sources).toEqual(expect.arrayContaining(["laptop/apic", "server-2s/srat", "server-4n/hmat"]));
    for (const name of sources) {
      const table = readFileSync(join(machines, `${name}.dat`));
      expect(table.readUInt32LE(4), name).toBe(table.length);
      expect(
        table.reduce((sum, byte) => (sum + byte) & 255, 0),
        name,
      ).toBe(0);
      expect(compiledBy(table), name).toBe(committed);
    }
  });

  const same = installed === committed;
  it.skipIf(!same)(`are byte for byte what iasl makes of their sources${same ? "" : ` (skipped: ${reason})`}`, () => {
    expect(machineTableProblems(machines)).toEqual([]);
  });

  it.skipIf(!same)(`are told from tables that were edited by hand${same ? "" : ` (skipped: ${reason})`}`, () => {
    const copy = mkdtempSync(join(tmpdir(), "edited-machines-"));
    try {
      cpSync(machines, copy, { recursive: true });
      const table = readFileSync(join(copy, "laptop/apic.dat"));
      table[50] ^= 1;
      writeFileSync(join(copy, "laptop/apic.dat"), table);
      rmSync(join(copy, "server-2s/slit.dat"));
      expect(machineTableProblems(copy)).toEqual([
        "laptop/apic.dat is not what iasl makes of laptop/apic.asl; run build.sh",
        "server-2s/slit.dat is missing; run build.sh",
      ]);
    } finally {
      rmSync(copy, { recursive: true });
    }
  });
});
