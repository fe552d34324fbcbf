/**
 * Worker threads of Node.js as CPUs, and the files of ACPI tables.
 *
 * @packageDocumentation
 */
export { CpuThreads, startCpus, type DeadOwnerRecovery, type StartCpusOptions } from "./start-cpus.ts";
export { joinAsCpu, type CpuContext } from "./join-as-cpu.ts";
export { ACPI_TABLES_FOLDER, readAcpiFiles, type AcpiFile } from "./acpi-files.ts";
