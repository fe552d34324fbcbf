/**
 * NUMA topology from the files of a machine: its sysfs, or a dump of its ACPI tables.
 *
 * @packageDocumentation
 */
export { readAcpiTopology } from "./acpi-folder.ts";
export { readHostTopology, readSysfsTopology } from "./sysfs.ts";
