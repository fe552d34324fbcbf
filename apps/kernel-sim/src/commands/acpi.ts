import { parseHmat, parseSlit, parseSrat } from "@x/numa";
import { parseAcpiTable, parseMadt, parseRootTable, parseRsdp, type AcpiProblem, type AcpiTable } from "@x/smp/acpi";
import { ACPI_TABLES_FOLDER, readAcpiFiles, type AcpiFile } from "@x/smp/node";
import { Command } from "commander";
import { print, printJson } from "./input.ts";

/** `kernel-sim acpi FILE… [--json]`. */
export function acpiCommand(): Command {
  return new Command("acpi")
    .description("decode ACPI tables: raw files, folders of them, the text of acpidump")
    .argument("<file...>", "table files, folders, dumps")
    .option("--json", "print JSON")
    .addHelpText("after", `\nExamples:\n  kernel-sim acpi ${ACPI_TABLES_FOLDER} --json\n  kernel-sim acpi acpidump.txt`)
    .action((paths: string[], options: { json?: boolean }) => {
      const tables = paths.flatMap((path) => readAcpiFiles(path).map(decodeFile));
      if (options.json === true) printJson(tables);
      else print(tables.map(tableText).join("\n"));
    });
}

/** A decoded table as the contract has it: the header's members and the table's own side by side. */
export type DecodedTable = { readonly file: string; readonly signature: string; readonly length: number } & Record<
  string,
  unknown
>;

/** Decode one table. */
export function decodeFile({ source: file, bytes }: AcpiFile): DecodedTable {
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

function decodeBody(
  table: AcpiTable,
): { readonly problems: readonly AcpiProblem[]; readonly [member: string]: unknown } | undefined {
  switch (table.header.signature) {
    case "APIC":
      return { ...parseMadt(table) };
    case "SRAT":
      return { ...parseSrat(table) };
    case "SLIT":
      return { ...parseSlit(table) };
    case "HMAT":
      return { ...parseHmat(table) };
    case "RSDT":
    case "XSDT":
      return { addresses: parseRootTable(table), problems: [] };
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
