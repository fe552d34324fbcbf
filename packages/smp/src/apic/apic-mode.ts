import { SmpError } from "../errors.ts";
import {
  BASE_BSP,
  BASE_ENABLE,
  BASE_EXTENDED,
  BASE_HIGH_RESERVED,
  BASE_LOW_RESERVED,
  DEFAULT_BASE,
} from "./registers.ts";

/**
 * How a local APIC is reached: not at all, through its page of memory, through model-specific registers.
 *
 * @public
 */
export type ApicMode = "disabled" | "xapic" | "x2apic";

/** The exception that a processor raises where an access to a model-specific register is wrong. */
export function generalProtection(what: string): SmpError {
  return new SmpError("SMP_GENERAL_PROTECTION", what);
}

/*
 * IA32_APIC_BASE and what may follow what (Intel SDM volume 3A, section 10.12.5):
 *
 *   disabled ◀──▶ xapic ──▶ x2apic
 *      ▲                      │       every other change, and EXTD without EN, is a general-protection fault
 *      └──────────────────────┘
 */
export class ApicBase {
  mode: ApicMode;
  readonly bootProcessor: boolean;
  #low: number;
  #high = 0;

  constructor(x2apic: boolean, bootProcessor: boolean) {
    this.mode = x2apic ? "x2apic" : "xapic";
    this.bootProcessor = bootProcessor;
    const flags = BASE_ENABLE | (x2apic ? BASE_EXTENDED : 0) | (bootProcessor ? BASE_BSP : 0);
    this.#low = (DEFAULT_BASE | flags) >>> 0;
  }

  get low(): number {
    return this.#low;
  }

  get high(): number {
    return this.#high;
  }

  /** Physical address of the page. */
  get address(): number {
    return this.#high * 2 ** 32 + ((this.#low & 0xfffff000) >>> 0);
  }

  /** Write the register; returns the mode before. */
  write(low: number, high: number): ApicMode {
    if ((low & BASE_LOW_RESERVED) !== 0 || (high & BASE_HIGH_RESERVED) !== 0) {
      throw generalProtection(`WRMSR to IA32_APIC_BASE sets reserved bits: ${hex(high)}:${hex(low)}`);
    }
    const before = this.mode;
    const after = modeOf(low);
    if (after === undefined) throw generalProtection("WRMSR to IA32_APIC_BASE: x2APIC mode without the APIC enabled");
    const legal =
      before === after || (after === "x2apic" ? before === "xapic" : before !== "x2apic" || after === "disabled");
    if (!legal) throw generalProtection(`WRMSR to IA32_APIC_BASE: the APIC cannot go from ${before} to ${after}`);
    this.#low = low >>> 0;
    this.#high = high >>> 0;
    this.mode = after;
    return before;
  }
}

function modeOf(low: number): ApicMode | undefined {
  const extended = (low & BASE_EXTENDED) !== 0;
  if ((low & BASE_ENABLE) === 0) return extended ? undefined : "disabled";
  return extended ? "x2apic" : "xapic";
}

function hex(value: number): string {
  return `0x${(value >>> 0).toString(16)}`;
}
