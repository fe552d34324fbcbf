import { SmpError } from "../errors.ts";
import type { Hal } from "../hal.ts";
import { soloHal } from "../solo-hal.ts";
import type { ApicBus, ApicCore, ApicMessage } from "./bus.ts";
import {
  ApicRegister,
  DELIVERY_MODES,
  ERROR_ILLEGAL_REGISTER,
  ERROR_RECEIVE_ILLEGAL_VECTOR,
  ERROR_SEND_ILLEGAL_VECTOR,
  FIRST_LEGAL_VECTOR,
  ICR_ASSERT,
  ICR_LEVEL,
  ICR_LOGICAL,
  ICR_SHORTHAND_SHIFT,
  LVT_MASKED,
  LVT_PERIODIC,
  LVT_REGISTERS,
  REGISTER_WORDS,
  SVR_ENABLE,
  VERSION,
  WRITABLE_BITS,
  type ApicDeliveryMode,
  type ApicShorthand,
} from "./registers.ts";
import { ApicTimer, divisorOf } from "./timer.ts";
import { addVector, deleteVector, hasVector, highestVector } from "./vectors.ts";

const ISR = ApicRegister.InService >> 4;
const TMR = ApicRegister.TriggerMode >> 4;
const IRR = ApicRegister.InterruptRequest >> 4;
const DEFAULT_TIMER_HZ = 1e9;

/**
 * What happens to a local APIC.
 *
 * @public
 */
export interface ApicObserver {
  /** `vector` has been requested. */
  onAccept?(apic: LocalApic, vector: number): void;
  /** `vector` goes to the processor. */
  onAcknowledge?(apic: LocalApic, vector: number): void;
  /** The processor has finished `vector`. An I/O APIC wants to know it of level-triggered ones. */
  onEndOfInterrupt?(apic: LocalApic, vector: number, levelTriggered: boolean): void;
  /** The timer is due at `deadlineNs`; Infinity: never. */
  onTimer?(apic: LocalApic, deadlineNs: number): void;
}

/**
 * A processor's local APIC as its registers show it: priorities, requests and service, inter-processor interrupts, local
 * vectors, timer (Intel SDM volume 3A, chapter "Advanced Programmable Interrupt Controller"). As after power-up it is
 * disabled by software: until bit 8 of the spurious vector register is set it accepts no fixed interrupt.
 *
 * Not modelled: the TSC deadline mode of the timer, arbitration, the delivery status (always sent at once), MSR access of
 * the x2APIC (registers stay at their offsets; destinations are 32 bits wide in the high command word).
 *
 * Thread-safety: none; it belongs to the thread that emulates the machine. Cost: no call allocates.
 *
 * @public
 */
export class LocalApic {
  readonly apicId: number;
  readonly x2apic: boolean;
  readonly #broadcastId: number;
  readonly #registers: Uint32Array = new Uint32Array(REGISTER_WORDS);
  readonly #bus: ApicBus;
  readonly #core: ApicCore;
  readonly #hal: Hal;
  readonly #observer: ApicObserver | undefined;
  readonly #timer: ApicTimer;
  readonly #message: { -readonly [Key in keyof ApicMessage]: ApicMessage[Key] } = {
    mode: "fixed",
    vector: 0,
    destination: 0,
    shorthand: 0,
    logical: false,
    levelTriggered: false,
  };
  /** Errors since the last write to the error status register, which makes them visible. */
  #errors = 0;
  #waitingForStartup = false;

  /**
   * @param options - `apicId`: 0 to 254, with `x2apic` to 2^32 - 2 (else `SMP_INVALID_ARGUMENT`). `hal` gives the timer its
   * time. `timerHz`: frequency before division, default 1 GHz.
   */
  constructor(options: {
    readonly apicId: number;
    readonly bus: ApicBus;
    readonly core?: ApicCore | undefined;
    readonly hal?: Hal | undefined;
    readonly x2apic?: boolean | undefined;
    readonly timerHz?: number | undefined;
    readonly observer?: ApicObserver | undefined;
  }) {
    const { apicId, x2apic = false, timerHz = DEFAULT_TIMER_HZ } = options;
    this.#broadcastId = x2apic ? 0xffffffff : 0xff;
    if (!Number.isInteger(apicId) || apicId < 0 || apicId >= this.#broadcastId) {
      throw new SmpError("SMP_INVALID_ARGUMENT", `APIC id ${apicId} is not from 0 to ${this.#broadcastId - 1}`);
    }
    if (!(timerHz > 0)) throw new SmpError("SMP_INVALID_ARGUMENT", `a timer of ${timerHz} Hz is not possible`);
    this.apicId = apicId;
    this.x2apic = x2apic;
    this.#bus = options.bus;
    this.#core = options.core ?? {};
    this.#hal = options.hal ?? soloHal();
    this.#observer = options.observer;
    this.#timer = new ApicTimer(timerHz);
    this.#reset();
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
    const task = this.#get(ApicRegister.TaskPriority);
    const inService = Math.max(highestVector(this.#registers, ISR), 0) & 0xf0;
    return (task & 0xf0) >= inService ? task : inService;
  }

  /** When to call {@link LocalApic.pollTimer} next; Infinity: the timer stands still. */
  get timerDeadlineNs(): number {
    return this.#timer.deadlineNs;
  }

  /** Read a register by its offset. An offset without a register reads as 0 and is noted in the error status. */
  read(offset: number): number {
    switch (offset) {
      case ApicRegister.ProcessorPriority:
        return this.processorPriority;
      case ApicRegister.CurrentCount:
        return this.#timer.count(this.#hal.now(), this.#timerIsPeriodic());
      case ApicRegister.EndOfInterrupt:
        return 0;
      default:
        if (isRegister(offset)) return this.#get(offset);
        this.#noteError(ERROR_ILLEGAL_REGISTER);
        return 0;
    }
  }

  /**
   * Write a register by its offset; bits that cannot be written keep their value. A write to the low command word sends.
   * A register that does not exist or cannot be written is noted in the error status.
   */
  write(offset: number, value: number): void {
    const writable = WRITABLE_BITS[offset];
    if (writable === undefined || (this.x2apic && isFixedInX2Apic(offset))) {
      this.#noteError(ERROR_ILLEGAL_REGISTER);
      return;
    }
    this.#set(offset, (this.#get(offset) & ~writable) | (value & writable));
    this.#afterWrite(offset);
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
    addVector(this.#registers, IRR, vector);
    if (levelTriggered) addVector(this.#registers, TMR, vector);
    else deleteVector(this.#registers, TMR, vector);
    this.#observer?.onAccept?.(this, vector);
    return true;
  }

  /** Whether a requested interrupt's priority class is above the processor's. */
  hasDeliverable(): boolean {
    return highestVector(this.#registers, IRR) >> 4 > this.processorPriority >> 4;
  }

  /** The processor takes the highest deliverable interrupt: from requested to in service. -1: none is deliverable. */
  acknowledge(): number {
    if (!this.hasDeliverable()) return -1;
    const vector = highestVector(this.#registers, IRR);
    deleteVector(this.#registers, IRR, vector);
    addVector(this.#registers, ISR, vector);
    this.#observer?.onAcknowledge?.(this, vector);
    return vector;
  }

  /** Whether `message` from the APIC with id `from` is for this one. */
  isAddressed(from: number, message: ApicMessage): boolean {
    switch (message.shorthand) {
      case 1:
        return from === this.apicId;
      case 2:
        return true;
      case 3:
        return from !== this.apicId;
      default:
        return message.logical ? this.#hasLogicalId(message.destination) : this.#hasPhysicalId(message.destination);
    }
  }

  /** Take a message that is for this APIC. */
  receive(message: ApicMessage): void {
    switch (message.mode) {
      case "init":
        this.#reset();
        this.#waitingForStartup = true;
        this.#core.init?.();
        break;
      case "startup":
        if (this.#waitingForStartup) {
          this.#waitingForStartup = false;
          this.#core.startup?.(message.vector);
        }
        break;
      default:
        this.#signal(message.mode, message.vector, message.levelTriggered);
    }
  }

  /**
   * A local source has an interrupt: deliver it as its local vector (one of the `Lvt` registers) says.
   *
   * @returns whether it was delivered: not masked, and accepted.
   */
  raiseLocal(lvt: number): boolean {
    if (!LVT_REGISTERS.includes(lvt)) {
      throw new SmpError("SMP_INVALID_ARGUMENT", `0x${lvt.toString(16)} is no local vector's register`);
    }
    const entry = this.#get(lvt);
    const mode = DELIVERY_MODES[(entry >>> 8) & 7];
    if ((entry & LVT_MASKED) !== 0 || mode === undefined) return false;
    return this.#signal(mode, entry & 0xff, (entry & ICR_LEVEL) !== 0);
  }

  /** Let the timer's interrupt happen if it is due; returns whether it was. Periods that were missed count as one. */
  pollTimer(): boolean {
    if (!this.#timer.poll(this.#hal.now(), this.#timerIsPeriodic())) return false;
    this.raiseLocal(ApicRegister.LvtTimer);
    this.#observer?.onTimer?.(this, this.timerDeadlineNs);
    return true;
  }

  #afterWrite(offset: number): void {
    switch (offset) {
      case ApicRegister.EndOfInterrupt:
        return this.#endOfInterrupt();
      case ApicRegister.ErrorStatus:
        this.#set(offset, this.#errors);
        this.#errors = 0;
        return;
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
      default:
        // While software has the APIC disabled every local vector is masked and stays so.
        if (!this.enabled) for (const lvt of LVT_REGISTERS) this.#set(lvt, this.#get(lvt) | LVT_MASKED);
    }
  }

  #endOfInterrupt(): void {
    const vector = highestVector(this.#registers, ISR);
    if (vector < 0) return;
    deleteVector(this.#registers, ISR, vector);
    this.#observer?.onEndOfInterrupt?.(this, vector, hasVector(this.#registers, TMR, vector));
  }

  #send(): void {
    const low = this.#get(ApicRegister.InterruptCommandLow);
    const high = this.#get(ApicRegister.InterruptCommandHigh);
    const mode = DELIVERY_MODES[(low >>> 8) & 7];
    // An INIT that is de-asserted only synchronised the arbitration of processors before the Pentium 4.
    if (mode === undefined || (mode === "init" && (low & (ICR_ASSERT | ICR_LEVEL)) === ICR_LEVEL)) return;
    const message = this.#message;
    message.mode = mode;
    message.vector = low & 0xff;
    message.destination = this.x2apic ? high : high >>> 24;
    message.shorthand = ((low >>> ICR_SHORTHAND_SHIFT) & 3) as ApicShorthand;
    message.logical = (low & ICR_LOGICAL) !== 0;
    message.levelTriggered = (low & ICR_LEVEL) !== 0;
    const needsVector = mode === "fixed" || mode === "lowest-priority";
    if (needsVector && message.vector < FIRST_LEGAL_VECTOR) this.#noteError(ERROR_SEND_ILLEGAL_VECTOR);
    else this.#bus.deliver(this.apicId, message);
  }

  #signal(mode: ApicDeliveryMode, vector: number, levelTriggered: boolean): boolean {
    if (mode === "fixed" || mode === "lowest-priority") return this.acceptFixed(vector, levelTriggered);
    if (this.#waitingForStartup) return false;
    if (mode === "nmi") this.#core.nmi?.();
    if (mode === "smi") this.#core.smi?.();
    return true;
  }

  #noteError(bit: number): void {
    this.#errors |= bit;
    const entry = this.#get(ApicRegister.LvtError);
    // An error vector that is itself illegal would be the next error, for ever.
    if ((entry & LVT_MASKED) === 0 && (entry & 0xff) >= FIRST_LEGAL_VECTOR) this.acceptFixed(entry & 0xff);
  }

  #hasPhysicalId(destination: number): boolean {
    return destination === this.apicId || destination === this.#broadcastId;
  }

  #hasLogicalId(destination: number): boolean {
    if (destination === this.#broadcastId) return true;
    const own = this.#get(ApicRegister.LogicalDestination);
    if (this.x2apic) return destination >>> 16 === own >>> 16 && (destination & own & 0xffff) !== 0;
    const ids = own >>> 24;
    if (this.#get(ApicRegister.DestinationFormat) === 0xffffffff) return (destination & ids) !== 0;
    return destination >>> 4 === ids >>> 4 && (destination & ids & 0xf) !== 0;
  }

  #timerIsPeriodic(): boolean {
    return (this.#get(ApicRegister.LvtTimer) & LVT_PERIODIC) !== 0;
  }

  /** The state after power-up or INIT; the id survives. */
  #reset(): void {
    this.#registers.fill(0);
    this.#errors = 0;
    this.#timer.start(0, 0);
    this.#timer.setDivisor(divisorOf(0), 0);
    this.#set(ApicRegister.Id, this.x2apic ? this.apicId : this.apicId << 24);
    this.#set(ApicRegister.Version, VERSION);
    // In x2APIC mode the logical id follows from the id: cluster in the high half, one bit of 16 in the low.
    if (this.x2apic)
      this.#set(ApicRegister.LogicalDestination, ((this.apicId >>> 4) << 16) | (1 << (this.apicId & 15)));
    this.#set(ApicRegister.DestinationFormat, 0xffffffff);
    this.#set(ApicRegister.SpuriousVector, 0xff);
    for (const lvt of LVT_REGISTERS) this.#set(lvt, LVT_MASKED);
  }

  #get(offset: number): number {
    return this.#registers[offset >> 4];
  }

  #set(offset: number, value: number): void {
    this.#registers[offset >> 4] = value;
  }
}

const REGISTER_OFFSETS: ReadonlySet<number> = new Set<number>(Object.values(ApicRegister));

function isRegister(offset: number): boolean {
  const inVectorSet = offset >= ApicRegister.InService && offset < ApicRegister.ErrorStatus && offset % 16 === 0;
  return inVectorSet || REGISTER_OFFSETS.has(offset);
}

/** The logical destination cannot be written in x2APIC mode, and the destination format does not exist. */
function isFixedInX2Apic(offset: number): boolean {
  return offset === ApicRegister.LogicalDestination || offset === ApicRegister.DestinationFormat;
}
