import { ApicMsr, ApicRegister, apicCommand, msiAddress, x2apicMsr, type ApicDeliveryMode, type CpuId } from "@x/smp";
import type { Machine } from "../machine/machine.ts";
import type { Platform } from "./platform.ts";
import type { TimerRates } from "./timer-calibration.ts";
import { ERROR_VECTOR, LOCAL_TIMER_VECTOR, SPURIOUS_VECTOR, TRAMPOLINE_VECTOR } from "./vectors.ts";

/* Bits of local APIC registers (Intel SDM, volume 3, chapter on the APIC). */
const BASE_EXTENDED = 1 << 10;
const SVR_ENABLE = 1 << 8;
const LVT_MASKED = 1 << 16;
const LVT_LOW = 1 << 13;
const LVT_NMI = 4 << 8;
const LVT_EXT_INT = 7 << 8;
const TIMER_PERIODIC = 1 << 17;
const TIMER_TSC_DEADLINE = 2 << 17;
const TIMER_DIVIDE_BY_16 = 0x3;
/** Nothing of the class of the exceptions comes through. */
const TASK_PRIORITY = 0x10;
/** Logical ids of the flat model: one bit for each of so many processors. */
const FLAT_CPUS = 8;

/** How interrupts name their processors, as Linux calls it. */
export type ApicRouting = "flat" | "physical flat" | "physical x2apic";

/**
 * The kernel's driver of the local APICs. It takes x2APIC mode where the firmware has it already or the MADT has x2APIC
 * entries, else logical ids for up to eight processors and physical ones for more.
 */
export class ApicDriver {
  readonly routing: ApicRouting;
  /** What the timer's clock is divided by. */
  readonly divisor = 16;
  /** The firmware handed over in x2APIC mode. */
  readonly x2apicByFirmware: boolean;
  readonly #machine: Machine;
  readonly #x2apic: boolean;
  readonly #flat: boolean;
  /** What a message or a device names each CPU by. */
  readonly #destinations: readonly number[];
  readonly #apicIds: readonly number[];
  /** The local vector that NMI is wired to, and its entry. */
  readonly #nmiPin: number;
  readonly #nmiEntry: number;
  /** Between two interrupts of the timer; 0: it repeats by itself. */
  #periodTsc = 0;
  /** The value of the time-stamp counter that each CPU's timer waits for. */
  readonly #nextTsc: Float64Array;

  constructor(machine: Machine, { madt, processors }: Platform) {
    this.#machine = machine;
    this.#nextTsc = new Float64Array(machine.cpuCount);
    this.x2apicByFirmware = machine.apics[0].x2apic;
    this.#x2apic = this.x2apicByFirmware || madt.entries.some(({ kind }) => kind === "local-x2apic");
    this.#flat = !this.#x2apic && processors.length <= FLAT_CPUS;
    this.routing = this.#x2apic ? "physical x2apic" : this.#flat ? "flat" : "physical flat";
    const nmi = madt.entries.find((entry) => entry.kind === "local-apic-nmi" || entry.kind === "local-x2apic-nmi");
    this.#nmiPin = nmi?.lint === 0 ? ApicRegister.LvtLint0 : ApicRegister.LvtLint1;
    this.#nmiEntry = LVT_NMI | (nmi !== undefined && (nmi.intiFlags & 3) === 3 ? LVT_LOW : 0);
    this.#apicIds = processors.map(({ apicId }) => apicId);
    this.#destinations = this.#flat ? processors.map((_, cpu) => 1 << cpu) : this.#apicIds;
  }

  get x2apic(): boolean {
    return this.#x2apic;
  }

  /** CPUs are named by logical ids. */
  get logical(): boolean {
    return this.#flat;
  }

  /** What names `cpu` in messages. */
  destination(cpu: CpuId): number {
    return this.#destinations[cpu];
  }

  /** Read and clear the error status of the calling CPU's local APIC: before and after. */
  takeErrors(): { readonly before: number; readonly after: number } {
    const before = this.#machine.apicRead(ApicRegister.ErrorStatus);
    this.#write(ApicRegister.ErrorStatus, 0);
    return { before, after: this.#machine.apicRead(ApicRegister.ErrorStatus) };
  }

  /** Set the calling processor's local APIC up and switch it on. */
  enable(): void {
    const { current, apics } = this.#machine;
    if (this.#x2apic && !apics[current].x2apic) this.#enterX2Apic();
    if (this.#flat) {
      this.#write(ApicRegister.DestinationFormat, 0xffffffff);
      this.#write(ApicRegister.LogicalDestination, 1 << (24 + current));
    }
    this.#write(ApicRegister.TaskPriority, TASK_PRIORITY);
    this.#write(ApicRegister.SpuriousVector, SVR_ENABLE | SPURIOUS_VECTOR);
    // External interrupts come through the I/O APIC; NMI of the board goes to the boot processor.
    this.#write(ApicRegister.LvtLint0, LVT_EXT_INT | LVT_MASKED);
    this.#write(this.#nmiPin, this.#nmiEntry | (current === 0 ? 0 : LVT_MASKED));
    this.#write(ApicRegister.ErrorStatus, 0);
    this.#write(ApicRegister.LvtError, ERROR_VECTOR);
  }

  /** Interrupt a CPU. */
  interrupt(cpu: CpuId, vector: number): void {
    this.#send(this.#destinations[cpu], apicCommand({ mode: "fixed", vector, logical: this.#flat }));
  }

  sendInit(cpu: CpuId): void {
    this.#startMessage(cpu, "init", 0);
  }

  /** The start-up message of the boot protocol. */
  sendStartup(cpu: CpuId): void {
    this.#startMessage(cpu, "startup", TRAMPOLINE_VECTOR);
  }

  endOfInterrupt(): void {
    this.#write(ApicRegister.EndOfInterrupt, 0);
  }

  /** Let the timer of the calling CPU count down, without interrupts, to be measured. */
  startCounting(): void {
    this.#write(ApicRegister.DivideConfiguration, TIMER_DIVIDE_BY_16);
    this.#write(ApicRegister.LvtTimer, LVT_MASKED | LOCAL_TIMER_VECTOR);
    this.#write(ApicRegister.InitialCount, 0xffffffff);
  }

  stopCounting(): void {
    this.#write(ApicRegister.InitialCount, 0);
  }

  /** What the timer of the calling CPU has left to count. */
  currentCount(): number {
    return this.#machine.apicRead(ApicRegister.CurrentCount);
  }

  /**
   * Have the timer of the calling CPU interrupt every `periodNs`; {@link ApicDriver.continueTimer} keeps it going.
   *
   * @param rates - what was measured: `apicHz` after the divider.
   */
  startTimer(periodNs: number, rates: TimerRates): void {
    const { tscHz, current } = this.#machine;
    if (tscHz > 0) {
      this.#write(ApicRegister.LvtTimer, TIMER_TSC_DEADLINE | LOCAL_TIMER_VECTOR);
      this.#periodTsc = Math.round((rates.tscHz / 1e9) * periodNs);
      this.#nextTsc[current] = this.#machine.readTsc();
      this.continueTimer();
      return;
    }
    this.#write(ApicRegister.DivideConfiguration, TIMER_DIVIDE_BY_16);
    this.#write(ApicRegister.LvtTimer, TIMER_PERIODIC | LOCAL_TIMER_VECTOR);
    this.#write(ApicRegister.InitialCount, Math.max(Math.round((rates.apicHz / 1e9) * periodNs), 1));
  }

  /** After each interrupt of the timer: one that waits for the time-stamp counter is given its next value. */
  continueTimer(): void {
    if (this.#periodTsc === 0) return;
    const { current } = this.#machine;
    const period = this.#periodTsc;
    const late = Math.max(this.#machine.readTsc() - this.#nextTsc[current], 0);
    const next = this.#nextTsc[current] + period * (Math.floor(late / period) + 1);
    this.#nextTsc[current] = next;
    this.#machine.apicWriteMsr(ApicMsr.TscDeadline, next % 2 ** 32, Math.floor(next / 2 ** 32));
  }

  /** The calling CPU's timer interrupts no more. */
  stopTimer(): void {
    this.#write(ApicRegister.LvtTimer, LVT_MASKED | LOCAL_TIMER_VECTOR);
    if (this.#machine.tscHz > 0) this.#machine.apicWriteMsr(ApicMsr.TscDeadline, 0, 0);
    else this.#write(ApicRegister.InitialCount, 0);
  }

  /** Where a device writes to interrupt `cpu`. */
  messageAddress(cpu: CpuId): number {
    return msiAddress({ destination: this.#destinations[cpu], logical: this.#flat });
  }

  #enterX2Apic(): void {
    const apic = this.#machine.apics[this.#machine.current];
    this.#machine.apicWriteMsr(
      ApicMsr.Base,
      apic.readMsr(ApicMsr.Base) | BASE_EXTENDED,
      apic.readMsrHigh(ApicMsr.Base),
    );
  }

  /** A processor that has not begun has no logical id yet. */
  #startMessage(cpu: CpuId, mode: ApicDeliveryMode, vector: number): void {
    this.#send(this.#apicIds[cpu], apicCommand({ mode, vector }));
  }

  #send(destination: number, command: number): void {
    if (this.#x2apic) {
      this.#machine.apicWriteMsr(x2apicMsr(ApicRegister.InterruptCommandLow), command, destination);
      return;
    }
    this.#machine.apicWrite(ApicRegister.InterruptCommandHigh, destination << 24);
    this.#machine.apicWrite(ApicRegister.InterruptCommandLow, command);
  }

  #write(offset: number, value: number): void {
    if (this.#x2apic) this.#machine.apicWriteMsr(x2apicMsr(offset), value, 0);
    else this.#machine.apicWrite(offset, value);
  }
}
