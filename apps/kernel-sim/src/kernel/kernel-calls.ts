import { CrossCalls, type CallTicket, type CpuId, type CpuMask, type Hal, type IpiMailbox } from "@x/smp";
import type { Machine } from "../machine/machine.ts";

/**
 * Calls of functions on other CPUs, for a kernel whose CPUs share one heap: functions need no place in a list that is agreed on
 * beforehand. They run by interrupt; poll until they have.
 */
export class KernelCalls {
  readonly #cross: CrossCalls;
  readonly #functions: ((cpu: CpuId) => void)[] = [];

  constructor(machine: Machine, hal: Hal, mailbox: IpiMailbox) {
    const call = (_from: CpuId, number: number): void => this.#functions[number](machine.current);
    this.#cross = CrossCalls.create({ hal, mailbox, functions: [call] });
  }

  /** Begin to run `call` on every CPU of `mask`. */
  startOnMany(mask: CpuMask, call: (cpu: CpuId) => void): CallTicket {
    return this.#cross.startMany(mask, 0, this.#functions.push(call) - 1);
  }

  /** Whether it has run on all; then the ticket is void. */
  isOver(ticket: CallTicket): boolean {
    if (!this.#cross.poll(ticket)) return false;
    this.#cross.finish(ticket);
    return true;
  }
}

/** Slots of the mailbox: a CPU may call all others at once, and have some messages under way besides. */
export function slotsFor(cpus: number): number {
  return Math.min(2048, 2 ** Math.ceil(Math.log2(cpus + 64)));
}
