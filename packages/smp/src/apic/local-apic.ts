import { SmpError } from "../errors.ts";
import type { Hal } from "../hal.ts";
import { soloHal } from "../solo-hal.ts";
import { ApicBase, type ApicMode } from "./apic-mode.ts";
import { emptyMessage, type ApicBus, type ApicCore, type ApicMessage } from "./bus.ts";
import { fillFromCommand } from "./command.ts";
import { isAddressed, logicalX2ApicId } from "./destinations.ts";
import { ErrorStatus } from "./error-status.ts";
import { InterruptState } from "./interrupt-state.ts";
import { checkNumbers, type ApicObserver, type LocalApicOptions } from "./local-apic-options.ts";
import { LocalVectors } from "./local-vectors.ts";
import { RegisterAccess } from "./register-access.ts";
import { X2ApicMsrs } from "./x2apic-msrs.ts";
import {
  ApicMsr,
  ApicRegister,
  ERROR_ILLEGAL_REGISTER,
  ERROR_RECEIVE_ILLEGAL_VECTOR,
  ERROR_REDIRECTABLE_IPI,
  ERROR_SEND_ILLEGAL_VECTOR,
  FIRST_LEGAL_VECTOR,
  LVT_MASKED,
  LVT_REGISTERS,
  LVT_TIMER_MODE_SHIFT,
  REGISTER_WORDS,
  SVR_ENABLE,
  SVR_SUPPRESS_EOI_BROADCAST,
  VERSION,
  x2apicMsr,
  type ApicDeliveryMode,
} from "./registers.ts";
import { ApicTimer, divisorOf } from "./timer.ts";

const DEFAULT_TIMER_HZ = 1e9;
/** What a read gives where nothing answers. */
const ALL_ONES = 0xffffffff;
const ICR_MSR = x2apicMsr(ApicRegister.InterruptCommandLow);
const SHORTHAND_SELF = 1;

/**
 * A processor's local APIC as its registers show it: priorities, requests and service, inter-processor interrupts, local
 * vectors and pins, timer, errors (Intel SDM volume 3A, chapter "Advanced Programmable Interrupt Controller"). It is programmed as
 * by a kernel: in xAPIC mode through its page, {@link LocalApic.read} and {@link LocalApic.write}; in x2APIC mode through
 * model-specific registers, {@link LocalApic.readMsr} and {@link LocalApic.writeMsr}; IA32_APIC_BASE changes the mode. Until bit 8
 * of the spurious vector register is set it accepts no fixed interrupt.
 *
 * Not modelled: the focus processor, arbitration ids and the bus errors of P6 processors, changing the APIC id, and the
 * delivery status, which always reads as idle.
 *
 * Thread-safety: none; an APIC belongs to the thread that plays its processor, and a message from another thread must come to that
 * thread first. Cost: no call allocates; accepting, acknowledging and ending take a few loads.
 *
 * @public
 */
export class LocalApic {
  readonly apicId: number;
  readonly #bus: ApicBus;
  readonly #core: ApicCore;
  readonly #hal: Hal;
  readonly #observer: ApicObserver | undefined;
  readonly #tscHz: number;
  readonly #sendsLowestPriority: boolean;
  readonly #base: ApicBase;
  readonly #state = new InterruptState();
  readonly #registers: Uint32Array = new Uint32Array(REGISTER_WORDS);
  readonly #vectors: LocalVectors;
  readonly #timer: ApicTimer;
  readonly #access: RegisterAccess;
  readonly #msrs: X2ApicMsrs;
  readonly #message = emptyMessage();
  readonly #errors = new ErrorStatus();
  #waitingForStartup = false;

  /** Throws `SMP_INVALID_ARGUMENT` for an id or a frequency that cannot be. */
  constructor(options: LocalApicOptions) {
    const { apicId, x2apic = false, timerHz = DEFAULT_TIMER_HZ, tscHz = 0 } = options;
    checkNumbers(apicId, x2apic, timerHz, tscHz);
    this.apicId = apicId;
    this.#bus = options.bus;
    this.#core = options.core ?? {};
    this.#hal = options.hal ?? soloHal();
    this.#observer = options.observer;
    this.#tscHz = tscHz;
    this.#sendsLowestPriority = options.lowestPriorityIpis ?? true;
    this.#base = new ApicBase(x2apic, options.bootProcessor ?? false);
    this.#vectors = new LocalVectors(this.#registers, (mode, vector, level) => this.#signal(mode, vector, level));
    this.#timer = new ApicTimer(timerHz, tscHz);
    this.#access = new RegisterAccess(false, tscHz > 0);
    this.#msrs = new X2ApicMsrs(new RegisterAccess(true, tscHz > 0));
    this.#reset();
  }

  /** How the registers are reached, by IA32_APIC_BASE. */
  get mode(): ApicMode {
    return this.#base.mode;
  }

  get x2apic(): boolean {
    return this.#base.mode === "x2apic";
  }

  /** Physical address of the register page in xAPIC mode. */
  get baseAddress(): number {
    return this.#base.address;
  }

  /** Whether software has enabled the APIC (bit 8 of the spurious vector register). */
  get enabled(): boolean {
    return (this.#get(ApicRegister.SpuriousVector) & SVR_ENABLE) !== 0;
  }

  /** The processor has had an INIT and no start-up interrupt since. */
  get waitingForStartup(): boolean {
    return this.#waitingForStartup;
  }

  /** The higher of task priority and the priority of what is in service; bits 4 to 7 are the class. */
  get processorPriority(): number {
    return this.#state.processorPriority;
  }

  /** The highest of task priority and of the classes requested and in service: the lowest takes a lowest-priority message. */
  get arbitrationPriority(): number {
    return this.#state.arbitrationPriority;
  }

  /** The logical id that messages are compared with, as the register shows it. */
  get logicalDestination(): number {
    return this.#get(ApicRegister.LogicalDestination);
  }

  /** How logical ids are compared in xAPIC mode, as the register shows it: bits 28 to 31 are all ones for the flat model. */
  get destinationFormat(): number {
    return this.#get(ApicRegister.DestinationFormat);
  }

  /** When to call {@link LocalApic.pollTimer} next; Infinity: the timer stands still. */
  get timerDeadlineNs(): number {
    return this.#timer.deadlineNs;
  }

  /**
   * Read a register of the page by its offset. A reserved offset reads as 0 and is noted in the error status. Outside of xAPIC
   * mode nothing answers: all ones.
   */
  read(offset: number): number {
    if (this.mode !== "xapic") return ALL_ONES;
    if (!this.#access.exists(offset)) {
      this.#noteError(ERROR_ILLEGAL_REGISTER);
      return 0;
    }
    return this.#access.canRead(offset) ? this.#readRegister(offset) : 0;
  }

  /**
   * Write a register of the page by its offset; bits that cannot be written keep their value. A write to the low command word
   * sends. A reserved offset is noted in the error status; outside of xAPIC mode nothing happens.
   */
  write(offset: number, value: number): void {
    if (this.mode !== "xapic") return;
    if (!this.#access.exists(offset)) this.#noteError(ERROR_ILLEGAL_REGISTER);
    else if (this.#access.canWrite(offset)) this.#writeRegister(offset, value);
  }

  /**
   * Read the low 32 bits of a model-specific register (RDMSR's EAX): IA32_APIC_BASE, IA32_TSC_DEADLINE, and in x2APIC mode 0x800 to
   * 0x8ff. Throws `SMP_GENERAL_PROTECTION` where a processor faults.
   */
  readMsr(msr: number): number {
    if (msr === ApicMsr.Base) return this.#base.low;
    if (msr === ApicMsr.TscDeadline && this.#tscHz > 0) return this.#timer.tscDeadline % 2 ** 32;
    return this.#readRegister(this.#msrs.read(msr, this.x2apic));
  }

  /** As {@link LocalApic.readMsr}, the high 32 bits (EDX). */
  readMsrHigh(msr: number): number {
    if (msr === ApicMsr.Base) return this.#base.high;
    if (msr === ApicMsr.TscDeadline && this.#tscHz > 0) return Math.floor(this.#timer.tscDeadline / 2 ** 32);
    this.#msrs.read(msr, this.x2apic);
    return msr === ICR_MSR ? this.#get(ApicRegister.InterruptCommandHigh) : 0;
  }

  /**
   * Write a model-specific register (WRMSR). Throws `SMP_GENERAL_PROTECTION` where a processor faults, and changes nothing then:
   * no such register in this mode, a register that cannot be written, a reserved bit set, a change of mode that is not legal.
   *
   * @param low - bits 0 to 31 (EAX). @param high - bits 32 to 63 (EDX), default 0.
   */
  writeMsr(msr: number, low: number, high = 0): void {
    if (msr === ApicMsr.Base) return this.#writeBase(low, high);
    if (msr === ApicMsr.TscDeadline && this.#tscHz > 0) return this.#armTsc(low, high);
    const offset = this.#msrs.write(msr, low, high, this.x2apic);
    if (msr === ICR_MSR) this.#set(ApicRegister.InterruptCommandHigh, high);
    this.#writeRegister(offset, low);
  }

  /**
   * Request a fixed interrupt. A vector below 16 is refused and noted in the error status; any is while software has the
   * APIC disabled. A second request of a vector that is requested already is the same request.
   *
   * @returns whether it was accepted.
   */
  acceptFixed(vector: number, levelTriggered = false): boolean {
    if (vector < FIRST_LEGAL_VECTOR) {
      this.#noteError(ERROR_RECEIVE_ILLEGAL_VECTOR);
      return false;
    }
    if (!this.enabled) return false;
    this.#state.accept(vector, levelTriggered);
    this.#bus.priorityChanged?.(this);
    this.#observer?.onAccept?.(this, vector);
    return true;
  }

  /** Whether a requested interrupt's priority class is above the processor's. */
  hasDeliverable(): boolean {
    return this.#state.deliverable;
  }

  /** The processor takes the highest deliverable interrupt: from requested to in service. -1: none is deliverable. */
  acknowledge(): number {
    const vector = this.#state.acknowledge();
    if (vector < 0) return vector;
    this.#bus.priorityChanged?.(this);
    this.#observer?.onAcknowledge?.(this, vector);
    return vector;
  }

  /**
   * The processor answers an interrupt line that it saw a moment ago: as {@link LocalApic.acknowledge}, but where the interrupt is no
   * longer deliverable (the task priority was raised meanwhile) it gets the spurious vector, of which nothing is in service
   * and no end is due (section 10.9).
   */
  acknowledgeLine(): number {
    const vector = this.acknowledge();
    return vector >= 0 ? vector : this.#get(ApicRegister.SpuriousVector) & 0xff;
  }

  /** Whether `message` from the APIC with id `from` (-1: a device) is for this one. */
  isAddressed(from: number, message: ApicMessage): boolean {
    return isAddressed(message, from, this.apicId, this.mode, this.logicalDestination, this.destinationFormat);
  }

  /** Take a message that is for this APIC. */
  receive(message: ApicMessage): void {
    this.#signal(message.mode, message.vector, message.levelTriggered);
  }

  /**
   * A local source has an interrupt: deliver it as its local vector (one of the `Lvt` registers) says. For the pins LINT0 and
   * LINT1 see {@link LocalApic.setPin} too.
   *
   * @returns whether it was delivered: not masked, and accepted.
   */
  raiseLocal(lvt: number): boolean {
    if (!LVT_REGISTERS.includes(lvt)) {
      throw new SmpError("SMP_INVALID_ARGUMENT", `0x${lvt.toString(16)} is no local vector's register`);
    }
    return this.#vectors.raise(lvt);
  }

  /**
   * The electrical level of the pin LINT0 or LINT1 is `high` now: edges and levels as the local vector says. While the APIC is
   * switched off in IA32_APIC_BASE they are the processor's INTR and NMI (section 10.4.3).
   */
  setPin(pin: 0 | 1, high: boolean): void {
    const rises = high && !this.#vectors.isPinHigh(pin);
    this.#vectors.setPin(pin, high);
    if (this.mode !== "disabled" || !rises) return;
    if (pin === 0) this.#core.extInt?.();
    else this.#core.nmi?.();
  }

  /** Let the timer's interrupt happen if it is due; returns whether it was. Periods that were missed count as one. */
  pollTimer(): boolean {
    if (!this.#timer.poll(this.#hal.now())) return false;
    this.#vectors.raise(ApicRegister.LvtTimer);
    this.#observer?.onTimer?.(this, this.timerDeadlineNs);
    return true;
  }

  #readRegister(offset: number): number {
    if (offset >= ApicRegister.InService && offset < ApicRegister.ErrorStatus) {
      const { inService, levelTriggered, requests } = this.#state;
      const set = offset < ApicRegister.TriggerMode ? inService : offset < 0x200 ? levelTriggered : requests;
      return set.word((offset >>> 4) & 7);
    }
    switch (offset) {
      case ApicRegister.TaskPriority:
        return this.#state.taskPriority;
      case ApicRegister.ProcessorPriority:
        return this.processorPriority;
      case ApicRegister.ArbitrationPriority:
        return this.arbitrationPriority;
      case ApicRegister.CurrentCount:
        return this.#timer.count(this.#hal.now());
      default:
        return this.#get(offset);
    }
  }

  #writeRegister(offset: number, value: number): void {
    switch (offset) {
      case ApicRegister.EndOfInterrupt:
        return this.#endOfInterrupt();
      case ApicRegister.TaskPriority:
        this.#state.taskPriority = value & 0xff;
        this.#bus.priorityChanged?.(this);
        return;
      case ApicRegister.ErrorStatus:
        this.#set(offset, this.#errors.take());
        return;
      case ApicRegister.SelfIpi:
        return this.#sendToSelf(value & 0xff);
      default: {
        const writable = this.#access.writable(offset);
        this.#set(offset, (this.#get(offset) & ~writable) | (value & writable));
        this.#afterWrite(offset);
      }
    }
  }

  #afterWrite(offset: number): void {
    switch (offset) {
      case ApicRegister.InterruptCommandLow:
        return this.#send();
      case ApicRegister.InitialCount:
        this.#timer.start(this.#get(offset), this.#hal.now());
        this.#observer?.onTimer?.(this, this.timerDeadlineNs);
        return;
      case ApicRegister.DivideConfiguration:
        this.#timer.setDivisor(divisorOf(this.#get(offset)), this.#hal.now());
        this.#observer?.onTimer?.(this, this.timerDeadlineNs);
        return;
      case ApicRegister.LvtTimer:
        this.#timer.setMode((this.#get(offset) >>> LVT_TIMER_MODE_SHIFT) & 3);
        break;
      default:
    }
    if (!this.enabled) this.#vectors.maskAll();
    this.#vectors.written(offset);
    this.#bus.changed?.(this);
  }

  #writeBase(low: number, high: number): void {
    const before = this.#base.write(low, high);
    if (before === this.mode) return;
    if (before === "xapic" && this.mode === "x2apic") this.#identify();
    else this.#reset();
    this.#bus.changed?.(this);
  }

  #armTsc(low: number, high: number): void {
    this.#timer.armTsc((high >>> 0) * 2 ** 32 + (low >>> 0));
    this.#observer?.onTimer?.(this, this.timerDeadlineNs);
  }

  #endOfInterrupt(): void {
    const vector = this.#state.end();
    if (vector < 0) return;
    this.#bus.priorityChanged?.(this);
    const levelTriggered = this.#state.levelTriggered.has(vector);
    if (levelTriggered) {
      this.#vectors.endOfInterrupt(vector);
      const suppressed = (this.#get(ApicRegister.SpuriousVector) & SVR_SUPPRESS_EOI_BROADCAST) !== 0;
      if (!suppressed) this.#bus.endOfInterrupt?.(vector);
    }
    this.#observer?.onEndOfInterrupt?.(this, vector, levelTriggered);
  }

  #send(): void {
    const message = this.#message;
    const low = this.#get(ApicRegister.InterruptCommandLow);
    if (!fillFromCommand(message, low, this.#get(ApicRegister.InterruptCommandHigh), this.x2apic)) return;
    if (message.mode === "lowest-priority" && !this.#sendsLowestPriority) this.#noteError(ERROR_REDIRECTABLE_IPI);
    else if (message.vector < FIRST_LEGAL_VECTOR && (message.mode === "fixed" || message.mode === "lowest-priority")) {
      this.#noteError(ERROR_SEND_ILLEGAL_VECTOR);
      if (message.shorthand === SHORTHAND_SELF) this.#noteError(ERROR_RECEIVE_ILLEGAL_VECTOR);
    } else this.#bus.deliver(this.apicId, message);
  }

  /** The register that sends a fixed, edge-triggered interrupt to its own processor (section 10.12.11): it is accepted at once. */
  #sendToSelf(vector: number): void {
    if (vector < FIRST_LEGAL_VECTOR) this.#noteError(ERROR_SEND_ILLEGAL_VECTOR);
    this.acceptFixed(vector);
  }

  #signal(mode: ApicDeliveryMode, vector: number, levelTriggered: boolean): boolean {
    switch (mode) {
      case "fixed":
      case "lowest-priority":
        return this.acceptFixed(vector, levelTriggered);
      case "init":
        this.#reset();
        this.#bus.changed?.(this);
        this.#waitingForStartup = !this.#base.bootProcessor;
        this.#core.init?.();
        return true;
      case "startup":
        if (!this.#waitingForStartup) return false;
        this.#waitingForStartup = false;
        this.#core.startup?.(vector);
        return true;
      default:
        if (this.#waitingForStartup) return false;
        if (mode === "nmi") this.#core.nmi?.();
        else if (mode === "smi") this.#core.smi?.();
        else this.#core.extInt?.();
        return true;
    }
  }

  #noteError(bit: number): void {
    if (!this.#errors.note(bit)) return;
    this.#observer?.onError?.(this, this.#errors.pending);
    const entry = this.#get(ApicRegister.LvtError);
    if ((entry & LVT_MASKED) === 0) this.acceptFixed(entry & 0xff);
  }

  /** The state after power-up or INIT (sections 10.4.7.1 and 10.4.7.3); the id and the mode survive. */
  #reset(): void {
    this.#registers.fill(0);
    this.#errors.take();
    this.#waitingForStartup = false;
    this.#state.reset();
    this.#timer.reset();
    this.#vectors.reset();
    this.#set(ApicRegister.Version, VERSION);
    this.#set(ApicRegister.DestinationFormat, 0xffffffff);
    this.#set(ApicRegister.SpuriousVector, 0xff);
    this.#identify();
  }

  /** Ids as the mode shows them. */
  #identify(): void {
    this.#set(ApicRegister.Id, this.x2apic ? this.apicId : this.apicId << 24);
    this.#set(ApicRegister.InterruptCommandHigh, 0);
    if (!this.x2apic) return;
    this.#set(ApicRegister.LogicalDestination, logicalX2ApicId(this.apicId));
  }

  #get(offset: number): number {
    return this.#registers[offset >> 4];
  }

  #set(offset: number, value: number): void {
    this.#registers[offset >> 4] = value;
  }
}
