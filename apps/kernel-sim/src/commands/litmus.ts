import { Command, Option } from "commander";
import { SimError } from "../errors.ts";
import { runLitmus, type LitmusReport } from "../litmus/litmus.ts";
import type { MemoryModel } from "../litmus/machine.ts";
import { inFile, print, printJson, readInput } from "./input.ts";

/** `kernel-sim litmus FILE [--model sc|tso] [--json]`. */
export function litmusCommand(): Command {
  return new Command("litmus")
    .description("every outcome of a small concurrent program: accesses, fences, locks, RCU, SRCU")
    .argument("<file>", "the program, as JSON")
    .addOption(
      new Option("--model <model>", "sc: sequential consistency; tso: with store buffers, as x86")
        .choices(["sc", "tso"])
        .default("sc"),
    )
    .option("--json", "print JSON")
    .addHelpText("after", "\nExample:\n  kernel-sim litmus my-program.json --model tso")
    .action((file: string, { model, json }: { model: MemoryModel; json?: boolean }) => {
      const report = inFile(file, () => runLitmus(parse(readInput(file)), model));
      if (json === true) printJson(report);
      else print(litmusText(report));
    });
}

function parse(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch (cause) {
    throw new SimError("SIM_INPUT", "is not JSON", {}, { cause });
  }
}

/** As herd prints it. */
function litmusText(report: LitmusReport): string {
  const { name, model, states, condition, quantifier, verdict, positive } = report;
  const negative = states.length - positive;
  const isOk = quantifier === "forall" ? negative === 0 : positive > 0;
  const lines = [
    `Test ${name} ${quantifier === "forall" ? "Required" : "Allowed"} (${model})`,
    `States ${states.length}`,
    ...states,
    isOk ? "Ok" : "No",
    "Witnesses",
    `Positive: ${positive} Negative: ${negative}`,
    `Condition ${quantifier} ${condition}`,
    `Observation ${name} ${verdict} ${positive} ${negative}`,
  ];
  if (report.deadlock) lines.push("Deadlock: some execution cannot finish");
  if (report.fault) lines.push("Fault: some execution uses what is no address, or ends a section that did not begin");
  if (!report.exhausted) lines.push(`Not exhausted: gave up after ${report.explored} states`);
  return lines.join("\n");
}
