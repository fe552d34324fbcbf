import type { ApicDeliveryMode, ApicShorthand } from "./registers.ts";

/**
 * An interrupt on its way between local APICs.
 *
 * @public
 */
export interface ApicMessage {
  readonly mode: ApicDeliveryMode;
  /** For `startup` the page, of 4 KiB, where the processor starts. */
  readonly vector: number;
  /** APIC id, or a set of logical ids. */
  readonly destination: number;
  readonly shorthand: ApicShorthand;
  /** `destination` is compared with the logical destination registers. */
  readonly logical: boolean;
  readonly levelTriggered: boolean;
}

/**
 * What connects local APICs.
 *
 * @public
 */
export interface ApicBus {
  /**
   * Bring `message` to every APIC for which `LocalApic.isAddressed` holds, by `LocalApic.receive`; of a
   * `lowest-priority` message to the one of them with the lowest `processorPriority`. `message` belongs to the sender and
   * is used again for the next: copy what is kept.
   */
  deliver(from: number, message: ApicMessage): void;
}

/**
 * The lines from a local APIC to its processor.
 *
 * @public
 */
export interface ApicCore {
  /** Reset, and wait for a start-up interrupt. */
  init?(): void;
  /** Begin to run at physical address `vector` × 4096. Called for the first start-up interrupt after `init` only. */
  startup?(vector: number): void;
  nmi?(): void;
  smi?(): void;
}
