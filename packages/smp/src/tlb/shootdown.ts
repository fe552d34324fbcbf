import { SmpError } from "../errors.ts";
import type { CpuId, Hal } from "../hal.ts";
import type { IpiMailbox } from "../ipi/mailbox.ts";
import { CpuRequests } from "../ipi/requests.ts";
import { Status } from "../ipi/slots.ts";
import { IpiType } from "../ipi/types.ts";
import { alignUp, PADDING_BYTES } from "../layout.ts";
import { PerCpuCounters, type PerCpuCountersHandle } from "../per-cpu-counters.ts";

/*
 * Which CPU may hold what, after Linux's arch/x86/mm/tlb.c:
 *
 *   padded line of a CPU     word 0   lazy: 1 while the CPU uses no space         its owner, Atomics
 *   padded lines of a space  word 0   generation: invalidations so far, mod 2^32  any CPU, Atomics.add
 *                            word 1 on users: a bit for each CPU that uses it     its owner sets and clears its bit, Atomics
 *   own words of a CPU       seen: for each space the generation up to which the CPU has invalidated     its owner, plain
 *                            mine: a bit for each space that it uses
 *
 * Invariant: a CPU that uses a space and is not lazy has seen the generation, or a request to invalidate is on its way to it,
 * and who made that generation still waits.
 *
 *   invalidate: generation + 1, then look at users and lazy         enter: set the bit, then look at the generation
 *                                                                   resume: clear lazy, then look at the generation
 *
 * Whichever comes second sees the other: either the CPU is told, or it finds out by itself before it uses the space again.
 */
const LINE_WORDS = PADDING_BYTES / 4;
const GENERATION = 0;
const USERS = 1;
const DEFAULT_SPACES = 64;
const MAX_SPACES = 65536;
/** Linux's tlb_single_page_flush_ceiling: above it, one flush of everything is cheaper than many of one page. */
const DEFAULT_CEILING = 33;
/** A request's third argument: generation, and above it the logarithm of the stride. */
const STRIDE_FACTOR = 2 ** 32;
/** The space of what every CPU uses always. */
const GLOBAL = -1;

const COUNTER_NAMES = ["shootdowns", "requests", "flushes", "fullFlushes", "skippedLazy", "alreadyDone"] as const;
const SHOOTDOWNS = 0;
const REQUESTS = 1;
const FLUSHES = 2;
const FULL_FLUSHES = 3;
const SKIPPED_LAZY = 4;
const ALREADY_DONE = 5;

/**
 * Forgets what the calling CPU remembers of a space.
 *
 * @param space - -1: what all CPUs share and use always (global pages).
 * @param first - number of the first item: page, key, line.
 * @param count - how many; Infinity: all of the space.
 * @param stride - every how many: 1, or the size of a large page. `count` includes those between.
 *
 * @public
 */
export type TlbFlush = (space: number, first: number, count: number, stride: number) => void;

/**
 * What joins a {@link TlbShootdown} from another thread, along with the handle of its mailbox.
 *
 * @public
 */
export interface TlbShootdownHandle {
  readonly possibleCpus: number;
  readonly spaces: number;
  readonly ceiling: number;
  readonly memory: SharedArrayBuffer;
  readonly counters: PerCpuCountersHandle;
}

/**
 * What a thread brings along to a {@link TlbShootdown}.
 *
 * @public
 */
export interface TlbShootdownOptions {
  /** Default: the mailbox's. */
  readonly hal?: Hal | undefined;
  /** Carries the requests, as `TlbFlush`. One object of a thread can have that type. */
  readonly mailbox: IpiMailbox;
  readonly flush: TlbFlush;
  readonly observer?: TlbShootdownObserver | undefined;
}

/**
 * What happens in a shootdown.
 *
 * @public
 */
export interface TlbShootdownObserver {
  /** `cpu` has told `targets` CPUs to invalidate. */
  onStart?(cpu: CpuId, space: number, targets: number): void;
  /** `cpu` has invalidated, for itself or another; `full`: all of the space. */
  onFlush?(cpu: CpuId, space: number, full: boolean): void;
}

/**
 * What a CPU has counted: see {@link TlbShootdown.statistics}.
 *
 * @public
 */
export interface TlbShootdownStatistics {
  /** Invalidations it has begun. */
  readonly shootdowns: number;
  /** CPUs it has told to invalidate. */
  readonly requests: number;
  /** Invalidations it has done, for itself and others. */
  readonly flushes: number;
  /** Those of them that forgot a whole space. */
  readonly fullFlushes: number;
  /** CPUs it has not told because they were lazy. */
  readonly skippedLazy: number;
  /** Requests it got for what it had done, or does when it uses the space again. */
  readonly alreadyDone: number;
}

/**
 * Makes every CPU that may remember something forget it, and knows when all have: translations after a page was unmapped and
 * before its memory is used again (Black et al., "Translation Lookaside Buffer Consistency: A Software Approach", ASPLOS 1989),
 * or whatever else threads keep copies of. What is remembered belongs to a space, numbered from 0: an address space, a cache.
 *
 * A CPU calls `enter` before it uses a space and `leave` after that; it is interrupted only in between, and not while it is
 * `lazy`. What it missed it makes up for when it enters or resumes, because every invalidation raises the space's generation.
 * A CPU that waits serves its own mailbox: two may wait for each other. One that is offline or dies is not waited for.
 *
 * Thread-safety: every method acts for the calling CPU, from any CPU; a ticket belongs to the CPU that got it. Cost: two
 * atomics to enter and to leave; one slot of the mailbox and two compare-exchanges for each CPU that is told; nothing is allocated.
 *
 * @public
 */
export class TlbShootdown {
  readonly handle: TlbShootdownHandle;
  readonly #hal: Hal;
  readonly #flush: TlbFlush;
  readonly #observer: TlbShootdownObserver | undefined;
  readonly #mailbox: IpiMailbox;
  readonly #requests: CpuRequests;
  readonly #words: Int32Array;
  readonly #spaceWords: number;
  /** Where the own words of CPU 0 begin, and how many each CPU has. */
  readonly #own: number;
  readonly #ownWords: number;
  readonly #counters: PerCpuCounters;
  readonly #serveSlot = (slot: number): void => this.#serve(slot);

  private constructor(handle: TlbShootdownHandle, options: TlbShootdownOptions) {
    this.handle = handle;
    const { hal = options.mailbox.hal } = options;
    this.#hal = hal;
    this.#flush = options.flush;
    this.#observer = options.observer;
    this.#mailbox = options.mailbox;
    this.#requests = new CpuRequests(hal, options.mailbox, IpiType.TlbFlush);
    this.#words = new Int32Array(handle.memory);
    this.#spaceWords = spaceWords(handle.possibleCpus);
    this.#own = handle.possibleCpus * LINE_WORDS + handle.spaces * this.#spaceWords;
    this.#ownWords = ownWords(handle.spaces);
    this.#counters = PerCpuCounters.attach(handle.counters, { hal });
    options.mailbox.runCalls(IpiType.TlbFlush, this.#serveSlot);
  }

  /**
   * @param options - `spaces`: how many there are, 1 to 65536, default 64. `ceiling`: an invalidation of more items than this
   * forgets the whole space, default 33 as in Linux; 0 and more, Infinity for never. Throws `SMP_INVALID_ARGUMENT`.
   */
  static create(
    options: TlbShootdownOptions & { readonly spaces?: number | undefined; readonly ceiling?: number | undefined },
  ): TlbShootdown {
    const { hal = options.mailbox.hal, spaces = DEFAULT_SPACES, ceiling = DEFAULT_CEILING } = options;
    const { possibleCpus } = hal;
    if (!Number.isInteger(spaces) || spaces < 1 || spaces > MAX_SPACES || !(ceiling >= 0)) {
      const message = `${spaces} spaces and a ceiling of ${ceiling} are not possible; 1 to ${MAX_SPACES}, and 0 or more`;
      throw new SmpError("SMP_INVALID_ARGUMENT", message);
    }
    const words = possibleCpus * (LINE_WORDS + ownWords(spaces)) + spaces * spaceWords(possibleCpus);
    const counters = PerCpuCounters.create({ names: COUNTER_NAMES, hal }).handle;
    const memory = new SharedArrayBuffer(words * 4);
    return new TlbShootdown({ possibleCpus, spaces, ceiling, memory, counters }, options);
  }

  static attach(handle: TlbShootdownHandle, options: TlbShootdownOptions): TlbShootdown {
    return new TlbShootdown(handle, options);
  }

  /** The calling CPU begins to use a space: forgets what it has missed, and is told from now on. */
  enter(space: number): void {
    const cpu = this.#hal.currentCpu();
    const at = this.#space(space);
    Atomics.or(this.#words, at + USERS + (cpu >>> 5), 1 << (cpu & 31));
    this.#words[this.#mine(cpu) + (space >>> 5)] |= 1 << (space & 31);
    this.#catchUp(cpu, space);
  }

  /** The calling CPU uses a space no longer. It may keep what it remembers until it enters again. */
  leave(space: number): void {
    const cpu = this.#hal.currentCpu();
    Atomics.and(this.#words, this.#space(space) + USERS + (cpu >>> 5), ~(1 << (cpu & 31)));
    this.#words[this.#mine(cpu) + (space >>> 5)] &= ~(1 << (space & 31));
  }

  /** Whether `cpu` has entered a space and not left it. */
  isUser(space: number, cpu: CpuId): boolean {
    return (Atomics.load(this.#words, this.#space(space) + USERS + (cpu >>> 5)) & (1 << (cpu & 31))) !== 0;
  }

  /** The calling CPU uses none of its spaces until it resumes, and is not told meanwhile (Linux's lazy TLB mode). */
  lazy(): void {
    Atomics.store(this.#words, this.#hal.currentCpu() * LINE_WORDS, 1);
  }

  /** The end of {@link TlbShootdown.lazy}: the calling CPU goes on using its spaces, and forgets what it has missed. */
  resume(): void {
    const cpu = this.#hal.currentCpu();
    Atomics.store(this.#words, cpu * LINE_WORDS, 0);
    const mine = this.#mine(cpu);
    for (let word = 0; word < (this.handle.spaces + 31) >>> 5; word++) {
      for (let bits = this.#words[mine + word]; bits !== 0; bits &= bits - 1) {
        this.#catchUp(cpu, (word << 5) + 31 - Math.clz32(bits & -bits));
      }
    }
  }

  isLazy(cpu: CpuId): boolean {
    return Atomics.load(this.#words, cpu * LINE_WORDS) !== 0;
  }

  /** Invalidations of a space so far, as a signed 32-bit integer. */
  generation(space: number): number {
    return Atomics.load(this.#words, this.#space(space) + GENERATION);
  }

  /**
   * Forget items of a space on every CPU, and return when that is so. Throws `SMP_INVALID_ARGUMENT` for a space that is not
   * there, `SMP_CANNOT_BLOCK` on a thread that must not block.
   *
   * @param first - 0 to 2^53.
   * @param count - 1 or more; Infinity: all of the space, as also more than the ceiling.
   * @param stride - every how many, a power of two to 2^20; `count` includes those between.
   */
  invalidate(space: number, first = 0, count: number = Infinity, stride = 1): void {
    const ticket = this.start(space, first, count, stride);
    this.#requests.wait(ticket, Infinity);
    this.#requests.free(ticket);
  }

  /** As {@link TlbShootdown.invalidate}, while the event loop goes on. */
  async invalidateAsync(space: number, first = 0, count: number = Infinity, stride = 1): Promise<void> {
    return this.finishAsync(this.start(space, first, count, stride));
  }

  /** Begin: the calling CPU has forgotten, the others are told. Poll, then finish. 0: there is nobody to wait for. */
  start(space: number, first = 0, count: number = Infinity, stride = 1): number {
    const at = this.#space(space);
    const cpu = this.#hal.currentCpu();
    const generation = (Atomics.add(this.#words, at + GENERATION, 1) + 1) | 0;
    const all = count / stride > this.handle.ceiling;
    this.#counters.addOn(cpu, SHOOTDOWNS, 1);
    const argument = (generation >>> 0) + (31 - Math.clz32(stride)) * STRIDE_FACTOR;
    let ticket = 0;
    let told = 0;
    for (let word = 0; word < this.#userWords(); word++) {
      let users = Atomics.load(this.#words, at + USERS + word);
      for (; users !== 0; users &= users - 1) {
        const target = (word << 5) + 31 - Math.clz32(users & -users);
        if (target === cpu) continue;
        if (this.isLazy(target)) {
          this.#counters.addOn(cpu, SKIPPED_LAZY, 1);
          continue;
        }
        ticket = this.#tell(ticket, target, space, first, all ? Infinity : count, argument);
        told++;
      }
    }
    this.#observer?.onStart?.(cpu, space, told);
    if (this.isUser(space, cpu) && !this.isLazy(cpu)) this.#forget(cpu, space, first, all ? Infinity : count, argument);
    return ticket;
  }

  /** As {@link TlbShootdown.start}, for what all CPUs use always, as global pages: lazy ones are told too. */
  startGlobal(first = 0, count: number = Infinity, stride = 1): number {
    const cpu = this.#hal.currentCpu();
    const items = count / stride > this.handle.ceiling ? Infinity : count;
    const argument = (31 - Math.clz32(stride)) * STRIDE_FACTOR;
    this.#counters.addOn(cpu, SHOOTDOWNS, 1);
    let ticket = 0;
    let told = 0;
    for (let target = 0; target < this.handle.possibleCpus; target++) {
      if (target === cpu || !this.#mailbox.isOnline(target)) continue;
      ticket = this.#tell(ticket, target, GLOBAL, first, items, argument);
      told++;
    }
    this.#observer?.onStart?.(cpu, GLOBAL, told);
    this.#flushHere(cpu, GLOBAL, first, items, stride);
    return ticket;
  }

  /** {@link TlbShootdown.startGlobal}, and return when every CPU that is online has forgotten. */
  invalidateGlobal(first = 0, count: number = Infinity, stride = 1): void {
    const ticket = this.startGlobal(first, count, stride);
    this.#requests.wait(ticket, Infinity);
    this.#requests.free(ticket);
  }

  /** As {@link TlbShootdown.invalidateGlobal}, while the event loop goes on. */
  async invalidateGlobalAsync(first = 0, count: number = Infinity, stride = 1): Promise<void> {
    return this.finishAsync(this.startGlobal(first, count, stride));
  }

  /** Whether every CPU that was told has forgotten. */
  poll(ticket: number): boolean {
    return this.#requests.isOver(ticket);
  }

  /** Serve the mailbox until an invalidation is over; false: it is not after `timeoutNs`, and goes on. */
  wait(ticket: number, timeoutNs: number = Infinity): boolean {
    return this.#requests.wait(ticket, timeoutNs);
  }

  /** Ends an invalidation that is over; the ticket is void afterwards. Throws `SMP_CPU_STATE` if it is not over. */
  finish(ticket: number): void {
    if (!this.#requests.isOver(ticket)) throw new SmpError("SMP_CPU_STATE", "not every CPU has forgotten yet");
    this.#requests.free(ticket);
  }

  /** {@link TlbShootdown.finish} when the invalidation is over; the mailbox is served while the event loop goes on. */
  async finishAsync(ticket: number): Promise<void> {
    await this.#mailbox.pump.until(() => this.#requests.isOverOrWatched(ticket));
    this.#requests.free(ticket);
  }

  /** What `cpu` has counted, or the sum over all CPUs. */
  statistics(cpu?: CpuId): TlbShootdownStatistics {
    return this.#counters.snapshot(cpu) as unknown as TlbShootdownStatistics;
  }

  #tell(ticket: number, target: CpuId, space: number, first: number, count: number, argument: number): number {
    const { queues } = this.#mailbox;
    const slot = this.#requests.start(target, space, first, count, argument, this.#serveSlot);
    queues.setSibling(slot, ticket);
    // One that has just gone offline has forgotten everything, and is told nothing.
    if (queues.status(slot) !== Status.Offline) this.#counters.addOn(this.#hal.currentCpu(), REQUESTS, 1);
    return slot;
  }

  #serve(slot: number): void {
    const { queues } = this.#mailbox;
    const cpu = this.#hal.currentCpu();
    const space = queues.code(slot);
    const first = queues.argument(slot, 0);
    const count = queues.argument(slot, 1);
    const argument = queues.argument(slot, 2);
    try {
      if (space === GLOBAL) this.#flushHere(cpu, space, first, count, strideOf(argument));
      else if (!this.isUser(space, cpu) || this.isLazy(cpu)) this.#counters.addOn(cpu, ALREADY_DONE, 1);
      else this.#forget(cpu, space, first, count, argument);
    } finally {
      queues.end(slot, Status.Done);
    }
  }

  /** Forget what one generation asks for, if the one before it is the last seen and it is the newest; else all of the space. */
  #forget(cpu: CpuId, space: number, first: number, count: number, argument: number): void {
    const at = this.#own + cpu * this.#ownWords + space;
    const generation = argument | 0;
    const newest = this.generation(space);
    const seen = this.#words[at];
    if (((seen - generation) | 0) >= 0) {
      this.#counters.addOn(cpu, ALREADY_DONE, 1);
      return;
    }
    const next = generation === newest && ((seen + 1) | 0) === generation;
    this.#flushHere(cpu, space, next ? first : 0, next ? count : Infinity, next ? strideOf(argument) : 1);
    this.#words[at] = newest;
  }

  #catchUp(cpu: CpuId, space: number): void {
    const at = this.#own + cpu * this.#ownWords + space;
    const newest = this.generation(space);
    if (this.#words[at] === newest) return;
    this.#flushHere(cpu, space, 0, Infinity, 1);
    this.#words[at] = newest;
  }

  #flushHere(cpu: CpuId, space: number, first: number, count: number, stride: number): void {
    const full = count === Infinity;
    this.#flush(space, full ? 0 : first, count, full ? 1 : stride);
    this.#counters.addOn(cpu, FLUSHES, 1);
    if (full) this.#counters.addOn(cpu, FULL_FLUSHES, 1);
    this.#observer?.onFlush?.(cpu, space, full);
  }

  #userWords(): number {
    return (this.handle.possibleCpus + 31) >>> 5;
  }

  #mine(cpu: CpuId): number {
    return this.#own + cpu * this.#ownWords + this.handle.spaces;
  }

  #space(space: number): number {
    if (!Number.isInteger(space) || space < 0 || space >= this.handle.spaces) {
      throw new SmpError("SMP_INVALID_ARGUMENT", `there is no space ${space}; there are ${this.handle.spaces}`);
    }
    return this.handle.possibleCpus * LINE_WORDS + space * this.#spaceWords;
  }
}

/** Words of a space: its generation, and a bit for each CPU. */
function spaceWords(possibleCpus: number): number {
  return alignUp((USERS + ((possibleCpus + 31) >>> 5)) * 4, PADDING_BYTES) / 4;
}

/** A CPU's own words: what it has seen of each space, and a bit for each that it uses. */
function ownWords(spaces: number): number {
  return alignUp((spaces + ((spaces + 31) >>> 5)) * 4, PADDING_BYTES) / 4;
}

function strideOf(argument: number): number {
  return 2 ** Math.floor(argument / STRIDE_FACTOR);
}
