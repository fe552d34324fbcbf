/*
 * The board: shared memory through which the threads of an execution hand the turn to each other. Exactly one thread
 * runs at a time; it alone reads and writes the board, plainly, and the turn words (Atomics) order the hand-overs.
 *
 *   words    one of Word each
 *   turns    one padded word per thread: 1 = your turn
 *   states   STATE_WORDS per thread, one of State each
 *   spins    per thread MAX_SPIN_RANGES pairs (address, bytes): what it read since it last relaxed
 *   waiters  MAX_WAITERS records of WAITER_WORDS: the lists of Atomics.wait
 *   log      LOG_WORDS per operation
 *   prefix   threads to follow            (byte per step)
 *   chosen   threads that went            (byte per step)
 *   enabled  bit mask of those that could (byte per step)
 *   asleep   bit mask of sleeping threads (byte per step)
 *   text     results, messages and trace lines as UTF-8
 *   dirty    one byte per page of the tested memory that was written
 */

/** Threads of a scenario: one bit each in a byte. */
export const MAX_THREADS = 8;
export const MAX_SPIN_RANGES = 32;
export const MAX_WAITERS = 64;
export const MAX_CHANGE_POINTS = 32;
export const PAGE_BYTES = 1024;
const TURN_STRIDE = 32;
const STATE_WORDS = 16;
const WAITER_WORDS = 6;
export const LOG_WORDS = 6;
const TEXT_BYTES = 1 << 20;

/** Words of the board. */
export const Word = {
  Steps: 0,
  LogLength: 1,
  PrefixLength: 2,
  Tail: 3,
  RandomState: 4,
  Preemptions: 5,
  IdleTurns: 6,
  Outcome: 7,
  Aborting: 8,
  Over: 9,
  Sleep: 10,
  UseSleep: 11,
  StepLimit: 12,
  IdleLimit: 13,
  PlainAccesses: 14,
  TextLength: 15,
  Tracing: 16,
  WaitSequence: 17,
  FailedThread: 18,
  FailureStart: 19,
  FailureLength: 20,
  ChangePoints: 21,
  LastThread: 22,
  IdleNext: 23,
  Progress: 24,
  NextPriority: 25,
  /** 1: waits with a time-out last for ever. */
  NoTimeouts: 26,
  /** 1: a thread that relaxes goes on at once. */
  RelaxReturns: 27,
  /** Times a spinning thread was made to wait. */
  Yields: 28,
} as const;
const WORDS = 64;

/** How an execution ended. */
export const Outcome = {
  Running: 0,
  Done: 1,
  /** A thread threw. */
  Threw: 2,
  /** Nobody can go on. */
  Deadlock: 3,
  /** More steps than the limit. */
  StepLimit: 4,
  /** Every thread that could go on sleeps: equivalent executions were seen. */
  Redundant: 5,
  /** The prefix names a thread that cannot run. */
  Infeasible: 6,
} as const;

/** Who goes on after the prefix. */
export const Tail = { Stay: 0, Random: 1, Priority: 2 } as const;

/** Words of a thread. */
export const State = {
  Status: 0,
  Pending: 1,
  PendingAt: 2,
  PendingBytes: 3,
  Spins: 4,
  SpinDirty: 5,
  IdleResume: 6,
  Priority: 7,
  OwnSteps: 8,
  Random: 9,
  Cause: 10,
  ResultStart: 11,
  ResultLength: 12,
  Time: 13,
  /** Slot of the wait it blocks in. */
  Slot: 14,
} as const;

/** What a thread is doing when it is not its turn. */
export const Status = { New: 0, Ready: 1, Relaxed: 2, Waiting: 3, AsyncIdle: 4, Finished: 5 } as const;

/** Words of a waiter. */
export const Waiter = { State: 0, Thread: 1, At: 2, Sequence: 3, Timed: 4, Cause: 5 } as const;
export const WaiterState = { Free: 0, Waiting: 1, Notified: 2, TimedOut: 3 } as const;

/** What joins a {@link Board} from another thread. */
export interface BoardHandle {
  readonly threads: number;
  readonly stepLimit: number;
  readonly pages: number;
  readonly memory: SharedArrayBuffer;
}

/** The views of the board. Made before Atomics and the typed arrays are instrumented, so they are the real ones. */
export class Board {
  readonly handle: BoardHandle;
  readonly threads: number;
  readonly stepLimit: number;
  readonly logLimit: number;
  readonly words: Int32Array;
  readonly turns: Int32Array;
  readonly spins: Int32Array;
  readonly log: Int32Array;
  readonly prefix: Uint8Array;
  readonly chosen: Uint8Array;
  readonly enabled: Uint8Array;
  readonly asleep: Uint8Array;
  readonly changePoints: Int32Array;
  readonly text: Uint8Array;
  readonly dirty: Uint8Array;
  readonly #states: Int32Array;
  readonly #waiters: Int32Array;

  constructor(handle: BoardHandle) {
    this.handle = handle;
    this.threads = handle.threads;
    this.stepLimit = handle.stepLimit;
    this.logLimit = logEntries(handle.stepLimit);
    let offset = 0;
    const words = (count: number): Int32Array => {
      const view = new Int32Array(handle.memory, offset, count);
      offset += count * 4;
      return view;
    };
    const bytes = (count: number): Uint8Array => {
      const view = new Uint8Array(handle.memory, offset, count);
      offset += count;
      return view;
    };
    this.turns = words(MAX_THREADS * TURN_STRIDE);
    this.words = words(WORDS);
    this.#states = words(MAX_THREADS * STATE_WORDS);
    this.spins = words(MAX_THREADS * MAX_SPIN_RANGES * 2);
    this.#waiters = words(MAX_WAITERS * WAITER_WORDS);
    this.changePoints = words(MAX_CHANGE_POINTS);
    this.log = words(this.logLimit * LOG_WORDS);
    this.prefix = bytes(handle.stepLimit + 1);
    this.chosen = bytes(handle.stepLimit + 1);
    this.enabled = bytes(handle.stepLimit + 1);
    this.asleep = bytes(handle.stepLimit + 1);
    this.text = bytes(TEXT_BYTES);
    this.dirty = bytes(handle.pages);
  }

  static create(threads: number, stepLimit: number, pages: number): Board {
    const fixed =
      (MAX_THREADS * (TURN_STRIDE + STATE_WORDS + MAX_SPIN_RANGES * 2) + WORDS + MAX_WAITERS * WAITER_WORDS) * 4 +
      MAX_CHANGE_POINTS * 4;
    const size = fixed + logEntries(stepLimit) * LOG_WORDS * 4 + (stepLimit + 1) * 4 + TEXT_BYTES + pages;
    return new Board({ threads, stepLimit, pages, memory: new SharedArrayBuffer(size) });
  }

  state(thread: number, field: number): number {
    return this.#states[thread * STATE_WORDS + field];
  }

  setState(thread: number, field: number, value: number): void {
    this.#states[thread * STATE_WORDS + field] = value;
  }

  waiter(slot: number, field: number): number {
    return this.#waiters[slot * WAITER_WORDS + field];
  }

  setWaiter(slot: number, field: number, value: number): void {
    this.#waiters[slot * WAITER_WORDS + field] = value;
  }

  /** Index of `thread`'s word in {@link Board.turns}. */
  turn(thread: number): number {
    return thread * TURN_STRIDE;
  }

  /** Make the board ready for an execution. */
  reset(): void {
    const keep = [Word.StepLimit, Word.IdleLimit, Word.Progress, Word.NoTimeouts, Word.RelaxReturns].map((word) => [
      word,
      this.words[word],
    ]);
    this.words.fill(0);
    for (const [word, value] of keep) this.words[word] = value;
    this.#states.fill(0);
    this.#waiters.fill(0);
    this.words[Word.LastThread] = -1;
  }

  /** Append UTF-8 text; returns its start, or -1 when the area is full. */
  appendText(text: string): number {
    const bytes = encoder.encode(text);
    const start = this.words[Word.TextLength];
    if (start + bytes.length > this.text.length) return -1;
    this.text.set(bytes, start);
    this.words[Word.TextLength] = start + bytes.length;
    return start;
  }

  readText(start: number, end: number): string {
    return decoder.decode(this.text.slice(start, end));
  }
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Plain accesses are logged too, so the log is longer than the schedule. */
function logEntries(stepLimit: number): number {
  return stepLimit * 8;
}
