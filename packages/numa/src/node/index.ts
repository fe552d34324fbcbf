/**
 * NUMA topology from the files of a Linux host.
 *
 * @packageDocumentation
 */
export { readHostTopology, readSysfsTopology } from "./sysfs.ts";
