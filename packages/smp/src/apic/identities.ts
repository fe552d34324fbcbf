import { PADDING_BYTES } from "../layout.ts";
import type { ApicMode } from "./apic-mode.ts";
import type { ApicMessage } from "./bus.ts";
import { isAddressed } from "./destinations.ts";
import type { LocalApic } from "./local-apic.ts";

/*
 * What a sender must know of each CPU's APIC, a padded line for each, written by the CPU's own thread (by whoever disconnects it, if
 * that has ended) and read by all, by Atomics:
 *
 *   word 0  state        mode (bits 0-1; 0: no APIC) | enabled by software (bit 2) | its thread has I/O APICs (bit 3)
 *   word 1  APIC id
 *   word 2  logical destination register
 *   word 3  destination format register
 *   word 4  arbitration priority
 *
 * The words change one by one, as the registers do: a message under way while software changes them may follow either.
 */
const LINE_WORDS = PADDING_BYTES / 4;
const STATE = 0;
const APIC_ID = 1;
const LOGICAL = 2;
const FORMAT = 3;
const ARBITRATION = 4;

const MODE_MASK = 3;
const ENABLED = 1 << 2;
const IO_APICS = 1 << 3;
/** By the bits of the mode. */
const MODES: readonly ApicMode[] = ["disabled", "disabled", "xapic", "x2apic"];
const DISABLED = 1;

export class ApicIdentities {
  readonly cpus: number;
  readonly #words: Int32Array;

  constructor(memory: SharedArrayBuffer, byteOffset: number, cpus: number) {
    this.cpus = cpus;
    this.#words = new Int32Array(memory, byteOffset, cpus * LINE_WORDS);
  }

  static bytes(cpus: number): number {
    return cpus * PADDING_BYTES;
  }

  /** Show the APIC of `cpu` as it is now. */
  publish(cpu: number, apic: LocalApic): void {
    const at = cpu * LINE_WORDS;
    const mode = Math.max(MODES.indexOf(apic.mode), DISABLED);
    this.#set(at + APIC_ID, apic.apicId);
    this.#set(at + LOGICAL, apic.logicalDestination);
    this.#set(at + FORMAT, apic.destinationFormat);
    this.publishPriority(cpu, apic.arbitrationPriority);
    // Last, so that a new APIC is seen whole.
    this.#set(at + STATE, mode | (apic.enabled ? ENABLED : 0) | (this.#words[at + STATE] & IO_APICS));
  }

  publishPriority(cpu: number, priority: number): void {
    this.#set(cpu * LINE_WORDS + ARBITRATION, priority);
  }

  /** `cpu` has no APIC any more, and no I/O APICs. */
  withdraw(cpu: number): void {
    Atomics.store(this.#words, cpu * LINE_WORDS + STATE, 0);
  }

  /** The thread of `cpu` has I/O APICs from now on. */
  addIoApics(cpu: number): void {
    Atomics.or(this.#words, cpu * LINE_WORDS + STATE, IO_APICS);
  }

  hasApic(cpu: number): boolean {
    return (this.#load(cpu, STATE) & MODE_MASK) !== 0;
  }

  hasIoApics(cpu: number): boolean {
    return (this.#load(cpu, STATE) & IO_APICS) !== 0;
  }

  isEnabled(cpu: number): boolean {
    return (this.#load(cpu, STATE) & ENABLED) !== 0;
  }

  apicId(cpu: number): number {
    return this.#load(cpu, APIC_ID) >>> 0;
  }

  arbitrationPriority(cpu: number): number {
    return this.#load(cpu, ARBITRATION);
  }

  /** Whether a message from the APIC with id `from` is for that of `cpu`. */
  isAddressed(cpu: number, from: number, message: ApicMessage): boolean {
    const mode = this.#load(cpu, STATE) & MODE_MASK;
    if (mode <= DISABLED) return false;
    // Signed, because numbers above 2^31 would be allocated.
    return isAddressed(message, from, this.apicId(cpu), MODES[mode], this.#load(cpu, LOGICAL), this.#load(cpu, FORMAT));
  }

  #load(cpu: number, word: number): number {
    return Atomics.load(this.#words, cpu * LINE_WORDS + word);
  }

  /** Registers seldom change: a plain look at the own word saves the store. */
  #set(at: number, value: number): void {
    if (this.#words[at] !== (value | 0)) Atomics.store(this.#words, at, value | 0);
  }
}
