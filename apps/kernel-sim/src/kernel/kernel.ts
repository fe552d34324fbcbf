import { PageAllocator, type NumaTopology } from "@x/numa";
import { Preempt, Scheduler } from "@x/preempt";
import { CounterType, LatencyHistogram, PmuCounters, Profiler, ShadowStack, SymbolTable } from "@x/profiling";
import { Rcu } from "@x/rcu";
import { CpuManager, CpuMask, IpiMailbox, IpiType, PerCpuData, type CpuId, type LockArray } from "@x/smp";
import { SimError } from "../errors.ts";
import type { Scenario } from "../experiment/scenario.ts";
import type { Firmware } from "../machine/firmware.ts";
import { Mode, type Machine } from "../machine/machine.ts";
import type { Supervisor } from "../machine/supervisor.ts";
import { VirtualHal } from "../machine/virtual-hal.ts";
import { AddressSpace } from "./address-space.ts";
import { ApicDriver } from "./apic-driver.ts";
import { bootSequence, type BootStep } from "./boot.ts";
import { CpuHotplug } from "./hotplug.ts";
import { IoApicDriver } from "./io-apic-driver.ts";
import { Irqs } from "./irqs.ts";
import { KernelCalls, slotsFor } from "./kernel-calls.ts";
import { KernelLog } from "./kernel-log.ts";
import type { KernelOptions } from "./kernel-options.ts";
import { LockTimeline } from "./lock-timeline.ts";
import { LockWatch } from "./lock-watch.ts";
import { ProxyModule } from "./proxy-module.ts";
import { RcuWatch } from "./rcu-watch.ts";
import { Softirq, Softirqs } from "./softirq.ts";
import { kernelSymbols, type KernelSymbols } from "./symbols.ts";
import { ThreadPrograms } from "./threads.ts";
import type { TimerRates } from "./timer-calibration.ts";
import { Translation } from "./translation.ts";
import type { Platform } from "./platform.ts";
import { CALL_FUNCTION_VECTOR, ERROR_VECTOR, FIRST_DEVICE_VECTOR, LOCAL_TIMER_VECTOR } from "./vectors.ts";

/** Timers of the kernel, as {@link Machine.startTimer} knows them. */
export const TimerId = { ThreadWake: 1, ScenarioEvent: 2 } as const;

/** Callbacks an RCU softirq runs at most (Linux: rcutree.blimit × 10). */
const RCU_BATCH = 100;
/** Ticks of the boot processor between two sweeps for connections that timed out. */
const EXPIRE_TICKS = 16;
const EXPIRE_BATCH = 64;

/**
 * The kernel of the emulated machine: the packages, wired. It owns no algorithm of its own beyond gluing; each subsystem
 * is the package that ships, told through its observers what time things take.
 */
export class Kernel implements Supervisor {
  readonly machine: Machine;
  readonly firmware: Firmware;
  readonly platform: Platform;
  readonly topology: NumaTopology;
  readonly scenario: Scenario;
  readonly mhz: number;
  readonly version: string;
  readonly splitsAll: boolean;
  readonly log: KernelLog;
  readonly hal: VirtualHal;
  readonly online: CpuMask;
  readonly addresses: AddressSpace;
  readonly pages: PageAllocator;
  readonly locks: LockTimeline;
  readonly lockWatch: LockWatch;
  readonly perCpu: PerCpuData;
  readonly preempt: Preempt;
  readonly scheduler: Scheduler;
  readonly threads: ThreadPrograms;
  readonly rcu: Rcu;
  readonly rcuWatch: RcuWatch;
  readonly apic: ApicDriver;
  readonly ioApics: IoApicDriver;
  readonly irqs: Irqs;
  readonly ipis: IpiMailbox;
  readonly calls: KernelCalls;
  readonly translation: Translation;
  /** What the emulated performance counters count. */
  readonly pmu: PmuCounters;
  readonly cpus: CpuManager;
  readonly hotplug: CpuHotplug;
  readonly softirqs: Softirqs;
  readonly latency: LatencyHistogram;
  readonly profiler: Profiler;
  readonly stack: ShadowStack;
  readonly symbols: KernelSymbols;
  readonly threadSymbols: number[] = [0];
  readonly symbolTable: SymbolTable;
  /** Context switches, by CPU. */
  readonly switches: Float64Array;
  /** The function the executing CPU is in below its stack, 0 for none: for what changes too often to be entered and left. */
  leafSymbol = 0;
  /** The proxy, once its module is loaded. */
  module: ProxyModule | undefined;
  /** Interrupts taken, by CPU: timer, mailbox, device. */
  readonly interrupts: { readonly timer: Float64Array; readonly mailbox: Float64Array; readonly device: Float64Array };
  /** Interrupts taken, by CPU × 256 + vector. */
  readonly vectorCounts: Float64Array;
  /** What the timers were found to run at. */
  timerRates: TimerRates = { apicHz: 0, tscHz: 0 };

  readonly #bootSteps: Iterator<BootStep>;
  #booting = true;
  /** The boot processor waits for an interrupt. */
  #bootHalted = false;
  readonly #tickNs: number;
  readonly #lastTickNs: Float64Array;
  readonly #inIdle: Uint8Array;
  readonly #onScenarioEvent: (() => void)[] = [];

  constructor(options: KernelOptions) {
    const { machine, platform, scenario } = options;
    const cpuCount = machine.cpuCount;
    this.machine = machine;
    this.firmware = options.firmware;
    this.platform = platform;
    this.topology = platform.topology;
    this.scenario = scenario;
    this.mhz = options.mhz;
    this.version = options.version;
    this.splitsAll = options.splitsAll;
    this.log = new KernelLog(() => machine.timeNs[machine.current], options.onLine);
    const hal = (this.hal = new VirtualHal(machine, (cpu) => this.apic.interrupt(cpu, CALL_FUNCTION_VECTOR)));
    this.apic = new ApicDriver(machine, platform);
    this.ioApics = new IoApicDriver(machine, platform.madt, this.apic);
    this.irqs = new Irqs(this.ioApics);
    this.online = new CpuMask(cpuCount);
    this.pages = PageAllocator.create({
      zones: platform.nodeBytes
        .map((bytes, node) => ({ node, bytes: Math.min(bytes, scenario.kernel.memoryMiBPerNode * 2 ** 20) }))
        .filter(({ bytes }) => bytes > 0),
      hal,
      fallback: platform.topology.fallback,
      nodeOfCpu: (cpu: CpuId) => machine.nodeOfCpu[cpu],
    });
    this.addresses = new AddressSpace(machine.memory, this.pages.buffer.byteLength);
    this.addresses.mapArena(this.pages.buffer);
    const { zones, pageBytes } = this.pages.handle;
    for (const { node, firstPage, pageCount } of zones) {
      machine.memory.setHome(firstPage * pageBytes, pageCount * pageBytes, node);
    }
    this.perCpu = PerCpuData.create({ hal });
    this.lockWatch = new LockWatch(hal, this.perCpu, scenario, this.log);
    const addressOf = (locks: LockArray): number => this.addresses.map(locks.handle.memory);
    this.locks = new LockTimeline(machine, addressOf, this.lockWatch.observer);
    this.ipis = IpiMailbox.create({ hal, depth: slotsFor(cpuCount), startOffline: true });
    this.ipis.online(0);
    this.calls = new KernelCalls(machine, hal, this.ipis);
    const translation = new Translation({ machine, hal, mailbox: this.ipis, spaces: scenario.threads.length });
    this.translation = translation;
    const source = { supported: [CounterType.TlbMisses], read: (cpu: CpuId) => translation.misses(cpu) };
    this.pmu = PmuCounters.create({ hal, source });
    this.preempt = Preempt.create({ hal, perCpu: this.perCpu });
    this.scheduler = Scheduler.create({
      hal,
      preempt: this.preempt,
      ipi: { reschedule: (cpu: CpuId) => void this.ipis.send(cpu, IpiType.Reschedule, 0) },
      timeSliceNs: scenario.kernel.timeSliceUs * 1000,
      activeCpus: [0],
      lockObserver: this.locks,
      lockKind: scenario.kernel.runQueueLock,
    });
    this.rcuWatch = new RcuWatch(hal, this.scheduler, this.log);
    const watched = { stallTimeoutNs: scenario.kernel.rcuStallMs * 1e6, observer: this.rcuWatch.observer };
    this.rcu = Rcu.create({ hal, callbackLimit: RCU_BATCH, ...watched });
    this.threads = new ThreadPrograms(this, TimerId.ThreadWake);
    this.cpus = CpuManager.create({
      hal,
      platform: { startCpu: ({ id }) => this.apic.sendInit(id), stopCpu: () => this.#stopProcessor() },
    });
    this.hotplug = new CpuHotplug(this);
    this.softirqs = new Softirqs(cpuCount);
    this.latency = LatencyHistogram.create({ hal });
    this.symbolTable = SymbolTable.create({ hal });
    this.symbols = kernelSymbols(this.symbolTable);
    const intervalNs = scenario.profile.intervalUs * 1000;
    this.profiler = Profiler.create({
      hal,
      config: { intervalNs, maxSamples: scenario.profile.maxSamples },
      symbols: this.symbolTable,
    });
    this.stack = ShadowStack.create({ hal, profiler: this.profiler });
    machine.onSample = (cpu, timeNs) => {
      if (this.leafSymbol !== 0) this.stack.enter(this.leafSymbol);
      this.stack.poll(timeNs);
      if (this.leafSymbol !== 0) this.stack.leave();
      machine.nextSampleNs[cpu] = (Math.floor(timeNs / intervalNs) + 1) * intervalNs;
    };
    const counts = (): Float64Array => new Float64Array(cpuCount);
    this.interrupts = { timer: counts(), mailbox: counts(), device: counts() };
    this.vectorCounts = new Float64Array(cpuCount * 256);
    this.switches = counts();
    this.#tickNs = Math.round(1e9 / scenario.kernel.hz);
    this.#lastTickNs = counts();
    this.#inIdle = new Uint8Array(cpuCount);
    this.#bootSteps = bootSequence(this);
  }

  /** The boot processor begins: what the firmware jumps to. */
  start(): void {
    this.stack.enter(this.symbols.boot);
    this.#continueBoot();
  }

  /** Tell when the module is missing, rather than run without a proxy. */
  requireModule(): ProxyModule {
    if (this.module === undefined) throw new SimError("SIM_NO_PROGRESS", "mutex_proxy is not loaded");
    return this.module;
  }

  /** The traffic begins: account and sample from here on, and arrange the scenario's events. */
  beginRun(startNs: number): void {
    this.machine.settle(startNs);
    this.machine.resetModeTimes();
    this.machine.nextSampleNs.fill(startNs);
    this.profiler.start();
    this.pmu.enable(CounterType.TlbMisses);
    for (const { atMs, parameters, config, cpus } of this.scenario.events) {
      this.at(startNs + atMs * 1e6, () => {
        if (cpus !== undefined) this.hotplug.change(cpus);
        if (parameters !== undefined || config !== undefined) this.requireModule().reconfigure(parameters, config);
      });
    }
  }

  /** The traffic is over. The executing CPU stays a reader, so that reports may look at what RCU protects. */
  endRun(endNs: number): void {
    this.machine.settle(endNs);
    this.profiler.stop();
    this.rcu.online();
    this.log.print(`mutex_proxy: ${this.requireModule().nic.transmittedPackets} packets forwarded`);
  }

  get booted(): boolean {
    return !this.#booting;
  }

  /** Have `action` run at a virtual time, on the boot processor. */
  at(timeNs: number, action: () => void): void {
    const number = this.#onScenarioEvent.push(action) - 1;
    this.machine.startTimer(timeNs, TimerId.ScenarioEvent, number);
  }

  /** The scheduler's tick begins on the calling CPU. */
  startTick(): void {
    const cpu = this.machine.current;
    this.#lastTickNs[cpu] = this.machine.timeNs[cpu];
    this.apic.startTimer(this.#tickNs, this.timerRates);
  }

  // Supervisor ————————————————————————————————————————————————————————————————————————————————————————————————————————————

  startProcessor(cpu: CpuId): void {
    this.stack.enter(this.symbols.startSecondary);
    this.machine.charge(this.machine.costs.processorStartNs);
    this.#inIdle[cpu] = 0;
    this.apic.enable();
    this.cpus.markOnline(cpu);
    this.startTick();
    this.stack.leave();
  }

  interrupt(cpu: CpuId, vector: number): void {
    this.vectorCounts[cpu * 256 + vector]++;
    this.#wakeFromIdle(cpu);
    this.perCpu.enterHardirq();
    if (vector === LOCAL_TIMER_VECTOR) this.#tick(cpu);
    else if (vector === CALL_FUNCTION_VECTOR) this.#mailbox(cpu);
    else this.#device(cpu, vector);
    this.apic.endOfInterrupt();
    this.perCpu.leaveHardirq();
    if (this.#bootHalted && cpu === 0) {
      this.#bootHalted = false;
      this.machine.defer();
    }
  }

  work(cpu: CpuId): void {
    if (this.#booting && cpu === 0) {
      this.machine.setMode(Mode.System);
      this.#continueBoot();
      return;
    }
    this.#wakeFromIdle(cpu);
    this.softirqs.raise(cpu, Softirq.NetReceive);
  }

  phaseEnd(cpu: CpuId): void {
    const thread = this.scheduler.current(cpu);
    if (this.threads.advance(thread, cpu)) return;
    this.scheduler.block();
    this.#schedule(cpu, true);
  }

  leave(cpu: CpuId): void {
    if (this.#booting && cpu === 0) return;
    if (this.softirqs.isPending(cpu)) this.#runSoftirqs(cpu);
    if (this.preempt.shouldReschedule()) this.#schedule(cpu, false);
    this.machine.setMode(Mode.System);
    if (this.scheduler.current(cpu) === 0) this.#enterIdle(cpu);
    if (this.hotplug.leaving > 0) this.hotplug.tryLeave(cpu);
  }

  timer(cpu: CpuId, id: number, argument: number): void {
    this.#wakeFromIdle(cpu);
    if (id === TimerId.ThreadWake) this.threads.wake(argument);
    else this.#onScenarioEvent[argument]();
  }

  // Interrupts ————————————————————————————————————————————————————————————————————————————————————————————————————————————

  #tick(cpu: CpuId): void {
    const { machine, symbols } = this;
    this.interrupts.timer[cpu]++;
    this.stack.enter(symbols.timer);
    machine.charge(machine.costs.tickNs);
    this.apic.continueTimer();
    const nowNs = machine.timeNs[cpu];
    const idle = this.scheduler.current(cpu) === 0;
    this.scheduler.tick(nowNs - this.#lastTickNs[cpu]);
    this.#lastTickNs[cpu] = nowNs;
    this.softirqs.raise(cpu, Softirq.Rcu);
    if (idle) this.softirqs.raise(cpu, Softirq.Scheduler);
    this.stack.leave();
  }

  #mailbox(cpu: CpuId): void {
    this.interrupts.mailbox[cpu]++;
    this.stack.enter(this.symbols.callFunction);
    this.ipis.receive();
    this.stack.leave();
  }

  #device(cpu: CpuId, vector: number): void {
    this.interrupts.device[cpu]++;
    this.stack.enter(this.symbols.deviceInterrupt);
    if (vector < FIRST_DEVICE_VECTOR) this.irqs.handle(vector);
    else if (vector === ERROR_VECTOR) this.#apicError(cpu);
    else if (this.module !== undefined) {
      this.module.driver.interrupt(cpu, vector);
      this.softirqs.raise(cpu, Softirq.NetReceive);
    }
    this.stack.leave();
  }

  #apicError(cpu: CpuId): void {
    const { before, after } = this.apic.takeErrors();
    const hex = (bits: number): string => bits.toString(16).padStart(2, "0");
    this.log.print(`APIC error on CPU${cpu}: ${hex(before)}(${hex(after)})`);
  }

  #runSoftirqs(cpu: CpuId): void {
    const before = this.machine.setMode(Mode.Softirq);
    this.perCpu.enterSoftirq();
    this.stack.enter(this.symbols.softirq);
    this.softirqs.run(cpu, this.#softirq);
    this.stack.leave();
    this.perCpu.leaveSoftirq();
    this.machine.setMode(before);
  }

  readonly #softirq = (softirq: Softirq, cpu: CpuId): void => {
    if (softirq === Softirq.NetReceive) this.#netReceive(cpu);
    else if (softirq === Softirq.Rcu) this.#rcuCore(cpu);
    else if (softirq === Softirq.Scheduler) this.scheduler.balance(cpu);
  };

  #netReceive(cpu: CpuId): void {
    this.stack.enter(this.symbols.netRx);
    this.rcu.readLock();
    const again = this.module?.driver.poll(cpu) ?? false;
    this.rcu.readUnlock();
    this.stack.leave();
    if (again) this.machine.defer();
  }

  #rcuCore(cpu: CpuId): void {
    this.stack.enter(this.symbols.rcu);
    // The thread that was interrupted may be in a read section.
    if (!this.rcu.inSection()) this.rcu.quiescent();
    this.rcu.invokeCallbacks(RCU_BATCH);
    if (cpu === 0 && this.perCpu.totalTicks() % EXPIRE_TICKS === 0) {
      this.stack.enter(this.symbols.expire);
      this.module?.dataplane.expire(this.machine.timeNs[cpu], EXPIRE_BATCH);
      this.stack.leave();
    }
    this.stack.leave();
  }

  // Scheduling ————————————————————————————————————————————————————————————————————————————————————————————————————————————

  #schedule(cpu: CpuId, voluntary: boolean): void {
    const { machine, scheduler } = this;
    this.stack.enter(this.symbols.schedule);
    const previous = scheduler.current(cpu);
    const left = machine.takePhase(cpu);
    if (previous !== 0) this.threads.save(previous, left);
    const next = scheduler.schedule(voluntary);
    if (next !== previous) {
      this.switches[cpu]++;
      machine.charge(machine.costs.contextSwitchNs);
    }
    this.rcu.quiescent();
    this.stack.leave();
    if (next !== previous) this.#switchStack(next);
    if (next !== previous) this.translation.switchTo(next === 0 ? -1 : this.threads.space(next));
    if (next !== 0) this.threads.resume(next, cpu);
  }

  /** The bottom frame of a CPU's stack is its thread, none while it idles. */
  #switchStack(next: number): void {
    this.stack.unwind(0);
    this.stack.enter(next === 0 ? this.symbols.idle : this.threadSymbols[next]);
    this.stack.setContext(next, next === 0);
  }

  #enterIdle(cpu: CpuId): void {
    if (this.#inIdle[cpu] === 1) return;
    this.#inIdle[cpu] = 1;
    this.rcu.offline();
    this.stack.unwind(0);
  }

  #wakeFromIdle(cpu: CpuId): void {
    if (this.#inIdle[cpu] === 0) return;
    this.#inIdle[cpu] = 0;
    this.rcu.online();
    this.stack.enter(this.symbols.idle);
    this.stack.setContext(0, true);
  }

  // Processors ————————————————————————————————————————————————————————————————————————————————————————————————————————————

  /** The executing CPU has gone offline: nothing of it is left, and it stops. */
  #stopProcessor(): void {
    this.apic.stopTimer();
    this.translation.powerOff();
    this.machine.powerOff();
  }

  #continueBoot(): void {
    const { done, value } = this.#bootSteps.next();
    if (done === true) this.#booting = false;
    else if (value === "halt") this.#bootHalted = true;
    else this.machine.defer();
  }
}
