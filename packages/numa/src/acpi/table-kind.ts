import { NumaError } from "../errors.ts";
import type { AcpiTable } from "@x/smp/acpi";

/** Throws unless `table` has this signature. */
export function requireSignature(table: AcpiTable, signature: string): void {
  if (table.header.signature === signature) return;
  const message = `the table's signature is "${table.header.signature}"; "${signature}" is needed`;
  throw new NumaError("NUMA_BAD_TABLE", message, { file: table.source, offset: 0 });
}

/** `0x…`, lower case, no leading zeros: how addresses and sizes of 64 bits are written. */
export function hex(value: bigint): string {
  return `0x${value.toString(16)}`;
}
