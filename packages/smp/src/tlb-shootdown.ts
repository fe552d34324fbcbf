import type { CpuMask } from "./cpu-mask.ts";
import { CpuRequests, requestMemory } from "./cpu-requests.ts";
import type { CpuId, Hal } from "./hal.ts";
import { IpiType, type IpiMailbox } from "./ipi-mailbox.ts";
import { PerCpuCounters, type PerCpuCountersHandle } from "./per-cpu-counters.ts";

/** Words of a request: address space, pages, and the first page as a double. */
const ADDRESS_SPACE = 0;
const PAGES = 1;
const FIRST_PAGE = 2;
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
  readonly #hal: Hal;
  readonly #flush: TlbFlush;
  readonly #requests: CpuRequests;
  readonly #firstPages: Float64Array;
  readonly #counters: PerCpuCounters;

  private constructor(handle: TlbShootdownHandle, options: TlbShootdownOptions) {
    this.handle = handle;
    this.#hal = options.hal;
    this.#flush = options.flush;
    this.#requests = new CpuRequests(handle.memory, options.hal, options.mailbox, IpiType.TlbFlush);
    this.#firstPages = new Float64Array(handle.memory);
    this.#counters = PerCpuCounters.attach(handle.counters, { hal: options.hal });
  }

  static create(options: TlbShootdownOptions): TlbShootdown {
    const counters = PerCpuCounters.create({ names: COUNTER_NAMES, hal: options.hal }).handle;
    return new TlbShootdown({ memory: requestMemory(options.hal.possibleCpus), counters }, options);
  }

  static attach(handle: TlbShootdownHandle, options: TlbShootdownOptions): TlbShootdown {
    return new TlbShootdown(handle, options);
  }

  /**
   * Begin: tell the CPUs of `targets`, and flush here if the calling CPU is one. Poll until {@link TlbShootdown.poll} is
   * true. Throws `SMP_CPU_STATE` while this CPU's last shootdown is under way.
   *
   * @param targets - of the machine's size; typically the CPUs that have used the address space and are online.
   * @param pages - 1 to 2^31 - 1.
   */
  begin(targets: CpuMask, addressSpace: number, firstPage: number, pages: number): void {
    const cpu = this.#hal.currentCpu();
    const request = this.#requests.prepare();
    this.#requests.words[request + ADDRESS_SPACE] = addressSpace;
    this.#requests.words[request + PAGES] = pages;
    this.#firstPages[(request + FIRST_PAGE) / 2] = firstPage;
    this.#requests.publish(targets);
    this.#counters.addOn(cpu, SHOOTDOWNS, 1);
    if (targets.has(cpu)) this.#flushHere(addressSpace, firstPage, pages);
  }

  /** Tell targets whose mailbox was full, and say whether every target has flushed. */
  poll(): boolean {
    return this.#requests.poll();
  }

  /**
   * {@link TlbShootdown.begin} and spin until every target has flushed.
   *
   * @param drain - drains the calling CPU's mailbox; called on every turn.
   */
  run(targets: CpuMask, addressSpace: number, firstPage: number, pages: number, drain: () => void): void {
    this.begin(targets, addressSpace, firstPage, pages);
    this.#requests.wait(drain);
  }

  /** Serve a message of type `TlbFlush`: flush what its sender asks for, and tell it. `initiator` is the payload. */
  serve(initiator: CpuId): void {
    const request = this.#requests.requestOf(initiator);
    const { words } = this.#requests;
    this.#flushHere(
      words[request + ADDRESS_SPACE],
      this.#firstPages[(request + FIRST_PAGE) / 2],
      words[request + PAGES],
    );
    this.#requests.acknowledge(initiator);
  }

  /** Shootdowns that `cpu` has begun. */
  shootdowns(cpu: CpuId): number {
    return this.#counters.read(cpu, SHOOTDOWNS);
  }

  /** Flushes that `cpu` has done, for itself and for others. */
  flushes(cpu: CpuId): number {
    return this.#counters.read(cpu, FLUSHES);
  }

  #flushHere(addressSpace: number, firstPage: number, pages: number): void {
    this.#flush(addressSpace, firstPage, pages);
    this.#counters.addOn(this.#hal.currentCpu(), FLUSHES, 1);
  }
}
