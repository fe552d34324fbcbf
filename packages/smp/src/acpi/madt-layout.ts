/*
 * Interrupt controller structures of the MADT as data (ACPI 6.5, section 5.2.12; types 0x19 to 0x1B as ACPICA and Linux have
 * them, from the RISC-V ACPI specification): one list serves the decoder and the encoder, so the two cannot disagree.
 */

/**
 * Member name, byte offset in the structure, bytes of one value; then for several values how many, or `text` (of `size` bytes), or
 * `rest` (text up to the structure's end). A member that lies behind the structure's end is left out. Of two fields with one name
 * the later counts where both fit.
 */
export type MadtField = readonly [
  name: string,
  offset: number,
  size: 1 | 2 | 4 | 8,
  form?: number | "text" | "rest" | undefined,
];

export interface MadtLayout {
  readonly kind: string;
  /** Lengths the structure has had, shortest first: what an entry must have at least, then what later members came with. */
  readonly lengths: readonly number[];
  readonly fields: readonly MadtField[];
}

function layout(kind: string, lengths: number | readonly number[], ...fields: readonly MadtField[]): MadtLayout {
  return { kind, lengths: typeof lengths === "number" ? [lengths] : lengths, fields };
}

const X86: readonly MadtLayout[] = [
  layout("local-apic", 8, ["acpiProcessorId", 2, 1], ["apicId", 3, 1], ["flags", 4, 4]),
  layout("io-apic", 12, ["ioApicId", 2, 1], ["address", 4, 4], ["gsiBase", 8, 4]),
  layout("interrupt-override", 10, ["bus", 2, 1], ["source", 3, 1], ["gsi", 4, 4], ["intiFlags", 8, 2]),
  layout("nmi-source", 8, ["intiFlags", 2, 2], ["gsi", 4, 4]),
  layout("local-apic-nmi", 6, ["acpiProcessorId", 2, 1], ["intiFlags", 3, 2], ["lint", 5, 1]),
  layout("local-apic-address", 12, ["address", 4, 8]),
];

/** The uid members came with ACPI 3.0. */
const ITANIUM: readonly MadtLayout[] = [
  layout("io-sapic", 16, ["ioApicId", 2, 1], ["gsiBase", 4, 4], ["address", 8, 8]),
  layout(
    "local-sapic",
    [12, 16],
    ["acpiProcessorId", 2, 1],
    ["localSapicId", 3, 1],
    ["localSapicEid", 4, 1],
    ["flags", 8, 4],
    ["acpiProcessorUid", 12, 4],
    ["acpiProcessorUidText", 16, 1, "rest"],
  ),
  layout(
    "platform-interrupt-source",
    16,
    ["intiFlags", 2, 2],
    ["interruptType", 4, 1],
    ["processorId", 5, 1],
    ["processorEid", 6, 1],
    ["ioSapicVector", 7, 1],
    ["gsi", 8, 4],
    ["flags", 12, 4],
  ),
];

const X2APIC: readonly MadtLayout[] = [
  layout("local-x2apic", 16, ["x2apicId", 4, 4], ["flags", 8, 4], ["acpiProcessorUid", 12, 4]),
  layout("local-x2apic-nmi", 12, ["intiFlags", 2, 2], ["acpiProcessorUid", 4, 4], ["lint", 8, 1]),
];

/** Lengths of a GICC: ACPI 5.0, 5.1, 6.0 (with 6.3's SPE interrupt in a reserved place), 6.5. */
const ARM: readonly MadtLayout[] = [
  layout(
    "gicc",
    [40, 76, 80, 82],
    ["cpuInterfaceNumber", 4, 4],
    ["acpiProcessorUid", 8, 4],
    ["flags", 12, 4],
    ["parkingProtocolVersion", 16, 4],
    ["performanceInterrupt", 20, 4],
    ["parkedAddress", 24, 8],
    ["baseAddress", 32, 8],
    ["gicvAddress", 40, 8],
    ["gichAddress", 48, 8],
    ["vgicMaintenanceInterrupt", 56, 4],
    ["gicrAddress", 60, 8],
    ["mpidr", 68, 8],
    ["efficiencyClass", 76, 1],
    ["speOverflowInterrupt", 78, 2],
    ["trbeInterrupt", 80, 2],
  ),
  layout("gicd", 24, ["gicId", 4, 4], ["address", 8, 8], ["gsiBase", 16, 4], ["gicVersion", 20, 1]),
  layout(
    "gic-msi-frame",
    24,
    ["msiFrameId", 4, 4],
    ["address", 8, 8],
    ["flags", 16, 4],
    ["spiCount", 20, 2],
    ["spiBase", 22, 2],
  ),
  layout("gicr", 16, ["flags", 2, 1], ["address", 4, 8], ["discoveryLength", 12, 4]),
  layout("gic-its", 20, ["flags", 2, 1], ["translationId", 4, 4], ["address", 8, 8]),
];

const WAKEUP: MadtLayout = layout(
  "multiprocessor-wakeup",
  [16, 24],
  ["mailboxVersion", 2, 2],
  ["mailboxAddress", 8, 8],
  ["resetVector", 16, 8],
);

/** The cascade vector of an LPC PIC has 2 bytes in ACPI 6.5, and 1 in what firmware and Linux use. */
const LOONGARCH: readonly MadtLayout[] = [
  layout("core-pic", 15, ["version", 2, 1], ["acpiProcessorUid", 3, 4], ["coreId", 7, 4], ["flags", 11, 4]),
  layout(
    "lio-pic",
    23,
    ["version", 2, 1],
    ["address", 3, 8],
    ["size", 11, 2],
    ["cascade", 13, 1, 2],
    ["cascadeMap", 15, 4, 2],
  ),
  layout("ht-pic", 21, ["version", 2, 1], ["address", 3, 8], ["size", 11, 2], ["cascade", 13, 1, 8]),
  layout("eio-pic", 13, ["version", 2, 1], ["cascade", 3, 1], ["node", 4, 1], ["nodeMap", 5, 8]),
  layout("msi-pic", 19, ["version", 2, 1], ["messageAddress", 3, 8], ["firstVector", 11, 4], ["vectorCount", 15, 4]),
  layout(
    "bio-pic",
    17,
    ["version", 2, 1],
    ["address", 3, 8],
    ["size", 11, 2],
    ["hardwareId", 13, 2],
    ["gsiBase", 15, 2],
  ),
  layout(
    "lpc-pic",
    [14, 15],
    ["version", 2, 1],
    ["address", 3, 8],
    ["size", 11, 2],
    ["cascade", 13, 1],
    ["cascade", 13, 2],
  ),
];

/** A RINTC had 20 bytes in ACPI 6.5; the IMSIC members came with 6.6. */
const RISCV: readonly MadtLayout[] = [
  layout(
    "rintc",
    [20, 36],
    ["version", 2, 1],
    ["flags", 4, 4],
    ["hartId", 8, 8],
    ["acpiProcessorUid", 16, 4],
    ["externalControllerId", 20, 4],
    ["imsicAddress", 24, 8],
    ["imsicSize", 32, 4],
  ),
  layout(
    "imsic",
    16,
    ["version", 2, 1],
    ["flags", 4, 4],
    ["supervisorIds", 8, 2],
    ["guestIds", 10, 2],
    ["guestIndexBits", 12, 1],
    ["hartIndexBits", 13, 1],
    ["groupIndexBits", 14, 1],
    ["groupIndexShift", 15, 1],
  ),
  layout(
    "aplic",
    36,
    ["version", 2, 1],
    ["aplicId", 3, 1],
    ["flags", 4, 4],
    ["hardwareId", 8, 8, "text"],
    ["deliveryControls", 16, 2],
    ["sources", 18, 2],
    ["gsiBase", 20, 4],
    ["address", 24, 8],
    ["size", 32, 4],
  ),
  layout(
    "plic",
    36,
    ["version", 2, 1],
    ["plicId", 3, 1],
    ["hardwareId", 4, 8, "text"],
    ["sources", 12, 2],
    ["maxPriority", 14, 2],
    ["flags", 16, 4],
    ["size", 20, 4],
    ["address", 24, 8],
    ["gsiBase", 32, 4],
  ),
];

/** By structure type, 0 to 0x1B. */
export const MADT_LAYOUTS: readonly MadtLayout[] = [
  ...X86,
  ...ITANIUM,
  ...X2APIC,
  ...ARM,
  WAKEUP,
  ...LOONGARCH,
  ...RISCV,
];

/** Byte offset of the local APIC's address, of the flags, and of the first structure. */
export const MADT_ADDRESS_OFFSET = 36;
export const MADT_FLAGS_OFFSET = 40;
export const MADT_ENTRIES_OFFSET = 44;
