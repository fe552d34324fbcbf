import { type Board, MAX_SPIN_RANGES, State } from "./board.ts";

/** Stands for everything: the thread has read more ranges than are kept. */
const EVERYTHING = -1;

/**
 * What each thread has read since it last relaxed. A spinning thread would read the same again until one of these values
 * changes, so until then it need not run.
 */
export class SpinSets {
  readonly #board: Board;

  constructor(board: Board) {
    this.#board = board;
  }

  read(thread: number, at: number, bytes: number): void {
    const board = this.#board;
    const count = board.state(thread, State.Spins);
    if (count > MAX_SPIN_RANGES) return;
    const base = thread * MAX_SPIN_RANGES * 2;
    for (let range = 0; range < count; range++) {
      if (board.spins[base + range * 2] === at && board.spins[base + range * 2 + 1] >= bytes) return;
    }
    if (count < MAX_SPIN_RANGES) {
      board.spins[base + count * 2] = at;
      board.spins[base + count * 2 + 1] = bytes;
    }
    board.setState(thread, State.Spins, count + 1);
  }

  /** `writer` changed a value in `step`: threads that read it and then relaxed, or are about to, go on. */
  changed(writer: number, at: number, bytes: number, step: number): void {
    const board = this.#board;
    for (let thread = 0; thread < board.threads; thread++) {
      if (thread === writer || board.state(thread, State.SpinDirty) !== 0) continue;
      if (!this.includes(thread, at, bytes)) continue;
      board.setState(thread, State.SpinDirty, 1);
      board.setState(thread, State.Cause, step);
    }
  }

  includes(thread: number, at: number, bytes: number): boolean {
    const board = this.#board;
    const count = board.state(thread, State.Spins);
    if (count > MAX_SPIN_RANGES) return true;
    const base = thread * MAX_SPIN_RANGES * 2;
    for (let range = 0; range < count; range++) {
      const start = board.spins[base + range * 2];
      if (at < start + board.spins[base + range * 2 + 1] && start < at + bytes) return true;
    }
    return false;
  }

  /** Visit the ranges; once with -1 bytes if they are too many to tell. */
  forEach(thread: number, visit: (at: number, bytes: number) => void): void {
    const board = this.#board;
    const count = board.state(thread, State.Spins);
    if (count > MAX_SPIN_RANGES) {
      visit(0, EVERYTHING);
      return;
    }
    const base = thread * MAX_SPIN_RANGES * 2;
    for (let range = 0; range < count; range++) visit(board.spins[base + range * 2], board.spins[base + range * 2 + 1]);
  }

  clear(thread: number): void {
    this.#board.setState(thread, State.Spins, 0);
    this.#board.setState(thread, State.SpinDirty, 0);
  }
}
