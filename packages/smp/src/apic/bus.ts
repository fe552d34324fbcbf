import type { LocalApic } from "./local-apic.ts";
import type { ApicDeliveryMode, ApicShorthand } from "./registers.ts";

/**
 * An interrupt on its way to local APICs.
 *
 * @public
 */
export interface ApicMessage {
  readonly mode: ApicDeliveryMode;
  /** For `startup` the page, of 4 KiB, where the processor starts. */
  readonly vector: number;
  /** APIC id, or a set of logical ids; 0xffffffff: everybody. */
  readonly destination: number;
  readonly shorthand: ApicShorthand;
  /** `destination` is compared with the logical destination registers. */
  readonly logical: boolean;
  readonly levelTriggered: boolean;
}

/** A message to be filled in and used again. */
export type MutableApicMessage = { -readonly [Key in keyof ApicMessage]: ApicMessage[Key] };

/** A message that says nothing yet. */
export function emptyMessage(): MutableApicMessage {
  return { mode: "fixed", vector: 0, destination: 0, shorthand: 0, logical: false, levelTriggered: false };
}

/** The destination of everybody, physical or logical. */
export const EVERYBODY: number = 0xffffffff;
/** What a sender with eight bits for the destination writes for everybody. */
export const XAPIC_EVERYBODY: number = 0xff;
/** In place of the sender's APIC id: a device has none. */
export const FROM_DEVICE: number = -1;

/**
 * What connects local APICs with each other and with I/O APICs. {@link ApicFabric} is one.
 *
 * @public
 */
export interface ApicBus {
  /**
   * Bring `message` to every APIC for which `LocalApic.isAddressed` holds, by `LocalApic.receive`; of a
   * `lowest-priority` message to one of them, with the lowest `arbitrationPriority`. `message` belongs to the sender and is used
   * again for the next: copy what is kept.
   *
   * @param from - APIC id of the sender, -1 for a device.
   */
  deliver(from: number, message: ApicMessage): void;
  /** A processor has finished the level-triggered `vector`: tell every I/O APIC. */
  endOfInterrupt?(vector: number): void;
  /** What messages find `apic` by has changed, or may have: mode, ids, whether it is enabled. */
  changed?(apic: LocalApic): void;
  /** The arbitration priority of `apic` has changed, or may have. */
  priorityChanged?(apic: LocalApic): void;
}

/**
 * The lines from a local APIC to its processor.
 *
 * @public
 */
export interface ApicCore {
  /** Reset, and wait for a start-up interrupt; the boot processor begins anew instead. */
  init?(): void;
  /** Begin to run at physical address `vector` × 4096. Called for the first start-up interrupt after `init` only. */
  startup?(vector: number): void;
  nmi?(): void;
  smi?(): void;
  /** An external controller (8259A) has an interrupt: fetch the vector from it. No end of interrupt is due to the APIC. */
  extInt?(): void;
}
