import { Command } from "commander";
import { bootOnly } from "../experiment/emulation.ts";
import { defaultScenarioFile, loadScenario } from "../experiment/scenario.ts";
import { formatLine } from "../kernel/kernel-log.ts";
import { print, printJson, wholeNumber } from "./input.ts";

/** `kernel-sim boot [--machine …]`. */
export function bootCommand(): Command {
  return new Command("boot")
    .description("boot a machine and print its log, nothing else")
    .option(
      "--machine <name>",
      "a machine that comes with kernel-sim, a folder of ACPI tables, a file of acpidump, or host",
    )
    .option("--cpus <n>", "bring up at most this many CPUs", wholeNumber(1, 256))
    .option("--json", "print the lines as JSON")
    .addHelpText("after", "\nExample:\n  kernel-sim boot --machine laptop")
    .action((options: { machine?: string; cpus?: number; json?: boolean }) => {
      const { machine, cpus } = options;
      const scenario = loadScenario(defaultScenarioFile, {
        ...(machine === undefined ? {} : { machine }),
        ...(cpus === undefined ? {} : { cpus }),
      });
      const lines = bootOnly(scenario);
      if (options.json === true) printJson(lines);
      else print(lines.map((line) => `${formatLine(line)}\n`).join(""));
    });
}
