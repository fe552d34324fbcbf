import type { CpuId } from "@x/smp";
import type { PlacedTable } from "../machine/firmware.ts";
import { printControllers } from "./boot-controllers.ts";
import { startProcessor } from "./hotplug.ts";
import type { IoApicInfo } from "./io-apic-driver.ts";
import type { Kernel } from "./kernel.ts";
import { ProxyModule } from "./proxy-module.ts";
import { SerialConsole } from "./serial-console.ts";
import { calibrateTimers } from "./timer-calibration.ts";

/** ISA interrupt of the first serial port. */
const SERIAL_IRQ = 4;
/** How long one step of early initialisation takes; only its order of magnitude matters. */
const STEP_NS = 40_000;
const hex = (value: bigint | number, digits = 16): string => `0x${value.toString(16).padStart(digits, "0")}`;

const hexLength = (bytes: number): string => bytes.toString(16).toUpperCase().padStart(6, "0");
const decimal = (value: number): string => String(value).padStart(2, "0");

/** Where the boot code stops for a moment: to let the others catch up with its clock, or to wait for an interrupt. */
export type BootStep = void | "halt";

/** What the boot processor does from reset to a running machine. */
export function* bootSequence(kernel: Kernel): Generator<BootStep> {
  printTables(kernel, kernel.ioApics.controllers);
  printTopology(kernel);
  initialiseCore(kernel);
  yield* setUpInterrupts(kernel);
  yield* bringUpProcessors(kernel);
  openDevices(kernel);
  yield;
  yield* loadModule(kernel);
  startThreads(kernel);
  openConsole(kernel);
}

function step(kernel: Kernel, text: string): void {
  kernel.machine.charge(STEP_NS);
  kernel.log.print(text);
}

/** What the firmware left, as the log begins. */
export function printTables(
  kernel: Pick<Kernel, "log" | "firmware" | "platform" | "scenario" | "version">,
  ioApics: readonly IoApicInfo[],
): void {
  const { log, firmware, platform, scenario } = kernel;
  log.print(`kernel-sim version ${kernel.version} #1 SMP PREEMPT`);
  const maxCpus = scenario.cpus === undefined ? "" : ` maxcpus=${scenario.cpus}`;
  log.print(`Command line: hz=${scenario.kernel.hz} mem=${scenario.kernel.memoryMiBPerNode}M/node${maxCpus}`);
  const { revision, oemId, length } = platform.rsdp;
  log.print(`ACPI: RSDP ${hex(firmware.rsdpAddress)} ${hexLength(length)} (v${decimal(revision)} ${oemId.padEnd(6)})`);
  for (const { address, bytes } of [...firmware.placed].sort(rootTablesFirst)) {
    const signature = signatureOf(bytes);
    if (signature === "RSD ") continue;
    const oem = (from: number, length: number): string =>
      String.fromCharCode(...bytes.subarray(from, from + length)).replaceAll("\0", " ");
    const version = `v${decimal(bytes[8])} ${oem(10, 6)} ${oem(16, 8)}`;
    log.print(`ACPI: ${signature} ${hex(address)} ${hexLength(bytes.length)} (${version})`);
  }
  for (const table of platform.tables) {
    if (!table.header.checksumOk)
      log.print(`ACPI BIOS Warning (bug): Incorrect checksum in table [${table.header.signature}]`);
  }
  printControllers(kernel, ioApics);
}

/** A kernel reads the root table before the tables it points to. */
function rootTablesFirst(a: PlacedTable, b: PlacedTable): number {
  return Number(signatureOf(b.bytes) === "XSDT") - Number(signatureOf(a.bytes) === "XSDT");
}

function signatureOf(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes.subarray(0, 4));
}

function printTopology(kernel: Kernel): void {
  const { log, topology, platform, pages } = kernel;
  for (const { apicId, node } of platform.processors) {
    const pxm = topology.getNode(node)?.proximityDomain ?? node;
    if (topology.isEnabled) log.print(`SRAT: PXM ${pxm} -> APIC ${hex(apicId, 2)} -> Node ${node}`);
  }
  for (const { id, memory, proximityDomain } of topology.nodes) {
    for (const { base, size, hotPluggable } of memory) {
      const range = `[mem ${hex(base, 8)}-${hex(base + size - 1n, 8)}]`;
      log.print(`ACPI: SRAT: Node ${id} PXM ${proximityDomain ?? id} ${range}${hotPluggable ? " hotplug" : ""}`);
    }
  }
  for (const warning of topology.warnings) log.print(`NUMA: ${warning}`);
  if (topology.isEnabled) log.print(`NUMA: Initialized distance table, cnt=${topology.nodeCount}`);
  else log.print("No NUMA configuration found");
  for (const { id } of topology.nodes) {
    step(kernel, `Fallback order for Node ${id}: ${(topology.fallback[id] ?? []).join(" ")}`);
  }
  const totalKiB = platform.nodeBytes.reduce((sum, bytes) => sum + bytes / 1024, 0);
  const managedKiB = platform.nodeBytes.reduce(
    (sum, bytes, node) => sum + (bytes > 0 ? pages.freeBytes(node) / 1024 : 0),
    0,
  );
  step(kernel, `Memory: ${managedKiB}K/${totalKiB}K available`);
}

function initialiseCore(kernel: Kernel): void {
  const { machine, scenario, topology } = kernel;
  const possible = machine.cpuCount;
  const nodes = topology.nodeCount;
  step(kernel, `setup_percpu: NR_CPUS:4096 nr_cpumask_bits:${possible} nr_cpu_ids:${possible} nr_node_ids:${nodes}`);
  step(kernel, `SLUB: HWalign=64, Order=0-3, MinObjects=0, CPUs=${possible}, Nodes=${nodes}`);
  step(kernel, "Dynamic Preempt: full");
  step(kernel, "rcu: Quiescent-state-based RCU implementation.");
  step(kernel, `rcu: \tRCU restricting CPUs from NR_CPUS=4096 to nr_cpu_ids=${possible}.`);
  step(kernel, `sched: ${scenario.kernel.hz} ticks a second, time slice ${scenario.kernel.timeSliceUs} us`);
  kernel.cpus.detectCpus(kernel.platform.madt);
  kernel.online.add(0);
  kernel.rcu.online();
  kernel.cpus.bringCpuOnline(0);
  kernel.hotplug.register();
}

/** From the interrupt controllers that the firmware left to a scheduler tick. */
function* setUpInterrupts(kernel: Kernel): Generator<BootStep> {
  const { apic, ioApics } = kernel;
  apic.enable();
  if (apic.x2apicByFirmware) step(kernel, "x2apic: enabled by BIOS, switching to x2apic ops");
  else if (apic.x2apic) step(kernel, "x2apic enabled");
  step(kernel, `APIC: Switched APIC routing to: ${apic.routing}`);
  if (ioApics.controllers.length > 0) step(kernel, "APIC: Switch to symmetric I/O mode setup");
  kernel.timerRates = yield* calibrateTimers(kernel);
  kernel.startTick();
}

function* bringUpProcessors(kernel: Kernel): Generator<BootStep> {
  const { machine, log, topology, scenario, cpus } = kernel;
  const wanted = Math.min(scenario.cpus ?? machine.cpuCount, machine.cpuCount);
  step(kernel, "smp: Bringing up secondary CPUs ...");
  step(kernel, "smpboot: x86: Booting SMP configuration:");
  for (let cpu: CpuId = 1; cpu < wanted; cpu++) {
    for (const waitNs of startProcessor(kernel, cpu)) {
      machine.charge(waitNs);
      yield;
    }
  }
  for (const { id } of topology.nodes) {
    const names = Array.from(kernel.online).filter((cpu) => cpu !== 0 && machine.nodeOfCpu[cpu] === id);
    if (names.length > 0) log.print(`.... node  #${id}, CPUs: ${names.map((cpu) => ` #${cpu}`).join("")}`);
  }
  const nodesOnline = new Set(Array.from(kernel.online, (cpu) => machine.nodeOfCpu[cpu])).size;
  step(kernel, `smp: Brought up ${nodesOnline} node${nodesOnline === 1 ? "" : "s"}, ${cpus.onlineCount} CPUs`);
  const bogoMips = (cpus.onlineCount * kernel.mhz * 2).toFixed(2);
  log.print(`smpboot: Total of ${cpus.onlineCount} processors activated (${bogoMips} BogoMIPS)`);
}

function openDevices(kernel: Kernel): void {
  const { scenario, cpus } = kernel;
  const queues = scenario.nic.queues ?? cpus.onlineCount;
  step(
    kernel,
    `ksim_nic 0000:18:00.0 eth0: ${queues} receive queues, ring ${scenario.nic.ringSize}, rx-usecs ${scenario.nic.moderationUs}`,
  );
}

function* loadModule(kernel: Kernel): Generator<BootStep> {
  const { scenario } = kernel;
  step(kernel, "mutex_proxy: loading the transparent proxy");
  const module = (kernel.module = new ProxyModule(kernel));
  const opened = kernel.calls.startOnMany(kernel.online, (cpu) => void module.driver.open(cpu));
  while (!kernel.calls.isOver(opened)) {
    kernel.machine.charge(STEP_NS);
    yield;
  }
  const flag = (name: "perf_enable_batching" | "perf_enable_zero_copy" | "perf_enable_rcu"): string =>
    (scenario.proxy.parameters[name] ?? true) ? "on" : "off";
  const flags = `batching=${flag("perf_enable_batching")}, zero-copy=${flag("perf_enable_zero_copy")}, rcu=${flag("perf_enable_rcu")}`;
  step(kernel, `mutex_perf: initialized (${flags})`);
  step(kernel, "mutex_proxy: performance optimization initialized");
}

function startThreads(kernel: Kernel): void {
  const { threads, scenario, machine, symbolTable } = kernel;
  const count = threads.start(scenario.threads, machine.cpuCount, (thread, name) => {
    kernel.threadSymbols[thread] = symbolTable.intern(name);
  });
  step(kernel, `Run /sbin/init as init process: ${count} threads`);
}

/** A terminal on the serial port, whose interrupts come through the I/O APIC. */
function openConsole(kernel: Kernel): void {
  const { machine, irqs } = kernel;
  if (machine.legacy.serial === undefined) return;
  const terminal = new SerialConsole(machine.legacy.serial);
  if (!irqs.requestIsa(SERIAL_IRQ, "ttyS0", terminal.interrupt)) return;
  step(kernel, `printk: console [ttyS0] enabled (irq = ${SERIAL_IRQ}, base_baud = 115200)`);
  terminal.write(`kernel-sim ${kernel.version} ${kernel.cpus.onlineCount} CPUs ttyS0\r\n\r\nkernel-sim login: `);
}
