import { writeFileSync } from "node:fs";
import { Command } from "commander";
import { SimError } from "../errors.ts";
import { emulate, loadCapture } from "../experiment/emulation.ts";
import { Recorder } from "../experiment/recorder.ts";
import { defaultScenarioFile, loadScenario, type Scenario } from "../experiment/scenario.ts";
import { print, printJson, wholeNumber } from "./input.ts";

interface ReplayOptions {
  readonly out: string;
  readonly scenario?: string;
  readonly machine?: string;
  readonly cpus?: number;
  readonly json?: boolean;
}

const HELP = `
The capture is played once, by one client, through the machine's data path with the scenario's configuration; hosts behind
the machine answer from where they were asked. The file is pcap, or pcapng where the capture has several link types.

Examples:
  kernel-sim replay in.pcap --out out.pcap
  kernel-sim replay in.pcapng --out out.pcap --scenario my.json --json`;

/** `kernel-sim replay IN --out OUT`: what leaves the machine, as a capture. */
export function replayCommand(): Command {
  return new Command("replay")
    .description("play a capture through the machine and write what left it")
    .argument("<file>", "the capture (pcap, pcapng)")
    .requiredOption("--out <file>", "where what left is written")
    .option("--scenario <file>", "whose machine and configuration to use; the default scenario's when left out")
    .option("--machine <name>", "a machine that comes with kernel-sim, a folder of ACPI tables, or host")
    .option("--cpus <n>", "bring up at most this many CPUs", wholeNumber(1, 256))
    .option("--json", "print the figures as JSON")
    .addHelpText("after", HELP)
    .action(replay);
}

async function replay(file: string, options: ReplayOptions): Promise<void> {
  const { machine, cpus } = options;
  const scenario = loadScenario(options.scenario ?? defaultScenarioFile, {
    pcap: file,
    ...(machine === undefined ? {} : { machine }),
    ...(cpus === undefined ? {} : { cpus }),
  });
  const capture = loadCapture(file);
  let recorder: Recorder | undefined;
  await emulate(once(scenario), {
    tap: (wire, of, pool) => (recorder = new Recorder(wire, of, pool)),
  });
  if (recorder === undefined) throw new SimError("SIM_OUTPUT", "nothing was recorded", { file: options.out });
  writeFile(options.out, recorder.file(capture));
  const figures = { packetsIn: capture.count, packetsOut: recorder.count, file: options.out };
  if (options.json === true) printJson(figures);
  else print(`${figures.packetsIn} packets in, ${figures.packetsOut} out, written to ${options.out}`);
}

function writeFile(file: string, bytes: Uint8Array): void {
  try {
    writeFileSync(file, bytes);
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    throw new SimError("SIM_OUTPUT", `cannot be written (${code ?? "error"})`, { file }, { cause });
  }
}

/** The scenario's machine and configuration, whole packets, and nothing else that happens. */
function once(scenario: Scenario): Scenario {
  return {
    ...scenario,
    traffic: { ...scenario.traffic, repeat: 1, clients: 1 },
    nic: { ...scenario.nic, headerSplit: false },
    threads: [],
    events: [],
  };
}
