// `npm start [-- ARGUMENTS]`: installs and builds what is missing, then runs kernel-sim. Arguments that begin with a command
// (`npm start -- boot --machine laptop`) are passed as they are; others belong to `kernel-sim run`.
import "./require-node.mjs";
import { spawn } from "node:child_process";
import { join } from "node:path";
import { kernelSimArguments } from "./arguments.mjs";
import { ensureBuilt, ensureInstalled, root } from "./workspace.mjs";

ensureInstalled();
ensureBuilt();

const program = join(root, "apps/kernel-sim/bin/kernel-sim.js");
const child = spawn(process.execPath, [program, ...kernelSimArguments(process.argv.slice(2))], { stdio: "inherit" });
for (const signal of /** @type {const} */ (["SIGINT", "SIGTERM"])) process.on(signal, () => child.kill(signal));
child.on("exit", (status, signal) => {
  process.exitCode = signal === null ? (status ?? 1) : 1;
});
