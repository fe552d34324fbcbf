import { setImmediate as nextTurn } from "node:timers/promises";
import { openCapture, type Capture, type PacketPool } from "@x/proxy-dataplane";
import { isaInterruptLine } from "@x/smp";
import { readInput } from "../commands/input.ts";
import { SimError } from "../errors.ts";
import { Kernel } from "../kernel/kernel.ts";
import type { LogLine } from "../kernel/kernel-log.ts";
import type { Wire } from "../kernel/net-driver.ts";
import { readPlatform } from "../kernel/platform.ts";
import { Firmware } from "../machine/firmware.ts";
import { ioApicPlaces } from "../machine/io-apic-places.ts";
import { Machine } from "../machine/machine.ts";
import { HEADER_BUFFER_BYTES } from "../machine/nic.ts";
import { buildReport } from "../report/build-report.ts";
import { interruptsText } from "../report/interrupts.ts";
import { profileFiles } from "../report/profile-files.ts";
import type { RunReport } from "../report/run-report.ts";
import { findConversations, longestHeader } from "../workload/conversations.ts";
import { Replay } from "../workload/replay.ts";
import { packageVersion } from "../package-folder.ts";
import { loadMachine, type MachineImage } from "./machine-image.ts";
import { checkCpuChanges, checkThreadCpus, deadCpus, type Scenario } from "./scenario.ts";

/** Memory of the model beyond what the page allocators manage, for structures the kernel keeps elsewhere. */
const EXTRA_MEMORY_BYTES = 96 * 2 ** 20;
/** Wires of a PC: ISA interrupts of the interval timer and the first serial port. */
const TIMER_IRQ = 0;
const SERIAL_IRQ = 4;
/** What the local APICs' timers count with, before their divider: a bus clock. */
const APIC_TIMER_HZ = 100_000_000;
/** Events between two looks at the host: progress, interruption. */
const EVENTS_PER_TURN = 200_000;
/** More events than this without an end in sight while booting is a hang, not a boot. */
const BOOT_EVENT_LIMIT = 10_000_000;
/** What is still under way when the last packet has arrived gets this long. */
const DRAIN_NS = 2e6;

/** What a run tells while it is under way. */
export interface RunHooks {
  readonly onLine?: ((line: LogLine) => void) | undefined;
  readonly onStart?: (packets: number) => void;
  readonly onProgress?: (packets: number) => void;
  /** What is between the machine and the network: hears of every packet that leaves. */
  readonly tap?: ((wire: Wire, machine: Machine, pool: PacketPool) => Wire) | undefined;
}

/** What a run leaves behind. */
export interface RunArtefacts {
  readonly report: RunReport;
  /** Files by name, for `--out`. */
  readonly files: Readonly<Record<string, string>>;
}

/**
 * Put a machine together from its tables, and power it on until the kernel is up. `splitsAll`: every packet leaves only headers
 * in the receive buffers.
 */
export function bootMachine(
  scenario: Scenario,
  onLine?: (line: LogLine) => void,
  splitsAll: boolean = scenario.nic.headerSplit,
): { machine: Machine; kernel: Kernel; image: MachineImage } {
  const image = loadMachine(scenario.machine);
  const firmware = new Firmware(image.tables);
  const platform = readPlatform(firmware, image.memoryBytes);
  const count = platform.processors.length;
  if (scenario.cpus !== undefined && scenario.cpus > count) {
    throw new SimError("SIM_CPU_COUNT", `${scenario.cpus} CPUs are asked for; machine ${image.name} has ${count}`);
  }
  const dead = deadCpus(scenario, count);
  checkThreadCpus(scenario, count, dead);
  checkCpuChanges(scenario, count);
  const managed = platform.topology.nodes.length * scenario.kernel.memoryMiBPerNode * 2 ** 20;
  const machine = new Machine({
    cpus: platform.processors,
    nodes: platform.topology.nodeCount,
    distances: platform.distances,
    memoryBytes: managed + EXTRA_MEMORY_BYTES,
    cacheLines: 2 ** Math.floor(Math.log2(image.cacheKiB * 16)),
    apicTimerHz: APIC_TIMER_HZ,
    ioApics: ioApicPlaces(platform.madt),
    legacy: {
      timerGsi: isaInterruptLine(platform.madt, TIMER_IRQ)?.gsi,
      serialGsi: isaInterruptLine(platform.madt, SERIAL_IRQ)?.gsi,
    },
    answersStartup: (cpu) => !dead.has(cpu),
    tscHz: image.tscDeadline ? image.mhz * 1e6 : 0,
  });
  const kernel = machine.powerOn(
    () =>
      new Kernel({ machine, firmware, platform, scenario, mhz: image.mhz, version: packageVersion, onLine, splitsAll }),
  );
  for (let events = 0; !kernel.booted; events++) {
    if (events > BOOT_EVENT_LIMIT || !machine.step())
      throw new SimError("SIM_NO_PROGRESS", "the machine hangs while booting");
  }
  return { machine, kernel, image };
}

/** Boot, and return the log. */
export function bootOnly(scenario: Scenario): readonly LogLine[] {
  return bootMachine(scenario).kernel.log.lines;
}

/** Boot, replay the scenario's traffic, report. */
export async function emulate(scenario: Scenario, hooks: RunHooks = {}): Promise<RunArtefacts> {
  const capture = loadCapture(scenario.traffic.pcap);
  const columns = findConversations(capture);
  const splitsAll = scenario.nic.headerSplit && longestHeader(columns) <= HEADER_BUFFER_BYTES;
  const { machine, kernel, image } = bootMachine(scenario, hooks.onLine, splitsAll);
  const module = kernel.requireModule();
  const { repeat, clients, packetsPerSecond } = scenario.traffic;
  const replay = new Replay({
    machine,
    nic: module.nic,
    pool: module.pool,
    capture,
    columns,
    repeat,
    clients,
    packetsPerSecond,
    headerSplit: scenario.nic.headerSplit,
  });
  module.driver.wire = hooks.tap?.(replay, machine, module.pool) ?? replay;
  const startNs = machine.nowNs;
  kernel.beginRun(startNs);
  replay.start(startNs);
  hooks.onStart?.(replay.total);
  const startedAt = new Date();
  const cpuBefore = cpuSeconds();
  const wallBefore = performance.now();
  // From the middle on, what runs has been compiled: the first packets also pay for the JIT.
  const middle = { packets: 0, cpuSeconds: cpuBefore };
  await runUntilDone(machine, kernel, replay, (packets) => {
    hooks.onProgress?.(packets);
    if (packets >= replay.total / 2 && middle.packets === 0)
      Object.assign(middle, { packets, cpuSeconds: cpuSeconds() });
  });
  const cpuAfter = cpuSeconds();
  const endNs = machine.nowNs;
  kernel.endRun(endNs);
  const report = buildReport({
    kernel,
    image,
    capture,
    replay,
    startNs,
    endNs,
    host: {
      startedAt,
      wallSeconds: (performance.now() - wallBefore) / 1e3,
      cpuSeconds: cpuAfter - cpuBefore,
      warm:
        middle.packets === 0
          ? undefined
          : { packets: replay.packets - middle.packets, cpuSeconds: cpuAfter - middle.cpuSeconds },
    },
  });
  return { report, files: { ...artefacts(kernel, report), ...kernel.lockWatch.files(kernel.locks) } };
}

/** Read a capture; every fault of it is an input error with file and offset. */
export function loadCapture(file: string): Capture {
  const capture = openCapture(readInput(file), file);
  if (capture.count === 0) throw new SimError("SIM_INPUT", "holds no packet", { file });
  return capture;
}

/** User and system time of all threads of this process so far, the compiler's and the collector's among them. */
function cpuSeconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

async function runUntilDone(
  machine: Machine,
  kernel: Kernel,
  replay: Replay,
  onTurn: (packets: number) => void,
): Promise<void> {
  let endNs = Infinity;
  for (;;) {
    for (let events = 0; events < EVENTS_PER_TURN; events++) {
      if (!machine.step()) throw new SimError("SIM_NO_PROGRESS", "the machine stands still before the traffic is over");
      if (endNs === Infinity && replay.finished) endNs = machine.nowNs + DRAIN_NS;
      if (machine.nowNs >= endNs && kernel.requireModule().quiet) return;
    }
    onTurn(replay.packets);
    await nextTurn();
  }
}

function artefacts(kernel: Kernel, report: RunReport): Record<string, string> {
  return {
    "report.json": `${JSON.stringify(report, null, 2)}\n`,
    "dmesg.txt": kernel.log.text(),
    "rcu_trace.txt": kernel.rcuWatch.text(kernel.machine.cpuCount),
    "interrupts.txt": interruptsText(report.interrupts),
    ...profileFiles(kernel.profiler),
  };
}
