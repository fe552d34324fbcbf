import { CodedError } from "@x/smp";
import { CommanderError } from "commander";
import { describe } from "./errors.ts";
import { program } from "./commands/program.ts";

/** Exit statuses: 0 answered, 1 a fault of the program, 2 input or usage that cannot be used, 130 interrupted, 143 terminated. */
async function main(): Promise<number> {
  try {
    await (await program(process.argv.slice(2))).parseAsync(process.argv);
    return process.exitCode === undefined ? 0 : Number(process.exitCode);
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    if (!(error instanceof CodedError)) throw error;
    process.stderr.write(`kernel-sim: ${describe(error)}\n`);
    return 2;
  }
}

// A reader that goes away (`kernel-sim boot | head`) is no fault.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit(0);
  throw error;
});
process.exitCode = await main();
