import { buildRsdp, buildXsdt } from "@x/smp/acpi";
import { SimError } from "../errors.ts";

/** Where the firmware keeps its tables: below 4 GiB, as a PC's does. */
const TABLES_ADDRESS = 0x7ffe_0000n;
/** The root pointer lies in the BIOS read-only area (ACPI 6.5, section 5.2.5.1). */
export const RSDP_ADDRESS: bigint = 0x000f_5a00n;
const ALIGNMENT = 64n;

/** Where one table ended up. */
export interface PlacedTable {
  readonly address: bigint;
  readonly bytes: Uint8Array;
}

/**
 * The machine's firmware: lays the tables out in physical memory behind an XSDT and a root pointer, and answers reads of
 * that memory.
 */
export class Firmware {
  readonly rsdpAddress: bigint = RSDP_ADDRESS;
  readonly placed: readonly PlacedTable[];

  constructor(tables: readonly Uint8Array[]) {
    const placed: PlacedTable[] = [];
    let address = TABLES_ADDRESS;
    const place = (bytes: Uint8Array): bigint => {
      const at = address;
      placed.push({ address: at, bytes });
      address += ((BigInt(bytes.length) + ALIGNMENT - 1n) / ALIGNMENT) * ALIGNMENT;
      return at;
    };
    const described = tables.map(place);
    const xsdtAddress = place(buildXsdt(described));
    placed.push({ address: RSDP_ADDRESS, bytes: buildRsdp({ xsdtAddress }) });
    this.placed = placed;
  }

  /** Physical memory reads; only what the firmware wrote can be read. */
  readonly read = (address: bigint, length: number): Uint8Array => {
    for (const table of this.placed) {
      const offset = address - table.address;
      if (offset >= 0n && offset < BigInt(table.bytes.length)) {
        return table.bytes.subarray(Number(offset), Number(offset) + length);
      }
    }
    throw new SimError("SIM_INPUT", `nothing lies at physical address 0x${address.toString(16)}`);
  };
}
