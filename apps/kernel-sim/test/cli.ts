import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { packageFolder } from "../src/package-folder.ts";

/** What one call of the program gave. */
export interface Outcome {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Run the built program as a user would, without a terminal. */
export function kernelSim(args: readonly string[], node: string = process.execPath): Outcome {
  const { status, stdout, stderr } = spawnSync(node, [join(packageFolder, "bin", "kernel-sim.js"), ...args], {
    encoding: "utf8",
    maxBuffer: 1 << 28,
  });
  return { status, stdout, stderr };
}

/** The JSON a call printed; fails the test when the call failed. */
// oxlint-disable-next-line typescript/no-unnecessary-type-parameters -- the caller says what it expects
export function kernelSimJson<T>(args: readonly string[], node?: string): T {
  const outcome = kernelSim([...args, "--json"], node);
  if (outcome.status !== 0)
    throw new Error(`kernel-sim ${args.join(" ")}: status ${outcome.status}: ${outcome.stderr}`);
  return JSON.parse(outcome.stdout) as T;
}
