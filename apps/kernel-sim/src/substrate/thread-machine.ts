import { availableParallelism } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import type { Capture } from "@x/proxy-dataplane";
import { CpuState, IpiType, SmpError, WorkerHal, type CpuId, type Hal } from "@x/smp";
import { startCpus, type CpuThreads } from "@x/smp/node";
import { SimError } from "../errors.ts";
import { loadMachine, type MachineImage } from "../experiment/machine-image.ts";
import type { Scenario } from "../experiment/scenario.ts";
import { printTables } from "../kernel/boot.ts";
import { KernelLog, type LogLine } from "../kernel/kernel-log.ts";
import { readPlatform, type Platform } from "../kernel/platform.ts";
import { Firmware } from "../machine/firmware.ts";
import { ioApicPlaces } from "../machine/io-apic-places.ts";
import { packageVersion } from "../package-folder.ts";
import { coreHandle, createCore, type Core } from "./core.ts";
import { BEGIN } from "./cpu-loop.ts";
import { Programs } from "./programs.ts";
import { createProxy, proxyHandle, type Proxy } from "./proxy.ts";
import { Traffic } from "./traffic.ts";
import type { WorkerOrders } from "./worker.ts";

/** How often the states of CPUs that start, and mailboxes that are full, are looked at. */
const POLL_MS = 1;
/** A CPU that was told to halt and has not ended after this is terminated. */
const HALT_MS = 2000;
/** Turns of a spin, each 128th of them a short sleep, after which whoever holds the lock must be dead: at least 5 s. */
const SPIN_LIMIT = 128 * 100_000;

/**
 * A machine whose CPUs are worker threads: CPU n of the machine's tables is a thread for n below `cpuCount`, the others stay
 * offline. The thread that makes it is one more CPU, which runs no threads: the network card.
 *
 * Where a thread dies while it holds a lock, others that want the lock spin until they are terminated; the card gives up
 * on the lock after some seconds, so that the machine ends in any case.
 */
export class ThreadMachine {
  readonly scenario: Scenario;
  readonly image: MachineImage;
  readonly platform: Platform;
  /** CPUs that are worker threads, from 0. */
  readonly cpuCount: number;
  readonly hal: WorkerHal;
  readonly log: KernelLog;
  readonly core: Core;
  readonly proxy: Proxy;
  readonly traffic: Traffic;
  readonly #programs: Programs;
  readonly #startNs: number;
  readonly #threads: CpuThreads[] = [];
  #failure: SmpError | undefined;
  #halting = false;

  constructor(scenario: Scenario, capture: Capture, onLine?: (line: LogLine) => void) {
    const image = loadMachine(scenario.machine);
    const firmware = new Firmware(image.tables);
    const platform = readPlatform(firmware, image.memoryBytes);
    this.scenario = scenario;
    this.image = image;
    this.platform = platform;
    this.cpuCount = cpuCount(scenario, image, platform);
    const card = platform.processors.length;
    const hal = (this.hal = WorkerHal.create({ possibleCpus: card + 1, cpu: card }));
    const startNs = (this.#startNs = hal.now());
    this.log = new KernelLog(() => hal.now() - startNs, onLine);
    const ioApics = ioApicPlaces(platform.madt).map((place) => ({ ...place, version: undefined }));
    printTables({ log: this.log, firmware, platform, scenario, version: packageVersion }, ioApics);
    this.core = createCore(impatient(hal), platform, scenario);
    this.#printTopology();
    const queues = scenario.nic.queues ?? this.cpuCount;
    this.proxy = createProxy(this.core, scenario, this.cpuCount, queues);
    this.traffic = new Traffic({ hal, proxy: this.proxy, capture, traffic: scenario.traffic });
    this.#programs = Programs.create(scenario.threads, this.core.scheduler, hal);
  }

  /** Nanoseconds since the machine was made. */
  get upNs(): number {
    return this.hal.now() - this.#startNs;
  }

  /** Start the CPUs and then the scenario's threads. Throws `SMP_THREAD_FAILED` or `SIM_NO_PROGRESS`. */
  async boot(): Promise<void> {
    const { cpus } = this.core;
    for (const { apicId } of this.platform.processors) cpus.addCpu(apicId);
    this.log.print("smp: Bringing up worker threads ...");
    // CPU 0 brings itself online: it is the boot processor of its own thread.
    for (let cpu = 1; cpu < this.cpuCount; cpu++) cpus.bringCpuOnline(cpu);
    await this.#startThreads();
    await this.#waitOnline();
    this.#printBoot();
    const count = this.#programs.start(this.platform.processors.length);
    this.log.print(`Run /sbin/init as init process: ${count} threads`);
  }

  /** The traffic begins: account and sample from here on. */
  async begin(): Promise<void> {
    this.core.profiler.start();
    await this.#tellAll(IpiType.Generic, BEGIN);
  }

  /** Throws what a thread died of. To be called often while the machine runs, with turns of the event loop between. */
  check(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** Stop the CPUs. Afterwards the calling thread alone may look at everything. Throws `SIM_LEAK` when packets are left over. */
  async halt(): Promise<void> {
    this.core.profiler.stop();
    this.#halting = true;
    await this.#tellAll(IpiType.Halt, 0);
    await this.powerOff(HALT_MS);
    this.check();
    this.core.rcu.online();
    const left = this.proxy.pool.inUse;
    if (left !== 0) throw new SimError("SIM_LEAK", `${left} packets were never freed`);
    this.log.print("reboot: System halted");
  }

  /** End all threads, at once or after a time in which they may end by themselves. */
  async powerOff(graceMs = 0): Promise<void> {
    this.#halting = true;
    if (this.#threads.length === 0) return;
    const timer = new AbortController();
    const grace = sleep(graceMs, undefined, { signal: timer.signal }).catch(() => undefined);
    const ended = Promise.all(this.#threads.map(({ exited }) => exited.catch(() => undefined)));
    await Promise.race([ended, grace]);
    timer.abort();
    await Promise.all(this.#threads.map((threads) => threads.terminate()));
  }

  /**
   * One start per CPU, all at once: each thread's end is watched from the moment it has joined, however long the others take.
   * All have joined or failed before the first failure is thrown, so that powering off reaches every thread.
   */
  async #startThreads(): Promise<void> {
    const entry = new URL("./worker.js", import.meta.url);
    const data = this.#orders();
    const onExit = (cpu: CpuId, error: SmpError | undefined): void => this.#exited(cpu, error);
    const start = async (cpu: CpuId): Promise<void> => {
      const threads = await startCpus({ cpus: [cpu], hal: this.hal, entry, data, onExit });
      threads.exited.catch(() => undefined);
      this.#threads.push(threads);
    };
    const starts = await Promise.allSettled(Array.from({ length: this.cpuCount }, (_, cpu) => start(cpu)));
    for (const outcome of starts) if (outcome.status === "rejected") throw outcome.reason;
  }

  #orders(): WorkerOrders {
    const { kernel, nic, seed } = this.scenario;
    return {
      core: coreHandle(this.core),
      proxy: proxyHandle(this.proxy),
      programs: this.#programs.handle,
      farEnd: this.traffic.farEnd.handle,
      cardCpu: this.hal.currentCpu(),
      cpus: this.cpuCount,
      budget: nic.budget,
      tickNs: 1e9 / kernel.hz,
      seed,
    };
  }

  #exited(cpu: CpuId, error: SmpError | undefined): void {
    if (error === undefined && this.#halting) return;
    this.#failure ??=
      error ?? new SmpError("SMP_THREAD_FAILED", `the thread of CPU ${cpu} ended before it was told to`);
    this.core.rcu.reportDead(cpu);
    this.core.ipis.reportDead(cpu);
    this.log.print(`smpboot: CPU${cpu} failed`);
  }

  async #waitOnline(): Promise<void> {
    const { cpus } = this.core;
    const deadlineNs = this.hal.now() + cpus.handle.startupTimeoutNs;
    for (let cpu = 0; cpu < this.cpuCount;) {
      this.check();
      cpus.pollStartup();
      if (cpus.state(cpu) === CpuState.Online) cpu++;
      else if (cpus.state(cpu) === CpuState.Failed || this.hal.now() > deadlineNs) {
        throw new SimError("SIM_NO_PROGRESS", `CPU ${cpu} failed to come online`);
      } else await sleep(POLL_MS);
    }
  }

  async #tellAll(type: IpiType, payload: number): Promise<void> {
    for (let cpu = 0; cpu < this.cpuCount;) {
      if (this.core.ipis.send(cpu, type, payload)) cpu++;
      else {
        this.check();
        await sleep(POLL_MS);
      }
    }
  }

  #printTopology(): void {
    const { topology, nodeBytes } = this.platform;
    const { pages } = this.core;
    if (topology.isEnabled) this.log.print(`NUMA: Initialized distance table, cnt=${topology.nodeCount}`);
    else this.log.print("No NUMA configuration found");
    const kib = (bytes: number): number => Math.round(bytes / 1024);
    const all = nodeBytes.reduce((sum, bytes) => sum + bytes, 0);
    this.log.print(`Memory: ${kib(pages.totalBytes)}K/${kib(all)}K available`);
  }

  #printBoot(): void {
    const { platform, scenario, proxy, core } = this;
    const nodes = new Map<number, string>();
    for (let cpu = 0; cpu < this.cpuCount; cpu++) {
      const { node } = platform.processors[cpu];
      nodes.set(node, `${nodes.get(node) ?? ""} #${cpu}`);
    }
    for (const [node, names] of nodes) this.log.print(`.... node  #${node}, CPUs: ${names}`);
    const { size } = nodes;
    this.log.print(`smp: Brought up ${size} node${size === 1 ? "" : "s"}, ${core.cpus.onlineCount} CPUs`);
    const { receive, dataplane } = proxy;
    const ring = receive[0].capacity;
    this.log.print(`ksim_nic eth0: ${receive.length} receive queues, ring ${ring}, flow control on`);
    const flag = (name: "perf_enable_batching" | "perf_enable_zero_copy" | "perf_enable_rcu"): string =>
      dataplane.getParameter(name) ? "on" : "off";
    const flags = `batching=${flag("perf_enable_batching")}, zero-copy=${flag("perf_enable_zero_copy")}, rcu=${flag("perf_enable_rcu")}`;
    this.log.print(`mutex_perf: initialized (${flags})`);
    this.log.print(`mutex_proxy: up to ${scenario.proxy.maxConnections} connections`);
  }
}

function cpuCount(scenario: Scenario, image: MachineImage, { processors }: Platform): number {
  if (scenario.cpus === undefined) return Math.min(processors.length, availableParallelism());
  if (scenario.cpus <= processors.length) return scenario.cpus;
  const message = `${scenario.cpus} CPUs are asked for; machine ${image.name} has ${processors.length}`;
  throw new SimError("SIM_CPU_COUNT", message);
}

/** The machine as the card sees it: it does not wait for ever for a lock whose holder may have died. */
function impatient(hal: WorkerHal): Hal {
  return {
    possibleCpus: hal.possibleCpus,
    currentCpu: () => hal.currentCpu(),
    now: () => hal.now(),
    kick: (cpu) => hal.kick(cpu),
    wait: (words, index, expected, timeoutNs) => hal.wait(words, index, expected, timeoutNs),
    wake: (words, index, count) => hal.wake(words, index, count),
    relax(spins): void {
      if (spins > SPIN_LIMIT) throw new SimError("SIM_NO_PROGRESS", "a CPU stands still and holds a lock");
      hal.relax(spins);
    },
  };
}
