/**
 * Worker threads of Node.js as CPUs, and the files of ACPI tables.
 *
 * @packageDocumentation
 */
export { CpuThreads, startCpus, type StartCpusOptions } from "./start-cpus.ts";
export type { DeadOwnerRecovery, DeadThreadOptions } from "./dead-thread.ts";
export { attachAsCpu, CpuSeats, type AttachedCpu, type CpuSeatsHandle } from "./cpu-seats.ts";
export { pinThread, type PinResult } from "./host-pinning.ts";
export { joinAsCpu, type CpuContext } from "./join-as-cpu.ts";
export { ACPI_TABLES_FOLDER, readAcpiFiles, type AcpiFile } from "./acpi-files.ts";
