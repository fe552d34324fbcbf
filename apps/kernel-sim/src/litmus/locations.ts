import { ADDRESS_BASE } from "./instructions.ts";

/** The locations of a program, numbered as they are met. */
export class Locations {
  readonly names: string[] = [];
  readonly #numbers = new Map<string, number>();

  /** The address of a location. */
  address(name: string): number {
    let number = this.#numbers.get(name);
    if (number === undefined) {
      number = this.names.length;
      this.names.push(name);
      this.#numbers.set(name, number);
    }
    return ADDRESS_BASE + number;
  }
}
