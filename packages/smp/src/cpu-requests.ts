import { CpuMask } from "./cpu-mask.ts";
import { SmpError } from "./errors.ts";
import type { CpuId, Hal } from "./hal.ts";
import type { IpiMailbox, IpiType } from "./ipi-mailbox.ts";
import { PADDING_BYTES } from "./layout.ts";

/*
 * One request per initiating CPU, a padded line:
 *
 *   word 0     waiting   targets that have not served it yet   Atomics: set by the initiator, counted down by targets
 *   word 2 on  the request itself                              initiator, plain, while `waiting` is 0
 *
 * The message that tells a target publishes the plain words: its receipt happens after they were written.
 */
export const REQUEST_LINE_WORDS: number = PADDING_BYTES / 4;
export const REQUEST_FIRST_WORD = 2;
const WAITING = 0;

/**
 * Requests that a CPU makes to a set of others, each acknowledged: what function calls and TLB shootdowns have in common.
 * The message's payload is the initiator.
 */
export class CpuRequests {
  readonly words: Int32Array;
  readonly #hal: Hal;
  readonly #mailbox: IpiMailbox;
  readonly #type: IpiType;
  /** By initiating CPU: targets whose mailbox was full. */
  readonly #unsent: CpuMask[];

  constructor(memory: SharedArrayBuffer, hal: Hal, mailbox: IpiMailbox, type: IpiType) {
    this.words = new Int32Array(memory);
    this.#hal = hal;
    this.#mailbox = mailbox;
    this.#type = type;
    const cpus = this.words.length / REQUEST_LINE_WORDS;
    this.#unsent = Array.from({ length: cpus }, () => new CpuMask(cpus));
  }

  /** The first word of the calling CPU's request, which it may now write. */
  prepare(): number {
    const cpu = this.#hal.currentCpu();
    if (Atomics.load(this.words, cpu * REQUEST_LINE_WORDS + WAITING) !== 0) {
      throw new SmpError("SMP_CPU_STATE", `CPU ${cpu} has a request under way that others have not served yet`);
    }
    return cpu * REQUEST_LINE_WORDS + REQUEST_FIRST_WORD;
  }

  /** Tell every CPU of `targets` but the calling one. */
  publish(targets: CpuMask): void {
    const cpu = this.#hal.currentCpu();
    const unsent = this.#unsent[cpu].copy(targets).delete(cpu);
    Atomics.store(this.words, cpu * REQUEST_LINE_WORDS + WAITING, unsent.count());
    this.#send(cpu);
  }

  /** Tell targets whose mailbox was full, and say whether every target has served the calling CPU's request. */
  poll(): boolean {
    const cpu = this.#hal.currentCpu();
    this.#send(cpu);
    return Atomics.load(this.words, cpu * REQUEST_LINE_WORDS + WAITING) === 0;
  }

  /** Spin until it is so; `drain` is called on every turn. */
  wait(drain: () => void): void {
    for (let spins = 0; !this.poll(); spins++) {
      drain();
      this.#hal.relax(spins);
    }
  }

  /** The first word of the request of `initiator`. */
  requestOf(initiator: CpuId): number {
    return initiator * REQUEST_LINE_WORDS + REQUEST_FIRST_WORD;
  }

  /** The calling CPU has served the request of `initiator`. */
  acknowledge(initiator: CpuId): void {
    Atomics.sub(this.words, initiator * REQUEST_LINE_WORDS + WAITING, 1);
  }

  #send(cpu: CpuId): void {
    const unsent = this.#unsent[cpu];
    for (let target = unsent.first(); target >= 0; target = unsent.next(target)) {
      if (this.#mailbox.send(target, this.#type, cpu)) unsent.delete(target);
    }
  }
}

/** Shared memory for the requests of this many CPUs. */
export function requestMemory(possibleCpus: number): SharedArrayBuffer {
  return new SharedArrayBuffer(possibleCpus * PADDING_BYTES);
}
