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
