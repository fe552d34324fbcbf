import { type Board, LOG_WORDS, Outcome, PAGE_BYTES, State, Status, Waiter, Word } from "./board.ts";
import { chooseTail } from "./choose-tail.ts";
import { Flag, isRead, isWrite, Operation } from "./operation.ts";
import { SpinSets } from "./spin-sets.ts";
import { awaitTurn, giveTurn } from "./turn.ts";
import { Waiters } from "./waiters.ts";

/** Thrown through the code under test to end an execution early. */
export const UNWIND: unique symbol = Symbol("interleave: the execution is over");

/** A thread that cannot go on, in a deadlock. */
export interface Stuck {
  readonly thread: number;
  readonly status: number;
  readonly waits: readonly { readonly at: number; readonly timed: boolean }[];
}

/**
 * One thread's side of the scheduler. The thread that runs announces its next step; the choice of who goes next is
 * made right there, on the board, and the turn changes hands only if the choice is another thread.
 */
export class Scheduler {
  readonly board: Board;
  readonly thread: number;
  readonly waiters: Waiters;
  /** Log entry of this thread's last resume. */
  lastResume = 0;
  readonly #words: Int32Array;
  readonly #spins: SpinSets;

  constructor(board: Board, thread: number) {
    this.board = board;
    this.thread = thread;
    this.waiters = new Waiters(board);
    this.#words = board.words;
    this.#spins = new SpinSets(board);
  }

  /** Announce a step; returns when it is granted. The caller performs it at once and calls {@link Scheduler.executed}. */
  step(operation: number, at: number, bytes: number): void {
    const { board, thread } = this;
    board.setState(thread, State.Status, Status.Ready);
    board.setState(thread, State.Pending, operation);
    board.setState(thread, State.PendingAt, at);
    board.setState(thread, State.PendingBytes, bytes);
    this.#handOver();
  }

  /** Block in `status` until somebody makes this thread able to go on; then log that it resumed. */
  block(status: number): void {
    const { board, thread } = this;
    board.setState(thread, State.Status, status);
    board.setState(thread, State.Pending, Operation.Resume);
    this.#handOver();
    this.resumed(status);
  }

  /** Like {@link Scheduler.block}, for a thread whose stack is empty: it has an event loop to return to. */
  announceAsyncIdle(): boolean {
    const { board, thread } = this;
    board.setState(thread, State.Status, Status.AsyncIdle);
    board.setState(thread, State.Pending, Operation.Resume);
    if (this.#words[Word.Aborting] !== 0) return false;
    const next = this.choose();
    if (next === thread) return true;
    if (next < 0) return false;
    giveTurn(board, next);
    awaitTurn(board, thread);
    return this.#words[Word.Aborting] === 0;
  }

  /** Log the step `Resume` of the calling thread. */
  resumed(status: number): void {
    const { board, thread } = this;
    const idle = board.state(thread, State.IdleResume) !== 0;
    const flags = Flag.Step | (idle ? Flag.Idle : 0) | (status === Status.Waiting ? Flag.Notified : 0);
    const slot = board.state(thread, State.Slot);
    const at = status === Status.Waiting ? board.waiter(slot, Waiter.At) : 0;
    const entry = this.append(Operation.Resume, at, 0, flags);
    this.lastResume = entry;
    if (status === Status.Relaxed) {
      board.log[entry + 4] = board.state(thread, State.Cause);
      this.#spins.forEach(thread, (at, bytes) => this.append(Operation.Depends, at, bytes, 0));
    } else if (status === Status.Waiting) {
      board.log[entry + 4] = board.waiter(slot, Waiter.Cause);
    } else {
      this.waiters.forEachOf(thread, (slot) => this.append(Operation.Depends, board.waiter(slot, Waiter.At), 0, 0));
    }
    board.setState(thread, State.IdleResume, 0);
    board.setState(thread, State.Status, Status.Ready);
    this.executed(entry);
  }

  /** Yield until another thread changes something this thread read since it last relaxed. */
  relax(): void {
    const { board, thread } = this;
    board.setState(thread, State.Time, board.state(thread, State.Time) + 1);
    this.#words[Word.Yields]++;
    this.block(Status.Relaxed);
    this.#spins.clear(thread);
  }

  /** The thread's function returned or threw: choose who goes on. Never blocks; returns whether all is over. */
  finish(): boolean {
    const { board, thread } = this;
    board.setState(thread, State.Status, Status.Finished);
    if (this.#words[Word.Aborting] === 0) {
      const next = this.choose();
      if (next >= 0) {
        giveTurn(board, next);
        return false;
      }
    }
    return this.#unwindNext();
  }

  /** End the execution: every thread that has begun unwinds, one after the other. */
  abort(outcome: number): void {
    if (this.#words[Word.Aborting] !== 0) return;
    this.#words[Word.Aborting] = 1;
    this.#words[Word.Outcome] = outcome;
    if (outcome === Outcome.Deadlock) this.#recordStuck();
  }

  /** Add an operation to the log; returns its first word. */
  append(operation: number, at: number, bytes: number, flags: number): number {
    const words = this.#words;
    if (words[Word.LogLength] >= this.board.logLimit) {
      this.abort(Outcome.StepLimit);
      throw UNWIND;
    }
    const entry = words[Word.LogLength]++ * LOG_WORDS;
    const log = this.board.log;
    log[entry] = operation | (this.thread << 8) | (flags << 16);
    log[entry + 1] = at;
    log[entry + 2] = bytes;
    log[entry + 3] = words[Word.Steps] - 1;
    log[entry + 4] = -1;
    return entry;
  }

  /** After the operation at `entry` of the log took place: who spins on it or sleeps because of it wakes up. */
  executed(entry: number): void {
    const { board } = this;
    const log = board.log;
    const operation = log[entry] & 0xff;
    const flags = log[entry] >> 16;
    const at = log[entry + 1];
    const bytes = log[entry + 2];
    if (isWrite(operation, flags)) {
      this.#markDirty(at, bytes);
      if ((flags & Flag.Changed) !== 0) {
        this.#words[Word.IdleTurns] = 0;
        this.#spins.changed(this.thread, at, bytes, log[entry + 3]);
      }
    }
    if (isRead(operation)) this.#spins.read(this.thread, at, bytes);
    if (this.#words[Word.Sleep] !== 0 && (flags & Flag.Step) !== 0) this.#wakeSleepers(operation, flags, at, bytes);
  }

  /** Choose who goes next and record the choice as a step; -1: the execution is over or must be unwound. */
  choose(): number {
    const { board } = this;
    const words = this.#words;
    let enabled = this.enabled();
    if (enabled === 0) {
      if (this.#allFinished()) {
        words[Word.Outcome] = Outcome.Done;
        return -1;
      }
      enabled = this.#passTime();
      if (enabled === 0) {
        this.abort(Outcome.Deadlock);
        return -1;
      }
    }
    const step = words[Word.Steps];
    if (step >= words[Word.StepLimit]) {
      this.abort(Outcome.StepLimit);
      return -1;
    }
    const next = this.#pick(step, enabled);
    if (next < 0) return -1;
    const last = words[Word.LastThread];
    if (next !== last && (enabled & (1 << last)) !== 0) words[Word.Preemptions]++;
    board.chosen[step] = next;
    board.enabled[step] = enabled;
    board.asleep[step] = words[Word.Sleep];
    words[Word.LastThread] = next;
    words[Word.Steps] = step + 1;
    board.setState(next, State.OwnSteps, board.state(next, State.OwnSteps) + 1);
    return next;
  }

  /** Bit mask of the threads that can go on. */
  enabled(): number {
    const { board } = this;
    let mask = 0;
    for (let thread = 0; thread < board.threads; thread++) {
      if (this.#isEnabled(thread)) mask |= 1 << thread;
    }
    return mask;
  }

  /** Who is stuck and how, before unwinding forgets it. */
  #recordStuck(): void {
    const { board } = this;
    const stuck: Stuck[] = [];
    for (let thread = 0; thread < board.threads; thread++) {
      const status = board.state(thread, State.Status);
      const waits: { at: number; timed: boolean }[] = [];
      this.waiters.forEachOf(thread, (slot) =>
        waits.push({ at: board.waiter(slot, Waiter.At), timed: board.waiter(slot, Waiter.Timed) === 1 }),
      );
      if (status !== Status.Finished) stuck.push({ thread, status, waits });
    }
    board.words[Word.FailureStart] = board.appendText(JSON.stringify(stuck));
    board.words[Word.FailureLength] = board.words[Word.TextLength] - board.words[Word.FailureStart];
  }

  #isEnabled(thread: number): boolean {
    const { board } = this;
    switch (board.state(thread, State.Status)) {
      case Status.New:
      case Status.Ready:
        return true;
      case Status.Relaxed:
        return board.state(thread, State.SpinDirty) !== 0;
      case Status.Waiting:
        return this.waiters.isOver(board.state(thread, State.Slot));
      case Status.AsyncIdle:
        return this.waiters.isAwake(thread);
      default:
        return false;
    }
  }

  #pick(step: number, enabled: number): number {
    const words = this.#words;
    const { board } = this;
    if (step < words[Word.PrefixLength]) {
      const next = board.prefix[step];
      if ((enabled & (1 << next)) === 0) {
        this.abort(Outcome.Infeasible);
        return -1;
      }
      if (step === words[Word.PrefixLength] - 1) words[Word.Sleep] = words[Word.UseSleep] & ~(1 << next);
      return next;
    }
    const awake = enabled & ~words[Word.Sleep];
    if (awake === 0) {
      this.abort(Outcome.Redundant);
      return -1;
    }
    return chooseTail(board, step, awake);
  }

  #handOver(): void {
    const { board, thread } = this;
    if (this.#words[Word.Aborting] !== 0) throw UNWIND;
    const next = this.choose();
    if (next === thread) return;
    if (next < 0) throw UNWIND;
    giveTurn(board, next);
    awaitTurn(board, thread);
    if (this.#words[Word.Aborting] !== 0) throw UNWIND;
  }

  /** Let the next thread that has begun and not finished unwind; true: none is left. */
  #unwindNext(): boolean {
    const { board } = this;
    for (let thread = 0; thread < board.threads; thread++) {
      const status = board.state(thread, State.Status);
      if (status === Status.New || status === Status.Finished) continue;
      giveTurn(board, thread);
      return false;
    }
    this.#words[Word.Over] = 1;
    if (this.thread !== 0) giveTurn(board, 0);
    return true;
  }

  #allFinished(): boolean {
    const { board } = this;
    for (let thread = 0; thread < board.threads; thread++) {
      if (board.state(thread, State.Status) !== Status.Finished) return false;
    }
    return true;
  }

  /**
   * Nobody can go on: time passes. The oldest wait with a time-out ends; without one, a spinning thread makes another
   * turn (it may give up spinning). Returns who can go on now; 0 after so many idle turns that it is a deadlock.
   */
  #passTime(): number {
    const { board } = this;
    const words = this.#words;
    if (++words[Word.IdleTurns] > words[Word.IdleLimit]) return 0;
    let thread = words[Word.NoTimeouts] === 0 ? this.waiters.timeOutOldest() : -1;
    for (let turn = 0; thread < 0 && turn < board.threads; turn++) {
      const candidate = (words[Word.IdleNext] + turn) % board.threads;
      if (board.state(candidate, State.Status) !== Status.Relaxed) continue;
      board.setState(candidate, State.SpinDirty, 1);
      board.setState(candidate, State.Cause, -1);
      words[Word.IdleNext] = candidate + 1;
      thread = candidate;
    }
    if (thread < 0) return 0;
    board.setState(thread, State.IdleResume, 1);
    for (let each = 0; each < board.threads; each++)
      board.setState(each, State.Time, board.state(each, State.Time) + 1000);
    return 1 << thread;
  }

  #markDirty(at: number, bytes: number): void {
    const { dirty } = this.board;
    for (let page = Math.floor(at / PAGE_BYTES); page * PAGE_BYTES < at + bytes; page++) dirty[page] = 1;
  }

  /** Sleep sets: a thread sleeps until a step that its pending step depends on. */
  #wakeSleepers(operation: number, flags: number, at: number, bytes: number): void {
    const words = this.#words;
    for (let thread = 0; thread < this.board.threads; thread++) {
      const bit = 1 << thread;
      if ((words[Word.Sleep] & bit) === 0 || thread === this.thread) continue;
      if (this.#dependsOn(thread, operation, flags, at, bytes)) words[Word.Sleep] &= ~bit;
    }
  }

  #dependsOn(thread: number, operation: number, flags: number, at: number, bytes: number): boolean {
    const { board } = this;
    const pending = board.state(thread, State.Pending);
    const writes = isWrite(operation, flags);
    switch (board.state(thread, State.Status)) {
      case Status.Ready:
        break;
      case Status.Relaxed:
        return writes && this.#spins.includes(thread, at, bytes);
      case Status.AsyncIdle:
        return operation === Operation.Notify || operation === Operation.Wait;
      default:
        return false;
    }
    const start = board.state(thread, State.PendingAt);
    if (at >= start + board.state(thread, State.PendingBytes) || start >= at + bytes) return false;
    const onList = pending === Operation.Wait || pending === Operation.Notify;
    if (onList && (operation === Operation.Wait || operation === Operation.Notify)) return true;
    if (pending === Operation.Notify || operation === Operation.Notify) return false;
    return writes || isWrite(pending, 0);
  }
}
