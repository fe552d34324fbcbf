import { type Board, MAX_WAITERS, Waiter, WaiterState, Word } from "./board.ts";
import { InterleaveError } from "./errors.ts";

/** The lists of threads in `Atomics.wait` and `waitAsync`: first in, first out, as ECMA-262 has it (§ 25.4). */
export class Waiters {
  readonly #board: Board;

  constructor(board: Board) {
    this.#board = board;
  }

  /** Join the list of `at`; returns the slot. */
  add(thread: number, at: number, timed: boolean): number {
    const board = this.#board;
    for (let slot = 0; slot < MAX_WAITERS; slot++) {
      if (board.waiter(slot, Waiter.State) !== WaiterState.Free) continue;
      board.setWaiter(slot, Waiter.State, WaiterState.Waiting);
      board.setWaiter(slot, Waiter.Thread, thread);
      board.setWaiter(slot, Waiter.At, at);
      board.setWaiter(slot, Waiter.Sequence, ++board.words[Word.WaitSequence]);
      board.setWaiter(slot, Waiter.Timed, timed ? 1 : 0);
      board.setWaiter(slot, Waiter.Cause, -1);
      return slot;
    }
    throw new InterleaveError("INTERLEAVE_INVALID_SCENARIO", `more than ${MAX_WAITERS} waits are outstanding`);
  }

  /** Wake up to `count` waiters of `at`; returns how many. */
  notify(at: number, count: number, step: number): number {
    let woken = 0;
    while (woken < count) {
      const slot = this.#oldest((each) => this.#board.waiter(each, Waiter.At) === at);
      if (slot < 0) break;
      this.#end(slot, WaiterState.Notified, step);
      woken++;
    }
    return woken;
  }

  /** End the oldest wait that has a time-out; returns its thread, or -1. */
  timeOutOldest(): number {
    const slot = this.#oldest((each) => this.#board.waiter(each, Waiter.Timed) === 1);
    if (slot < 0) return -1;
    this.#end(slot, WaiterState.TimedOut, -1);
    return this.#board.waiter(slot, Waiter.Thread);
  }

  /** Whether a wait of `thread` has ended. */
  isAwake(thread: number): boolean {
    const board = this.#board;
    for (let slot = 0; slot < MAX_WAITERS; slot++) {
      if (board.waiter(slot, Waiter.State) >= WaiterState.Notified && board.waiter(slot, Waiter.Thread) === thread) {
        return true;
      }
    }
    return false;
  }

  /** Visit the outstanding and the ended waits of `thread`. */
  forEachOf(thread: number, visit: (slot: number) => void): void {
    const board = this.#board;
    for (let slot = 0; slot < MAX_WAITERS; slot++) {
      if (board.waiter(slot, Waiter.State) !== WaiterState.Free && board.waiter(slot, Waiter.Thread) === thread)
        visit(slot);
    }
  }

  /** Forget an ended wait; returns whether it was notified. */
  take(slot: number): boolean {
    const notified = this.#board.waiter(slot, Waiter.State) === WaiterState.Notified;
    this.#board.setWaiter(slot, Waiter.State, WaiterState.Free);
    return notified;
  }

  isOver(slot: number): boolean {
    return this.#board.waiter(slot, Waiter.State) >= WaiterState.Notified;
  }

  #end(slot: number, state: number, step: number): void {
    this.#board.setWaiter(slot, Waiter.State, state);
    this.#board.setWaiter(slot, Waiter.Cause, step);
  }

  #oldest(matches: (slot: number) => boolean): number {
    const board = this.#board;
    let best = -1;
    for (let slot = 0; slot < MAX_WAITERS; slot++) {
      if (board.waiter(slot, Waiter.State) !== WaiterState.Waiting || !matches(slot)) continue;
      if (best < 0 || board.waiter(slot, Waiter.Sequence) < board.waiter(best, Waiter.Sequence)) best = slot;
    }
    return best;
  }
}
