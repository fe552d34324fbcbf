import type { CpuId, Hal } from "@x/smp";
import {
  STRIDE_WORDS,
  CURRENT,
  COMPLETED,
  ERA,
  LOCK,
  CURSOR,
  WANTED,
  STARTED,
  STALLS_TOLD,
  WAITERS,
  STALLS,
  EVENTS,
  LISTENERS,
  EXPEDITED,
  START_DOUBLE,
  LONGEST_DOUBLE,
  TOTAL_DOUBLE,
  FIRST_CPU,
  QUEUED,
  INVOKED,
  SECTIONS,
} from "./grace-period-layout.ts";
import type { RcuObserver } from "./observer.ts";
import type { RcuFlavour } from "./rcu-options.ts";
import type { SectionSites } from "./section-sites.ts";
import { AWAITED, FIRST_SEQUENCE, nextSequence, OFFLINE, ordinal, parity, reached } from "./sequence.ts";
import { notified, notifiedOrTimeout } from "./wait-async.ts";

const CONTENDED = 1 << 30;
const STARTED_UNIT_NS = 1024;
const WAKE_ALL = 0x7fffffff;

export interface GracePeriodOptions {
  readonly memory: SharedArrayBuffer;
  readonly hal: Hal;
  readonly cpus: number;
  readonly observer: RcuObserver | undefined;
  readonly stallTimeoutNs: number;
  readonly flavour: RcuFlavour;
  /** Where read sections began, in debug mode. */
  readonly sites: SectionSites | undefined;
}

/** The grace period machine: sequences, per-CPU announcements, and the one lock under which periods end and begin. */
export class GracePeriods {
  readonly #words: Int32Array;
  readonly #doubles: Float64Array;
  readonly #hal: Hal;
  readonly #cpus: number;
  readonly #observer: RcuObserver | undefined;
  readonly #stallTimeoutNs: number;
  /** Flavour `sleepable`: readers are counted sections. */
  readonly #sleepable: boolean;
  /** Flavour `memory-barrier`: a CPU is a reader from the beginning of a section to its end. */
  readonly #sections: boolean;
  readonly #sites: SectionSites | undefined;

  constructor(options: GracePeriodOptions) {
    this.#words = new Int32Array(options.memory);
    this.#doubles = new Float64Array(options.memory, 0, FIRST_CPU / 2);
    this.#hal = options.hal;
    this.#cpus = options.cpus;
    this.#observer = options.observer;
    this.#stallTimeoutNs = options.stallTimeoutNs;
    this.#sleepable = options.flavour === "sleepable";
    this.#sections = options.flavour === "memory-barrier";
    this.#sites = options.sites;
  }

  /** Once, by the creator, before the memory is shared. */
  initialise(): void {
    this.#words[CURRENT] = FIRST_SEQUENCE;
    this.#words[COMPLETED] = FIRST_SEQUENCE;
    this.#words[WANTED] = FIRST_SEQUENCE;
  }

  current(): number {
    return Atomics.load(this.#words, CURRENT);
  }

  completed(): number {
    return Atomics.load(this.#words, COMPLETED);
  }

  /** The sequence whose end proves that a whole grace period has passed after this call; it is begun when none runs. */
  request(): number {
    const sequence = nextSequence(Atomics.load(this.#words, CURRENT));
    let wanted = Atomics.load(this.#words, WANTED);
    while (!reached(wanted, sequence)) {
      const found = Atomics.compareExchange(this.#words, WANTED, wanted, sequence);
      if (found === wanted) break;
      wanted = found;
    }
    this.advance();
    return sequence;
  }

  /** Whether {@link GracePeriods.request} would return `sequence`, which it has returned before: then it has nothing to do. */
  isNext(sequence: number): boolean {
    return nextSequence(Atomics.load(this.#words, CURRENT)) === sequence;
  }

  /** End the running grace period if nobody lags, begin the next if one is wanted. Returns whether one ended. */
  advance(): boolean {
    let ended = false;
    while (this.#canAdvance() && this.#tryLock()) {
      const before = this.completed();
      const durationNs = this.#endIfPassed();
      const begun = this.#beginIfWanted();
      const contended = this.#unlock();
      if (durationNs >= 0) {
        ended = true;
        this.#told(before, durationNs);
      }
      if (begun !== OFFLINE) this.#observer?.onGracePeriodStart?.(ordinal(begun));
      if (begun !== OFFLINE || durationNs >= 0) this.#tellListeners();
      else if (this.completed() !== this.current()) this.#checkStall();
      if (!contended) break;
    }
    return ended;
  }

  /** Calls `visit` with every CPU the running grace period waits for; returns how many there are. */
  holdouts(visit: (cpu: CpuId) => void): number {
    const sequence = this.current();
    if (this.completed() === sequence) return 0;
    let count = 0;
    for (let cpu = 0; cpu < this.#cpus; cpu++) {
      if (this.#passed(cpu, sequence)) continue;
      count++;
      visit(cpu);
    }
    return count;
  }

  /** Sleep until a grace period ends, at most `timeoutNs`. */
  wait(completed: number, timeoutNs: number): void {
    Atomics.add(this.#words, WAITERS, 1);
    try {
      this.#hal.wait(this.#words, COMPLETED, completed, timeoutNs);
    } finally {
      Atomics.sub(this.#words, WAITERS, 1);
    }
  }

  /** The same without blocking; resolves at the latest after about `timeoutMs`, and keeps the event loop alive until then. */
  async waitAsync(completed: number, timeoutMs: number): Promise<void> {
    Atomics.add(this.#words, WAITERS, 1);
    try {
      await notifiedOrTimeout(this.#words, COMPLETED, completed, timeoutMs);
    } finally {
      Atomics.sub(this.#words, WAITERS, 1);
    }
  }

  /** Beginnings and ends of grace periods so far; read before looking for work, for {@link GracePeriods.nextEvent}. */
  events(): number {
    return Atomics.load(this.#words, EVENTS);
  }

  /** Resolved when a grace period begins or ends after `seen`. Does not keep the event loop alive. */
  async nextEvent(seen: number, timeoutMs: number): Promise<void> {
    Atomics.add(this.#words, LISTENERS, 1);
    try {
      await notified(this.#words, EVENTS, seen, timeoutMs);
    } finally {
      Atomics.sub(this.#words, LISTENERS, 1);
    }
  }

  /** End every wait for an event, also where there was none. */
  wakeListeners(): void {
    Atomics.add(this.#words, EVENTS, 1);
    this.#hal.wake(this.#words, EVENTS, WAKE_ALL);
  }

  /** Take a dead CPU out: it is offline, its callbacks are given up, and the lock it died with is free. */
  bury(cpu: CpuId): number {
    const at = FIRST_CPU + cpu * STRIDE_WORDS;
    Atomics.store(this.#words, at, OFFLINE);
    Atomics.store(this.#words, at + SECTIONS, 0);
    Atomics.store(this.#words, at + SECTIONS + 1, 0);
    // Others may mark the lock contended meanwhile; nobody else can take it or give it away.
    if ((Atomics.load(this.#words, LOCK) & ~CONTENDED) === cpu + 1) Atomics.store(this.#words, LOCK, 0);
    const queued = Atomics.load(this.#words, at + QUEUED);
    const lost = (queued - Atomics.exchange(this.#words, at + INVOKED, queued)) >>> 0;
    this.advance();
    return lost;
  }

  /** Count a callback of the calling CPU. Atomics, because `barrier` on other threads waits for these. */
  countQueued(cpu: CpuId): void {
    const at = FIRST_CPU + cpu * STRIDE_WORDS + QUEUED;
    Atomics.store(this.#words, at, (this.#words[at] + 1) | 0);
  }

  countInvoked(cpu: CpuId, count: number): void {
    const at = FIRST_CPU + cpu * STRIDE_WORDS + INVOKED;
    Atomics.store(this.#words, at, (this.#words[at] + count) | 0);
  }

  queued(cpu: CpuId): number {
    return Atomics.load(this.#words, FIRST_CPU + cpu * STRIDE_WORDS + QUEUED);
  }

  invoked(cpu: CpuId): number {
    return Atomics.load(this.#words, FIRST_CPU + cpu * STRIDE_WORDS + INVOKED);
  }

  longestNs(): number {
    return this.#doubles[LONGEST_DOUBLE];
  }

  meanNs(): number {
    const periods = ordinal(this.completed());
    return periods === 0 ? 0 : this.#doubles[TOTAL_DOUBLE] / periods;
  }

  countExpedited(cpus: number): void {
    Atomics.add(this.#words, EXPEDITED, cpus);
  }

  expedited(): number {
    return Atomics.load(this.#words, EXPEDITED) >>> 0;
  }

  stalls(): number {
    return Atomics.load(this.#words, STALLS) >>> 0;
  }

  #passed(cpu: CpuId, sequence: number): boolean {
    const at = FIRST_CPU + cpu * STRIDE_WORDS;
    if (this.#sleepable) return Atomics.load(this.#words, at + SECTIONS + 1 - parity(sequence)) === 0;
    const seen = Atomics.load(this.#words, at);
    return seen === sequence || seen === OFFLINE;
  }

  /** A look without the lock: false only if the CPU at the cursor lags, or nothing runs and nothing is wanted. */
  #canAdvance(): boolean {
    const sequence = this.current();
    if (this.completed() === sequence) return !reached(sequence, Atomics.load(this.#words, WANTED));
    const cursor = Atomics.load(this.#words, CURSOR);
    if (cursor >= this.#cpus || this.#passed(cursor, sequence)) return true;
    this.#checkStall();
    return false;
  }

  /** Under LOCK. Returns the duration of the grace period that ended, or -1. */
  #endIfPassed(): number {
    const sequence = this.current();
    if (this.completed() === sequence) return -1;
    if (!this.#allPassed(sequence)) return -1;
    const durationNs = Math.max(0, this.#hal.now() - this.#doubles[START_DOUBLE]);
    if (durationNs > this.#doubles[LONGEST_DOUBLE]) this.#doubles[LONGEST_DOUBLE] = durationNs;
    this.#doubles[TOTAL_DOUBLE] += durationNs;
    Atomics.store(this.#words, COMPLETED, sequence);
    return durationNs;
  }

  /** Under LOCK. Returns the sequence that began, or OFFLINE. */
  #beginIfWanted(): number {
    const sequence = this.current();
    if (this.completed() !== sequence || reached(sequence, Atomics.load(this.#words, WANTED))) return OFFLINE;
    const next = nextSequence(sequence);
    const now = this.#hal.now();
    this.#doubles[START_DOUBLE] = now;
    Atomics.store(this.#words, STARTED, Math.floor(now / STARTED_UNIT_NS) | 0);
    Atomics.store(this.#words, STALLS_TOLD, 0);
    Atomics.store(this.#words, CURSOR, 0);
    if (next < sequence) Atomics.add(this.#words, ERA, 1);
    Atomics.store(this.#words, CURRENT, next);
    if (this.#sections) this.#allPassed(next);
    return next;
  }

  /** Under LOCK: move CURSOR on to the first CPU that lags. In flavour `memory-barrier` that one is told, see AWAITED. */
  #allPassed(sequence: number): boolean {
    let cursor = Atomics.load(this.#words, CURSOR);
    while (cursor < this.#cpus) {
      const lags = !this.#passed(cursor, sequence);
      if (lags && (!this.#sections || this.#tell(cursor))) break;
      if (!lags) cursor++;
    }
    Atomics.store(this.#words, CURSOR, cursor);
    return cursor === this.#cpus;
  }

  /** Under LOCK: have the end of the section on `cpu` look at the grace period. False if it has changed meanwhile. */
  #tell(cpu: CpuId): boolean {
    const at = FIRST_CPU + cpu * STRIDE_WORDS;
    const seen = Atomics.load(this.#words, at);
    if (seen === AWAITED) return true;
    return seen !== OFFLINE && Atomics.compareExchange(this.#words, at, seen, AWAITED) === seen;
  }

  #told(before: number, durationNs: number): void {
    if (Atomics.load(this.#words, WAITERS) !== 0) this.#hal.wake(this.#words, COMPLETED, WAKE_ALL);
    this.#observer?.onGracePeriodEnd?.(ordinal(nextSequence(before)), durationNs);
  }

  #tellListeners(): void {
    Atomics.add(this.#words, EVENTS, 1);
    if (Atomics.load(this.#words, LISTENERS) !== 0) this.#hal.wake(this.#words, EVENTS, WAKE_ALL);
  }

  #checkStall(): void {
    if (this.#observer?.onStall === undefined || this.#stallTimeoutNs === Infinity) return;
    const now = Math.floor(this.#hal.now() / STARTED_UNIT_NS) | 0;
    const elapsedNs = ((now - Atomics.load(this.#words, STARTED)) | 0) * STARTED_UNIT_NS;
    const told = Atomics.load(this.#words, STALLS_TOLD);
    if (elapsedNs < this.#stallTimeoutNs * (told + 1)) return;
    if (Atomics.compareExchange(this.#words, STALLS_TOLD, told, told + 1) !== told) return;
    Atomics.add(this.#words, STALLS, 1);
    this.holdouts((cpu) => this.#observer?.onStall?.(cpu, elapsedNs, this.#sites?.where(cpu)));
  }

  /** Take LOCK, or mark it contended so that its owner looks again. */
  #tryLock(): boolean {
    const mine = this.#hal.currentCpu() + 1;
    for (;;) {
      const owner = Atomics.compareExchange(this.#words, LOCK, 0, mine);
      if (owner === 0) return true;
      if ((owner & CONTENDED) !== 0) return false;
      if (Atomics.compareExchange(this.#words, LOCK, owner, owner | CONTENDED) === owner) return false;
    }
  }

  /** Returns whether somebody came while LOCK was held. */
  #unlock(): boolean {
    return (Atomics.exchange(this.#words, LOCK, 0) & CONTENDED) !== 0;
  }
}
