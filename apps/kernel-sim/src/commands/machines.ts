import { Command } from "commander";
import { loadMachine, machineNames } from "../experiment/machine-image.ts";
import { print, printJson } from "./input.ts";

/** `kernel-sim machines [--json]`. */
export function machinesCommand(): Command {
  return new Command("machines")
    .description("the machines that come with kernel-sim")
    .option("--json", "print JSON")
    .action((options: { json?: boolean }) => {
      const machines = machineNames().map((name) => {
        const { model, mhz, tables } = loadMachine(name);
        return { name, model, mhz, tables: tables.length };
      });
      if (options.json === true) printJson(machines);
      else print(machines.map(({ name, model }) => `${name.padEnd(14)} ${model}\n`).join(""));
    });
}
