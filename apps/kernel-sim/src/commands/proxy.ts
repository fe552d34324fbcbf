import { validateRelayConfig, type EngineName, type RelayConfig, type RelayConnection } from "@x/proxy-dataplane";
import {
  control,
  serveControl,
  serveMetrics,
  startProxy,
  type ProxyStatus,
  type RunningProxy,
} from "@x/proxy-dataplane/node";
import { Command } from "commander";
import { SimError } from "../errors.ts";
import { inFile, print, printJson, readInput, wholeNumber } from "./input.ts";
import { proxyTop, statusText, connectionsText } from "./proxy-views.ts";

interface RunOptions {
  readonly config: string;
  readonly workers?: number;
  readonly engine?: EngineName;
  readonly pcap?: string;
  readonly check?: boolean;
}

interface AskOptions {
  readonly control?: string;
  readonly config?: string;
  readonly json?: boolean;
  readonly timeout?: number;
  readonly interval?: number;
}

const HELP = `
Signals: SIGHUP reads the configuration again, SIGUSR1 begins new access logs, SIGTERM and SIGINT drain (a second one ends at once).

Examples:
  kernel-sim proxy --config proxy.json             run it
  kernel-sim proxy --config proxy.json --check     only look whether the configuration is valid
  kernel-sim proxy --config proxy.json --pcap day.pcap   write what passes, as packets between clients and targets
  kernel-sim run --pcap day.pcap                   and ask the emulated machine what if
  kernel-sim proxy status --config proxy.json      ask the running one, by the control socket that the file names
  kernel-sim proxy connections --control /run/proxy.sock --json
  kernel-sim proxy top --config proxy.json         rates and the busiest connections, every second
  kernel-sim proxy kill 4711 --config proxy.json
  kernel-sim proxy reload --config proxy.json
  kernel-sim proxy drain --config proxy.json --timeout 60000

A small configuration:
  { "version": 1, "control": "/tmp/proxy.sock", "listeners": [{ "kind": "mixed", "listen": "127.0.0.1:1080" }] }`;

/** Of the subcommands. */
const EXAMPLES: Readonly<Record<string, string>> = {
  status: `  kernel-sim proxy status --config proxy.json
  kernel-sim proxy status --control /run/proxy.sock --json | jq .counters`,
  connections: `  kernel-sim proxy connections --config proxy.json
  kernel-sim proxy connections --control /run/proxy.sock --json | jq '.[] | select(.user == "joe")'`,
  kill: `  kernel-sim proxy kill 4711 --config proxy.json`,
  drain: `  kernel-sim proxy drain --config proxy.json                  wait as long as the configuration says
  kernel-sim proxy drain --config proxy.json --timeout 5000   at most 5 s`,
  reload: `  kernel-sim proxy reload --config proxy.json   the running proxy reads its own file again; a wrong one changes nothing`,
  "reopen-logs": `  mv access.log access.log.1 && kernel-sim proxy reopen-logs --config proxy.json`,
  top: `  kernel-sim proxy top --config proxy.json
  kernel-sim proxy top --control /run/proxy.sock --interval 5000`,
};

/** `kernel-sim proxy --config FILE`, and what asks a running one. */
export function proxyCommand(): Command {
  const command = new Command("proxy")
    .description(
      "the proxy on real sockets, across worker threads: SOCKS, HTTP CONNECT, TCP and UDP forwarding, transparent",
    )
    .option("--config <file>", "configuration, JSON")
    .option("--workers <n>", "worker threads", wholeNumber(1, 256))
    .option("--engine <name>", "auto, node or epoll")
    .option("--pcap <file>", "write what passes as a capture; in place of the configuration's")
    .option("--check", "validate the configuration and exit")
    .addHelpText("after", HELP)
    .action((options: Partial<RunOptions>) => {
      if (options.config === undefined) throw new SimError("SIM_USAGE", "--config FILE is missing");
      return run(options as RunOptions);
    });
  for (const each of [
    statusCommand(),
    connectionsCommand(),
    killCommand(),
    drainCommand(),
    simple("reload"),
    simple("reopen-logs"),
    topCommand(),
  ]) {
    command.addCommand(each.exitOverride());
  }
  return command;
}

function asking(name: string, description: string): Command {
  return new Command(name)
    .description(description)
    .option("--control <path>", "control socket of the running proxy")
    .option("--config <file>", "configuration that names the control socket")
    .option("--json", "print JSON")
    .addHelpText("after", `\nExamples:\n${EXAMPLES[name]}`);
}

function statusCommand(): Command {
  return asking("status", "how a running proxy is").action(async (_options: AskOptions, command: Command) => {
    const options = command.optsWithGlobals<AskOptions>();
    const status = await control(socketOf(options), "GET", "/status");
    if (options.json === true) printJson(status);
    else print(statusText(status as ProxyStatus));
  });
}

function connectionsCommand(): Command {
  return asking("connections", "open connections").action(async (_options: AskOptions, command: Command) => {
    const options = command.optsWithGlobals<AskOptions>();
    const connections = await control(socketOf(options), "GET", "/connections");
    if (options.json === true) printJson(connections);
    else print(connectionsText(connections as readonly RelayConnection[]));
  });
}

function killCommand(): Command {
  return asking("kill", "end a connection")
    .argument("<id>", "as connections shows it", wholeNumber(1, 2 ** 32 - 1))
    .action(async (id: number, _options: AskOptions, command: Command) => {
      const options = command.optsWithGlobals<AskOptions>();
      const { ended } = (await control(socketOf(options), "POST", `/kill?id=${id}`)) as { ended: boolean };
      if (!ended) throw new SimError("SIM_INPUT", `there is no connection ${id}`);
      if (options.json === true) printJson({ ended });
      else print(`connection ${id} ended`);
    });
}

function drainCommand(): Command {
  return asking("drain", "take no new connections, wait for those open, end")
    .option("--timeout <ms>", "end the rest after this", wholeNumber(0, 86_400_000))
    .action(async (_options: AskOptions, command: Command) => {
      const options = command.optsWithGlobals<AskOptions>();
      const query = options.timeout === undefined ? "" : `?timeoutMs=${options.timeout}`;
      printAnswer(await control(socketOf(options), "POST", `/drain${query}`), options);
    });
}

function simple(name: "reload" | "reopen-logs"): Command {
  const description = name === "reload" ? "read the configuration again" : "begin new access logs";
  return asking(name, description).action(async (_options: AskOptions, command: Command) => {
    const options = command.optsWithGlobals<AskOptions>();
    printAnswer(await control(socketOf(options), "POST", `/${name}`), options);
  });
}

function topCommand(): Command {
  return asking("top", "connections and rates, again and again")
    .option("--interval <ms>", "time between two views", wholeNumber(100, 60_000), 1000)
    .action(async (_options: AskOptions, command: Command) => {
      const options = command.optsWithGlobals<AskOptions>();
      await proxyTop(socketOf(options), options.interval ?? 1000);
    });
}

function printAnswer(answer: unknown, options: AskOptions): void {
  if (options.json === true) printJson(answer);
  else
    print(
      Object.entries(answer as object)
        .map(([name, value]) => `${name}: ${String(value)}`)
        .join("\n"),
    );
}

function socketOf({ control: path, config }: AskOptions): string {
  if (path !== undefined) return path;
  const named = config === undefined ? undefined : readConfig(config).control;
  if (named !== undefined) return named;
  throw new SimError("SIM_USAGE", "--control PATH, or --config FILE with a control socket, is missing");
}

function readConfig(file: string): RelayConfig {
  return inFile(file, () => {
    const text = new TextDecoder().decode(readInput(file));
    let config: RelayConfig;
    try {
      config = JSON.parse(text) as RelayConfig;
    } catch (cause) {
      throw new SimError("SIM_INPUT", `is not JSON: ${(cause as Error).message}`, { file }, { cause });
    }
    validateRelayConfig(config);
    return config;
  });
}

async function run(options: RunOptions): Promise<void> {
  const read = (): RelayConfig => {
    const config = readConfig(options.config);
    const { workers, engine, pcap } = options;
    return {
      ...config,
      ...(workers === undefined ? {} : { workers }),
      ...(engine === undefined ? {} : { engine }),
      ...(pcap === undefined ? {} : { pcap }),
    };
  };
  const config = read();
  if (options.check === true) return print("the configuration is valid");
  const proxy = await startProxy(config, { onMessage: log });
  const ended = new Promise<void>((resolve) => watch(proxy, read, resolve));
  for (const each of proxy.status().listeners) log(`${each.kind} on ${each.listen}`);
  log(`${proxy.workers} workers, process ${process.pid}`);
  await ended;
}

/** Signals, control socket and metrics, until the proxy has ended. */
function watch(proxy: RunningProxy, read: () => RelayConfig, onEnd: () => void): void {
  const reload = async (): Promise<number> => {
    const version = await proxy.reload(read());
    log(`configuration ${version}`);
    return version;
  };
  let isEnding = false;
  const end = async (timeoutMs?: number): Promise<void> => {
    if (isEnding) return proxy.close();
    isEnding = true;
    log(`draining ${proxy.status().connections} connections`);
    const cut = await proxy.drain(timeoutMs);
    log(`ended, ${cut} connections cut off`);
    for (const server of servers) server.close();
    onEnd();
  };
  const servers: { close(): void }[] = [];
  void serve(proxy, { reload, drain: (timeoutMs) => void end(timeoutMs) }, servers);
  process.on("SIGHUP", () => void reload().catch((error: Error) => log(`not reloaded: ${error.message}`)));
  process.on("SIGUSR1", () => void proxy.reopenLogs());
  process.on("SIGTERM", () => void end());
  process.on("SIGINT", () => void end());
}

async function serve(
  proxy: RunningProxy,
  actions: Parameters<typeof serveControl>[2],
  servers: { close(): void }[],
): Promise<void> {
  const { control: path, metrics } = proxy.config;
  try {
    if (path !== undefined) servers.push(await serveControl(proxy, path, actions));
    if (metrics !== undefined) servers.push(await serveMetrics(proxy, metrics));
  } catch (error) {
    log((error as Error).message);
    process.exitCode = 2;
    actions.drain(0);
  }
}

function log(text: string): void {
  process.stderr.write(`${new Date().toISOString()} ${text}\n`);
}
