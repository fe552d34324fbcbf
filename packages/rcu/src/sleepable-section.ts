import type { Rcu } from "./rcu.ts";

/** The guard of one section of flavour `sleepable`: it ends once, wherever and whenever it is disposed of. */
export class SleepableSection implements Disposable {
  readonly #rcu: Rcu;
  #section: number;

  constructor(rcu: Rcu, section: number) {
    this.#rcu = rcu;
    this.#section = section;
  }

  [Symbol.dispose](): void {
    const section = this.#section;
    this.#section = 0;
    this.#rcu.readUnlock(section);
  }
}
