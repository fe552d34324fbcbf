import type { CpuId, Hal, WaitResult } from "@x/smp";
import { SimError } from "../errors.ts";
import type { Machine } from "./machine.ts";

/** Turns of a spin after which nobody can be expected to end it: the code that spins runs to completion. */
const SPIN_LIMIT = 10_000;

/** The {@link Hal} of the emulated machine: time is virtual, and one host thread plays every CPU. */
export class VirtualHal implements Hal {
  readonly possibleCpus: number;
  readonly #machine: Machine;
  readonly #sendKick: (cpu: CpuId) => void;

  /** `sendKick` sends the interrupt that makes a CPU look at its mailbox. */
  constructor(machine: Machine, sendKick: (cpu: CpuId) => void) {
    this.possibleCpus = machine.cpuCount;
    this.#machine = machine;
    this.#sendKick = sendKick;
  }

  currentCpu(): CpuId {
    return this.#machine.current;
  }

  now(): number {
    return this.#machine.timeNs[this.#machine.current];
  }

  relax(spins: number): void {
    if (spins > SPIN_LIMIT) {
      throw new SimError(
        "SIM_LIVELOCK",
        `CPU ${this.#machine.current} spins for something no other CPU can do meanwhile`,
      );
    }
    this.#machine.charge(this.#machine.costs.cacheHitNs);
  }

  kick(cpu: CpuId): void {
    this.#sendKick(cpu);
  }

  wait(_words: Int32Array, _index: number, _expected: number, _timeoutNs: number): WaitResult {
    throw new SimError("SIM_ATOMIC_SLEEP", `CPU ${this.#machine.current}: sleeping in atomic context`);
  }

  wake(_words: Int32Array, _index: number, _count: number): number {
    return 0;
  }
}

/** The clock of the local APICs: their processor's while it executes, else the event's. */
export class TimerHal extends VirtualHal {
  readonly #of: Machine;

  constructor(machine: Machine) {
    super(machine, () => undefined);
    this.#of = machine;
  }

  override now(): number {
    return this.#of.apicTimeNs;
  }
}
