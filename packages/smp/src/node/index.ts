/**
 * Worker threads of Node.js as CPUs.
 *
 * @packageDocumentation
 */
export { CpuThreads, startCpus, type StartCpusOptions } from "./start-cpus.ts";
export { joinAsCpu, type CpuContext } from "./join-as-cpu.ts";
