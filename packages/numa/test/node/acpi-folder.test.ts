import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SmpError } from "@x/smp";
import { afterEach, describe, expect, it } from "vitest";
import { NumaError } from "../../src/index.ts";
import { readAcpiTopology } from "../../src/node/index.ts";
import { le, madtBody, memory, processor, tableBytes } from "../tables.ts";

const made: string[] = [];
afterEach(() => {
  for (const folder of made.splice(0)) rmSync(folder, { recursive: true, force: true });
});

function folder(files: Record<string, Uint8Array | string>): string {
  const path = mkdtempSync(join(tmpdir(), "numa-acpi-"));
  made.push(path);
  for (const [name, bytes] of Object.entries(files)) writeFileSync(join(path, name), bytes);
  return path;
}

const apic = tableBytes("APIC", 3, madtBody(0, 2));
const domains = [0, 1].flatMap((domain) => [
  ...processor({ domain, apicId: 2 * domain }),
  ...memory({ domain, base: domain * 4096, size: 4096 }),
]);
const srat = tableBytes("SRAT", 3, [...le(1, 12), ...domains]);

describe("a folder of tables", () => {
  it("is read whatever its files are called, as long as they end in .dat", () => {
    const found = readAcpiTopology(
      folder({
        "a.dat": srat,
        "b.dat": apic,
        "rsdp.dat": "RSD PTR ",
        "empty.dat": "",
        "notes.txt": "APIC",
        SRAT: "no",
      }),
    );
    expect(found.nodes.map((node) => node.cpus)).toEqual([[0], [1]]);
    expect(found.warnings).toEqual([]);
  });

  it("is read by signature where nothing ends in .dat", () => {
    expect(readAcpiTopology(folder({ APIC: apic, SRAT: srat, DSDT: "x" })).nodeCount).toBe(2);
  });

  it("numbers CPUs from the boot processor when told which it is", () => {
    const found = readAcpiTopology(folder({ APIC: apic, SRAT: srat }), { bspApicId: 2 });
    expect(found.cpus.map((cpu) => [cpu.apicId, cpu.node])).toEqual([
      [2, 1],
      [0, 0],
    ]);
  });

  it("with a cut SRAT has one node and a warning", () => {
    const found = readAcpiTopology(folder({ "apic.dat": apic, "srat.dat": srat.subarray(0, srat.length - 5) }));
    expect(found.nodes.map((node) => node.cpus)).toEqual([[0, 1]]);
    expect(found.warnings.join()).toContain("SRAT is not used");
  });

  it("is refused without a MADT, with a cut one, and when it is no folder", () => {
    expect(() => readAcpiTopology(folder({ "srat.dat": srat }))).toThrow(NumaError);
    expect(() => readAcpiTopology(folder({ "apic.dat": apic.subarray(0, 40) }))).toThrow(SmpError);
    expect(() => readAcpiTopology("/nonexistent")).toThrow(NumaError);
  });
});
