import type { InterruptLine } from "@x/smp";
import type { IoApicDriver } from "./io-apic-driver.ts";
import { FIRST_ISA_VECTOR } from "./vectors.ts";

/** An interrupt of the board that a driver has asked for. */
export interface Irq {
  readonly irq: number;
  readonly vector: number;
  readonly line: InterruptLine;
  readonly name: string;
  readonly handler: () => void;
}

/** Interrupts of the board that arrive through I/O APICs: all of them go to the boot processor. */
export class Irqs {
  readonly #driver: IoApicDriver;
  readonly #byVector = new Map<number, Irq>();

  constructor(driver: IoApicDriver) {
    this.#driver = driver;
  }

  /** Have `handler` called for an ISA interrupt; false where the board does not have it. */
  requestIsa(irq: number, name: string, handler: () => void): boolean {
    const line = this.#driver.isaLine(irq);
    if (line === undefined) return false;
    const vector = FIRST_ISA_VECTOR + irq;
    this.#byVector.set(vector, { irq, vector, line, name, handler });
    this.#driver.route(line, 0, vector, false);
    return true;
  }

  /** Nothing comes from `irq` any more. */
  mask(irq: number): void {
    const known = this.#byVector.get(FIRST_ISA_VECTOR + irq);
    if (known !== undefined) this.#driver.route(known.line, 0, known.vector, true);
  }

  /** Those that were asked for, in the order of their numbers. */
  list(): readonly Irq[] {
    return [...this.#byVector.values()].sort((a, b) => a.irq - b.irq);
  }

  handle(vector: number): void {
    this.#byVector.get(vector)?.handler();
  }
}
