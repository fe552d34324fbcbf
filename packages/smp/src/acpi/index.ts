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
export { findRsdp, loadAcpiTables, parseRootTable, parseRsdp, type AcpiMemory, type Rsdp } from "./root.ts";
export {
  madtLocalApicAddress,
  madtProcessors,
  parseMadt,
  type Madt,
  type MadtEntry,
  type MadtEntryHeader,
  type MadtInterruptOverride,
  type MadtIoApic,
  type MadtKnownEntry,
  type MadtLocalApic,
  type MadtLocalApicAddress,
  type MadtLocalApicNmi,
  type MadtLocalX2Apic,
  type MadtLocalX2ApicNmi,
  type MadtNmiSource,
  type MadtProcessor,
  type MadtUnknown,
} from "./madt.ts";
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
