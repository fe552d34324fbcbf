import type { RunArtefacts, RunHooks } from "../experiment/emulation.ts";
import type { Scenario } from "../experiment/scenario.ts";
export function runOnThreads(_s: Scenario, _h: RunHooks): Promise<RunArtefacts> { throw new Error("x"); }
