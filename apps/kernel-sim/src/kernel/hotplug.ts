import { ThreadAttributes } from "@x/preempt";
import { CpuMask, CpuState, type CpuHotplugStep, type CpuId } from "@x/smp";
import type { Kernel } from "./kernel.ts";

/** Waits of the start-up protocol (Intel SDM, volume 3, section 9.4.4.1). */
const INIT_WAIT_NS = 10e6;
const STARTUP_WAIT_NS = 200e3;
/** How often the boot processor looks whether a CPU has gone. */
const LEAVE_POLL_NS = 50e3;

/**
 * INIT, wait, start-up, wait, and a second start-up where the first went unanswered; then until the processor is there or has
 * failed. Yields the nanoseconds to wait.
 */
export function* startProcessor(kernel: Kernel, cpu: CpuId): Generator<number, void, undefined> {
  const { cpus } = kernel;
  cpus.bringCpuOnline(cpu);
  yield INIT_WAIT_NS;
  for (let attempt = 0; attempt < 2 && cpus.state(cpu) === CpuState.Initializing; attempt++) {
    kernel.apic.sendStartup(cpu);
    yield STARTUP_WAIT_NS;
  }
  while (cpus.state(cpu) === CpuState.Initializing) {
    cpus.pollStartup();
    yield STARTUP_WAIT_NS;
  }
  if (cpus.state(cpu) !== CpuState.Online) kernel.log.print(`CPU${cpu} failed to report alive state`);
}

/**
 * CPUs that come and go while the machine runs. One that is to go is told by interrupt; from then on it takes no threads and no
 * packets. It goes once nothing holds it: its threads run elsewhere, its softirqs have run, its RCU callbacks have been invoked.
 */
export class CpuHotplug {
  /** How many CPUs are to go and have not gone yet. */
  leaving = 0;
  readonly #kernel: Kernel;
  readonly #isLeaving: Uint8Array;

  constructor(kernel: Kernel) {
    this.#kernel = kernel;
    this.#isLeaving = new Uint8Array(kernel.machine.cpuCount);
  }

  /** Have each subsystem do its part for CPUs that come and go; for the boot processor that is done. */
  register(): void {
    for (const step of this.#steps()) this.#kernel.cpus.addHotplugStep(step, { invoke: false });
  }

  /** The boot processor has CPUs go and come, one after the other. */
  change({ offline, online }: { readonly offline?: string; readonly online?: string }): void {
    const { cpuCount } = this.#kernel.machine;
    const list = (text = ""): CpuId[] => [...CpuMask.parseList(text, cpuCount)];
    this.#continue(this.#changes(list(offline), list(online)));
  }

  /** On the way out of the supervisor: a CPU that is to go goes if nothing holds it. */
  tryLeave(cpu: CpuId): void {
    if (this.#isLeaving[cpu] === 0) return;
    const { scheduler, rcu, softirqs, cpus } = this.#kernel;
    if (scheduler.current(cpu) !== 0 || scheduler.queued(cpu) > 0) return;
    if (softirqs.isPending(cpu) || rcu.pendingCallbacks() > 0) return;
    this.#isLeaving[cpu] = 0;
    this.leaving--;
    cpus.takeCpuOffline(cpu);
  }

  *#changes(offline: readonly CpuId[], online: readonly CpuId[]): Generator<number, void, undefined> {
    const { cpus, log, platform } = this.#kernel;
    for (const cpu of offline) {
      if (cpus.state(cpu) === CpuState.Online) yield* this.#takeDown(cpu);
      else log.print(`cpu: CPU${cpu} is not online`);
    }
    for (const cpu of online) {
      if (cpus.state(cpu) === CpuState.Online) {
        log.print(`cpu: CPU${cpu} is online already`);
        continue;
      }
      const { apicId, node } = platform.processors[cpu];
      log.print(`smpboot: Booting Node ${node} Processor ${cpu} APIC 0x${apicId.toString(16)}`);
      yield* startProcessor(this.#kernel, cpu);
    }
  }

  *#takeDown(cpu: CpuId): Generator<number, void, undefined> {
    const { calls, cpus, log, machine } = this.#kernel;
    const asked = calls.startOnMany(CpuMask.of(machine.cpuCount, [cpu]), () => this.#beginToLeave(cpu));
    while (!calls.isOver(asked)) yield LEAVE_POLL_NS;
    while (cpus.state(cpu) !== CpuState.Offline) yield LEAVE_POLL_NS;
    log.print(`smpboot: CPU ${cpu} is now offline`);
  }

  #beginToLeave(cpu: CpuId): void {
    const { scheduler, module } = this.#kernel;
    this.#isLeaving[cpu] = 1;
    this.leaving++;
    scheduler.deactivate(cpu);
    this.#breakAffinities(cpu);
    module?.driver.giveAway(cpu, this.#heirs(cpu));
  }

  /** Threads that may run nowhere else may run everywhere from now on, as in Linux. */
  #breakAffinities(cpu: CpuId): void {
    const { scheduler, log } = this.#kernel;
    const others = this.#heirs(cpu);
    scheduler.forEachThread((thread) => {
      if (!scheduler.canRunOnCpu(thread, cpu) || others.some((other) => scheduler.canRunOnCpu(thread, other))) return;
      scheduler.setAffinity(thread, new ThreadAttributes());
      log.print(`process ${thread} (${scheduler.name(thread)}) no longer affine to cpu${cpu}`);
    });
  }

  /** Who takes over what `cpu` did: CPUs of its node that stay, else of all nodes. */
  #heirs(cpu: CpuId): CpuId[] {
    const { online, machine } = this.#kernel;
    const staying = [...online].filter((other) => other !== cpu && this.#isLeaving[other] === 0);
    const near = staying.filter((other) => machine.nodeOfCpu[other] === machine.nodeOfCpu[cpu]);
    return near.length > 0 ? near : staying;
  }

  #continue(steps: Generator<number, void, undefined>): void {
    const { machine } = this.#kernel;
    const { done, value } = steps.next();
    if (done !== true) this.#kernel.at(machine.timeNs[machine.current] + value, () => this.#continue(steps));
  }

  #steps(): readonly CpuHotplugStep[] {
    const { online, ipis, rcu, scheduler } = this.#kernel;
    return [
      { name: "cpu_online_mask", online: (cpu) => void online.add(cpu), offline: (cpu) => void online.delete(cpu) },
      { name: "ipi", online: () => ipis.online(), offline: () => ipis.offline() },
      { name: "rcu", online: () => rcu.online(), offline: (cpu) => void (rcu.isOnline(cpu) && rcu.offline()) },
      {
        name: "sched",
        online: (cpu) => scheduler.activate(cpu),
        offline: (cpu) => void (scheduler.isActive(cpu) && scheduler.deactivate(cpu)),
      },
      { name: "net", online: (cpu) => this.#kernel.module?.driver.takeBack(cpu) },
    ];
  }
}
