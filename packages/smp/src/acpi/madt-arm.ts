import type { MadtEntryHeader } from "./madt-x86.ts";

/**
 * Structure type 0x0B: the CPU interface of a GIC, and so a processor. `flags`: bit 0 enabled, bit 3 online capable. What came after ACPI 5.0 is
 * missing in a table that is older.
 *
 * @public
 */
export interface MadtGicc extends MadtEntryHeader {
  readonly type: 11;
  readonly kind: "gicc";
  readonly cpuInterfaceNumber: number;
  readonly acpiProcessorUid: number;
  readonly flags: number;
  readonly parkingProtocolVersion: number;
  readonly performanceInterrupt: number;
  readonly parkedAddress: bigint;
  readonly baseAddress: bigint;
  readonly gicvAddress?: bigint;
  readonly gichAddress?: bigint;
  readonly vgicMaintenanceInterrupt?: number;
  readonly gicrAddress?: bigint;
  /** The processor's MPIDR_EL1. */
  readonly mpidr?: bigint;
  readonly efficiencyClass?: number;
  readonly speOverflowInterrupt?: number;
  readonly trbeInterrupt?: number;
}

/**
 * Structure type 0x0C: the distributor of a GIC. `gicVersion`: 0 find out, 1 to 4.
 *
 * @public
 */
export interface MadtGicd extends MadtEntryHeader {
  readonly type: 12;
  readonly kind: "gicd";
  readonly gicId: number;
  readonly address: bigint;
  readonly gsiBase: number;
  readonly gicVersion: number;
}

/**
 * Structure type 0x0D: an MSI frame of a GICv2m. `flags` bit 0: `spiCount` and `spiBase` override the frame's own.
 *
 * @public
 */
export interface MadtGicMsiFrame extends MadtEntryHeader {
  readonly type: 13;
  readonly kind: "gic-msi-frame";
  readonly msiFrameId: number;
  readonly address: bigint;
  readonly flags: number;
  readonly spiCount: number;
  readonly spiBase: number;
}

/**
 * Structure type 0x0E: a range of redistributors of a GICv3. `flags` came with ACPI 6.6.
 *
 * @public
 */
export interface MadtGicr extends MadtEntryHeader {
  readonly type: 14;
  readonly kind: "gicr";
  readonly flags: number;
  readonly address: bigint;
  /** Bytes of the range. */
  readonly discoveryLength: number;
}

/**
 * Structure type 0x0F: an interrupt translation service of a GIC. `flags` came with ACPI 6.6.
 *
 * @public
 */
export interface MadtGicIts extends MadtEntryHeader {
  readonly type: 15;
  readonly kind: "gic-its";
  readonly flags: number;
  readonly translationId: number;
  readonly address: bigint;
}
