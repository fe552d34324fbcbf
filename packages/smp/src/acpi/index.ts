/**
 * ACPI system description tables: header, root pointers, MADT.
 *
 * @packageDocumentation
 */
export { SmpError, CodedError, type ErrorLocation, type SmpErrorCode } from "../errors.ts";
export {
  ACPI_HEADER_BYTES,
  asciiAt,
  dataView,
  parseAcpiTable,
  walkSubtables,
  type AcpiHeader,
  type AcpiProblem,
  type AcpiTable,
} from "./table.ts";
export { isAcpiDump, parseAcpiDump, type AcpiDumpTable } from "./dump.ts";
export { findRsdp, loadAcpiTables, parseRootTable, parseRsdp, type AcpiMemory, type Rsdp } from "./root.ts";
export {
  madtLocalApicAddress,
  parseMadt,
  type Madt,
  type MadtEntry,
  type MadtKnownEntry,
  type MadtUnknown,
} from "./madt.ts";
export { madtProcessors, type MadtProcessor } from "./madt-processors.ts";
export type {
  MadtEntryHeader,
  MadtInterruptOverride,
  MadtIoApic,
  MadtLocalApic,
  MadtLocalApicAddress,
  MadtLocalApicNmi,
  MadtLocalX2Apic,
  MadtLocalX2ApicNmi,
  MadtMultiprocessorWakeup,
  MadtNmiSource,
} from "./madt-x86.ts";
export type { MadtIoSapic, MadtLocalSapic, MadtPlatformInterruptSource } from "./madt-itanium.ts";
export type { MadtGicc, MadtGicd, MadtGicIts, MadtGicMsiFrame, MadtGicr } from "./madt-arm.ts";
export type {
  MadtBioPic,
  MadtCorePic,
  MadtEioPic,
  MadtHtPic,
  MadtLioPic,
  MadtLpcPic,
  MadtMsiPic,
} from "./madt-loongarch.ts";
export type { MadtAplic, MadtImsic, MadtPlic, MadtRintc } from "./madt-riscv.ts";
export {
  buildAcpiTable,
  buildMadt,
  buildRsdp,
  buildRsdt,
  buildXsdt,
  type AcpiIds,
  type AcpiTableSpec,
  type MadtEntrySpec,
  type SpecOf,
} from "./build.ts";
