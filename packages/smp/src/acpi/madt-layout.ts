/*
 * Interrupt controller structures of the MADT as data (ACPI 6.5, sections 5.2.12.2 to 5.2.12.13): one list serves the
 * decoder and the encoder, so the two cannot disagree.
 */

/** Member name, byte offset in the structure, bytes. */
export type MadtField = readonly [name: string, offset: number, size: 1 | 2 | 4 | 8];

export interface MadtLayout {
  readonly kind: string;
  /** Bytes of the structure: what an entry of this type must have at least. */
  readonly length: number;
  readonly fields: readonly MadtField[];
}

/** By structure type. */
export const MADT_LAYOUTS: Readonly<Record<number, MadtLayout>> = {
  0: {
    kind: "local-apic",
    length: 8,
    fields: [
      ["acpiProcessorId", 2, 1],
      ["apicId", 3, 1],
      ["flags", 4, 4],
    ],
  },
  1: {
    kind: "io-apic",
    length: 12,
    fields: [
      ["ioApicId", 2, 1],
      ["address", 4, 4],
      ["gsiBase", 8, 4],
    ],
  },
  2: {
    kind: "interrupt-override",
    length: 10,
    fields: [
      ["bus", 2, 1],
      ["source", 3, 1],
      ["gsi", 4, 4],
      ["intiFlags", 8, 2],
    ],
  },
  3: {
    kind: "nmi-source",
    length: 8,
    fields: [
      ["intiFlags", 2, 2],
      ["gsi", 4, 4],
    ],
  },
  4: {
    kind: "local-apic-nmi",
    length: 6,
    fields: [
      ["acpiProcessorId", 2, 1],
      ["intiFlags", 3, 2],
      ["lint", 5, 1],
    ],
  },
  5: {
    kind: "local-apic-address",
    length: 12,
    fields: [["address", 4, 8]],
  },
  9: {
    kind: "local-x2apic",
    length: 16,
    fields: [
      ["x2apicId", 4, 4],
      ["flags", 8, 4],
      ["acpiProcessorUid", 12, 4],
    ],
  },
  10: {
    kind: "local-x2apic-nmi",
    length: 12,
    fields: [
      ["intiFlags", 2, 2],
      ["acpiProcessorUid", 4, 4],
      ["lint", 8, 1],
    ],
  },
};

/** Byte offset of the local APIC's address, of the flags, and of the first structure. */
export const MADT_ADDRESS_OFFSET = 36;
export const MADT_FLAGS_OFFSET = 40;
export const MADT_ENTRIES_OFFSET = 44;
