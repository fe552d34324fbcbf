import { Command } from "commander";
import { packageVersion } from "../package-folder.ts";

/** Each is loaded when it is asked for: all of them take several times as long as most commands. */
const COMMANDS: Readonly<Record<string, () => Promise<Command>>> = {
  run: async () => (await import("./run.ts")).runCommand(),
  boot: async () => (await import("./boot.ts")).bootCommand(),
  acpi: async () => (await import("./acpi.ts")).acpiCommand(),
  topology: async () => (await import("./topology.ts")).topologyCommand(),
  flows: async () => (await import("./flows.ts")).flowsCommand(),
  replay: async () => (await import("./replay.ts")).replayCommand(),
  hash: async () => (await import("./hash.ts")).hashCommand(),
  litmus: async () => (await import("./litmus.ts")).litmusCommand(),
  convert: async () => (await import("./convert.ts")).convertCommand(),
  machines: async () => (await import("./machines.ts")).machinesCommand(),
  proxy: async () => (await import("./proxy.ts")).proxyCommand(),
};

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

/** The command line that `words` are for: with all commands, or with the one they name. Errors are thrown, nothing exits the process. */
export async function program(words: readonly string[]): Promise<Command> {
  const root = new Command("kernel-sim")
    .description("An emulated many-core NUMA machine: boots from ACPI tables, runs a proxy over real captures.")
    .version(packageVersion)
    .addHelpText("after", HELP)
    .showHelpAfterError("(kernel-sim --help tells everything)");
  const named = words[0] !== undefined && Object.hasOwn(COMMANDS, words[0]) ? [words[0]] : Object.keys(COMMANDS);
  for (const name of named) root.addCommand((await COMMANDS[name]()).exitOverride());
  return root.exitOverride();
}
