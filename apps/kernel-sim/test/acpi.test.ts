import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buildMadt, buildRsdp, buildXsdt } from "@x/smp/acpi";
import { afterAll, expect, test } from "vitest";
import { packageFolder } from "../src/package-folder.ts";
import { kernelSim, kernelSimJson } from "./cli.ts";

const folder = mkdtempSync(join(tmpdir(), "kernel-sim-acpi-"));
afterAll(() => rmSync(folder, { recursive: true }));
const fixture = (path: string): string => join(packageFolder, path);

test("acpi reads a folder, and a dump of it gives the same tables, machine and topology", () => {
  const machine = fixture("machines/server-2s");
  const names = readdirSync(machine).filter((name) => name.endsWith(".dat"));
  const dump = join(folder, "acpidump.txt");
  const rsdp = Buffer.from(buildRsdp({ xsdtAddress: 0x10000n }));
  const xsdt = Buffer.from(buildXsdt([0x20000n]));
  const tables = names.map((name) => readFileSync(join(machine, name)));
  writeFileSync(dump, [rsdp, xsdt, ...tables].map(dumpOf).join(""));
  const decoded = kernelSimJson<Record<string, unknown>[]>(["acpi", dump]);
  const withoutFile = ({ file, ...rest }: Record<string, unknown>): unknown => [typeof file, rest];
  expect(decoded[0]).toMatchObject({ signature: "RSD PTR ", revision: 2, xsdtAddress: "0x10000", checksumOk: true });
  expect(decoded[1]).toMatchObject({ signature: "XSDT", addresses: ["0x20000"], checksumOk: true });
  expect(decoded.slice(2).map(withoutFile)).toEqual(
    kernelSimJson<Record<string, unknown>[]>(["acpi", machine]).map(withoutFile),
  );
  expect(kernelSim(["topology", "--acpi", dump])).toEqual(kernelSim(["topology", "--acpi", machine]));
  const log = kernelSim(["boot", "--machine", dump]);
  expect(log.status).toBe(0);
  expect(log.stdout).toContain("smp: Brought up 2 nodes, 16 CPUs");
});

/** A table as acpidump writes it. */
function dumpOf(bytes: Buffer): string {
  const name = bytes.toString("latin1", 0, 8) === "RSD PTR " ? "RSD PTR" : bytes.toString("latin1", 0, 4);
  const rows = Array.from({ length: Math.ceil(bytes.length / 16) }, (_, row) => {
    const part = bytes.subarray(row * 16, row * 16 + 16);
    const hex = (part.toString("hex").toUpperCase().match(/../g) ?? []).join(" ");
    return `    ${(row * 16).toString(16).padStart(4, "0")}: ${hex.padEnd(47)}  ${part.toString("latin1").replaceAll(/[^ -~]/g, ".")}`;
  });
  return `${name} @ 0x0000000000000000\n${rows.join("\n")}\n\n`;
}

test("acpi shows interrupt controllers of every architecture", () => {
  const file = join(folder, "controllers.dat");
  const hart = { type: 24, version: 1, flags: 1, hartId: 2n ** 60n, acpiProcessorUid: 3 } as const;
  const gicr = { type: 14, flags: 0, address: 0x80a0000n, discoveryLength: 0x20000 } as const;
  writeFileSync(file, buildMadt({ entries: [gicr, hart, { kind: "unknown", bytes: Uint8Array.of(0x80, 3, 0xab) }] }));
  const [madt] = kernelSimJson<{ entries: unknown[] }[]>(["acpi", file]);
  expect(madt.entries).toEqual([
    { type: 14, length: 16, kind: "gicr", flags: 0, address: "0x80a0000", discoveryLength: 0x20000 },
    { type: 24, length: 20, kind: "rintc", version: 1, flags: 1, hartId: `0x1${"0".repeat(15)}`, acpiProcessorUid: 3 },
    { type: 0x80, length: 3, kind: "unknown", bytes: "8003ab" },
  ]);
  expect(kernelSim(["acpi", file]).stdout).toContain("type=14 length=16 kind=gicr");
});
