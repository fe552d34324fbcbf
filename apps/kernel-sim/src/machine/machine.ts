import { x2apicMsr, type CpuId, type LocalApic } from "@x/smp";
import { SimError } from "../errors.ts";
import { CoherentMemory } from "./coherent-memory.ts";
import { DEFAULT_COSTS, type CostTable } from "./cost-table.ts";
import { EventQueue } from "./event-queue.ts";
import { InterruptControllers } from "./interrupt-controllers.ts";
import { LegacyDevices } from "./legacy-devices.ts";
import type { MachineOptions } from "./machine-options.ts";
import type { Supervisor } from "./supervisor.ts";
import { TraceHash } from "./trace-hash.ts";
import { TimerHal } from "./virtual-hal.ts";

/** Kinds of events; the trace hash covers them. The first ones happen on a CPU and wait until its clock is there. */
const EventKind = { Interrupts: 1, PhaseEnd: 2, Work: 3, Timer: 4, Apic: 5, ApicTimer: 6, Device: 7 } as const;
const LAST_ON_CPU = EventKind.Timer;

/** What the time of a CPU goes to. */
export const Mode: {
  readonly Idle: 0;
  readonly User: 1;
  readonly System: 2;
  readonly Hardirq: 3;
  readonly Softirq: 4;
} = { Idle: 0, User: 1, System: 2, Hardirq: 3, Softirq: 4 };
export type Mode = (typeof Mode)[keyof typeof Mode];
const MODES = 5;
/** The kernel maps all of memory with pages of 1 GiB. */
export const DIRECT_MAP_SHIFT = 30;

/** State of a processor as the hardware knows it: off until its first INIT. */
const Power = { Off: 0, WaitForStartup: 1, On: 2 } as const;

/** A device: gets the events it asked for. */
export interface Device {
  event(a: number, b: number): void;
}

/**
 * The hardware: CPUs with clocks of their own, local APICs, coherent memory, devices, and the queue of everything that
 * will happen. The next event in global order runs next; what a CPU does in the supervisor runs to completion and is
 * charged to its clock; compute phases of threads can be cut by interrupts.
 */
export class Machine {
  readonly cpuCount: number;
  readonly costs: CostTable;
  readonly memory: CoherentMemory;
  readonly apics: readonly LocalApic[];
  /** Frequency of the time-stamp counter; 0: the local APICs' timers cannot wait for it. */
  readonly tscHz: number;
  /** Frequency of the local APICs' timers before their dividers. */
  readonly apicTimerHz: number;
  readonly legacy: LegacyDevices;
  readonly controllers: InterruptControllers;
  readonly nodeOfCpu: Int32Array;
  /** What the local APICs take for the present. */
  apicTimeNs = 0;
  readonly trace: TraceHash = new TraceHash();
  /** Local clock of each CPU. */
  readonly timeNs: Float64Array;
  /** When the next profiler sample of each CPU is due. */
  readonly nextSampleNs: Float64Array;
  /** The CPU that is executing. */
  current: CpuId = 0;
  /** Time of the event being handled. */
  nowNs = 0;
  /**
   * The page of the kernel's direct map of memory that each CPU touched last, whose translation it has at hand; -1: none. Pages of
   * 1 GiB, so that nearly every touch is done with one comparison.
   */
  readonly directMapPage: Int32Array;
  /** Called when a CPU touches another page of the direct map; returns the nanoseconds that translating it takes. */
  onTranslate: ((cpu: CpuId, page: number) => number) | undefined;
  /** Called when a CPU's clock passes `nextSampleNs`; must move it on. */
  onSample: ((cpu: CpuId, timeNs: number) => void) | undefined;

  readonly #events = new EventQueue(4096);
  #supervisor!: Supervisor;
  readonly #devices: Device[] = [];
  readonly #power: Uint8Array;
  readonly #mode: Uint8Array;
  readonly #modeNs: Float64Array;
  readonly #phaseNs: Float64Array;
  readonly #phaseActive: Uint8Array;
  /** When the event that ends a CPU's phase is due. Interrupts only delay the end, so it is seldom too late. */
  readonly #phaseEventNs: Float64Array;
  readonly #interruptsQueued: Uint8Array;
  readonly #timerDeadlineNs: Float64Array;
  readonly #timerGeneration: Int32Array;

  constructor(options: MachineOptions) {
    const count = options.cpus.length;
    this.cpuCount = count;
    this.costs = options.costs ?? DEFAULT_COSTS;
    this.timeNs = new Float64Array(count);
    this.nodeOfCpu = Int32Array.from(options.cpus, (cpu) => cpu.node);
    this.memory = new CoherentMemory({
      cpus: count,
      lines: Math.ceil(options.memoryBytes / 64),
      nodeOfCpu: this.nodeOfCpu,
      distances: options.distances,
      nodes: options.nodes,
      cacheLines: options.cacheLines,
      costs: this.costs,
      clocks: this.timeNs,
    });
    this.nextSampleNs = new Float64Array(count).fill(Infinity);
    this.directMapPage = new Int32Array(count).fill(-1);
    this.#power = new Uint8Array(count);
    this.#mode = new Uint8Array(count);
    this.#modeNs = new Float64Array(count * MODES);
    this.#phaseNs = new Float64Array(count);
    this.#phaseActive = new Uint8Array(count);
    this.#phaseEventNs = new Float64Array(count).fill(Infinity);
    this.#interruptsQueued = new Uint8Array(count);
    this.#timerDeadlineNs = new Float64Array(count).fill(Infinity);
    this.#timerGeneration = new Int32Array(count);
    this.controllers = new InterruptControllers({
      cpus: options.cpus,
      ioApics: options.ioApics,
      hal: new TimerHal(this),
      timerHz: options.apicTimerHz,
      tscHz: options.tscHz,
      send: (from, to, packed) => this.#sendMessage(from, to, packed),
      init: (cpu) => this.#initProcessor(cpu),
      startup: (cpu, vector) => {
        if (options.answersStartup?.(cpu) ?? true) this.#startProcessor(cpu, vector);
      },
    });
    this.apics = this.controllers.apics;
    this.tscHz = options.tscHz;
    this.apicTimerHz = options.apicTimerHz;
    this.legacy = new LegacyDevices(this, options.legacy);
  }

  /** Power on: the boot processor runs `firmware`, which loads the supervisor; the others wait for INIT. */
  powerOn<S extends Supervisor>(firmware: () => S): S {
    this.#power[0] = Power.On;
    this.#enter(0, 0, Mode.System);
    const supervisor = firmware();
    this.#supervisor = supervisor;
    supervisor.start();
    this.#exit(0);
    return supervisor;
  }

  /** The executing CPU stops until it is started again. Timers that it started run out on the boot processor. */
  powerOff(): void {
    this.#power[this.current] = this.#interruptsQueued[this.current] = Power.Off;
  }

  /** Handle the next event; false when nothing will ever happen again. */
  step(): boolean {
    const events = this.#events;
    if (!events.pop()) return false;
    const { kind, a, b } = events;
    const timeNs = events.timeNs;
    if (kind <= LAST_ON_CPU) {
      if (kind === EventKind.PhaseEnd && !this.#isPhaseEnd(a, timeNs)) return true;
      const cpu = kind === EventKind.Timer ? a >> 8 : a;
      if (this.#power[cpu] !== Power.On) {
        if (kind === EventKind.Timer) events.push(timeNs, kind, a & 0xff, b);
        return true;
      }
      if (timeNs < this.timeNs[cpu]) {
        events.push(this.timeNs[cpu], kind, a, b);
        return true;
      }
    }
    this.nowNs = timeNs;
    this.trace.add(timeNs, kind, a, b);
    this.#dispatch(kind, a, b);
    return true;
  }

  /** Handles an event at {@link Machine.nowNs}, which is not passed: a double would be put into a box for it. */
  #dispatch(kind: number, a: number, b: number): void {
    const timeNs = this.nowNs;
    switch (kind) {
      case EventKind.Device:
        this.#devices[a >>> 24].event(a & 0xffffff, b);
        break;
      case EventKind.Interrupts:
        this.#takeInterrupts(a, timeNs);
        break;
      case EventKind.Work:
        this.#enter(a, timeNs, Mode.Softirq);
        this.#supervisor.work(a);
        this.#exit(a);
        break;
      case EventKind.PhaseEnd:
        this.#enter(a, timeNs, Mode.System);
        this.#phaseActive[a] = 0;
        this.#phaseNs[a] = 0;
        this.#supervisor.phaseEnd(a);
        this.#exit(a);
        break;
      case EventKind.Apic:
        this.#receiveMessage(a, b, timeNs);
        break;
      case EventKind.ApicTimer:
        if (b === this.#timerGeneration[a]) this.#apicTimer(a, timeNs);
        break;
      case EventKind.Timer:
        this.#enter(a >> 8, timeNs, Mode.Hardirq);
        this.charge(this.costs.interruptNs);
        this.#supervisor.timer(a >> 8, a & 0xff, b);
        this.#exit(a >> 8);
        break;
      default:
        throw new SimError("SIM_NO_PROGRESS", `an event of unknown kind ${kind}`);
    }
  }

  /** The executing CPU computes for `ns`, a whole number. */
  charge(ns: number): void {
    const cpu = this.current;
    const timeNs = this.timeNs[cpu] + ns;
    this.timeNs[cpu] = timeNs;
    this.#modeNs[cpu * MODES + this.#mode[cpu]] += ns;
    if (timeNs >= this.nextSampleNs[cpu]) this.onSample?.(cpu, timeNs);
  }

  /** The executing CPU touches the line at `address`. */
  touch(address: number, write: boolean): void {
    const cpu = this.current;
    if (address >>> DIRECT_MAP_SHIFT !== this.directMapPage[cpu]) this.#translate(address);
    this.charge(this.memory.touch(cpu, address, write));
  }

  /** The executing CPU touches every line of a range. */
  touchRange(address: number, bytes: number, write: boolean): void {
    const cpu = this.current;
    if (address >>> DIRECT_MAP_SHIFT !== this.directMapPage[cpu]) this.#translate(address);
    this.charge(this.memory.touchRange(cpu, address, bytes, write));
  }

  #translate(address: number): void {
    const page = address >>> DIRECT_MAP_SHIFT;
    this.directMapPage[this.current] = page;
    if (this.onTranslate !== undefined) this.charge(this.onTranslate(this.current, page));
  }

  /** Account what the executing CPU does from here on to `mode`; returns the mode before. */
  setMode(mode: Mode): Mode {
    const before = this.#mode[this.current] as Mode;
    this.#mode[this.current] = mode;
    return before;
  }

  /** Nanoseconds `cpu` has spent in `mode`. */
  modeTimeNs(cpu: CpuId, mode: Mode): number {
    return this.#modeNs[cpu * MODES + mode];
  }

  /** Let `cpu`, when it leaves the supervisor, compute for `ns` as a thread. */
  setPhase(cpu: CpuId, ns: number): void {
    this.#phaseNs[cpu] = ns;
    this.#phaseActive[cpu] = 1;
  }

  /** What is left of the compute phase; the CPU has none afterwards. */
  takePhase(cpu: CpuId): number {
    const left = this.#phaseNs[cpu];
    this.#phaseNs[cpu] = 0;
    this.#phaseActive[cpu] = 0;
    return left;
  }

  /** Have {@link Supervisor.work} called on the executing CPU once others have had their turn up to its present time. */
  defer(): void {
    this.#events.push(this.timeNs[this.current], EventKind.Work, this.current, 0);
  }

  /** Have {@link Supervisor.timer} called at a time, on the executing CPU. `id` is below 256. */
  startTimer(atNs: number, id: number, argument: number): void {
    this.#events.push(atNs, EventKind.Timer, (this.current << 8) | id, argument);
  }

  /** Connect a device; the number is for {@link Machine.deviceEvent}. */
  connect(device: Device): number {
    return this.#devices.push(device) - 1;
  }

  /** Have {@link Device.event} called at a time. `a` is below 2^24. */
  deviceEvent(device: number, atNs: number, a: number, b: number): void {
    this.#events.push(atNs, EventKind.Device, (device << 24) | a, b);
  }

  /** The executing CPU reads a register of an I/O APIC. */
  mmioRead(address: number): number {
    this.charge(this.costs.apicWriteNs);
    return this.controllers.read(address);
  }

  mmioWrite(address: number, value: number): void {
    this.charge(this.costs.apicWriteNs);
    this.controllers.write(address, value);
  }

  /** The executing CPU reads a register of its local APIC, by its offset in either mode. */
  apicRead(offset: number): number {
    this.#beginApicAccess();
    const apic = this.apics[this.current];
    return apic.x2apic ? apic.readMsr(x2apicMsr(offset)) : apic.read(offset);
  }

  /** The executing CPU writes a register of its local APIC's page. */
  apicWrite(offset: number, value: number): void {
    this.#beginApicAccess();
    this.apics[this.current].write(offset, value);
    this.#armTimer(this.current);
  }

  /** The executing CPU writes a model-specific register of its local APIC. */
  apicWriteMsr(msr: number, low: number, high: number): void {
    this.#beginApicAccess();
    this.apics[this.current].writeMsr(msr, low, high);
    this.#armTimer(this.current);
  }

  /** The executing CPU's time-stamp counter; all count from power-on. */
  readTsc(): number {
    return Math.floor((this.timeNs[this.current] * this.tscHz) / 1e9);
  }

  #beginApicAccess(): void {
    this.charge(this.costs.apicWriteNs);
    this.apicTimeNs = this.timeNs[this.current];
  }

  /** Bring every CPU's idle or compute time up to `timeNs`, for a report at the end. */
  settle(timeNs: number): void {
    for (let cpu = 0; cpu < this.cpuCount; cpu++) {
      if (this.#power[cpu] === Power.On && this.timeNs[cpu] < timeNs) this.#advance(cpu, timeNs);
    }
  }

  /** Count the time of every mode from now on, for figures of what follows. */
  resetModeTimes(): void {
    this.#modeNs.fill(0);
  }

  #enter(cpu: CpuId, timeNs: number, mode: Mode): void {
    this.current = cpu;
    this.#advance(cpu, timeNs);
    this.#mode[cpu] = mode;
  }

  #advance(cpu: CpuId, timeNs: number): void {
    const elapsedNs = timeNs - this.timeNs[cpu];
    const computing = this.#phaseActive[cpu] === 1;
    if (computing) this.#phaseNs[cpu] -= elapsedNs;
    this.#modeNs[cpu * MODES + (computing ? Mode.User : Mode.Idle)] += elapsedNs;
    this.timeNs[cpu] = timeNs;
    this.#mode[cpu] = computing ? Mode.User : Mode.Idle;
    if (timeNs >= this.nextSampleNs[cpu]) this.onSample?.(cpu, timeNs);
  }

  #exit(cpu: CpuId): void {
    this.#supervisor.leave(cpu);
    const timeNs = this.timeNs[cpu];
    if (this.#phaseActive[cpu] === 1) this.#expectPhaseEnd(cpu, timeNs + Math.max(this.#phaseNs[cpu], 0));
    if (this.apics[cpu].hasDeliverable()) this.#queueInterrupts(cpu, timeNs);
  }

  #expectPhaseEnd(cpu: CpuId, endNs: number): void {
    if (this.#phaseEventNs[cpu] <= endNs) return;
    this.#phaseEventNs[cpu] = endNs;
    this.#events.push(endNs, EventKind.PhaseEnd, cpu, 0);
  }

  /** Whether the phase is over now; one that was delayed is expected again, and a superseded event is nothing. */
  #isPhaseEnd(cpu: CpuId, timeNs: number): boolean {
    if (timeNs !== this.#phaseEventNs[cpu]) return false;
    this.#phaseEventNs[cpu] = Infinity;
    if (this.#phaseActive[cpu] === 0) return false;
    const endNs = this.timeNs[cpu] + Math.max(this.#phaseNs[cpu], 0);
    if (endNs <= timeNs) return true;
    this.#expectPhaseEnd(cpu, endNs);
    return false;
  }

  #queueInterrupts(cpu: CpuId, timeNs: number): void {
    if (this.#interruptsQueued[cpu] === 1 || this.#power[cpu] !== Power.On) return;
    this.#interruptsQueued[cpu] = 1;
    this.#events.push(Math.max(timeNs, this.timeNs[cpu]), EventKind.Interrupts, cpu, 0);
  }

  #takeInterrupts(cpu: CpuId, timeNs: number): void {
    this.#interruptsQueued[cpu] = 0;
    const apic = this.apics[cpu];
    if (!apic.hasDeliverable()) return;
    this.#enter(cpu, timeNs, Mode.Hardirq);
    for (let vector = apic.acknowledge(); vector >= 0; vector = apic.acknowledge()) {
      this.charge(this.costs.interruptNs);
      this.#supervisor.interrupt(cpu, vector);
    }
    this.#exit(cpu);
  }

  /** Between processors a message takes its time; a device's, whose event it is, is there. */
  #sendMessage(from: CpuId, to: CpuId, packed: number): void {
    if (from < 0) this.#receiveMessage(to, packed, this.nowNs);
    else this.#events.push(this.timeNs[from] + this.costs.ipiLatencyNs, EventKind.Apic, to, packed);
  }

  #receiveMessage(cpu: CpuId, packed: number, timeNs: number): void {
    this.apicTimeNs = timeNs;
    this.controllers.receive(cpu, packed);
    this.#queueInterrupts(cpu, timeNs);
  }

  #initProcessor(cpu: CpuId): void {
    this.#power[cpu] = Power.WaitForStartup;
  }

  #startProcessor(cpu: CpuId, vector: number): void {
    this.#power[cpu] = Power.On;
    this.timeNs[cpu] = this.nowNs;
    this.#enter(cpu, this.nowNs, Mode.System);
    this.#supervisor.startProcessor(cpu, vector);
    this.#exit(cpu);
  }

  #armTimer(cpu: CpuId): void {
    const deadlineNs = this.apics[cpu].timerDeadlineNs;
    if (deadlineNs === this.#timerDeadlineNs[cpu]) return;
    this.#timerDeadlineNs[cpu] = deadlineNs;
    const generation = (this.#timerGeneration[cpu] = (this.#timerGeneration[cpu] + 1) | 0);
    // A deadline may lie in the past; time may not go back.
    if (deadlineNs !== Infinity) {
      this.#events.push(Math.max(deadlineNs, this.timeNs[cpu]), EventKind.ApicTimer, cpu, generation);
    }
  }

  #apicTimer(cpu: CpuId, timeNs: number): void {
    this.apicTimeNs = timeNs;
    this.apics[cpu].pollTimer();
    this.#armTimer(cpu);
    this.#queueInterrupts(cpu, timeNs);
  }
}
