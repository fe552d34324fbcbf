import { interruptsText } from "../report/interrupts.ts";
import { setImmediate as nextTurn } from "node:timers/promises";
import { SimError } from "../errors.ts";
import { loadCapture, type RunArtefacts, type RunHooks } from "../experiment/emulation.ts";
import type { Scenario } from "../experiment/scenario.ts";
import { profileFiles } from "../report/profile-files.ts";
import { assertForThreads, LiveEvents } from "./live-events.ts";
import { ThreadMachine } from "./thread-machine.ts";
import { buildThreadReport } from "./thread-report.ts";

/** The main thread turns to its event loop (interruption, dead threads, progress) this often. */
const TURN_NS = 2e6;
/** Its longest sleep while there is nothing to send. */
const WAIT_NS = 0.5e6;
/** CPUs that are done with no packet for this long, while packets wait for them, are stuck. */
const STALL_NS = 20e9;

/**
 * Run a scenario on worker threads at full speed and fill in the same report as the emulated machine does. The machine's
 * tables say how many CPUs there can be and on which nodes; those that come up are worker threads, and the calling thread
 * is the network card and the network behind it. The rate of the scenario's traffic is not kept: packets are sent as fast
 * as the CPUs take them. Throws `SIM_CPU_COUNT`, `SMP_THREAD_FAILED` when a thread dies, `SIM_NO_PROGRESS` when the CPUs
 * are stuck, and `SIM_LEAK` when packets are left over.
 */
export async function runOnThreads(scenario: Scenario, hooks: RunHooks = {}): Promise<RunArtefacts> {
  assertForThreads(scenario);
  const capture = loadCapture(scenario.traffic.pcap);
  const machine = new ThreadMachine(scenario, capture, hooks.onLine);
  try {
    await machine.boot();
    const bootNs = machine.upNs;
    hooks.onStart?.(machine.traffic.total);
    const startedAt = new Date();
    const cpuBefore = process.cpuUsage();
    await machine.begin();
    const startNs = machine.hal.now();
    await replay(machine, startNs, hooks);
    const durationNs = machine.hal.now() - startNs;
    const used = process.cpuUsage(cpuBefore);
    await machine.halt();
    const { departures, pauses } = machine.traffic;
    machine.log.print(`mutex_proxy: ${departures} packets processed, held back by full queues ${pauses} times`);
    const { image, platform, core, proxy, traffic, log, cpuCount: cpus } = machine;
    const host = { startedAt, wallSeconds: durationNs / 1e9, cpuSeconds: (used.user + used.system) / 1e6 };
    const parts = { scenario, image, platform, capture, core, proxy, traffic, log, cpus, bootNs, durationNs, host };
    const report = buildThreadReport(parts);
    const files = {
      "report.json": `${JSON.stringify(report, null, 2)}\n`,
      "dmesg.txt": log.text(),
      "interrupts.txt": interruptsText(report.interrupts),
    };
    return { report, files: { ...files, ...profileFiles(core.profiler) } };
  } finally {
    await machine.powerOff();
  }
}

/** Send and take note of departures until all packets have left. Sleeps are short, so that the event loop gets its turns. */
async function replay(machine: ThreadMachine, startNs: number, hooks: RunHooks): Promise<void> {
  const { hal, traffic, core, scenario, proxy, log } = machine;
  const events = new LiveEvents(scenario.events, proxy, log);
  let turnNs = startNs;
  let progressNs = startNs;
  while (!traffic.finished) {
    const kicks = hal.kicks();
    const moved = traffic.drain() + traffic.send();
    const nowNs = hal.now();
    events.apply(nowNs - startNs);
    if (moved > 0) progressNs = nowNs;
    else if (nowNs - progressNs > STALL_NS) throw stuck(traffic.inFlight);
    else if (!traffic.finished) hal.waitForKick(kicks, WAIT_NS);
    if (nowNs - turnNs < TURN_NS) continue;
    turnNs = nowNs;
    core.rcu.advance();
    core.rcu.invokeCallbacks();
    hooks.onProgress?.(traffic.departures);
    await nextTurn();
    machine.check();
  }
}

function stuck(inFlight: number): SimError {
  return new SimError("SIM_NO_PROGRESS", `the CPUs stand still with ${inFlight} packets in flight`);
}
