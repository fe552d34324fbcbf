/**
 * The emulated machine, for programs: what `kernel-sim run` does, as functions.
 *
 * @packageDocumentation
 */
export { SimError, type SimErrorCode } from "./errors.ts";
export { loadMachine, machineNames, type MachineImage } from "./experiment/machine-image.ts";
export { defaultScenarioFile, loadScenario, validateScenario, type Scenario } from "./experiment/scenario.ts";
export { bootMachine, emulate, type RunArtefacts, type RunHooks } from "./experiment/emulation.ts";
export type { RunReport } from "./report/run-report.ts";
