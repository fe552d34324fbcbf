import { constants } from "node:os";
import { styleText } from "node:util";
import { SingleBar } from "cli-progress";
import { Command, Option } from "commander";
import { emulate, type RunArtefacts } from "../experiment/emulation.ts";
import { defaultScenarioFile, loadScenario, type Scenario } from "../experiment/scenario.ts";
import { formatLine } from "../kernel/kernel-log.ts";
import { writeArtefacts } from "../report/artefacts.ts";
import { reportText } from "../report/text.ts";
import { runOnThreads } from "../substrate/run-on-threads.ts";
import { print, printJson, wholeNumber } from "./input.ts";

interface RunOptions {
  readonly machine?: string;
  readonly pcap?: string;
  readonly cpus?: number;
  readonly seed?: number;
  readonly substrate: "virtual" | "threads";
  readonly json?: boolean;
  readonly out?: string;
}

const HELP = `
Examples:
  kernel-sim run
  kernel-sim run --machine server-4n --seed 7 --json
  kernel-sim run scenario.json --pcap capture.pcap --out results
  kernel-sim run --substrate threads --cpus 2

With --out DIR: report.json, report.txt, dmesg.txt, interrupts.txt, rcu_trace.txt (ftrace text; emulated machine), profile.txt, profile.csv,
profile.json, profile.collapsed (flame graph input) and profile.perf (perf script text).`;

/** `kernel-sim run [SCENARIO.json]`: the main job. */
export function runCommand(): Command {
  return new Command("run")
    .description("boot a machine and run a scenario on it: the main job")
    .argument("[scenario]", "a scenario file; the default scenario when left out")
    .option(
      "--machine <name>",
      "a machine that comes with kernel-sim, a folder of ACPI tables, a file of acpidump, or host",
    )
    .option("--pcap <file>", "play this capture (pcap, pcapng)")
    .option("--cpus <n>", "bring up at most this many CPUs", wholeNumber(1, 256))
    .option("--seed <n>", "seed of everything random", wholeNumber(0, 0xffffffff))
    .addOption(
      new Option("--substrate <kind>", "virtual: the emulated machine; threads: real worker threads")
        .choices(["virtual", "threads"])
        .default("virtual"),
    )
    .option("--json", "print the report as JSON")
    .option("--out <dir>", "write the artefacts into this folder")
    .addHelpText("after", HELP)
    .action(run);
}

async function run(file: string | undefined, options: RunOptions): Promise<void> {
  const { machine, pcap, cpus, seed, substrate } = options;
  const scenario = loadScenario(file ?? defaultScenarioFile, {
    ...(machine === undefined ? {} : { machine }),
    ...(pcap === undefined ? {} : { pcap }),
    ...(cpus === undefined ? {} : { cpus }),
    ...(seed === undefined ? {} : { seed }),
  });
  const quiet = options.json === true;
  const bar = progressBar();
  const stop = endOnSignals(bar);
  try {
    const { report, files } = await execute(scenario, substrate, quiet, bar);
    if (options.out !== undefined) writeArtefacts(options.out, { ...files, "report.txt": reportText(report) });
    if (quiet) printJson(report);
    else print(`\n${reportText(report, inBold)}`);
  } finally {
    stop();
  }
}

/**
 * Ctrl-C and SIGTERM end the process between two turns of the event loop, so never while artefacts are written. Call the result
 * to have them end it in their own way again.
 */
function endOnSignals(bar: SingleBar): () => void {
  const end = (signal: NodeJS.Signals): void => {
    bar.stop();
    process.exit(128 + constants.signals[signal]);
  };
  const signals = ["SIGINT", "SIGTERM"] as const;
  for (const signal of signals) process.once(signal, end);
  return () => {
    for (const signal of signals) process.off(signal, end);
  };
}

/** Bold where standard output is a terminal that wants colours (https://no-color.org). */
function inBold(title: string): string {
  const wanted = process.stdout.isTTY && process.env["NO_COLOR"] === undefined && process.env["TERM"] !== "dumb";
  return wanted ? styleText("bold", title) : title;
}

/** The bar is on standard error, on a terminal only, and is gone when the run is over. */
function progressBar(): SingleBar {
  return new SingleBar({
    stream: process.stderr,
    format: "replaying [{bar}] {percentage}% | {value}/{total} packets | {eta_formatted} left",
    clearOnComplete: true,
    hideCursor: true,
    noTTYOutput: false,
  });
}

async function execute(
  scenario: Scenario,
  substrate: RunOptions["substrate"],
  quiet: boolean,
  bar: SingleBar,
): Promise<RunArtefacts> {
  const showBar = process.stderr.isTTY;
  const hooks = {
    onLine: quiet ? undefined : (line: { timeNs: number; text: string }): void => print(formatLine(line)),
    onStart: (total: number): void => {
      if (showBar) bar.start(total, 0);
    },
    onProgress: (packets: number): void => {
      if (showBar) bar.update(packets);
    },
  };
  try {
    return await (substrate === "virtual" ? emulate(scenario, hooks) : runOnThreads(scenario, hooks));
  } finally {
    if (showBar) bar.stop();
  }
}
