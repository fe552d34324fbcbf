import { PADDING_BYTES, type CpuId, type Hal } from "@x/smp";
import type { RcuObserver } from "./observer.ts";
import { FIRST_SEQUENCE, nextSequence, OFFLINE, ordinal, reached } from "./sequence.ts";

/*
 * Shared memory, in padded lines:
 *
 *   line 0    CURRENT     sequence of the grace period that runs or ran last     written by the holder of LOCK
 *             COMPLETED   sequence of the last one that ended                    written by the holder of LOCK
 *   line 1    LOCK        0 free, else owner CPU + 1, and CONTENDED              compare-exchange
 *             CURSOR      CPUs below it have passed the running grace period     written by the holder of LOCK
 *             WANTED      latest sequence somebody waits for                     compare-exchange
 *             STARTED     when the running one began, units of 1024 ns, wraps    written by the holder of LOCK
 *             STALLS_TOLD stall reports of the running grace period              compare-exchange
 *             WAITERS     threads asleep on COMPLETED                            add, sub
 *             STALLS      stall reports ever                                     add
 *   line 2    doubles: start of the running grace period, longest one, both ns   written by the holder of LOCK
 *   line 3+c  SEEN        CPU c: OFFLINE, or the latest sequence it has announced a quiescent state for
 *             QUEUED      callbacks CPU c has queued                             all three written by CPU c only
 *             INVOKED     callbacks CPU c has run or given up
 *
 * A grace period may end when every SEEN is OFFLINE or equals CURRENT. CURRENT and COMPLETED differ while one runs.
 *
 * Why this is enough. All of these words are accessed by Atomics only, hence in one total order. An updater unpublishes
 * before it reads CURRENT in `request`, so the grace period it waits for starts later. A CPU that announces has loaded
 * CURRENT after that start, so whatever it reads from then on is after the unpublishing; and what it read before is
 * before its store to SEEN, which the ender loads before it stores COMPLETED. A CPU that is seen OFFLINE stores SEEN later
 * than the ender's load, so its next pointer load (by Atomics) finds the new pointer.
 *
 * Progress. The CPU whose announcement is the last in the total order finds nobody else lagging. It either gets LOCK and
 * ends the grace period, or marks LOCK contended, and then the owner looks again before it leaves.
 */
const STRIDE_WORDS = PADDING_BYTES / 4;
const CURRENT = 0;
const COMPLETED = 1;
const LOCK = STRIDE_WORDS;
const CURSOR = STRIDE_WORDS + 1;
const WANTED = STRIDE_WORDS + 2;
const STARTED = STRIDE_WORDS + 3;
const STALLS_TOLD = STRIDE_WORDS + 4;
const WAITERS = STRIDE_WORDS + 5;
const STALLS = STRIDE_WORDS + 6;
const START_DOUBLE = (2 * PADDING_BYTES) / 8;
const LONGEST_DOUBLE = START_DOUBLE + 1;
const FIRST_CPU = 3 * STRIDE_WORDS;
const QUEUED = 1;
const INVOKED = 2;

const CONTENDED = 1 << 30;
const STARTED_UNIT_NS = 1024;
const WAKE_ALL = 0x7fffffff;

export function gracePeriodBytes(possibleCpus: number): number {
  return (3 + possibleCpus) * PADDING_BYTES;
}

/** The grace period machine: sequences, per-CPU announcements, and the one lock under which periods end and begin. */
export class GracePeriods {
  readonly #words: Int32Array;
  readonly #doubles: Float64Array;
  readonly #hal: Hal;
  readonly #cpus: number;
  readonly #observer: RcuObserver | undefined;
  readonly #stallTimeoutNs: number;

  constructor(
    memory: SharedArrayBuffer,
    hal: Hal,
    cpus: number,
    observer: RcuObserver | undefined,
    stallTimeoutNs: number,
  ) {
    this.#words = new Int32Array(memory);
    this.#doubles = new Float64Array(memory, 0, FIRST_CPU / 2);
    this.#hal = hal;
    this.#cpus = cpus;
    this.#observer = observer;
    this.#stallTimeoutNs = stallTimeoutNs;
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

  isOnline(cpu: CpuId): boolean {
    return Atomics.load(this.#words, FIRST_CPU + cpu * STRIDE_WORDS) !== OFFLINE;
  }

  /** Whether `cpu`, which must be the calling one, is online: its own word needs no Atomics. */
  selfOnline(cpu: CpuId): boolean {
    return this.#words[FIRST_CPU + cpu * STRIDE_WORDS] !== OFFLINE;
  }

  /** Whether the calling CPU has nothing to tell: it is offline or has announced for the current sequence. */
  nothingToAnnounce(cpu: CpuId): boolean {
    const seen = this.#words[FIRST_CPU + cpu * STRIDE_WORDS];
    return seen === Atomics.load(this.#words, CURRENT) || seen === OFFLINE;
  }

  /** Store the current sequence as seen by `cpu`; the second look keeps a stale store from delaying a new period. */
  enter(cpu: CpuId): void {
    const at = FIRST_CPU + cpu * STRIDE_WORDS;
    const sequence = Atomics.load(this.#words, CURRENT);
    Atomics.store(this.#words, at, sequence);
    const again = Atomics.load(this.#words, CURRENT);
    if (again !== sequence) Atomics.store(this.#words, at, again);
  }

  leave(cpu: CpuId): void {
    Atomics.store(this.#words, FIRST_CPU + cpu * STRIDE_WORDS, OFFLINE);
  }

  /** `cpu` is online and quiescent now. Ends what can be ended; two turns, so that a period begun here sees it too. */
  announce(cpu: CpuId): void {
    const at = FIRST_CPU + cpu * STRIDE_WORDS;
    for (let turn = 0; turn < 2; turn++) {
      Atomics.store(this.#words, at, Atomics.load(this.#words, CURRENT));
      this.#observer?.onQuiescentState?.(cpu);
      this.advance();
      if (this.nothingToAnnounce(cpu)) return;
    }
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

  /** The same without blocking; resolves at the latest after about `timeoutMs`. */
  async waitAsync(completed: number, timeoutMs: number): Promise<void> {
    Atomics.add(this.#words, WAITERS, 1);
    let timer: ReturnType<typeof setTimeout> | undefined;
    try {
      await new Promise<void>((resolve) => {
        timer = setTimeout(resolve, timeoutMs);
        const result = atomicsWaitAsync?.(this.#words, COMPLETED, completed, timeoutMs);
        if (result?.async === true) void (result.value as Promise<string>).then(() => resolve());
      });
    } finally {
      clearTimeout(timer);
      Atomics.sub(this.#words, WAITERS, 1);
    }
  }

  /** Take a dead CPU out: it is offline, its callbacks are given up, and the lock it died with is free. */
  bury(cpu: CpuId): number {
    const at = FIRST_CPU + cpu * STRIDE_WORDS;
    Atomics.store(this.#words, at, OFFLINE);
    const lock = Atomics.load(this.#words, LOCK);
    if ((lock & ~CONTENDED) === cpu + 1) Atomics.compareExchange(this.#words, LOCK, lock, 0);
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

  countInvoked(cpu: CpuId): void {
    const at = FIRST_CPU + cpu * STRIDE_WORDS + INVOKED;
    Atomics.store(this.#words, at, (this.#words[at] + 1) | 0);
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

  stalls(): number {
    return Atomics.load(this.#words, STALLS) >>> 0;
  }

  #passed(cpu: CpuId, sequence: number): boolean {
    const seen = Atomics.load(this.#words, FIRST_CPU + cpu * STRIDE_WORDS);
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
    let cursor = Atomics.load(this.#words, CURSOR);
    while (cursor < this.#cpus && this.#passed(cursor, sequence)) cursor++;
    Atomics.store(this.#words, CURSOR, cursor);
    if (cursor < this.#cpus) return -1;
    const durationNs = Math.max(0, this.#hal.now() - this.#doubles[START_DOUBLE]);
    if (durationNs > this.#doubles[LONGEST_DOUBLE]) this.#doubles[LONGEST_DOUBLE] = durationNs;
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
    Atomics.store(this.#words, CURRENT, next);
    return next;
  }

  #told(before: number, durationNs: number): void {
    if (Atomics.load(this.#words, WAITERS) !== 0) this.#hal.wake(this.#words, COMPLETED, WAKE_ALL);
    this.#observer?.onGracePeriodEnd?.(ordinal(nextSequence(before)), durationNs);
  }

  #checkStall(): void {
    if (this.#observer?.onStall === undefined || this.#stallTimeoutNs === Infinity) return;
    const now = Math.floor(this.#hal.now() / STARTED_UNIT_NS) | 0;
    const elapsedNs = ((now - Atomics.load(this.#words, STARTED)) | 0) * STARTED_UNIT_NS;
    const told = Atomics.load(this.#words, STALLS_TOLD);
    if (elapsedNs < this.#stallTimeoutNs * (told + 1)) return;
    if (Atomics.compareExchange(this.#words, STALLS_TOLD, told, told + 1) !== told) return;
    Atomics.add(this.#words, STALLS, 1);
    this.holdouts((cpu) => this.#observer?.onStall?.(cpu, elapsedNs));
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

type WaitAsync = (
  words: Int32Array,
  index: number,
  expected: number,
  timeoutMs: number,
) => { readonly async: boolean; readonly value: string | Promise<string> };

/** ECMAScript 2024; missing in some browsers, where the timer alone ends the wait. */
const atomicsWaitAsync: WaitAsync | undefined = (Atomics as { waitAsync?: WaitAsync }).waitAsync;
