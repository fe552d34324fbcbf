import { SmpError } from "../errors.ts";
import type { Hal } from "../hal.ts";
import { EVERYBODY, XAPIC_EVERYBODY, type ApicBus, type ApicCore } from "./bus.ts";
import type { LocalApic } from "./local-apic.ts";

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
  /** The processor has finished `vector`. */
  onEndOfInterrupt?(apic: LocalApic, vector: number, levelTriggered: boolean): void;
  /** The timer is due at `deadlineNs`; Infinity: never. */
  onTimer?(apic: LocalApic, deadlineNs: number): void;
  /** Bits of the error status register, set since the last time it was written. */
  onError?(apic: LocalApic, bits: number): void;
}

/**
 * What a {@link LocalApic} is made of.
 *
 * @public
 */
export interface LocalApicOptions {
  /** 0 to 254; to 2^32 - 2 where the APIC begins in x2APIC mode, as firmware leaves it on a machine with such ids. */
  readonly apicId: number;
  readonly bus: ApicBus;
  readonly core?: ApicCore | undefined;
  /** Gives the timer its time; default {@link soloHal}. */
  readonly hal?: Hal | undefined;
  /** Begin in x2APIC mode. Default: xAPIC mode, enabled in IA32_APIC_BASE, disabled by software, as after power-up. */
  readonly x2apic?: boolean | undefined;
  /** Its processor is the boot processor, which does not wait for a start-up interrupt after INIT. */
  readonly bootProcessor?: boolean | undefined;
  /** Frequency of the timer before division, default 1 GHz. */
  readonly timerHz?: number | undefined;
  /** Frequency of the time-stamp counter, which is 0 at time 0. Default: the timer has no TSC-deadline mode. */
  readonly tscHz?: number | undefined;
  /** The processor can send lowest-priority interrupts, default true. Newer ones cannot: bit 4 of the error status. */
  readonly lowestPriorityIpis?: boolean | undefined;
  readonly observer?: ApicObserver | undefined;
}

/** Throws `SMP_INVALID_ARGUMENT` for what cannot be. */
export function checkNumbers(apicId: number, x2apic: boolean, timerHz: number, tscHz: number): void {
  const ids = x2apic ? EVERYBODY : XAPIC_EVERYBODY;
  if (!Number.isInteger(apicId) || apicId < 0 || apicId >= ids) {
    throw new SmpError("SMP_INVALID_ARGUMENT", `APIC id ${apicId} is not from 0 to ${ids - 1}`);
  }
  if (!(timerHz > 0)) throw new SmpError("SMP_INVALID_ARGUMENT", `a timer of ${timerHz} Hz is not possible`);
  if (!(tscHz >= 0)) throw new SmpError("SMP_INVALID_ARGUMENT", `a counter of ${tscHz} Hz is not possible`);
}
