import {
  buildAcpiTable,
  buildMadt,
  parseAcpiTable,
  parseMadt,
  type Madt,
  type MadtEntrySpec,
} from "../../src/acpi/index.ts";

export const madtOf = (entries: readonly MadtEntrySpec[]): Madt => parseMadt(parseAcpiTable(buildMadt({ entries })));

/** A MADT whose structures are these raw bytes. */
export function rawMadt(...structures: readonly (readonly number[])[]): Madt {
  const body = Uint8Array.from([0, 0, 0xe0, 0xfe, 1, 0, 0, 0, ...structures.flat()]);
  return parseMadt(parseAcpiTable(buildAcpiTable({ signature: "APIC", revision: 3, body })));
}

/** Physical memory with these bytes at these addresses, nothing elsewhere. */
export function memoryOf(contents: ReadonlyMap<bigint, Uint8Array>): (address: bigint, length: number) => Uint8Array {
  return (address, length) => (contents.get(address) ?? new Uint8Array()).subarray(0, length);
}

/** Tables as acpidump writes them. */
export function dumpText(
  tables: readonly { readonly name: string; readonly address: bigint; readonly bytes: Uint8Array }[],
  newLine = "\n",
): string {
  const hex = (value: number | bigint, digits: number): string =>
    value.toString(16).toUpperCase().padStart(digits, "0");
  const row = (bytes: Uint8Array, at: number): string => {
    const part = [...bytes.subarray(at, at + 16)];
    const letters = part.map((byte) => (byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : ".")).join("");
    return `    ${hex(at, 4)}: ${part
      .map((byte) => hex(byte, 2))
      .join(" ")
      .padEnd(47)}  ${letters}`;
  };
  return tables
    .map(({ name, address, bytes }) => {
      const rows = Array.from({ length: Math.ceil(bytes.length / 16) }, (_, index) => row(bytes, index * 16));
      return [`${name} @ 0x${hex(address, 16)}`, ...rows, "", ""].join(newLine);
    })
    .join("");
}
