import { CpuMask } from "./cpu-mask.ts";
import { SmpError } from "./errors.ts";
import type { CpuId, Hal } from "./hal.ts";
import { IpiType, type IpiMailbox } from "./ipi-mailbox.ts";
import { PADDING_BYTES } from "./layout.ts";
import { PerCpuCounters, type PerCpuCountersHandle } from "./per-cpu-counters.ts";

/*
 * One request per initiating CPU, a padded line:
 *
 *   word 0    waiting      targets that have not flushed yet   Atomics: set by the initiator, counted down by targets
 *   word 1    address space                                    initiator, plain, before the first message is sent
 *   word 2    pages                                            initiator, likewise
 *   word 4-5  first page   (double)                            initiator, likewise
 *
 * The message publishes the plain words: its receipt happens after them. They do not change while `waiting` is not 0.
 */
const LINE_WORDS = PADDING_BYTES / 4;
const WAITING = 0;
const ADDRESS_SPACE = 1;
const PAGES = 2;
const FIRST_PAGE = 4;
const COUNTER_NAMES = ["shootdowns", "flushes"] as const;
const SHOOTDOWNS = 0;
const FLUSHES = 1;

/**
 * Forgets translations of the calling CPU.
 *
 * @param firstPage - page number, below 2^53.
 * @param pages - how many; an implementation may flush everything where that is cheaper.
 *
 * @public
 */
export type TlbFlush = (addressSpace: number, firstPage: number, pages: number) => void;

/**
 * What joins a {@link TlbShootdown} from another thread, along with the handle of its mailbox.
 *
 * @public
 */
export interface TlbShootdownHandle {
  readonly possibleCpus: number;
  readonly memory: SharedArrayBuffer;
  readonly counters: PerCpuCountersHandle;
}

/**
 * What a thread brings along to a {@link TlbShootdown}.
 *
 * @public
 */
export interface TlbShootdownOptions {
  readonly hal: Hal;
  /** Carries the requests, as messages of type `TlbFlush` with the initiator as payload. */
  readonly mailbox: IpiMailbox;
  readonly flush: TlbFlush;
}

/**
 * Makes every CPU of a set forget translations, and knows when all have: after a page was unmapped, before its memory is
 * used again (Black et al., "Translation Lookaside Buffer Consistency: A Software Approach", ASPLOS 1989).
 *
 * The handler that drains the mailbox passes messages of type `TlbFlush` to {@link TlbShootdown.serve}. A CPU has one
 * shootdown at a time under way, and must serve its own mailbox while it waits: two CPUs may wait for each other.
 *
 * Thread-safety: every method acts for the calling CPU, from any CPU. Cost: one message and one atomic subtraction for each
 * target; nothing is allocated.
 *
 * @public
 */
export class TlbShootdown {
  readonly handle: TlbShootdownHandle;
  readonly #options: TlbShootdownOptions;
  readonly #words: Int32Array;
  readonly #doubles: Float64Array;
  readonly #counters: PerCpuCounters;
  /** By initiating CPU: targets whose mailbox was full. */
  readonly #unsent: CpuMask[];

  private constructor(handle: TlbShootdownHandle, options: TlbShootdownOptions) {
    this.handle = handle;
    this.#options = options;
    this.#words = new Int32Array(handle.memory);
    this.#doubles = new Float64Array(handle.memory);
    this.#counters = PerCpuCounters.attach(handle.counters, { hal: options.hal });
    this.#unsent = Array.from({ length: handle.possibleCpus }, () => new CpuMask(handle.possibleCpus));
  }

  static create(options: TlbShootdownOptions): TlbShootdown {
    const { possibleCpus } = options.hal;
    const memory = new SharedArrayBuffer(possibleCpus * PADDING_BYTES);
    const counters = PerCpuCounters.create({ names: COUNTER_NAMES, hal: options.hal }).handle;
    return new TlbShootdown({ possibleCpus, memory, counters }, options);
  }

  static attach(handle: TlbShootdownHandle, options: TlbShootdownOptions): TlbShootdown {
    return new TlbShootdown(handle, options);
  }

  /**
   * Begin: flush here if the calling CPU is in `targets`, and tell the others. Poll until {@link TlbShootdown.poll} is true.
   * Throws `SMP_CPU_STATE` while this CPU's last shootdown is under way.
   *
   * @param targets - of the machine's size; typically the CPUs that have used the address space and are online.
   * @param pages - 1 to 2^31 - 1.
   */
  begin(targets: CpuMask, addressSpace: number, firstPage: number, pages: number): void {
    const cpu = this.#options.hal.currentCpu();
    const line = cpu * LINE_WORDS;
    if (Atomics.load(this.#words, line + WAITING) !== 0) {
      throw new SmpError("SMP_CPU_STATE", `CPU ${cpu} has a TLB shootdown under way`);
    }
    const unsent = this.#unsent[cpu].copy(targets);
    if (unsent.has(cpu)) {
      unsent.delete(cpu);
      this.#flush(cpu, addressSpace, firstPage, pages);
    }
    this.#words[line + ADDRESS_SPACE] = addressSpace;
    this.#words[line + PAGES] = pages;
    this.#doubles[(line + FIRST_PAGE) / 2] = firstPage;
    Atomics.store(this.#words, line + WAITING, unsent.count());
    this.#counters.addOn(cpu, SHOOTDOWNS, 1);
    this.#send(cpu);
  }

  /** Tell targets whose mailbox was full, and say whether every target has flushed. */
  poll(): boolean {
    const cpu = this.#options.hal.currentCpu();
    this.#send(cpu);
    return Atomics.load(this.#words, cpu * LINE_WORDS + WAITING) === 0;
  }

  /**
   * {@link TlbShootdown.begin} and spin until every target has flushed.
   *
   * @param drain - drains the calling CPU's mailbox; called on every turn.
   */
  run(targets: CpuMask, addressSpace: number, firstPage: number, pages: number, drain: () => void): void {
    this.begin(targets, addressSpace, firstPage, pages);
    for (let spins = 0; !this.poll(); spins++) {
      drain();
      this.#options.hal.relax(spins);
    }
  }

  /** Serve a message of type `TlbFlush`: flush what its sender asks for, and tell it. `initiator` is the payload. */
  serve(initiator: CpuId): void {
    const line = initiator * LINE_WORDS;
    const firstPage = this.#doubles[(line + FIRST_PAGE) / 2];
    const cpu = this.#options.hal.currentCpu();
    this.#flush(cpu, this.#words[line + ADDRESS_SPACE], firstPage, this.#words[line + PAGES]);
    Atomics.sub(this.#words, line + WAITING, 1);
  }

  /** Shootdowns that `cpu` has begun. */
  shootdowns(cpu: CpuId): number {
    return this.#counters.read(cpu, SHOOTDOWNS);
  }

  /** Flushes that `cpu` has done, for itself and for others. */
  flushes(cpu: CpuId): number {
    return this.#counters.read(cpu, FLUSHES);
  }

  #send(cpu: CpuId): void {
    const unsent = this.#unsent[cpu];
    for (let target = unsent.first(); target >= 0; target = unsent.next(target)) {
      if (this.#options.mailbox.send(target, IpiType.TlbFlush, cpu)) unsent.delete(target);
    }
  }

  #flush(cpu: CpuId, addressSpace: number, firstPage: number, pages: number): void {
    this.#options.flush(addressSpace, firstPage, pages);
    this.#counters.addOn(cpu, FLUSHES, 1);
  }
}
