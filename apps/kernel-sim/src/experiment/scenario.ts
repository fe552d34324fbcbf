import { readFileSync } from "node:fs";
import { dirname, isAbsolute, join, resolve } from "node:path";
import { parseAddress, validateProxyConfig, type ProxyConfig } from "@x/proxy-dataplane";
import { CodedError, CpuMask, type SpinningKind } from "@x/smp";
import { Ajv, type ErrorObject } from "ajv";
import { SimError } from "../errors.ts";
import { packageFolder } from "../package-folder.ts";

/** Module parameters of the proxy, as `insmod` takes them. */
export interface ScenarioParameters {
  readonly perf_enable_batching?: boolean;
  readonly perf_enable_zero_copy?: boolean;
  readonly perf_enable_rcu?: boolean;
  readonly perf_batch_size?: number;
  readonly perf_cache_size?: number;
}

/** The upstream servers the proxy chooses from, and the rules of what goes there. */
export type ScenarioConfig = Omit<ProxyConfig, "version">;

/** One step of a thread's program; the program repeats from its first step. */
export type ThreadStep =
  | { readonly computeUs: number }
  | { readonly readUs: number }
  | { readonly sleepUs: number }
  | { readonly awaitConnection: true }
  | { readonly remapPages: number };

/** A group of equal threads. */
export interface ScenarioThread {
  readonly name: string;
  readonly count: number;
  readonly cpus?: string;
  readonly priority: "low" | "normal" | "high" | "critical";
  /** Pages of 4 KiB each thread works on; the threads of a group share an address space. */
  readonly pages: number;
  readonly steps: readonly ThreadStep[];
}

/** CPUs, as lists, that go and then that come. */
export interface ScenarioCpuChange {
  readonly offline?: string;
  readonly online?: string;
}

/** A scenario with every default filled in; `schema/scenario.schema.json` says what each member means. */
export interface Scenario {
  readonly name: string;
  readonly machine: string;
  readonly cpus?: number;
  /** CPUs, as a list, whose processors never answer a start-up interrupt. */
  readonly deadCpus?: string;
  readonly seed: number;
  readonly traffic: {
    readonly pcap: string;
    readonly repeat: number;
    readonly clients: number;
    readonly packetsPerSecond: number;
  };
  readonly nic: {
    readonly queues?: number;
    readonly ringSize: number;
    readonly moderationUs: number;
    readonly budget: number;
    /** The card puts headers and payload into separate buffers, as cards can for zero-copy; no CPU looks at payload. */
    readonly headerSplit: boolean;
  };
  readonly kernel: {
    readonly hz: number;
    readonly timeSliceUs: number;
    readonly memoryMiBPerNode: number;
    readonly runQueueLock: SpinningKind;
    readonly lockStatistics: boolean;
    readonly lockValidator: boolean;
    readonly rcuStallMs: number;
  };
  readonly proxy: {
    readonly parameters: ScenarioParameters;
    readonly config?: ScenarioConfig;
    readonly maxConnections: number;
  };
  readonly threads: readonly ScenarioThread[];
  readonly events: readonly {
    readonly atMs: number;
    readonly parameters?: ScenarioParameters;
    readonly config?: ScenarioConfig;
    readonly cpus?: ScenarioCpuChange;
  }[];
  readonly profile: { readonly intervalUs: number; readonly maxSamples: number };
}

/** Members a command line may put in place of a scenario's own. */
export interface ScenarioOverrides {
  readonly machine?: string;
  readonly pcap?: string;
  readonly cpus?: number;
  readonly seed?: number;
}

/** The capture that is replayed when none is named. */
const defaultCapture: string = join(packageFolder, "captures", "loopback.pcap");

/** The scenario that runs when none is named. */
export const defaultScenarioFile: string = join(packageFolder, "scenarios", "default.json");

/**
 * Read and check a scenario file. Throws `SIM_SCENARIO` with the file and the JSON pointer of what is wrong. Paths inside
 * are made absolute.
 */
export function loadScenario(file: string, overrides: ScenarioOverrides = {}): Scenario {
  const value = parseFile(file);
  const scenario = validateScenario(value, file);
  const machine = overrides.machine ?? fromScenario(scenario.machine, file);
  const captured = scenario.traffic.pcap === "" ? defaultCapture : resolve(dirname(file), scenario.traffic.pcap);
  const merged: Scenario = {
    ...scenario,
    machine,
    traffic: { ...scenario.traffic, pcap: overrides.pcap === undefined ? captured : resolve(overrides.pcap) },
    ...(overrides.cpus === undefined ? {} : { cpus: overrides.cpus }),
    ...(overrides.seed === undefined ? {} : { seed: overrides.seed }),
  };
  return merged;
}

/** Check a value against the schema and fill in its defaults. The value is not changed. */
export function validateScenario(value: unknown, file = "scenario"): Scenario {
  const copy: unknown = structuredClone(value);
  const validate = (compiled ??= compile());
  if (validate(copy)) {
    const scenario = copy as Scenario;
    checkServers(scenario, file);
    return { ...scenario, traffic: { ...scenario.traffic, pcap: scenario.traffic.pcap ?? "" } };
  }
  const worst = deepest(validate.errors ?? []);
  throw new SimError("SIM_SCENARIO", problem(worst), {
    file,
    path: worst.instancePath === "" ? "/" : worst.instancePath,
  });
}

/** What the schema cannot say of addresses. */
function checkServers(scenario: Scenario, file: string): void {
  const configs = [
    { path: "/proxy/config", config: scenario.proxy.config },
    ...scenario.events.map(({ config }, at) => ({ path: `/events/${at}/config`, config })),
  ];
  for (const { path, config } of configs) {
    try {
      if (config === undefined) continue;
      validateProxyConfig({ version: 1, ...config });
      checkAddresses(config);
    } catch (cause) {
      if (!(cause instanceof CodedError)) throw cause;
      const location = { file, path: path + (cause.location.path ?? "") };
      throw new SimError("SIM_SCENARIO", cause.message, location, { cause });
    }
  }
}

/** Packets go to addresses; names are for proxies that hold connections. */
function checkAddresses({ servers }: ScenarioConfig): void {
  const at = servers.findIndex(({ address }) => parseAddress(address, new Int32Array(4), 0) === 0);
  if (at < 0) return;
  const location = { path: `/servers/${at}/address` };
  throw new SimError("SIM_SCENARIO", `${servers[at].address} is no IPv4 or IPv6 address`, location);
}

/** The CPUs of a machine of `cpus` whose processors do not start. Throws `SIM_SCENARIO` for CPUs it lacks, and for the boot processor. */
export function deadCpus(scenario: Scenario, cpus: number): CpuMask {
  const dead = cpuList(scenario.deadCpus ?? "", cpus, "/deadCpus");
  if (dead.has(0)) throw new SimError("SIM_SCENARIO", "CPU 0 boots the machine", { path: "/deadCpus" });
  return dead;
}

/**
 * Check the threads' CPUs against a machine of `cpus`, some of them dead. Throws `SIM_SCENARIO` for CPUs the machine lacks, and
 * for a group that could never run.
 */
export function checkThreadCpus(scenario: Scenario, cpus: number, dead: CpuMask): void {
  const online = new CpuMask(cpus);
  for (let cpu = 0; cpu < Math.min(scenario.cpus ?? cpus, cpus); cpu++) if (!dead.has(cpu)) online.add(cpu);
  scenario.threads.forEach((thread, at) => {
    if (thread.cpus === undefined) return;
    const path = `/threads/${at}/cpus`;
    if (cpuList(thread.cpus, cpus, path).intersects(online)) return;
    const message = `none of CPUs ${thread.cpus} is brought up (${online.toList()} are)`;
    throw new SimError("SIM_SCENARIO", message, { path });
  });
}

/** Check the CPUs that come and go against a machine of `cpus`. Throws `SIM_SCENARIO` for CPUs it lacks, and for the boot processor. */
export function checkCpuChanges({ events }: Scenario, cpus: number): void {
  for (const [at, event] of events.entries()) {
    for (const [way, list] of Object.entries(event.cpus ?? {}) as [string, string][]) {
      const path = `/events/${at}/cpus/${way}`;
      if (!cpuList(list, cpus, path).has(0)) continue;
      throw new SimError("SIM_SCENARIO", "CPU 0, the boot processor, stays online", { path });
    }
  }
}

function cpuList(list: string, cpus: number, path: string): CpuMask {
  try {
    return CpuMask.parseList(list, cpus);
  } catch (cause) {
    throw new SimError("SIM_SCENARIO", `${list} is no list of CPUs 0 to ${cpus - 1}`, { path }, { cause });
  }
}

type Validator = ReturnType<Ajv["compile"]>;
let compiled: Validator | undefined;

function compile(): Validator {
  const schema: unknown = JSON.parse(readFileSync(join(packageFolder, "schema", "scenario.schema.json"), "utf8"));
  return new Ajv({ useDefaults: true, allErrors: true, strict: true, strictTypes: false }).compile(schema as object);
}

/** The error farthest inside the document says most; of equals the first. */
function deepest(errors: readonly ErrorObject[]): ErrorObject {
  const depth = (error: ErrorObject): number =>
    error.instancePath.split("/").length - (error.keyword === "oneOf" ? 0.5 : 0);
  return errors.reduce((best, error) => (depth(error) > depth(best) ? error : best));
}

function problem(error: ErrorObject): string {
  const params = error.params as Record<string, unknown>;
  if (error.keyword === "additionalProperties") return `unknown member ${JSON.stringify(params["additionalProperty"])}`;
  if (error.keyword === "enum") return `must be one of ${(params["allowedValues"] as unknown[]).join(", ")}`;
  return error.message ?? "is not valid";
}

function parseFile(file: string): unknown {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (cause) {
    throw new SimError(
      "SIM_INPUT",
      `cannot be read (${(cause as NodeJS.ErrnoException).code ?? "error"})`,
      { file },
      { cause },
    );
  }
  try {
    return JSON.parse(text) as unknown;
  } catch (cause) {
    const position = /position (\d+)/.exec((cause as Error).message);
    const location = position === null ? { file } : { file, offset: Number(position[1]) };
    throw new SimError("SIM_SCENARIO", "is not JSON", location, { cause });
  }
}

/** A machine's name stays a name; a path is relative to the scenario. */
function fromScenario(machine: string, file: string): string {
  return machine.includes("/") && !isAbsolute(machine) ? resolve(dirname(file), machine) : machine;
}
