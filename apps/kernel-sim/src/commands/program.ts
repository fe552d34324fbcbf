import { Command } from "commander";
import { packageVersion } from "../package-folder.ts";
import { acpiCommand } from "./acpi.ts";
import { bootCommand } from "./boot.ts";
import { convertCommand } from "./convert.ts";
import { flowsCommand } from "./flows.ts";
import { hashCommand } from "./hash.ts";
import { litmusCommand } from "./litmus.ts";
import { machinesCommand } from "./machines.ts";
import { proxyCommand } from "./proxy.ts";
import { replayCommand } from "./replay.ts";
import { runCommand } from "./run.ts";
import { topologyCommand } from "./topology.ts";

const HELP = `
Examples:
  kernel-sim run                                   the default scenario on the two-socket machine
  kernel-sim run --machine laptop --cpus 4 --json  as JSON, on four CPUs of the laptop
  kernel-sim run my.json --pcap day.pcap --out out your scenario over your capture; artefacts in out/
  kernel-sim run --substrate threads --cpus 2      the same data path on real worker threads
  kernel-sim boot --machine server-4n              only the boot log
  kernel-sim acpi /sys/firmware/acpi/tables/APIC   decode tables
  kernel-sim topology --host                       like numactl --hardware
  kernel-sim flows capture.pcapng --json           what the parser and the tracker see in a capture
  kernel-sim replay in.pcap --out out.pcap         what leaves the machine, as a capture
  kernel-sim hash --vectors vectors.json --json    hashes and checksums of a list of inputs
  kernel-sim litmus program.json --model tso       every outcome of a small concurrent program
  kernel-sim proxy --config proxy.json             a real proxy, on real sockets

Exit status: 0 answered, 1 a fault of the program, 2 input or usage that cannot be used, 130 interrupted, 143 terminated.`;

/** The whole command line. Errors are thrown, nothing exits the process. */
export function program(): Command {
  const root = new Command("kernel-sim")
    .description("An emulated many-core NUMA machine: boots from ACPI tables, runs a proxy over real captures.")
    .version(packageVersion)
    .addHelpText("after", HELP)
    .showHelpAfterError("(kernel-sim --help tells everything)");
  for (const command of [
    runCommand(),
    bootCommand(),
    acpiCommand(),
    topologyCommand(),
    flowsCommand(),
    replayCommand(),
    hashCommand(),
    litmusCommand(),
    convertCommand(),
    machinesCommand(),
    proxyCommand(),
  ]) {
    root.addCommand(command.exitOverride());
  }
  return root.exitOverride();
}
