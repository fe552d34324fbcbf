import type { MadtEntryHeader } from "./madt-x86.ts";

/**
 * Structure type 0x11: the interrupt controller of a LoongArch core, and so a processor. `flags`: bit 0 enabled.
 *
 * @public
 */
export interface MadtCorePic extends MadtEntryHeader {
  readonly type: 17;
  readonly kind: "core-pic";
  readonly version: number;
  readonly acpiProcessorUid: number;
  readonly coreId: number;
  readonly flags: number;
}

/**
 * Structure type 0x12: the legacy I/O interrupt controller of a LoongArch machine.
 *
 * @public
 */
export interface MadtLioPic extends MadtEntryHeader {
  readonly type: 18;
  readonly kind: "lio-pic";
  readonly version: number;
  readonly address: bigint;
  /** Bytes of registers; so in all that follow. */
  readonly size: number;
  /** Two vectors it is cascaded to. */
  readonly cascade: readonly number[];
  /** Two masks of the sources that go to each. */
  readonly cascadeMap: readonly number[];
}

/**
 * Structure type 0x13: the HyperTransport interrupt controller of a LoongArch machine.
 *
 * @public
 */
export interface MadtHtPic extends MadtEntryHeader {
  readonly type: 19;
  readonly kind: "ht-pic";
  readonly version: number;
  readonly address: bigint;
  readonly size: number;
  /** Eight vectors it is cascaded to. */
  readonly cascade: readonly number[];
}

/**
 * Structure type 0x14: the extended I/O interrupt controller of a LoongArch machine.
 *
 * @public
 */
export interface MadtEioPic extends MadtEntryHeader {
  readonly type: 20;
  readonly kind: "eio-pic";
  readonly version: number;
  readonly cascade: number;
  readonly node: number;
  readonly nodeMap: bigint;
}

/**
 * Structure type 0x15: the MSI controller of a LoongArch machine.
 *
 * @public
 */
export interface MadtMsiPic extends MadtEntryHeader {
  readonly type: 21;
  readonly kind: "msi-pic";
  readonly version: number;
  readonly messageAddress: bigint;
  readonly firstVector: number;
  readonly vectorCount: number;
}

/**
 * Structure type 0x16: the bridge I/O interrupt controller of a LoongArch machine.
 *
 * @public
 */
export interface MadtBioPic extends MadtEntryHeader {
  readonly type: 22;
  readonly kind: "bio-pic";
  readonly version: number;
  readonly address: bigint;
  readonly size: number;
  readonly hardwareId: number;
  readonly gsiBase: number;
}

/**
 * Structure type 0x17: the LPC interrupt controller of a LoongArch machine.
 *
 * @public
 */
export interface MadtLpcPic extends MadtEntryHeader {
  readonly type: 23;
  readonly kind: "lpc-pic";
  readonly version: number;
  readonly address: bigint;
  readonly size: number;
  readonly cascade: number;
}
