import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { buildMadt, buildRsdp, SmpError } from "../../src/acpi/index.ts";
import { readAcpiFiles } from "../../src/node/index.ts";
import { dumpText } from "../acpi/helpers.ts";

const made: string[] = [];
afterEach(() => {
  for (const folder of made.splice(0)) rmSync(folder, { recursive: true, force: true });
});

function folder(files: Readonly<Record<string, Uint8Array | string>>): string {
  const path = mkdtempSync(join(tmpdir(), "smp-acpi-"));
  made.push(path);
  for (const [name, bytes] of Object.entries(files)) writeFileSync(join(path, name), bytes);
  return path;
}

const madt = buildMadt({ entries: [{ type: 0, acpiProcessorId: 0, apicId: 0, flags: 1 }] });
const rsdp = buildRsdp({ rsdtAddress: 4096 });

describe("readAcpiFiles", () => {
  it("reads one raw table", () => {
    const file = join(folder({ "some table": madt }), "some table");
    expect(readAcpiFiles(file)).toEqual([{ source: file, bytes: madt }]);
  });

  it("reads every table of a dump and names each", () => {
    const tables = [
      { name: "APIC", address: 0x7ffe0000n, bytes: madt },
      { name: "RSD PTR", address: 0xf5a00n, bytes: rsdp },
    ];
    const file = join(folder({ "dump.txt": dumpText(tables) }), "dump.txt");
    expect(readAcpiFiles(file)).toEqual([
      { source: `${file} (APIC @ 0x7ffe0000)`, bytes: madt },
      { source: `${file} (RSD PTR @ 0xf5a00)`, bytes: rsdp },
    ]);
  });

  it("reads the *.dat of a folder in the order of their names, and nothing else there", () => {
    const path = folder({ "ssdt.dat": rsdp, "apic.dat": madt, APIC: rsdp, "notes.txt": "" });
    mkdirSync(join(path, "more.dat"));
    expect(readAcpiFiles(path).map(({ source }) => source)).toEqual([join(path, "apic.dat"), join(path, "ssdt.dat")]);
  });

  it("reads what is named by a signature where nothing ends in .dat, as in /sys", () => {
    const path = folder({ APIC: madt, SSDT12: rsdp, "HPET.txt": "", data: "" });
    mkdirSync(join(path, "TEMP"));
    expect(readAcpiFiles(path).map(({ bytes }) => bytes)).toEqual([madt, rsdp]);
    expect(readAcpiFiles(folder({}))).toEqual([]);
  });

  it("says which file cannot be read, and where a dump is wrong", () => {
    const missing = join(folder({}), "none");
    const unreadable = { code: "ACPI_UNREADABLE", location: { file: missing } };
    expect(() => readAcpiFiles(missing)).toThrow(expect.objectContaining(unreadable));
    const dump = join(folder({ dump: "APIC @ 0x0\nnothing\n" }), "dump");
    expect(() => readAcpiFiles(dump)).toThrow(SmpError);
  });
});
