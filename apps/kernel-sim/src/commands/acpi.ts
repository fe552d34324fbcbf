import { parseHmat, parseSlit, parseSrat } from "@x/numa";
import { parseAcpiTable, parseMadt, parseRsdp, type AcpiProblem, type AcpiTable } from "@x/smp/acpi";
import { Command } from "commander";
import { print, printJson, readInput } from "./input.ts";

/** `kernel-sim acpi FILE… [--json]`. */
export function acpiCommand(): Command {
  return new Command("acpi")
    .description("decode ACPI tables: raw files, as in /sys/firmware/acpi/tables")
    .argument("<file...>", "table files")
    .option("--json", "print JSON")
    .addHelpText("after", "\nExample:\n  kernel-sim acpi /sys/firmware/acpi/tables/APIC --json")
    .action((files: string[], options: { json?: boolean }) => {
      const tables = files.map(decodeFile);
      if (options.json === true) printJson(tables);
      else print(tables.map(tableText).join("\n"));
    });
}

/** A decoded table as the contract has it: the header's members and the table's own side by side. */
export type DecodedTable = { readonly file: string; readonly signature: string; readonly length: number } & Record<
  string,
  unknown
>;

/** Decode one file. */
export function decodeFile(file: string): DecodedTable {
  const bytes = readInput(file);
  if (Buffer.from(bytes.subarray(0, 8)).toString("latin1") === "RSD PTR ") {
    const { length, ...rsdp } = parseRsdp(bytes, file);
    return { file, signature: "RSD PTR ", length, ...hexBigints(rsdp) };
  }
  const table = parseAcpiTable(bytes, file);
  return { file, ...table.header, ...body(table) };
}

function body(table: AcpiTable): Record<string, unknown> {
  const decoded = decodeBody(table);
  if (decoded === undefined) return {};
  const { problems, ...members } = decoded;
  return { ...hexBigints(members), errors: problems };
}

function decodeBody(table: AcpiTable): ({ readonly problems: readonly AcpiProblem[] } & object) | undefined {
  switch (table.header.signature) {
    case "APIC":
      return parseMadt(table);
    case "SRAT":
      return parseSrat(table);
    case "SLIT":
      return parseSlit(table);
    case "HMAT":
      return parseHmat(table);
    default:
      return undefined;
  }
}

/** JSON has no 64-bit integers: addresses and sizes become hexadecimal text, byte arrays too. */
function hexBigints(value: object): Record<string, unknown> {
  const text = JSON.stringify(value, (_key, member: unknown) => {
    if (typeof member === "bigint") return `0x${member.toString(16)}`;
    if (member instanceof Uint8Array) return Buffer.from(member).toString("hex");
    return member;
  });
  return JSON.parse(text) as Record<string, unknown>;
}

function tableText(table: DecodedTable): string {
  const lines = [table.file];
  for (const [name, value] of Object.entries(table)) {
    if (name === "file" || (name === "errors" && (value as unknown[]).length === 0)) continue;
    if (!Array.isArray(value)) lines.push(`  ${name.padEnd(18)} ${String(value)}`);
    else lines.push(`  ${name}`, ...value.map((entry) => `    ${entryText(entry)}`));
  }
  return `${lines.join("\n")}\n`;
}

function entryText(entry: unknown): string {
  if (Array.isArray(entry)) return entry.map((value) => String(value).padStart(4)).join("");
  if (typeof entry !== "object" || entry === null) return String(entry);
  return Object.entries(entry)
    .map(([name, value]) => `${name}=${typeof value === "object" ? JSON.stringify(value) : String(value)}`)
    .join(" ");
}
