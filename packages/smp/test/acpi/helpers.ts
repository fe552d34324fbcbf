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
